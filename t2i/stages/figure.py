"""`figure`: a picture of a report. What was drawn before from the same is taken from the store, and no library draws."""

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from t2i import reporting
from t2i.config import Config
from t2i.context import Run
from t2i.digests import digest_of, sha256_file
from t2i.reporting.figures import Drawing, kept_by
from t2i.stages.copies import linked
from t2i.stages.stage import Address, Stage
from t2i.store import Stage as Finished
from t2i.store import Store

PNG = "figure.png"
FONTS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.fonts", "~/.local/share/fonts", "/Library/Fonts")
"""Where people install fonts. Letters beyond ASCII may be drawn with one of them, or as boxes for want of one."""


@dataclass(frozen=True, eq=False)
class Figure(Stage):
    """`figure.png`, as it is drawn from the arguments of its function."""

    drawing: Drawing

    name = "figure"

    def hangs_on(self) -> Any:
        """Of the configuration it hangs on what it is drawn from alone."""
        return [self.drawing.name, self.drawing.digest]

    def address(self, run: Run) -> Address:
        look = {"drawn by": drawn_by(), "fonts": "" if self.drawing.texts.isascii() else installed_fonts()}
        return Address({"drawn from": self.drawing.digest}, {"figure": self.drawing.name, **look})

    def build(self, run: Run, folder: Path) -> None:
        self.drawing.draw(folder / PNG)

    def at(self, run: Run) -> Finished:
        """In the same store, but asked for by one process: the others of a run draw nothing."""
        digests, config = self.address(run)
        store = Store(run.store.root, announce=run.store.announce, asked=run.asked)
        store.note = lambda line: None
        return store.stage(self.name, digests, config, self.version, lambda folder: self.build(run, folder))


def keeping(config: Config, run: Run) -> AbstractContextManager[None]:
    """While it lasts, figures come out of the run's store where they are in it, and are kept there where they are not."""

    def keep(drawing: Drawing) -> Path:
        made = Figure(config, drawing).at(run).path / PNG
        drawing.path.parent.mkdir(parents=True, exist_ok=True)
        drawing.path.unlink(missing_ok=True)
        linked(str(made), str(drawing.path))
        return drawing.path

    return kept_by(keep)


@lru_cache(maxsize=1)
def drawn_by() -> str:
    """The version of all figures and their look: the digest of the code that draws them, and of the libraries behind it."""
    (folder,) = reporting.__path__
    code = {path.name: sha256_file(path) for path in sorted(Path(folder).glob("*.py"))}
    return digest_of([code, {name: metadata.version(name) for name in ("matplotlib", "pillow", "numpy")}])


@lru_cache(maxsize=1)
def installed_fonts() -> str:
    """The digest of which fonts there are, by name and time: a newly installed one has the letters that were boxes before."""
    found = [
        (folder, [(name, os.stat(os.path.join(folder, name)).st_mtime_ns) for name in sorted(names)])
        for place in FONTS
        for folder, _, names in os.walk(os.path.expanduser(place))
    ]
    return digest_of(found)
