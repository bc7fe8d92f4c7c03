"""Figures about a data set: what there is how often, how long captions are, how large the sources are.

All take counts, so that a set of 100,000 pictures is drawn from as little as one of 100.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullLocator

from t2i.reporting import style
from t2i.reporting.numbers import number

MOST_GROUPS, MOST_WORDS = 40, 30
LIGHT = (*to_rgb(style.REAL), 0.25)


@style.styled
def pictures_by_group(
    names: Sequence[str], train: Sequence[int], held_out: Sequence[int], path: Path, title: str, label: str
) -> Path:
    """Pictures of each group (a domain, a category): training as a full bar, held out as a light one.

    The 40 largest in training groups are drawn. Raises ValueError when there is none, or not as many counts as names.
    """
    if not len(names) or not len(names) == len(train) == len(held_out):
        raise ValueError(f"found {len(names)} names for {len(train)} counts; expected as many of both, at least one")
    counts = np.array([train, held_out], dtype=np.int64)
    order = np.lexsort((names, -counts[1], -counts[0]))[:MOST_GROUPS]
    subtitle = f"the {len(order)} largest of {len(names):,} {label}" if len(order) < len(names) else ""
    figure = style.chart(8.6, 1.0 + 0.36 * len(order), title, subtitle)
    axes = figure.add_subplot()
    largest = max(int(counts.max()), 1)
    for row, index in enumerate(order):
        for value, offset, fill in zip(counts[:, index], (-0.19, 0.19), (style.REAL, LIGHT), strict=True):
            axes.barh(row + offset, value, 0.34, color=fill, edgecolor=style.REAL, linewidth=0.8)
            axes.text(value + 0.008 * largest, row + offset, f"{value:,}", va="center", size=style.SMALL_SIZE)
    axes.set_yticks(range(len(order)), [_short(names[index]) for index in order])
    axes.set(ylim=(len(order) - 0.4, -0.6), xlim=(0, 1.1 * largest), xlabel="pictures")
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    style.thousands(axes)
    axes.legend(
        handles=[
            Patch(facecolor=fill, edgecolor=style.REAL, label=name)
            for fill, name in ((style.REAL, "training"), (LIGHT, "held out"))
        ],
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=2,
    )
    return style.save(figure, path)


@style.styled
def caption_lengths(words: Mapping[int, int], tokens: Mapping[int, int], limit: int, path: Path, title: str) -> Path:
    """Captions by their number of words and, unless `tokens` is empty, of tokens (start and end included).

    words, tokens: captions by length. What lies beyond `limit` tokens is cut by the text encoder, and marked. Raises
    ValueError when there is no caption.
    """
    if not words:
        raise ValueError("found no caption; expected lengths of at least one")
    length, count = _arrays(words)
    notes = [f"median {_quantile(length, count, 0.5)} words, 95 % have at most {_quantile(length, count, 0.95)}"]
    if tokens:
        token_length, token_count = _arrays(tokens)
        cut = int(token_count[token_length > limit].sum())
        notes.append(
            f"median {_quantile(token_length, token_count, 0.5)} tokens; "
            f"{cut:,} of {token_count.sum():,} captions ({_percent(cut, int(token_count.sum()))}) are cut at {limit}"
        )
    figure = style.chart(8.6, 3.0, title, "; ".join(notes))
    panels = figure.subplots(1, 2 if tokens else 1, squeeze=False)[0]
    _lengths(panels[0], length, count, None)
    panels[0].set(xlabel="words in a caption", ylabel="captions (%)")
    if tokens:
        _lengths(panels[1], token_length, token_count, limit)
        panels[1].set_xlabel("tokens in a caption, start and end included")
    return style.save(figure, path)


def _lengths(axes: Axes, length: np.ndarray, count: np.ndarray, limit: int | None) -> None:
    share = 100 * count / count.sum()
    last = int(np.ceil(1.25 * _quantile(length, count, 0.995))) + 1
    last = min(last, int(length[-1])) if limit is None else max(min(last, int(length[-1])), limit + 1)
    inside = length <= last
    colours = [style.TUNED if limit is not None and n > limit else style.REAL for n in length[inside]]
    axes.bar(length[inside], share[inside], 0.86, color=colours)
    axes.set_xlim(-0.6, last + 0.8 + 0.02 * last)
    axes.grid(axis="x", visible=False)
    style.thousands(axes)
    if limit is not None:
        axes.axvline(limit + 0.5, color=style.TUNED, linewidth=1.4, linestyle=(0, (4, 3)))
        axes.annotate(
            f"limit: {limit}",
            (limit + 0.5, 1),
            (-4, -3),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="right",
            va="top",
            color=style.TUNED,
            size=style.SMALL_SIZE,
        )
    outside = int(count[~inside].sum())
    if outside:
        axes.set_title(
            f"{outside:,} longer, up to {length[-1]:,}", loc="right", size=style.SMALL_SIZE, color=style.MUTED
        )


@style.styled
def captions_per_picture(counts: Mapping[int, int], path: Path, title: str) -> Path:
    """Pictures by their number of captions. Raises ValueError when there is no picture."""
    if not counts:
        raise ValueError("found no picture; expected at least one")
    number_of, pictures = _arrays(counts)
    total = int(pictures.sum())
    mean = float((number_of * pictures).sum() / total)
    figure = style.chart(8.6, 2.6, title, f"{number(mean)} captions a picture on average, {total:,} pictures")
    axes = figure.add_subplot()
    axes.bar(number_of, pictures, 0.7, color=style.REAL)
    if len(number_of) <= 12:
        for x, y in zip(number_of, pictures, strict=True):
            text = f"{y:,} ({_percent(int(y), total)})"
            axes.annotate(text, (x, y), (0, 3), textcoords="offset points", ha="center", size=style.SMALL_SIZE)
    axes.set(xlabel="captions", ylabel="pictures", ylim=(0, 1.14 * pictures.max()))
    axes.set_xlim(-0.6, max(number_of[-1], 6) + 0.6)
    axes.grid(axis="x", visible=False)
    style.thousands(axes)
    if number_of[-1] <= 20:
        axes.set_xticks(range(max(number_of[-1], 6) + 1))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.0f}"))
    return style.save(figure, path)


@style.styled
def word_frequencies(words: Sequence[str], counts: Sequence[int], captions: int, path: Path, title: str) -> Path:
    """The share of `captions` that have each word, for the first 30 words; counts: captions with the word.

    Raises ValueError when there is no word, or not as many counts as words.
    """
    if not len(words) or len(words) != len(counts):
        raise ValueError(f"found {len(words)} words for {len(counts)} counts; expected as many of both, at least one")
    shown, share = list(words[:MOST_WORDS]), 100 * np.asarray(counts[:MOST_WORDS], dtype=np.float64) / captions
    figure = style.chart(8.6, 0.7 + 0.21 * len(shown), title, "words such as the, of, with are left out")
    axes = figure.add_subplot()
    axes.barh(range(len(shown)), share, 0.72, color=style.REAL)
    for row, value in enumerate(share):
        text = f"{_percent(counts[row], captions)} ({counts[row]:,})"
        axes.text(value + 0.008 * share.max(), row, text, va="center", size=style.SMALL_SIZE)
    axes.set_yticks(range(len(shown)), [_short(word) for word in shown])
    axes.set(ylim=(len(shown) - 0.4, -0.6), xlim=(0, 1.16 * share.max()), xlabel="captions with the word (%)")
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    return style.save(figure, path)


@style.styled
def source_sizes(sizes: np.ndarray, resolution: int, path: Path, title: str) -> Path:
    """Width against height of the sources, and their aspect ratios. sizes: int (N, 3), width, height, pictures.

    Raises ValueError when there is no size.
    """
    if not len(sizes):
        raise ValueError("found no size; expected at least one")
    width, height, count = np.asarray(sizes, dtype=np.float64).T
    total = count.sum()
    smaller = int(count[np.minimum(width, height) < resolution].sum())
    common = np.argmax(count)
    figure = style.chart(
        8.6,
        3.5,
        title,
        f"most frequent: {width[common]:.0f} x {height[common]:.0f} ({_percent(int(count[common]), int(total))}); "
        f"{smaller:,} of {total:,.0f} pictures ({_percent(smaller, int(total))}) have a side below the {resolution} "
        "pixels of the prepared ones",
    )
    left, right = figure.subplots(1, 2)
    area = np.clip(900 * count / total, 3, 160)
    left.scatter(width, height, area, color=(*to_rgb(style.REAL), 0.45), edgecolor=style.REAL, linewidth=0.5, zorder=3)
    low = min(width.min(), height.min(), resolution) / 1.3
    high = max(width.max(), height.max(), resolution) * 1.3
    ticks = _octaves(low, high)
    for axis, name in ((left.xaxis, "width"), (left.yaxis, "height")):
        axis.axes.set(**{f"{axis.axis_name}scale": "log", f"{axis.axis_name}lim": (low, high)})
        axis.set_ticks(ticks, [f"{tick:,}" for tick in ticks])
        axis.set_minor_locator(NullLocator())
        axis.set_label_text(f"{name} (pixels)")
    left.set_aspect("equal")
    left.plot([low, high], [low, high], color=style.MUTED, linewidth=0.8, zorder=1)
    left.plot(
        [resolution, resolution, high],
        [high, resolution, resolution],
        color=style.TUNED,
        linewidth=1.2,
        linestyle=(0, (4, 3)),
    )
    left.annotate(
        f"prepared: {resolution}",
        (high, resolution),
        (-3, -3),
        textcoords="offset points",
        ha="right",
        va="top",
        color=style.TUNED,
        size=style.SMALL_SIZE,
    )
    _aspects(right, width / height, count)
    return style.save(figure, path)


def _aspects(axes: Axes, ratio: np.ndarray, count: np.ndarray) -> None:
    high = max(1.1 * float(np.maximum(ratio, 1 / ratio).max()), 2.2)
    low = 1 / high
    edges = np.geomspace(low, high, 42).tolist()  # an odd number of bars, so that one is about 1:1
    axes.hist(ratio, edges, weights=100 * count / count.sum(), color=style.REAL)
    axes.set(xscale="log", xlim=(low, high), xlabel="width : height", ylabel="pictures (%)")
    known = {"1:3": 1 / 3, "1:2": 0.5, "2:3": 2 / 3, "1:1": 1.0, "3:2": 1.5, "2:1": 2.0, "3:1": 3.0}
    named = {name: value for name, value in known.items() if low <= value <= high}
    axes.set_xticks(list(named.values()), list(named))
    axes.xaxis.set_minor_locator(NullLocator())


def _octaves(low: float, high: float) -> list[int]:
    """Powers of two between `low` and `high`, at most seven of them."""
    powers = range(int(np.ceil(np.log2(low))), int(np.floor(np.log2(high))) + 1)
    return [2**power for power in powers[:: max(1, -(-len(powers) // 7))]]


def _arrays(counts: Mapping[int, int]) -> tuple[np.ndarray, np.ndarray]:
    keys = np.array(sorted(counts), dtype=np.int64)
    return keys, np.array([counts[int(key)] for key in keys], dtype=np.int64)


def _quantile(values: np.ndarray, counts: np.ndarray, q: float) -> int:
    """The least value that a share of `q` does not exceed; values ascending, with how often each occurs."""
    return int(values[np.searchsorted(np.cumsum(counts), q * counts.sum())])


def _percent(part: int, whole: int) -> str:
    """A share in words that never calls something nothing, or not everything everything."""
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "< 0.1 %"
    if 99.9 < share < 100:
        return "> 99.9 %"
    return f"{number(share, places=0 if share in (0, 100) else 1)} %"


def _short(text: str, most: int = 32) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
