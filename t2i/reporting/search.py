"""Figures of a search: what each setting does, and the front of several objectives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from t2i.reporting import style


@style.styled
def effects(
    found: Mapping[str, Mapping[str, tuple[float, float, float]]],
    path: Path,
    title: str,
    label: str,
    subtitle: str = "",
) -> Path:
    """One panel a setting: the mean of all cells with each of its values, and a bar from the lowest to the highest.

    found: setting to value to (mean, lowest, highest). Raises ValueError when it is empty.
    """
    if not found:
        raise ValueError("no setting has two values; expected at least one")
    widths = [max(2, len(values)) for values in found.values()]
    figure = style.chart(max(5.0, 1.1 + 0.95 * sum(widths)), 3.3, title, subtitle)
    panels = figure.subplots(1, len(found), sharey=True, squeeze=False, width_ratios=widths)[0]
    for axes, (name, values) in zip(panels, found.items(), strict=True):
        means, lows, highs = (np.array([value[k] for value in values.values()]) for k in range(3))
        places = np.arange(len(values))
        axes.vlines(places, lows, highs, color=style.FAINT, linewidth=6)
        axes.plot(places, means, color=style.BASE, marker="o", linewidth=1.6)
        axes.set_xticks(places, list(values), rotation=0 if max(map(len, values)) < 9 else 20)
        axes.set_xlim(-0.5, len(values) - 0.5)
        axes.set_xlabel(name)
    panels[0].set_ylabel(label)
    return style.save(figure, path)


@style.styled
def front(
    names: Sequence[str],
    x: Sequence[float],
    y: Sequence[float],
    on_front: Sequence[bool],
    path: Path,
    title: str,
    labels: tuple[str, str],
    subtitle: str = "",
) -> Path:
    """Each cell as a point over two objectives; the cells that no other beats in all objectives are joined and named.

    labels: of both axes, with their unit and which end is better. Raises ValueError when the sequences differ in length.
    """
    if not len(names) == len(x) == len(y) == len(on_front) or not names:
        raise ValueError(f"found {len(names)} names, {len(x)} and {len(y)} values; expected as many of each, and one")
    figure = style.chart(7.4, 4.6, title, subtitle)
    axes = figure.add_subplot()
    first, second, chosen = np.asarray(x, float), np.asarray(y, float), np.asarray(on_front, bool)
    axes.scatter(first[~chosen], second[~chosen], color=style.MUTED, s=26, label="beaten by another cell")
    order = np.argsort(first[chosen])
    axes.plot(
        first[chosen][order], second[chosen][order], color=style.TUNED, marker="o", linewidth=1.4, label="on the front"
    )
    middle = (first.min() + first.max()) / 2
    for name, left, up, shown in zip(names, first, second, chosen, strict=True):
        if shown:
            side = "left" if left <= middle else "right"
            axes.annotate(
                name, (left, up), (6 if side == "left" else -6, 5), textcoords="offset points", ha=side,
                size=style.SMALL_SIZE,
            )  # fmt: skip
    axes.margins(0.12)
    axes.set(xlabel=labels[0], ylabel=labels[1])
    axes.legend(loc="best")
    return style.save(figure, path)
