"""A tuned U-Net or text encoder of another tool in place of the model's own."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from t2i.errors import UserError
from t2i.models.adapters.kinds import Found
from t2i.models.parts import Models
from t2i.models.weights import text_layout

SETTINGS = (
    "num_attention_heads",
    "attention_head_dim",
    "hidden_act",
    "cross_attention_dim",
    "norm_num_groups",
    "layer_norm_eps",
)
"""What the tensors' shapes do not show and every picture depends on."""


def place(models: Models, found: Found) -> None:
    """Load the whole network; UserError unless it fills the model's own exactly and was built with the same settings."""
    part = found.kind.name
    network: Any = models.modules[part]
    own = network.state_dict()
    tensors = _tensors(found)
    if part in models.family.encoders:
        dropped = ("position_ids",) if "text_projection.weight" in own else ("position_ids", "text_projection.weight")
        tensors = text_layout({k: v for k, v in tensors.items() if not k.endswith(dropped)}, own)
    wanted = {name: tuple(tensor.shape) for name, tensor in own.items()}
    have = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    wrong = sorted({name for name, _ in wanted.items() ^ have.items()})
    if wrong:
        raise UserError(
            f"{found.path} does not fit the {part} of model={models.name}: {len(wrong)} tensors are missing, too many or of "
            f"another shape, e.g. {wrong[0]}; it seems to be {found.spoken}: use the model that it was made for"
        )
    for path in (path for path in found.files if path.name == "config.json"):
        theirs = json.loads(path.read_text(encoding="utf-8"))
        for key in SETTINGS:
            mine = _plain(getattr(network.config, key, None))
            if key in theirs and mine is not None and _plain(theirs[key]) != mine:
                raise UserError(
                    f"{found.path} was built with {key}={theirs[key]} and the {part} of model={models.name} with {mine}; use the "
                    "model that it was made for"
                )
    network.load_state_dict(tensors, strict=True)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _tensors(found: Found) -> dict[str, Tensor]:
    """Of all files, in float32; UserError for a value that is not finite."""
    from safetensors.torch import load_file

    tensors: dict[str, Tensor] = {}
    for path in found.files:
        if Path(path).suffix == ".safetensors":
            tensors |= {name: tensor.float() for name, tensor in load_file(path).items()}
    for name, tensor in tensors.items():
        if not bool(tensor.isfinite().all()):
            raise UserError(f"{found.path} holds a value that is not finite in {name}; it would spoil every picture")
    return tensors
