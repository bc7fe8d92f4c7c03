"""What a finished sweep says: which cells cannot be told from the best, which are on the front, and which one to take."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from t2i.config import compose
from t2i.evaluation.statistics import terms_file
from t2i.evaluation.statistics.terms import Units, of_mean
from t2i.stories.cells import sure, table
from t2i.sweeps.config import Direction, Sampler
from t2i.sweeps.driver import Outcome
from t2i.sweeps.findings import TERMS, Finding, find
from t2i.sweeps.objectives import settled

CLIP, KID, CALLS, SECONDS = "clip_score[tiny_clip]", "kid[tiny_clip]", "evaluations_per_image", "seconds_per_image"
BASE = settled(compose([]))
ONE = settled(compose(["sweeps.metric='clip_score[tiny_clip]'"]))
CELLS = 9


def outcome(name: Any, numbers: dict[str, float], samples: dict[str, np.ndarray] | None = None, **more: Any) -> Outcome:
    """A measured cell; samples: what the metrics with a test are the means of."""
    terms = {metric: of_mean(values) for metric, values in (samples or {}).items()}
    values = {metric: own.value for metric, own in terms.items()}
    kept = {metric: terms_file.plain(own, Units()) for metric, own in terms.items()}
    return Outcome({"cfg.scale": name}, {"images": 40, CALLS: 40.0, **numbers, **values, TERMS: kept}, **more)


def world(seed: int, quality: list[tuple[float, float]], count: int = 40, **more: Any) -> list[Outcome]:
    """Cells whose true CLIP score and KID are known; pictures of a caption are alike over the cells."""
    rng = np.random.default_rng([6, seed])
    prompts = rng.normal(size=(2, count))
    return [
        outcome(
            number,
            more,
            {
                metric: level + prompts[k] + 0.7 * rng.normal(size=count)
                for k, (metric, level) in enumerate(zip((CLIP, KID), levels, strict=True))
            },
        )
        for number, levels in enumerate(quality)
    ]


def marks(finding: Finding) -> list[str]:
    return [row[1] for row in table(finding)["rows"]]


# -- what a sweep chooses by -----------------------------------------------------------------------------------------------


def test_a_sweep_that_is_told_nothing_has_two_objectives() -> None:
    assert BASE.sweeps.objectives == {CLIP: Direction.maximize, KID: Direction.minimize}
    assert settled(BASE).sweeps == BASE.sweeps


@pytest.mark.parametrize(
    ("typed", "objectives"),
    [
        (["sweeps.metric='fid[tiny_clip]'", "sweeps.direction=minimize"], ["fid[tiny_clip]"]),
        (["sweeps=tune"], ["held_out_loss"]),
        (["sweeps=pareto"], [CLIP, "fid[tiny_clip]", SECONDS]),
        (["sweeps.racing=true"], [CLIP]),
        (["++sweeps.also={seconds_per_image:minimize}"], [CLIP, SECONDS]),
        (["eval.metrics=[clip_score,fid]"], [CLIP, "fid[tiny_clip]"]),
        (["eval.metrics=[clip_score,vendi]"], [CLIP]),
        (["eval.extractor=inception", "eval.clip=some/clip-b"], ["clip_score[clip-b]", "kid[inception]"]),
        (["eval.metrics=[agreement,cmmd]", "eval.extractor=inception"], ["agreement[tiny_clip]", "cmmd[tiny_clip]"]),
    ],
)
def test_what_is_told_holds_and_the_pair_is_of_what_is_measured(typed: list[str], objectives: list[str]) -> None:
    assert list(settled(compose(typed)).sweeps.objectives) == objectives


def test_a_sampler_of_one_objective_has_one() -> None:
    config = compose([])
    own = replace(config, sweeps=replace(config.sweeps, sampler=Sampler.cmaes))
    assert list(settled(own).sweeps.objectives) == [CLIP]


def test_of_measures_of_likeness_alone_the_lower_is_better() -> None:
    assert settled(compose(["eval.metrics=[fid]"])).sweeps.objectives == {"fid[tiny_clip]": Direction.minimize}


# -- ties ------------------------------------------------------------------------------------------------------------------


def test_equal_cells_are_tied_in_every_metric() -> None:
    """In at most 5 % of sweeps of nine equal cells may any be told from the best: that it was chosen is paid for."""
    found = [find(BASE, world(seed, [(0.0, 0.0)] * CELLS)) for seed in range(60)]
    apart = [not all(all(own.tied) for own in finding.standings.values()) for finding in found]
    assert np.mean(apart) <= 0.05
    assert np.mean([all(finding.front) for finding in found]) >= 0.95


def test_the_true_best_is_named_or_tied() -> None:
    """Faint differences between cells: the best one is never excluded for certain."""

    def excluded(seed: int) -> bool:
        finding = find(ONE, world(seed, [(0.1 * k, 0.0) for k in range(CELLS)]))
        return not finding.tied[CELLS - 1]

    assert np.mean([excluded(seed) for seed in range(60)]) <= 0.05


def test_a_cell_that_is_worse_for_certain_is_neither_tied_nor_on_the_front() -> None:
    finding = find(BASE, world(4, [(0.0, 0.0), (0.0, 0.0), (-5.0, 5.0)]))
    assert [own.tied for own in finding.standings.values()] == [[True, True, False]] * 2
    assert finding.front == [True, True, False]


def test_one_objective_has_one_best_cell_and_its_ties() -> None:
    finding = find(ONE, world(4, [(0.0, 0.0), (3.0, 0.0), (2.95, 0.0)]))
    assert sorted(marks(finding)) == ["", "best", "tied"] and finding.why == ""
    assert "1 other cell cannot be told from it" in sure(finding)
    assert finding.needed is not None and finding.needed > 40


# -- the front, and what to take ---------------------------------------------------------------------------------------------


def test_guidance_that_trades_one_for_the_other_has_a_front_and_its_middle_is_suggested() -> None:
    """More of it: higher CLIP score, higher KID. The last cell is beaten by the third in both."""
    finding = find(BASE, world(1, [(0.0, 0.0), (4.0, 1.0), (5.0, 5.0), (3.0, 6.0)]))
    assert finding.front == [True, True, True, False]
    assert finding.best is finding.outcomes[1]
    assert finding.why.startswith(f"it gives away the least of {CLIP} and {KID}: at most 2")
    assert marks(finding) == ["front", "suggested", "front", ""]
    sentence = sure(finding)
    assert sentence.startswith(f"3 of 4 cells are not beaten by another in {CLIP} and {KID} at once: `cfg.scale=0`, ")
    assert "If one must be chosen: `cfg.scale=1`, as it gives away the least" in sentence
    either = [find(replace(ONE, sweeps=replace(ONE.sweeps, metric=m, direction=d)), finding.outcomes).best
              for m, d in ((CLIP, Direction.maximize), (KID, Direction.minimize))]  # fmt: skip
    assert either == [finding.outcomes[2], finding.outcomes[0]], "one metric alone picks an end of the range"


def test_of_cells_that_are_tied_in_everything_the_cheapest_is_suggested() -> None:
    cells = world(2, [(0.0, 0.0)] * 3)
    for cell, calls in zip(cells, (200.0, 20.0, 40.0), strict=True):
        cell.numbers[CALLS] = calls
    finding = find(BASE, cells)
    assert finding.front == [True] * 3 and finding.best is cells[1]
    assert finding.why == (
        f"it cannot be told from the best by {CLIP} and {KID}, and of the 3 such cells it takes the fewest network calls"
    )


def test_a_number_without_a_test_ties_only_what_is_equal() -> None:
    config = replace(BASE, sweeps=replace(BASE.sweeps, also={SECONDS: Direction.minimize}))
    cells = [
        outcome(k, {CLIP: clip, SECONDS: cost}) for k, (clip, cost) in enumerate([(1, 9), (2, 9), (3, 20), (0, 30)])
    ]
    finding = find(config, cells)
    assert finding.front == [False, True, True, False]
    assert [own.tied for own in finding.standings.values()] == [[False, False, True, False], [True, True, False, False]]
    assert "has no test" in finding.method and not any(own.tested for own in finding.standings.values())


def test_failed_and_beaten_cells_stand_aside() -> None:
    cells = [*world(3, [(0.0, 0.0), (9.0, -9.0)]), Outcome({"cfg.scale": 7}, {}), outcome(8, {CLIP: 99.0}, beaten=True)]
    finding = find(BASE, cells)
    assert finding.front == [False, True, False, False]
    assert marks(finding) == ["", "suggested", "", "beaten after 40"]
    assert sure(finding).startswith("1 of 4 cells is not beaten") and "If one must" not in sure(finding)
