"""Figures of a search: what each setting does, and the front of several objectives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from t2i.reporting import style
from t2i.reporting.names import readable

COLUMN = 0.95
"""Inches that a value has in `effects`."""


@style.styled
def effects(
    found: Mapping[str, Mapping[str, tuple[float, float, float]]],
    path: Path,
    title: str,
    label: str,
    subtitle: str = "",
) -> Path:
    """One panel a setting: the mean of all cells with each of its values, and a bar from the lowest to the highest.

    A line joins the means of numbers; names, such as those of schedulers, have no order. found: setting to value to
    (mean, lowest, highest). Raises ValueError when it is empty.
    """
    if not found:
        raise ValueError("no setting has two values; expected at least one")
    widths = [max(2, len(values)) for values in found.values()]
    below = max(style.below(list(values), COLUMN) for values in found.values())
    figure = style.chart(max(5.0, 1.1 + COLUMN * sum(widths)), 3.3 + below, title, subtitle)
    panels = figure.subplots(1, len(found), sharey=True, squeeze=False, width_ratios=widths)[0]
    for axes, (name, values) in zip(panels, found.items(), strict=True):
        means, lows, highs = (np.array([value[k] for value in values.values()]) for k in range(3))
        places = np.arange(len(values))
        axes.vlines(places, lows, highs, color=style.FAINT, linewidth=6)
        axes.plot(places, means, color=style.BASE, marker="o", linewidth=1.6 if _ordered(values) else 0.0)
        style.columns(axes, places.tolist(), list(values), COLUMN)
        axes.set_xlim(-0.5, len(values) - 0.5)
        axes.set_xlabel(readable(name))
    panels[0].set_ylabel(readable(label))
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
    tied: Sequence[bool] = (),
    suggested: int | None = None,
) -> Path:
    """Each cell as a point over two objectives; the cells that no other beats in all objectives are joined and named.

    labels: of both axes, with their unit and which end is better. tied: which others are on the front because they cannot be
    told from the best, hollow; suggested: the cell with a ring. Raises ValueError when the sequences differ in length.
    """
    if not len(names) == len(x) == len(y) == len(on_front) or not names:
        raise ValueError(f"found {len(names)} names, {len(x)} and {len(y)} values; expected as many of each, and one")
    figure = style.chart(7.4, 4.6, title, subtitle)
    axes = figure.add_subplot()
    first, second, chosen = np.asarray(x, float), np.asarray(y, float), np.asarray(on_front, bool)
    alike = np.asarray(tied, bool) if len(tied) else np.zeros(len(names), bool)
    beaten = ~chosen & ~alike
    if beaten.any():
        axes.scatter(first[beaten], second[beaten], color=style.MUTED, s=26, label="beaten by another cell")
    if alike.any():
        axes.plot(first[alike], second[alike], "o", color=style.TUNED, markerfacecolor=style.PAPER, label="tied")
    order = np.argsort(first[chosen])
    axes.plot(first[chosen][order], second[chosen][order], color=style.TUNED, alpha=0.3, linewidth=1.4)
    axes.plot(first[chosen], second[chosen], "o", color=style.TUNED, label="on the front")
    if suggested is not None:
        axes.plot(first[suggested], second[suggested], "o", color=style.INK, markerfacecolor="none", markersize=9.5)
    axes.margins(0.12)
    axes.set(xlabel=readable(labels[0]), ylabel=readable(labels[1]))
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, borderaxespad=0.2)
    points = {index: name for index, name in enumerate(names) if chosen[index] or index == suggested}
    _name(axes, np.column_stack([first, second]), points)
    return style.save(figure, path)


def _ordered(values: Iterable[str]) -> bool:
    """Whether all values are numbers."""
    try:
        return all(np.isfinite(float(value)) for value in values)
    except ValueError:
        return False


def _name(axes: Axes, points: np.ndarray, names: Mapping[int, str]) -> None:
    """Writes names beside their points, float (N, 2), each at the nearest place where it covers nothing."""
    assert axes.figure is not None
    axes.figure.get_figure(root=True).draw_without_rendering()  # the layout decides where a point is
    places = axes.transData.transform(points)
    frame = axes.get_window_extent()
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in places]
    height = style.line_height(style.SMALL_SIZE)
    for index, name in names.items():
        x, y = places[index]
        width = style.text_width(name, style.SMALL_SIZE)
        best = None
        for line in sorted(range(-30, 31), key=abs):
            for left in (x + 10, x - 10 - width):
                box = (left, y + (line - 0.5) * height, left + width, y + (line + 0.5) * height)
                inside = frame.x0 <= box[0] and box[2] <= frame.x1 and frame.y0 <= box[1] and box[3] <= frame.y1
                if inside and not any(_meet(box, other) for other in taken):
                    best = box
                    break
            if best:
                break
        else:  # no room inside
            best = (x + 10, y + 0.5 * height, x + 10 + width, y + 1.5 * height)
        taken.append(best)
        corner = axes.transData.inverted().transform((best[0], (best[1] + best[3]) / 2))
        axes.text(float(corner[0]), float(corner[1]), name, va="center", ha="left", size=style.SMALL_SIZE)
        if abs((best[1] + best[3]) / 2 - y) > height:
            end = axes.transData.inverted().transform((best[0] if best[0] > x else best[2], (best[1] + best[3]) / 2))
            axes.plot(*zip(points[index], end, strict=True), color=style.FAINT, linewidth=0.8, zorder=1)


def _meet(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    """Whether two boxes of left, bottom, right and top share a point."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
