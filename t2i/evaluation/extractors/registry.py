"""The extractors by name. A new one is a file with a class of this shape, an entry here, and a test."""

from collections.abc import Callable
from pathlib import PurePath
from typing import TYPE_CHECKING, Protocol

import numpy as np

from t2i.data.pictures import Pictures
from t2i.evaluation import checks
from t2i.evaluation.config import BUNDLED, CLIPS, DEFAULT_RESIZE, Evaluation
from t2i.evaluation.extractors.inception_weights import SHA256, inception_file
from t2i.evaluation.extractors.precision import suffix
from t2i.models.clip_files import TINY_CLIP, locate, weights_digest
from t2i.progress import progress

if TYPE_CHECKING:
    import torch


class ImageExtractor(Protocol):
    """Images to features; rows do not depend on what else is in the batch."""

    @property
    def kind(self) -> str:
        """Family: `clip`, `inception` or `dinov2`; some metrics are defined for one only."""
        ...

    name: str
    """Goes into the metric's name: `fid[name]`."""
    digest: str
    """sha256 of the weights."""
    preprocessing: str
    """Resize policy from uint8 image to network input (`t2i/evaluation/extractors/resize.py`)."""

    @property
    def device(self) -> "torch.device":
        """Where it computes."""
        ...

    @property
    def at_once(self) -> int:
        """Pictures that keep all its threads busy."""
        ...

    def images(self, batch: np.ndarray) -> np.ndarray:
        """uint8 (N, H, W, 3) -> float32 (N, D)."""
        ...

    def logits(self, features: np.ndarray) -> np.ndarray | None:
        """Features (N, D) -> class logits float32 (N, K); None for a network without classes."""
        ...


class Extractor(ImageExtractor, Protocol):
    """Images and texts to features in one space."""

    @property
    def logit_scale(self) -> float:
        """Factor of the cosine before a softmax over classes."""
        ...

    def texts(self, batch: list[str]) -> np.ndarray:
        """N texts -> float32 (N, D)."""
        ...

    def text_vectors(self, batch: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """N texts -> what `texts` gives, and the mean of the last hidden states before the projection, (N, width)."""
        ...


def build(config: Evaluation, device: str = "cpu") -> Extractor:
    """The CLIP that the configuration names (`eval.clip`), its weights loaded onto `device`."""
    from t2i.evaluation.extractors.clip import ClipExtractor

    name, weights = source(config)
    policy = config.resize_policy if config.extractor in CLIPS else DEFAULT_RESIZE["clip"]
    return ClipExtractor(weights, name, device, policy, config.exact)


def _inception(config: Evaluation, device: str) -> ImageExtractor:
    from t2i.evaluation.extractors.inception import InceptionExtractor

    return InceptionExtractor(config.inception, config.resize_policy, device, config.exact)


def _dinov2(config: Evaluation, device: str) -> ImageExtractor:
    from t2i.evaluation.extractors.dinov2 import Dinov2Extractor

    return Dinov2Extractor(config.dinov2, config.resize_policy, device, config.exact)


EXTRACTORS: dict[str, Callable[[Evaluation, str], ImageExtractor]] = {
    "tiny_clip": build,
    "clip": build,
    "inception": _inception,
    "dinov2": _dinov2,
}


def build_both(config: Evaluation, device: str = "cpu") -> tuple[ImageExtractor, Extractor]:
    """The extractor that `eval.extractor` names and the CLIP of `eval.clip`: the same object where that is the one."""
    clip = build(config, device)
    return (clip if config.extractor in CLIPS else EXTRACTORS[config.extractor](config, device)), clip


def source(config: Evaluation) -> tuple[str, str]:
    """Name of the CLIP, and the folder or hub id of its weights."""
    if config.clip == BUNDLED:
        return "tiny_clip", str(TINY_CLIP)
    return PurePath(config.clip.partition("@")[0]).name, config.clip


def identity(config: Evaluation) -> tuple[str, str]:
    """Name and weight digest of the CLIP that `build` would load, without loading it."""
    name, weights = source(config)
    return name, weights_digest(locate(weights))


def digests(config: Evaluation) -> str:
    """What identifies the features of both networks of `build_both`, without loading them: weights, and numbers if not exact."""
    clip = identity(config)[1] + suffix(config.exact)
    if config.extractor == "inception":
        inception_file(config.inception)
        return f"{SHA256} {clip}"
    if config.extractor == "dinov2":
        return f"{weights_digest(locate(config.dinov2, 'eval.dinov2', 'DINOv2'))} {clip}"
    return clip


def image_features(extractor: ImageExtractor, name: str, images: np.ndarray | Pictures, batch_size: int) -> np.ndarray:
    """float32 (N, D) of uint8 (N, H, W, 3), `batch_size` images at a time or more; UserError if one is not finite."""
    checks.images(name, images)
    batch_size = max(batch_size, extractor.at_once)
    starts = progress(range(0, len(images), batch_size), f"{extractor.name} features, {name} images", "batch")
    features = np.concatenate([extractor.images(images[start : start + batch_size]) for start in starts])
    checks.features(name, features, least=1)
    return features


def shared_image_features(
    extractor: ImageExtractor, name: str, images: np.ndarray | Pictures, batch_size: int
) -> np.ndarray:
    """As `image_features`, each process computing its share; every process has to call it with the same images.

    Pictures of several sizes go through the network size by size, as each would alone.
    """
    if isinstance(images, Pictures) and images.sizes is not None:
        groups = images.groups()
        parts = [shared_image_features(extractor, name, own, batch_size) for _, own in groups]
        order = np.argsort(np.concatenate([rows for rows, _ in groups]))
        return np.concatenate(parts)[order]
    import torch

    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return image_features(extractor, name, images, batch_size)
    # Imported here: torchmetrics takes five seconds, which a single process need not spend.
    from t2i.evaluation.distributed import features_of

    features = features_of(extractor, checks.images(name, images), batch_size)
    # Looked at where all have all rows: an error in one process alone would leave the others waiting.
    checks.features(name, features, least=1)
    return features


def text_features(extractor: Extractor, texts: list[str], batch_size: int) -> np.ndarray:
    """float32 (N, D) of N texts, each different one computed once."""
    distinct = sorted(set(texts))
    parts = [extractor.texts(distinct[start : start + batch_size]) for start in range(0, len(distinct), batch_size)]
    row = {text: index for index, text in enumerate(distinct)}
    return np.concatenate(parts)[[row[text] for text in texts]]
