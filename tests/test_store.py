"""A stage is built once, exists whole or not at all, and is found again by what it was made from."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from t2i import digests, manifest
from t2i import store as store_module
from t2i.digests import sha256_file
from t2i.errors import UserError
from t2i.store import MANIFEST, Store, damage, digest_of, require_sound, write_json

WORKER = """
import sys, time
from pathlib import Path
from t2i.store import Store

root, mode = Path(sys.argv[1]), sys.argv[2]

def build(folder):
    with open(root / "builds.txt", "a") as log:
        log.write("built\\n")
    (folder / "first.txt").write_text("first")
    (root / "started").touch()
    time.sleep(600 if mode == "hang" else 0.5)
    (folder / "second.txt").write_text("second")

stage = Store(root).stage("slow", {}, {}, 1, build, resumable=mode == "hang")
print(stage.path, stage.reused)
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def writes(text: str = "content", name: str = "data.txt") -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        (folder / name).write_text(text)

    return build


def never(folder: Path) -> None:
    raise AssertionError("built again")


def start_worker(root: Path, mode: str) -> subprocess.Popen[str]:
    root.mkdir(exist_ok=True)
    surroundings = {**os.environ, "PYTHONPATH": str(Path(store_module.__file__).parent.parent)}
    command = [sys.executable, "-c", WORKER, str(root), mode]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=surroundings)


def test_a_stage_is_built_once_and_then_reused(store: Store) -> None:
    first = store.stage("example", {"data": "abc"}, {"size": 3}, 1, writes())
    second = store.stage("example", {"data": "abc"}, {"size": 3}, 1, never)
    assert (first.reused, second.reused) == (False, True)
    assert first.path == second.path == store.root / "example" / first.digest
    assert (second.path / "data.txt").read_text() == "content"


def test_a_new_process_reuses_the_stage(store: Store) -> None:
    built = store.stage("example", {}, {}, 1, writes())
    assert Store(store.root).stage("example", {}, {}, 1, never).path == built.path


@pytest.mark.parametrize(
    "other",
    [
        {"name": "another"},
        {"inputs": {"data": "changed"}},
        {"inputs": {"renamed": "abc"}},
        {"config": {"size": 4}},
        {"version": 2},
    ],
)
def test_the_address_covers_name_inputs_configuration_and_version(store: Store, other: dict) -> None:
    address: dict = {"name": "example", "inputs": {"data": "abc"}, "config": {"size": 3}, "version": 1}
    one = store.stage(**address, build=writes())
    two = store.stage(**{**address, **other}, build=writes())
    assert one.path != two.path
    assert not two.reused


def test_the_address_does_not_depend_on_the_order_of_keys(store: Store) -> None:
    store.stage("example", {"a": "1", "b": "2"}, {"x": 1, "y": 2}, 1, writes())
    assert store.stage("example", {"b": "2", "a": "1"}, {"y": 2, "x": 1}, 1, never).reused


def test_digest_of_is_the_sha256_of_canonical_json() -> None:
    # printf '{"a":1,"b":["\\u00e9"]}' | sha256sum
    assert digest_of({"b": ["é"], "a": 1}) == "28cae5a5c18b900797e4b0965b55b478f4f38f98b65b950166fcdc48184ec43a"


def test_the_manifest_says_what_the_stage_was_made_from(store: Store) -> None:
    stage = store.stage("example", {"data": "abc"}, {"size": 3}, 7, writes("content"))
    manifest = json.loads((stage.path / MANIFEST).read_text())
    assert {key: manifest[key] for key in ("stage", "inputs", "config", "version")} == {
        "stage": "example",
        "inputs": {"data": "abc"},
        "config": {"size": 3},
        "version": 7,
    }
    # printf content | sha256sum
    digest = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
    assert manifest["files"] == {"data.txt": {"sha256": digest, "bytes": 7}}


def test_nothing_is_left_when_building_raises(store: Store) -> None:
    def fails(folder: Path) -> None:
        (folder / "half.txt").write_text("half")
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        store.stage("example", {}, {}, 1, fails)
    stage = store.stage("example", {}, {}, 1, writes())
    assert not stage.reused
    assert sorted(path.name for path in stage.path.iterdir()) == ["data.txt", MANIFEST]


