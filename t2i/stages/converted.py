"""`converted`: a part of a model as OpenVINO computes it, and the models that stages and tasks draw with, by either engine."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from t2i import identity
from t2i.config import Config, as_dict
from t2i.context import Run
from t2i.sampling.engine import Engine
from t2i.stages import history
from t2i.stages.networks import load_models, loaded_from, model_digest
from t2i.stages.stage import Address, Stage, made
from t2i.stages.tuned import Tuned, apply_tuned
from t2i.stages.weights import Base, Known, Weights

if TYPE_CHECKING:
    from t2i.models.converted import Graph
    from t2i.models.parts import Models

DECODE = "decode"
PARTS = ("read", "predict", DECODE)
LIBRARIES = ("openvino", "torch", "diffusers", "transformers")
"""By whose versions a conversion is known: what follows the networks, and the code that is followed."""


@dataclass(frozen=True, eq=False)
class Converted(Stage):
    """`<part>.xml` and `.bin`, float32: a method of the model's family, with tuned weights merged."""

    part: str
    """read (captions to conditions), predict (the denoiser), decode (latents to pictures)."""
    weights: Weights = field(default_factory=Base)

    name = "converted"
    resources = ("model",)

    @property
    def title(self) -> str:
        return f"converted: {self.part}"

    @property
    def _tuned(self) -> Weights:
        """No strategy and no adapter changes the autoencoder."""
        return Base() if self.part == DECODE else self.weights

    def needs(self) -> Sequence[Stage]:
        return self._tuned.needs()

    def hangs_on(self) -> Any:
        return [self.part, identity.converted(self.config), as_dict(self.config.model), self._tuned.hangs_on()]

    def address(self, run: Run) -> Address:
        tuned = self._tuned.find(run)
        digests = {"model": model_digest(self.config, run), "weights": tuned.digest if tuned else ""}
        versions = {name: metadata.version(name) for name in LIBRARIES}
        return Address(digests, {"part": self.part, **identity.converted(self.config), "versions": versions})

    def build(self, run: Run, folder: Path) -> None:
        from t2i.models.converted import convert

        convert(_whole(self.config, run, self.weights.find(run)), self.part, folder)

    def size(self, run: Run) -> Optional[int]:
        """Of the newest of this part and model."""
        return next((history.held(found) for found in self._like(run)), None)

    def seconds(self, run: Run) -> Optional[float]:
        return next((float(found["seconds"]) for found in self._like(run)), None)

    def _like(self, run: Run) -> list[dict[str, Any]]:
        own = {"part": self.part, **identity.converted(self.config)}
        every = [found for _, found in history.manifests(run.store.root, self.name)]
        return [found for found in every if own.items() <= found["config"].items()]


def converted(config: Config, weights: Weights) -> list[Stage]:
    """What is made on the way to pictures that OpenVINO draws; nothing for those of torch."""
    by = config.sampling.engine
    return [] if by is Engine.torch else [Converted(config, part, weights) for part in PARTS]


def drawing_models(config: Config, run: Run, tuned: Optional[Tuned] = None) -> "Models":
    """The base or the tuned model as `sampling.engine` draws with it; the last two are kept."""
    if config.sampling.engine is Engine.torch:
        return load_models(config, run, tuned)

    def make() -> "Models":
        from t2i.models.converted import computed

        weights = Known(tuned) if tuned else Base()
        folders = {part: made(Converted(config, part, weights), run).path for part in PARTS}
        models = _whole(config, run, tuned)
        # Before its parts are compiled, which take as much memory again.
        run.forget("whole model")
        precision = config.launch.precision
        return computed(models, {part: _graph(run, folder, part, precision) for part, folder in folders.items()})

    return run.kept("converted model", loaded_from(config, run, tuned), make, most=2)


def _graph(run: Run, folder: Path, part: str, precision: str) -> "Graph":
    from t2i.models.converted import Graph

    return run.kept(f"graph of {part}", [str(folder), precision], lambda: Graph(folder, part, precision), most=2)


def _whole(config: Config, run: Run, tuned: Optional[Tuned]) -> "Models":
    """As `convert` takes it: adapters are part of the weights that they change."""
    from t2i.models.adapters.attach import fuse
    from t2i.models.load import load

    def make() -> "Models":
        models = load(config.model, run.store)
        if tuned is not None:
            apply_tuned(models, tuned)
            fuse(models)
        return models

    made_from = [as_dict(config.model), model_digest(config, run), tuned.digest if tuned else None]
    return run.kept("whole model", made_from, make, most=1)
