"""`generated`: one picture a caption, as `000000.png` ..., picture i from seed + i, each file with its recipe inside."""

import json
import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from t2i import identity
from t2i.config import as_dict
from t2i.context import Run
from t2i.processes import device_type, rank, world_size
from t2i.sampling.engine import slower
from t2i.stages import history
from t2i.stages.beginning import beginning_of, told_of
from t2i.stages.captions import Captions
from t2i.stages.converted import converted, drawing_models
from t2i.stages.drawing import draw, origin_of
from t2i.stages.networks import model_digest
from t2i.stages.stage import Address, Stage, made
from t2i.stages.weights import Base, Weights
from t2i.store import damage, digest_of, write_json

TIMING = "timing.json"


@dataclass(frozen=True, eq=False)
class Generated(Stage):
    """Every process makes its share; pictures that a killed run left are kept. `timing.json` says what they cost."""

    captions: Captions
    weights: Weights = field(default_factory=Base)
    earlier: "Optional[Generated]" = None
    """A finished set of the first of these pictures, which are not made again."""

    name = "generated"
    version = 2
    collective = True
    resumable = True
    resources = ("model",)
    work = "drawing"

    def needs(self) -> list[Stage]:
        return [*self.captions.needs(), *self.weights.needs()]

    def within(self) -> list[Stage]:
        return converted(self.config, self.weights)

    def hangs_on(self) -> Any:
        drawn = [identity.pictures(self.config), as_dict(self.config.model), self.config.image, self.config.mask]
        return [*drawn, self.captions.hangs_on(), self.weights.hangs_on()]

    def address(self, run: Run) -> Address:
        tuned = self.weights.find(run)
        beginning = beginning_of(self.config)
        digests = {
            "model": model_digest(self.config, run),
            "weights": tuned.digest if tuned else "",
            "captions": digest_of(self.captions.texts(run)),
            **(beginning.digests if beginning else {}),
        }
        return Address(digests, identity.pictures(self.config))

    def build(self, run: Run, folder: Path) -> None:
        from t2i.sampling.recipe import is_whole

        captions = self.captions.texts(run)
        earlier = made(self.earlier, run).path if self.earlier else None
        if run.main:
            for path in folder.glob("[0-9]*.png"):  # of a killed run
                if not is_whole(path):
                    path.unlink()
            write_json(folder / "captions.json", captions)
            for path in earlier.glob("[0-9]*") if earlier else ():
                if not (folder / path.name).exists():
                    os.link(path, folder / path.name)
        run.barrier()
        todo = [i for i in range(rank(), len(captions), world_size()) if not (folder / f"{i:06d}.png").exists()]
        if todo:
            self._draw(run, folder, captions, todo)

    def _draw(self, run: Run, folder: Path, captions: list[str], todo: list[int]) -> None:
        from concurrent.futures import ThreadPoolExecutor

        from tqdm import tqdm

        from t2i.sampling import grid
        from t2i.sampling.recipe import write_picture

        config, tuned, beginning = self.config, self.weights.find(run), beginning_of(self.config)
        models = drawing_models(config, run, tuned)
        facts = {**identity.pictures(config), **origin_of(config, run, tuned), **told_of(config, beginning)}
        facts |= grid.told(models, config.scheduler)
        denoiser = models.denoiser
        if advice := slower(config.sampling.engine, sum(each.numel() for each in denoiser.parameters())):
            run.say(advice)
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
            texts = [captions[i] for i in todo]
            for pictures in draw(config, run, tuned, texts, seeds, bar.update, beginning):
                for picture in pictures:
                    i = todo[written]
                    own = {"prompt": captions[i], "seed": config.seed + i, "batch": len(pictures)}
                    jobs.append(pool.submit(write_picture, folder / f"{i:06d}.png", picture, facts | own))
                    written += 1
            for job in jobs:
                job.result()
        counter.remove()
        if run.main:
            seconds = time.perf_counter() - began
            write_json(folder / TIMING, {"images": written, "seconds": seconds, "evaluations": evaluations})

    def size(self, run: Run) -> Optional[int]:
        """By the number of pictures of an earlier set of this resolution."""
        for _, found in history.manifests(run.store.root, self.name):
            number = sum(1 for file in found["files"] if file.endswith(".png"))
            if number and self.captions.most and found["config"].get("resolution") == self.config.model.resolution:
                return history.held(found) * self.captions.most // number
        return None

    def seconds(self, run: Run) -> Optional[float]:
        """By what evaluations of the U-Net took in every set that this model drew on such a device."""
        costs = list(self._evaluations(run.store.root))
        work = self.captions.most * self.config.scheduler.steps * (2 if self.config.cfg.active else 1)
        return statistics.median(costs) * work if costs and work else None

    def _evaluations(self, root: Path) -> Iterator[float]:
        """Seconds of one evaluation for one picture."""
        same = {"resolution": self.config.model.resolution, "device": device_type(), **identity.engine(self.config)}
        for folder, found in history.manifests(root, self.name):
            path, recipe = folder / TIMING, folder / "000000.json"
            like = path.exists() and recipe.exists() and same.items() <= found["config"].items()
            if like and damage(folder) == []:
                timing = json.loads(path.read_text(encoding="utf-8"))
                model = json.loads(recipe.read_text(encoding="utf-8"))["model"]["name"]
                if model == self.config.model.name and timing["evaluations"]:
                    yield timing["seconds"] / timing["evaluations"]


def cost_of(folder: Path) -> dict[str, float]:
    """`seconds_per_image` and `evaluations_per_image` of a generated set; empty when it was made from other sets."""
    path = folder / TIMING
    if not path.exists():
        return {}
    timing = json.loads(path.read_text(encoding="utf-8"))
    return {f"{name}_per_image": timing[name] / timing["images"] for name in ("seconds", "evaluations")}
