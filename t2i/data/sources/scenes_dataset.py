"""`dataset=scenes`: a drawn world, written once in the COCO layout and read back by the COCO source."""

import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from t2i.data.sources.coco import Coco
from t2i.errors import ConfigError

if TYPE_CHECKING:
    from t2i.store import Store

VERSION = 1
"""Of the drawings and their captions: raise it when the same seed gives another world."""


class Light(Enum):
    """In which light the world is drawn."""

    day = "day"
    dusk = "dusk"


class Character(Enum):
    """Who is drawn alone: a robot, or one of the ten of t2i/data/sources/scenes/mascots.py."""

    pip = "pip"
    mia = "mia"
    rex = "rex"
    bo = "bo"
    otto = "otto"
    zoe = "zoe"
    lulu = "lulu"
    ben = "ben"
    vic = "vic"
    gus = "gus"
    ada = "ada"


@dataclass
class Scenes(Coco):
    """Drawn scenes with exact ground truth. `acquire` must come before `samples`."""

    kind: str = "scenes"
    name: str = "scenes"
    resolution: int = 64
    train_split: str = "train"
    held_out_split: str = "val"
    train: int = 2000
    """Training images to draw."""
    val: int = 300
    """Held-out images to draw."""
    light: Light = Light.day
    """day; dusk: the same scenes darker and bluer, which the bundled model has not seen - something to tune it to."""
    character: Optional[Character] = None
    """Every picture shows one whom the bundled model has never seen: pip, a little robot, or a cat, dog, bird, elephant, giraffe,
    sheep, teddy bear, car, bus or apple with a name (mia, rex, bo, otto, zoe, lulu, ben, vic, gus, ada). null: the world."""
    size: Optional[int] = None
    """Side of a drawn image in pixels, 64 to 512. Null: the resolution."""

    def classes(self) -> list[str]:
        """What the character is one of."""
        if self.character is None:
            return []
        from t2i.data.sources.scenes.world import CHARACTERS

        return [CHARACTERS[self.character.value][0]]

    def regularised(self) -> list[str]:
        """Those of the configuration; otherwise, of a character, its class in every place and some of the rest of the world."""
        if self.regularisation or self.character is None:
            return super().regularised()
        from t2i.data.sources.scenes.captions import of_class

        return of_class(self.character.value, self.seed)

    def layout(self) -> str:
        return "a world that dataset=scenes wrote (leave dataset.root empty to have it drawn)"

    def validate(self) -> None:
        super().validate()
        for key, least in (("train", 1), ("val", 0)):
            if getattr(self, key) < least:
                raise ConfigError(
                    f"dataset.{key}={getattr(self, key)} is too few images to draw: type a number from {least}."
                )
        if not 64 <= self._size() <= 512:
            raise ConfigError(f"scenes are drawn at 64 to 512 pixels, not at {self._size()}: type dataset.size=512.")

    def validate_root(self) -> None:
        if self.root:
            super().validate_root()

    def acquire(self, store: "Store") -> None:
        """Draws the world as a stage of the store, unless `root` names one, and reads it from there."""
        from t2i.data.sources.scenes.mascots import MASCOTS
        from t2i.data.sources.scenes.mascots import VERSION as DRAWING

        if self.root:
            return
        config: dict[str, Any] = {
            "seed": self.seed,
            "counts": {self.train_split: self.train, self.held_out_split: self.val},
            "size": self._size(),
        }
        if self.light is Light.dusk:  # added only here: the world by day keeps its address
            config["dusk"] = True
        if self.character is not None:
            config["character"] = self.character.value
            if self.character.value in MASCOTS:
                config["drawing"] = DRAWING
        self._place = store.stage("scenes", {}, config, VERSION, lambda folder: _draw(folder, config)).path

    def _size(self) -> int:
        return self.resolution if self.size is None else self.size


def _draw(folder: Path, config: dict[str, Any]) -> None:
    from t2i.data.sources import scenes

    scenes.write(
        folder,
        config["seed"],
        config["counts"],
        config["size"],
        sys.stderr.isatty(),
        "dusk" in config,
        config.get("character", ""),
    )
