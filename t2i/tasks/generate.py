"""`task=generate`: pictures for prompts, or for held-out captions, from the base or the tuned model."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from t2i.config import Config, as_dict, restore
from t2i.context import Run, device_type
from t2i.errors import ConfigError, UserError
from t2i.sampling.prompts import expand, from_file, told_cut
from t2i.stages.shared import (
    captions_of,
    draw,
    generated_set,
    load_models,
    model_digest,
    origin_of,
    precision_of,
    prepared,
    read_pictures,
)
from t2i.stages.tuned import find_tuned

if TYPE_CHECKING:
    import numpy as np

MOST_TOLD = 5
"""Prompts of which the words that are cut are said."""


def generate(config: Config, run: Run) -> dict[str, float]:
    """Leaves the pictures in `images/` of the run folder, each with its recipe inside."""
    if config.recipe is not None:
        return remake(config, run, Path(config.recipe).expanduser())
    tuned = find_tuned(config, run)
    captions = prompts_of(config, run)
    stage = generated_set(config, run, captions, tuned)
    if run.main:
        from t2i.reporting.figures import sample_grid

        folder = run.folder / "images"
        shutil.copytree(stage.path, folder, ignore=shutil.ignore_patterns("manifest.json"))
        shown = min(len(captions), 25)
        model = f"{config.model.name}{' tuned' if tuned else ''}"
        scheduler = f"{config.scheduler.name} {config.scheduler.steps} steps"
        title = f"{model}, {scheduler}, guidance {config.cfg.scale:g}"
        figure = sample_grid(
            read_pictures(folder, shown), captions[:shown], run.figures() / "generated_samples_grid.png", title
        )
        run.section("Generated pictures", f"{len(captions)} pictures, seeds from {config.seed}.", [], [(figure, title)])
        run.say(f"pictures: {folder}")
    return {"images": float(len(captions))}


def prompts_of(config: Config, run: Run) -> list[str]:
    """One prompt a picture."""
    given = list(config.prompts)
    if config.prompts_file is not None:
        given += from_file(Path(config.prompts_file).expanduser())
    if given:
        prompts = expand(given, config.wildcards, config.seed)
        _tell_cut(config, run, prompts)
    else:
        _, data = prepared(config, run)
        prompts = captions_of(data, config.images)
    return [prompt for prompt in prompts for _ in range(config.images_per_prompt)]


def _tell_cut(config: Config, run: Run, prompts: list[str]) -> None:
    """Say of prompts that are longer than the text encoder reads which words it does not see."""
    from t2i.models.tokenizer import TokenCounter

    counter = TokenCounter(config.model)
    counts = zip(prompts, counter(prompts), strict=True)
    long = list(dict.fromkeys(prompt for prompt, count in counts if count > counter.limit))
    for prompt in long[:MOST_TOLD]:
        run.say(told_cut(prompt, lambda text: counter([text])[0], counter.limit))
    if len(long) > MOST_TOLD:
        run.say(f"{len(long) - MOST_TOLD:,} further prompts are cut, too")


def remake(config: Config, run: Run, path: Path) -> dict[str, float]:
    """The picture of a recipe once more; `identical` is 1 when its pixels are the same bit for bit.

    Raises UserError when there is no recipe, or when the model or the weights are not those that it names.
    """
    from t2i.sampling.recipe import digest, read_recipe, write_picture
    from t2i.sampling.sampler import encode, sample
    from t2i.web.painter import of_size

    recipe = read_recipe(path)
    if recipe["precision"] != precision_of(config):
        raise ConfigError(f"{path} was made with launch.mixed_precision={recipe['precision']}; type that too")
    told = recipe["weights"] or {}
    weights, scale = config.weights or told.get("path"), config.weights_scale or told.get("scale", [])
    for name in [weights] if isinstance(weights, str) else weights or []:
        if told and not Path(name).expanduser().exists():
            raise UserError(f"the tuned weights of {path} are no longer at {name}; say where they are by weights=...")
    model = {key: value for key, value in recipe["model"].items() if key != "digest"}
    taken = {"model": model, "scheduler": recipe["scheduler"], "cfg": recipe["cfg"], "seed": recipe["seed"]}
    if "sampling" in recipe:  # tiles and the like, which cost a few grey levels
        taken["sampling"] = recipe["sampling"]
    own = {"weights": weights, "weights_scale": scale} if told else {"weights": None, "weights_scale": []}
    made = restore({**as_dict(config), **taken, **own})
    made.validate()
    tuned = find_tuned(made, run)
    if model_digest(made, run) != recipe["model"]["digest"] or (tuned and tuned.digest != recipe["weights"]["digest"]):
        part = "weights" if model_digest(made, run) == recipe["model"]["digest"] else "model"
        raise UserError(f"the {part} of today are not those that {path} was made from: their digests differ")
    prompt, seed, batch = recipe["prompt"], recipe["seed"], recipe["batch"]
    height = recipe.get("height", made.model.resolution)

    def drawn(count: int) -> "np.ndarray":
        if height == made.model.resolution:
            return next(draw(made, run, tuned, [prompt] * count, [seed] * count))[0]
        models = of_size(load_models(made, run, tuned), made.model.resolution, height)
        conditions = encode(models, [prompt] * count, made.cfg)
        kept = made.sampling.keeps_text
        return next(sample(models, conditions, [seed] * count, made.scheduler, made.cfg, count, keep_text=kept))[0]

    picture = drawn(1)
    if digest(picture) != recipe["pixels"] and batch > 1:
        # A matrix product of another size sums in another order: repeat the picture in a batch as large as it was in.
        made.batch_size = batch
        picture = drawn(batch)
    same = digest(picture) == recipe["pixels"]
    if run.main:
        facts = {**recipe, **origin_of(made, run, tuned), "device": device_type()}
        (run.folder / "images").mkdir()
        write_picture(run.folder / "images" / "000000.png", picture, facts)
        other = "" if recipe["device"] == device_type() else f"; it was made on {recipe['device']}"
        run.say(f"made again: {'the same pixels' if same else 'NOT the same pixels'}{other}")
        run.say(f"pictures: {run.folder / 'images'}")
    return {"images": 1.0, "identical": float(same)}
