"""What several tasks need: prepared data, loaded networks, and sets of generated pictures."""

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from t2i.config import Config, as_dict
from t2i.context import Run, device_type, rank, world_size
from t2i.data.prepare import prepare
from t2i.errors import ConfigError
from t2i.models import source
from t2i.store import Stage, digest_of, write_json
from t2i.tasks.tuned import Tuned, apply_tuned

if TYPE_CHECKING:
    import numpy as np

    from t2i.data.prepared import Prepared, Split
    from t2i.models.load import Models

GENERATED_VERSION = 2
TIMING = "timing.json"


def prepared(config: Config, run: Run) -> "tuple[Stage, Prepared]":
    """The prepared data of the configured dataset."""
    from t2i.data.prepared import Prepared

    key = f"prepared {digest_of(as_dict(config.dataset))}"
    if key not in run.cache:
        config.dataset.validate()
        stage = run.use(prepare(config.dataset, run.store, progress=run.main))
        run.cache[key] = stage, Prepared(stage.path)
    found: tuple[Stage, Prepared] = run.cache[key]
    return found


def training_split(config: Config, data: "Prepared") -> "Split":
    """The prepared training pictures that are trained on: all, or `training.images` of them.

    Which ones follows from data and number alone, as stages that read them are addressed by these.
    """
    import numpy as np

    from t2i.data.base import draw as lot

    split, count = data.split("train"), config.training.images
    if count is None or count >= len(split):
        return split
    draws = [lot("trained", name) for name in split.ids]
    return split.part(np.sort(np.argsort(draws, kind="stable")[:count]))


def model_digest(config: Config, run: Run) -> str:
    """What identifies the base model; recorded with the run."""
    if "digest.model" not in run.tags:
        run.tags["digest.model"] = source.digest(config.model, run.store)
    return run.tags["digest.model"]


def captions_of(data: "Prepared", count: int) -> list[str]:
    """`count` held-out captions: the first of every picture, then the second, and so on."""
    split = data.split("held_out")
    rounds = max(map(len, split.captions), default=0)
    captions = [group[k] for k in range(rounds) for group in split.captions if k < len(group)]
    if len(captions) < count:
        raise ConfigError(
            f"{count} held-out captions are needed and {len(captions)} are there; use eval.images={len(captions)} or more data"
        )
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
    return config.launch.mixed_precision.value if config.launch.mixed_precision else "no"


def dtype_of(config: Config) -> Any:
    """The compute dtype of frozen networks."""
    import torch

    return {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision_of(config)]


def load_models(config: Config, run: Run, tuned: Optional[Tuned] = None) -> "Models":
    """The base or the tuned model on this process's device, in its compute dtype; kept for the rest of the run."""
    from t2i.models.load import load

    key = f"models {model_digest(config, run)} {tuned.digest if tuned else ''}"
    if key not in run.cache:
        models = load(config.model, run.store)
        if tuned is not None:
            apply_tuned(models, tuned)
        device = run.accelerator.device
        if config.sampling.cpu_offload and device.type != "cpu":
            models.to("cpu", dtype_of(config)).offloaded_from = device
        else:
            models.to(device, dtype_of(config))
        config.sampling.apply(models)
        run.cache[key] = models
    cached: Models = run.cache[key]
    return cached


def generated_set(
    config: Config, run: Run, captions: Sequence[str], tuned: Optional[Tuned], earlier: Optional[Stage] = None
) -> Stage:
    """One picture per caption as `000000.png` ..., picture i from seed + i, each file with its recipe inside.

    Every process makes its share; pictures that a killed run left are kept, and so are those of `earlier`, a set of the
    first captions. `timing.json` says what the others cost.
    """
    recipe = {
        "scheduler": as_dict(config.scheduler),
        "cfg": as_dict(config.cfg),
        "seed": config.seed,
        "resolution": config.model.resolution,
        "precision": precision_of(config),
        "device": device_type(),
        **({"vae_tiling": True} if config.sampling.vae_tiling else {}),  # the one switch that shows
    }
    inputs = {
        "model": model_digest(config, run),
        "weights": tuned.digest if tuned else "",
        "captions": digest_of(list(captions)),
    }

    def build(folder: Path) -> None:
        from concurrent.futures import ThreadPoolExecutor

        from tqdm import tqdm

        from t2i.sampling.recipe import write_picture

        if run.main:
            write_json(folder / "captions.json", list(captions))
            for path in earlier.path.glob("[0-9]*") if earlier else ():
                if not (folder / path.name).exists():
                    os.link(path, folder / path.name)
        run.barrier()
        todo = [i for i in range(rank(), len(captions), world_size()) if not (folder / f"{i:06d}.png").exists()]
        if not todo:
            return
        origin = origin_of(config, run, tuned)
        unet = load_models(config, run, tuned).unet
        written = evaluations = 0

        def count(module: object, inputs: tuple[Any, ...], output: object) -> None:
            nonlocal evaluations
            evaluations += len(inputs[0])

        counter, began = unet.register_forward_hook(count), time.perf_counter()
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
    key = (model_digest(config, run), tuned.digest if tuned else "", config.cfg.negative_prompt, *prompts)
    if run.cache.get("conditions", ((), None))[0] != key:
        run.cache["conditions"] = key, encode(models, prompts, config.cfg)
    return sample(
        models,
        run.cache["conditions"][1],
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
