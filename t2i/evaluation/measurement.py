"""What every metric receives and returns: one signature, so that a new metric is one file and one registry entry."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from t2i.evaluation.intervals import Interval
from t2i.evaluation.paired import PairedDifference


class Features(Enum):
    """Which extractor a metric takes its features from."""

    ANY = "any"
    """The one that `eval.extractor` names."""
    CLIP = "clip"
    """Images and texts in one space: that of `eval.extractor` if it is a CLIP, otherwise `eval.clip`."""
    DINOV2 = "dinov2"
    """DINOv2 only."""


@dataclass(frozen=True)
class Inputs:
    """Features of one evaluation; what a metric does not have (None) makes it unavailable, not wrong."""

    generated: np.ndarray
    """float32 (N, D): features of the generated images."""
    seed: int
    """Key of the resampling."""
    replicates: int
    """Bootstrap replicates; a costly metric may take fewer and says so."""
    reference: np.ndarray | None = None
    """float32 (M, D): features of the reference images."""
    texts: np.ndarray | None = None
    """float32 (N, D): features of the captions, row i belonging to generated image i."""
    classes: np.ndarray | None = None
    """float32 (K, D): one text feature per class, of unit length."""
    accepted: Sequence[frozenset[int]] | None = None
    """N sets of class indices that count as right; an empty set: the sample has no class."""
    logit_scale: float | None = None
    """Factor of the cosine before the softmax over classes (CLIP's learned inverse temperature)."""
    logits: np.ndarray | None = None
    """float32 (N, K): the network's own class logits of the generated images."""
    train: np.ndarray | None = None
    """float32 (T, D): features of training images."""
    other_texts: Sequence[np.ndarray] | None = None
    """N matrices float32 (n_i, D): features of the other captions of the picture that caption i describes."""


@dataclass(frozen=True)
class Measurement:
    """One number with its interval and, for metrics that have one, the value of each sample."""

    interval: Interval
    per_sample: np.ndarray | None = None
    """float64 (N,); NaN where a sample does not count."""


@dataclass(frozen=True)
class Metric:
    """A registry entry: how to measure, and which fields of `Inputs` that needs."""

    measure: Callable[[Inputs], dict[str, Measurement]]
    needs: tuple[str, ...]
    """Fields of `Inputs`; of a group such as `logits|classes` one is enough."""
    features: Features = Features.ANY
    """Whose features it is defined for."""
    difference: Callable[[Inputs, Inputs], dict[str, PairedDifference]] | None = None
    """`difference(base, tuned)` of two sets from the same prompts and seeds; None where there is no test."""
    higher_is_better: bool | None = False
    """None where neither is."""
