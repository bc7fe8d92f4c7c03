"""Metrics of whole sets by hand, at their bounds, and against the packages that define them."""

import numpy as np
import pytest

from t2i.errors import UserError
from t2i.evaluation.metrics import balls, prdc, registry
from t2i.evaluation.metrics.cmmd import cmmd
from t2i.evaluation.metrics.fid import frechet_distance
from t2i.evaluation.metrics.fid_infinity import fid_infinity, fid_points
from t2i.evaluation.metrics.kid import kernel_distance, kernel_distance_subsets, subset_rows
from t2i.evaluation.metrics.measurement import REFERENCE, Inputs, Suited
from t2i.evaluation.metrics.memorisation import mifid, nearest_training
from t2i.evaluation.metrics.prdc import precision_recall_density_coverage
from t2i.evaluation.metrics.ref_clip_score import ref_clip_scores
from t2i.evaluation.metrics.subject import Subjects
from t2i.evaluation.metrics.vendi import vendi
from t2i.evaluation.statistics import mmd
from t2i.randomness import generator


def draw(key: str, samples: int, width: int, offset: float = 0.0) -> np.ndarray:
    return generator("set metrics", key).standard_normal((samples, width)) + offset


def column(*values: float) -> np.ndarray:
    return np.array(values)[:, None]


# Precision, recall, density, coverage


def test_prdc_by_hand() -> None:
    """Real radii 1 each; .5 lies in the balls of 0 and 1, 10 in none; generated radii 9.5 hold every real sample."""
    found = precision_recall_density_coverage(column(0, 1, 2, 3), column(0.5, 10), k=1)
    assert found == {"precision": 0.5, "recall": 1.0, "density": 1.0, "coverage": 0.5}


def test_balls_are_closed_for_precision_and_recall_and_open_for_density_and_coverage() -> None:
    """Real radii 1; the generated 3 and 4 lie at distance 1 of 2 and 5, and their own radius 1 reaches both."""
    found = precision_recall_density_coverage(column(1, 2, 5, 6), column(3, 4), k=1)
    assert found == {"precision": 1.0, "recall": 0.5, "density": 0.0, "coverage": 0.0}


def test_a_set_with_itself_is_perfect() -> None:
    features = draw("self", 50, 6)
    found = precision_recall_density_coverage(features, features, k=3)
    # An open ball holds its centre and two neighbours, the third lies on it: density 3 / 3.
    assert found == {"precision": 1.0, "recall": 1.0, "density": pytest.approx(1.0), "coverage": 1.0}


def test_copies_of_one_image_recall_nothing() -> None:
    found = precision_recall_density_coverage(draw("spread", 60, 5), np.tile(draw("one", 1, 5), (30, 1)), k=5)
    assert found["recall"] == 0.0 and found["coverage"] < 0.5


def plain_prdc(real: np.ndarray, fake: np.ndarray, k: int) -> list[float]:
    between = np.linalg.norm(real[:, None] - fake[None], axis=2)
    radius = [np.sort(np.linalg.norm(x[:, None] - x[None], axis=2), axis=1)[:, k] for x in (real, fake)]
    inside = between <= radius[0][:, None]
    return [
        inside.any(0).mean(),
        (between <= radius[1]).any(1).mean(),
        inside.sum(0).mean() / k,
        (between.min(1) <= radius[0]).mean(),
    ]


def test_blocks_equal_the_whole_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmd, "BLOCK", 7)
    real, fake = draw("real", 60, 4, 100.0), draw("fake", 45, 4, 100.3)
    found = list(precision_recall_density_coverage(real, fake, k=4).values())
    assert found == pytest.approx(plain_prdc(real, fake, 4), abs=1e-12)


def test_equals_the_package_prdc_without_ties() -> None:
    theirs = pytest.importorskip("prdc")
    real, fake = draw("real", 80, 5), draw("fake", 70, 5, 0.2)
    assert precision_recall_density_coverage(real, fake, k=5) == pytest.approx(theirs.compute_prdc(real, fake, 5))


