"""The report's sections as Markdown, for pages that show figures as files: a repository, a pull request."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from t2i.reporting.names import readable_prose
from t2i.reporting.numbers import cell
from t2i.reporting.report import Section, Table


def write_markdown(
    path: Path, title: str, verdict: str, facts: Mapping[str, object], sections: Sequence[Section], command: str
) -> Path:
    """The content of `t2i.reporting.report.write_report`; figures are linked by their path from the page's folder."""
    parts = [f"# {title}", verdict, *(_table(Table(["", ""], [list(fact) for fact in facts.items()])) if facts else [])]
    for section in sections:
        parts += [f"## {section.title}", *([readable_prose(section.text)] if section.text else [])]
        for table in section.tables:
            parts += [*_table(table), *([readable_prose(table.caption)] if table.caption else [])]
        for figure in section.figures:
            link = Path(os.path.relpath(figure.path, path.parent)).as_posix()
            parts.append(f"![{_escaped(readable_prose(figure.caption))}]({link})")
    parts += ["## Again", f"```\n{command}\n```"]
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path


def _table(table: Table) -> list[str]:
    rows = [[_cell(name) for name in table.columns], *([_cell(cell(value)) for value in row] for row in table.rows)]
    lines = [rows[0], ["---"] * len(table.columns), *rows[1:]]
    return ["\n".join(f"| {' | '.join(line)} |" for line in lines)]


def _cell(text: str) -> str:
    """The lines of a cell below each other, as far as Markdown has lines in cells."""
    return "<br>".join(_escaped(readable_prose(line)) for line in text.split("\n"))


def _escaped(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
