"""FD-DINOv2: the Frechet distance of `fid` on DINOv2 features (Stein et al. 2023, arXiv:2306.04675, sec. 4)."""

from t2i.evaluation.metrics import fid
from t2i.evaluation.metrics.measurement import Inputs, Measurement, between


def measure(inputs: Inputs) -> dict[str, Measurement]:
    """`fd_dinov2` with its interval."""
    return {"fd_dinov2": fid.measure(inputs)["fid"]}


difference = between(measure)