@pytest.mark.parametrize("closed", ["apart", "lattice"])
def test_what_each_sample_contributes_to_neighbours_is_what_changes_without_it(closed: str) -> None:
    """By hand: the four numbers again without each sample of either side; on a lattice distances are equal."""
    real, fake = draw("real", 90, 3), draw("fake", 60, 3, 0.4)
    if closed == "lattice":
        real, fake = np.round(2 * real) / 2, np.round(2 * fake) / 2
        real, fake = np.unique(real, axis=0), np.unique(fake, axis=0)
    found = prdc.measure(Inputs(fake, 5, real))
    without = [
        [precision_recall_density_coverage(real, np.delete(fake, row, 0)) for row in range(len(fake))],
        [precision_recall_density_coverage(np.delete(real, row, 0), fake) for row in range(len(real))],
    ]
    for name in prdc.NAMES:
        terms = found[name].terms
        assert terms is not None and found[name].scope == REFERENCE and found[name].world is not None
        for own, numbers in zip((terms.generated, terms.reference), without, strict=True):
            values = np.array([one[name] for one in numbers])
            np.testing.assert_allclose(own, (len(values) - 1) * (values.mean() - values), atol=1e-9, err_msg=name)


def test_balls_in_tiles_are_those_of_whole_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = draw("real", 60, 4), draw("fake", 45, 4, 0.3)
    whole = prdc.measure(Inputs(fake, 5, real))
    monkeypatch.setattr(mmd, "BLOCK", 7)
    monkeypatch.setattr(balls, "CELLS", 200)
    for name, own in prdc.measure(Inputs(fake, 5, real)).items():
        expected, terms = whole[name].terms, own.terms
        assert expected is not None and terms is not None and terms.value == expected.value
        assert terms.generated is not None and terms.reference is not None
        np.testing.assert_allclose(terms.generated, expected.generated, atol=1e-12)
        np.testing.assert_allclose(terms.reference, expected.reference, atol=1e-12)


def test_intervals_of_shares_stay_between_zero_and_one_and_have_a_width_at_one() -> None:
    for offset in (0.3, 0.0, 9.0):
        found = prdc.measure(Inputs(draw("fake", 60, 3, offset), 0, reference=draw("real", 70, 3)))
        for name, measured in found.items():
            assert measured.interval.low <= measured.interval.value <= measured.interval.high, name
            if name != "density":
                assert 0.0 <= measured.interval.low < measured.interval.high <= 1.0, name


@pytest.mark.parametrize(("k", "words"), [(0, "k=0"), (5, "at least 6")])
def test_too_few_neighbours_are_one_sentence(k: int, words: str) -> None:
    with pytest.raises(UserError, match=words):
        precision_recall_density_coverage(column(0, 1, 2), column(0, 1, 2, 3, 4, 5, 6), k)


# KID and CMMD


def test_biased_kid_takes_the_diagonals_in() -> None:
    # (1 + 1 + 1 + 8) / 4 + (125 + 2 * 343 + 1000) / 4 - 2 * 23.25
    assert kernel_distance(column(0, 1), column(2, 3), biased=True) == pytest.approx(409.0)


def test_subsets_equal_kid_of_each_subset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmd, "BLOCK", 16)
    x, y = draw("x", 50, 6), draw("y", 40, 6, 0.3)
    rows = subset_rows(50, 5, 12, seed=1), subset_rows(40, 5, 12, seed=2)
    expected = [kernel_distance(x[a], y[b]) for a, b in zip(*rows, strict=True)]
    assert kernel_distance_subsets(x, y, *rows) == pytest.approx(expected, rel=1e-9)
    assert all(len(set(chosen)) == 12 for chosen in rows[0].tolist())
    with pytest.raises(UserError, match="subsets of 41 from 40"):
        subset_rows(40, 1, 41, seed=0)


def test_equals_torchmetrics_on_one_subset_of_everything() -> None:
    theirs = pytest.importorskip("torchmetrics.image.kid")
    import torch

    x, y = draw("x", 60, 8), draw("y", 60, 8, 0.2)
    expected = float(theirs.poly_mmd(torch.from_numpy(x), torch.from_numpy(y), degree=3, gamma=None, coef=1.0))
    assert kernel_distance(x, y) == pytest.approx(expected, rel=1e-9)


