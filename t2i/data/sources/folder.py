"""`dataset=folder`: images of your own, captioned in metadata, in files beside them, or by the folders they lie in."""

import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Optional

from t2i.data.files.parquet import SPLITS
from t2i.data.files.walk import walk
from t2i.data.keywords import KeywordRule
from t2i.data.sample import Sample, clean
from t2i.data.sources.side_files import ENDS, METADATA, Row, beside, rows_of
from t2i.data.sources.templates import DEFAULT, check_templates, worded
from t2i.data.splits import NamedSplit
from t2i.errors import UserError

REPEATED = re.compile(r"(\d+)_(.+)")
"""kohya's name of a folder: how often an epoch sees its images, and what they show."""
CONTAINERS = ("*.parquet", "*.arrow", "*.tar", "*.tar.gz")


@dataclass
class Folder(NamedSplit):
    """Images below `root`. The domain is the metadata's `domain`, else the top-level sub-folder of the image.

    A metadata file (metadata.jsonl, .csv or .parquet) speaks for the images in its folder and below: rows have
    `file_name` (relative to it), `text` or `caption` (a string; in JSON a list too) and perhaps `domain` or `domains` and
    `license`; rows of the same file add captions. Elsewhere a .txt or .caption (one caption a line) or a .json beside an
    image does. Sub-folders train/, test/, validation/ are splits. Without any caption, the folders' names are classes.
    """

    kind: str = "folder"
    name: str = "folder"
    templates: list[str] = field(default_factory=lambda: list(DEFAULT))
    """Captions where only the folder says what an image shows: {label} is its name, {a label} its name with the article."""

    def layout(self) -> str:
        return (
            "images with metadata.jsonl, metadata.csv or metadata.parquet (columns file_name and text), with a .txt, "
            ".caption or .json beside each image, or in a folder for each class"
        )

    def validate(self) -> None:
        super().validate()
        check_templates(self.templates)

    def everything(self) -> Iterator[tuple[str, Sample]]:
        root = self.location()
        rows = {row.name: row for row in self._rows(root)}
        if not rows:
            raise self._without_images(root)
        within = _split_folders(rows)
        others = "" if any(_place(name, within)[0] == "train" for name in rows) else "train"
        """The split of what lies outside of the folders of splits."""
        told = any(text.strip() for row in rows.values() for text in row.captions) or bool(self.caption)
        rule = KeywordRule(self.keywords)
        for name in sorted(rows):
            row = rows[name]
            split, folder = _place(name, within)
            captions = clean(row.captions)
            repeats, label = _repeats(folder)
            if not any(captions) and not self.caption and folder and not row.stated:
                captions = self._by_folder(label, repeats > 0, told, captions)
            domains = set(row.domains)
            if not domains and folder:  # a folder says something, and so may captions
                domains = {label, *rule.labels(captions)[0]}
            sample = Sample(name, root / name, captions, tuple(sorted(domains)), (), row.license)
            yield split or others, replace(sample, repeats=max(1, repeats))
        if not told and not any(folder for _, folder in (_place(name, within) for name in rows)):
            raise self.absent(f"none of the {len(rows)} images has a caption (dataset.caption=... gives one to all)")

    def _by_folder(self, label: str, repeated: bool, told: bool, captions: tuple[str, ...]) -> tuple[str, ...]:
        """The captions that the name of a folder gives: as it is for kohya's, by the templates where no image has any."""
        if repeated:
            self._remarks.notes["captions of images without one are the names of their folders (as in 10_name)"] = None
            return clean([label])
        if told:
            return captions
        self._remarks.notes["captions are made from the names of the folders by dataset.templates"] = None
        return worded(self.templates, label.replace("_", " "))

    def _rows(self, root: Path) -> Iterator[Row]:
        """What is said about every image, in one row each: those that metadata names, and all others that it may not."""
        fence = self.fence()
        names, tables, others = [], [], set()
        for found in walk(root, fence):
            if found.picture and not found.reason:
                names.append(found.file)
            elif found.file.rpartition("/")[2] in METADATA and not _hidden(found.file):
                tables.append(found.file)
            elif found.file.endswith(ENDS):
                others.add(found.file)
        governed = _governed(root, tables)
        merged: dict[str, Row] = {}
        for table in sorted(tables, key=lambda name: (name.count("/"), name)):
            if reason := fence.refusal(root / table):
                raise UserError(f"{table} in {root} is {reason}.")
            folder = table.rpartition("/")[0]
            for row in rows_of(root / table):
                own = row.name
                if "\\" in own and not os.path.exists(root / folder / own):  # written on Windows
                    own = own.replace("\\", "/")
                name = os.path.normpath(os.path.join(folder, own)).replace(os.sep, "/")
                entry = merged.setdefault(name, Row(name, [], [], "", stated=True))
                entry.captions.extend(row.captions)
                entry.domains.extend(row.domains)
                entry.license = entry.license or row.license
        if tables and not merged and "" in governed:
            raise UserError(f"{root / tables[0]} names no image: expected rows with file_name and text (or caption).")
        yield from merged.values()
        for name in names:
            if not any(name.startswith(folder) for folder in governed):
                yield Row(name, beside(root, name, others, fence), [], "")

    def _without_images(self, root: Path) -> UserError:
        if any(path for pattern in CONTAINERS for path in root.rglob(pattern)):
            return self.absent(f"no image to prepare; for shards and tables type dataset=shards dataset.root={root}")
        return self.absent("no image to prepare")

    def _wanted(self, split: str, there: list[str]) -> list[str]:
        if split == "held_out" and self.held_out_split == "test" and "test" not in there and "validation" in there:
            self._remarks.notes["the held-out side is the split validation: there is no test"] = None
            return ["validation"]
        return super()._wanted(split, there)


