"""From the features of two models to the verdict of `eval=full`: every metric of both, and every change.

    OMP_NUM_THREADS=1 python -m bench verdict                    N = M = 1,000, width 2,048: target 10 s
    OMP_NUM_THREADS=1 python -m bench verdict --samples=30000    target two minutes

One thread, processor time. The limits are the peers: 10 s (120 s from 10,000 samples on) over ours. Looked at first: what each
image contributes to FID is the FID without it, computed from the features each time - which is also the peer of that number, a
few of its N decompositions timed.
"""

import os
from typing import Any

import numpy as np

from bench._measure import profile, rounded, timed

WIDTH, LIMIT, LARGE_LIMIT = 2048, 10.0, 120.0
METRICS = (
    "fid",
    "kid",
    "inception_score",
    "clip_score",
    "agreement",
    "ref_clip_score",
    "prdc",
    "cmmd",
    "fid_infinity",
    "vendi",
    "memorisation",
)
LOOKED_AT = 4


def run(samples: int = 1000, rounds: int = 2, width: int = WIDTH) -> dict[str, Any]:
    """Seconds of the whole, by metric, and of comparing what was measured; ratios to the limits."""
    from t2i.evaluation.metrics.measurement import changes
    from t2i.evaluation.metrics.registry import METRICS as REGISTRY

    assert os.environ.get("OMP_NUM_THREADS") == "1", "type OMP_NUM_THREADS=1 before the command"
    first, second = (_inputs(samples, width, key) for key in (1, 2))
    whole, by_metric, comparing = [], dict.fromkeys(METRICS, 0.0), []
    for _ in range(rounds):
        total = 0.0
        measured: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
        for name in by_metric:
            for found, inputs in zip(measured, (first, second), strict=True):
                taken, numbers = timed(lambda name=name, inputs=inputs: REGISTRY[name].measure(inputs))
                found.update(numbers)
                by_metric[name] += taken / rounds
                total += taken
        taken, _ = timed(lambda measured=measured: changes(*measured, first.units))
        comparing.append(taken)
        whole.append(total + taken)
        print(f"verdict: {total + taken:.2f} s, of which comparing {taken:.3f} s", flush=True)
    limit = LIMIT if samples < 10_000 else LARGE_LIMIT
    return {
        "what": f"eval=full of two models, N = M = {samples:,}, width {width:,}, one thread, processor time",
        "samples": samples,
        "limit_s": limit,
        "ours_s": [rounded(value) for value in whole],
        "comparing_s": [rounded(value) for value in comparing],
        "by_metric_s": {name: rounded(value) for name, value in by_metric.items()},
        "limit_over_ours": {
            "median": rounded(limit / float(np.median(whole))),
            "range": [rounded(limit / max(whole)), rounded(limit / min(whole))],
        },
        "leaving_one_out": _leaving_out(first),
        "results_equal": True,
        "profile": profile(lambda: REGISTRY["fid"].measure(first)),
    }


def _leaving_out(inputs: Any) -> dict[str, Any]:
    """Contributions of FID against FID without each image, from features; AssertionError unless they agree to 1e-6."""
    from t2i.evaluation.metrics.fid import frechet_distance
    from t2i.evaluation.statistics.frechet import distances_without

    x, y = inputs.generated.astype(np.float64), inputs.reference.astype(np.float64)
    ours, found = timed(lambda: distances_without(x, y))
    some = range(LOOKED_AT)
    theirs, expected = timed(lambda: [frechet_distance(np.delete(x, i, axis=0), y) for i in some])
    assert np.allclose(found[:LOOKED_AT], expected, rtol=1e-6), (found[:LOOKED_AT], expected)
    ratio = theirs / LOOKED_AT * len(x) / ours
    return {"ours_s": rounded(ours), "theirs_s": rounded(theirs / LOOKED_AT * len(x)), "median": rounded(ratio)}


def _inputs(samples: int, width: int, key: int) -> Any:
    from t2i.evaluation.metrics.measurement import Inputs

    rng = np.random.default_rng([samples, width])
    basis = (
        rng.standard_normal((width, width)).astype(np.float32)
        * np.arange(1, width + 1, dtype=np.float32)[:, None] ** -0.5
    )

    def features(count: int, offset: float) -> np.ndarray:
        values: np.ndarray = np.maximum(rng.standard_normal((count, width), np.float32) @ basis / 4 + 0.3 + offset, 0)
        return values

    reference, texts, train = features(samples, 0.0), features(samples, 0.0), features(samples, 0.0)
    classes = rng.standard_normal((20, width)).astype(np.float32)
    others = [texts[i : i + 1] for i in rng.permutation(samples)]
    accepted = [frozenset([int(index)]) for index in rng.integers(0, 20, samples)]
    generated = features(samples, 0.05 * key)
    rest = {"logit_scale": 20.0, "train": train, "other_texts": others}
    return Inputs(generated, 0, reference, texts, classes, accepted, **rest)
