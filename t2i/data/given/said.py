"""Captions in files beside the pictures of a folder: `captions.json`, `captions.csv` or `captions.txt`, or one beside each."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from t2i.data.files.fence import Fence
from t2i.data.files.stated import texts
from t2i.data.files.text_files import lines, parsed, read_text, table
from t2i.data.sources.side_files import METADATA, beside, rows_of
from t2i.errors import ConfigError

LISTS = ("captions.json", "captions.csv", "captions.txt")
FILES = ("file_name", "file", "filename", "image", "name")
TEXTS = ("caption", "text", "prompt")


def said(root: Path, names: Sequence[str], others: Sequence[str]) -> tuple[dict[str, str], str]:
    """Captions by picture, and the file that they are from; empty where no file says any.

    names: the pictures below `root` in their order. others: its other files. The first of LISTS counts that is there, then
    metadata as a data set has it, then what lies beside each picture. Raises ConfigError for a list that does not fit, and
    UserError with file and line for what cannot be read.
    """
    for own in LISTS:
        if own in others:
            return _listed(root / own, names), own
    for own in METADATA:
        if own in others:
            return _named([(row.name, row.captions) for row in rows_of(root / own)], names), own
    fence, known = Fence(root), set(others)
    found = {name: captions[0] for name in names if (captions := beside(root, name, known, fence))}
    return found, "the files beside them" if found else ""


def _listed(path: Path, names: Sequence[str]) -> dict[str, str]:
    if path.suffix == ".txt":
        rows = [line.rstrip("\r\n") for _, line in lines(path)]
        while rows and not rows[-1].strip():
            rows.pop()
        return _in_order(path, rows, names)
    if path.suffix == ".csv":
        return _named([_row(f"{path}, line {number}", cells) for number, cells in table(path)], names)
    values = parsed(read_text(path), path)
    if isinstance(values, Mapping):
        return _named([(name, texts(value, path, name)) for name, value in values.items()], names)
    if isinstance(values, list) and all(isinstance(value, Mapping) for value in values) and values:
        return _named([_row(f"{path}, entry {number}", value) for number, value in enumerate(values, 1)], names)
    if isinstance(values, list):
        return _in_order(path, [(texts(value, path) or [""])[0] for value in values], names)
    raise ConfigError(
        f"{path} holds neither a list of captions nor an object; write captions in the order of the pictures' names, or "
        '{"picture.png": "caption", ...}'
    )


def _row(where: str, row: Mapping[str, Any]) -> tuple[str, list[str]]:
    """File and captions of a row with columns of any of the usual names."""
    file = next((row[key] for key in FILES if key in row), None)
    column = next((key for key in TEXTS if key in row), None)
    if not isinstance(file, str) or column is None:
        raise ConfigError(f"{where}: found {', '.join(map(str, row))}; expected the columns file_name and caption")
    return file, texts(row[column], where, column)


def _in_order(path: Path, captions: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    if len(captions) != len(names):
        raise ConfigError(
            f"{path} has {len(captions)} captions and {path.parent} {len(names)} pictures; write one for each, in the order of "
            "their names, or name the pictures: captions.csv with file_name and caption"
        )
    return {name: text.strip() for name, text in zip(names, captions, strict=True) if text.strip()}


def _named(rows: Sequence[tuple[str, Sequence[str]]], names: Sequence[str]) -> dict[str, str]:
    """By the picture's name, or by its name without the end where that is no other one's."""
    stems: dict[str, list[str]] = {}
    for name in names:
        stems.setdefault(stem(name), []).append(name)
    known, found = set(names), {}
    for file, captions in rows:
        own = file if file in known else None
        if own is None and len(same := stems.get(file, []) or stems.get(stem(file), [])) == 1:
            own = same[0]
        if own is not None and captions and captions[0].strip():
            found[own] = captions[0].strip()
    return found


def stem(name: str) -> str:
    """`a/b` of `a/b.png`."""
    return str(PurePath(name).with_suffix(""))
