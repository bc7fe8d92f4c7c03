"""Worlds with a known truth: two models, the pictures they draw for the same captions, and real pictures.

The pictures are drawn anew in each repetition, those of the reference too; classes and training pictures stay. What a
metric's true change is, at this number of pictures, is its mean over repetitions; in `nothing` and `mirrored` it is exactly
0 by symmetry.

    nothing     both models are one model, which is not the real world
    mirrored    the models lie mirror-wise around the real world: every distribution differs, no metric does
    shift       the second model is further away
    scale       the second model is more varied
    t5, t3      shift, with noise from Student's t: heavy tails (the fourth moments of t3 are infinite)
    captions    nothing changed, and five captions of one picture share 70 % of their noise
    linked      nothing changed, and real picture i is the one that caption i describes, as with held-out pictures
    kinds       nothing changed, and pictures are of thirty kinds of things with gaps between them
"""

import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

import numpy as np

from t2i.evaluation.metrics.measurement import Inputs, Measurement, Suited, changes
from t2i.evaluation.metrics.registry import METRICS
from t2i.evaluation.metrics.subject import Subjects
from t2i.evaluation.statistics import independent
from t2i.evaluation.statistics.paired import PairedDifference
from t2i.evaluation.statistics.terms import Units

KINDS = ("nothing", "mirrored", "shift", "scale", "t5", "t3", "captions", "linked", "kinds")
NULL = ("nothing", "mirrored", "captions", "linked", "kinds")
THINGS = 30
"""Of the world of kinds."""
CAPTIONS = 5
CORRELATION = 0.7


