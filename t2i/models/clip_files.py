"""Where a CLIP's files are and what identifies them; light, so that a run that reuses its numbers loads no network."""

import hashlib
from pathlib import Path

from t2i.errors import UserError
from t2i.models.published import how_to_fetch
from t2i.places import PACKAGE

TINY_CLIP = PACKAGE / "assets" / "tiny_clip"
"""The bundled CLIP of the scenes world."""


def weights_digest(folder: Path) -> str:
    """sha256 of the weight file; of several (a sharded model), sha256 of their digests in the order of names."""
    files = sorted(folder.glob("model*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    digests = []
    for path in files:
        with path.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256"))
    if len(digests) == 1:
        return digests[0].hexdigest()
    return hashlib.sha256(b"".join(digest.digest() for digest in digests)).hexdigest()


def locate(source: str, key: str = "eval.clip", what: str = "CLIP") -> Path:
    """The local folder of `source`, the value of the option `key`; fetched from the hub when it is not one. `what`:
    the kind of model, for the sentence when it is not there.
    """
    folder = Path(source).expanduser()
    if not folder.is_dir():
        folder = _fetch(source, key)
    if not (folder / "config.json").is_file() or not [
        *folder.glob("model*.safetensors"),
        *folder.glob("pytorch_model*.bin"),
    ]:
        raise UserError(f"{folder} holds no {what} model; expected config.json and model.safetensors: set {key}")
    return folder


def _fetch(source: str, key: str) -> Path:
    from huggingface_hub import snapshot_download

    name, _, revision = source.partition("@")
    settings = ["*.json", "*.txt", "*.jinja"]
    try:
        for weights in ("model*.safetensors", "pytorch_model*.bin"):
            folder = Path(snapshot_download(name, revision=revision or None, allow_patterns=[*settings, weights]))
            if list(folder.glob(weights)):
                break
    except (OSError, ValueError) as error:
        raise not_here(source, key, error) from error
    return folder


def not_here(source: str, key: str, error: Exception, holding: str = "config.json and model.safetensors") -> UserError:
    """The sentence for weights that are no folder and could not be fetched: what to give, or how to fetch them elsewhere."""
    looks_like_hub = not Path(source).is_absolute() and not source.startswith((".", "~")) and source.count("/") == 1
    rest = f"; {how_to_fetch(source, key)}" if looks_like_hub else ""
    return UserError(
        f"{key}={source} is neither a folder nor a hub model that could be fetched "
        f"({type(error).__name__}): give a folder with {holding}{rest}"
    )
