"""A checkpoint exists whole or not at all, damage is noticed, and a spare is always there."""

import errno
import json
import os
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from t2i.errors import UserError
from t2i.store import MANIFEST, sha256_file
from t2i.training import checkpoints

FILES = ["parameters.safetensors", "optimizer.pt", "facts.json"]


def save(folder: Path, step: int, keep: int = 2, size: int = 10) -> Path:
    """A checkpoint whose tensors say which step it is."""
    parameters = {"unet.weight": torch.full((size,), float(step)), "unet.bias": torch.zeros(2)}
    optimizer = {"optimizer": {"state": {0: {"step": torch.tensor(float(step))}}}, "schedule": {"last_epoch": step}}
    return checkpoints.save(folder, step, parameters, optimizer, {"held_out_loss_before": 0.5}, keep)


def newest_step(folder: Path) -> int:
    found = checkpoints.newest(folder)
    assert found is not None
    assert found.parameters["unet.weight"].tolist() == [float(found.step)] * 10
    return found.step


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    path = save(tmp_path, 7)
    found = checkpoints.newest(tmp_path)
    assert found is not None and path == tmp_path / "step_00000007"
    assert found.step == 7 and found.facts == {"step": 7, "held_out_loss_before": 0.5}
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


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def unlist(path: Path) -> None:
    """The file is gone and a planted manifest does not miss it."""
    path.unlink()
    files = json.loads((path.parent / MANIFEST).read_text())
    del files[path.name]
    (path.parent / MANIFEST).write_text(json.dumps(files))


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "one flipped bit": flip,
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-3]),
    "emptied": lambda path: path.write_bytes(b""),
    "deleted": Path.unlink,
    "deleted, and from the manifest too": unlist,
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_damage_is_noticed_and_the_one_before_is_used(
    tmp_path: Path, damage: Callable[[Path], Any], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path, 5)
    path = save(tmp_path, 10)
    assert newest_step(tmp_path) == 10
    damage(path / name)
    with caplog.at_level("WARNING", "t2i"):
        assert newest_step(tmp_path) == 5
    assert str(path) in caplog.text and "is damaged" in caplog.text and name in caplog.text


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
    ["torch.save", "t2i.training.checkpoints.save_file", "t2i.training.checkpoints.write_json",
     "t2i.training.checkpoints.sync_tree", "os.rename", "pathlib.Path.mkdir"],
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
