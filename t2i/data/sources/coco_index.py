"""COCO's annotations by image, in one SQLite file: 590,000 captions in the memory of a few."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from t2i.data.files.json_stream import items
from t2i.data.files.stated import texts, word
from t2i.data.sources import karpathy
from t2i.errors import UserError

VERSION = 2
"""Of the tables: raise it when the same annotations give others."""
TABLES = """
CREATE TABLE images (id PRIMARY KEY, file TEXT, license TEXT);
CREATE TABLE captions (image, number, text TEXT);
CREATE TABLE labels (image, category TEXT, domain TEXT);
"""
ORDERED = """
CREATE INDEX caption_order ON captions (image, number);
CREATE UNIQUE INDEX label_order ON labels (image, category, domain);
"""


@dataclass(frozen=True)
class Row:
    """One image; `file` is relative to the image folder, or to the folder above it in Karpathy's file."""

    id: int
    file: str
    license: str
    captions: list[str]
    domains: list[str]
    categories: list[str]


class Index:
    """The images of one split. `path` None: a temporary file that is gone with the object."""

    def __init__(self, path: Path | None = None) -> None:
        self._database = sqlite3.connect("" if path is None else path)

    def fill(self, captions: Path, instances: Iterable[Path], splits: Iterable[str] = ()) -> None:
        """Reads a captions file, or with `splits` those of Karpathy's file, and what is known about its images.

        Raises UserError when an annotation lacks what COCO's have.
        """
        database = self._database
        database.execute("PRAGMA synchronous = OFF")  # a stage is made durable as a whole
        try:
            with database:
                database.executescript(TABLES)
                if splits:
                    self._fill_from_karpathy(captions, set(splits))
                else:
                    images = (
                        (row["id"], row["file_name"], word(row.get("license"), captions, "the licence of an image"))
                        for row in _objects(captions, "images")
                    )
                    database.executemany("INSERT INTO images VALUES (?, ?, ?)", images)
                    said = (
                        (row["image_id"], row["id"], text)
                        for row in _objects(captions, "annotations")
                        for text in texts(row["caption"], f"{captions}, annotation {row['id']}")
                    )
                    database.executemany("INSERT INTO captions VALUES (?, ?, ?)", said)
                database.executescript(ORDERED)
                for path in instances:
                    self._fill_labels(path)
        except (KeyError, TypeError) as error:
            raise UserError(
                f"the annotations of {captions} lack {error}: expected COCO's files as published."
            ) from error
        except sqlite3.Error as error:  # an id twice, a caption that is a list
            raise UserError(f"the annotations of {captions} are not COCO's as published ({error}).") from error

    def _fill_from_karpathy(self, path: Path, splits: set[str]) -> None:
        for entry in karpathy.entries(path):
            if entry.split in splits:
                file = f"{entry.folder}/{entry.file}" if entry.folder else entry.file
                self._database.execute("INSERT INTO images VALUES (?, ?, '')", (entry.coco_id, file))
                said = ((entry.coco_id, number, text) for number, text in enumerate(entry.captions))
                self._database.executemany("INSERT INTO captions VALUES (?, ?, ?)", said)

    def _fill_labels(self, path: Path) -> None:
        known = {row["id"]: (row["name"], row["supercategory"]) for row in _objects(path, "categories")}
        labels = ((row["image_id"], *known[row["category_id"]]) for row in _objects(path, "annotations"))
        self._database.executemany("INSERT OR IGNORE INTO labels VALUES (?, ?, ?)", labels)

    def files(self, most: int) -> list[str]:
        """The names of the first images."""
        return [file for (file,) in self._database.execute("SELECT file FROM images ORDER BY id LIMIT ?", (most,))]

    def __len__(self) -> int:
        return int(self._database.execute("SELECT count(*) FROM images").fetchone()[0])

    def __iter__(self) -> Iterator[Row]:
        """The images in the order of their ids, with captions in the order of theirs."""
        captions = _Grouped(self._database.execute("SELECT image, text FROM captions ORDER BY image, number"))
        labels = _Grouped(self._database.execute("SELECT image, category, domain FROM labels ORDER BY image"))
        for key, file, license in self._database.execute("SELECT id, file, license FROM images ORDER BY id"):
            names = list(labels.of(key))
            texts = [text for (text,) in captions.of(key)]
            yield Row(
                key, file, license, texts, sorted({name[1] for name in names}), sorted({name[0] for name in names})
            )

    def close(self) -> None:
        """Lets go of the file."""
        self._database.close()


class _Grouped:
    """Rows ordered by their first column, given out key by key in the same order."""

    def __init__(self, rows: Iterable[tuple[Any, ...]]) -> None:
        self._groups = groupby(rows, key=lambda row: row[0])
        self._next = next(self._groups, None)

    def of(self, key: int) -> Iterator[tuple[Any, ...]]:
        """What belongs to `key`; what belongs to smaller keys was about images that the split does not list."""
        while self._next is not None and self._next[0] < key:
            self._next = next(self._groups, None)
        if self._next is not None and self._next[0] == key:
            yield from (row[1:] for row in self._next[1])
            self._next = next(self._groups, None)


def write(path: Path, captions: Path, instances: Iterable[Path], splits: Iterable[str]) -> None:
    """An index as a file."""
    with closing(Index(path)) as index:
        index.fill(captions, instances, splits)


def _objects(path: Path, key: str) -> Iterator[Mapping[str, Any]]:
    for item in items(path, key):
        if not isinstance(item, dict):
            raise TypeError(f"an object in {key!r}")
        yield item
