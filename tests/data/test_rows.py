"""Rows are encoded once for each content, and a killed build goes on after its last shard."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from t2i.data import rows
from t2i.data.rows import Rows, key_of, keyed_rows
from t2i.errors import UserError
from t2i.store import Store, digest_of

BATCH = 4


def build(
    store: Store, contents: Sequence[str], asked: list[int], fail_at: int = -1, model: str = "one"
) -> tuple[Path, Rows]:
    def encode(indices: Sequence[int]) -> np.ndarray:
        assert len(indices) in (1, BATCH)
        asked.extend(indices[1:] if len(indices) == 1 else dict.fromkeys(indices))
        if fail_at in indices:
            raise KeyboardInterrupt
        return np.stack([np.full((2, 3), float(contents[i]), np.float32) for i in indices])

    stage, found = keyed_rows(
        store, "squares", {"data": digest_of(list(contents)), "model": model}, {"dtype": "float32"}, 1,
        lambda: [key_of(content.encode()) for content in contents], encode, BATCH, "squares",
    )  # fmt: skip
    return stage.path, found


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "SHARD_BYTES", 8 * 24)  # eight rows


def test_rows_come_in_any_order_from_several_shards(tmp_path: Path, small_shards: None) -> None:
    folder, found = build(Store(tmp_path), [str(i) for i in range(21)], [])
    assert len(list(folder.glob("rows-*.npy"))) == 3
    assert found.shape == (21, 2, 3) and found.dtype == np.float32
    assert found[[20, 3, 8, 3]][:, 0, 0].tolist() == [20, 3, 8, 3]
    assert np.load(folder / "rows-00002.npy").shape == (5, 2, 3)


def test_only_what_changed_is_encoded_again(tmp_path: Path, small_shards: None) -> None:
    store, contents = Store(tmp_path), [str(i) for i in range(21)]
    build(store, contents, [])
    changed: list[int] = []
    _, found = build(store, [*contents[:9], "100", *contents[10:], "101"], changed)
    assert changed == [9, 21]
    assert found[range(22)][:, 0, 0].tolist() == [*range(9), 100, *range(10, 21), 101]
    other: list[int] = []
    build(store, contents, other, model="two")
    assert sorted(other) == list(range(21))


def test_a_shard_of_the_same_rows_is_not_written_again(tmp_path: Path, small_shards: None) -> None:
    """The disk holds it once; the stage that had it first may go."""
    store, contents = Store(tmp_path), [str(i) for i in range(21)]
    first, _ = build(store, contents, [])
    folder, found = build(store, [*contents[:9], "100", *contents[10:]], [])
    same = [(first / path.name).samefile(path) for path in sorted(folder.glob("rows-*.npy"))]
    assert same == [True, False, True]
    shutil.rmtree(first)
    assert found[range(21)][:, 0, 0].tolist() == [*range(9), 100, *range(10, 21)]
    assert not build(Store(tmp_path), ["0", *contents], [])[0].samefile(folder), "in another order they are copied"


def test_an_interrupted_build_goes_on_after_its_last_shard(tmp_path: Path, small_shards: None) -> None:
    store, contents = Store(tmp_path / "killed"), [str(i) for i in range(21)]
    with pytest.raises(KeyboardInterrupt):
        build(store, contents, [], fail_at=13)
    asked: list[int] = []
    folder, _ = build(store, contents, asked)
    assert asked == list(range(8, 21))
    whole, _ = build(Store(tmp_path / "whole"), contents, [])
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in whole.iterdir())
    assert all((folder / path.name).read_bytes() == path.read_bytes() for path in whole.glob("*.npy"))


def test_the_size_is_said_before_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    build(Store(tmp_path, announce=lines.append), ["1", "2"], [])
    assert lines[0] == "squares: 2 x 2x3 float32, 48 B"
    usage: Callable[[Path], object] = lambda path: type("Usage", (), {"free": 10})  # noqa: E731
    monkeypatch.setattr(rows.shutil, "disk_usage", usage)
    with pytest.raises(UserError, match="take 48 B and .* has 10 B free"):
        build(Store(tmp_path), ["3", "4"], [])
