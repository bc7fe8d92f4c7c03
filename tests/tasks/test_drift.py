"""`task=drift`: tuned models on domains that they were not tuned on."""

from pathlib import Path

import pytest

from ..conftest import TOY, Lab

DOMAINS = "dataset.domains=[animal,food]"


def test_each_cell_is_the_change_from_the_base_model(lab: Lab, tuned_run: Path) -> None:
    data = ["dataset.train=40", "dataset.val=40", *TOY]
    ended = lab.here("task=drift", *data, DOMAINS, f"runs=[{tuned_run}]")
    cells = {name: value for name, value in ended.metrics.items() if not name.endswith((".low", ".high"))}
    assert set(cells) == {f"{tuned_run.name}/animal", f"{tuned_run.name}/food"}
    alone = ["task=evaluate", *data, "dataset.domains=[animal]", "eval.metrics=[clip_score]"]
    base, tuned = (lab.here(*alone, *weights).metrics for weights in ([], [f"weights={tuned_run}"]))
    expected = tuned["clip_score[tiny_clip]"] - base["clip_score[tiny_clip]"]
    assert cells[f"{tuned_run.name}/animal"] == pytest.approx(expected)
    (section,) = ended.json("sections.json")
    assert section["tables"][0]["columns"] == ["tuned on", "tested on animal", "tested on food"]
    assert (ended.folder / "figures" / "drift.png").exists()


def test_without_runs_or_domains_it_says_what_to_type(lab: Lab) -> None:
    ended = lab.here("task=drift", DOMAINS)
    assert ended.status == 2 and "type runs=[<tuned run>,...]" in ended.err.splitlines()[-1]
