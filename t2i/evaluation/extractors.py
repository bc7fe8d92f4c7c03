"""The extractors by name. A new one is a file with a class of this shape, an entry here, and a test."""

from collections.abc import Callable
from pathlib import PurePath
from typing import Protocol

import numpy as np

from t2i.evaluation import checks
from t2i.evaluation.config import Evaluation
from t2i.models.clip_files import TINY_CLIP, locate, weights_digest


class Extractor(Protocol):
    """Images and texts to features in one space; rows do not depend on what else is in the batch."""

    name: str
    """Goes into the metric's name: `fid[name]`."""
    digest: str
    """sha256 of the weights."""
    preprocessing: str
    """Named policy from uint8 image to network input."""

    @property
    def logit_scale(self) -> float:
        """Factor of the cosine before a softmax over classes."""
        ...

    def images(self, batch: np.ndarray) -> np.ndarray:
        """uint8 (N, H, W, 3) -> float32 (N, D)."""
        ...

    def texts(self, batch: list[str]) -> np.ndarray:
        """N texts -> float32 (N, D)."""
        ...

    def text_vectors(self, batch: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """N texts -> what `texts` gives, and the mean of the last hidden states before the projection, (N, width)."""
        ...


def _clip(config: Evaluation, device: str) -> Extractor:
    from t2i.evaluation.clip_extractor import ClipExtractor

    name, weights = source(config)
    return ClipExtractor(weights, name, device)


EXTRACTORS: dict[str, Callable[[Evaluation, str], Extractor]] = {"tiny_clip": _clip, "clip": _clip}


def source(config: Evaluation) -> tuple[str, str]:
    """Name of the extractor, and the folder or hub id of its weights."""
    if config.extractor == "tiny_clip":
        return "tiny_clip", str(TINY_CLIP)
    return PurePath(config.clip.partition("@")[0]).name, config.clip


def identity(config: Evaluation) -> tuple[str, str]:
    """Name and weight digest of the extractor that `build` would load, without loading it."""
    name, weights = source(config)
    return name, weights_digest(locate(weights))


def build(config: Evaluation, device: str = "cpu") -> Extractor:
    """The extractor that the configuration names, its weights loaded onto `device`."""
    return EXTRACTORS[config.extractor](config, device)


def image_features(extractor: Extractor, name: str, images: np.ndarray, batch_size: int) -> np.ndarray:
    """float32 (N, D) of uint8 (N, H, W, 3), `batch_size` images at a time; UserError if one is not finite."""
    checks.images(name, images)
    parts = [extractor.images(images[start : start + batch_size]) for start in range(0, len(images), batch_size)]
    features = np.concatenate(parts)
    checks.features(name, features, least=1)
    return features


def text_features(extractor: Extractor, texts: list[str], batch_size: int) -> np.ndarray:
    """float32 (N, D) of N texts, each different one computed once."""
    distinct = sorted(set(texts))
    parts = [extractor.texts(distinct[start : start + batch_size]) for start in range(0, len(distinct), batch_size)]
    row = {text: index for index, text in enumerate(distinct)}
    return np.concatenate(parts)[[row[text] for text in texts]]
