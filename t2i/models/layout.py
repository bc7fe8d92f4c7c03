"""The layout of a pipeline's folder that every reader knows: transformers 4.40 to 5, and what builds upon it.

transformers 5.6 dropped the `text_model.` level from CLIP's text encoder and writes tokenizers as one file. Older ones,
which most trainers and notebooks pin, then start the text encoder at random without an error, and find no vocabulary.
transformers 5 still reads the older layout, so that is what is written.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from t2i.models.safetensors_file import header_of, rename
from t2i.store import write_json

LEVEL = "text_model."
CLIP = "CLIP"
"""What the names of its classes begin with."""


def settle(folder: Path) -> Path:
    """Bring the text encoders and tokenizers of a pipeline's folder into the layout that every reader knows."""
    for part in sorted(folder.glob("text_encoder*")):
        settle_text_encoder(part)
    for part in sorted(folder.glob("tokenizer*")):
        settle_tokenizer(part)
    return folder


def settle_text_encoder(folder: Path) -> None:
    """Names of a CLIP text encoder's tensors with the `text_model.` level; and float32 for who names no dtype, whatever the
    file holds: transformers 5 would take the file's, and diffusers loads the networks beside it in float32.

    Other text encoders (T5, Qwen3) never had that level: with it readers would start them at random without an error.
    """
    config = folder / "config.json"
    values = json.loads(config.read_text(encoding="utf-8"))
    if any(kind.startswith(CLIP) for kind in values["architectures"]):
        _nest(folder)
    if values.get("dtype") != "float32":
        write_json(config, values | {"dtype": "float32"})


def _nest(folder: Path) -> None:
    for path in sorted(folder.glob("model*.safetensors")):
        names = header_of(path).shapes
        if not all(name.startswith(LEVEL) or name == "text_projection.weight" for name in names):
            rename(path, path, _nested)
    index = folder / "model.safetensors.index.json"
    if index.exists():
        values = json.loads(index.read_text(encoding="utf-8"))
        write_json(index, values | {"weight_map": {_nested(k): v for k, v in values["weight_map"].items()}})


def _nested(name: str) -> str:
    return name if name.startswith((LEVEL, "text_projection")) else LEVEL + name


def settle_tokenizer(folder: Path) -> None:
    """Write `vocab.json` and `merges.txt` from `tokenizer.json`, where they are missing. A tokenizer without merges (T5's) has
    neither.
    """
    path = folder / "tokenizer.json"
    if not path.exists() or ((folder / "vocab.json").exists() and (folder / "merges.txt").exists()):
        return
    tokenizer: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    model = tokenizer["model"]
    if "merges" not in model:
        return
    (folder / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False), encoding="utf-8")
    pairs = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *pairs]) + "\n", encoding="utf-8")


def copy(source: Path, target: Path, link: Callable[[str, str], object]) -> None:
    """A pipeline's folder again, settled: stores hold pipelines that were written before this layout was. `link` makes
    one file of another, by a hard link where it can.
    """
    shutil.copytree(source, target, copy_function=link, ignore=shutil.ignore_patterns("text_encoder*", "tokenizer*"))
    for part in [*source.glob("text_encoder*"), *source.glob("tokenizer*")]:
        shutil.copytree(part, target / part.name)  # whole: a linked file must not be rewritten in the store
    settle(target)
