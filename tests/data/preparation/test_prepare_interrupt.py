"""A killed preparation: the next run completes it, and its files are those of an uninterrupted one."""

import json
import multiprocessing
import random
import time
from pathlib import Path

import pytest

from t2i.data.preparation import shards
from t2i.data.preparation.prepare import prepare
from t2i.data.sources.folder import Folder
from t2i.store import MANIFEST, Store

from ..conftest import picture

KILLS = 10


def run(root: str, store: str) -> None:
    shards.ROWS_PER_GROUP, shards.ROWS_PER_SHARD = 4, 8
    prepare(Folder(root=root, resolution=64, quarantine=0.1), Store(Path(store)), progress=False)


def digests(store: Path) -> dict[str, dict[str, object]]:
    return json.loads(next(store.glob(f"prepared/[!.]*/{MANIFEST}")).read_text())["files"]


@pytest.fixture
def root(tmp_path):
    """60 images, some of them damaged or equal."""
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(60):
        (folder / f"{number:03d}.txt").write_text(f"picture {number}")
        picture(number // 2 if number % 20 == 1 else number, (64, 64)).save(folder / f"{number:03d}.png")
    (folder / "030.png").write_bytes(b"damaged")
    return folder


def test_a_run_that_was_killed_at_any_moment_is_completed(root, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "ROWS_PER_GROUP", 4)
    monkeypatch.setattr(shards, "ROWS_PER_SHARD", 8)
    run(str(root), str(tmp_path / "whole"))
    expected = digests(tmp_path / "whole")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    start = time.perf_counter()
    first = context.Process(target=run, args=(str(root), str(tmp_path / "timed")))
    first.start()
    first.join()
    duration = time.perf_counter() - start
    moments = random.Random(0)
    unfinished, resumed = 0, 0
    for number in range(KILLS):
        store = tmp_path / f"store{number}"
        process = context.Process(target=run, args=(str(root), str(store)))
        process.start()
        if number % 2:  # any moment
            process.join(moments.uniform(0.1, 1) * duration)
        else:  # while shards are written, however fast the machine is
            while process.is_alive() and not list(store.glob("prepared/.*.partial/train-*.parquet")):
                time.sleep(0.001)
        process.kill()
        process.join()
        unfinished += not list(store.glob(f"prepared/[!.]*/{MANIFEST}"))
        resumed += bool(list(store.glob("prepared/.*.partial/train-*.parquet")))
        run(str(root), str(store))
        assert digests(store) == expected
        assert not list(store.glob("prepared/.*.partial"))
    assert unfinished >= 3 and resumed >= 1  # the kills met runs that were at work


def test_a_run_that_is_killed_again_and_again_gets_further(root, tmp_path, monkeypatch):
    """Each start is stopped after two more shards; what was finished is not decoded again."""
    monkeypatch.setattr(shards, "ROWS_PER_GROUP", 4)
    monkeypatch.setattr(shards, "ROWS_PER_SHARD", 8)
    run(str(root), str(tmp_path / "whole"))
    from t2i.data.preparation import pool

    decoded = []
    original = pool.prepare_file

    class Killed(BaseException):
        pass

    def stopping(path, *arguments):
        if len(decoded) % 17 == 16:
            decoded.append("stopped")
            raise Killed
        decoded.append(path.name)
        return original(path, *arguments)

    monkeypatch.setattr(pool, "prepare_file", stopping)
    killed = 0
    while killed < 20:
        try:
            run(str(root), str(tmp_path / "store"))
            break
        except Killed:
            killed += 1
    assert 3 <= killed < 10
    assert digests(tmp_path / "store") == digests(tmp_path / "whole")


def test_a_signal_is_told_what_is_kept(root, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "ROWS_PER_GROUP", 4)
    monkeypatch.setattr(shards, "ROWS_PER_SHARD", 8)
    said = []
    store = Store(tmp_path / "store", announce=said.append)
    original, seen = shards.ShardWriter.add, []

    def interrupted(self, *arguments):
        seen.append(1)
        if len(seen) == 30:
            raise KeyboardInterrupt
        original(self, *arguments)

    monkeypatch.setattr(shards.ShardWriter, "add", interrupted)
    data = Folder(root=str(root), resolution=64, quarantine=0.1)
    with pytest.raises(KeyboardInterrupt):
        prepare(data, store)
    (line,) = [line for line in said if line.startswith("interrupted")]
    assert line == "interrupted: 16 of 60 images are prepared and kept; the same command goes on from there"
    monkeypatch.setattr(shards.ShardWriter, "add", original)
    prepare(Folder(root=str(root), resolution=64, quarantine=0.1), store)
    assert any(line.startswith("16 of 5") and line.endswith("images are prepared already") for line in said)
