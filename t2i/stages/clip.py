"""`clip`: a CLIP that was tuned on pictures and captions, with its log."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2i.config import as_dict
from t2i.context import Run, flat
from t2i.models import source
from t2i.models.clip_files import weights_digest
from t2i.processes import device_type
from t2i.stages.clip_pixels import ClipPixels, source_folder
from t2i.stages.networks import precision_of, require_one_encoder
from t2i.stages.prepared import Prepared
from t2i.stages.stage import Address, Stage, made
from t2i.stages.tuned import Tuned, tuned_digest
from t2i.stages.weights import Weights
from t2i.training.contrastive.config import RANDOM

if TYPE_CHECKING:
    from t2i.training.contrastive.towers import Clip as Towers

START, TUNED, EPOCHS = "start", "clip", "epochs"
"""Folders of a tuning: the CLIP before, after, and after every epoch; plain transformers loads each."""
CAME, BEFORE, AFTER = "as it came", "before", "after"
"""States in which a CLIP is measured."""


@dataclass(frozen=True, eq=False)
class Clip(Stage):
    """`start/`, `clip/`, `epochs/`, `clip_log.csv`, `history.json`."""

    name = "clip"
    collective = True
    resumable = True
    resources = ("clip",)

    def inputs(self) -> dict[str, Stage]:
        return {"data": Prepared(self.config)}

    def within(self) -> Sequence[Stage]:
        return [ClipPixels(self.config, split) for split in ("train", "held_out")]

    def hangs_on(self) -> Any:
        return [self._slice(), self.config.clip.source, as_dict(self.config.model)]

    def _slice(self) -> dict[str, Any]:
        settings = {**self.config.clip.result_slice(), "random": self.config.clip.source == RANDOM}
        return {"clip": settings, "precision": precision_of(self.config), "device": device_type()}

    def address(self, run: Run) -> Address:
        digests = {"clip": weights_digest(source_folder(self.config))}
        if self.config.clip.text_from_model:
            require_one_encoder(self.config)
            digests["model"] = source.digest(self.config.model, run.store)
        return Address(digests, self._slice())

    def build(self, run: Run, folder: Path) -> None:
        from t2i.models.weights import module_digest
        from t2i.training.contrastive.loop import Tuner
        from t2i.training.contrastive.pairs import pairs_of
        from t2i.training.contrastive.towers import start

        config, data, prepared = self.config, Prepared(self.config).read(run), made(Prepared(self.config), run)
        if run.main and config.clip.resume == "never":
            for left in folder.iterdir():
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        run.barrier()
        pipeline = source.locate(config.model) if config.clip.text_from_model else None
        towers = start(config.clip, source_folder(config), pipeline)
        if run.main:
            shutil.rmtree(folder / START, ignore_errors=True)
            towers.save(folder / START)
        origin = module_digest(towers.model.text_model)
        train, held_out = (
            pairs_of(run.store, prepared, data.split(name), towers.size, config.dataset.resolution)
            for name in ("train", "held_out")
        )
        history = Tuner(config.clip, towers, run, train, held_out, folder).fit()
        if run.main:
            self._save(run, folder, towers, origin, history)
        run.barrier()

    def _save(self, run: Run, folder: Path, towers: "Towers", origin: str, history: Mapping[str, Any]) -> None:
        from t2i.models.text_tower import describe
        from t2i.training.contrastive.card import clip_card

        config, data = self.config, Prepared(self.config).read(run)
        digests, address = self.address(run)
        inputs = {"clip": digests["clip"], "data": made(Prepared(config), run).digest, **digests}
        shutil.rmtree(folder / TUNED, ignore_errors=True)
        towers.save(folder / TUNED)
        describe(folder / TUNED, origin, {"source": config.clip.source, "inputs": inputs, **address})
        began = Path(config.clip.source).name if config.clip.source.startswith("/") else config.clip.source
        card = clip_card(
            began, config.dataset.name, len(data.split("train")), data.licenses("train"), flat({**address, "inputs": inputs}),
            history["held_out"],
        )  # fmt: skip
        (folder / TUNED / "README.md").write_text(card, encoding="utf-8")
        shutil.rmtree(folder / "checkpoints")

    def states(self) -> list[str]:
        """Those that are compared. With fresh projections `before` knows nothing, so the CLIP that they were put on is
        measured too, where there is one.
        """
        settings = self.config.clip
        whole = settings.source != RANDOM and not settings.text_from_model
        return [*([CAME] if whole and settings.fresh else []), BEFORE, AFTER]

    def folder(self, run: Run, state: str) -> Path:
        """The CLIP in one of its states."""
        if state == CAME:
            return source_folder(self.config)
        return made(self, run).path / {BEFORE: START, AFTER: TUNED}[state]


@dataclass(frozen=True)
class Tower(Weights):
    """The text tower of a tuned CLIP."""

    clip: Clip

    def needs(self) -> list[Stage]:
        return [self.clip]

    def hangs_on(self) -> Any:
        return "text tower"

    def find(self, run: Run) -> Tuned:
        folder = self.clip.folder(run, AFTER)
        return Tuned(folder, tuned_digest(folder, run))
