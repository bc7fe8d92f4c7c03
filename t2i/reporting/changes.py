"""Changes of several metrics beside what could have been seen: did it get better, and would one have noticed?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from t2i.reporting import style
from t2i.reporting.names import readable
from t2i.reporting.numbers import number
from t2i.reporting.shown import Change


@style.styled
def changes(rows: Sequence[Change], path: Path, title: str, subtitle: str) -> Path:
    """One row a metric: its change in units of the smallest change that would have been seen, to the right if better.

    Metrics of any unit share the axis that way; the number in its own unit stands beside it. A change whose smallest
    detectable one is zero (two equal sets) is drawn at zero. Raises ValueError without a row.
    """
    if not rows:
        raise ValueError("found no change; expected at least one")
    figure = style.chart(8.6, 0.95 + 0.42 * len(rows), title, subtitle)
    axes = figure.add_subplot()
    axes.axvspan(-1, 1, color=style.FAINT, alpha=0.5, linewidth=0)
    axes.axvline(0, color=style.MUTED, linewidth=0.9)
    reach = 1.6
    for y, row in enumerate(rows):
        unit = row.smallest_detectable or float("inf")
        sign = -1.0 if row.higher_is_better is False else 1.0
        value, low, high = (sign * end / unit for end in (row.value, row.low, row.high))
        colour = {"better": style.REAL, "worse": style.TUNED}.get(row.verdict, style.MUTED)
        axes.plot([low, high], [y, y], color=colour, alpha=0.35, linewidth=8, solid_capstyle="butt")
        axes.plot(value, y, "o", color=colour, markersize=7)
        text = f"{number(row.value, row.low, row.high)}  {row.verdict}"
        axes.text(1.015, y, text, transform=axes.get_yaxis_transform(), va="center", color=colour)
        reach = max(reach, 1.06 * abs(low), 1.06 * abs(high))
    axes.set_yticks(range(len(rows)), [readable(row.name) for row in rows])
    axes.set(
        xlim=(-reach, reach),
        ylim=(len(rows) - 0.4, -0.6),
        xlabel="\N{LEFTWARDS ARROW} worse    change / smallest change that would have been seen    better \N{RIGHTWARDS ARROW}",
    )
    axes.grid(axis="y", visible=False)
    return style.save(figure, path)
