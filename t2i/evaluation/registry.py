"""The metrics by name. A new one is a file with `measure`, an entry here, and a test with a pinned number."""

from t2i.evaluation import agreement, clip_score, fid, inception_score, kid
from t2i.evaluation.measurement import Inputs, Measurement, Metric

METRICS: dict[str, Metric] = {
    "fid": Metric(fid.measure, needs=("reference",)),
    "kid": Metric(kid.measure, needs=("reference",)),
    "inception_score": Metric(inception_score.measure, needs=("classes", "logit_scale")),
    "clip_score": Metric(clip_score.measure, needs=("texts",)),
    "agreement": Metric(agreement.measure, needs=("classes", "accepted")),
}


def missing(name: str, inputs: Inputs) -> list[str]:
    """What metric `name` needs and `inputs` does not have."""
    return [need for need in METRICS[name].needs if getattr(inputs, need) is None]


def measure(name: str, inputs: Inputs, extractor: str) -> dict[str, Measurement]:
    """Metric `name`, its numbers named for the features they come from: `fid[tiny_clip]`."""
    return {f"{key}[{extractor}]": value for key, value in METRICS[name].measure(inputs).items()}
