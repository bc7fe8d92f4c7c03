"""task=store tells what lies where, and removes what no run needs - and nothing else."""

import shutil
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from t2i.store import Store, damage
from t2i.upkeep import freed, held, needed, runs

from ..conftest import SCENES, TOY, Ended, Lab
from ..test_store import flipped, in_place


@pytest.fixture
def own(lab: Lab, main_job: Ended, tmp_path: Path) -> Lab:
    shutil.copytree(lab.root, tmp_path / "lab", symlinks=True)
    copied = Lab(tmp_path / "lab")
    for folder in copied.folders():
        if folder.name != main_job.folder.name:
            shutil.rmtree(folder)
    return copied


def stages(lab: Lab) -> set[str]:
    return {f"{entry.name}/{entry.digest}" for entry in held(lab.root / "store")}


def test_what_the_run_needs_stays_and_its_command_finds_everything(own: Lab, main_job: Ended) -> None:
    own.here("task=store", "store.prune=true", "store.yes=true")
    again = own.here(*main_job.json("environment.json")["overrides"][3:], track=False)
    assert again.status == 0 and "built " not in again.out


def test_an_edited_caption_leaves_what_goes_when_its_run_goes(empty_lab: Lab, folder_data: Path) -> None:
    arguments = ["task=train", "dataset=folder", f"dataset.root={folder_data}", "dataset.resolution=64", *TOY,
                 "training.validation_images=0", "training.export_pipeline=false"]  # fmt: skip
    first = empty_lab.here(*arguments)
    assert first.status == 0, first.err
    before = stages(empty_lab)
    (folder_data / "03.txt").write_text("another caption")
    second = empty_lab.here(*arguments)
    assert stages(empty_lab) > before
    kept = empty_lab.here("task=store", "store.prune=true", "store.yes=true")
    assert kept.metrics["removed"] == 0, "both runs are there"
    shutil.rmtree(first.folder)
    shown = empty_lab.here("task=store")
    names = {name.split("/")[0] for name in before}
    assert shown.metrics["unneeded"] == len(before) - len(before & needs(empty_lab)) > 2
    assert "store.prune=true removes that" in shown.out and stages(empty_lab) >= before
    gone = empty_lab.here("task=store", "store.prune=true", "store.yes=true")
    assert gone.metrics["removed"] == shown.metrics["unneeded"]
    assert gone.metrics["freed_bytes"] == shown.metrics["unneeded_bytes"] > 0
    assert {"prepared", "latents", "training"} <= names
    assert stages(empty_lab) == {f"{e.name}/{e.digest}" for e in held(empty_lab.root / "store")} >= set()
    again = empty_lab.here(*arguments)
    assert "built " not in again.out and again.metrics["final_loss"] == second.metrics["final_loss"]


def needs(lab: Lab) -> set[str]:
    root = lab.root / "store"
    digests = set().union(*needed(held(root), runs(root)).values())
    return {name for name in stages(lab) if name.split("/")[1] in digests}


def test_nothing_is_removed_without_a_yes(own: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(own.root / "store").stage("unused", {}, {}, 1, lambda folder: (folder / "a").write_text("a" * 1000))
    before = stages(own)
    ended = own.here("task=store", "store.prune=true")
    assert ended.metrics["removed"] == 0 and "type store.prune=true store.yes=true" in ended.out
    assert "no run needs unused/" in ended.out and stages(own) == before
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    for answer, removed in (("", 0), ("n", 0), ("y", 1)):
        monkeypatch.setattr("builtins.input", lambda question, answer=answer: answer)
        assert own.here("task=store", "store.prune=true").metrics["removed"] >= removed
        assert (stages(own) == before) is (removed == 0)


def test_yes_alone_is_a_mistake(empty_lab: Lab) -> None:
    ended = empty_lab.here("task=store", "store.yes=true")
    assert ended.status == 2 and "store.prune=true" in ended.err


def test_damage_is_named_and_changes_nothing(own: Lab) -> None:
    path = next(own.root.glob("store/latents/*/rows-*.npy"))
    in_place(path, flipped(path.read_bytes()))
    ended = own.here("task=store", "store.verify=true")
    assert ended.metrics["damaged"] == 1
    assert f"damaged: {path.parent} (rows-00000.npy not as written)" in ended.out
    assert damage(path.parent) == ["rows-00000.npy"], "the next command that needs it makes it again"


def test_a_stage_that_somebody_builds_or_has_asked_for_since_stays(tmp_path: Path) -> None:
    from t2i.context import Run
    from t2i.upkeep import prune

    store = Store(tmp_path / "store")
    made = [
        store.stage(name, {}, {}, 1, lambda folder: (folder / "a").write_text("a")) for name in ("one", "two", "three")
    ]
    entries = held(store.root)
    run = Run(tmp_path / "2026-01-01" / "run", store)
    run.asked("two", made[1].digest)  # between the look and the removal
    with FileLock(made[2].path.with_name(f".{made[2].digest}.lock")):
        told = {entry.name: reason for entry, reason in prune(store.root, entries, 0.0)}
    assert told == {"one": "", "two": "a run needs it now", "three": "a run is at work on it"}
    assert [stage.path.exists() for stage in made] == [False, True, True]


def test_what_a_run_elsewhere_needs_stays(empty_lab: Lab, tmp_path: Path) -> None:
    ended = empty_lab.here(*SCENES, "task=prepare", f"hydra.run.dir={tmp_path.parent}/{tmp_path.name}_run")
    assert ended.status == 0, ended.err
    assert needs(empty_lab) == stages(empty_lab) != set()
    shutil.rmtree(f"{tmp_path}_run")
    assert needs(empty_lab) == set()


def test_files_that_stages_share_are_free_when_all_names_are_gone(tmp_path: Path) -> None:
    import os

    store = Store(tmp_path / "store")
    one = store.stage("one", {}, {}, 1, lambda folder: (folder / "a").write_bytes(b"a" * 1000))
    store.stage("two", {}, {}, 1, lambda folder: os.link(one.path / "a", folder / "a"))
    first, second = held(store.root)
    assert freed([first, second]) - freed([first]) - freed([second]) == 1000
