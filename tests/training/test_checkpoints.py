"""A checkpoint exists whole or not at all, damage is noticed, and a spare is always there."""

import errno
import json
import os
import resource
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from t2i.errors import UserError
from t2i.store import MANIFEST, sha256_file
from t2i.training.resuming import checkpoints

FILES = ["parameters.safetensors", "optimizer.pt", "facts.json"]


def save(folder: Path, step: int, keep: int = 2, size: int = 10, average: bool = False) -> Path:
    """A checkpoint whose tensors say which step it is."""
    parameters = {"unet.weight": torch.full((size,), float(step)), "unet.bias": torch.zeros(2)}
    optimizer = {"optimizer": {"state": {0: {"step": torch.tensor(float(step))}}}, "schedule": {"last_epoch": step}}
    means = {"unet.weight": torch.full((size,), step / 2)} if average else None
    return checkpoints.save(folder, step, parameters, optimizer, {"held_out_loss_before": 0.5}, keep, means)


def newest_step(folder: Path) -> int:
    found = checkpoints.newest(folder)
    assert found is not None
    assert found.parameters["unet.weight"].tolist() == [float(found.step)] * 10
    return found.step


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    path = save(tmp_path, 7)
    found = checkpoints.newest(tmp_path)
    assert found is not None and path == tmp_path / "step_00000007"
    assert found.step == 7 and found.facts == {"step": 7, "average": False, "held_out_loss_before": 0.5}
    assert torch.equal(found.parameters["unet.weight"], torch.full((10,), 7.0))
    assert found.optimizer["schedule"] == {"last_epoch": 7}
    assert found.optimizer["optimizer"]["state"][0]["step"] == 7
    assert sorted(os.listdir(path)) == sorted([*FILES, MANIFEST])
    assert json.loads((path / MANIFEST).read_text()) == {name: sha256_file(path / name) for name in sorted(FILES)}


def test_no_checkpoint_is_no_error(tmp_path: Path) -> None:
    assert checkpoints.newest(tmp_path) is None and checkpoints.newest(tmp_path / "nowhere") is None


def test_only_the_last_are_kept(tmp_path: Path) -> None:
    for step in (5, 10, 15, 20):
        save(tmp_path, step, keep=3)
    assert checkpoints.steps(tmp_path) == [10, 15, 20]
    assert sorted(os.listdir(tmp_path)) == ["step_00000010", "step_00000015", "step_00000020"]


def test_a_checkpoint_saved_twice_is_replaced(tmp_path: Path) -> None:
    save(tmp_path, 5)
    save(tmp_path, 5)
    assert checkpoints.steps(tmp_path) == [5] and newest_step(tmp_path) == 5


def flip(path: Path, place: float = 1.0) -> None:
    """One bit of the byte at this share of the file."""
    content = bytearray(path.read_bytes())
    content[round(place * (len(content) - 1))] ^= 1
    path.write_bytes(content)


def cut(path: Path, length: Callable[[int], int]) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: length(len(content))])


def unlist(path: Path) -> None:
    """The file is gone and a planted manifest does not miss it."""
    manifest = path.parent / MANIFEST
    files = json.loads(manifest.read_text())
    path.unlink()
    files.pop(path.name, None)
    manifest.write_text(json.dumps(files if path != manifest else {}))


DAMAGES: dict[str, Callable[[Path], Any]] = {
    **{f"bit flipped at {place:.0%}": partial(flip, place=place) for place in (0.0, 0.3, 0.6, 1.0)},
    "emptied": partial(cut, length=lambda size: 0),
    "cut to one byte": partial(cut, length=lambda size: 1),
    "cut in half": partial(cut, length=lambda size: size // 2),
    "cut by one byte": partial(cut, length=lambda size: size - 2),  # the last byte of a manifest is a line break
    "one byte too many": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "deleted": Path.unlink,
    "deleted, and from the manifest too": unlist,
    "that of another step": lambda path: shutil.copy(path.parent.with_name("step_00000005") / path.name, path),
}
DAMAGED = [*FILES, "average.safetensors", MANIFEST]


def test_there_are_sixty_planted_damages() -> None:
    assert len(DAMAGES) * len(DAMAGED) == 60


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_damage_is_noticed_and_the_one_before_is_used(
    tmp_path: Path, damage: Callable[[Path], Any], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path, 5, average=True)
    path = save(tmp_path, 10, average=True)
    assert newest_step(tmp_path) == 10
    damage(path / name)
    with caplog.at_level("WARNING", "t2i"):
        assert newest_step(tmp_path) == 5
    assert str(path) in caplog.text and "is damaged" in caplog.text


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '"text"', "3", '{"parameters.safetensors": 3}'])
def test_a_damaged_manifest_is_noticed(tmp_path: Path, content: str) -> None:
    save(tmp_path, 5)
    (save(tmp_path, 10) / MANIFEST).write_text(content)
    assert newest_step(tmp_path) == 5
    (tmp_path / "step_00000010" / MANIFEST).unlink()
    assert newest_step(tmp_path) == 5


