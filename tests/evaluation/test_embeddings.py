"""Vectors of captions: each caption once, nothing twice after an interruption, exact neighbours and axes. No network."""

import hashlib
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from t2i.data import reading
from t2i.evaluation import embeddings
from t2i.evaluation.embeddings import Rows, embed, entries, nearest, principal_plane, write_index
from t2i.randomness import generator

from ..data.listed import Row, prepared


class Letters:
    """Vectors that are a function of the caption alone; counts what it was asked, and fails when it is told to."""

    name, digest, preprocessing, logit_scale = "letters", "0", "none", 1.0

    def __init__(self, fail_after: int = 10**9) -> None:
        self.asked: list[str] = []
        self.largest = 0
        self._fail_after = fail_after

    def images(self, batch: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def texts(self, batch: list[str]) -> np.ndarray:
        return self.text_vectors(batch)[0]

    def text_vectors(self, batch: list[str]) -> tuple[np.ndarray, np.ndarray]:
        if batch != ["a"]:
            if len(self.asked) >= self._fail_after:
                raise KeyboardInterrupt
            self.asked += batch
        self.largest = max(self.largest, len(batch))
        return np.stack([expected(text) for text in batch]), np.stack([expected(text)[:3] + 1 for text in batch])


def expected(text: str) -> np.ndarray:
    return np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8)[:8].astype(np.float32)


ROWS: list[Row] = [
    (str(i), ["cats"] if i % 3 else ["cats", "dogs"], [f"picture {i}", f"sort {i % 4}"]) for i in range(12)
]
HELD: list[Row] = [("h", [], ["sort 2", "another"])]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(embeddings, "BLOCK", 5)
    return prepared(tmp_path, ROWS, HELD).path


def build(data: Path, folder: Path, extractor: Letters, batch_size: int = 2) -> tuple[Rows, list[int]]:
    folder.mkdir(exist_ok=True)
    done: list[int] = []
    rows = write_index(data, folder)
    embed(data, folder, rows, extractor, batch_size, done.append)
    return rows, done


