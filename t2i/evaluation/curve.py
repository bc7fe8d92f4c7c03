"""At which checkpoint should a training have stopped? The best one, those that cannot be told from it, and from when on
pictures come closer to those that are trained on.

The best is held against every other with p values that are adjusted for all pairs of checkpoints, the base model among them
(`statistics/simultaneous.py`): that it was chosen is paid for. What the sentence says of the nearest training pictures is in
the same table of tests.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from t2i.evaluation.evaluate import Result
from t2i.evaluation.labels import LABELS
from t2i.evaluation.metrics.registry import higher_is_better, metric_of
from t2i.evaluation.statistics import independent, simultaneous
from t2i.evaluation.statistics.intervals import LEVEL
from t2i.evaluation.statistics.paired import PairedDifference, difference, fewest_pairs
from t2i.evaluation.statistics.simultaneous import pairwise
from t2i.evaluation.statistics.terms import Terms, Units
from t2i.evaluation.verdict import FEW

BIASED = ("fid", "fd_dinov2", "inception_score", "vendi", "prdc", "memorisation")
"""Metrics whose expectation hangs on the number of pictures."""

NEAREST = "memorisation_distance"
"""The mean distance of pictures to the nearest one that is trained on."""


@dataclass(frozen=True)
class Curve:
    """What the checkpoints of a training say together; indices are into `steps`."""

    steps: tuple[int, ...]
    """Ascending; 0 is the base model."""
    metric: str
    """By which they are ranked: `kid[tiny_clip]`."""
    values: tuple[float, ...]
    """Of this metric."""
    best: int
    tied: tuple[int, ...]
    """Those that cannot be told from the best one, which is not among them."""
    end: PairedDifference
    """How the last one differs from the best by the metric; of equal sets where it is the best."""
    end_adjusted: float
    """Its p, adjusted for all tests."""
    closer: Optional[int]
    """Behind the best: from here on every checkpoint is closer to the training pictures than the best; None: nothing says so."""
    closer_than_real: Optional[int]
    """From here on every checkpoint is closer to the training pictures than real held-out pictures are."""
    tests: int
    """How many the p values are adjusted for."""
    pairs: int
    """Independent pairs that the metric is of: of pictures, or of what its own sample is made of."""

    @property
    def too_few(self) -> str:
        """Why nothing can be told, with the number that would do; empty where it can."""
        needed = fewest_pairs(self.tests)
        if self.pairs >= needed:
            return ""
        return (
            f"too few for any verdict: {self.tests} tests need {needed} pairs of pictures, and {self.pairs} are there"
        )

    @property
    def last(self) -> int:
        """The last checkpoint."""
        return len(self.steps) - 1

    @property
    def worse_at_the_end(self) -> bool:
        """Whether the last one is worse than the best for certain."""
        return self.last != self.best and self.last not in self.tied

    @property
    def stop(self) -> Optional[int]:
        """Where to stop: at the best, where the last is told from it or training pictures come closer behind it; otherwise at the
        earliest that cannot be told from it. Where its pictures are nearer to the training set than real ones are, at the last
        such before that. None where there is none, and where training is not told from the base model.
        """
        if self.best == 0 or 0 in self.tied:
            return None
        bound = len(self.steps) if self.closer_than_real is None else self.closer_than_real
        among = [k for k in (self.best, *self.tied) if k < bound]
        if self.best >= bound:
            return max(among, default=None)
        return min(among) if self._level else self.best

    @property
    def _level(self) -> bool:
        """Whether nothing is told behind the best: neither worse nor nearer to the training set."""
        nearer = self.closer is not None or self.closer_than_real is not None
        return not nearer and self.last in (self.best, *self.tied)

    @property
    def label(self) -> str:
        """The metric's name in a sentence."""
        name = self.metric.partition("[")[0]
        return LABELS.get(name, name.replace("_", " "))

    @property
    def sentence(self) -> str:
        """`the best by KID is step 600; 800 and 1,000 cannot be told from it; from 1,200 on the nearest training picture comes
        closer: stop at 600`.
        """
        if self.too_few:
            return f"cannot tell ({self.too_few})"
        parts = [f"the best by {self.label} is {self._named(self.best)}"]
        if self.tied:
            parts.append(f"{self._listed(self.tied)} cannot be told from it")
        if self.worse_at_the_end:
            parts.append(f"the last, {self._named(self.last)}, is worse")
        parts += self._memory()
        return f"{'; '.join(parts)}: {self._advice()}"

    @property
    def headline(self) -> str:
        """The advice and what it rests on, short enough for a figure: `Stop at 600: the best by KID is step 600`."""
        told = f"{self._advice()}: the best by {self.label} is {self._named(self.best)}"
        return f"{told[0].upper()}{told[1:]}" if not self.too_few else f"Cannot tell: {self.too_few}"

    def _memory(self) -> list[str]:
        found = []
        if self.closer is not None:
            found.append(f"from {self.steps[self.closer]:,} on the nearest training picture comes closer")
        if self.closer_than_real is not None:
            start = self.steps[self.closer_than_real]
            found.append(f"from {start:,} on pictures are nearer to the training set than real held-out ones are")
        return found

    def _advice(self) -> str:
        if self.best == 0 or 0 in self.tied:
            return "nothing says that training helped; train otherwise, or draw more pictures (eval.images)"
        if self.stop is None:
            return "what was gained may be memory; train on more pictures"
        if self.stop == self.last:
            return "it has not turned yet; train longer"
        earliest = ", the earliest of these" if self._level and self.tied else ""
        return f"stop at {self.steps[self.stop]:,}{earliest}"

    def _named(self, index: int) -> str:
        return f"step {self.steps[index]:,}" if index else "the base model"

    def _listed(self, indices: Sequence[int]) -> str:
        names = [f"{self.steps[k]:,}" if k else "the base model" for k in sorted(indices)]
        return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def leading(result: Result) -> Optional[str]:
    """The metric that checkpoints are ranked by: the first that has a test and a better end, and below 1,000 pictures the
    first of those whose expectation does not hang on their number; None where there is none.
    """
    known = [key for key in result.terms if higher_is_better(key) is not None]
    few = int(result.definition["generated_count"]) < FEW
    known.sort(key=lambda key: few and metric_of(key) in BIASED)
    return next(iter(known), None)


