"""The picture of a recipe once more."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from t2i.config import Config, as_dict, restore
from t2i.context import Run
from t2i.errors import ConfigError, UserError
from t2i.processes import device_type
from t2i.stages.beginning import beginning_of, told_of
from t2i.stages.converted import drawing_models
from t2i.stages.drawing import draw, origin_of
from t2i.stages.networks import model_digest, precision_of
from t2i.stages.tuned import Tuned, find_tuned

if TYPE_CHECKING:
    import numpy as np

    from t2i.sampling.given import Beginning

PRECISION = "launch.mixed_precision="


@dataclass(frozen=True)
class Remade:
    """A picture uint8 (H, W, 3), the recipe of today, and the device and pixels of then."""

    picture: "np.ndarray"
    facts: dict[str, Any]
    device: str
    same: bool
    """Whether its pixels are the same bit for bit."""


def remake(config: Config, run: Run, path: Path) -> Remade:
    """Raises UserError when there is no recipe, or when the model or the weights are not those that it names."""
    from t2i.sampling.recipe import digest, read_recipe

    recipe = read_recipe(path)
    made = _as_then(config, run, recipe, path)
    tuned = find_tuned(made, run)
    if model_digest(made, run) != recipe["model"]["digest"] or (tuned and tuned.digest != recipe["weights"]["digest"]):
        part = "weights" if model_digest(made, run) == recipe["model"]["digest"] else "model"
        raise UserError(f"the {part} of today are not those that {path} was made from: their digests differ")
    height = recipe.get("height", made.model.resolution)
    beginning = beginning_of(made, height)
    if beginning is not None and beginning.digests != {
        k: recipe[k]["digest"] for k in ("image", "mask") if k in recipe
    }:
        raise UserError(f"the picture of today is not the one that {path} was drawn from: their digests differ")
    picture = _drawn(made, run, tuned, recipe, height, beginning, 1)
    if digest(picture) != recipe["pixels"] and recipe["batch"] > 1:
        # A matrix product of another size sums in another order: repeat the picture in a batch as large as it was in.
        made.batch_size = recipe["batch"]
        picture = _drawn(made, run, tuned, recipe, height, beginning, made.batch_size)
    facts = {**recipe, **origin_of(made, run, tuned), **told_of(made, beginning), "device": device_type()}
    return Remade(picture, facts, recipe["device"], digest(picture) == recipe["pixels"])


def _as_then(config: Config, run: Run, recipe: dict[str, Any], path: Path) -> Config:
    """The configuration that drew the picture: model, scheduler, guidance, seed, precision and tiles of the recipe."""
    if recipe["precision"] != precision_of(config) and any(
        text.lstrip("+").startswith(PRECISION) for text in run.overrides
    ):
        raise ConfigError(f"{path} was made with {PRECISION}{recipe['precision']}; type that, or leave it out")
    told = recipe["weights"] or {}
    weights, scale = config.weights or told.get("path"), config.weights_scale or told.get("scale", [])
    for name in [weights] if isinstance(weights, str) else weights or []:
        if told and not Path(name).expanduser().exists():
            raise UserError(f"the tuned weights of {path} are no longer at {name}; say where they are by weights=...")
    model = {key: value for key, value in recipe["model"].items() if key != "digest"}
    taken = {"model": model, "scheduler": recipe["scheduler"], "cfg": recipe["cfg"], "seed": recipe["seed"]}
    by = {**as_dict(config.sampling), "engine": recipe.get("engine", "torch")}
    taken["launch"] = {**as_dict(config.launch), "mixed_precision": recipe["precision"]}
    taken["sampling"] = recipe.get("sampling", by)  # tiles and the like, which cost a few grey levels
    own = {"weights": weights, "weights_scale": scale} if told else {"weights": None, "weights_scale": []}
    made = restore({**as_dict(config), **taken, **own, **_begun(config, recipe, path)})
    made.validate()
    return made


def _drawn(
    made: Config,
    run: Run,
    tuned: Optional[Tuned],
    recipe: dict[str, Any],
    height: int,
    beginning: "Optional[Beginning]",
    count: int,
) -> "np.ndarray":
    """The recipe's picture, drawn in a batch of `count`: uint8 (H, W, 3)."""
    from t2i.sampling.sampler import encode, sample
    from t2i.web.painter import of_size

    prompts, seeds = [recipe["prompt"]] * count, [recipe["seed"]] * count
    if height == made.model.resolution:
        return next(draw(made, run, tuned, prompts, seeds, beginning=beginning))[0]
    models = of_size(drawing_models(made, run, tuned), made.model.resolution, height)
    conditions = encode(models, prompts, made.cfg)
    kept = made.sampling.keeps_text
    return next(
        sample(models, conditions, seeds, made.scheduler, made.cfg, count, keep_text=kept, beginning=beginning)
    )[0]


def _begun(config: Config, recipe: dict[str, Any], path: Path) -> dict[str, Any]:
    """The keys of the picture that one was drawn from: of `image=` and `mask=`, or as the recipe tells them."""
    found: dict[str, Any] = {"strength": recipe.get("strength") if "image" in recipe else None}
    for key, given in (("image", config.image), ("mask", config.mask)):
        if given is not None and key not in recipe:
            raise ConfigError(f"{path} was drawn without {key}=; leave it out")
        found[key] = given or recipe.get(key, {}).get("path")
        if found[key] is not None and not Path(found[key]).expanduser().exists():
            raise UserError(f"the {key} of {path} is no longer at {found[key]}; say where it is by {key}=...")
    return found
