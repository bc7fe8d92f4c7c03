"""Figures over optimisation steps: the loss, and what training cost in time and memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import StrMethodFormatter

from t2i.reporting import style
from t2i.reporting.numbers import decimals, number

BUCKETS = 800  # about one per two pixels: more points than that are drawn as the band they fill


@style.styled
def loss_curve(
    steps: Sequence[int],
    losses: Sequence[float],
    path: Path,
    title: str,
    held_out: Sequence[tuple[int, float]] = (),
) -> Path:
    """Loss over optimisation steps: raw faintly, its moving mean strongly, held-out points as (step, loss).

    Both axes are linear. Non-finite losses are left out of the line and marked on the step axis. Raises ValueError
    when there is no point, or not as many losses as steps.
    """
    x, y = _series(steps, losses, "losses")
    good = np.isfinite(y)
    window = max(1, int(good.sum()) // 25)
    smooth = moving_mean(y[good], window)
    held = np.array([pair for pair in held_out if np.isfinite(pair[1])], dtype=np.float64).reshape(-1, 2)

    figure = style.chart(8.6, 3.7, title, _loss_summary(x[good], smooth, window, held))
    axes = figure.add_subplot()
    _raw(axes, x[good], y[good])
    if window > 1:
        axes.plot(x[good], smooth, color=style.BASE, linewidth=2, label=f"mean of {window:,} points")
    if held.size:
        axes.plot(
            held[:, 0], held[:, 1], color=style.TUNED, marker="o", markersize=4.5, linewidth=1.4, label="held out"
        )
    outside = _limit(axes, y[good], np.concatenate([smooth, held[:, 1]]))
    if outside:
        axes.set_title(
            f"{outside:,} of {good.sum():,} points lie outside the frame",
            loc="right",
            size=style.SMALL_SIZE,
            color=style.MUTED,
        )
    if not good.all():
        axes.plot(
            x[~good],
            np.zeros((~good).sum()),
            "x",
            color=style.INK,
            markersize=7,
            clip_on=False,
            label="not finite",
            transform=axes.get_xaxis_transform(),
        )
    axes.set(xlabel="optimisation step", ylabel="loss (mean over the batch)")
    style.thousands(axes)
    axes.legend(loc="upper right", ncols=4)
    return style.save(figure, path)


@style.styled
def training_resources(
    steps: Sequence[int], images_per_second: Sequence[float], memory_mb: Sequence[float], path: Path, title: str
) -> Path:
    """Two panels over optimisation steps: speed in images per second, memory in MB (in GB from 10,000 MB)."""
    x, speed = _series(steps, images_per_second, "speeds")
    _, memory = _series(steps, memory_mb, "memory readings")
    known = memory[np.isfinite(memory)]
    unit, scale = ("GB", 1000.0) if known.size and known.max() >= 10_000 else ("MB", 1.0)
    notes = []
    if np.isfinite(speed).any():
        notes.append(f"median {number(float(np.nanmedian(speed)))} images/s")
    if known.size:
        notes.append(f"peak {number(float(known.max()) / scale)} {unit}")
    figure = style.chart(8.6, 4.2, title, ", ".join(notes))
    upper, lower = figure.subplots(2, 1, sharex=True)
    for axes, values, colour, label in (
        (upper, speed, style.BASE, "images per second"),
        (lower, memory / scale, style.OTHERS[0], f"memory ({unit})"),
    ):
        _raw(axes, x, values, colour, 1.0)
        top = float(np.nanmax(values)) if np.isfinite(values).any() else 0.0
        if not top:
            axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", va="center", color=style.MUTED)
            axes.set_yticks([])
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axes.set(ylabel=label, ylim=(0, top * 1.15 or 1.0))
    lower.set_xlabel("optimisation step")
    style.thousands(lower)
    return style.save(figure, path)


def moving_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Centred mean over `window` points, float64; near the ends over the points that are there. No lag, no start-up."""
    total = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    index = np.arange(len(values))
    start = np.maximum(index - (window - 1) // 2, 0)
    stop = np.minimum(index + window // 2 + 1, len(values))
    return (total[stop] - total[start]) / (stop - start)


def _raw(axes: Axes, x: np.ndarray, y: np.ndarray, colour: str = style.BASE, alpha: float = 0.35) -> None:
    """Points as a line; very many of them as the band between the least and the greatest of each bucket."""
    label = "each point"
    if len(x) > 4 * BUCKETS:
        starts = np.linspace(0, len(x), BUCKETS, endpoint=False).astype(int)
        low, high = np.fmin.reduceat(y, starts), np.fmax.reduceat(y, starts)
        axes.fill_between(
            x[starts], low, high, color=colour, alpha=min(alpha, 0.5), linewidth=0, label="range of points"
        )
    else:
        few = len(x) <= 40
        axes.plot(
            x,
            y,
            color=colour,
            alpha=1.0 if len(x) == 1 else alpha,
            linewidth=0.9,
            marker="o" if few else "",
            markersize=3.5,
            label=label,
        )


def _limit(axes: Axes, raw: np.ndarray, always: np.ndarray) -> int:
    """Frames the y axis so that single spikes do not flatten the rest; how many raw points are then outside."""
    if not raw.size:
        return 0
    low, high = np.quantile(raw, [0.005, 0.995])
    room = max(high - low, 1e-3 * abs(high), 1e-12)
    bottom = min(max(raw.min(), low - room), always.min())
    top = max(min(raw.max(), high + room), always.max())
    pad = 0.06 * max(top - bottom, 0.2 * abs(top), 1e-9)
    axes.set_ylim(bottom - pad, top + 3 * pad)  # head-room for the legend
    return int(((raw < bottom) | (raw > top)).sum())


def _loss_summary(x: np.ndarray, smooth: np.ndarray, window: int, held: np.ndarray) -> str:
    if not smooth.size:
        return "no finite loss"
    what = f"mean of {window:,} points" if window > 1 else "loss"
    places = decimals(float(smooth[-1]))
    text = f"{what}: {number(float(smooth[0]), places=places)} at step {int(x[0]):,}"
    if len(smooth) > 1:
        text += f", {number(float(smooth[-1]), places=places)} at step {int(x[-1]):,}"
    if len(held):
        text += f"; held out at the end: {number(float(held[-1, 1]), places=places)}"
    return text


def _series(steps: Sequence[int], values: Sequence[float], name: str) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(steps, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if not len(x) or x.shape != y.shape:
        raise ValueError(f"found {len(x)} steps and {len(y)} {name}; expected as many of both, and at least one")
    return x, y
