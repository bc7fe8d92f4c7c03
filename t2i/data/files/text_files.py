"""Text files of unknown origin, read strictly: what is given is read as it is meant, or refused with file and line.

A byte-order mark declares UTF-8, UTF-16 or UTF-32; without one a file is UTF-8. Nothing is replaced or guessed.
"""

import codecs
import csv
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from t2i.errors import UserError

MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
ADVICE = "save it as UTF-8 (`iconv -f latin1 -t utf8`, or -f cp1252, -f utf-16, for what it is in now)"
RETURN = re.compile(r"(?<=\r)(?!\n)(?=.)", re.DOTALL)
"""Where a line of the old Macintosh ends."""


def decoded(data: bytes, where: object) -> str:
    """The text of a whole file or member, without its byte-order mark; raises UserError that says `where`."""
    mark, encoding = next(((mark, name) for mark, name in MARKS if data.startswith(mark)), (b"", "utf-8"))
    try:
        text = data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: len(mark) + error.start].count(b"\n") + 1
        raise UserError(f"{where}, line {line}: not {encoding.upper()} ({error.reason}): {ADVICE}.") from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise UserError(f"{where}, line {line}: holds a zero character, as UTF-16 without its mark does: {ADVICE}.")
    return text


def read_text(path: Path) -> str:
    """A text file as a whole; raises UserError when it cannot be read as text."""
    try:
        return decoded(path.read_bytes(), path)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): give yourself permission, or remove it.") from error


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of each line with its end, one at a time; raises UserError as `read_text` does."""
    number = 0
    try:
        with path.open("rb") as file:
            start = file.read(4)
            file.seek(0)
            wide = any(start.startswith(mark) and name != "utf-8" for mark, name in MARKS)
            parts: Iterable[str] = _parts(file.read(), path) if wide else _utf8(file, path)
            for part in parts:
                for line in RETURN.split(part):
                    number += 1
                    yield number, line
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): give yourself permission, or remove it.") from error


def _parts(data: bytes, path: Path) -> Iterator[str]:
    return iter(re.findall(r"[^\n]*\n|[^\n]+", decoded(data, path)))


def _utf8(file: Iterable[bytes], path: Path) -> Iterator[str]:
    for number, raw in enumerate(file, 1):
        try:
            text = raw.removeprefix(codecs.BOM_UTF8 if number == 1 else b"").decode()
        except UnicodeDecodeError as error:
            raise UserError(f"{path}, line {number}: not UTF-8 ({error.reason}): {ADVICE}.") from error
        if "\0" in text:
            raise UserError(
                f"{path}, line {number}: holds a zero character, as UTF-16 without its mark does: {ADVICE}."
            )
        yield text


def said(text: str) -> list[str]:
    """The lines of a text that are not blank, without white space around them."""
    return [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]


def parsed(text: str, where: object) -> Any:
    """A JSON value; raises UserError that says `where`, also for an object that gives one key twice."""
    try:
        return json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: not JSON ({error.msg} at character {error.pos + 1}): repair it.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: not JSON ({str(error)[:120]}): repair it.") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        repeated = next(key for number, (key, _) in enumerate(pairs) if key in dict(pairs[:number]))
        raise ValueError(f"the key {repeated!r} twice in one object")
    return found


def table(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells, by column, of each row of a file of comma-separated values (RFC 4180) with a header.

    Raises UserError with file and line for a header that names a column twice, a row with missing or surplus cells, and
    a quote that is not closed - also one whose cell goes on over a line that looks like a row of its own.
    """
    header: list[str] = []
    for number, cells, more in _rows(path):
        if not header:
            header = [cell.strip() for cell in cells]
            _check_header(path, number, header)
        elif len(cells) != len(header):
            surplus = "put a text that holds commas into double quotes" if len(cells) > len(header) else "fill it in"
            raise UserError(
                f"{path}, line {number}: {_count(len(cells), 'cell')} for {_count(len(header), 'column')} "
                f"({', '.join(header)}): {surplus}."
            )
        else:
            if len(header) > 1 and any(_width(line) == len(header) for line in more):
                raise UserError(
                    f"{path}, line {number}: a quote is opened, and the lines up to {number + len(more)}, which look "
                    "like rows of their own, lie inside of it: close the quote."
                )
            yield number, dict(zip(header, cells, strict=True))


def _rows(path: Path) -> Iterator[tuple[int, list[str], list[str]]]:
    """Number of the first line, cells, and the further lines of each row that is not blank."""
    seen: list[tuple[int, str]] = []

    def source() -> Iterator[str]:
        for number, line in lines(path):
            seen.append((number, line))
            yield line

    reader = csv.reader(source(), strict=True, skipinitialspace=True)
    while True:
        seen.clear()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise UserError(
                f"{path}, line {seen[0][0] if seen else 1}: {error}: close every quote, and write one inside of a quoted "
                'text twice ("").'
            ) from error
        if any(cell.strip() for cell in cells):
            yield seen[0][0], cells, [line for _, line in seen[1:]]


def _check_header(path: Path, number: int, header: list[str]) -> None:
    repeated = next((name for name in header if header.count(name) > 1), None)
    if repeated is not None:
        raise UserError(f"{path}, line {number}: the header names {repeated!r} twice: remove or rename one column.")
    if len(header) == 1 and (mark := next((mark for mark in (";", "\t", "|") if mark in header[0]), None)):
        raise UserError(f"{path}, line {number}: columns are separated by {mark!r}: save it with commas.")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _width(line: str) -> int:
    try:
        return len(next(csv.reader([line]), []))
    except csv.Error:
        return 0