def world(kind: str, count: int, width: int, seed: int, real: int | None = None) -> tuple[Inputs, Inputs]:
    """The inputs of every metric for both models: `count` pictures of `width` features, `real` real ones (default: as many)."""
    rng = np.random.default_rng([seed, count, width])
    spectrum = np.arange(1, width + 1) ** -0.5
    pictures = count // CAPTIONS if kind == "captions" else count
    shown = rng.standard_normal((pictures, width))
    owner = np.arange(count) % pictures  # captions come in rounds, as in an evaluation
    reference = rng.standard_normal((real or count, width)) * spectrum
    if kind == "kinds":
        centres = np.random.default_rng(width + 1).standard_normal((THINGS, width))
        things = rng.integers(THINGS, size=(2, count))
        shown, reference = centres[things[0]], (centres[things[1]] + 0.4 * reference / spectrum) * spectrum
    prompts = shown[owner]
    units = Units(owner) if kind == "captions" else Units()
    if kind == "linked":
        reference = (0.8**0.5 * shown + 0.2**0.5 * rng.standard_normal((count, width))) * spectrum
        units = Units(owner, owner)
    freedom = {"t5": 5, "t3": 3}.get(kind)
    seeds = rng.standard_normal((count, width)) if kind == "kinds" else np.zeros(1)

    def drawn(offset: float, scale: float) -> np.ndarray:
        noise = rng.standard_normal((count, width))
        if kind == "captions":
            shared = rng.standard_normal((pictures, width))[owner]
            noise = CORRELATION**0.5 * shared + (1.0 - CORRELATION) ** 0.5 * noise
        if freedom is not None:
            noise *= np.sqrt((freedom - 2) / rng.chisquare(freedom, (count, 1)))
        if kind == "kinds":
            # Each model has what it draws a kind like, and half of the noise is the seed's.
            return ((prompts + 0.4 * 0.5**0.5 * (seeds + noise) + offset) * scale * spectrum).astype(np.float32)
        values: np.ndarray = ((prompts + noise) * 0.5**0.5 * scale + offset) * spectrum
        return values.astype(np.float32)

    first, second = {
        "nothing": ((0.3, 1.1), (0.3, 1.1)),
        "mirrored": ((0.4, 1.0), (-0.4, 1.0)),
        "scale": ((0.1, 1.05), (0.1, 1.3)),
        "captions": ((0.3, 1.1), (0.3, 1.1)),
        "linked": ((0.0, 1.0), (0.0, 1.0)),
        "kinds": ((0.0, 1.0), (0.0, 1.0)),
    }.get(kind, ((0.1, 1.0), (0.4, 1.0)))
    fixed = np.random.default_rng(width)
    half = fixed.standard_normal((4, width))
    classes = np.concatenate([half, -half])
    classes /= np.linalg.norm(classes, axis=1, keepdims=True)
    texts = (prompts * spectrum).astype(np.float32)
    accepted = [frozenset([int(index)]) for index in (texts @ classes.T).argmax(axis=1)]
    others = [text + 0.5 * rng.standard_normal((2, width)) * spectrum for text in texts]
    base = Inputs(
        drawn(*first),
        seed,
        reference.astype(np.float32),
        texts,
        classes,
        accepted,
        logit_scale=20.0,
        train=(fixed.standard_normal((150, width)) * spectrum).astype(np.float32),
        other_texts=others,
        units=units,
    )
    apart = np.random.default_rng([seed, count, width, 1])
    prompted = apart.standard_normal((count, 5))
    subject = _subject(apart, max(8, count // 2), width)

    def beside(offset: float, scale: float) -> dict[str, Any]:
        """Losses and prompts of a suite, which are other samples than the pictures."""
        values = (prompted + apart.standard_normal((count, 5))) * 0.5**0.5 * scale + offset
        right = (np.abs(values[:, 4]) > 0.7).astype(np.float64)
        suite = Suited("toy", {"colour": right}, {}, {})
        # To one side of the subject: along it, mirror images would not be equally near.
        beside = 0.3 * offset * _side(width)
        drawn = subject.drawn + 0.7 * scale * apart.standard_normal(subject.drawn.shape) + beside
        moved = subject.elsewhere_before + 0.5 * scale * apart.standard_normal(subject.elsewhere.shape)
        told = replace(subject, drawn=drawn, elsewhere=moved)
        return {"held_out_losses": values[:, :4] ** 2, "suite": suite, "subject": told}

    base = replace(base, answers=_answers(base.generated), **beside(*first))
    generated = drawn(*second)
    return base, replace(base, generated=generated, answers=_answers(generated), **beside(*second))


def _subject(rng: np.random.Generator, prompts: int, width: int) -> Subjects:
    """One subject in many places, two pictures of each before a model adds its own; its real pictures are 16."""
    who, places = np.ones(width), rng.standard_normal((prompts, width))
    labels, real = np.repeat(np.arange(prompts), 2), who + 0.7 * rng.standard_normal((16, width))
    zeros, rest = np.zeros(2 * prompts, int), rng.standard_normal((prompts, width))
    texts = places[labels] + 0.2 * who
    # Like those of every metric, the training pictures are the same in all repetitions; as near to one side as to the other.
    half, side = np.random.default_rng(width).standard_normal((3, width)), _side(width)
    trained = who + 0.7 * np.concatenate([half, half - 2.0 * np.outer(half @ side, side) / width])
    return Subjects(who + places[labels], labels, zeros, real, zeros[:16], trained, zeros[:6], rest, rest, texts)


def _side(width: int) -> np.ndarray:
    """A direction across the subject's own."""
    return np.resize([1.0, -1.0], width)


def _answers(generated: np.ndarray) -> np.ndarray:
    """P(yes) of each picture, the same of mirror images, and what yes and no have of all words."""
    yes = 1.0 / (1.0 + np.square(generated[:, 0].astype(np.float64)))
    return np.stack([yes, np.full(len(yes), 0.9)], axis=1)


def strangers(kind: str, count: int, width: int, seed: int) -> tuple[Inputs, Inputs]:
    """As `world`, and the models draw for other captions with other noise: they share the real pictures and nothing else."""
    base, _ = world(kind, count, width, seed)
    _, tuned = world(kind, count, width, seed + 1_000_000)
    return base, replace(tuned, reference=base.reference, seed=base.seed)


@dataclass(frozen=True)
class Seen:
    """Of one number in one world, over repetitions."""

    held: float
    """Share of the intervals of the change that hold the true change."""
    false: float
    """Share of repetitions in which a change is found where there is none; NaN where there is one."""
    power: float
    """Share in which the true change is found; NaN where there is none."""
    ratio: float
    """Root mean square of the standard errors over the standard deviation of the changes."""
    values: float
    """Share of the intervals of the second model's value that hold its expectation."""


def simulate_strangers(kind: str, count: int, width: int, repetitions: int) -> dict[str, Seen]:
    """What every tested number does between two independent sets, by its name."""
    found: dict[str, list[tuple[PairedDifference, Measurement]]] = defaultdict(list)
    for seed in range(repetitions):
        base, tuned = strangers(kind, count, width, seed)
        for name, metric in METRICS.items():
            if name not in ("fd_dinov2", "fid_infinity"):
                before, after = metric.measure(base), metric.measure(tuned)
                for key, own in before.items():
                    if own.terms is not None and (other := after[key].terms) is not None:
                        change = independent.difference(own.terms, other, (base.units, tuned.units))
                        found[key].append((change, after[key]))
    return {key: _seen(kind, own) for key, own in found.items()}


def simulate(
    kind: str, count: int, width: int, repetitions: int, real: int | None = None, only: Sequence[str] = ()
) -> dict[str, Seen]:
    """What every tested number, or those of the metrics in `only`, does in a world, by its name."""
    found: dict[str, list[tuple[PairedDifference, Measurement]]] = defaultdict(list)
    for seed in range(repetitions):
        base, tuned = world(kind, count, width, seed, real)
        for name, metric in METRICS.items():
            if only and name not in only:
                continue
            if name not in ("fd_dinov2", "fid_infinity"):  # the same as fid on other features; no test
                before, after = metric.measure(base), metric.measure(tuned)
                for key, change in changes(before, after, base.units).items():
                    found[key].append((change, after[key]))
    return {key: _seen(kind, own) for key, own in found.items()}


def _seen(kind: str, found: list[tuple[PairedDifference, Measurement]]) -> Seen:
    change = np.array([[own.difference.value, own.difference.low, own.difference.high, own.p] for own, _ in found])
    errors = np.array([own.standard_error for own, _ in found])
    truth = 0.0 if kind in NULL else float(change[:, 0].mean())
    held = float(np.mean((change[:, 1] <= truth) & (truth <= change[:, 2])))
    seen = float(np.mean(change[:, 3] <= 0.05))
    intervals = [own.world or own.interval for _, own in found]
    values = np.array([[own.value, own.low, own.high] for own in intervals])
    mean = values[:, 0].mean()
    return Seen(
        held,
        seen if kind in NULL else np.nan,
        np.nan if kind in NULL else seen,
        float(np.sqrt(np.mean(errors**2)) / max(change[:, 0].std(), 1e-300)),
        float(np.mean((values[:, 1] <= mean) & (mean <= values[:, 2]))),
    )


if __name__ == "__main__":  # python -m tests.evaluation.worlds <repetitions> <count> <width> [<real pictures>]
    # With "strangers" behind them: of independent sets.
    apart = sys.argv[-1] == "strangers"
    repetitions, count, width, *rest = map(int, sys.argv[1 : -1 if apart else None])
    for kind in KINDS:
        seen = (
            simulate_strangers(kind, count, width, repetitions)
            if apart
            else simulate(kind, count, width, repetitions, *rest)
        )
        for name, own in seen.items():
            print(kind, name, *(f"{value:.3f}" for value in astuple(own)), sep="\t", flush=True)