def ranked(steps: Sequence[int], results: Sequence[Result], metric: str, real: Optional[Terms] = None) -> Curve:
    """What `results` of the same captions and seeds say, one a step, the first of the base model; at least two.

    metric: by which they are ranked, of those with a test. real: the distances of real held-out pictures to the nearest that
    are trained on, where they are known.
    """
    nearest = next((key for key in results[0].terms if key.partition("[")[0] == NEAREST), None)
    found: dict[Any, PairedDifference] = {}
    for key in dict.fromkeys([metric, *([nearest] if nearest else [])]):
        own = pairwise([result.terms[key] for result in results], results[0].units)
        found |= {(key, *pair): change for pair, change in own.items()}
    if nearest is not None and real is not None:
        for k, result in enumerate(results):
            found["real", k] = independent.difference(real, result.terms[nearest], (Units(), result.units))
    adjusted = simultaneous.adjusted(found)
    sign = -1.0 if higher_is_better(metric) is False else 1.0
    values = tuple(result.metrics[metric] for result in results)
    best = max(range(len(results)), key=lambda k: (sign * values[k], -k))
    clear = {name for name, p in adjusted.items() if p <= 1.0 - LEVEL}
    last = len(results) - 1
    units = results[0].units.generated
    count = int(results[0].definition["generated_count"])
    pairs = count if units is None else len(set(units.tolist()))
    if results[0].terms[metric].alone:  # of a sample of its own, such as the prompts of a suite
        pairs = max((change.pairs for name, change in found.items() if name[0] == metric), default=0)
    return Curve(
        tuple(steps),
        metric,
        values,
        best,
        tuple(k for k in range(len(results)) if k != best and (metric, *sorted((k, best))) not in clear),
        difference(results[best].terms[metric], results[last].terms[metric], results[0].units),
        adjusted.get((metric, best, last), 1.0),
        _onset([k > best and _nearer(found, clear, (nearest, best, k)) for k in range(len(results))]),
        # Where the base model's are too, it is nothing that this training has learnt.
        _onset([_nearer(found, clear, ("real", k)) for k in range(len(results))]) or None,
        len(found),
        pairs,
    )


def _nearer(found: Mapping[Any, PairedDifference], clear: set[Any], name: Any) -> bool:
    return name in clear and found[name].difference.value < 0.0


def _onset(holds: Sequence[bool]) -> Optional[int]:
    """Where the last stretch begins in which it holds, to the end; None where it does not hold at the end."""
    start = len(holds)
    while start and holds[start - 1]:
        start -= 1
    return start if start < len(holds) else None