def test_cmmd_by_hand() -> None:
    """Orthogonal unit vectors are sqrt 2 apart: k = exp(-0.01), opposite ones 2: exp(-0.02), whatever their lengths."""
    x, y = np.array([[3.0, 0.0], [5.0, 0.0]]), np.array([[0.0, 2.0], [0.0, 1.0]])
    assert cmmd(x, y) == pytest.approx(1000 * (2 - 2 * np.exp(-0.01)), rel=1e-9)
    assert cmmd(x, -x) == pytest.approx(1000 * (2 - 2 * np.exp(-0.02)), rel=1e-9)
    assert cmmd(x, x, biased=True) == pytest.approx(0.0, abs=1e-9)
    # One of each: within 2 / 4 + 2 / 4 exp(-.01) biased, exp(-.01) unbiased; across the mean of the four
    mixed = np.array([[1.0, 0.0], [0.0, 1.0]])
    half = np.exp(-0.01)
    assert cmmd(mixed, x, biased=True) == pytest.approx(1000 * ((1 + half) / 2 + 1 - (1 + half)), rel=1e-9)
    assert cmmd(mixed, x) == pytest.approx(1000 * (half + 1 - (1 + half)), abs=1e-9)


def test_cmmd_of_one_distribution_is_around_zero_and_its_published_form_is_not() -> None:
    """Real against real pictures: the unbiased one averages to zero, the biased one to about 1000 (1 - mean k) (1/N + 1/M)."""
    values = []
    for i in range(200):
        features = generator("alike", i).standard_normal((24, 16))
        found = registry.METRICS["cmmd"].measure(Inputs(features[:12], 0, features[12:]))
        values.append((found["cmmd"].interval.value, found["cmmd_biased"].interval.value))
        assert found["cmmd"].world is not None and found["cmmd_biased"].terms is None
    unbiased, biased = np.array(values).T
    assert abs(unbiased.mean()) < 4 * unbiased.std() / 200**0.5
    assert biased.mean() == pytest.approx(1000 * (1 - np.exp(-0.01)) * 2 / 12, rel=0.05)


# FID-infinity, Vendi, memorisation, RefCLIPScore


def test_fid_infinity_is_the_intercept_of_a_line_in_one_over_n() -> None:
    x, y = draw("x", 400, 5), draw("y", 5000, 5)
    sizes, values = fid_points(x, y)
    assert (len(sizes), sizes[0], sizes[-1]) == (15, 40, 400)
    assert values[-1] == pytest.approx(frechet_distance(x, y), rel=1e-6)
    slope, intercept = np.polyfit(1 / sizes, values, 1)
    assert fid_infinity(x, y) == pytest.approx(intercept, rel=1e-9)
    assert slope > 0 and abs(intercept) < values[-1]  # one distribution: the bias goes away
    with pytest.raises(UserError, match="at least 30"):
        fid_infinity(x[:29], y)


def test_vendi_counts_different_images() -> None:
    assert vendi(np.eye(7)) == pytest.approx(7.0)
    assert vendi(np.tile([[1.0, 2.0, 3.0]], (9, 1))) == pytest.approx(1.0)
    assert vendi(np.repeat(np.eye(4), 5, axis=0) * 3.0) == pytest.approx(4.0)
    # Two vectors at 60 degrees: eigenvalues 3/4 and 1/4
    expected = np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))
    assert vendi(np.array([[1.0, 0.0], [0.5, 3**0.5 / 2]])) == pytest.approx(expected)


def test_nearest_training_image_and_its_distance() -> None:
    rows, distances = nearest_training(np.array([[2.0, 0.0], [1.0, 1.0]]), np.array([[0.0, 5.0], [7.0, 0.0], [-3, -4]]))
    assert rows.tolist() == [1, 2]
    assert distances == pytest.approx([0.0, 1 - 7 / (5 * 2**0.5)])


def test_mifid_punishes_copies_only() -> None:
    generated, reference = draw("generated", 40, 12), draw("reference", 50, 12)
    value = frechet_distance(generated, reference)
    far = nearest_training(generated, draw("train", 30, 12))[1].mean()
    assert far > 0.1 and mifid(generated, reference, draw("train", 30, 12)) == pytest.approx(value)
    near = generated + 0.05 * draw("noise", 40, 12)
    distance = nearest_training(generated, near)[1].mean()
    assert mifid(generated, reference, near) == pytest.approx(value / distance, rel=1e-9)
    assert mifid(generated, generated, generated) == 0.0
    # Copies: features are float32, so no distance below 1e-6 is known, and the penalty ends there.
    assert mifid(generated, reference, generated) == pytest.approx(value / 1e-6, rel=1e-9)