def _governed(root: Path, tables: list[str]) -> list[str]:
    """The folders, each with its slash, for which a metadata file speaks; raises UserError where two do."""
    folders = [table.rpartition("/")[0] for table in tables]
    twice = next((folder for folder in folders if folders.count(folder) > 1), None)
    if twice is not None:
        names = [table.rpartition("/")[2] for table in tables if table.rpartition("/")[0] == twice]
        raise UserError(f"{root / twice} has {' and '.join(names)}: keep the one that is meant.")
    return [f"{folder}/" if folder else "" for folder in folders]


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _split_folders(names: Collection[str]) -> Optional[str]:
    """The folder, with its slash, in which folders are splits: the root (empty), or the one that holds all images.

    They are where two of them are splits, or one is and there is no other, or one holds out: `train/` beside `bus/` and
    `car/` is a class of its own. None where they are not.
    """
    folders = {name.partition("/")[0].lower() for name in names if "/" in name}
    splits = {SPLITS[folder] for folder in folders if folder in SPLITS}
    if splits and (splits != {"train"} or not folders - {"train", "training"}):
        return ""
    tops = {name.partition("/")[0] if "/" in name else "" for name in names}
    if len(tops) > 1 or "" in tops:
        return None
    top = f"{tops.pop()}/"
    inner = _split_folders({name.removeprefix(top) for name in names})
    return None if inner is None else top + inner


def _place(name: str, within: Optional[str]) -> tuple[str, str]:
    """The split of an image, and the folder in it that says what it shows; empty where none does.

    within: see `_split_folders`. A folder as kohya names them says it wherever it lies.
    """
    split, parts = "", name.split("/")
    if within is not None:
        inner = name.removeprefix(within).split("/")
        split = SPLITS.get(inner[0].lower(), "") if len(inner) > 1 else ""
        parts = inner[1:] if split else parts
    folders = [part for part in parts[:-1] if part not in ("", "..")]
    named = next((part for part in reversed(folders) if REPEATED.fullmatch(part)), None)
    return split, named or (folders[0] if folders else "")


def _repeats(folder: str) -> tuple[int, str]:
    """How often an epoch sees the images of a folder, 0 where it does not say, and its name without that number."""
    found = REPEATED.fullmatch(folder)
    return (int(found[1]), found[2]) if found else (0, folder)
