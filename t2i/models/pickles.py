"""Weights that came as pickles, made safe: `python -m t2i.models.pickles <file or folder>` writes safetensors beside them.

torch reads them with its restricted unpickler, which makes tensors and plain containers and runs nothing else.
"""

import shlex
import sys
from pathlib import Path
from typing import Any

from t2i.errors import UserError

SUFFIXES = frozenset({".bin", ".ckpt", ".pt", ".pth", ".pkl"})


def refusal(path: Path) -> str:
    """The sentence for a pickle that was given: why not, and the command."""
    return (
        f"{path} is a pickle, which can run any program when it is opened; convert it safely: "
        f"{sys.executable} -m t2i.models.pickles {shlex.quote(str(path))}"
    )


def convert(path: Path) -> Path:
    """Write `<name>.safetensors` beside a pickle of tensors; UserError when it holds anything that could act."""
    import pickle
    import zipfile

    import torch
    from safetensors.torch import save_file

    target = path.with_suffix(".safetensors")
    if path.name.startswith("pytorch_model"):  # transformers has another name for the same in safetensors
        target = path.with_name("model" + path.name.removeprefix("pytorch_model")).with_suffix(".safetensors")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, zipfile.BadZipFile, EOFError, RuntimeError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} is not converted: it holds more than tensors, or is damaged ({reason})") from error
    tensors = dict(_tensors(content))
    if not tensors:
        raise UserError(f"{path} holds no tensor; give a file of weights")
    # Names that share memory would be refused: each gets its own.
    save_file(
        {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}, target, {"format": "pt"}
    )
    return target


def _tensors(content: Any) -> list[tuple[str, Any]]:
    """Name and tensor of a state dict, of a training's checkpoint (`state_dict`), or of an inversion (`string_to_param`)."""
    import torch

    if not isinstance(content, dict):
        return [("emb_params", content)] if isinstance(content, torch.Tensor) else []
    if isinstance(inverted := content.get("string_to_param"), dict) and len(inverted) == 1:
        name = content.get("name")
        return [(str(name) if name else "emb_params", next(iter(inverted.values())))]
    inner = content.get("state_dict")
    return [
        (str(k), v) for k, v in (inner if isinstance(inner, dict) else content).items() if isinstance(v, torch.Tensor)
    ]


def main(arguments: list[str]) -> int:
    """The command line; returns the exit status."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    path = Path(arguments[0]).expanduser()
    found = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES) if path.is_dir() else [path]
    try:
        if not path.exists() or not found:
            raise UserError(
                f"{path} {'holds no pickle' if path.exists() else 'does not exist'}; give a file or a folder"
            )
        for file in found:
            print(f"{convert(file)}")
    except UserError as error:
        print(f"t2i: {error}", file=sys.stderr)
        return error.status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
