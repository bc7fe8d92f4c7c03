"""What a sweep ranks its cells by: two metrics that pull apart, unless it is told which.

Guidance trades one for the other: more of it raises scores of alignment and preference long after pictures suffer (Xie et al.
2026, arXiv:2602.22570), and FID is lowest at little of it (Ho & Salimans 2022, arXiv:2207.12598, sec. 4.1). Either alone picks
an end of the range; the cells that no other beats in both are the answer.
"""

from dataclasses import replace

from t2i import identity
from t2i.config import Config
from t2i.errors import ConfigError, unknown
from t2i.evaluation.config import CLIPS
from t2i.evaluation.metrics.measurement import Features
from t2i.evaluation.metrics.registry import METRICS, NUMBERS_OF, metric_of
from t2i.sweeps.config import Direction, Sampler

SHOWN = ("clip_score", "agreement", "ref_clip_score")
"""Do pictures show what was asked for? The first that is measured."""
LIKE_REAL = ("kid", "cmmd", "fd_dinov2", "fid")
"""Do they look like real ones? The first that is measured: those without bias at few pictures come first."""


OF_A_TRAINING = ("held_out_loss", "trainable_parameters")
COST = ("seconds_per_image", "evaluations_per_image", *OF_A_TRAINING)
"""Numbers of a cell that are of no metric: what drawing and training cost, and what a training ends at. Less is better."""


def settled(config: Config) -> Config:
    """The configuration with its objectives named: those of the sweep, or the pair of those that it measures.

    One that names a metric keeps to it; so does a race, and a sampler that knows one objective only. Raises ConfigError as
    `refuse`.
    """
    refuse(config)
    sweeps = config.sweeps
    if sweeps.metric is not None:
        metric, also = _number(config, sweeps.metric), {_number(config, n): way for n, way in sweeps.also.items()}
        return replace(
            config,
            sweeps=replace(sweeps, metric=metric, direction=sweeps.direction or _better(metric), also=also),
        )
    first, *others = (_number(config, name) for name in _pair(config))
    one = sweeps.also or sweeps.racing or sweeps.sampler is Sampler.cmaes
    also = sweeps.also if one else dict.fromkeys(others, Direction.minimize)
    also = {_number(config, name): way for name, way in also.items()}
    return replace(
        config, sweeps=replace(sweeps, metric=first, direction=sweeps.direction or _better(first), also=also)
    )


def refuse(config: Config) -> None:
    """ConfigError for an objective that no cell has, or of which neither more nor less is better: before anything is drawn."""
    sweeps, measured = config.sweeps, _measured(config)
    for key, name in [("metric", sweeps.metric), *(("also", name) for name in sweeps.also)]:
        if name is None or name in COST:
            if name in OF_A_TRAINING and not identity.trains({**sweeps.fixed, **sweeps.space}):
                raise ConfigError(
                    f"sweeps.{key}={name} is of a training, and no cell trains; search a key of strategy or training too, as "
                    "sweeps=tune does, or use another number"
                )
            continue
        metric = metric_of(name)
        numbers = {*NUMBERS_OF, *METRICS, *COST} - {"prdc"}
        if metric not in METRICS or name.partition("[")[0] not in numbers:
            raise unknown(f"sweeps.{key}={name} is no number of a cell", name.partition("[")[0], sorted(numbers))
        if metric not in measured:
            raise ConfigError(
                f"sweeps.{key}={name} is not measured; type eval.metrics=[{','.join([*measured, metric])}] too, or use one of: "
                f"{', '.join([*measured, *COST])}"
            )
        if key == "metric" and sweeps.direction is None:
            _better(name)
    if sweeps.metric is None:
        _pair(config)
    if sweeps.racing and "clip_score" not in measured:
        raise ConfigError(
            f"sweeps.racing=true compares CLIP scores, and none is measured; type eval.metrics=[{','.join(measured)},clip_score]"
        )


def _better(name: str) -> Direction:
    """Which way a number is better; ConfigError where it is neither."""
    higher = False if name in COST else METRICS[metric_of(name)].higher_is_better
    if higher is None:
        ways = " or ".join(f"sweeps.direction={way.value}" for way in Direction)
        raise ConfigError(f"sweeps.metric={name}: neither more nor less of it is better by itself; type {ways} too")
    return Direction.maximize if higher else Direction.minimize


def _measured(config: Config) -> list[str]:
    return list(config.sweeps.fixed.get("eval.metrics", config.eval.metrics))


def _number(config: Config, name: str) -> str:
    """The number that a name means: `kid` is `kid[tiny_clip]` where that is the extractor; ConfigError for one of another."""
    from t2i.evaluation.evaluate import source_of
    from t2i.evaluation.extractors.registry import source

    features = None if name in COST else METRICS[metric_of(name)].features
    if features not in (Features.ANY, Features.CLIP, Features.DINOV2):
        return name
    clip = source(config.eval)[0]
    extractor = clip if config.eval.extractor in CLIPS else config.eval.extractor
    plain, bracket, _ = name.partition("[")
    number = f"{plain}[{source_of(metric_of(name), extractor, clip)}]"
    if bracket and name != number:
        raise ConfigError(
            f"sweeps: {name} is not measured, but {number}; type {plain}, or eval.extractor and eval.clip of the other"
        )
    return number


def _pair(config: Config) -> list[str]:
    """The first measured metric of each kind; of none, the first that can rank. ConfigError where there is none at all."""
    names = [name for name in _measured(config) if name in METRICS]
    found = [name for kind in (SHOWN, LIKE_REAL) for name in [own for own in kind if own in names][:1]]
    able = [name for name in names if name not in NUMBERS_OF.values() and METRICS[name].higher_is_better is not None]
    if not found and not able:
        raise ConfigError(
            f"eval.metrics=[{','.join(names)}] holds nothing that cells are ranked by without being told; type "
            "eval.metrics=[clip_score,kid], or sweeps.metric and sweeps.direction"
        )
    return found or able[:1]
