"""What preparation set aside, for a reader: reasons with counts, and pictures beside those that they repeat."""

import io
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2i.context import Run
from t2i.data.preparation.repeats import REPEATS, kind
from t2i.data.reading import pictures_named
from t2i.store import Stage as Finished

if TYPE_CHECKING:
    import numpy as np

PAIRS = 12
"""Pairs in the figure, at most."""


def tables(folder: Path, captions: dict[str, int]) -> list[dict[str, Any]]:
    """Everything that the prepared set at `folder` lacks, by reason; captions: how many were dropped, by reason."""
    records = [*_read(folder / "quarantine.json"), *_read(folder / "duplicates.json")["set_aside"]]
    number, first = Counter[str](), dict[str, dict[str, str]]()
    for record in records:
        name = kind(record["reason"])
        number[name] += 1
        first.setdefault(name, record)
    rows: list[list[Any]] = [
        [name, n, "pictures", f"{first[name]['file'] or first[name]['id']}: {first[name]['reason']}"]
        for name, n in number.most_common()
    ]
    rows += [[name.replace("_", " "), n, "captions", ""] for name, n in captions.items() if n]
    if not rows:
        return []
    caption = (
        "What was set aside. Each one is listed in the prepared set: `quarantine.json` (pictures that cannot be used), "
        "`duplicates.json` (pictures that repeat others), `audit.json` (captions)."
    )
    return [{"columns": ["reason", "count", "of", "for example"], "rows": rows, "caption": caption}]


@dataclass(frozen=True)
class Pair:
    """Two pictures that look alike, by split and id, and what to say about them."""

    left: tuple[str, str]
    right: tuple[str, str]
    label: str


def pairs(folder: Path) -> list[Pair]:
    """Leaks first, then duplicates, then pictures of the set that look alike, the most alike first; at most `PAIRS`."""
    duplicates = _read(folder / "duplicates.json")
    leaks: list[Pair] = []
    copies: list[Pair] = []
    for record in duplicates["set_aside"]:
        repeated = REPEATS.fullmatch(record["reason"])
        if repeated:
            split = "held_out" if repeated[1] else record["split"]
            pair = Pair((split, repeated[2]), ("set_aside", record["id"]), f"{record['id']}: {record['reason']}")
            (leaks if repeated[1] else copies).append(pair)
    near = []
    for record in sorted(duplicates["near"], key=lambda record: record["bits"]):
        left, right = record["images"]
        label = f"{left['id']} and {right['id']}: both stay, {record['bits']} of 256 bits differ"
        near.append(Pair((left["split"], left["id"]), (right["split"], right["id"]), label))
    chosen = [*leaks[: PAIRS // 3], *copies[: PAIRS // 3]]
    return [*chosen, *near[: PAIRS - len(chosen)]]


def figure(run: Run, stage: Finished, name: str) -> list[tuple[Path, str]]:
    """The pairs side by side; nothing when there are none."""
    from t2i.reporting import figures

    chosen = pairs(stage.path)
    if not chosen:
        return []
    wanted: dict[str, set[str]] = {}
    for split, key in [place for pair in chosen for place in (pair.left, pair.right)]:
        wanted.setdefault(split, set()).add(key)
    found = {
        (split, key): encoded
        for split, keys in wanted.items()
        for key, encoded in pictures_named(stage.path, split, keys).items()
    }
    shown = []
    for pair in chosen:
        left = found.get(pair.left)
        right = found.get(pair.right, left)  # of files with equal bytes only one was decoded
        if left is not None and right is not None:
            shown.append((decoded(left), decoded(right), pair.label))
    if not shown:
        return []
    path = run.figures() / "duplicates.png"
    counted = len(_read(stage.path / "duplicates.json")["near"])
    subtitle = f"Left: one that stays. Pairs that look alike and both stay: {counted:,}."
    figures.picture_pairs(shown, path, f"Repeated pictures in {name}", subtitle)
    return [(path, "Leaks between the splits first, then duplicates, then pairs that look alike.")]


def decoded(encoded: bytes) -> "np.ndarray":
    """A prepared picture, uint8 (H, W, 3)."""
    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(encoded), formats=["PNG"]) as image:
        return np.asarray(image)


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
