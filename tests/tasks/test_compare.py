"""`task=compare`: two runs, one table, and what is refused."""

import json
import re
from pathlib import Path

import pytest

from ..conftest import SCENES, TOY, Ended, Lab

EVALUATE = ["task=evaluate", *SCENES, *TOY]


@pytest.fixture(scope="module")
def base(lab: Lab) -> Ended:
    return lab.here(*EVALUATE)


@pytest.fixture(scope="module")
def tuned(lab: Lab, tuned_run: Path) -> Ended:
    return lab.here(*EVALUATE, f"weights={tuned_run}")


@pytest.fixture(scope="module")
def compared(lab: Lab, base: Ended, tuned: Ended) -> Ended:
    return lab.here("task=compare", f"runs=[{base.folder},{tuned.folder}]")


def test_every_change_has_its_interval_and_what_could_have_been_seen(
    compared: Ended, base: Ended, tuned: Ended
) -> None:
    numbers = compared.metrics
    for metric in ("fid[tiny_clip]", "kid[tiny_clip]", "clip_score[tiny_clip]"):
        change = numbers[f"{metric}.difference"]
        assert change == pytest.approx(tuned.metrics[metric] - base.metrics[metric], abs=1e-9)
        assert numbers[f"{metric}.difference.low"] <= change <= numbers[f"{metric}.difference.high"]
        assert numbers[f"{metric}.p"] <= numbers[f"{metric}.p_holm"] <= 1
        assert numbers[f"{metric}.smallest_detectable"] > 0


def test_the_report_says_so_in_one_table_with_the_largest_losses_first(
    compared: Ended, base: Ended, tuned: Ended
) -> None:
    (section,) = compared.json("sections.json")
    table = section["tables"][0]
    assert table["columns"] == ["metric", "verdict", base.folder.name, tuned.folder.name, "change"]
    assert table["rows"][0][:2] == ["kid[tiny_clip]", "cannot tell"]
    assert re.fullmatch(r"\S+ \[\S+, \S+\]\np \S+ \(\S+\)\nseen from \S+", table["rows"][0][-1])
    (line,) = [line for line in compared.out.splitlines() if line.strip().startswith("KID (tiny_clip)")]
    assert "cannot tell" in line and "seen from" in line
    assert f"report: {compared.folder / 'report.html'}" in compared.out
    assert "at N = 6" in section["text"] and "KID and CMMD, which have none" in section["text"]
    assert {Path(figure["path"]).name for figure in section["figures"]} == {"changes.png", "base_versus_tuned.png"}
    assert "at N = 6" in (compared.folder / "report.html").read_text(encoding="utf-8")


def test_the_same_comparison_is_reused(lab: Lab, compared: Ended, base: Ended, tuned: Ended) -> None:
    again = lab.here("task=compare", f"runs=[{base.folder},{tuned.folder}]")
    assert [stage["reused"] for stage in again.json("stages.json").values()] == [True]
    assert again.metrics == compared.metrics


def test_another_definition_is_refused_by_its_field(lab: Lab, base: Ended) -> None:
    other = lab.here(*EVALUATE, "cfg=low")
    ended = lab.here("task=compare", f"runs=[{base.folder},{other.folder}]")
    assert ended.status == 1
    assert "they differ in generation.cfg.scale" in ended.err.splitlines()[-1]
    assert "evaluate both alike" in ended.err


def test_a_pipeline_run_alone_compares_its_base_and_its_tuned_model(lab: Lab, main_job: Ended) -> None:
    ended = lab.here("task=compare", f"runs=[{main_job.folder}]")
    prefix = "comparison/"
    expected = {name.removeprefix(prefix): v for name, v in main_job.metrics.items() if name.startswith(prefix)}
    assert ended.metrics == expected


def test_runs_without_numbers_are_refused_with_what_to_type(lab: Lab, base: Ended, tmp_path: Path) -> None:
    for runs, words in (
        ("[]", "runs=[<run folder>,<run folder>]"),
        (f"[{base.folder}]", "alone holds one model"),
        (f"[{base.folder},{tmp_path}]", f"python run.py task=evaluate weights={tmp_path}"),
    ):
        ended = lab.here("task=compare", f"runs={runs}")
        assert ended.status == 2 and words in ended.err.splitlines()[-1], ended.err
    stages = json.loads((base.folder / "evaluated.json").read_text())
    stages["base"]["generated"] = "0" * 32
    (tmp_path / "evaluated.json").write_text(json.dumps(stages))
    ended = lab.here("task=compare", f"runs=[{base.folder},{tmp_path}]")
    assert ended.status == 2 and "generated of it is no longer in the store" in ended.err.splitlines()[-1]
