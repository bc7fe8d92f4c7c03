"""Numbers along the way from the base weights to the tuned ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from t2i.reporting import style


@style.styled
def blend_curves(
    alphas: Sequence[float],
    curves: Mapping[str, np.ndarray],
    path: Path,
    title: str,
    label: str,
    subtitle: str = "",
) -> Path:
    """One line with its band a curve; curves: float (A, 3), value, low and high at each share of the tuned weights."""
    figure = style.chart(8.6, 3.6, title, subtitle)
    axes = figure.add_subplot()
    for index, (name, values) in enumerate(curves.items()):
        colour = (style.TUNED, style.BASE, *style.OTHERS)[index]
        axes.fill_between(alphas, values[:, 1], values[:, 2], color=colour, alpha=0.2, linewidth=0)
        axes.plot(alphas, values[:, 0], "o-", color=colour, label=name, markersize=5)
    axes.set(xlabel="share of the tuned weights (0: base, 1: tuned)", ylabel=label)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.1)
    return style.save(figure, path)
