"""The words that a textual inversion teaches, from its header alone."""

from pathlib import Path

from t2i.models.adapters.kinds import Found
from t2i.models.safetensors_file import header_of

NAMELESS = frozenset({"emb_params", "*", "string_to_param", "embedding", "learned_embeds"})
"""Keys that are no word: the file's name is the word then, as AUTOMATIC1111 has it."""
BY_ENCODER = {"clip_l": "text_encoder", "clip_g": "text_encoder_2"}
"""Keys of a file for a model of two text encoders, which holds one word."""
WORD = "placeholder"
"""In the metadata of such a file: its word; where none is said, the file's name is."""


def words_of(found: Found) -> list[str]:
    """The word that a prompt has to hold for each embedding of the file."""
    return [word or Path(found.path).stem for word in _said(found)]


def named(found: Found) -> list[str]:
    """Those of them that the file itself says, whatever it is called."""
    return [word for word in _said(found) if word]


def _said(found: Found) -> list[str]:
    header = header_of(found.files[0])
    names = sorted(header.shapes)
    if set(names) == set(BY_ENCODER):
        return [header.metadata.get(WORD, "")]
    return ["" if name in NAMELESS else name for name in names]
