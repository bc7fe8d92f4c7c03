"""What several tasks need: prepared data, loaded networks, and sets of generated pictures."""

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from t2i import identity
from t2i.config import Config, as_dict
from t2i.context import Run, rank, world_size
from t2i.data.preparation.prepare import prepare
from t2i.errors import ConfigError
from t2i.models import source
from t2i.stages.tuned import Tuned, apply_tuned
from t2i.store import Stage, digest_of, write_json

if TYPE_CHECKING:
    import numpy as np

    from t2i.data.prepared import Prepared, Split
    from t2i.models.load import Models

GENERATED_VERSION = 2
TIMING = "timing.json"


def prepared(config: Config, run: Run) -> "tuple[Stage, Prepared]":
    """The prepared data of the configured dataset."""
    from t2i.data.prepared import Prepared

    def make() -> tuple[Stage, Prepared]:
        config.dataset.validate()
        stage = run.use(prepare(config.dataset, run.store, progress=run.main))
        return stage, Prepared(stage.path)

    return run.kept("prepared", [as_dict(config.dataset), str(run.store.root)], make)


def training_split(config: Config, data: "Prepared") -> "Split":
    """The prepared training pictures that are trained on: all, or `training.images` of them, as often as their source asks.

    Which ones follows from data and number alone, as stages that read them are addressed by these.
    """
    import numpy as np

    from t2i.data.base import draw as lot

    split, count = data.split("train"), config.training.images
    if count is None or count >= len(split):
        return split.repeated()
    draws = [lot("trained", name) for name in split.ids]
    return split.part(np.sort(np.argsort(draws, kind="stable")[:count])).repeated()


def model_digest(config: Config, run: Run) -> str:
    """What identifies the base model of this configuration; that of the first one asked for is recorded with the run."""
    found = run.kept("model digest", as_dict(config.model), lambda: source.digest(config.model, run.store))
    run.tags.setdefault("digest.model", found)
    return found


def captions_of(data: "Prepared", count: int) -> list[str]:
    """`count` held-out captions: the first of every picture, then the second, and so on."""
    split = data.split("held_out")
    rounds = max(map(len, split.captions), default=0)
    captions = [group[k] for k in range(rounds) for group in split.captions if k < len(group)]
    if len(captions) < count:
        fewer = (
            f"eval.images={len(captions)} or more data"
            if len(captions) > 1
            else "more data, or a larger dataset.held_out"
        )
        raise ConfigError(f"{count} held-out captions are needed and {len(captions)} are there; use {fewer}")
    return captions[:count]


def categories_of(data: "Prepared", count: int) -> list[list[str]]:
    """The categories of the pictures behind `captions_of`."""
    split = data.split("held_out")
    return [split.categories[row] for row in rows_of(split)[:count]]


def rows_of(split: "Split") -> list[int]:
    """The picture behind each caption, in the order of `captions_of`."""
    rounds = max(map(len, split.captions), default=0)
    return [i for k in range(rounds) for i in range(len(split)) if k < len(split.captions[i])]


def precision_of(config: Config) -> str:
    """no, fp16 or bf16."""
    return config.launch.precision


def dtype_of(config: Config) -> Any:
    """The compute dtype of frozen networks."""
    import torch

    return {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision_of(config)]


def load_models(config: Config, run: Run, tuned: Optional[Tuned] = None) -> "Models":
    """The base or the tuned model on this process's device, in its compute dtype; the last two are kept."""
    from t2i.models.load import load

    def make() -> "Models":
        models = load(config.model, run.store)
        if tuned is not None:
            apply_tuned(models, tuned)
        device = run.accelerator.device
        if config.sampling.cpu_offload and device.type != "cpu":
            models.to("cpu", dtype_of(config)).offloaded_from = device
        else:
            models.to(device, dtype_of(config))
        config.sampling.apply(models)
        return models

    return run.kept("models", _loaded_from(config, run, tuned), make, most=2)


def _loaded_from(config: Config, run: Run, tuned: Optional[Tuned]) -> list[Any]:
    """All that loaded networks are made from."""
    return [identity.networks(config), model_digest(config, run), tuned.digest if tuned else None]


