"""`dataset=folder`: images of your own, captioned in metadata.jsonl, metadata.csv or a .txt beside each image."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2i.data.base import Fence, Sample, clean
from t2i.data.columns import texts
from t2i.data.keywords import KeywordRule
from t2i.data.splits import ContentSplit
from t2i.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")


@dataclass
class Folder(ContentSplit):
    """Images below `root`. The domain is the metadata's `domain`, else the top-level sub-folder of the image.

    Rows of metadata have `file_name` (relative to the root), `text` or `caption` (a string; in JSON a list too) and
    perhaps `domain` or `domains` and `license`; rows of the same file add captions. A side file gives one caption a line.
    """

    kind: str = "folder"
    name: str = "folder"

    def layout(self) -> str:
        return "images with metadata.jsonl or metadata.csv (columns file_name and text), or a .txt beside each image"

    def everything(self) -> Iterator[tuple[str, Sample]]:
        root = self.location()
        tables = [path for path in (root / "metadata.jsonl", root / "metadata.csv") if path.is_file()]
        if len(tables) > 1:
            raise UserError(f"{root} has metadata.jsonl and metadata.csv: keep the one that is meant.")
        merged: dict[str, Row] = {}
        for row in _table(tables[0]) if tables else _side_files(root):
            entry = merged.setdefault(row.name, Row(row.name, [], [], ""))
            entry.captions.extend(row.captions)
            entry.domains.extend(row.domains)
            entry.license = entry.license or row.license
        if not merged:
            raise self.absent("no image to prepare")
        if not tables and not any(row.captions for row in merged.values()):
            raise self.absent(f"none of the {len(merged)} images has a caption")
        rule = KeywordRule(self.keywords)
        for name, row in sorted(merged.items()):
            captions = clean(row.captions)
            domains = set(row.domains)
            if not domains and _folder_domain(name):  # a folder says something, and so may captions
                domains = _folder_domain(name).union(rule.labels(captions)[0])
            yield "", Sample(name, root / name, captions, tuple(sorted(domains)), (), row.license)


@dataclass
class Row:
    """What the metadata or a side file says about an image; rows of the same file add up."""

    name: str
    captions: list[str]
    domains: list[str]
    license: str


def _folder_domain(name: str) -> set[str]:
    parts = Path(name).parts
    return {parts[0]} if len(parts) > 1 and parts[0] not in ("/", "..") else set()


def _table(path: Path) -> Iterator[Row]:
    for number, row in _rows(path):
        captions = row.get("text") or row.get("caption")
        if (
            not isinstance(row.get("file_name"), str)
            or not row["file_name"]
            or ("text" not in row and "caption" not in row)
        ):
            raise UserError(
                f"{path}, line {number}: expected file_name and text (or caption), found {sorted(map(str, row))}."
            )
        domains = [name for name in texts(row.get("domains") or row.get("domain")) if name]
        yield Row(Path(row["file_name"]).as_posix(), texts(captions), domains, str(row.get("license") or ""))


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and fields of each row."""
    number = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix == ".csv":
                for number, row in enumerate(csv.DictReader(file), 2):
                    yield number, row
                return
            for number, line in enumerate(file, 1):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise ValueError("not an object")
                    yield number, row
    except (ValueError, csv.Error) as error:
        raise UserError(
            f"{path} cannot be read at line {number} ({error}): expected UTF-8 with one row an image."
        ) from error


def _side_files(root: Path) -> Iterator[Row]:
    fence = Fence(root)
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() in SUFFIXES:
            side = path.with_suffix(".txt")
            readable = not fence.refusal(side)
            lines = side.read_text(encoding="utf-8-sig", errors="replace").splitlines() if readable else []
            yield Row(path.relative_to(root).as_posix(), [line for line in lines if line.strip()], [], "")
