"""From generated images to numbers with intervals and a definition; two such results: t2i/evaluation/verdict.py."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from t2i.errors import UserError
from t2i.evaluation.config import Evaluation
from t2i.evaluation.definition import define
from t2i.evaluation.extractors.judges import Judge
from t2i.evaluation.extractors.registry import Extractor, ImageExtractor
from t2i.evaluation.gather import Samples, gather
from t2i.evaluation.metrics import registry
from t2i.evaluation.metrics.measurement import Features, Inputs, Measurement
from t2i.evaluation.statistics.terms import Terms, Units


@dataclass(frozen=True)
class Result:
    """What one evaluation found."""

    metrics: dict[str, float]
    """`fid[tiny_clip]`, with the bounds of its 95 % interval as `fid[tiny_clip].low` and `.high`, and, where that is for this
    reference, those for the world as `fid[tiny_clip].world.low` and `.world.high`; bounds that are infinite are left out. What a
    number is read against stands beside it: `composition_colour[tiny_clip].real` and `.chance`."""
    per_sample: dict[str, np.ndarray]
    """float64 (N,) for the metrics that have a value per image."""
    definition: dict[str, Any]
    """How the numbers came to be (`t2i.evaluation.definition`)."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Metrics that the data could not feed, and what they lacked."""
    terms: dict[str, Terms] = field(default_factory=dict)
    """What each number whose change can be tested is made of."""
    units: Units = field(default_factory=Units)
    """Which images belong together."""
    scopes: dict[str, str] = field(default_factory=dict)
    """What the interval of each number is for: `this reference`, `the world`, or nothing where no reference is looked at."""


def evaluate(
    config: Evaluation,
    generated: np.ndarray,
    captions: list[str],
    accepted: Sequence[Collection[str]] | None,
    reference: np.ndarray | None,
    classes: list[str] | None,
    extractor: Extractor,
) -> Result:
    """Every metric of `config` on `generated` uint8 (N, H, W, 3), image i made from captions[i], by one CLIP.

    `reference`: uint8 (M, H, W, 3) real images; `classes`: K names; `accepted`: for each image the names that are
    right. Without one of them the metrics that need it are skipped and named. Raises UserError for mismatched
    lengths, non-finite features, unknown class names, or when no metric is left.
    """
    return evaluate_samples(config, Samples(generated, captions, accepted, reference, classes), extractor, extractor)


def evaluate_samples(
    config: Evaluation,
    samples: Samples,
    extractor: ImageExtractor,
    clip: Extractor,
    judges: Mapping[str, Judge] = MappingProxyType({}),
) -> Result:
    """As `evaluate`; metrics that need texts take the features of `clip`, those with a judge of their own that of `judges`, the
    others those of `extractor`."""
    return result_of(config, samples, extractor, clip, gather(config, samples, extractor, clip, judges), judges)


def result_of(
    config: Evaluation,
    samples: Samples,
    extractor: ImageExtractor,
    clip: Extractor,
    inputs: Mapping[str, Inputs],
    judges: Mapping[str, Judge] = MappingProxyType({}),
) -> Result:
    """The numbers that follow from gathered `inputs`."""
    found: dict[str, Measurement] = {}
    skipped: dict[str, str] = {}
    for name in config.metrics:
        if reason := samples.lacking.get(name) or _lacks(name, inputs.get(name)):
            skipped[name] = reason
            continue
        own = inputs[name]
        source = judges[name].name if name in judges else source_of(name, extractor.name, clip.name, own)
        found |= registry.measure(name, own, source)
    if not found:
        reasons = "; ".join(f"{name} {reason}" for name, reason in skipped.items())
        raise UserError(f"none of eval.metrics can be measured on this data ({reasons}): choose others")
    train = inputs["memorisation"].train if "memorisation" in inputs else None
    return Result(
        numbers_of(found),
        {key: own.per_sample for key, own in found.items() if own.per_sample is not None},
        define(config, samples, extractor, clip, train, judges).as_dict(),
        skipped,
        {key: own.terms for key, own in found.items() if own.terms is not None},
        samples.units,
        {key: own.scope for key, own in found.items()},
    )


def numbers_of(found: Mapping[str, Measurement]) -> dict[str, float]:
    """Values and finite bounds by name, as in `Result.metrics`."""
    metrics: dict[str, float] = {}
    for key, own in found.items():
        metrics[key] = own.interval.value
        for ending, interval in (("", own.interval), (".world", own.world)):
            bounds = {} if interval is None else {"low": interval.low, "high": interval.high}
            metrics |= {f"{key}{ending}.{end}": bound for end, bound in bounds.items() if np.isfinite(bound)}
        for name, known in own.beside.items():
            metrics[f"{key}.{name}"] = known.value
            ends = {"low": known.low, "high": known.high} if known.low < known.high else {}
            metrics |= {f"{key}.{name}.{end}": bound for end, bound in ends.items() if np.isfinite(bound)}
    return metrics


def source_of(name: str, extractor: str, clip: str, inputs: Inputs | None = None) -> str:
    """The name of the network that metric `name` takes its features from; empty for what is read by none."""
    features = registry.METRICS[name].features
    if features is Features.SUITE and inputs is not None and inputs.suite is not None:
        return inputs.suite.judge
    return {Features.CLIP: clip, Features.MODEL: ""}.get(features, extractor)


def _lacks(name: str, inputs: Inputs | None) -> str:
    """Why metric `name` cannot be measured; empty when it can."""
    if inputs is None:
        features = registry.METRICS[name].features
        return "needs its judge" if features is Features.JUDGE else f"needs eval.extractor={features.value}"
    if lacking := registry.missing(name, inputs):
        return f"needs {' and '.join(lacking)}"
    least, fewest = registry.SMALLEST.get(name, 2), len(inputs.generated)
    held = any("reference" in need.split("|") for need in registry.METRICS[name].needs)
    if held and inputs.reference is not None:
        fewest = min(fewest, len(inputs.reference))
    return f"needs {least} samples, of {fewest}" if fewest < least else ""