def vectors(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    return np.load(folder / embeddings.PROJECTED, mmap_mode="r"), np.load(folder / embeddings.POOLED, mmap_mode="r")


def test_every_row_is_the_vector_of_its_caption(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    rows, done = build(data, folder, Letters())
    index = json.loads((folder / embeddings.INDEX).read_text())
    projected, pooled = vectors(folder)
    assert projected.shape == (26, 8) and pooled.shape == (26, 3) and projected.dtype == pooled.dtype == np.float32
    assert [entry["row"] for entry in index] == list(range(26)) and sum(done) == 26
    for entry, vector, mean in zip(index, projected, pooled, strict=True):
        np.testing.assert_array_equal(vector, expected(entry["caption"]))
        np.testing.assert_array_equal(mean, expected(entry["caption"])[:3] + 1)
    assert index[24] == {"row": 24, "split": "held_out", "image": "h", "caption": "sort 2"}
    assert rows.image.tolist() == [i // 2 for i in range(26)]
    assert [rows.groups[k] for k in rows.group[::2]] == ["dogs", "cats", "cats"] * 4 + [""]


def test_equal_captions_are_computed_once(data: Path, tmp_path: Path) -> None:
    extractor = Letters()
    rows, _ = build(data, tmp_path / "out", extractor)
    assert len(extractor.asked) == len(set(extractor.asked)) == 12 + 4 + 1
    assert rows.first[[1, 9, 17, 24]].tolist() == [1, 1, 1, 5]
    assert extractor.largest == 2


@pytest.mark.parametrize("computed", [1, 4, 9, 16])
def test_an_interrupted_build_goes_on_behind_its_last_block(data: Path, tmp_path: Path, computed: int) -> None:
    whole, rest, broken = Letters(), Letters(), Letters(fail_after=computed)
    build(data, tmp_path / "whole", whole)
    with pytest.raises(KeyboardInterrupt):
        build(data, tmp_path / "broken", broken)
    _, done = build(data, tmp_path / "broken", rest)
    for name in (embeddings.PROJECTED, embeddings.POOLED, embeddings.INDEX, embeddings.PROGRESS):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert done[0] % 5 == 0 and sum(done) == 26
    assert set(broken.asked) | set(rest.asked) == set(whole.asked)
    assert len(rest.asked) <= len(whole.asked) - computed + 5  # a block holds five rows


def test_a_finished_build_computes_nothing(data: Path, tmp_path: Path) -> None:
    build(data, tmp_path / "out", Letters())
    again = Letters()
    _, done = build(data, tmp_path / "out", again)
    assert again.asked == [] and done == [26]


def test_the_batch_size_changes_nothing(data: Path, tmp_path: Path) -> None:
    build(data, tmp_path / "one", Letters(), batch_size=1)
    build(data, tmp_path / "many", Letters(), batch_size=64)
    for one, many in zip(vectors(tmp_path / "one"), vectors(tmp_path / "many"), strict=True):
        np.testing.assert_array_equal(one, many)


def test_the_index_names_single_rows(data: Path, tmp_path: Path) -> None:
    build(data, tmp_path / "out", Letters())
    found = entries(tmp_path / "out", {0, 25})
    assert [found[row]["caption"] for row in (0, 25)] == ["picture 0", "another"]


def test_nearest_rows_are_those_of_all_cosines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "BLOCK", 2)  # many blocks
    g = generator("nearest")
    table, queries = g.normal(size=(150, 6)).astype(np.float32), g.normal(size=(3, 6)).astype(np.float32)
    rows = np.arange(0, 150, 2)
    places, cosines = nearest(table, queries, rows, 5)
    every = (queries @ table[rows].T) / np.outer(np.linalg.norm(queries, axis=1), np.linalg.norm(table[rows], axis=1))
    order = np.argsort(-every, axis=1)[:, :5]
    np.testing.assert_array_equal(places, rows[order])
    np.testing.assert_allclose(cosines, np.take_along_axis(every, order, 1), rtol=1e-5)
    assert nearest(table, queries, rows[:3], 5)[0].shape == (3, 3)


def test_the_plane_is_that_of_the_singular_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "BLOCK", 3)
    table = generator("plane").normal(size=(200, 7)).astype(np.float32) * np.arange(1, 8) + 2
    points, explained = principal_plane(table, np.arange(200))
    unit = table / np.linalg.norm(table, axis=1, keepdims=True)
    left, values, _ = np.linalg.svd(unit - unit.mean(0), full_matrices=False)
    np.testing.assert_allclose(np.abs(points), np.abs(left[:, :2] * values[:2]), atol=1e-6)
    np.testing.assert_allclose(explained, values[:2] ** 2 / (values**2).sum(), rtol=1e-6)
    np.testing.assert_allclose(principal_plane(table, np.array([7, 3]))[0], points[[7, 3]], atol=1e-12)


def test_equal_vectors_have_no_plane_and_no_error() -> None:
    points, explained = principal_plane(np.ones((4, 3), np.float32), np.arange(4))
    np.testing.assert_allclose(points, 0, atol=1e-7)
    assert explained.max() < 1


class Forgetful(Letters):
    """Remembers nothing."""

    def text_vectors(self, batch: list[str]) -> tuple[np.ndarray, np.ndarray]:
        self.asked = []
        return super().text_vectors(batch)


def written(folder: Path, images: int) -> Path:
    """The texts of a prepared set: five captions of 250 characters an image."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir()
    numbers = range(images)
    columns = {
        "id": [str(i) for i in numbers],
        "domains": [["cats"]] * images,
        "captions": [[f"{i} {k} " + "word " * 48 for k in range(5)] for i in numbers],
    }
    pq.write_table(pa.table(columns), folder / "train-00000.parquet", row_group_size=16)
    return folder


def test_memory_a_caption_is_less_than_the_caption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """590,000 captions must not lie in memory: some bytes of numbers for each are all."""
    monkeypatch.setattr(reading, "BATCH", 64)
    monkeypatch.setattr(embeddings, "BLOCK", 128)
    peaks = []
    for images in (300, 2300):
        data = written(tmp_path / str(images), images)
        tracemalloc.start()
        build(data, tmp_path / f"out {images}", Forgetful(), 64)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / (2000 * 5) < 120  # bytes; the captions alone would be 290
