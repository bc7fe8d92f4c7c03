"""Composition and the held-out loss as users ask for them: one model, two models by skill, and data that have no suite."""

from pathlib import Path

import pytest

from t2i.evaluation.metrics.composition import NAMES

from ..conftest import SCENES, TOY, Ended, Lab
from ..evaluation import toy_judges

ASKED = ["eval.metrics=[composition,held_out_loss@8]", "eval.prompts=2", "eval.images=9"]
EVALUATE = ["task=evaluate", *SCENES, *TOY, *ASKED]


@pytest.fixture(scope="module")
def base(lab: Lab) -> Ended:
    return lab.here(*EVALUATE)


@pytest.fixture(scope="module")
def tuned(lab: Lab, tuned_run: Path) -> Ended:
    return lab.here(*EVALUATE, f"weights={tuned_run}")


def test_every_number_stands_beside_real_pictures_and_chance(base: Ended) -> None:
    for name in NAMES.values():
        for end in ("", ".low", ".high", ".real", ".real.low", ".real.high", ".chance"):
            assert 0 <= base.metrics[f"{name}[tiny_clip]{end}"] <= 1
    assert base.metrics["composition_object[tiny_clip].real"] == 1
    (line,) = [line for line in base.out.splitlines() if line.startswith("composition_colour[tiny_clip]")]
    assert "(real pictures 1.00 [" in line and "chance 0.111)" in line
    own = base.json("definition.json")["numbers"]
    assert own["held_out_loss@8"]["times"] == [0, 125, 250, 375, 500, 625, 750, 875]
    assert own["composition"]["prompts"] == 2 and own["composition"]["judge"] == "tiny_clip"


def test_the_loss_is_of_as_many_held_out_pictures_as_there_are(lab: Lab) -> None:
    own = ["dataset.train=24", "dataset.val=5", *TOY, "eval.metrics=[held_out_loss@8]", "eval.images=8"]
    found = lab.here("task=evaluate", *own)
    assert found.json("definition.json")["numbers"]["held_out_loss@8"]["pictures"] == 5


def test_base_and_tuned_are_compared_skill_by_skill(lab: Lab, base: Ended, tuned: Ended) -> None:
    compared = lab.here("task=compare", f"runs=[{base.folder},{tuned.folder}]")
    numbers = compared.metrics
    change = tuned.metrics["held_out_loss@8"] - base.metrics["held_out_loss@8"]
    assert numbers["held_out_loss@8.difference"] == pytest.approx(change) and change != 0
    assert {f"{name}[tiny_clip].difference" for name in NAMES.values()} <= numbers.keys()
    (section,) = compared.json("sections.json")
    names = [base.folder.name, tuned.folder.name]
    (table,) = [own for own in section["tables"] if own["columns"][0] == "skill"]
    assert table["columns"] == ["skill", "chance", "real pictures", *names, "change"]
    assert [row[0] for row in table["rows"]] == list(NAMES)
    assert "real pictures" in compared.out or "real pictures" in (compared.folder / "run.log").read_text()
    assert "Real pictures are drawn by the world itself" in (compared.folder / "report.html").read_text()


def test_a_second_run_makes_nothing_again(lab: Lab, base: Ended) -> None:
    again = lab.here(*EVALUATE)
    assert again.metrics == base.metrics
    made = {name: stage["reused"] for name, stage in again.json("stages.json").items()}
    assert {"composition", "held_out_loss", "metrics"} <= {name.partition("/")[0] for name in made}
    assert all(made.values())
    planned = lab.here(*EVALUATE, "plan=true")
    for name in ("composition", "held_out_loss"):
        assert any(name in line and "in the store" in line for line in planned.out.splitlines()), planned.out


def test_data_without_a_suite_say_so(empty_lab: Lab, folder_data: Path) -> None:
    data = ["dataset=folder", f"dataset.root={folder_data}", "dataset.resolution=64", "dataset.held_out_share=0.5"]
    found = empty_lab.here(
        "task=evaluate", *data, *TOY, "eval.metrics=[vendi,composition]", "eval.images=3", "eval.prompts=2"
    )
    assert "vendi[tiny_clip]" in found.metrics
    assert "not measured: needs dataset=scenes" in found.out
    given = empty_lab.here(
        "task=evaluate", f"pictures={folder_data}", "eval.metrics=[vendi,composition,held_out_loss@8]"
    )
    assert given.status == 0 and given.out.count("not measured: needs the model that drew the pictures") == 2


