"""A sweep goes on after a failure, and never measures a cell twice."""

import json
import re
import time
from pathlib import Path

import optuna
import psutil
import pytest
import yaml
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta
from PIL import Image

from t2i.sweeps import driver, study
from t2i.sweeps.workers import NUMBER as T2I_WORKER

from ..conftest import SCENES, TOY, Ended, Lab

FAILING = [*SCENES, *TOY, "task=sweep", "sweeps=guidance", "sweeps.space={cfg.scale:[1.0,1000.0,5.0]}"]


@pytest.fixture(scope="module")
def swept(lab: Lab, main_job: Ended) -> Ended:
    """One of the three cells cannot be measured."""
    return lab.here(*FAILING)


def test_a_failing_cell_is_recorded_and_the_others_go_on(swept: Ended) -> None:
    assert (swept.metrics["cells"], swept.metrics["new_cells"]) == (3, 2)
    log = (swept.folder / "run.log").read_text()
    assert "cfg.scale=1000.0 is not between 0 and 100" in log
    (section,) = swept.json("sections.json")
    assert [row[0] for row in section["tables"][0]["rows"]] == ["1.0", "1000.0", "5.0"]
    assert set(section["tables"][0]["rows"][1][2:]) == {"failed"}
    assert (swept.folder / "figures" / "heat_map_clip_score.png").exists()


def test_a_dashboard_tells_what_the_sweep_is_about(lab: Lab, swept: Ended) -> None:
    """As optuna-dashboard reads it: names, attributes, metrics, and the pictures of each trial."""
    url = f"sqlite:///{lab.root / 'sweeps.db'}"
    titles = [name for name in optuna.get_all_study_names(url) if name.startswith("tiny on scenes: cfg.scale [")]
    study = optuna.load_study(study_name=titles[0], storage=url)
    assert study.metric_names == ["clip_score[tiny_clip]", "kid[tiny_clip]"]
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    told, stages = study.user_attrs, swept.json("stages.json")
    assert told["weights"] == "of the base model" and re.fullmatch(r"tiny \([0-9a-f]{32}\)", told["model"])
    assert told["data"] in {f"scenes ({stage['digest']})" for stage in stages.values()}
    store = FileSystemArtifactStore(lab.root / "sweeps_artifacts")
    measured = [trial for trial in study.trials if trial.state is optuna.trial.TrialState.COMPLETE]
    assert len(measured) == 2
    for trial in measured:
        (meta,) = get_all_artifact_meta(trial, storage=study._storage)
        with store.open_reader(meta.artifact_id) as file, Image.open(file) as picture:
            assert (meta.mimetype, picture.format) == ("image/png", "PNG") and picture.width > 64


def test_only_the_failed_cell_is_tried_again(lab: Lab, swept: Ended) -> None:
    again = lab.here(*FAILING)
    assert (again.metrics["cells"], again.metrics["new_cells"]) == (3, 0)
    assert "built " not in again.out
    best = {name: value for name, value in again.metrics.items() if name.startswith("best.")}
    assert best == {name: value for name, value in swept.metrics.items() if name.startswith("best.")}


def test_a_cell_is_known_to_a_sweep_whose_space_grew(lab: Lab, swept: Ended) -> None:
    arguments = ["sweeps=guidance", "sweeps.space={cfg.scale:[1.0,5.0,10.0]}"]
    grown = lab.here(*SCENES, *TOY, "task=sweep", *arguments)
    assert (grown.metrics["cells"], grown.metrics["new_cells"]) == (3, 1)


def test_a_sweep_of_which_every_cell_fails_fails(lab: Lab, main_job: Ended) -> None:
    arguments = ["sweeps=guidance", "sweeps.space={cfg.scale:[1000.0]}"]
    ended = lab.here(*SCENES, *TOY, "task=sweep", *arguments)
    assert ended.status == 1
    assert "every cell of sweeps=guidance failed" in ended.err


