"""What became of every file below the root of a data set: used, set aside or left out with a reason, or no picture."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from t2i.data.base import Dataset
from t2i.data.files import kinds
from t2i.data.files.fence import Fence, written
from t2i.data.files.walk import walk
from t2i.data.preparation.repeats import kind
from t2i.store import write_json

UNNAMED = "named by nothing"
MOST = 24
"""Reasons, and kinds of files, that the sentence names."""


@dataclass
class Census:
    """Counts of files; every file is in exactly one of them."""

    root: str
    files: int = 0
    used: int = 0
    aside: Counter[str] = field(default_factory=Counter)
    """Pictures set aside or left out, by reason without what is particular to one of them."""
    others: Counter[str] = field(default_factory=Counter)
    """Files that are no pictures, by the end of their names."""
    elsewhere: Counter[str] = field(default_factory=Counter)
    """What is named and is no file below the root, by reason; not among the files."""
    inner: Counter[str] = field(default_factory=Counter)
    """Pictures inside of containers that are left out, by reason; not among the files."""
    listed: list[dict[str, str]] = field(default_factory=list)
    """Pictures that preparation never saw, with the reason."""

    def sentence(self) -> str:
        """Numbers that add up to the number of files."""
        text = f"Of the {self.files:,} files below {self.root}: {self.used:,} used"
        if self.aside:
            text += f", {self.aside.total():,} set aside or left out ({_counts(self.aside)})"
        if self.others:
            text += f", {self.others.total():,} not pictures ({_counts(self.others)})"
        if self.elsewhere:
            text += f"; named, but no file there: {self.elsewhere.total():,} ({_counts(self.elsewhere)})"
        if self.inner:
            text += f"; left out of the pictures inside: {self.inner.total():,} ({_counts(self.inner)})"
        return text + "."

    def metrics(self) -> dict[str, float]:
        """For metrics.json."""
        numbers = {"below_root": self.files, "used": self.used, "set_aside": self.aside.total()}
        return {f"files/{key}": float(n) for key, n in (numbers | {"no_pictures": self.others.total()}).items()}

    def write(self, path: Path) -> None:
        """All of it as JSON."""
        write_json(path, {key: dict(v) if isinstance(v, Counter) else v for key, v in vars(self).items()})


def census(dataset: Dataset, prepared: Path) -> Census | None:
    """Of a data set that was just prepared into that folder; None for one without a folder of files."""
    if not dataset.root:
        return None
    root, location = Path(dataset.root).expanduser(), dataset.location()
    inside = location.is_relative_to(root)
    fate = dict.fromkeys((written(os.path.relpath(path, root)) for path in dataset.remarks.containers), "")
    """By path below the root; empty: used."""
    found = Census(written(str(root)))
    for name, reason in _told(dataset, prepared):
        path = os.path.relpath(os.path.join(location, name), root)
        if inside and fate.get(path) != "":  # a file that is used once is used
            fate[path] = reason
    if not inside:
        found.inner.update(kind(reason) for split in dataset.remarks.left_out.values() for _, reason in split)
    fence = Fence(root, [Path(folder).expanduser() for folder in dataset.links])
    for file in walk(root, fence):
        found.files += 1
        name = written(file.file)
        if name in fate:
            reason = fate.pop(name)
            found.used += not reason
            found.aside.update([kind(reason)] if reason else [])
        elif file.picture:
            reason = file.reason or f"{UNNAMED} that dataset={dataset.name} reads"
            found.aside[kind(reason)] += 1
            found.listed.append({"file": name, "reason": written(reason)})
        else:
            found.others[kinds.suffix(file.file.rpartition("/")[2]) or "without a suffix"] += 1
    found.elsewhere.update(kind(reason) for reason in fate.values())
    return found


def _told(dataset: Dataset, prepared: Path) -> Iterator[tuple[str, str]]:
    """File and reason, empty where it is used, of every image that preparation saw or left out."""
    for record in audited(prepared):
        yield record["file"], record.get("dropped", "")
    for split in dataset.remarks.left_out.values():
        for name, reason in split:
            yield written(name), reason


def audited(prepared: Path) -> Iterator[dict[str, Any]]:
    """The images of audit.json, one line each, without holding all of them."""
    with open(prepared / "audit.json", encoding="utf-8") as file:
        next(file)
        for line in file:
            if line.startswith('"dropped_captions"'):
                return
            if line.startswith("{"):
                yield json.loads(line[: line.rindex("}") + 1])


def _counts(counter: Counter[str]) -> str:
    named = [f"{n:,} {name}" for name, n in counter.most_common(MOST)]
    rest = counter.total() - sum(n for _, n in counter.most_common(MOST))
    return ", ".join([*named, *([f"{rest:,} others"] if rest else [])])