def test_mifid_equals_torchmetrics() -> None:
    """Theirs looks from the real set for the nearest generated image; with the roles exchanged it is the paper's."""
    theirs = pytest.importorskip("torchmetrics.image.mifid")
    import torch

    generated = draw("generated", 60, 9)
    train = generated[::-1] + 0.1 * draw("noise", 60, 9)
    moments = [torch.from_numpy(f(x)) for x in (generated, train) for f in (lambda x: x.mean(0), np.transpose)]
    expected = theirs._mifid_compute(
        moments[0], torch.cov(moments[1]), moments[1].T, moments[2], torch.cov(moments[3]), moments[3].T
    )
    assert mifid(generated, train, train) == pytest.approx(float(expected), rel=1e-6)


def test_ref_clip_score_is_the_harmonic_mean() -> None:
    image, caption = np.array([[1.0, 0.0]]), np.array([[0.6, 0.8]])
    others = [np.array([[0.8, -0.6], [0.0, 2.0]])]  # cosines 0 and 0.8 with the caption
    assert ref_clip_scores(image, caption, others) == pytest.approx([2 * 1.5 * 0.8 / (1.5 + 0.8)])
    both = ref_clip_scores(np.repeat(image, 3, 0), np.repeat(caption, 3, 0), [others[0], others[0][:0], -others[0][1:]])
    assert both == pytest.approx([2.4 / 2.3, np.nan, 0.0], nan_ok=True)
    with pytest.raises(UserError, match="no picture has a second caption"):
        ref_clip_scores(image, caption, [others[0][:0]])


# All of them

FINE = {
    ("vendi", "other width"),
    ("vendi", "one sample"),
    ("agreement", "one sample"),
    ("clip_score", "one sample"),
    ("ref_clip_score", "one sample"),
    ("inception_score", "one sample"),
    ("held_out_loss@8", "one sample"),
    ("held_out_loss@8", "other width"),
    *((name, "one sample") for name in ("clip_i", "dino_i", "clip_t", "drift", "subject_nearest")),
    ("subject_diversity", "other width"),
    ("pickscore", "one sample"),
    ("hpsv2", "one sample"),
    *(
        (name, fault)
        for name in ("composition", "geneval_prompts", "vqa_score")
        for fault in ("non-finite", "beyond float32", "one sample", "other width")
    ),
}
"""Metrics without a reference, those that have a value for one image, and what reads no features."""


@pytest.mark.parametrize("name", registry.METRICS)
@pytest.mark.parametrize("fault", ["non-finite", "beyond float32", "one sample", "other width"])
def test_every_metric_refuses_what_it_cannot_use_in_one_sentence(name: str, fault: str) -> None:
    generated = draw("generated", 1 if fault == "one sample" else 40, 6)
    if fault == "non-finite":
        generated[1, 2] = np.inf
    if fault == "beyond float32":
        generated[1, 2] = 1e120
    rest = np.abs(draw("rest", 40, 8 if fault == "other width" else 6))
    inputs = Inputs(
        generated,
        seed=0,
        reference=rest,
        texts=rest[: len(generated)],
        classes=rest[:4],
        accepted=[frozenset({0})] * len(generated),
        logit_scale=1.0,
        train=rest,
        other_texts=[rest[:2]] * len(generated),
        answers=np.full((len(generated), 2), 0.5),
        held_out_losses=np.abs(generated),
        suite=Suited("toy", {"colour": np.array([0.0, 1.0])}, {}, {}),
        subject=Subjects(
            generated,
            np.arange(len(generated)) // 2,
            np.zeros(len(generated), int),
            rest,
            np.zeros(40, int),
            rest,
            np.zeros(40, int),
            generated,
            rest[: len(generated)],
            rest[: len(generated)],
        ),
    )
    if (name, fault) in FINE:
        assert all(np.isfinite(found.interval.value) for found in registry.METRICS[name].measure(inputs).values())
        return
    with pytest.raises(UserError):
        registry.METRICS[name].measure(inputs)
