"""`dataset=folder`: images of your own, captioned in metadata.jsonl, metadata.csv or a .txt beside each image."""

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2i.data.base import Dataset, Fence, Sample, clean, draw, inventory
from t2i.errors import ConfigError, UserError
from t2i.store import sha256_file

if TYPE_CHECKING:
    from t2i.store import Store

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")


@dataclass
class Folder(Dataset):
    """Images below `root`. The domain is the metadata's `domain`, else the top-level sub-folder of the image.

    Rows of metadata have `file_name` (relative to the root), `text` or `caption` (a string; in JSON a list too) and
    perhaps `domain` or `domains`; rows of the same file add captions. A side file gives one caption a line.
    """

    kind: str = "folder"
    name: str = "folder"
    held_out_share: float = 0.1
    """Share of the images, by content and seed, that is held out (equal images are never on both sides)."""

    def layout(self) -> str:
        return "images with metadata.jsonl or metadata.csv (columns file_name and text), or a .txt beside each image"

    def validate(self) -> None:
        super().validate()
        if not 0 < self.held_out_share < 1:
            raise ConfigError(
                f"dataset.held_out_share={self.held_out_share} is not between 0 and 1: type dataset.held_out_share=0.1."
            )

    def __post_init__(self) -> None:
        self._digests: Callable[[list[Path]], list[str]] = _digests

    def acquire(self, store: "Store") -> None:
        """Lets the store remember what each file's digest is, so that the split is quick to tell again."""
        self._digests = store.file_digests

    def listing(self, split: str) -> list[Sample]:
        samples = self._everything()
        held_out = self._held_out(samples)
        return [sample for sample in samples if (sample.id in held_out) == (split == "held_out")]

    def _everything(self) -> list[Sample]:
        root = self.location()
        tables = [path for path in (root / "metadata.jsonl", root / "metadata.csv") if path.is_file()]
        if len(tables) > 1:
            raise UserError(f"{root} has metadata.jsonl and metadata.csv: keep the one that is meant.")
        rows = _table(tables[0]) if tables else _side_files(root)
        merged: dict[str, tuple[list[str], set[str]]] = {}
        for name, captions, domains in rows:
            entry = merged.setdefault(name, ([], set()))
            entry[0].extend(captions)
            entry[1].update(domains or _folder_domain(name))
        if not merged:
            raise UserError(f"no image to prepare: {inventory(root)}, expected {self.layout()}.")
        if not tables and not any(captions for captions, _ in merged.values()):
            raise UserError(
                f"none of the {len(merged)} images has a caption: {inventory(root)}, expected {self.layout()}."
            )
        return [
            Sample(name, root / name, clean(captions), tuple(sorted(domains)), ())
            for name, (captions, domains) in sorted(merged.items())
        ]

    def _held_out(self, samples: list[Sample]) -> set[str]:
        """Ids of the held-out images: those whose content draws a number below the share, and never none of several."""
        fence = Fence(self.location())
        present = [sample for sample in samples if not fence.refusal(sample.path)]
        digests = self._digests([sample.path for sample in present])
        contents = {sample.id: digest for sample, digest in zip(present, digests, strict=True)}
        # A file that cannot be read is split by its name; preparation sets it aside.
        draws = {sample.id: draw(self.seed, "held_out", contents.get(sample.id, sample.id)) for sample in samples}
        share = self.held_out_share
        if len(set(draws.values())) > 1:
            share = max(share, min(draws.values()) + 1e-12)
        return {key for key, number in draws.items() if number < share}


def _digests(paths: list[Path]) -> list[str]:
    return [sha256_file(path) for path in paths]


def _folder_domain(name: str) -> set[str]:
    parts = Path(name).parts
    return {parts[0]} if len(parts) > 1 and parts[0] not in ("/", "..") else set()


def _table(path: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """File name, captions and domains of each row."""
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
        yield Path(row["file_name"]).as_posix(), _texts(captions), _texts(row.get("domains") or row.get("domain"))


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


def _texts(value: object) -> list[str]:
    if value is None:
        return []
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def _side_files(root: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    fence = Fence(root)
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() in SUFFIXES:
            side = path.with_suffix(".txt")
            readable = not fence.refusal(side)
            lines = side.read_text(encoding="utf-8-sig", errors="replace").splitlines() if readable else []
            yield path.relative_to(root).as_posix(), lines, []
