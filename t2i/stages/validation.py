"""Pictures of the model while it trains: the same prompts and seeds at every checkpoint, scored by CLIP."""

import csv
import json
import shutil
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2i import identity
from t2i.config import Config, as_dict
from t2i.context import Run
from t2i.processes import rank, world_size
from t2i.sampling.prompts import told_unknown
from t2i.stages.captions import HeldOut
from t2i.stages.networks import extractor_of
from t2i.store import write_json

if TYPE_CHECKING:
    import numpy as np

    from t2i.models.parts import Models

FOLDER = "validation"
PROMPTS = "prompts.json"
SETTINGS = "settings.json"
COLUMNS = ("step", "clip_score", "low", "high")


class Validation:
    """Draws and scores `training.validation_images` pictures; every process draws its share."""

    def __init__(self, config: Config, run: Run, models: "Models", folder: Path) -> None:
        self._config, self._run, self._models, self._folder = config, run, models, folder / FOLDER
        self._settings = settings_of(config, run)
        self.prompts: list[str] = self._settings["prompts"]
        if run.main:
            self._begin()
            if line := told_unknown(self.prompts, models.tokenizer.get_vocab, models.words):
                run.say(f"training.validation_prompts: {line}")
        # Now rather than at the first checkpoint: an evaluator that is not there is told before anything is trained.
        self._extractor = extractor_of(config, run) if run.main else None

    def _begin(self) -> None:
        """Note how the pictures are drawn; those that an earlier run drew otherwise cannot stand beside them."""
        path = self._folder / SETTINGS
        if path.exists() and json.loads(path.read_text(encoding="utf-8")) != self._settings:
            shutil.rmtree(self._folder)
            self._run.say(
                "the validation pictures begin anew: their prompts, scheduler, guidance or seed are others now"
            )
        self._folder.mkdir(parents=True, exist_ok=True)
        write_json(path, self._settings)

    def __call__(self, step: int) -> dict[str, float]:
        """The mean CLIP score with its interval, in the main process; the pictures lie in `validation/step_<step>`."""
        import numpy as np
        from PIL import Image

        from t2i.sampling.sampler import encode, sample

        config, folder = self._config, self._folder / f"step_{step:08d}"
        if self._run.main:
            shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
            folder.mkdir(parents=True)
            write_json(self._folder / PROMPTS, self.prompts)
        self._run.barrier()
        # As many in every process: the others may need its shards in every pass. A surplus one is not kept.
        numbers = range(rank(), -(-len(self.prompts) // world_size()) * world_size(), world_size())
        mine = [number % len(self.prompts) for number in numbers]
        with self._run.accelerator.autocast():
            every = encode(self._models, self.prompts, config.cfg)
            conditions = replace(every, index=every.index[mine])
            seeds = [config.seed + i for i in mine]
            parts = sample(self._models, conditions, seeds, config.scheduler, config.cfg, config.batch_size)
            pictures = [picture for part in parts for picture in part]
        for number, picture in zip(numbers, pictures, strict=True):
            if number < len(self.prompts):
                Image.fromarray(picture).save(folder / f"{number:06d}.png")
        self._run.barrier()
        if not self._run.main:
            return {}
        drawn = np.stack([np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))])
        self._run.tracker.image(np.concatenate(list(drawn), axis=1), FOLDER, step)
        scores = self._score(drawn)
        self._record(step, scores)
        for path in sorted(folder.glob("*.png")):
            self._run.tracker.artifact(path, f"{FOLDER}/{folder.name}")
        self._run.detail(f"step {step}: CLIP score {scores[0]:.2f} of {len(self.prompts)} validation pictures")
        return dict(zip(("clip_score", "clip_score.low", "clip_score.high"), scores, strict=True))

    def _score(self, pictures: "np.ndarray") -> tuple[float, float, float]:
        from t2i.evaluation.extractors.registry import image_features, text_features
        from t2i.evaluation.metrics.clip_score import clip_scores
        from t2i.evaluation.statistics import intervals

        assert self._extractor is not None
        size = self._config.eval.batch_size
        scores = clip_scores(
            image_features(self._extractor, "validation", pictures, size),
            text_features(self._extractor, self.prompts, size),
        )
        if len(scores) < 2:
            return float(scores[0]), float("nan"), float("nan")
        interval = intervals.mean(scores, 0.0, 100.0)
        return interval.value, interval.low, interval.high

    def _record(self, step: int, scores: tuple[float, float, float]) -> None:
        """One row a step in `validation/scores.csv`; a resumed training writes over what it does again."""
        earlier = [row for row in read(self._folder) if int(row[0]) < step]
        with open(self._folder / "scores.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([COLUMNS, *earlier, (step, *scores)])


def settings_of(config: Config, run: Run) -> dict[str, Any]:
    """How the validation pictures are drawn, as JSON values."""
    drawn = {"scheduler": as_dict(config.scheduler), "guidance": identity.guidance(config), "seed": config.seed}
    return {"prompts": prompts_of(config, run), **drawn}


def prompts_of(config: Config, run: Run) -> list[str]:
    """The prompts of the validation pictures, one each."""
    count = config.training.validation_images
    if config.training.validation_prompts:
        return list(islice(cycle(config.training.validation_prompts), count))
    return HeldOut(config, count, fewer=True).texts(run)


def read(folder: Path) -> list[tuple[float, ...]]:
    """The rows of `scores.csv`: step, CLIP score and its bounds."""
    path = folder / "scores.csv"
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return [tuple(map(float, row)) for row in list(csv.reader(file))[1:]]
