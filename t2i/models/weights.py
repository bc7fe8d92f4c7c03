"""Weights into networks: strictly, by name and shape, and the digest that proves which are in use."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from safetensors import SafetensorError
from torch import nn

from t2i.errors import UserError
from t2i.models.families.family import Family
from t2i.models.files import variant_of

# Nothing that these libraries say while loading can be acted upon: problems are reported below, by name.
for library in (transformers.utils.logging, diffusers.utils.logging):
    library.set_verbosity_error()
    library.disable_progress_bar()


def class_of(name: str) -> Any:
    """A class of diffusers or transformers by its name."""
    return getattr(diffusers, name, None) or getattr(transformers, name)


def networks_of(family: Family, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A family's networks of these settings, by name, with fresh weights on the device of the context."""
    return {name: _built(class_of(kind), settings[name]) for name, kind in family.networks.items()}


def _built(kind: Any, settings: Mapping[str, Any]) -> Any:
    return kind(kind.config_class(**settings)) if hasattr(kind, "config_class") else kind(**settings)


def rebuilt(network: Any) -> Any:
    """The same network from its configuration alone, on the meta device: shapes without memory, and nothing attached."""
    with torch.device("meta"):
        if hasattr(type(network), "from_config"):
            return type(network).from_config(network.config)
        return type(network)(network.config)


def count(parameters: Iterable[nn.Parameter]) -> int:
    """Number of scalars."""
    return sum(parameter.numel() for parameter in parameters)


def strictly(kind: Any, folder: Path) -> Any:
    """`kind.from_pretrained(folder)` in float32, refusing missing, unexpected or mismatched weights.

    Old and new key layouts of CLIP differ by one level; a loader that is not strict would leave such weights at
    their random start without an error.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} does not exist; expected a part of a diffusers pipeline there")
    try:
        module, info = kind.from_pretrained(
            folder,
            variant=variant_of(folder),
            output_loading_info=True,
            dtype=torch.float32,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # then they are listed, and refused below by name
        )
    except UserError:
        raise
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{folder} cannot be loaded as {kind.__name__}: {reason}") from error
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        names = sorted(name for name in map(_described, info[problem]) if not name.endswith("position_ids"))
        if names:
            raise UserError(
                f"{folder} does not fill {kind.__name__}: {len(names)} {problem.replace('_', ' ')}, e.g. {names[0]}"
            )
    return module


def _described(key: Any) -> str:
    """The name of a tensor; a mismatched one comes with the shape in the file and the shape of the network."""
    return key if isinstance(key, str) else f"{key[0]} of shape {tuple(key[1])} in place of {tuple(key[2])}"


def text_layout(state: dict[str, torch.Tensor], target: Iterable[str]) -> dict[str, torch.Tensor]:
    """Rename text-encoder keys between the old (`text_model.` level) and the flat transformers layout to fit `target`."""
    nested = any(name.startswith("text_model.") for name in target)
    plain = {name.removeprefix("text_model."): tensor for name, tensor in state.items()}
    if not nested:
        return plain
    # a projection stands beside that level
    return {k if k.startswith("text_projection") else f"text_model.{k}": tensor for k, tensor in plain.items()}


def module_digest(module: nn.Module) -> str:
    """sha256 over names, shapes, dtypes and bytes of a module's parameters: proves which weights are in use."""
    import hashlib

    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes() if tensor.ndim else b"")
    return digest.hexdigest()[:32]
