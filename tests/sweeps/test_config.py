"""Every search space file can be searched, and one that cannot be is refused."""

from typing import Any

import pytest

from t2i.config import compose
from t2i.errors import ConfigError
from t2i.places import PROJECT
from t2i.sweeps.config import Direction, Sampler, Sweep
from t2i.sweeps.objectives import settled
from t2i.sweeps.space import cells

GRID = {"cfg.scale": [5.0, 7.5]}
RANGE = {"cfg.scale": {"low": 1.0, "high": 9.0}}


@pytest.mark.parametrize("name", sorted(path.stem for path in (PROJECT / "sweeps").glob("*.yaml")))
def test_space_files_are_valid(name: str) -> None:
    config = compose([f"sweeps={name}"]).sweeps
    config.validate()
    assert config.name == name
    assert (config.trials or 0) > 1 if config.sampler is not Sampler.grid else len(cells(config.space)) > 1


def test_scheduler_cfg_is_three_schedulers_by_three_scales() -> None:
    space = compose(["sweeps=scheduler_cfg"]).sweeps.space
    assert space == {"scheduler": ["ddim", "pndm", "euler"], "cfg.scale": [5.0, 7.5, 10.0]}


def test_pareto_has_three_objectives_the_ranking_one_first() -> None:
    config = settled(compose(["sweeps=pareto"])).sweeps
    assert list(config.objectives.items()) == [
        ("clip_score[tiny_clip]", Direction.maximize),
        ("fid[tiny_clip]", Direction.minimize),
        ("seconds_per_image", Direction.minimize),
    ]


def test_tune_has_a_rank_where_there_is_one() -> None:
    found = {dimension.key: dimension for dimension in compose(["sweeps=tune"]).sweeps.dimensions()}
    assert found["strategy.rank"].exists({"strategy": "lora"}) and not found["strategy.rank"].exists(
        {"strategy": "unet"}
    )
    assert found["strategy.learning_rate"].log and found["strategy.rank"].whole


@pytest.mark.parametrize("values", [5.0, [], "ddim"])
def test_a_space_without_lists_is_refused(values: object) -> None:
    with pytest.raises(ConfigError, match=r"sweeps\.space\.cfg\.scale is .* not a list"):
        Sweep(space={"cfg.scale": values}).validate()
    with pytest.raises(ConfigError, match=r"sweeps\.space is empty"):
        Sweep().validate()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"space": RANGE}, "is a range, and a grid needs a list; use sweeps.sampler=tpe"),
        ({"space": RANGE, "sampler": Sampler.tpe}, "needs a number of cells: sweeps.trials=20"),
        ({"space": {"a": {"low": 2, "high": 1}}, "sampler": Sampler.tpe, "trials": 3}, "needs low below high"),
        ({"space": {"a": {"low": 0, "high": 1, "log": True}}, "sampler": Sampler.tpe, "trials": 3}, "needs low below"),
        ({"space": {"a": {"lo": 0, "high": 1}}}, "holds lo; valid: high, int, log, low, values, when"),
        ({"space": {"a": {"values": [1, 2], "when": {"b": 1}}}}, "depends on b, which is no key"),
        (
            {"space": {"a": {"values": [1], "when": {"b": 1}}, "b": {"values": [1], "when": {"a": 1}}}},
            "a and b depend on each other",
        ),
        ({"space": GRID, "budget": "soon"}, "sweeps.budget=soon is no time"),
        ({"space": GRID, "budget": "0min"}, "sweeps.budget=0min is no time"),
        ({"space": GRID, "workers": 0}, "sweeps.workers=0"),
        ({"space": GRID, "workers": "many"}, "sweeps.workers=many is no number of processes"),
        ({"space": GRID, "round": 0}, "sweeps.round=0"),
        ({"space": GRID, "trials": 0}, "sweeps.trials=0"),
        ({"space": GRID, "racing": True, "metric": "fid[tiny_clip]"}, "sweeps.racing=true compares CLIP scores"),
        (
            {"space": GRID, "sampler": Sampler.cmaes, "trials": 2, "also": {"x": Direction.minimize}},
            "has one objective",
        ),
    ],
)
def test_what_cannot_be_searched_is_refused_in_a_sentence(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Sweep(**settings).validate()
    assert sentence in str(caught.value)


@pytest.mark.parametrize(("text", "seconds"), [("30min", 1800), ("2h", 7200), ("90s", 90), ("1.5 h", 5400)])
def test_budgets_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert Sweep(budget=text).budget_seconds == seconds


@pytest.mark.parametrize(
    ("typed", "stays"),
    [
        (["eval.images=8"], {"scheduler.steps": 20}),
        (["+eval.images=8", "scheduler.steps=4"], {}),
        (["eval.images=8", "sweeps.fixed={eval.images:20}"], {"scheduler.steps": 20, "eval.images": 20}),
        (["eval.images=8", "++sweeps.fixed.eval.images=20"], {"scheduler.steps": 20, "eval.images": 20}),
        (["eval.images=8", "sweeps.fixed={scheduler.steps:20}"], {"scheduler.steps": 20}),
        (["eval.metrics=[fid]", "seed=20"], {"scheduler.steps": 20, "eval.images": 20}),
    ],
)
def test_a_named_search_gives_way_to_what_was_typed(typed: list[str], stays: dict[str, int]) -> None:
    sweep = Sweep("quick", {}, {"scheduler.steps": 20, "eval.images": 20})
    sweep.give_way(typed)
    assert sweep.fixed == stays
