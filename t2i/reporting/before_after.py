"""Several numbers of several states of one model, each with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from t2i.reporting import style
from t2i.reporting.numbers import number


@style.styled
def before_after(
    rows: Sequence[str],
    states: Mapping[str, Sequence[tuple[float, float, float]]],
    path: Path,
    title: str,
    label: str,
    subtitle: str = "",
) -> Path:
    """One row a metric, one dot with its interval a state; states: value, low and high for each row.

    Raises ValueError when a state has not as many numbers as there are rows.
    """
    for name, numbers in states.items():
        if len(numbers) != len(rows):
            raise ValueError(f"{name} has {len(numbers)} numbers for {len(rows)} rows")
    height = 0.26 * len(states) + 0.24
    figure = style.chart(8.6, 0.9 + height * len(rows), title, subtitle)
    axes = figure.add_subplot()
    for index, (name, numbers) in enumerate(states.items()):
        colour = {"before": style.BASE, "after": style.TUNED}.get(name, style.OTHERS[index % len(style.OTHERS)])
        for row, (value, low, high) in enumerate(numbers):
            y = row * height + 0.26 * index
            axes.plot([low, high], [y, y], color=colour, alpha=0.35, linewidth=6, solid_capstyle="butt")
            axes.plot(value, y, "o", color=colour, markersize=6, label=name if row == 0 else None)
            text = number(value, low, high)
            axes.text(1.015, y, text, transform=axes.get_yaxis_transform(), va="center", color=colour)
    middle = 0.13 * (len(states) - 1)
    axes.set_yticks([row * height + middle for row in range(len(rows))], rows)
    axes.set(ylim=(height * len(rows) - 0.2, -0.25), xlabel=label)
    every = np.array([ends for numbers in states.values() for ends in numbers])
    spare = 0.05 * max(float(np.ptp(every)), 1e-9)
    axes.set_xlim(float(every.min()) - spare, float(every.max()) + spare)
    axes.grid(axis="y", visible=False)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(states), borderaxespad=0.1)
    return style.save(figure, path)