def test_what_was_typed_acts_and_cells_of_workers_that_are_gone_are_to_come(
    lab: Lab, main_job: Ended, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = [*SCENES, *TOY, "task=sweep", "sweeps=quick", "sweeps.space={cfg.scale:[2.5,4.5]}"]
    typed = [*own, "scheduler.steps=2", "eval.images=4"]

    def killed(*given: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(driver, "_measured", killed)
        assert lab.here(*typed).status == 130
    monkeypatch.setattr(study, "is_gone", lambda worker: worker is not None)
    ended = lab.here(*typed)
    assert ended.status == 0 and "this sweep: 2 new cells" in ended.out and ended.metrics["new_cells"] == 2
    drawn = {Path(path).parent for path in lab.root.glob("store/generated/*/captions.json")}
    sets = [json.loads((path / "captions.json").read_text()) for path in drawn if "2.5" in _scale_of(path)]
    assert [len(captions) for captions in sets] == [4], "and not the 20 of sweeps=quick"


def _scale_of(generated: Path) -> str:
    return str(json.loads((generated / "manifest.json").read_text())["config"]["cfg"]["scale"])


SPACE = "sweeps.space={scheduler:[ddim,euler],cfg.scale:[1.0,3.0,5.0]}"
GRID = [*SCENES, *TOY, "task=sweep", "sweeps=quick", SPACE, "sweeps.fixed={scheduler.steps:2,eval.images:6}"]


def rows(ended: Ended) -> list[list[str]]:
    (section,) = ended.json("sections.json")
    table = section["tables"][0]
    # what a picture cost is another number each time
    kept = [i for i, head in enumerate(table["columns"]) if head not in ("seconds_per_image",)]
    return [[row[i] for i in kept] for row in table["rows"]]


def test_two_workers_one_killed_give_the_table_of_one(lab: Lab, main_job: Ended, tmp_path: Path) -> None:
    alone = lab.here(*GRID)
    other = lab.sharing(tmp_path / "lab", without="generated")
    process = other.start(*GRID, "sweeps.workers=2", "sweeps.heartbeat=1")
    end = time.monotonic() + 150
    victim = None
    while victim is None:
        assert time.monotonic() < end and process.poll() is None, "no worker has begun"
        for child in psutil.Process(process.pid).children():
            started = list(other.root.glob("store/generated/*"))
            if started and T2I_WORKER in child.environ():
                victim = child
        time.sleep(0.1)
    victim.kill()
    together = other.end(process, set())
    assert together.status == 0, together.err
    assert rows(together) == rows(alone) and together.metrics["cells"] == 6
    assert "ended with status -9" in together.out
    again = other.here(*GRID)
    assert again.metrics["new_cells"] == 0 and "built " not in again.out
    assert (together.folder / "report.html").stat().st_size > 100_000


def test_the_plan_is_told_and_a_budget_reduces_the_pictures(empty_lab: Lab) -> None:
    space = "sweeps.space={cfg.scale:[1.0,5.0]}"
    arguments = [*SCENES, *TOY, "task=sweep", "sweeps=guidance", space, "eval.images=12", "scheduler.steps=20"]
    refused = empty_lab.here(*arguments, "sweeps.budget=0.001s")
    assert refused.status == 2 and "too few to compare" in refused.err
    ended = empty_lab.here(*arguments)
    assert re.search(r"this sweep: 2 new cells, about \d+ s to draw, \d+\.\d GB", ended.out)
    assert "this sweep" not in empty_lab.here(*arguments).out, "nothing is left to plan"


def test_a_budget_decides_once_how_many_pictures_a_cell_has(empty_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two evaluations in each of ten steps: a cell of 12 pictures takes 24 s at 0.1 s an evaluation."""
    from t2i.sweeps import budget as sweep_plan

    seconds = iter([0.1, 0.02])
    monkeypatch.setattr(sweep_plan, "_timed", lambda *_: (next(seconds), 0.0, 1.0))
    data = [*SCENES, *TOY, "task=sweep", "sweeps=guidance", "eval.images=12", "scheduler.steps=10", "sweeps.budget=40s"]
    first = empty_lab.here(*data, "sweeps.space={cfg.scale:[3.0,5.0]}")
    assert "10 pictures a cell instead of 12 fit into 40s" in first.out
    assert first.metrics["images"] == 20
    again = empty_lab.here(*data, "sweeps.space={cfg.scale:[3.0,5.0]}")
    assert again.metrics["new_cells"] == 0 and again.metrics["images"] == 20
    wider = empty_lab.here(*data, "sweeps.space={cfg.scale:[3.0,5.0,7.5]}")
    assert "10 pictures a cell, as planned when this sweep" in wider.out
    assert (wider.metrics["new_cells"], wider.metrics["images"]) == (1, 30)


def test_the_best_setting_becomes_an_experiment(
    lab: Lab, main_job: Ended, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "experiment").mkdir()
    monkeypatch.setattr("t2i.stories.sweep.CONF", tmp_path)
    ended = lab.here(*GRID, "sweeps.apply=chosen")
    assert ended.status == 0, ended.err
    written = yaml.safe_load((tmp_path / "experiment" / "chosen.yaml").read_text())
    scale, scheduler = written["cfg"]["scale"], written["defaults"][0]["override /scheduler"]
    assert f"scheduler={scheduler} cfg.scale={scale}" in ended.out
    again = lab.here(*GRID, "sweeps.apply=chosen")
    assert again.status == 2 and "choose another name" in again.err


def test_a_sweep_tells_its_front_its_ties_and_one_suggestion(lab: Lab, main_job: Ended) -> None:
    """Two metrics where none is named; the study of one that is named stays one of one objective."""
    ended = lab.here(*GRID)
    (section,) = ended.json("sections.json")
    table, text = section["tables"][0], section["text"]
    marks = [row[2] for row in table["rows"]]
    assert table["columns"][:6] == [
        "scheduler",
        "cfg.scale",
        "",
        "tied with the best in",
        "clip_score[tiny_clip]",
        "kid[tiny_clip]",
    ]
    assert marks.count("suggested") == 1 and set(marks) <= {"suggested", "front", ""}
    assert "not beaten by another in clip_score[tiny_clip] and kid[tiny_clip] at once" in text
    assert section["facts"]["best"] in ended.out.replace("\n", "") or section["facts"]["best"] in text
    figures = {Path(figure["path"]).name for figure in section["figures"]}
    assert {"front_kid.png", "heat_map_clip_score.png", "heat_map_kid.png"} <= figures
    alone = lab.here(*GRID, "sweeps.metric='clip_score[tiny_clip]'")
    assert "built " not in alone.out
    (section,) = alone.json("sections.json")
    assert [row[2] for row in section["tables"][0]["rows"]].count("best") == 1
    best = max(float(str(row[3]).split()[0]) for row in section["tables"][0]["rows"])
    assert alone.metrics["best.clip_score[tiny_clip]"] == pytest.approx(best, abs=0.06)


def test_a_race_makes_fewer_pictures_and_finds_the_same(lab: Lab, main_job: Ended) -> None:
    more = ["eval.images=12", "sweeps.space={scheduler.steps:[8,1]}", "sweeps.round=4"]
    whole = lab.here(*SCENES, *TOY, "task=sweep", "sweeps=steps", *more, "sweeps.metric='clip_score[tiny_clip]'")
    race = lab.here(*SCENES, *TOY, "task=sweep", "sweeps=steps", *more, "sweeps.racing=true")
    assert race.metrics["images"] < whole.metrics["images"] == 24
    name = "best.clip_score[tiny_clip]"
    assert race.metrics[name] == pytest.approx(whole.metrics[name], abs=0.1)
    assert "left the race early" in race.out