def test_a_vision_language_model_can_be_the_judge(lab: Lab, base: Ended, tmp_path: Path) -> None:
    """Of the same pictures; its name is in the numbers, and what chance would be nobody knows."""
    folder = toy_judges.blip(tmp_path / "toy_blip")
    asked = lab.here(*EVALUATE, "eval.judge=vlm", f"eval.vlm={folder}")
    assert {f"{name}[toy_blip]" for name in NAMES.values()} <= asked.metrics.keys()
    assert (
        "composition_count[toy_blip].real" in asked.metrics
        and "composition_count[toy_blip].chance" not in asked.metrics
    )
    drawn = [stage for name, stage in asked.json("stages.json").items() if name.startswith("generated/")]
    assert drawn and all(stage["reused"] for stage in drawn)
    own = asked.json("definition.json")["numbers"]["composition"]
    assert own["judge"] == "toy_blip" and own["rule"] == "product of P(yes) of all questions"
    refused = lab.here("task=evaluate", "eval.judge=me")
    assert refused.status == 2 and "valid judges: clip, vlm" in refused.err


def test_published_prompts_are_drawn_by_any_model_and_data(lab: Lab, tuned_run: Path, tmp_path: Path) -> None:
    folder = toy_judges.blip(tmp_path / "toy_blip")
    asked = ["eval.metrics=[geneval_prompts]", "eval.prompts=2", f"eval.vlm={folder}", "eval.images=2"]
    runs = [lab.here("task=evaluate", *SCENES, *TOY, *asked, *more) for more in ([], [f"weights={tuned_run}"])]
    names = {f"geneval_prompts_{name.removeprefix('composition_')}[toy_blip]" for name in NAMES.values()}
    for ended in runs:
        found = ended.metrics
        skills = [found[name] for name in sorted(names)]
        assert found["geneval_prompts[toy_blip]"] == pytest.approx(sum(skills) / 6)
        own = ended.json("definition.json")["numbers"]["geneval_prompts"]
        assert own["judge"] == "toy_blip" and own["prompts"] == 2 and own["suite"] == ["geneval", 1]
    drawn = [name for name in runs[0].json("stages.json") if name.startswith("generated/")]
    assert len(drawn) == 2  # held-out captions, and the twelve prompts
    compared = lab.here("task=compare", f"runs=[{runs[0].folder},{runs[1].folder}]")
    change = runs[1].metrics["geneval_prompts[toy_blip]"] - runs[0].metrics["geneval_prompts[toy_blip]"]
    assert compared.metrics["geneval_prompts[toy_blip].difference"] == pytest.approx(change) and change != 0
    again = lab.here("task=evaluate", *SCENES, *TOY, *asked)
    assert all(stage["reused"] for stage in again.json("stages.json").values())


def test_two_processes_are_answered_as_one(lab: Lab, empty_lab: Lab, tmp_path: Path) -> None:
    """Each asks about its share; an answer depends on its batch by float32's last digits."""
    folder = toy_judges.blip(tmp_path / "toy_blip")
    asked = [
        "eval.metrics=[composition,geneval_prompts,vqa_score]",
        "eval.judge=vlm",
        "eval.prompts=2",
        "eval.images=5",
    ]
    command = ["task=evaluate", *SCENES, *TOY, *asked, f"eval.vlm={folder}"]
    one, two = lab.here(*command), empty_lab.away(*command, "eval.batch_size=2", "launch.processes=2")
    assert two.status == 0, two.err
    assert two.metrics == pytest.approx(one.metrics, rel=1e-4, abs=1e-6)
    assert {
        "geneval_prompts[toy_blip]",
        "composition_count[toy_blip].real",
        "vqa_score[toy_blip]",
    } <= two.metrics.keys()


def test_a_plan_says_which_network_would_be_fetched(empty_lab: Lab) -> None:
    ended = empty_lab.here("task=evaluate", "eval.metrics=[composition]", "eval.judge=vlm", "plan=true")
    assert ended.status == 0 and "eval.vlm=Qwen/Qwen3-VL-2B-Instruct" in ended.out
    published = empty_lab.here("task=evaluate", "eval=geneval_prompts", "plan=true")
    assert published.status == 0 and "eval.vlm=Qwen/Qwen3-VL-2B-Instruct" in published.out
