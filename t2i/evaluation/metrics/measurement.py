"""What every metric receives and returns: one signature, so that a new metric is one file and one registry entry."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from t2i.evaluation.metrics.subject import Subjects
from t2i.evaluation.statistics import paired
from t2i.evaluation.statistics.gaussian import Gaussian
from t2i.evaluation.statistics.intervals import Interval
from t2i.evaluation.statistics.paired import PairedDifference
from t2i.evaluation.statistics.terms import Terms, Units, interval


class Features(Enum):
    """Which extractor a metric takes its features from."""

    ANY = "any"
    """The one that `eval.extractor` names."""
    CLIP = "clip"
    """Images and texts in one space: that of `eval.extractor` if it is a CLIP, otherwise `eval.clip`."""
    DINOV2 = "dinov2"
    """DINOv2 only."""
    MODEL = "model"
    """None: what the model itself does, by a number of its own."""
    SUITE = "suite"
    """None: pictures of a prompt suite, and who read them."""
    JUDGE = "judge"
    """A judge of its own (`t2i/evaluation/extractors/judges.py`), by the metric's name."""


@dataclass(frozen=True)
class Suited:
    """Which pictures of a prompt suite show what their prompts ask for, by skill: 1 or 0 a prompt, float64 (n,)."""

    judge: str
    """The network that read them: goes into the number's name."""
    hits: Mapping[str, np.ndarray]
    real: Mapping[str, np.ndarray]
    """The same of real pictures of the same prompts, by the same judge; empty where there are none."""
    chance: Mapping[str, float]
    """What a picture of anything is taken for right by; a skill is missing where nobody knows."""
    scored: bool = False
    """Whether a prompt has a score in [0, 1] in place of 1 or 0."""


@dataclass(frozen=True)
class Inputs:
    """Features of one evaluation; what a metric does not have (None) makes it unavailable, not wrong."""

    generated: np.ndarray
    """float32 (N, D): features of the generated images."""
    seed: int
    """Key of what is drawn by lot: the order of FID-infinity."""
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
    units: Units = field(default_factory=Units)
    """Which images belong together, because they are of one picture."""
    answers: np.ndarray | None = None
    """float64 (N, 2): P(yes) that picture i shows its caption, and what yes and no have of all words."""
    moments: Gaussian | None = None
    """Mean and covariance of a reference whose features nobody has."""
    held_out_losses: np.ndarray | None = None
    """float64 (P, T): the loss of each held-out picture at each of the times."""
    suite: Suited | None = None
    """What a judge read of the pictures of a prompt suite."""
    subject: Subjects | None = None
    """Pictures of a subject, by the same network as the rest."""


REFERENCE, WORLD = "this reference", "the world"
"""What an interval is for: other generated images against the same reference, or against one that is drawn anew too."""


@dataclass(frozen=True)
class Measurement:
    """One number with its interval and, for metrics that have one, the value of each sample."""

    interval: Interval
    per_sample: np.ndarray | None = None
    """float64 (N,); NaN where a sample does not count."""
    terms: Terms | None = None
    """What its variance is made of; None for a number whose change has no test."""
    world: Interval | None = None
    """The same value with the reference's own sampling error, where `interval` is for this reference."""
    scope: str = ""
    """What `interval` is for: REFERENCE, WORLD, or empty where no reference is looked at."""
    beside: Mapping[str, Interval] = field(default_factory=dict)
    """What the number is read against, by name: `real`, `chance`."""


def measured(terms: Terms, units: Units, per_sample: np.ndarray | None = None) -> Measurement:
    """A number with the intervals that its terms give it."""
    if terms.reference is None:
        return Measurement(interval(terms, units, world=False), per_sample, terms)
    return Measurement(interval(terms, units, False), per_sample, terms, interval(terms, units, True), REFERENCE)


Measure = Callable[[Inputs], dict[str, Measurement]]


def between(measure: Measure) -> Callable[[Inputs, Inputs], dict[str, PairedDifference]]:
    """`difference(base, tuned)` of two sets from the same captions and seeds, for a metric's `measure`."""

    def difference(base: Inputs, tuned: Inputs) -> dict[str, PairedDifference]:
        return changes(measure(base), measure(tuned), base.units)

    return difference


def changes(base: dict[str, Measurement], tuned: dict[str, Measurement], units: Units) -> dict[str, PairedDifference]:
    """How every number that has terms changed from `base` to `tuned`."""
    return {
        name: paired.difference(own.terms, other.terms, units)
        for name, own in base.items()
        if own.terms is not None and (other := tuned.get(name)) is not None and other.terms is not None
    }


@dataclass(frozen=True)
class Metric:
    """A registry entry: how to measure, and which fields of `Inputs` that needs."""

    measure: Measure
    needs: tuple[str, ...]
    """Fields of `Inputs`; of a group such as `logits|classes` one is enough."""
    features: Features = Features.ANY
    """Whose features it is defined for."""
    higher_is_better: bool | None = False
    """None where neither is."""
    judge: str = ""
    """Of a metric that judges each picture with its prompt: what it was taught by. Two of different kinds may disagree."""
