"""The metrics by name. A new one is a file with `measure`, an entry here, and a test with a pinned number."""

from t2i.evaluation import (
    agreement,
    clip_score,
    cmmd,
    fd_dinov2,
    fid,
    fid_infinity,
    inception_score,
    kid,
    memorisation,
    prdc,
    prdc_difference,
    ref_clip_score,
    vendi,
)
from t2i.evaluation.measurement import Features, Inputs, Measurement, Metric
from t2i.evaluation.paired import PairedDifference

METRICS: dict[str, Metric] = {
    "fid": Metric(fid.measure, ("reference",), difference=fid.difference),
    "kid": Metric(kid.measure, ("reference",), difference=kid.difference),
    "inception_score": Metric(
        inception_score.measure,
        ("logits|classes", "logits|logit_scale"),
        difference=inception_score.difference,
        higher_is_better=True,
    ),
    "clip_score": Metric(clip_score.measure, ("texts",), Features.CLIP, clip_score.difference, higher_is_better=True),
    "agreement": Metric(
        agreement.measure, ("classes", "accepted"), Features.CLIP, agreement.difference, higher_is_better=True
    ),
    "ref_clip_score": Metric(
        ref_clip_score.measure,
        ("texts", "other_texts"),
        Features.CLIP,
        ref_clip_score.difference,
        higher_is_better=True,
    ),
    "prdc": Metric(prdc.measure, ("reference",), difference=prdc_difference.difference, higher_is_better=True),
    "cmmd": Metric(cmmd.measure, ("reference",), Features.CLIP, cmmd.difference),
    "fd_dinov2": Metric(fd_dinov2.measure, ("reference",), Features.DINOV2, fd_dinov2.difference),
    "fid_infinity": Metric(fid_infinity.measure, ("reference",)),
    "vendi": Metric(vendi.measure, (), difference=vendi.difference, higher_is_better=True),
    "memorisation": Metric(
        memorisation.measure, ("reference", "train"), difference=memorisation.difference, higher_is_better=None
    ),
}

SMALLEST = {"prdc": prdc.K + 1, "fid_infinity": fid_infinity.LEAST}
"""Samples below which a metric is left out, with the reason, instead of refused."""


def missing(name: str, inputs: Inputs) -> list[str]:
    """What metric `name` needs and `inputs` does not have; of alternatives the last."""
    groups = [need.split("|") for need in METRICS[name].needs]
    return [group[-1] for group in groups if all(getattr(inputs, need) is None for need in group)]


def measure(name: str, inputs: Inputs, extractor: str) -> dict[str, Measurement]:
    """Metric `name`, its numbers named for the features they come from: `fid[tiny_clip]`."""
    return {f"{key}[{extractor}]": value for key, value in METRICS[name].measure(inputs).items()}


def difference(name: str, base: Inputs, tuned: Inputs, extractor: str) -> dict[str, PairedDifference]:
    """How metric `name` changed from `base` to `tuned`, same prompts and seeds; empty where it has no test."""
    test = METRICS[name].difference
    return {} if test is None else {f"{key}[{extractor}]": value for key, value in test(base, tuned).items()}
