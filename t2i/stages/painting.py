"""The model at hand, for pictures that people ask for one after another: typed, or from a page."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from t2i.config import CONF, Config, as_dict, compose
from t2i.context import Run
from t2i.errors import ConfigError
from t2i.processes import device_type, world_size
from t2i.sampling.engine import Engine
from t2i.stages.converted import drawing_models
from t2i.stages.drawing import origin_of
from t2i.stages.networks import precision_of
from t2i.stages.tuned import Piece, Tuned, in_pieces

if TYPE_CHECKING:
    from t2i.models.parts import Models
    from t2i.sampling.config import Guidance, Scheduler
    from t2i.web.order import Offer, Order
    from t2i.web.painter import Painter


def painter_of(config: Config, run: Run, tuned: Optional[Tuned]) -> "Painter":
    """The base model, and the tuned one where weights are given, ready to draw; ConfigError in several processes."""
    from t2i.web.painter import Painter

    if world_size() > 1:
        raise ConfigError(f"task={config.task.value} answers from one process; start it without accelerate launch")
    models, adapters = {"base": drawing_models(config, run)}, dict[int, Piece]()
    if tuned is not None:
        if config.sampling.engine is Engine.torch:  # in converted networks their shares are settled
            tuned = in_pieces(tuned)
            adapters = tuned.adapters
        models["tuned"] = drawing_models(config, run, tuned)
        models["tuned"].modules["vae"] = models["base"].vae  # no strategy trains it
    schedulers = {path.stem: compose([f"scheduler={path.stem}"]).scheduler for path in CONF.glob("scheduler/*.yaml")}
    schedulers = {name: own for name, own in sorted(schedulers.items()) if draws(own, models["base"])}
    config.scheduler.start(models["base"].schedule(), models["base"].grid)
    schedulers = schedulers | {config.scheduler.name: config.scheduler}

    def describe(order: "Order", scheduler: "Scheduler", guidance: "Guidance") -> dict[str, Any]:
        own = tuned if order.model == "tuned" else None
        if own is not None and adapters:
            own = own.scaled(order.scales)
        origin, size = origin_of(config, run, own), order.width
        origin["model"]["resolution"] = size
        return {
            **origin,
            "scheduler": as_dict(scheduler),
            "cfg": as_dict(guidance),
            "sampling": as_dict(config.sampling),
            "resolution": size,
            "precision": precision_of(config),
            "device": device_type(),
        }

    def rescale(scales: Sequence[float]) -> None:
        from t2i.models.adapters.attach import rescale

        for number, scale in zip(adapters, scales, strict=True):
            rescale(models["tuned"], f"adapter{number}", scale)

    return Painter(
        models, schedulers, config.cfg, describe, run.folder / "images", config.batch_size, config.sampling.keeps_text,
        {number: _label(piece.found.path) for number, piece in adapters.items()}, rescale,
    )  # fmt: skip


def draws(scheduler: "Scheduler", models: "Models") -> bool:
    """Whether the model can be drawn with it: of another one every order would be refused."""
    try:
        scheduler.start(models.schedule(), models.grid)
    except ConfigError:
        return False
    return True


def _label(path: Path) -> str:
    """How people know weights: by their file, or by the run folder they are in."""
    return path.parent.name if path.name in ("weights", "clip") else path.stem if path.is_file() else path.name


def offer_of(config: Config, painter: "Painter") -> "Offer":
    """What can be asked, with the command line's values where nothing is said; Refused when they are beyond the limits."""
    from t2i.web.order import Offer, Order

    default = Order(
        prompt="",
        negative_prompt=config.cfg.negative_prompt or "",
        scheduler=config.scheduler.name,
        steps=config.scheduler.steps,
        guidance=config.cfg.scale,
        width=config.model.resolution,
        height=config.model.resolution,
        seed=config.seed,
        count=1,
        model=list(painter.models)[-1],
        prompt_weights=config.cfg.prompt_weights,
        scales=tuple(
            (config.weights_scale or [1.0] * len(config.weights_given))[number] for number in painter.adapters
        ),
    )
    offer = Offer(
        {name: each.steps for name, each in painter.schedulers.items()},
        tuple(painter.models),
        default,
        tuple(painter.adapters.values()),
    )
    offer.read({"prompt": "any"})
    return offer
