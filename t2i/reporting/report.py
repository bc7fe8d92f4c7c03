"""The report page: one HTML file that works offline, on a phone and on paper, with every figure inside it.

write_report(folder / "report.html", title=..., sections=[Section("Training", "…", figures=[Figure(path, "…")])], ...)
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from t2i.reporting import style
from t2i.reporting.numbers import EMPTY, MISSING, cell

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
NUMERIC = re.compile(r"[-+]?[\d,]*\.?\d+(e[-+]?\d+)?( \[.*\])?( ?[%a-zA-Z/]{1,10})?")


@dataclass(frozen=True)
class Figure:
    """A PNG file and the sentence below it."""

    path: Path
    caption: str


@dataclass(frozen=True)
class Table:
    """Rows of cells: text is printed as it is, numbers as `t2i.reporting.numbers.cell` does, None as a dash."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """One heading of the report. `text` may hold paragraphs, `- ` lists, `**strong**` words and `` `code` ``."""

    title: str
    text: str = ""
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()


def write_report(
    path: Path,
    title: str,
    subtitle: str,
    verdict: str,
    facts: Mapping[str, str],
    sections: Sequence[Section],
    command: str,
    configuration: str,
) -> Path:
    """Writes the page and gives its path back. Every text is escaped; figures are inlined, nothing is loaded.

    verdict: the answer, in the small markup of `Section.text`. facts: name to value, shown under the verdict.
    command: what to type to get this run again. configuration: the resolved YAML, folded away. Raises ValueError when a
    figure is not a PNG file or a table row has another number of cells than the table has columns.
    """
    environment = Environment(
        loader=PackageLoader("t2i.reporting", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(markup=markup, cell=cell)
    environment.globals.update(inlined=inlined, numeric=numeric_columns)
    page = environment.get_template("report.html.j2").render(
        title=title,
        subtitle=subtitle,
        verdict=verdict,
        facts=facts,
        sections=sections,
        command=command,
        configuration=configuration,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def markup(text: str) -> Markup:
    """The small markup as HTML: paragraphs apart by empty lines, `- ` lists, `**strong**` and `` `code` ``."""
    blocks = []
    for block in re.split(r"\n\s*\n", text.strip()):
        items: list[list[str]] = [[]]  # the first is the paragraph, the others are the list
        for line in filter(None, (line.strip() for line in block.splitlines())):
            if line.startswith("- "):
                items.append([line[2:]])
            else:
                items[-1].append(line)
        paragraph = " ".join(items[0])
        if paragraph:
            blocks.append(f"<p>{_inline(paragraph)}</p>")
        if len(items) > 1:
            blocks.append("<ul>" + "".join(f"<li>{_inline(' '.join(item))}</li>" for item in items[1:]) + "</ul>")
    return Markup("\n".join(blocks))


def inlined(figure: Figure) -> dict[str, str | int]:
    """What an `img` element needs: `source` (a data URL), `width` and `height` in CSS pixels at natural size."""
    data = figure.path.read_bytes()
    if data[:8] != PNG_SIGNATURE:
        raise ValueError(f"{figure.path} is not a PNG file; the report shows PNG figures only")
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    scale = 96 / style.DPI  # a figure's inch is an inch on the page: its 9 pt text then has the size of the page's text
    return {
        "source": "data:image/png;base64," + base64.b64encode(data).decode("ascii"),
        "width": round(width * scale),
        "height": round(height * scale),
    }


def numeric_columns(table: Table) -> list[bool]:
    """For each column, whether all its cells are numbers, so that they line up on the right."""
    for row in table.rows:
        if len(row) != len(table.columns):
            raise ValueError(f"found a row of {len(row)} cells in a table of {len(table.columns)} columns: {row}")
    columns = [[cell(value) for value in column] for column in zip(*table.rows, strict=True)]
    if not columns:
        return [False] * len(table.columns)
    return [all(NUMERIC.fullmatch(text) or text in (EMPTY, MISSING) for text in column) for column in columns]


def _inline(text: str) -> str:
    escaped = str(escape(text))
    pieces = escaped.split("`")
    for i, piece in enumerate(pieces):
        if i % 2 and i < len(pieces) - 1:
            pieces[i] = f"<code>{piece}</code>"
        else:
            pieces[i] = ("`" if i % 2 else "") + re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", piece)
    return "".join(pieces)
