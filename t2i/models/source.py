"""Where a model's files are and what identifies them; light, so that a run that reuses everything loads no network."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from t2i.errors import ConfigError, UserError
from t2i.models.config import Init, Model
from t2i.store import Store, digest_of

ARCHITECTURES = Path(__file__).parent / "architectures"
BUNDLED = Path(__file__).parent.parent / "assets" / "tiny"


def architecture(config: Model) -> dict[str, Any]:
    """The settings of every part of a network that is built without weights."""
    path = ARCHITECTURES / f"{config.architecture}.json"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in ARCHITECTURES.glob("*.json")))
        raise ConfigError(f"model.architecture={config.architecture} is unknown; use one of: {known}")
    parts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return parts


REWRITTEN = {"769232093108d607c1155f32590a3241": "db53038e817eb2397bc37d23109cb65e"}
"""The bundled model has been written in another layout, the same tensors: what was made with it before is still found."""


def digest(config: Model, store: Store, seed: int = 0) -> str:
    """What identifies the base model: its files' bytes, or its architecture and seed."""
    if config.init is Init.random:
        return digest_of({"random": architecture(config), "seed": seed})[:32]
    folder = locate(config)
    files = sorted(path for path in folder.rglob("*") if path.suffix in {".json", ".safetensors", ".txt"})
    names = [str(path.relative_to(folder)) for path in files]
    found = digest_of(dict(zip(names, store.file_digests(files), strict=True)))[:32]
    return REWRITTEN.get(found, found)


WANTED = ["model_index.json", "scheduler/*", "tokenizer/*"] + [
    f"{part}/{name}" for part in ("unet", "vae", "text_encoder") for name in ("config.json", "*model.safetensors")
]
"""The files of a pipeline that are read."""


def locate(config: Model, wanted: Sequence[str] = WANTED) -> Path:
    """The folder with the pipeline: given, or fetched from the hub (only the files `wanted`, by pattern)."""
    folder = Path(config.source).expanduser()
    if folder.is_dir():
        if not (folder / "model_index.json").exists():
            raise ConfigError(
                f"model.source={folder} has no model_index.json; give a folder in diffusers' pipeline layout or a hub id"
            )
        return folder
    if folder.is_absolute():
        raise ConfigError(
            f"model.source={folder} does not exist; give a folder in diffusers' pipeline layout or a hub id"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(config.source, revision=config.revision, allow_patterns=list(wanted)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"model.source={config.source} could not be fetched from the hub ({type(error).__name__}) and is not in its local "
            "cache; give a folder with model.source=<folder>, or use model.init=random for benchmarks"
        ) from error
