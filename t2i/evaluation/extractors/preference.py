"""CLIPs that were taught which of two pictures people prefer: where their weights are, and how they are loaded.

PickScore (Kirstain et al. 2023, arXiv:2305.01569) is CLIP-H/14 tuned on the choices of Pick-a-Pic, in transformers' layout.
HPSv2.1 (Wu et al. 2023, arXiv:2306.09341) is the same network tuned on HPD, one file in open_clip's layout. Neither need
have a tokenizer with it: it is that of CLIP, which is bundled.
"""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from t2i.errors import UserError
from t2i.evaluation.config import Evaluation
from t2i.models.clip_files import locate, not_here, weights_digest
from t2i.models.published import PUBLISHED
from t2i.places import PACKAGE

if TYPE_CHECKING:
    from t2i.evaluation.extractors.clip import ClipExtractor

HPS = "HPS_v2.1_compressed.pt"
SUFFIXES = (".pt", ".safetensors")
VOCABULARY = PACKAGE / "assets" / "clip_vocabulary"
TOKENIZER = ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json")
PIXELS = {"pickscore": "clip", "hpsv2": "whole"}
"""How pictures are resized, as the authors' own code does (`resize.py`)."""


def weights_of(metric: str, source: str) -> Path:
    """The folder in transformers' CLIP layout, or the file in open_clip's; UserError when neither is here or can be fetched."""
    if metric == "pickscore":
        return locate(source, "eval.pickscore", "CLIP")
    path = Path(source).expanduser()
    if path.is_file():
        if path.suffix not in SUFFIXES:
            raise UserError(f"eval.hpsv2={source} is no file of weights: expected {HPS}, or the same as .safetensors")
        return path
    if path.is_dir():
        return _in_folder(path)
    return _fetched(source)


def _in_folder(folder: Path) -> Path:
    """A folder with `config.json` is in transformers' layout; another one holds the file."""
    if (folder / "config.json").is_file():
        return locate(str(folder), "eval.hpsv2", "CLIP")
    files = [path for path in sorted(folder.iterdir()) if path.suffix in SUFFIXES and "v2.1" in path.name]
    if len(files) != 1:
        raise UserError(
            f"eval.hpsv2={folder} holds {len(files)} files of HPSv2.1; expected {HPS}: name the file, eval.hpsv2={folder}/<file>"
        )
    return files[0]


def _fetched(source: str) -> Path:
    from huggingface_hub import snapshot_download

    name, _, revision = source.partition("@")
    file = PUBLISHED[name].files if name in PUBLISHED else HPS
    try:  # as a snapshot of one file: without a network that is refused at once, a file of its own after half a minute
        found = Path(snapshot_download(name, revision=revision or None, allow_patterns=[file])) / file
    except (OSError, ValueError) as error:
        raise not_here(source, "eval.hpsv2", error, HPS) from error
    if not found.is_file():
        raise UserError(f"eval.hpsv2={source} holds no {HPS}: give the file, or a folder with it")
    return found


def tokenizer_of(weights: Path) -> Path:
    """The folder with the tokenizer: that of the weights, or the bundled vocabulary of CLIP, with which both were tuned."""
    folder = weights if weights.is_dir() else weights.parent
    reads = (folder / "tokenizer.json").is_file() or all(
        (folder / own).is_file() for own in ("vocab.json", "merges.txt")
    )
    return folder if reads else VOCABULARY


def identity(metric: str, config: Evaluation) -> tuple[str, str]:
    """Name and digest of the network, without loading it: its weights and its tokenizer."""
    source = str(getattr(config, metric))
    weights = weights_of(metric, source)
    tokenizer = tokenizer_of(weights)
    if weights.is_dir():
        found = hashlib.sha256(weights_digest(weights).encode())
    else:
        with weights.open("rb") as stream:
            found = hashlib.sha256(hashlib.file_digest(stream, "sha256").hexdigest().encode())
    for path in (tokenizer / name for name in TOKENIZER):
        found.update(path.read_bytes() if path.is_file() else b"")
    return _name(source, weights), found.hexdigest()


def _name(source: str, weights: Path) -> str:
    """`PickScore_v1`, `HPS_v2_1`: goes into the metric's name, where a dot begins what is said of a number."""
    name = weights.stem.removesuffix("_compressed") if weights.is_file() else Path(source.partition("@")[0]).name
    return name.replace(".", "_")


def build(metric: str, config: Evaluation, device: str = "cpu") -> "ClipExtractor":
    """A `ClipExtractor` of the network: features of pictures and texts in one space, and its logit scale."""
    from transformers import CLIPTokenizer

    from t2i.evaluation.extractors.clip import ClipExtractor
    from t2i.models import open_clip
    from t2i.models.clip import load_clip

    weights = weights_of(metric, str(getattr(config, metric)))
    name, digest = identity(metric, config)
    model = load_clip(weights) if weights.is_dir() else open_clip.load(weights)
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_of(weights))
    if len(tokenizer) > model.text_model.config.vocab_size:
        raise UserError(
            f"{weights} knows {model.text_model.config.vocab_size} words and its tokenizer {len(tokenizer)}: expected a CLIP "
            f"with the vocabulary of CLIP, or its own tokenizer beside it; set eval.{metric}"
        )
    return ClipExtractor.of(model, tokenizer, name, digest, device, PIXELS[metric], config.exact)
