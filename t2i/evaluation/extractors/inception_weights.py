"""Where the published Inception weights are; light, so that a run that reuses its numbers loads no network."""

import hashlib
import os
import urllib.request
from pathlib import Path

from t2i.errors import UserError

URL = "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
CACHE = Path.home() / ".cache" / "t2i"


def inception_file(source: str | None) -> Path:
    """The published file at the path `source`, or a download that is kept in CACHE; UserError when it cannot be had or
    holds other bytes.
    """
    if source is None:
        path = CACHE / URL.rpartition("/")[2]
        if not path.is_file():
            _download(path)
    else:
        path = Path(source).expanduser()
        if not path.is_file():
            raise UserError(f"eval.inception={source} is no file; expected a copy of {URL}: type eval.inception=<path>")
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != SHA256:
        raise UserError(
            f"{path} has the sha256 {found}; expected {SHA256}: fetch {URL} again and type eval.inception=<path>"
        )
    return path


def _download(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Moved into place when it is whole; each process writes a file of its own.
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        urllib.request.urlretrieve(URL, partial)
        os.replace(partial, path)
    except OSError as error:
        raise UserError(
            f"the Inception weights could not be downloaded ({error}): fetch {URL} elsewhere and type "
            "eval.inception=<path>, or eval.extractor=tiny_clip, which is bundled"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
