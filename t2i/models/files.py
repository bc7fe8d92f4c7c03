"""Which files hold the weights of one network in a folder: one, several (sharded), or those of a variant such as fp16."""

import re
from pathlib import Path

from t2i.errors import ConfigError
from t2i.models.pickles import SUFFIXES, refusal

NAME = re.compile(
    r"(?:diffusion_pytorch_|adapter_)?model(?:\.(?P<variant>(?!safetensors)\w+))?(?P<shard>-\d+-of-\d+)?(?:\.(?P<late>(?!safetensors)\w+))?\.safetensors"
)
PREFERRED = ("fp32", "bf16", "fp16")
"""Of several variants, the most precise."""


def variant_of(folder: Path) -> str | None:
    """The variant whose files are read: None for the plain files, which come first.

    Raises ConfigError when there are no safetensors at all.
    """
    found: set[str | None] = set()
    for path in folder.glob("*.safetensors"):
        if match := NAME.fullmatch(path.name):
            found.add(match["variant"] or match["late"])
    if not found:
        pickles = sorted(path for path in folder.glob("*model*") if path.suffix in SUFFIXES)
        if pickles:
            raise ConfigError(refusal(pickles[0] if len(pickles) == 1 else folder))
        raise ConfigError(f"{folder} holds no weights; expected a file such as diffusion_pytorch_model.safetensors")
    if None in found:
        return None
    return min(found, key=lambda name: (PREFERRED.index(name) if name in PREFERRED else len(PREFERRED), str(name)))


def weight_files(folder: Path) -> list[Path]:
    """The files with a network's weights, in the order of names."""
    variant = variant_of(folder)
    matches = {path: NAME.fullmatch(path.name) for path in sorted(folder.glob("*.safetensors"))}
    own = {path: match for path, match in matches.items() if match and (match["variant"] or match["late"]) == variant}
    whole = [path for path, match in own.items() if not match["shard"]]
    return whole[:1] or list(own)
