"""From generated images to numbers with intervals and a definition, and from two such results to a verdict."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from t2i.errors import UserError
from t2i.evaluation import checks, extractors, fid, intervals, registry
from t2i.evaluation.config import Evaluation
from t2i.evaluation.definition import Definition, array_digest, differences, image_format, text_digest, versions
from t2i.evaluation.extractors import Extractor
from t2i.evaluation.measurement import Inputs
from t2i.evaluation.zero_shot import class_features


@dataclass(frozen=True)
class Result:
    """What one evaluation found."""

    metrics: dict[str, float]
    """`fid[tiny_clip]`, with the bounds of its 95 % interval as `fid[tiny_clip].low` and `.high`."""
    per_sample: dict[str, np.ndarray]
    """float64 (N,) for the metrics that have a value per image."""
    definition: dict[str, Any]
    """How the numbers came to be (`t2i.evaluation.definition`); a caller may add how the images came to be."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Metrics that the data could not feed, and what they lacked."""


def evaluate(
    config: Evaluation,
    generated: np.ndarray,
    captions: list[str],
    accepted: Sequence[Collection[str]] | None,
    reference: np.ndarray | None,
    classes: list[str] | None,
    extractor: Extractor,
) -> Result:
    """Every metric of `config` on `generated` uint8 (N, H, W, 3), image i made from captions[i].

    `reference`: uint8 (M, H, W, 3) real images; `classes`: K names; `accepted`: for each image the names that are
    right. Without one of them the metrics that need it are skipped and named. Raises UserError for mismatched
    lengths, non-finite features, unknown class names, or when no metric is left.
    """
    samples = _Samples(generated, captions, accepted, reference, classes)
    inputs = _inputs(config, samples, extractor)
    metrics: dict[str, float] = {}
    per_sample: dict[str, np.ndarray] = {}
    skipped: dict[str, str] = {}
    for name in config.metrics:
        if lacking := registry.missing(name, inputs):
            skipped[name] = f"needs {' and '.join(lacking)}"
            continue
        for key, found in registry.measure(name, inputs, extractor.name).items():
            metrics[key] = found.interval.value
            metrics[f"{key}.low"], metrics[f"{key}.high"] = found.interval.low, found.interval.high
            if found.per_sample is not None:
                per_sample[key] = found.per_sample
    if not metrics:
        reasons = "; ".join(f"{name} {reason}" for name, reason in skipped.items())
        raise UserError(f"none of eval.metrics can be measured on this data ({reasons}): choose others")
    return Result(metrics, per_sample, _definition(config, samples, extractor).as_dict(), skipped)


@dataclass(frozen=True)
class _Samples:
    """The arguments of `evaluate`, together."""

    generated: np.ndarray
    captions: list[str]
    accepted: Sequence[Collection[str]] | None
    reference: np.ndarray | None
    classes: list[str] | None


def _inputs(config: Evaluation, samples: _Samples, extractor: Extractor) -> Inputs:
    """What the metrics compute from: all of the extractor's work."""
    checks.same_length("generated images", samples.generated, "captions", samples.captions)
    accepted = None
    if samples.classes is not None and samples.accepted is not None:
        checks.same_length("generated images", samples.generated, "sets of accepted classes", samples.accepted)
        accepted = checks.class_indices(samples.accepted, samples.classes)
    size = config.batch_size
    return Inputs(
        generated=extractors.image_features(extractor, "generated", samples.generated, size),
        seed=config.seed,
        replicates=config.replicates,
        reference=(
            None
            if samples.reference is None
            else extractors.image_features(extractor, "reference", samples.reference, size)
        ),
        texts=extractors.text_features(extractor, samples.captions, size),
        classes=(
            None if samples.classes is None else class_features(extractor.texts, samples.classes, config.class_prompts)
        ),
        accepted=accepted,
        logit_scale=extractor.logit_scale,
    )


def _definition(config: Evaluation, samples: _Samples, extractor: Extractor) -> Definition:
    reference = samples.reference
    right = [" | ".join(sorted(names)) for names in samples.accepted or []]
    return Definition(
        extractor=extractor.name,
        weights_sha256=extractor.digest,
        preprocessing=extractor.preprocessing,
        image_format=image_format(samples.generated),
        reference_format="none" if reference is None else image_format(reference),
        generated_count=len(samples.generated),
        reference_count=0 if reference is None else len(reference),
        reference_sha256="none" if reference is None else array_digest(reference),
        prompts_sha256=text_digest(samples.captions),
        classes_sha256=text_digest([*(samples.classes or []), "", *config.class_prompts, "", *right]),
        covariance_ddof=fid.DDOF,
        kid_kernel="(x.y/D + 1)^3, unbiased, all pairs",
        inception_score_splits=1,
        interval=f"{intervals.LEVEL:.0%} bootstrap, {config.replicates} replicates, seed {config.seed}",
        versions=versions(),
    )


def compare(base: Result, tuned: Result, seed: int = 0, replicates: int = 2000) -> dict[str, Any]:
    """Base against tuned on the same prompts and seeds: the paired CLIP-score difference and a verdict.

    Returns `metric`, `difference` (tuned minus base), `low`, `high` (95 %), `wins`, `losses`, `ties`, `sign_test_p`,
    `samples`, `verdict` (`better`, `worse` or `cannot tell`: does the interval leave zero out?) and `sentence`.
    Raises UserError that names the fields in which the two definitions differ.
    """
    if fields := differences(base.definition, tuned.definition):
        raise UserError(f"the two results are not comparable, they differ in {', '.join(fields)}: evaluate both alike")
    metric = f"clip_score[{base.definition['extractor']}]"
    if metric not in base.per_sample or metric not in tuned.per_sample:
        raise UserError(f"{metric} per sample is missing: expected it in both results; add clip_score to eval.metrics")
    paired = intervals.paired_difference(base.per_sample[metric], tuned.per_sample[metric], seed, replicates)
    change, count = paired.difference, len(base.per_sample[metric])
    verdict = "better" if change.low > 0 else "worse" if change.high < 0 else "cannot tell"
    return {
        "metric": metric,
        "difference": change.value,
        "low": change.low,
        "high": change.high,
        "wins": paired.wins,
        "losses": paired.losses,
        "ties": paired.ties,
        "sign_test_p": paired.sign_test_p,
        "samples": count,
        "verdict": verdict,
        "sentence": (
            f"{verdict} at N = {count}: {metric} changes by {change.value:+.2f} "
            f"({change.low:+.2f} to {change.high:+.2f}), sign test p = {paired.sign_test_p:.2g}"
        ),
    }
