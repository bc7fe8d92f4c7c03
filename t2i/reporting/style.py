"""How every figure looks: sizes, colours, fonts, headings, and the one function that writes PNG files.

Figures are `matplotlib.figure.Figure` objects drawn by Agg: no window system, no global pyplot state, nothing left open.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.ticker
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from t2i.reporting import fonts
from t2i.reporting.names import readable
from t2i.reporting.palette import BASE as BASE
from t2i.reporting.palette import BEST as BEST
from t2i.reporting.palette import DPI as DPI
from t2i.reporting.palette import FAINT as FAINT
from t2i.reporting.palette import INK as INK
from t2i.reporting.palette import MUTED as MUTED
from t2i.reporting.palette import OTHERS as OTHERS
from t2i.reporting.palette import PAPER as PAPER
from t2i.reporting.palette import REAL as REAL
from t2i.reporting.palette import TUNED as TUNED

TITLE_SIZE, TEXT_SIZE, SMALL_SIZE = 12.0, 9.0, 7.5
PACKING = 4
"""How hard PNG is compressed: half the time of zlib's own choice, 6, for files 3 % larger."""

RC: dict[Any, Any] = {
    "font.family": fonts.FONT,
    "font.size": TEXT_SIZE,
    "text.color": INK,
    "text.parse_math": False,  # captions are text: "$5 and $6" is no formula
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.labelsize": TEXT_SIZE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": TEXT_SIZE,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "agg.path.chunksize": 10_000,  # Agg gives up on one noisy line of 100,000 points otherwise
}

styled = matplotlib.rc_context(RC)
"""Decorator that draws a function's figure in this style."""


def colour_of(name: str, index: int) -> str:
    """Base, tuned and real keep their colour in every figure; other names take the next one."""
    known = {"base": BASE, "tuned": TUNED, "real": REAL}
    first = name.lower().split()[0] if name.split() else ""
    return known.get(first, OTHERS[index % len(OTHERS)])


def chart(width: float, height: float, title: str, subtitle: str = "") -> Figure:
    """An empty figure of width x height inches with its heading at the top left; axes fill the rest by themselves."""
    margin = 0.12
    lines = wrap(readable(title), (width - 2 * margin) * DPI, TITLE_SIZE, bold=True, most=2)
    notes = wrap(readable(subtitle), (width - 2 * margin) * DPI, TEXT_SIZE, most=3) if subtitle else []
    heading = margin + (line_height(TITLE_SIZE) * len(lines) + line_height(TEXT_SIZE) * len(notes)) / DPI + 0.1
    total = height + heading
    figure = Figure(figsize=(width, total), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    top = total - margin
    for text, size, bold, colour in [
        *((t, TITLE_SIZE, True, INK) for t in lines),
        *((t, TEXT_SIZE, False, MUTED) for t in notes),
    ]:
        weight = "bold" if bold else "normal"
        note = figure.text(margin / width, top / total, text, size=size, weight=weight, color=colour, va="top")
        note.set_in_layout(False)
        top -= line_height(size) / DPI
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(rect=(0.01, 0.01, 0.98, 1 - heading / total - 0.01), w_pad=0.06, h_pad=0.06)  # type: ignore[call-arg]
    return figure


def thousands(axes: Axes) -> None:
    """Prints the steps of the x axis as whole numbers with thousands marks."""
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(nbins=7, integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter(matplotlib.ticker.StrMethodFormatter("{x:,.0f}"))


def below(labels: Sequence[str], room: float) -> float:
    """Inches more than one line that names below columns take which are `room` inches apart: slanted ones, see `columns`."""
    widest = max(text_width(label, TEXT_SIZE) for label in labels) / DPI
    return 0.5 * widest if widest > 0.92 * room else 0.0  # the sine of 30 degrees


def columns(axes: Axes, places: Sequence[float], labels: Sequence[str], room: float) -> None:
    """Names below columns that are `room` inches apart: slanted where one would run into the next."""
    slanted = below(labels, room) > 0
    axes.set_xticks(places, labels, rotation=30 * slanted, ha="right" if slanted else "center", rotation_mode="anchor")


def save(figure: Figure, path: Path) -> Path:
    """Writes the figure as PNG at 150 dpi, making its folder; gives the path back."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fonts.cover(figure)
    with fonts.boxes_told_once():
        figure.savefig(path, format="png", dpi=DPI, pil_kwargs={"compress_level": PACKING})
    return path


def line_height(size: float) -> float:
    """Pixels from one line of text to the next, for a font size in points."""
    return size * 1.35 * DPI / 72


@lru_cache(maxsize=4096)
def text_width(text: str, size: float, bold: bool = False) -> float:
    """Pixels that one line of text takes."""
    font = FontProperties(family=fonts.families(text), size=size, weight="bold" if bold else "normal")
    with fonts.boxes_told_once():
        return float(_renderer().get_text_width_height_descent(text, font, ismath=False)[0])


def wrap(text: str, width: float, size: float, bold: bool = False, most: int = 5) -> list[str]:
    """Breaks a text into at most `most` lines of at most `width` pixels; what does not fit ends in an ellipsis."""
    lines = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}".strip()
        if text_width(joined, size, bold) <= width:
            lines[-1] = joined
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:  # a word wider than the column breaks where it must
            if lines[-1] and text_width(lines[-1] + letter, size, bold) > width:
                lines.append("")
            lines[-1] += letter
        if len(lines) > most:
            break
    if len(lines) <= most:
        return lines
    last = lines[most - 1]
    while last and text_width(last + "…", size, bold) > width:
        last = last[:-1]
    return [*lines[: most - 1], last.rstrip() + "…"]


@lru_cache(maxsize=1)
def _renderer() -> RendererAgg:
    return RendererAgg(1, 1, DPI)
