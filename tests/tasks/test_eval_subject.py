"""`eval=subject` as users ask for it: one model, two models question by question, and data that have no subject."""

from pathlib import Path

import pytest

from ..conftest import SCENES, TOY, Ended, Lab

MASCOT = ["dataset=mascot", "dataset.train=5", "dataset.val=6"]
ASKED = [*TOY, "eval=subject", "eval.prompts=4", "eval.images=6", "eval.replicates=100"]
EVALUATE = ["task=evaluate", *MASCOT, *ASKED]
NAMES = ["clip_i", "clip_t", "drift", "subject_diversity", "subject_nearest"]


@pytest.fixture(scope="module")
def base(lab: Lab) -> Ended:
    return lab.here(*EVALUATE)


@pytest.fixture(scope="module")
def tuned(lab: Lab, tuned_run: Path) -> Ended:
    return lab.here(*EVALUATE, f"weights={tuned_run}")


def test_one_model_has_every_answer_with_what_it_is_read_against(base: Ended, tuned: Ended) -> None:
    assert base.status == tuned.status == 0, base.err + tuned.err
    for name in NAMES:
        assert tuned.metrics[f"{name}[tiny_clip].low"] <= tuned.metrics[f"{name}[tiny_clip]"]
    assert base.metrics["drift[tiny_clip]"] == 0 < tuned.metrics["drift[tiny_clip].low"]
    assert tuned.metrics["clip_i[tiny_clip].real"] > tuned.metrics["clip_i[tiny_clip]"]
    for question in ("Is the subject there?", "Is the prompt still followed?", "What else changed?"):
        assert question in tuned.out
    own = tuned.json("definition.json")["numbers"]["clip_i"]
    assert own["subjects"] == ["mia"] and own["sample"] == "prompts of the one subject" and own["held_out"] == [6]
    assert "dino_i" in tuned.out and "needs eval.extractor=dinov2" in tuned.out
    assert (tuned.folder / "figures" / "subject_0.png").exists()
    grid = next(part for part in tuned.json("sections.json") if part["title"] == "The subject in places")
    assert len(grid["figures"]) == 1


def test_base_and_tuned_are_compared_question_by_question(lab: Lab, base: Ended, tuned: Ended) -> None:
    compared = lab.here("task=compare", f"runs=[{base.folder},{tuned.folder}]")
    assert compared.status == 0, compared.err
    for name in NAMES:
        change = tuned.metrics[f"{name}[tiny_clip]"] - base.metrics[f"{name}[tiny_clip]"]
        assert compared.metrics[f"{name}[tiny_clip].difference"] == pytest.approx(change, abs=1e-9)
    (section,) = compared.json("sections.json")
    (table,) = [own for own in section["tables"] if own["columns"][0] == "question"]
    assert [row[1].partition("[")[0] for row in table["rows"]] == NAMES
    assert "Is the subject there?" in section["facts"]["verdict"] and "Is the subject" not in section["text"], (
        "said once"
    )


def test_a_second_run_makes_nothing_again_and_more_prompts_are_drawn(lab: Lab, tuned: Ended, tuned_run: Path) -> None:
    again = lab.here(*EVALUATE, f"weights={tuned_run}")
    assert again.metrics == tuned.metrics
    made = {name: stage["reused"] for name, stage in again.json("stages.json").items()}
    assert "subject" in {name.partition("/")[0] for name in made} and all(made.values())
    more = lab.here(*EVALUATE, f"weights={tuned_run}", "eval.prompts=5", "plan=true")
    assert any("generated" in line and "to be made" in line for line in more.out.splitlines()), more.out


def test_data_without_a_subject_say_so(lab: Lab, base: Ended) -> None:
    found = lab.here("task=evaluate", *SCENES, *ASKED)
    assert found.status == 0 and "needs pictures of a subject" in found.out and "clip_score[tiny_clip]" in found.metrics


def test_two_processes_answer_as_one(empty_lab: Lab, tuned: Ended, tuned_run: Path) -> None:
    """Batches of other sizes may draw a value of a picture one grey level apart."""
    two = empty_lab.away(*EVALUATE, f"weights={tuned_run}", "launch.processes=2")
    assert two.status == 0, two.err
    assert two.metrics == pytest.approx(tuned.metrics, rel=1e-3, abs=1e-5)
