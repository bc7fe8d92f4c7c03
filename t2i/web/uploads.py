"""Pictures that people give to the server: each is looked at before it is kept, as the pictures of a dataset are."""

import itertools
import secrets
from dataclasses import dataclass
from pathlib import Path

from t2i.data.preparation.colours import Unusable, rgb
from t2i.data.preparation.decode import opened
from t2i.web.order import Refused

MOST = 10_000_000
"""Bytes of one."""
KEPT = 100
"""The newest are kept."""


@dataclass(frozen=True)
class Uploads:
    """A folder of them, as they came: what draws from one reads it by the rule of `t2i/sampling/given.py`."""

    folder: Path

    def keep(self, content: bytes) -> tuple[str, tuple[int, int]]:
        """Its name, which cannot be guessed, and width and height as it is stored. Raises Refused for what is no picture."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f".{secrets.token_hex(16)}"
        path.write_bytes(content)
        try:
            with opened(path) as image:
                kind, size = str(image.format).lower(), image.size
                rgb(image)  # every pixel of it
        except Unusable as fault:
            path.unlink()
            raise Refused(f"The picture cannot be used ({fault}); send e.g. a PNG or a JPEG.") from fault
        kept = path.rename(path.with_name(f"{path.name[1:]}.{kind}"))
        newest = sorted(self.folder.glob("[!.]*"), key=lambda file: file.stat().st_mtime_ns, reverse=True)
        for old in itertools.islice(newest, KEPT, None):
            old.unlink(missing_ok=True)
        return kept.name, size

    def found(self, name: str, drawn: Path) -> Path:
        """The picture of that name, here or among those in the folder `drawn`: looked up, never joined. Raises Refused."""
        for path in itertools.chain(self.folder.glob("[!.]*"), drawn.glob("*.png")):
            if path.name == name:
                return path
        raise Refused(f"{name} is no picture of this server (any more); send it to /v1/pictures again.")
