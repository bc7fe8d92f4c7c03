"""What a sweep ranks its cells by: two metrics that pull apart, unless it is told which.

Guidance trades one for the other: more of it raises scores of alignment and preference long after pictures suffer (Xie et al.
2026, arXiv:2602.22570), and FID is lowest at little of it (Ho & Salimans 2022, arXiv:2207.12598, sec. 4.1). Either alone picks
an end of the range; the cells that no other beats in both are the answer.
"""

from dataclasses import replace

from t2i.config import Config
from t2i.evaluation.config import CLIPS
from t2i.sweeps.config import Direction, Sampler

SHOWN = ("clip_score", "agreement", "ref_clip_score")
"""Do pictures show what was asked for? The first that is measured."""
LIKE_REAL = ("kid", "cmmd", "fd_dinov2", "fid")
"""Do they look like real ones? The first that is measured: those without bias at few pictures come first."""


def settled(config: Config) -> Config:
    """The configuration with its objectives named: those of the sweep, or the pair of those that it measures.

    One that names a metric keeps to it; so does a race, and a sampler that knows one objective only.
    """
    sweeps = config.sweeps
    if sweeps.metric is not None:
        return config
    first, *others = _pair(config)
    one = sweeps.also or sweeps.racing or sweeps.sampler is Sampler.cmaes
    also = sweeps.also if one else dict.fromkeys(others, Direction.minimize)
    direction = sweeps.direction if first.partition("[")[0] in SHOWN else Direction.minimize
    return replace(config, sweeps=replace(sweeps, metric=first, direction=direction, also=also))


def _pair(config: Config) -> list[str]:
    """The first measured metric of each kind, by the name of the number."""
    from t2i.evaluation.evaluate import source_of
    from t2i.evaluation.extractors.registry import source

    names = config.sweeps.fixed.get("eval.metrics", config.eval.metrics)
    clip = source(config.eval)[0]
    extractor = clip if config.eval.extractor in CLIPS else config.eval.extractor
    kinds = (SHOWN, LIKE_REAL)
    found = [name for kind in kinds if (name := next((own for own in kind if own in names), None)) is not None]
    return [f"{name}[{source_of(name, extractor, clip)}]" for name in found or ["clip_score"]]