def generated_set(
    config: Config, run: Run, captions: Sequence[str], tuned: Optional[Tuned], earlier: Optional[Stage] = None
) -> Stage:
    """One picture per caption as `000000.png` ..., picture i from seed + i, each file with its recipe inside.

    Every process makes its share; pictures that a killed run left are kept, and so are those of `earlier`, a set of the
    first captions. `timing.json` says what the others cost.
    """
    recipe = identity.pictures(config)
    inputs = {
        "model": model_digest(config, run),
        "weights": tuned.digest if tuned else "",
        "captions": digest_of(list(captions)),
    }

    def build(folder: Path) -> None:
        from concurrent.futures import ThreadPoolExecutor

        from tqdm import tqdm

        from t2i.sampling.recipe import is_whole, write_picture

        if run.main:
            for path in folder.glob("[0-9]*.png"):  # of a killed run
                if not is_whole(path):
                    path.unlink()
            write_json(folder / "captions.json", list(captions))
            for path in earlier.path.glob("[0-9]*") if earlier else ():
                if not (folder / path.name).exists():
                    os.link(path, folder / path.name)
        run.barrier()
        todo = [i for i in range(rank(), len(captions), world_size()) if not (folder / f"{i:06d}.png").exists()]
        if not todo:
            return
        origin = origin_of(config, run, tuned)
        denoiser = load_models(config, run, tuned).denoiser
        written = evaluations = 0

        def count(module: object, inputs: tuple[Any, ...], output: object) -> None:
            nonlocal evaluations
            evaluations += len(inputs[0])

        counter, began = denoiser.register_forward_hook(count), time.perf_counter()
        label = f"{config.scheduler.name} {config.scheduler.steps} steps, guidance {config.cfg.scale:g}"
        # Compressing a PNG takes a tenth of a second at 512 pixels: threads do it while the next batch is drawn.
        with (
            tqdm(total=len(todo), desc=label, unit="image", leave=False, disable=not run.main) as bar,
            ThreadPoolExecutor(4) as pool,
        ):
            jobs = []
            seeds = [config.seed + i for i in todo]
            for pictures in draw(config, run, tuned, [captions[i] for i in todo], seeds, bar.update):
                for picture in pictures:
                    i = todo[written]
                    own = {"prompt": captions[i], "seed": config.seed + i, "batch": len(pictures)}
                    jobs.append(pool.submit(write_picture, folder / f"{i:06d}.png", picture, recipe | origin | own))
                    written += 1
            for job in jobs:
                job.result()
        counter.remove()
        if run.main:
            seconds = time.perf_counter() - began
            write_json(folder / TIMING, {"images": written, "seconds": seconds, "evaluations": evaluations})

    stage = run.store.stage("generated", inputs, recipe, GENERATED_VERSION, build, collective=True, resumable=True)
    return run.use(stage)


def cost_of(folder: Path) -> dict[str, float]:
    """`seconds_per_image` and `evaluations_per_image` of a generated set; empty when it was made from other sets."""
    path = folder / TIMING
    if not path.exists():
        return {}
    timing = json.loads(path.read_text(encoding="utf-8"))
    return {f"{name}_per_image": timing[name] / timing["images"] for name in ("seconds", "evaluations")}


def origin_of(config: Config, run: Run, tuned: Optional[Tuned]) -> dict[str, Any]:
    """Which model and weights a picture comes from, as its recipe tells it."""
    weights = tuned.origin if tuned else None
    return {"model": {**as_dict(config.model), "digest": model_digest(config, run)}, "weights": weights}


def draw(
    config: Config,
    run: Run,
    tuned: Optional[Tuned],
    prompts: Sequence[str],
    seeds: Sequence[int],
    on_batch: Callable[[int], object] = lambda done: None,
) -> "Iterator[np.ndarray]":
    """Batches of pictures, uint8 (n, H, W, 3), of the configured model, scheduler and guidance; one prompt and seed each."""
    from t2i.sampling.sampler import encode, sample

    models = load_models(config, run, tuned)
    # The cells of a sweep share their prompts: the last ones stay encoded.
    made_from = [_loaded_from(config, run, tuned), config.cfg.negative_prompt, list(prompts)]
    conditions = run.kept("conditions", made_from, lambda: encode(models, prompts, config.cfg), most=1)
    return sample(
        models,
        conditions,
        seeds,
        config.scheduler,
        config.cfg,
        config.batch_size,
        on_batch,
        keep_text=config.sampling.keeps_text,
    )


def read_pictures(folder: Path, count: int, first: int = 0) -> "np.ndarray":
    """`count` pictures of a generated set from the `first` on, uint8 (count, H, W, 3)."""
    import numpy as np
    from PIL import Image

    pictures = []
    for i in range(first, first + count):
        with Image.open(folder / f"{i:06d}.png") as image:
            pictures.append(np.asarray(image.convert("RGB")))
    return np.stack(pictures)
