"""Figures that compare numbers: a metric with intervals, and two distributions of similarities."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.colors import to_rgb

from t2i.reporting import style
from t2i.reporting.names import readable
from t2i.reporting.numbers import common_decimals, number


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
    axes.set(ylim=(len(names) - 0.4, -0.6), xlabel=readable(label))
    axes.grid(axis="y", visible=False)
    return style.save(figure, path)


@style.styled
def similarity_histogram(matched: np.ndarray, random: np.ndarray, path: Path, title: str) -> Path:
    """Cosine similarity of captions of one image against captions of different images; float arrays of any length.

    The heading states the chance that a matched pair is more alike than a random pair (ties count half).
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
    edges = np.linspace(every.min() - 1e-6, every.max() + 1e-6, 61).tolist()
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
    if same.size or different.size:
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
