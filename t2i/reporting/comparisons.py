"""Two distributions of similarities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.colors import to_rgb

from t2i.reporting import style


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
