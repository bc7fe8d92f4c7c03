"""What metadata files and files beside an image say about images of one's own."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2i.data.files.fence import Fence
from t2i.data.files.stated import texts, word
from t2i.data.files.text_files import lines, parsed, read_text, said, table
from t2i.errors import UserError

METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
CAPTIONS = ("text", "caption", "captions")
"""Columns, or keys of a JSON object, that hold captions."""
ENDS = (".txt", ".caption", ".json")


@dataclass
class Row:
    """What is said about an image; rows of the same file add up."""

    name: str
    captions: list[str]
    domains: list[str]
    license: str
    stated: bool = False
    """Whether metadata names it."""


def rows_of(path: Path) -> Iterator[Row]:
    """The rows of a metadata file, with the names as they are written; raises UserError with file and line."""
    for where, row in _rows(path):
        name = row.get("file_name")
        if not isinstance(name, str) or not name or not any(key in row for key in CAPTIONS):
            raise UserError(f"{where}: expected file_name and text (or caption), found {sorted(map(str, row))}.")
        captions = [text for key in CAPTIONS for text in texts(row.get(key), where, key)]
        domains = [text for key in ("domains", "domain") for text in texts(row.get(key), where, key) if text]
        yield Row(name, captions, domains, word(row.get("license"), where, "license"))


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Where each row is, and its values."""
    if path.suffix == ".csv":
        for number, cells in table(path):
            yield f"{path}, line {number}", cells
    elif path.suffix == ".parquet":
        from t2i.data.files.parquet import read_rows

        for row in read_rows({str(path): path}):
            yield row.origin, row.values
    else:
        for number, line in lines(path):
            if line.strip():
                where = f"{path}, line {number}"
                values = parsed(line, where)
                if not isinstance(values, dict):
                    raise UserError(f"{where}: not an object, expected one with file_name and text.")
                yield where, values


def beside(root: Path, name: str, others: Collection[str], fence: Fence) -> list[str]:
    """The captions in .txt, .caption (one a line) and .json files beside an image, each once; raises UserError.

    others: the files below the root that are no images. The name of one beside is that of the image with another end, or
    with one more: `cat.jpg.txt`.
    """
    found: list[str] = []
    stem = name[: len(name) - len(Path(name).suffix)]
    for end in ENDS:
        for file in (stem + end, name + end):
            if file in others and not fence.refusal(root / file):
                found += _json(root / file) if end == ".json" else said(read_text(root / file))
    return list(dict.fromkeys(found))


def _json(path: Path) -> list[str]:
    values = parsed(read_text(path), path)
    if not isinstance(values, dict):
        return []
    return [text for key in (*CAPTIONS, "prompt") for text in texts(values.get(key), path, key)]