@pytest.mark.parametrize("resumable", [False, True])
def test_a_killed_build_leaves_no_stage(tmp_path: Path, resumable: bool) -> None:
    root = tmp_path / "store"
    worker = start_worker(root, "hang")
    while not (root / "started").exists():
        assert worker.poll() is None
        time.sleep(0.01)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    found: list[bool] = []

    def build(folder: Path) -> None:
        found.append((folder / "first.txt").exists())
        (folder / "second.txt").write_text("second")

    stage = Store(root).stage("slow", {}, {}, 1, build, resumable=resumable)  # the lock died with its holder
    assert not stage.reused
    assert found == [resumable]
    assert (stage.path / "first.txt").exists() == resumable


def test_two_processes_build_a_stage_once(tmp_path: Path) -> None:
    root = tmp_path / "store"
    workers = [start_worker(root, "build") for _ in range(2)]
    answers = sorted(worker.communicate(timeout=60)[0].split()[1] for worker in workers)
    assert answers == ["False", "True"]
    assert (root / "builds.txt").read_text() == "built\n"


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def zeroed(data: bytes) -> bytes:
    return data[:-4] + bytes(4)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "flipped bit": lambda path: in_place(path, flipped(path.read_bytes())),
    "flipped first byte": lambda path: in_place(path, bytes([path.read_bytes()[0] ^ 0xFF]) + path.read_bytes()[1:]),
    "zeroed end": lambda path: in_place(path, zeroed(path.read_bytes())),
    "zeroed": lambda path: in_place(path, bytes(path.stat().st_size)),
    "swapped bytes": lambda path: in_place(path, path.read_bytes()[::-1]),
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "longer": lambda path: in_place(path, path.read_bytes() + b"x"),
    "empty": lambda path: os.truncate(path, 0),
    "gone": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),  # type: ignore[dict-item,return-value]
    "a broken link": lambda path: (path.unlink(), path.symlink_to("nowhere")),  # type: ignore[dict-item,return-value]
    "other times restored": lambda path: keep_times(path, flipped(path.read_bytes())),
}


def in_place(path: Path, content: bytes) -> None:
    """Overwrites the same inode, as a bad cable or a careless program would."""
    with open(path, "r+b") as file:
        file.write(content)


