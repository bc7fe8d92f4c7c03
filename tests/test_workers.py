"""The processes of one run: what they are told, who outlives whom, and whose word about the end counts."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest

from t2i import workers
from t2i.errors import ConfigError, UserError
from t2i.interruption import Interrupted

PROGRAM = """
import json, os, pathlib, signal, sys, time

folder, rank = pathlib.Path(os.environ["FOLDER"]), int(os.environ["RANK"])

def record(name, **state):
    (folder / name).write_text(json.dumps(state))

def hear(number, frame):
    with open(folder / f"heard_{rank}", "a") as file:
        file.write(f"{number} ")

(folder / f"started_{rank}").write_text(json.dumps({key: os.environ.get(key) for key in (
    "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "ACCELERATE_MIXED_PRECISION", "T2I_FROZEN", "OMP_NUM_THREADS")}))
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for run.py that needs no second to start; tests add to it what its processes do."""
    monkeypatch.setattr(workers, "PROJECT", tmp_path)
    monkeypatch.setenv("FOLDER", str(tmp_path))
    path = tmp_path / "run.py"
    path.write_text(PROGRAM)
    return path


def does(program: Path, lines: str) -> None:
    program.write_text(PROGRAM + lines)


def launch(folder: Path) -> None:
    workers.run(folder, folder / "frozen.json", 2, "bf16")


def test_workers_get_what_a_launcher_of_accelerate_would_give(program: Path, tmp_path: Path) -> None:
    launch(tmp_path)
    found = [json.loads((tmp_path / f"started_{rank}").read_text()) for rank in range(2)]
    assert [state.pop("LOCAL_RANK") for state in found] == ["0", "1"] and found[0] == found[1]
    assert found[0] | {"MASTER_PORT": "0"} == {
        "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0", "ACCELERATE_MIXED_PRECISION": "bf16",
        "T2I_FROZEN": str(tmp_path / "frozen.json"), "OMP_NUM_THREADS": os.environ["OMP_NUM_THREADS"],
    }  # fmt: skip


def test_a_process_that_dies_after_the_record_does_not_change_it(program: Path, tmp_path: Path) -> None:
    does(
        program,
        """
if rank == 0:
    record("status.json", status="FINISHED")
else:
    time.sleep(0.2)
os.abort()
""",
    )
    launch(tmp_path)


def test_whoever_failed_first_tells(program: Path, tmp_path: Path) -> None:
    """The main process misses the other one, and says so later."""
    does(
        program,
        """
if rank == 1:
    record("rank_1_status.json", status="FAILED", error="the reason", exit=2)
    sys.exit(2)
while not (folder / "rank_1_status.json").exists():
    time.sleep(0.01)
time.sleep(0.1)
record("status.json", status="FAILED", error="connection closed", exit=1)
sys.exit(1)
""",
    )
    with pytest.raises(ConfigError, match=r"^the reason$"):
        launch(tmp_path)


@pytest.mark.parametrize(
    ("end", "sentence"),
    [("os.kill(os.getpid(), signal.SIGKILL)", r"process 1 of 2 was ended by SIGKILL \(out of memory\?\)"),
     ("sys.exit(3)", "process 1 of 2 ended with status 3"), ("os.abort()", "process 1 of 2 was ended by SIGABRT")],
)  # fmt: skip
def test_who_waits_for_a_process_that_is_gone_is_ended(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, sentence: str
) -> None:
    monkeypatch.setattr(workers, "GRACE", 0.3)
    does(
        program,
        f"""
if rank == 1:
    {end}
signal.signal(signal.SIGTERM, hear)  # as in a collective operation, where no signal reaches it
time.sleep(60)
""",
    )
    others, began = set(psutil.Process().children()), time.monotonic()  # a browser may be there
    with pytest.raises(UserError, match=sentence):
        launch(tmp_path)
    assert time.monotonic() - began < 20
    assert not set(psutil.Process().children()) - others


WAITING = """
signal.signal(signal.SIGTERM, hear)
signal.signal(signal.SIGINT, hear)
(folder / f"ready_{rank}").touch()
while not (folder / f"heard_{rank}").exists():
    time.sleep(0.01)
"""


def send_when_ready(folder: Path, *numbers: int, pause: float = 0.0) -> threading.Thread:
    """Signals to this process, once both workers have their handlers."""

    def send() -> None:
        while not all((folder / f"ready_{rank}").exists() for rank in range(2)):
            time.sleep(0.01)
        for number in numbers:
            os.kill(os.getpid(), number)
            time.sleep(pause)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_passed_on_once_and_a_long_step_ends(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(workers, "GRACE", 10.0)
    does(
        program,
        WAITING
        + f"""
time.sleep(1)
record(f"saved_{{rank}}")
sys.exit(128 + {int(number)})
""",
    )
    handlers = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    thread = send_when_ready(tmp_path, number, number, number)
    with pytest.raises(Interrupted) as caught:
        launch(tmp_path)
    thread.join()
    assert caught.value.status == 128 + number
    assert (tmp_path / "heard_0").read_text().split()[0] == str(int(number))
    assert all((tmp_path / f"saved_{rank}").exists() for rank in range(2))
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == handlers


def test_a_second_signal_does_not_wait(program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("t2i.interruption.REPEAT", 0.1)
    does(program, WAITING + "time.sleep(60)")
    thread = send_when_ready(tmp_path, signal.SIGINT, signal.SIGINT, pause=0.3)
    with pytest.raises(Interrupted) as caught:
        launch(tmp_path)
    thread.join()
    assert caught.value.status == 130


def test_a_failure_while_stopping_is_no_stop(program: Path, tmp_path: Path) -> None:
    """The disk was full: nobody may believe that a checkpoint is there."""
    does(
        program,
        WAITING
        + """
if rank == 0:
    record("status.json", status="FAILED", error="the checkpoint could not be written", exit=1)
sys.exit(1)
""",
    )
    thread = send_when_ready(tmp_path, signal.SIGTERM)
    with pytest.raises(UserError, match="the checkpoint could not be written"):
        launch(tmp_path)
    thread.join()


def test_who_is_left_alone_by_a_stop_has_not_failed(program: Path, tmp_path: Path) -> None:
    """While data are prepared the others wait: they cannot hear the signal, and find the main process gone."""
    does(
        program,
        WAITING
        + """
name = "status.json" if rank == 0 else "rank_1_status.json"
if rank == 0:
    record(name, status="KILLED")
    sys.exit(143)
time.sleep(0.2)
record(name, status="FAILED", error="another process of this run ended", exit=1, alone=True)
sys.exit(1)
""",
    )
    thread = send_when_ready(tmp_path, signal.SIGTERM)
    with pytest.raises(Interrupted) as caught:
        launch(tmp_path)
    thread.join()
    assert caught.value.status == 143


def test_who_was_killed_is_named_by_its_number_and_signal(program: Path, tmp_path: Path) -> None:
    """It leaves no sentence, and the one that misses it has no reason to tell."""
    does(
        program,
        """
if rank == 1:
    os.kill(os.getpid(), signal.SIGKILL)
time.sleep(0.3)
record("status.json", status="FAILED", error="another process of this run ended", exit=1, alone=True)
sys.exit(1)
""",
    )
    with pytest.raises(UserError, match=r"process 1 of 2 was ended by SIGKILL \(out of memory\?\)"):
        launch(tmp_path)


def test_a_reason_is_told_before_its_consequence(tmp_path: Path) -> None:
    assert workers.failure(tmp_path) is None
    (tmp_path / "status.json").write_text(json.dumps({"error": "another is gone", "exit": 1, "alone": True}))
    assert str(workers.failure(tmp_path)) == "another is gone"
    (tmp_path / "rank_1_status.json").write_text(json.dumps({"error": "the reason", "exit": 2, "alone": False}))
    assert str(workers.failure(tmp_path)) == "the reason"


@pytest.mark.parametrize(
    "other_waits", [0.0, 0.5, -1.0], ids=["between two looks", "before the dead one is seen", "after"]
)
def test_who_was_killed_is_named_whenever_the_others_fail(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other_waits: float
) -> None:
    """The survivor's collective operation fails at once: its end may be seen with the dead one's, or before it."""
    monkeypatch.setattr(workers, "LOOK", 1.0 if other_waits == 0.0 else 0.01)
    does(program, f"""
signal.signal(signal.SIGTERM, signal.SIG_IGN)
record(f"deaf_{{rank}}")
while not (folder / f"deaf_{{1 - rank}}").exists():  # one that still starts would be ended by the signal that it ignores
    time.sleep(0.01)
if rank == 1:
    time.sleep(max({other_waits}, 0))
    os.kill(os.getpid(), signal.SIGKILL)
time.sleep(max(-{other_waits}, 0))
record("status.json", status="FAILED", exit=1, alone=True, error="another process of this run ended; its own message says why")
os._exit(1)
""")  # fmt: skip
    with pytest.raises(UserError, match="process 1 of 2 was ended by SIGKILL"):
        launch(tmp_path)
