"""What a sweep ranks by: names as they are typed, which way is better, and what no cell has."""

from dataclasses import replace

import pytest

from t2i.config import Config, compose
from t2i.errors import ConfigError, UserError
from t2i.evaluation.metrics.registry import METRICS, NUMBERS_OF, metric_of
from t2i.sweeps.config import Direction
from t2i.sweeps.measuring import called_so
from t2i.sweeps.objectives import COST, OF_A_TRAINING, refuse, settled

NUMBERS = sorted({*METRICS, *NUMBERS_OF} - {"prdc"})
BETTER = {True: Direction.maximize, False: Direction.minimize}
TRAINING = "+sweeps.space={strategy.learning_rate:[1e-4,1e-3]}"


@pytest.fixture(scope="module")
def base() -> Config:
    return compose([])


@pytest.mark.parametrize("number", NUMBERS)
def test_every_number_is_ranked_the_way_that_is_better(base: Config, number: str) -> None:
    def ways(direction: Direction | None = None) -> list[Direction]:
        sweeps = replace(base.sweeps, metric=number, direction=direction)
        measured = replace(base, sweeps=sweeps, eval=replace(base.eval, metrics=[metric_of(number)]))
        return list(settled(measured).sweeps.objectives.values())

    assert [ways(typed) for typed in Direction] == [[typed] for typed in Direction], "what was typed stays"
    higher = METRICS[metric_of(number)].higher_is_better
    if higher is None:
        with pytest.raises(ConfigError, match="type sweeps.direction=minimize or sweeps.direction=maximize too"):
            ways()
    else:
        assert ways() == [BETTER[higher]]


@pytest.mark.parametrize("number", COST)
def test_of_time_and_losses_less_is_better(number: str) -> None:
    config = compose([f"sweeps.metric={number}", TRAINING])
    assert settled(config).sweeps.objectives == {number: Direction.minimize}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["sweeps.metric=kid"], "kid[tiny_clip]"),
        (["sweeps.metric='kid[tiny_clip]'"], "kid[tiny_clip]"),
        (["sweeps.metric=recall", "eval.metrics=[prdc]"], "recall[tiny_clip]"),
        (["sweeps.metric=fid", "eval.extractor=inception", "eval.metrics=[fid]"], "fid[inception]"),
        (["sweeps.metric=clip_score", "eval.extractor=inception"], "clip_score[tiny_clip]"),
        (["sweeps.metric=held_out_loss@8", "eval.metrics=[held_out_loss@8]"], "held_out_loss@8"),
    ],
)
def test_a_number_is_found_by_its_name_alone(typed: list[str], meant: str) -> None:
    assert list(settled(compose(typed)).sweeps.objectives) == [meant]


@pytest.mark.parametrize(
    ("measured", "ranked"),
    [
        ("clip_score,kid,fid", ["clip_score[tiny_clip]", "kid[tiny_clip]"]),
        ("fid", ["fid[tiny_clip]"]),
        ("memorisation,vendi", ["vendi[tiny_clip]"]),
    ],
)
def test_untold_cells_are_ranked_by_what_is_measured(measured: str, ranked: list[str]) -> None:
    objectives = settled(compose([f"eval.metrics=[{measured}]"])).sweeps.objectives
    assert list(objectives) == ranked
    assert all(
        (way is Direction.maximize) is ("clip" in name[:4] or "vendi" in name) for name, way in objectives.items()
    )


def test_further_objectives_too() -> None:
    config = compose(["sweeps.metric=clip_score", "+sweeps.also={kid:minimize,seconds_per_image:minimize}"])
    assert list(settled(config).sweeps.objectives) == ["clip_score[tiny_clip]", "kid[tiny_clip]", "seconds_per_image"]


def test_a_number_of_another_extractor_is_told() -> None:
    config = compose(["sweeps.metric='kid[tiny_clip]'", "eval.extractor=inception"])
    with pytest.raises(
        ConfigError, match=r"kid\[tiny_clip\] is not measured, but kid\[inception\]; type kid, or eval.extr"
    ):
        settled(config)


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (["sweeps.metric=clip_scor"], r"sweeps.metric=clip_scor is no number of a cell \(did you mean clip_score\?\)"),
        (["sweeps.metric=prdc"], "sweeps.metric=prdc is no number of a cell"),
        (["sweeps.metric='fdi[tiny_clip]'"], r"did you mean fid\?"),
        (["+sweeps.also={kdi:minimize}"], r"sweeps.also=kdi is no number of a cell \(did you mean kid\?\)"),
        (
            ["sweeps.metric=vendi", "eval.metrics=[fid,kid]"],
            r"sweeps.metric=vendi is not measured; type eval.metrics=\[fid,kid,vendi\] too, or use one of: fid, kid, sec",
        ),
        (["eval.metrics=[memorisation]"], r"eval.metrics=\[memorisation\] holds nothing that cells are ranked by"),
        (["eval.metrics=[kid]", "sweeps.racing=true"], r"none is measured; type eval.metrics=\[kid,clip_score\]"),
        *(([f"sweeps.metric={name}"], f"sweeps.metric={name} is of a training") for name in OF_A_TRAINING),
    ],
)
def test_what_no_cell_has_is_told_before_any_is_drawn(typed: list[str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        refuse(compose(typed))


def test_fixed_metrics_of_a_sweep_are_those_that_are_measured() -> None:
    refuse(compose(["sweeps.metric=vendi", "+sweeps.fixed={eval.metrics:[vendi]}"]))


def test_a_judges_number_is_found_whatever_its_weights_are_called() -> None:
    numbers = {"pickscore[v1]": 1.0, "pickscore[v1].low": 0.5, "vqa_score[a]": 1.0, "vqa_score[b]": 2.0, "images": 8}
    assert called_so(numbers, "pickscore") == called_so(numbers, "pickscore[v1]") == "pickscore[v1]"
    assert called_so(numbers, "images") == "images"
    for name in ("vqa_score", "hpsv2", "pickscore[v2]"):
        with pytest.raises(UserError, match=r"was not measured; use one of: pickscore\[v1\], vqa_score\[a\], vqa_"):
            called_so(numbers, name)