def test_nothing_is_used_when_all_are_damaged(tmp_path: Path) -> None:
    for step in (5, 10):
        flip(save(tmp_path, step) / "optimizer.pt")
    assert checkpoints.newest(tmp_path) is None


def test_damaged_checkpoints_do_not_crowd_out_the_good_ones(tmp_path: Path) -> None:
    for step in (10, 15, 20):
        save(tmp_path, step, keep=3)
    for step in (15, 20):
        flip(tmp_path / f"step_{step:08d}" / "parameters.safetensors")
    assert newest_step(tmp_path) == 10
    save(tmp_path, 12, keep=2)  # the training went on from step 10 and was stopped again
    assert newest_step(tmp_path) == 12
    flip(tmp_path / "step_00000012" / "parameters.safetensors")
    assert newest_step(tmp_path) == 10


def test_an_unfinished_checkpoint_is_none(tmp_path: Path) -> None:
    """What a killed process leaves: a partial folder, which the next save clears away."""
    path = save(tmp_path, 5)
    shutil.copytree(path, tmp_path / ".step_00000010.partial")
    assert newest_step(tmp_path) == 5
    save(tmp_path, 10)
    assert sorted(os.listdir(tmp_path)) == ["step_00000005", "step_00000010"]


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "step_notes").mkdir()
    (tmp_path / "step_3.txt").write_text("mine")
    save(tmp_path, 5)
    assert newest_step(tmp_path) == 5 and (tmp_path / "step_3.txt").exists()


def full(*arguments: Any, **options: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    "name",
    ["torch.save", "t2i.training.resuming.checkpoints.save_file", "t2i.training.resuming.checkpoints.write_json",
     "t2i.training.resuming.checkpoints.sync_tree", "os.rename", "pathlib.Path.mkdir"],
)  # fmt: skip
def test_a_full_disk_is_one_sentence_and_the_earlier_checkpoint_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    save(tmp_path, 5)
    with monkeypatch.context() as patch:
        patch.setattr(name, full)
        with pytest.raises(UserError, match="checkpoint of step 10 could not be written.*No space left.*free space"):
            save(tmp_path, 10)
    assert os.listdir(tmp_path) == ["step_00000005"] and newest_step(tmp_path) == 5
    save(tmp_path, 10)
    assert newest_step(tmp_path) == 10


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The system refuses to write beyond `size` bytes a file, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_write_that_the_system_refuses_is_one_sentence_too(tmp_path: Path) -> None:
    """safetensors and torch report a full disk by errors of their own."""
    save(tmp_path, 5)
    for large in ("parameters", "optimizer"):
        parameters = {"unet.weight": torch.ones(2**16 if large == "parameters" else 2)}
        optimizer = {"state": torch.ones(2**16 if large == "optimizer" else 2)}
        with files_of_at_most(2**16), pytest.raises(UserError, match="could not be written"):
            checkpoints.save(tmp_path, 10, parameters, optimizer, {}, keep=2)
        assert os.listdir(tmp_path) == ["step_00000005"] and newest_step(tmp_path) == 5


def test_a_planted_pickle_is_not_executed(tmp_path: Path) -> None:
    class Planted:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "executed"),)

    path = save(tmp_path, 5)
    torch.save({"optimizer": Planted()}, path / "optimizer.pt")
    files = json.loads((path / MANIFEST).read_text())
    (path / MANIFEST).write_text(json.dumps(files | {"optimizer.pt": sha256_file(path / "optimizer.pt")}))
    assert checkpoints.newest(tmp_path) is None
    assert not (tmp_path / "executed").exists()


def test_a_background_save_keeps_what_was_when_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    original = checkpoints.os.rename
    monkeypatch.setattr(checkpoints.os, "rename", lambda *paths: (gate.wait(30), original(*paths)))
    weight, moment = torch.zeros(10), torch.zeros(3)
    facts: dict[str, Any] = {"skipped": []}
    writer = checkpoints.Writer(background=True)
    writer.save(tmp_path, 5, {"w": weight}, {"state": {0: {"moment": moment}}}, facts, 2, {"w": weight})
    assert checkpoints.steps(tmp_path) == []  # the training goes on meanwhile
    weight += 1
    moment += 1
    facts["skipped"].append(6)
    gate.set()
    writer.wait()
    found = checkpoints.newest(tmp_path)
    assert found is not None and found.step == 5 and found.facts["skipped"] == []
    for tensor in (found.parameters["w"], found.average["w"], found.optimizer["state"][0]["moment"]):
        assert torch.equal(tensor, torch.zeros_like(tensor))


def test_an_error_of_a_background_save_is_told_at_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*paths: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    writer = checkpoints.Writer(background=True)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.os, "rename", full)
        writer.save(tmp_path, 5, {"w": torch.zeros(1)}, {}, {}, 2)
        with pytest.raises(UserError, match="the checkpoint of step 5 could not be written"):
            writer.wait()
    writer.save(tmp_path, 10, {"w": torch.zeros(1)}, {}, {}, 2)
    writer.wait()
    assert checkpoints.steps(tmp_path) == [10]
