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

from t2i.reporting.names import readable
from t2i.reporting.numbers import cell
from t2i.reporting.order import is_further, open_parts, ordered
from t2i.reporting.palette import DPI
from t2i.reporting.tables import Table, layout

__all__ = ["Figure", "Section", "Table", "markup", "write_report"]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Figure:
    """A PNG file and the sentence below it."""

    path: Path
    caption: str


@dataclass(frozen=True)
class Section:
    """One heading of the report. `text` may hold paragraphs, `- ` lists, `**strong**` words and `` `code` ``."""

    title: str
    text: str = ""
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()


@dataclass(frozen=True)
class Part:
    """A section on its page, and how many of its tables and figures stand open."""

    section: Section
    tables: int
    figures: int

    @property
    def minor(self) -> bool:
        """Whether it adds to the section above it."""
        return is_further(self.section.title)

    @property
    def folded(self) -> str:
        """What is folded: `2 tables, 3 figures`; empty where nothing is."""
        counts = {"table": len(self.section.tables) - self.tables, "figure": len(self.section.figures) - self.figures}
        return ", ".join(f"{count} {name}{'s' * (count > 1)}" for name, count in counts.items() if count > 0)


def write_report(
    path: Path,
    title: str,
    subtitle: str,
    verdict: str,
    facts: Mapping[str, str],
    sections: Sequence[Section],
    command: str,
    configuration: str,
    surroundings: Mapping[str, str] | None = None,
) -> Path:
    """Writes the page and gives its path back. Every text is escaped; figures are inlined, nothing is loaded.

    The sections come in the order of `t2i.reporting.order`, whatever theirs is here; what is not read first is folded.

    verdict: the answer, in the small markup of `Section.text`. facts: name to value, shown under the verdict.
    command: what to type to get this run again. configuration: the resolved YAML, folded away.
    surroundings: facts of interest to whoever runs it again, such as code and machine, shown at the end. Raises ValueError when a
    figure is not a PNG file or a table row has another number of cells than the table has columns.
    """
    environment = Environment(
        loader=PackageLoader("t2i.reporting", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(markup=markup, cell=cell, readable=readable)
    environment.globals.update(inlined=inlined, layout=layout)
    page = environment.get_template("report.html.j2").render(
        title=title,
        subtitle=subtitle,
        verdict=verdict,
        facts=facts,
        parts=[Part(section, *open_parts(section.title, len(sections))) for section in ordered(sections)],
        command=command,
        configuration=configuration,
        surroundings=surroundings or {},
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
    scale = 96 / DPI  # a figure's inch is an inch on the page: its 9 pt text then has the size of the page's text
    return {
        "source": "data:image/png;base64," + base64.b64encode(data).decode("ascii"),
        "width": round(width * scale),
        "height": round(height * scale),
    }


def _inline(text: str) -> str:
    escaped = str(escape(text))
    pieces = escaped.split("`")
    for i, piece in enumerate(pieces):
        if i % 2 and i < len(pieces) - 1:
            pieces[i] = f"<code>{piece}</code>"
        else:
            pieces[i] = ("`" if i % 2 else "") + re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", readable(piece))
    return "".join(pieces)
