"""What a file or folder of weights is, read from its header: no tensor is loaded, so a mistake is told at once."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from t2i.errors import ConfigError, UserError
from t2i.models.adapters.names import FOREIGN, TEXT_2, parse
from t2i.models.families import registry
from t2i.models.files import weight_files
from t2i.models.pickles import SUFFIXES, refusal
from t2i.models.safetensors_file import Header, header_of

RUN = "strategy.json"
LORA = "pytorch_lora_weights.safetensors"
PEFT = "adapter_config.json"
Shapes = Mapping[str, tuple[int, ...]]


class Kind(Enum):
    """What can come in."""

    run = "weights of a run"
    low_rank = "LoRA"
    inversion = "textual inversion"
    unet = "U-Net"
    text_encoder = "text encoder"
    text_encoder_2 = "second text encoder"


NETWORKS = (Kind.unet, Kind.text_encoder, Kind.text_encoder_2)
"""Kinds that are called as the network which they take the place of."""


@dataclass(frozen=True)
class Found:
    """One thing that `weights=` names."""

    kind: Kind
    path: Path
    """A run's folder of weights; otherwise what was given."""
    files: tuple[Path, ...] = ()
    """With the tensors (and what describes them), in order; empty for a run."""
    family: str = ""
    """What it seems to be made for, where its tensors say so."""
    width: int = 0
    """Of the text states that it reads or gives; 0: unknown."""
    ranks: tuple[int, ...] = ()
    dora: bool = False
    roots: dict[str, Path] = field(default_factory=dict)
    """Of a peft folder: its files by network; an empty name where the file does not say."""

    @property
    def spoken(self) -> str:
        """`a LoRA of rank 16 for Stable Diffusion XL`."""
        if self.kind is Kind.run:
            return "the weights of a run"
        rank = f" of rank {'-'.join(map(str, sorted({min(self.ranks), max(self.ranks)})))}" if self.ranks else ""
        return f"a {'DoRA' if self.dora else self.kind.value}{rank}{f' for {self.family}' if self.family else ''}"


def refuse_weights(names: Sequence[str], scales: Sequence[float]) -> None:
    """ConfigError for `weights=` and `weights_scale=` that no run could use."""
    for name in names:
        identify(Path(name).expanduser())
    if scales and len(scales) != len(names):
        raise ConfigError(
            f"weights_scale={list(scales)} has {len(scales)} numbers for {len(names)} weights; give one for each"
        )
    for scale in scales:
        if not math.isfinite(scale):
            raise ConfigError(
                f"weights_scale={list(scales)} holds {scale}; use finite numbers, e.g. weights_scale=[0.8]"
            )


def identify(path: Path) -> Found:
    """Raises ConfigError, in a sentence that says what it seems to be, for what cannot come in."""
    if not path.exists():
        raise ConfigError(
            f"weights={path} does not exist; give a run folder, or a LoRA, textual inversion, U-Net or text encoder in "
            "safetensors"
        )
    return _folder(path) if path.is_dir() else _file(path)


def _folder(folder: Path) -> Found:
    for candidate in (folder, folder / "weights", folder / "clip"):
        if (candidate / RUN).exists():
            return Found(Kind.run, candidate.absolute())
    if (folder / "model_index.json").exists():
        raise ConfigError(f"weights={folder} is a whole pipeline; type model.source={folder} in place of weights=")
    networks = dict.fromkeys(name for family in registry.FAMILIES.values() for name in family.trained)
    peft = {name: folder / name if name else folder for name in ("", *networks)}
    peft = {name: root for name, root in peft.items() if (root / PEFT).exists()}
    if peft:
        files = tuple(path for root in peft.values() for path in (root / PEFT, *weight_files(root)))
        names = {k: v for path in files if path.suffix == ".safetensors" for k, v in header_of(path).shapes.items()}
        return _low_rank(folder, files, names, peft)
    if (folder / "config.json").exists():
        return _network(folder)
    if (folder / LORA).exists():
        return _file(folder / LORA)
    files = tuple(sorted(folder.glob("*.safetensors")))
    if len(files) == 1:
        return _file(files[0])
    if files:
        raise ConfigError(f"weights={folder} holds {len(files)} files of weights; name one, e.g. weights={files[0]}")
    if pickles := sorted(path for path in folder.glob("*") if path.suffix in SUFFIXES):
        raise ConfigError(f"weights={refusal(pickles[0])}")
    raise ConfigError(
        f"weights={folder} holds no tuned weights; give a run folder of task=train or task=pipeline, or a file in safetensors"
    )


def _network(folder: Path) -> Found:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    name = config.get("_class_name") or config.get("model_type", "nothing known")
    told = {str(told).replace("_", "").lower() for told in (name, *config.get("architectures", []))}
    every = {family.networks[network]: network for family in registry.FAMILIES.values() for network in family.trained}
    tuned = {kind: network for kind, network in every.items() if network in Kind.__members__}
    for kind, network in tuned.items():
        if kind.lower() in told:
            files = (folder / "config.json", *weight_files(folder))
            width = config.get("cross_attention_dim") or config.get("hidden_size") or 0
            return Found(Kind[network], folder, files, "", int(width))
    raise ConfigError(
        f"weights={folder} is a {name}, which is no part that can be tuned here; give a {', a '.join(tuned)}, an "
        "adapter or a run folder"
    )


def _file(path: Path) -> Found:
    if path.suffix in SUFFIXES:
        raise ConfigError(f"weights={refusal(path)}")
    if (path.parent / RUN).exists():
        return Found(Kind.run, path.parent.absolute())
    if path.suffix != ".safetensors":
        raise ConfigError(f"weights={path} is no .safetensors file; give a run folder or an adapter in safetensors")
    try:
        header = header_of(path)
    except UserError as error:
        raise ConfigError(f"weights={error}") from error
    return _by_tensors(path, header)


