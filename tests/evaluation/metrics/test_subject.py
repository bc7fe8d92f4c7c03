"""Metrics of a subject: each formula written out, what a planted model must be found by, and intervals that hold the truth."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from t2i.errors import UserError
from t2i.evaluation.metrics import clip_i, clip_t, dino_i, drift, registry, subject_diversity, subject_nearest
from t2i.evaluation.metrics.measurement import Inputs, Measurement, Metric, changes
from t2i.evaluation.metrics.subject import Subjects
from t2i.evaluation.statistics.terms import Units
from t2i.randomness import generator


def toy(seed: int, subjects: int = 2, prompts: int = 3, each: int = 2, width: int = 5) -> Subjects:
    """Features without any structure, subjects mixed so that no order is relied on."""
    rng = generator("subject", seed)
    labels = np.repeat(np.arange(subjects * prompts), each)
    order = rng.permutation(len(labels))
    held_out, trained = np.repeat(np.arange(subjects), 4), np.repeat(np.arange(subjects), 3)
    return Subjects(
        rng.standard_normal((len(labels), width)),
        labels[order],
        (labels // prompts)[order],
        rng.standard_normal((len(held_out), width)),
        held_out,
        rng.standard_normal((len(trained), width)),
        trained,
        rng.standard_normal((7, width)),
        rng.standard_normal((7, width)),
        rng.standard_normal((subjects * prompts, width))[labels[order]],
    )


def inputs(found: Subjects) -> Inputs:
    return Inputs(np.empty((2, 0), np.float32), 0, subject=found)


def one(metric: str, found: Subjects) -> Measurement:
    (own,) = registry.METRICS[metric].measure(inputs(found)).values()
    return own


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / (a @ a) ** 0.5 / (b @ b) ** 0.5)


def mean_by_subject(found: Subjects, value: dict[int, float]) -> float:
    """Every prompt of a subject as much as any other, and every subject."""
    totals = []
    for owner in {*found.owners.tolist()}:
        prompts = {*found.prompts[found.owners == owner].tolist()}
        totals.append(
            np.mean([np.mean([value[i] for i in np.flatnonzero(found.prompts == prompt)]) for prompt in prompts])
        )
    return float(np.mean(totals))


def test_each_formula_is_what_the_paper_writes() -> None:
    """Loops over pictures, one cosine at a time."""
    found = toy(0)
    assert found.texts is not None
    every = range(len(found.drawn))

    def real(i: int) -> list[np.ndarray]:
        return list(found.held_out[found.held_out_owners == found.owners[i]])

    def trained(i: int) -> list[np.ndarray]:
        return list(found.trained[found.trained_owners == found.owners[i]])

    def siblings(i: int) -> list[int]:
        return [k for k in every if found.prompts[k] == found.prompts[i] and k != i]

    texts = found.texts
    close = {i: float(np.mean([cosine(found.drawn[i], r) for r in real(i)])) for i in every}
    for metric in ("clip_i", "dino_i"):
        assert one(metric, found).interval.value == pytest.approx(mean_by_subject(found, close), abs=1e-12)
    fit = {i: cosine(found.drawn[i], texts[i]) for i in every}
    assert one("clip_t", found).interval.value == pytest.approx(mean_by_subject(found, fit), abs=1e-12)
    near = {i: 1 - max(cosine(found.drawn[i], t) for t in trained(i)) for i in every}
    assert one("subject_nearest", found).interval.value == pytest.approx(mean_by_subject(found, near), abs=1e-12)
    apart = {i: 1 - float(np.mean([cosine(found.drawn[i], found.drawn[k]) for k in siblings(i)])) for i in every}
    assert one("subject_diversity", found).interval.value == pytest.approx(mean_by_subject(found, apart), abs=1e-12)
    moved = [1 - cosine(a, b) for a, b in zip(found.elsewhere, found.elsewhere_before, strict=True)]
    assert one("drift", found).interval.value == pytest.approx(np.mean(moved), abs=1e-12)


def test_what_stands_beside_them_is_written_out_too() -> None:
    found = toy(1, subjects=1)
    assert found.texts is not None
    pairs = [cosine(t, r) for t in found.trained for r in found.held_out]
    assert one("clip_i", found).beside["real"].value == pytest.approx(np.mean(pairs))
    other = [
        cosine(found.drawn[i], found.texts[k])
        for i in range(len(found.drawn))
        for k in range(len(found.drawn))
        if found.prompts[i] != found.prompts[k]
    ]
    assert one("clip_t", found).beside["chance"].value == pytest.approx(np.mean(other))
    between = [1 - cosine(a, b) for a, b in combinations(found.elsewhere_before, 2)]
    assert one("drift", found).beside["chance"].value == pytest.approx(np.mean(between))
    held = [1 - max(cosine(r, t) for t in found.trained) for r in found.held_out]
    assert one("subject_nearest", found).beside["real"].value == pytest.approx(np.mean(held))


def test_pinned_numbers() -> None:
    found = toy(2)
    told = {name: one(name, found).interval for name in PINNED}
    assert {name: (own.value, own.low, own.high) for name, own in told.items()} == {
        name: pytest.approx(values, abs=1e-6) for name, values in PINNED.items()
    }


PINNED = {
    "clip_i": (-0.0012736, -0.932697, 0.9301498),
    "clip_t": (0.0490558, -1.0, 1.0),
    "drift": (0.9049097, 0.4882891, 1.3215302),
    "subject_diversity": (0.8059876, 0.3978421, 1.2141332),
    "subject_nearest": (0.5424217, 0.0, 1.2479932),
}


def test_the_base_model_has_no_drift_by_definition() -> None:
    own = one("drift", replace(toy(3), base=True))
    assert (own.interval.value, own.interval.low, own.interval.high) == (0.0, 0.0, 0.0)
    tuned = inputs(toy(3))
    change = drift.difference(inputs(replace(toy(3), base=True)), tuned)["drift"]
    assert change.difference.value == pytest.approx(one("drift", toy(3)).interval.value) and change.pairs == 7


def world(seed: int, subjects: int, noise: float = 0.3) -> tuple[Subjects, float]:
    """Subjects that differ in how well the model knows them: the truth is the mean over all subjects there could be.

    Features have two parts, the subject's own direction with a share that is the subject's, and the rest orthogonal to every
    real picture, so that the expected cosine is that share exactly.
    """
    rng = generator("subject world", seed, subjects)
    prompts, each, width = 4, 2, 12
    share = np.clip(0.6 + noise * rng.uniform(-1, 1, subjects), 0.05, 0.98)
    labels = np.repeat(np.arange(subjects * prompts), each)
    owners = labels // prompts
    identity = np.eye(subjects, subjects)
    own = np.clip(share[owners] + 0.05 * rng.uniform(-1, 1, len(labels)), 0, 1)
    rest = rng.standard_normal((len(labels), width))
    rest /= np.linalg.norm(rest, axis=1, keepdims=True)
    drawn = np.hstack([own[:, None] * identity[owners], np.sqrt(1 - own[:, None] ** 2) * rest])
    real = np.hstack([identity, np.zeros((subjects, width))])
    one_each = np.arange(subjects)
    return Subjects(drawn, labels, owners, real, one_each, real, one_each, drawn[:2], drawn[:2], drawn), 0.6


def test_intervals_over_subjects_hold_the_truth_and_those_over_pictures_would_not() -> None:
    """Subjects differ by more than pictures of one: resampling pictures would be far too sure."""
    hits, naive = 0, 0
    repetitions = 300
    for seed in range(repetitions):
        found, truth = world(seed, 8)
        own = one("clip_i", found).interval
        hits += own.low <= truth <= own.high
        values = (found.drawn * found.held_out[found.owners]).sum(axis=1)
        error = values.std(ddof=1) / len(values) ** 0.5
        naive += abs(values.mean() - truth) <= 1.96 * error
    assert 0.915 <= hits / repetitions <= 0.985
    assert naive / repetitions < 0.75


def test_a_single_subject_is_told_for_other_pictures_of_it_too() -> None:
    """The held-out pictures are a sample: for the world the interval is wider; of one picture nobody can say."""
    found = toy(4, subjects=1, prompts=8)
    own = one("clip_i", found)
    assert own.world is not None and own.scope == "this reference"
    assert own.world.high - own.world.low > own.interval.high - own.interval.low
    single = replace(found, held_out=found.held_out[:1], held_out_owners=found.held_out_owners[:1])
    assert one("clip_i", single).world is None


def planted(seed: int) -> Subjects:
    """A sound model: each picture is the subject, its own prompt, and something of its own."""
    rng = generator("planted", seed)
    prompts, each, width = 12, 2, 40
    labels = np.repeat(np.arange(prompts), each)
    who, places = rng.standard_normal(width), rng.standard_normal((prompts, width))
    drawn = who + places[labels] + 0.5 * rng.standard_normal((len(labels), width))
    real = who + rng.standard_normal((9, width))
    zeros = np.zeros(len(labels), int)
    rest = rng.standard_normal((6, width))
    return Subjects(
        drawn, labels, zeros, real[:4], zeros[:4], real[4:], zeros[:5], rest, rest, places[labels] + 0.2 * who
    )


def test_a_model_that_draws_its_training_pictures_is_found_by_the_nearest_and_by_diversity() -> None:
    """Though CLIP-I alone would praise it."""
    sound = planted(0)
    picks = sound.prompts % len(sound.trained)
    copying = replace(sound, drawn=sound.trained[picks] + 1e-4)
    near = subject_nearest.difference(inputs(sound), inputs(copying))["subject_nearest"]
    varied = subject_diversity.difference(inputs(sound), inputs(copying))["subject_diversity"]
    assert near.difference.high < 0 and varied.difference.high < 0 and max(near.p, varied.p) < 1e-3
    told = one("subject_nearest", copying)
    assert told.interval.high < told.beside["real"].low
    praised = clip_i.measure(inputs(copying))["clip_i"].interval.value
    assert praised == pytest.approx(one("clip_i", sound).interval.value, abs=0.15)


def test_a_model_that_ignores_its_prompts_is_found_by_clip_t() -> None:
    """It draws the subject in the place of another prompt: as near to it as before, and no nearer to its own prompt than to
    any other."""
    sound = planted(1)
    ignoring = replace(sound, drawn=np.roll(sound.drawn, 6, axis=0))
    change = clip_t.difference(inputs(sound), inputs(ignoring))["clip_t"]
    assert change.difference.high < 0 and change.p < 1e-3
    told, before = (clip_t.measure(inputs(own))["clip_t"] for own in (ignoring, sound))
    assert told.interval.low <= told.beside["chance"].value <= told.interval.high
    assert before.interval.low > before.beside["chance"].value
    same = dino_i.difference(inputs(sound), inputs(ignoring))["dino_i"]
    assert same.difference.low <= 0 <= same.difference.high


@pytest.mark.parametrize("name", ["clip_i", "clip_t", "drift", "subject_diversity", "subject_nearest"])
def test_nothing_is_found_where_nothing_changed(name: str) -> None:
    """Two draws of one sound model: p is uniform, so few are below 5 %."""
    metric: Metric = registry.METRICS[name]
    ps = []
    for seed in range(60):
        first, rng = planted(seed), generator("again", seed)
        moved = [first.elsewhere + 0.3 * rng.standard_normal(first.elsewhere.shape) for _ in range(2)]
        drawn = first.drawn + 0.5 * rng.standard_normal(first.drawn.shape)
        before = replace(first, elsewhere=moved[0], drawn=first.drawn + 0.5 * rng.standard_normal(first.drawn.shape))
        own = [metric.measure(inputs(side))[name] for side in (before, replace(first, drawn=drawn, elsewhere=moved[1]))]
        ps.append(changes({name: own[0]}, {name: own[1]}, Units())[name].p)
    assert np.mean(np.array(ps) < 0.05) <= 0.15


def test_features_of_other_widths_are_refused() -> None:
    found = toy(5)
    with pytest.raises(UserError, match="expected one width"):
        one("clip_i", replace(found, held_out=found.held_out[:, :3]))
    with pytest.raises(UserError, match="unrelated pictures"):
        one("drift", replace(found, elsewhere=found.elsewhere[:3]))
