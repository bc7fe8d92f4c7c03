"""Figures that compare numbers: a metric with intervals, a grid of settings, two distributions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.colors import Normalize, to_rgb
from matplotlib.patches import Rectangle

from t2i.reporting import style
from t2i.reporting.numbers import common_decimals, number, parts


@style.styled
def heat_map(
    rows: Sequence[str],
    columns: Sequence[str],
    values: np.ndarray,
    path: Path,
    title: str,
    label: str,
    higher_is_better: bool,
    low: np.ndarray | None = None,
    high: np.ndarray | None = None,
) -> Path:
    """A number for each pair of settings: darker is better, the best cell is framed, NaN cells are hatched "failed".

    values, low, high: float (R, C); low and high are the ends of each cell's interval. Raises ValueError when the
    shapes do not fit the labels.
    """
    values = np.asarray(values, dtype=np.float64)
    for array in (values, low, high):
        if array is not None and np.shape(array) != (len(rows), len(columns)):
            raise ValueError(f"found values of shape {np.shape(array)}; expected ({len(rows)}, {len(columns)})")
    good = np.isfinite(values)
    direction = "higher is better" if higher_is_better else "lower is better"
    lows = np.full(values.shape, np.nan) if low is None else np.asarray(low, dtype=np.float64)
    highs = np.full(values.shape, np.nan) if high is None else np.asarray(high, dtype=np.float64)
    places = common_decimals(values.ravel(), lows.ravel(), highs.ravel())
    best = None
    subtitle = "every cell failed"
    if good.any():
        ranked = np.where(good, values if higher_is_better else -values, -np.inf)
        best = np.unravel_index(int(np.argmax(ranked)), values.shape)
        stated = number(float(values[best]), float(lows[best]), float(highs[best]), places)
        subtitle = f"best: {rows[best[0]]}, {columns[best[1]]} with {label} {stated}; {direction}"
    widest = max(style.text_width(name, style.TEXT_SIZE) for name in rows) / style.DPI
    figure = style.chart(max(5.0, widest + 2.0 + 1.15 * len(columns)), 0.75 + 0.62 * len(rows), title, subtitle)
    axes = figure.add_subplot()
    colours = matplotlib.colormaps["Blues" if higher_is_better else "Blues_r"].copy()
    span = (values[good].min(), values[good].max()) if good.any() else (0.0, 1.0)
    norm = Normalize(*(span if span[1] > span[0] else (span[0] - 1, span[0] + 1)))
    mesh = axes.pcolormesh(np.where(good, values, np.nan), cmap=colours, norm=norm, edgecolors=style.PAPER, linewidth=2)
    for (row, column), value in np.ndenumerate(values):
        middle = column + 0.5, row + 0.5
        if not good[row, column]:
            axes.add_patch(
                Rectangle(
                    (column + 0.02, row + 0.02),
                    0.96,
                    0.96,
                    fill=False,
                    hatch="////",
                    linewidth=0,
                    edgecolor=style.FAINT,
                )
            )
            axes.text(*middle, "failed", ha="center", va="center", color=style.MUTED, backgroundcolor=style.PAPER)
            continue
        ink = style.INK if np.dot(colours(norm(value))[:3], (0.299, 0.587, 0.114)) > 0.55 else style.PAPER
        text, interval = parts(float(value), float(lows[row, column]), float(highs[row, column]), places)
        is_best = best is not None and (row, column) == tuple(best)
        axes.annotate(
            f"★ {text}" if is_best else text,
            middle,
            (0, 5 if interval else 0),
            textcoords="offset points",
            ha="center",
            va="center",
            color=ink,
            size=style.TEXT_SIZE + 1,
            weight="bold",
        )
        axes.annotate(
            interval,
            middle,
            (0, -8),
            textcoords="offset points",
            ha="center",
            va="center",
            color=ink,
            size=style.SMALL_SIZE - 0.5,
        )
    if best is not None:
        axes.add_patch(
            Rectangle((best[1] + 0.02, best[0] + 0.02), 0.96, 0.96, fill=False, edgecolor=style.BEST, linewidth=3)
        )
        bar = figure.colorbar(mesh, ax=axes, label=f"{label} ({direction})", pad=0.02)
        bar.outline.set_visible(False)  # type: ignore[operator]
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns)
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
    axes.invert_yaxis()
    axes.grid(False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return style.save(figure, path)


@style.styled
def bars_with_intervals(
    names: Sequence[str],
    values: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    path: Path,
    title: str,
    label: str,
) -> Path:
    """One metric of several systems, from top to bottom: a dot for the value, a bar for its interval.

    NaN values print as "n/a", NaN ends leave the bar out. The axis need not begin at zero, as nothing is filled from
    there, and shows at least a tenth of the largest value so that a trifle does not look like a triumph.
    """
    value, lows, highs = (np.asarray(array, dtype=np.float64) for array in (values, low, high))
    if not len(names) or not len(names) == len(value) == len(lows) == len(highs):
        raise ValueError(f"found {len(names)} names for {len(value)} values; expected as many of both, at least one")
    places = common_decimals(value, lows, highs)
    figure = style.chart(8.6, 0.75 + 0.5 * len(names), title)
    axes = figure.add_subplot()
    for row, name in enumerate(names):
        colour = style.colour_of(name, row)
        if np.isfinite([value[row], lows[row], highs[row]]).all():
            axes.plot([lows[row], highs[row]], [row, row], color=colour, alpha=0.35, linewidth=9, solid_capstyle="butt")
        axes.plot(value[row], row, "o", color=colour, markersize=8)
        text = number(float(value[row]), float(lows[row]), float(highs[row]), places)
        axes.text(1.015, row, text, transform=axes.get_yaxis_transform(), va="center", weight="bold", color=colour)
    measured = np.isfinite(value)
    known = _finite(np.concatenate([value[measured], lows[measured], highs[measured]]))
    if known.size:
        spare = max(0.1 * (known.max() - known.min()), 0.05 * np.abs(known).max() - 0.5 * np.ptp(known), 1e-9)
        axes.set_xlim(known.min() - spare, known.max() + spare)
    axes.set_yticks(range(len(names)), names)
    axes.set(ylim=(len(names) - 0.4, -0.6), xlabel=label)
    axes.grid(axis="y", visible=False)
    return style.save(figure, path)


@style.styled
def similarity_histogram(matched: np.ndarray, random: np.ndarray, path: Path, title: str) -> Path:
    """Cosine similarity of captions of one image against captions of different images; float arrays of any length.

    The heading states the separation: the chance that a matched pair is more alike than a random pair (ties count half).
    """
    pairs = {
        "captions of one image": (_finite(matched), style.TUNED),
        "captions of different images": (_finite(random), style.BASE),
    }
    subtitle = "too few captions to compare"
    same, different = (values for values, _ in pairs.values())
    if same.size and different.size:
        subtitle = (
            f"a pair from one image is the closer one in {100 * separation(same, different):.1f} % of comparisons"
        )
    figure = style.chart(8.6, 3.3, title, subtitle)
    axes = figure.add_subplot()
    every = np.concatenate([same, different, [0.0, 1.0]])
    edges = np.linspace(every.min() - 1e-6, every.max() + 1e-6, 61)
    for name, (values, colour) in pairs.items():
        if not values.size:
            continue
        median = float(np.median(values))
        share = np.full(len(values), 100 / len(values))
        text = f"{name}: median {median:.2f} (pairs: {len(values):,})"
        axes.hist(
            values,
            edges,
            weights=share,
            color=(*to_rgb(colour), 0.3),
            edgecolor=colour,
            linewidth=1.2,
            histtype="stepfilled",
            label=text,
        )
        axes.axvline(median, ymax=0.78, color=colour, linewidth=1.4, linestyle=(0, (4, 3)))
    axes.set(xlabel="cosine similarity of caption embeddings", ylabel="pairs (% of each kind)")
    axes.margins(y=0.28)
    axes.legend(loc="upper left")
    return style.save(figure, path)


def _finite(values: np.ndarray) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64).ravel()
    return array[np.isfinite(array)]


def separation(matched: np.ndarray, random: np.ndarray) -> float:
    """P(matched > random) + P(equal) / 2: the area under the ROC curve, by counting (Mann & Whitney 1947)."""
    ordered = np.sort(random)
    below, upto = np.searchsorted(ordered, matched, "left"), np.searchsorted(ordered, matched, "right")
    return float((below + upto).mean() / (2 * len(ordered)))