def _by_tensors(path: Path, header: Header) -> Found:
    shapes = header.shapes
    for mark, name in FOREIGN.items():
        if any(re.search(mark, key) for key in shapes):
            raise ConfigError(
                f"weights={path} seems to be a {name} adapter, which cannot be read: merge it into a checkpoint with its own "
                "tool and give that as model.source=, or give a LoRA or DoRA"
            )
    if any(parse(name) for name in shapes):
        return _low_rank(path, (path,), shapes, {"": path})
    if what := whole(shapes):
        raise ConfigError(
            f"weights={path} seems to be a whole checkpoint of {what}; type model.source={path} in place of weights="
        )
    if "conv_in.weight" in shapes and "down_blocks.0.resnets.0.conv1.weight" in shapes:
        key = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"
        return Found(Kind.unet, path, (path,), "", shapes[key][1] if key in shapes else 0)
    for key in ("text_model.embeddings.token_embedding.weight", "embeddings.token_embedding.weight"):
        if key in shapes and not any("vision_model" in name for name in shapes):
            return Found(Kind.text_encoder, path, (path,), "", shapes[key][1])
    if "clip_g" in shapes:  # of two text encoders
        if set(shapes) != {"clip_l", "clip_g"}:
            raise ConfigError(
                f"weights={path} seems to be a textual inversion for Stable Diffusion XL that holds {', '.join(sorted(shapes))}; "
                "give one with clip_l and clip_g"
            )
        width = sum(shape[-1] for shape in shapes.values())
        return Found(Kind.inversion, path, (path,), FAMILIES.get(width, ""), width)
    if shapes and len(shapes) <= 64 and all(len(shape) in (1, 2) and shape[-1] <= 8192 for shape in shapes.values()):
        widths = {shape[-1] for shape in shapes.values()}
        if len(widths) == 1 and not any(name.endswith((".weight", ".bias")) for name in shapes):
            (width,) = widths
            return Found(Kind.inversion, path, (path,), FAMILIES.get(width, ""), width)
    raise ConfigError(
        f"weights={path} seems to be {_other(shapes)}; give a LoRA, DoRA, textual inversion, U-Net or text encoder in "
        "safetensors, or a run folder"
    )


FAMILIES = {
    768: "Stable Diffusion 1.x",
    1024: "Stable Diffusion 2.x",
    2048: "Stable Diffusion XL",
    1280: "the refiner of SDXL",
}
"""By the width of the text states that the cross-attention reads."""
MARKS = {
    "joint_blocks.": "Stable Diffusion 3",
    "single_blocks.": "FLUX",
    "double_blocks.": "FLUX",
    "single_blocks_": "FLUX",
    "double_blocks_": "FLUX",
    "single_transformer_blocks.": "FLUX",
    "add_k_proj": "Stable Diffusion 3 or FLUX",
    "lora_transformer_": "a transformer such as FLUX",
    "transformer.transformer_blocks.": "a transformer such as Stable Diffusion 3",
    "diffusion_model.layers.": "a transformer such as Z-Image or Lumina",
    "temporal_transformer": "video (AnimateDiff)",
    "motion_modules": "video (AnimateDiff)",
    "blocks.0.cross_attn": "video (Wan)",
}
OTHERS = {
    "control_model.": "a ControlNet",
    "controlnet_cond_embedding": "a ControlNet",
    "input_hint_block": "a ControlNet",
    "image_proj": "an IP-Adapter",
    "ip_adapter": "an IP-Adapter",
    "motion_modules": "a motion module of AnimateDiff",
    "vision_model.": "a whole CLIP",
    "decoder.up": "a VAE",
    "decoder.mid": "a VAE",
    "embedder": "parts of a text encoder",
}


def whole(shapes: Shapes) -> str:
    """Of which family a file in the original single-file layout is; empty for another one."""
    if not any(name.startswith("model.diffusion_model.") for name in shapes):
        return ""
    if any(name.startswith("conditioner.embedders.1") for name in shapes):
        return "Stable Diffusion XL"
    for mark, family in MARKS.items():
        if any(mark in name for name in shapes):
            return family
    for name, shape in shapes.items():
        if name.endswith("attn2.to_k.weight"):
            return FAMILIES.get(shape[1], f"a model whose text states are {shape[1]} wide")
    return "an unknown family"


def _low_rank(path: Path, files: tuple[Path, ...], shapes: Shapes, roots: dict[str, Path]) -> Found:
    found = {name: key for name in shapes if (key := parse(name))}
    ranks = tuple(sorted({shapes[name][0] for name, key in found.items() if key.part == "down" and shapes[name]}))
    widths = {
        shapes[name][1]
        for name, key in found.items()
        if key.part == "down" and key.layer.replace(".", "_").endswith(("attn2_to_k", "attn2_to_v"))
    }
    width = min(widths, default=0)
    family = next((family for mark, family in MARKS.items() if any(mark in name for name in shapes)), "")
    if not family and any(key.network == TEXT_2 for key in found.values()):
        family = "Stable Diffusion XL"
    if not family and width:
        family = FAMILIES.get(width, f"a model whose text states are {width} wide")
    dora = any(key.part == "magnitude" for key in found.values())
    return Found(Kind.low_rank, path, files, family, width, ranks, dora, roots)


def _other(shapes: Shapes) -> str:
    for mark, what in (*OTHERS.items(), *((mark, f"weights for {family}") for mark, family in MARKS.items())):
        if any(mark in name for name in shapes):
            return what
    return f"none of what is read here (its tensors are {', '.join(sorted(shapes)[:3]) or 'none'})"
