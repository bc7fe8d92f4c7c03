"""All that is measured about a CLIP on one set of captioned images, and how two of them differ."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from t2i.evaluation.metrics import alignment, retrieval
from t2i.evaluation.metrics.agreement import agreement_hits
from t2i.evaluation.statistics import clustered
from t2i.evaluation.statistics.clustered import PerImage
from t2i.evaluation.statistics.intervals import Interval

RISING = "higher is better"
FALLING = "lower is better"
NEUTRAL = ""
DIRECTIONS = {
    **{f"{way}_recall_{k}": RISING for way in ("image_to_text", "text_to_image") for k in retrieval.DEPTHS},
    **{f"{way}_median_rank": FALLING for way in ("image_to_text", "text_to_image")},
    "zero_shot_accuracy": RISING,
    "cosine_matched": RISING,
    "cosine_mismatched": FALLING,
    "cosine_margin": RISING,
    "alignment": FALLING,
    "uniformity_images": FALLING,
    "uniformity_texts": FALLING,
}
"""Every number that `measure` may give, in the order of tables."""


@dataclass(frozen=True)
class Features:
    """What a CLIP makes of a set: N images, K distinct captions, and the classes where there are any."""

    images: np.ndarray
    """(N, D)."""
    texts: np.ndarray
    """(K, D)."""
    said: Sequence[Sequence[int]]
    """For each image the rows of its captions in `texts`, one at least."""
    classes: np.ndarray | None = None
    """(C, D)."""
    accepted: Sequence[frozenset[int]] | None = None
    """For each image the classes that are right."""


@dataclass(frozen=True)
class Contrast:
    """Numbers with intervals, and for those that are means what each image contributes, for differences."""

    metrics: dict[str, Interval]
    per_image: dict[str, PerImage]


def measure(features: Features, seed: int, replicates: int) -> Contrast:
    """Retrieval, zero-shot accuracy, cosines, alignment and uniformity; what the set cannot show is left out.

    Recall@k is left out where there are no more than k candidates. Intervals: 95 %, images are the sample.
    """
    per_image: dict[str, PerImage] = {}
    found: dict[str, Interval] = {}
    weights = clustered.draws(len(features.images), seed, replicates)
    ranks = retrieval.ranks(features.images, features.texts, features.said)
    ways = (
        ("image_to_text", len(features.texts), ranks.image_to_text, np.arange(len(features.images))),
        ("text_to_image", len(features.images), ranks.text_to_image, ranks.owner),
    )
    for depth in retrieval.DEPTHS:
        for (way, candidates, _, _), recall in zip(ways, ranks.recall(depth), strict=True):
            if candidates > depth:
                per_image[f"{way}_recall_{depth}"] = recall
    for way, _, own, owner in ways:
        found[f"{way}_median_rank"] = clustered.median(own, owner, weights)
    if features.classes is not None and features.accepted is not None:
        hits = agreement_hits(features.images, features.classes, features.accepted)
        per_image["zero_shot_accuracy"] = clustered.one_each(hits, 0.0, 1.0)
    cosines = alignment.cosines(features.images, features.texts, features.said)
    per_image["cosine_matched"], per_image["alignment"] = cosines.matched, cosines.alignment
    if cosines.mismatched.count.any():
        per_image["cosine_mismatched"], per_image["cosine_margin"] = cosines.mismatched, cosines.margin
    found |= {name: clustered.mean(values) for name, values in per_image.items()}
    for name, rows in (("uniformity_images", features.images), ("uniformity_texts", features.texts)):
        if len(rows) > 1:
            found[name] = alignment.uniformity(rows, seed, replicates)
    return Contrast({name: found[name] for name in DIRECTIONS if name in found}, per_image)


def differences(before: Contrast, after: Contrast) -> dict[str, Interval]:
    """after - before for every mean over images, on the same images; and the relative gain of alignment.

    `alignment_gain`: by how many percent the mean cosine of matched pairs rose; `margin_gain`: the same of the margin,
    which - unlike the cosine - does not rise when all vectors move closer together. Left out where the number before
    is not clearly above zero.
    """
    both = [name for name in DIRECTIONS if name in before.per_image and name in after.per_image]
    found = {name: clustered.difference(before.per_image[name], after.per_image[name]) for name in both}
    for gain, name in (("alignment_gain", "cosine_matched"), ("margin_gain", "cosine_margin")):
        if name in both:
            value = clustered.gain(before.per_image[name], after.per_image[name])
            if value is not None:
                found[gain] = value
    return found
