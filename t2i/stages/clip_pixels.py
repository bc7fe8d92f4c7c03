"""`clip_pixels`: the pictures of a split at the size of a CLIP, made on the way to its tuning."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2i.config import Config
from t2i.context import Run
from t2i.models.clip_files import TINY_CLIP, locate
from t2i.stages.encoded import Encoded
from t2i.stages.prepared import Prepared
from t2i.stages.stage import made
from t2i.training.contrastive.config import BUNDLED, RANDOM

if TYPE_CHECKING:
    from t2i.data.prepared import Split


@dataclass(frozen=True, eq=False)
class ClipPixels(Encoded):
    """Keyed by the pictures' content."""

    name = "clip_pixels"
    resources = ("data", "clip")

    @property
    def title(self) -> str:
        return f"pixels, {self.split}"

    def hangs_on(self) -> Any:
        return [self.split, self.config.clip.source, self.config.dataset.resolution]

    def part(self, run: Run) -> "Split":
        return Prepared(self.config).read(run).split(self.split)

    def ask(self, run: Run) -> None:
        from t2i.training.contrastive.pairs import pairs_of

        settings = json.loads((source_folder(self.config) / "config.json").read_text(encoding="utf-8"))
        size = int(settings["vision_config"]["image_size"])
        pairs_of(run.store, made(Prepared(self.config), run), self.part(run), size, self.config.dataset.resolution)


def source_folder(config: Config) -> Path:
    """The folder of the CLIP that the tuning starts from, fetched from the hub where it must be."""
    if config.clip.source in (BUNDLED, RANDOM):
        return TINY_CLIP
    return locate(config.clip.source, "clip.source")
