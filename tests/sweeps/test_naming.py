"""A study is called by what it is about, and known by what its cells hang on: no name makes it another one."""

from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.artifacts import FileSystemArtifactStore, download_artifact, get_all_artifact_meta
from PIL import Image

from t2i.sweeps import naming
from t2i.sweeps.config import Direction, Sweep
from t2i.sweeps.driver import Report, outcomes, work
from t2i.sweeps.naming import KNOWN_AS, opened
from t2i.sweeps.space import Cell, cells
from t2i.sweeps.storage import open_storage
from t2i.sweeps.study import Shown, Study

METRIC, COST = "clip_score[tiny_clip]", "seconds_per_image"


class Counted:
    """Measures a cell by its guidance scale, and counts how often it is asked."""

    asked = 0

    def __call__(self, cell: Cell, report: Report) -> dict[str, Any]:
        self.asked += 1
        return {METRIC: float(cell["cfg.scale"]), COST: 0.5}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'sweeps.db'}"


def sweep(*scales: float) -> Sweep:
    space = {"scheduler": ["ddim", "euler"], "cfg.scale": list(scales or (5.0, 7.5))}
    return Sweep(name="test", space=space, metric=METRIC, heartbeat=1)


def study(url: str, shown: Shown = Shown(), config: Sweep | None = None) -> Study:  # noqa: B008  frozen
    return Study(config or sweep(), open_storage(url, 1), "test-abc", shown=shown)


def test_a_study_has_its_title_and_what_it_is_about(url: str) -> None:
    shown = Shown("tiny on scenes: scheduler x cfg.scale", {"model": "tiny", "model digest": "ab12"})
    identity = study(url, shown)._own
    (found,) = optuna.get_all_study_summaries(url)
    assert found.study_name.startswith("tiny on scenes: scheduler x cfg.scale [")
    assert found.user_attrs == {"model": "tiny", "model digest": "ab12", KNOWN_AS: identity}


def test_values_are_called_by_their_metric(url: str) -> None:
    made = study(url)
    work(made, Counted(), wait=0.05)
    loaded = optuna.load_study(study_name=made.optuna.study_name, storage=url)
    assert loaded.metric_names == [METRIC]
    assert loaded.trials_dataframe()[f"value_{METRIC}"].tolist() == [5.0, 7.5, 5.0, 7.5]
    both = sweep()
    both.also = {COST: Direction.minimize}
    several = study(url, config=both)
    work(several, Counted(), wait=0.05)
    table = optuna.load_study(study_name=several.optuna.study_name, storage=url).trials_dataframe()
    assert {f"values_{METRIC}", f"values_{COST}"} <= set(table.columns)


@pytest.mark.parametrize("title", ["", "tiny on scenes", "another [1234] name", " "])
def test_whatever_it_is_called_its_cells_are_known(url: str, title: str) -> None:
    measure = Counted()
    work(study(url, Shown("first name")), measure, wait=0.05)
    again = study(url, Shown(title))
    work(again, measure, wait=0.05)
    assert measure.asked == 4 and len(outcomes(again)) == 4
    assert len(optuna.get_all_study_names(url)) == 1


def test_a_study_of_before_titles_goes_on(url: str, tmp_path: Path) -> None:
    """It is called by its identity, and has neither user attributes nor names of objectives."""
    config = sweep()
    own = Study(config, open_storage(f"sqlite:///{tmp_path / 'other.db'}", 1), "test-abc")._own
    old = optuna.create_study(storage=url, study_name=own, directions=["maximize"])
    for cell in cells(config.space)[:3]:
        old.enqueue_trial(cell, user_attrs={"cell": cell, "identity": ""})
        trial = old.ask()
        for key, values in config.space.items():
            trial.suggest_categorical(key, values)
        trial.set_user_attr("numbers", {METRIC: 1.0})
        old.tell(trial, 1.0)
    measure = Counted()
    work(study(url, Shown("tiny on scenes", {"model": "tiny"})), measure, wait=0.05)
    assert measure.asked == 1
    (found,) = optuna.get_all_study_summaries(url)
    assert found.study_name == own and found.user_attrs["model"] == "tiny" and found.n_trials == 4
    wider = study(url, Shown("tiny on scenes"), sweep(5.0, 7.5, 10.0))
    assert len(wider.missing()) == 2, "what a study of before measured is known to a wider one"


def test_two_that_are_opened_at_once_under_two_names_are_one(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second has looked before the first was there."""
    storage, found = open_storage(url, 1), naming._found
    first = opened(storage, "test-1", "on one machine")
    looks = iter([True])
    monkeypatch.setattr(naming, "_found", lambda *given: [] if next(looks, False) else found(*given))
    second = opened(storage, "test-1", "on another machine")
    assert first._study_id == second._study_id and len(optuna.get_all_study_names(url)) == 2


def picture(numbers: Any, folder: Path) -> Path:
    path = folder / "pictures.png"
    Image.fromarray(np.full((2, 3, 3), int(numbers[METRIC] * 10), np.uint8)).save(path)
    return path


def test_every_trial_has_the_pictures_of_its_cell(url: str, tmp_path: Path) -> None:
    shown = Shown("tiny", artifacts=tmp_path / "artifacts", picture=picture)
    work(study(url, shown), Counted(), wait=0.05)
    # A wider space takes the cells over, and their pictures with them.
    wider = study(url, shown, sweep(5.0, 7.5, 10.0))
    work(wider, Counted(), wait=0.05)
    store = FileSystemArtifactStore(tmp_path / "artifacts")
    seen = []
    for trial in optuna.load_study(study_name=wider.optuna.study_name, storage=url).trials:
        (meta,) = get_all_artifact_meta(trial, storage=wider.storage)
        assert (meta.filename, meta.mimetype) == ("pictures.png", "image/png")
        path = tmp_path / f"{trial.number}.png"
        download_artifact(artifact_store=store, artifact_id=meta.artifact_id, file_path=str(path))
        with Image.open(path) as shown_picture:
            seen.append(np.asarray(shown_picture)[0, 0, 0] / 10)
    assert sorted(seen) == [5.0, 5.0, 7.5, 7.5, 10.0, 10.0]
    assert len(list((tmp_path / "artifacts").iterdir())) == 6, "nothing is left of the making"


def test_a_trial_whose_pictures_are_elsewhere_has_none(url: str, tmp_path: Path) -> None:
    made = study(url, Shown(artifacts=tmp_path / "artifacts"))
    work(made, Counted(), wait=0.05)
    assert [get_all_artifact_meta(trial, storage=made.storage) for trial in made.optuna.trials] == [[], [], [], []]
