"""The words that a textual inversion teaches, from its header alone."""

from pathlib import Path

from t2i.models.adapters.kinds import Found
from t2i.models.safetensors_file import header_of

NAMELESS = frozenset({"emb_params", "*", "string_to_param", "embedding", "learned_embeds"})
"""Keys that are no word: the file's name is the word then, as AUTOMATIC1111 has it."""


def words_of(found: Found) -> list[str]:
    """The word that a prompt has to hold for each embedding of the file."""
    names = sorted(header_of(found.files[0]).shapes)
    return [Path(found.path).stem if name in NAMELESS else name for name in names]
