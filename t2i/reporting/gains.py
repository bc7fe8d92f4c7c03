"""Several models against the first: what each gained, beside what that cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from t2i.reporting import style
from t2i.reporting.shown import Gain


@style.styled
def gains(
    rows: Sequence[Gain], costs: Mapping[str, Sequence[float]], path: Path, title: str, label: str, subtitle: str = ""
) -> Path:
    """One panel a cost (its label to a value a model): gain upwards with its interval, cost to the right.

    Models that no other beats in both are named in bold and joined. Raises ValueError without a row, without a cost, or when
    the values of one are not as many as the rows.
    """
    if not rows or not costs or any(len(values) != len(rows) for values in costs.values()):
        raise ValueError(f"found {len(rows)} models and {len(costs)} costs; expected one value of each cost a model")
    figure = style.chart(4.6 * len(costs) + 0.8, 3.9, title, subtitle)
    panels = figure.subplots(1, len(costs), sharey=True, squeeze=False)[0]
    for axes, (cost, values) in zip(panels, costs.items(), strict=True):
        axes.axhline(0.0, color=style.MUTED, linewidth=0.9)
        best = on_front([row.value for row in rows], values)
        order = sorted((k for k in range(len(rows)) if best[k]), key=lambda k: values[k])
        axes.plot([values[k] for k in order], [rows[k].value for k in order], color=style.FAINT, linewidth=5, zorder=1)
        middle = (min(values) + max(values)) / 2
        for row, value, front in zip(rows, values, best, strict=True):
            colour = {"better": style.REAL, "worse": style.TUNED}.get(row.verdict, style.MUTED)
            axes.plot([value, value], [row.low, row.high], color=colour, alpha=0.45, linewidth=5, solid_capstyle="butt")
            axes.plot(value, row.value, "o", color=colour, markersize=7)
            left = value <= middle
            axes.annotate(
                row.name,
                (value, row.value),
                (8 if left else -8, 0),
                textcoords="offset points",
                ha="left" if left else "right",
                va="center",
                size=style.SMALL_SIZE,
                weight="bold" if front else "normal",
            )
        axes.margins(0.16, 0.12)
        axes.set_xlabel(f"{cost} \N{RIGHTWARDS ARROW} more")
    panels[0].set_ylabel(label)
    return style.save(figure, path)


def on_front(gain: Sequence[float], cost: Sequence[float]) -> list[bool]:
    """Which models no other beats: as large a gain for as small a cost, and one of them strictly."""
    up, right = np.asarray(gain, float), np.asarray(cost, float)
    beaten = [((up >= u) & (right <= r) & ((up > u) | (right < r))).any() for u, r in zip(up, right, strict=True)]
    return [not bool(lost) for lost in beaten]