def keep_times(path: Path, content: bytes) -> None:
    status = path.stat()
    in_place(path, content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("file", ["data.txt", MANIFEST])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_stage_is_built_again(tmp_path: Path, damage: str, file: str) -> None:
    lines: list[str] = []
    store = Store(tmp_path / "store", announce=lines.append)
    stage = store.stage("example", {"data": "abc"}, {"size": 3}, 1, writes())
    DAMAGES[damage](stage.path / file)
    lines.clear()
    again = Store(store.root, announce=lines.append).stage("example", {"data": "abc"}, {"size": 3}, 1, writes())
    assert not again.reused and f"{stage.path} is damaged" in lines[0]
    assert (again.path / "data.txt").read_text() == "content"
    assert store.stage("example", {"data": "abc"}, {"size": 3}, 1, never).reused
    assert not list(stage.path.parent.glob("*.damaged"))


@pytest.mark.parametrize("content", ["", "{}", "[]", "[[", '{"files": []}', '{"files": {"data.txt": 3}}', "\x00"])
def test_a_foreign_manifest_is_none(store: Store, content: str) -> None:
    stage = store.stage("example", {}, {}, 1, writes())
    (stage.path / MANIFEST).write_text(content)
    assert not store.stage("example", {}, {}, 1, writes()).reused


@pytest.mark.parametrize("key", ["sha256", "bytes", "inputs", "config", "version", "stage", "name of a file"])
def test_each_word_of_a_manifest_is_checked(store: Store, key: str) -> None:
    stage = store.stage("example", {"data": "abc"}, {"size": 3}, 1, writes())
    manifest = json.loads((stage.path / MANIFEST).read_text())
    entry = manifest["files"]["data.txt"]
    if key == "name of a file":
        manifest["files"] = {"data.tyt": entry}
    elif key in entry:
        entry[key] = 8 if key == "bytes" else entry[key].replace("e", "f", 1)
    else:
        manifest[key] = {"stage": "exampla", "version": 2}.get(key, {"data": "abd"})
    (stage.path / MANIFEST).write_text(json.dumps(manifest))
    assert not store.stage("example", {"data": "abc"}, {"size": 3}, 1, writes()).reused


def test_a_stage_that_is_not_made_again_stays_aside(store: Store) -> None:
    stage = store.stage("example", {}, {}, 1, writes())
    in_place(stage.path / "data.txt", b"CONTENT")

    def fails(folder: Path) -> None:
        raise RuntimeError("no room")

    with pytest.raises(RuntimeError, match="no room"):
        store.stage("example", {}, {}, 1, fails)
    assert (stage.path.with_name(f".{stage.digest}.damaged") / "data.txt").read_text() == "CONTENT"


def test_files_are_read_once_and_again_when_one_has_changed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own; a later one asks the memory."""
    monkeypatch.setattr(digests, "SETTLED", -60.0)
    read: list[str] = []
    monkeypatch.setattr(manifest, "sha256_file", lambda path: (read.append(path.name), sha256_file(path))[1])
    stage = store.stage("example", {}, {}, 1, writes())
    for expected in (["data.txt"], [], []):
        read.clear()
        manifest._SOUND.clear()  # as a new process begins
        assert Store(store.root).stage("example", {}, {}, 1, never).reused
        assert read == expected
    os.utime(stage.path / "data.txt")
    store.stage("example", {}, {}, 1, never)
    assert read == ["data.txt"]


def test_what_changed_within_a_tick_of_the_clock_is_read_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two changes of one tick have the same time: files that have just been written are not remembered."""
    stage = store.stage("example", {}, {}, 1, writes())
    assert store.stage("example", {}, {}, 1, never).reused
    same = digests.stamp(stage.path / "data.txt")
    monkeypatch.setattr(digests, "stamp", lambda path: same)
    in_place(stage.path / "data.txt", b"CONTENT")
    assert not store.stage("example", {}, {}, 1, writes()).reused


def test_only_the_main_process_writes_unless_the_build_is_collective(tmp_path: Path) -> None:
    helper = Store(tmp_path / "store", main=False)
    helper.stage("example", {}, {}, 1, never)  # the main process builds this one
    calls: list[Path] = []
    helper.stage("example", {}, {}, 1, calls.append, collective=True)
    assert len(calls) == 1
    assert not (tmp_path / "store").exists()


def test_what_is_reused_is_announced_once(tmp_path: Path) -> None:
    lines: list[str] = []
    store = Store(tmp_path, announce=lines.append)
    store.stage("example", {}, {}, 1, writes())
    assert [line.split()[:2] for line in lines] == [["built", "example"]]
    lines.clear()
    again = Store(tmp_path, announce=lines.append)
    for _ in range(3):
        again.stage("example", {}, {}, 1, never)
    assert [line.split()[:2] for line in lines] == [["reused", "example"]]


def test_write_json_keeps_the_old_file_when_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "numbers.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert path.read_text() == '{\n  "a": 1\n}\n'


# -- digests of files outside the store ----------------------------------------------------------------------------------


def test_a_file_is_read_once(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(b"content")
    monkeypatch.setattr(digests, "SETTLED", -60.0)
    digest = store.file_digest(path)
    assert digest == "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
    monkeypatch.setattr(digests, "sha256_file", never)
    assert Store(store.root).file_digest(path) == digest


def test_a_changed_file_is_noticed(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(b"one")
    before = store.file_digest(path)
    path.write_bytes(b"two!")
    assert store.file_digest(path) != before


def test_a_changed_file_of_the_same_size_and_time_is_noticed(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(b"one")
    status = path.stat()
    before = store.file_digest(path)
    time.sleep(0.02)  # the clock of file systems ticks a few times in 10 ms
    path.write_bytes(b"two")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # as cp -p, rsync -t and tar do
    assert store.file_digest(path) != before


def test_digests_come_in_the_order_of_the_files(store: Store, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        path.write_text(path.name)
    known = store.file_digest(paths[1])
    digests = store.file_digests([*paths, paths[0]])
    assert digests[1] == known
    assert digests[0] == digests[3]
    assert len(set(digests)) == 3


def test_nobody_waits_while_files_are_read(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a large data set takes longer than SQLite's patience; another run must not fail meanwhile."""
    paths = [tmp_path / name for name in ("large_1", "large_2", "small")]
    for path in paths:
        path.write_text(path.name)
    connect, read = digests.sqlite3.connect, digests.sha256_file
    monkeypatch.setattr(digests.sqlite3, "connect", lambda path, timeout: connect(path, timeout=0.1))
    other = Store(store.root)

    def slow(path: Path) -> str:
        if path == paths[1]:
            other.file_digest(paths[2])
        return read(path)

    monkeypatch.setattr(digests, "sha256_file", slow)
    assert len(store.file_digests(paths[:2])) == 2


@pytest.mark.parametrize("damage", [name for name in DAMAGES if name not in ("a folder", "a broken link")])
def test_a_damaged_memory_is_begun_anew_and_says_nothing_wrong(
    tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "SETTLED", -60.0)
    paths = [tmp_path / str(number) for number in range(200)]
    for path in paths:
        path.write_text(path.name)
    right = [sha256_file(path) for path in paths]
    store = Store(tmp_path / "store")
    assert store.file_digests(paths) == right
    DAMAGES[damage](store.root / digests.MEMORY)
    assert store.file_digests(paths) == right
    assert store.file_digests(paths) == right


def test_every_byte_of_the_memory_may_be_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "SETTLED", -60.0)
    path = tmp_path / "picture.png"
    path.write_text("content")
    right, store = sha256_file(path), Store(tmp_path / "store")
    assert store.file_digest(path) == right
    content = (store.root / digests.MEMORY).read_bytes()
    used = [i for i, byte in enumerate(content) if byte][::3]
    assert len(used) > 100
    for i in used:
        (store.root / digests.MEMORY).write_bytes(content[:i] + bytes([content[i] ^ 0x41]) + content[i + 1 :])
        assert store.file_digest(path) == right, i


def test_a_folder_that_cannot_be_written_has_no_memory(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_text("content")
    (tmp_path / "store").write_text("a file")
    assert Store(tmp_path / "store").file_digest(tmp_path / "picture.png") == sha256_file(tmp_path / "picture.png")


# -- what is read on its own -------------------------------------------------------------------------------------------


def test_damage_finds_a_flipped_byte_and_a_missing_file(store: Store) -> None:
    def build(folder: Path) -> None:
        for name in ("a.bin", "b.bin", "c.bin"):
            (folder / name).write_bytes(b"\x00\x01\x02")

    stage = store.stage("example", {}, {}, 1, build)
    assert damage(stage.path) == []
    (stage.path / "b.bin").write_bytes(b"\x00\x01\x03")
    (stage.path / "c.bin").unlink()
    assert damage(stage.path) == ["b.bin", "c.bin"]
    with pytest.raises(UserError, match=rf"{stage.path} is damaged \(b.bin and 1 more files not as written\): remove"):
        require_sound(stage.path)


def test_one_process_decides_for_all(tmp_path: Path) -> None:
    """Another process looks at nothing: the main one tells it that the stage is there, or that it is made."""
    for there in (True, False):
        helper = Store(tmp_path / "store", main=False, tell=lambda find, there=there: there)
        built: list[Path] = []
        assert helper.stage("example", {}, {}, 1, built.append, collective=True).reused is there
        assert len(built) == (not there)


def test_who_waits_for_an_equal_command_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "PATIENCE", 0.1)
    said: list[str] = []
    begun, go = threading.Event(), threading.Event()

    def slow(folder: Path) -> None:
        begun.set()
        assert go.wait(30)
        writes()(folder)

    def announce(line: str) -> None:
        said.append(line)
        go.set()

    first = threading.Thread(target=lambda: Store(tmp_path / "store").stage("slow", {}, {}, 1, slow))
    first.start()
    assert begun.wait(30)
    second = Store(tmp_path / "store", announce=announce).stage("slow", {}, {}, 1, never)
    first.join()
    assert second.reused
    assert said[0].startswith(
        f"another command is making slow {second.digest[:12]}, which this one needs too: waiting for it"
    )
    assert len(said) == 2 and said[1].startswith("reused slow")


def test_what_the_main_process_sees_counts_in_all(tmp_path: Path) -> None:
    """On machines that share a folder, another one may not see yet what the main one has seen."""
    Store(tmp_path / "store").stage("one", {}, {}, 1, writes())
    elsewhere = Store(tmp_path / "nothing there", main=False, tell=lambda find: True)
    assert elsewhere.stage("one", {}, {}, 1, never, collective=True).reused
