"""Disks, memory and processes that are gone are one sentence each, whatever library found out."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from t2i.messages import explain

from .conftest import Lab


def failing(number: int, path: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), path)


def chained(inner: Exception) -> Exception:
    """As libraries wrap what the system said."""
    try:
        raise RuntimeError("could not save") from inner
    except RuntimeError as error:
        return error


FULL = [
    failing(errno.ENOSPC), failing(errno.ENOSPC, "/data/x"), failing(errno.EDQUOT), failing(errno.EFBIG),
    RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    RuntimeError("(sqlite3.OperationalError) database or disk is full"),
    RuntimeError("[enforce fail at inline_container.cc:664] . PytorchStreamWriter failed writing file data/0: file write failed"),
    chained(failing(errno.ENOSPC)),
]  # fmt: skip
LOCKED = [
    failing(errno.EROFS, "/data/x"), failing(errno.EACCES, "/data/x"), failing(errno.EPERM, "/data/x"),
    failing(errno.ENOTDIR, "/data/x"), RuntimeError("I/O error: Read-only file system (os error 30)"),
    RuntimeError("(sqlite3.OperationalError) attempt to write a readonly database"),
    RuntimeError("(sqlite3.OperationalError) unable to open database file"), chained(failing(errno.EROFS)),
]  # fmt: skip


@pytest.mark.parametrize("error", FULL, ids=repr)
def test_a_full_disk_is_called_so(error: Exception) -> None:
    sentence = str(explain(error, []))
    assert sentence.startswith("the disk is full: ") and "free space" in sentence and "debug=true" not in sentence
    assert ("/data/x cannot be written" in sentence) == (getattr(error, "filename", None) is not None)


@pytest.mark.parametrize("error", LOCKED, ids=repr)
def test_a_folder_of_somebody_else_is_called_so(error: Exception) -> None:
    sentence = str(explain(error, []))
    assert "cannot be written" in sentence and "use outputs=<a folder of yours>" in sentence
    assert "debug=true" not in sentence


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), MemoryError()]
)
def test_too_little_memory_is_called_so_wherever_it_was_missing(error: Exception) -> None:
    assert str(explain(error, [])).startswith("out of memory (") and "batch_size" in str(explain(error, []))


@pytest.mark.parametrize(
    "said",
    ["pair.cc:553] Connection closed by peer [127.0.0.1]:7585. GLHF!",
     "pair.cc:537] Read error [127.0.0.1]:9092: Connection reset by peer. GLHF!",
     "pair.cc:471] Write error [127.0.0.1]:9092: Broken pipe", "pair.cc:81] Application timeout caused pair closure"],
)  # fmt: skip
def test_a_process_that_is_left_alone_says_so(said: str) -> None:
    said = f"[/third_party/gloo/gloo/transport/tcp/{said}"
    assert str(explain(RuntimeError(said), [])).startswith(
        "another process of this run ended while this one waited for it"
    )


def test_other_errors_keep_their_own_words() -> None:
    assert str(explain(ValueError("a disk of full size"), [])).startswith(
        "ValueError: a disk of full size (add debug=true"
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux's")
@pytest.mark.parametrize(
    "write", [lambda path: path.write_bytes(bytes(10)), lambda path: torch.save({"a": torch.ones(9)}, path)],
    ids=["bytes", "torch"],
)  # fmt: skip
def test_what_is_said_of_a_full_device_is_understood(write: Callable[[Path], object]) -> None:
    with pytest.raises((OSError, RuntimeError)) as caught:
        write(Path("/dev/full"))
    assert str(explain(caught.value, [])).startswith("the disk is full: ")


def test_outputs_where_nobody_may_write_are_refused_in_a_sentence(empty_lab: Lab) -> None:
    file = empty_lab.root / "file"
    file.touch()
    ended = Lab(file / "outputs").here("task=prepare")
    assert ended.status == 1
    assert ended.err.startswith("t2i: ") and "cannot be written" in ended.err and "Traceback" not in ended.err
