"""Every metric over the checkpoints of a training, one panel each: where it turned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from t2i.reporting import style
from t2i.reporting.names import readable
from t2i.reporting.shown import Track

WIDTH, PANEL = 7.4, 1.45
"""Inches of the figure, and of the height of a panel."""


@style.styled
def metrics_over_steps(
    steps: Sequence[int], tracks: Sequence[Track], path: Path, title: str, subtitle: str = "", stop: int | None = None
) -> Path:
    """Value and 95 % interval of each metric at each of `steps`, evenly spaced whatever lies between them.

    stop: index of the step to stop at, drawn through all panels. Raises ValueError without a metric, without a step, or when a
    metric has not as many values as there are steps.
    """
    if not tracks or not len(steps) or any(len(track.values) != len(steps) for track in tracks):
        raise ValueError(f"found {len(tracks)} metrics over {len(steps)} steps; expected one value of each a step")
    labels = ["base" if step == 0 else f"{step:,}" for step in steps]
    room = (WIDTH - 1.0) / len(steps)
    below = 0.55 + style.below(labels, room)
    figure = style.chart(WIDTH, PANEL * len(tracks) + below, title, subtitle)
    panels = figure.subplots(len(tracks), 1, sharex=True, squeeze=False)[:, 0]
    for axes, track in zip(panels, tracks, strict=True):
        _panel(axes, track, stop)
        axes.tick_params(axis="x", labelbottom=axes is panels[-1])
    style.columns(panels[-1], range(len(steps)), labels, room)
    panels[-1].set_xlim(-0.5, len(steps) - 0.5)
    panels[-1].set_xlabel("optimisation step")
    return style.save(figure, path)


def _panel(axes: Axes, track: Track, stop: int | None) -> None:
    places = np.arange(len(track.values))
    low, high = (
        np.array([np.nan if not np.isfinite(end) else end for end in ends]) for ends in (track.low, track.high)
    )
    if track.closer is not None:
        axes.axvspan(track.closer - 0.5, len(places) - 0.5, color=style.FAINT, alpha=0.55, linewidth=0)
    if stop is not None:
        axes.axvline(stop, color=style.INK, linewidth=1.0, linestyle=":")
    if track.level is not None:
        axes.axhline(track.level, color=style.INK, linewidth=1.0, linestyle="--")
    axes.plot(places, track.values, color=style.FAINT, linewidth=1.6, zorder=1)
    for place, verdict in enumerate(track.verdicts):
        colour = {"better": style.REAL, "worse": style.TUNED}.get(verdict, style.MUTED)
        axes.plot(
            [place, place], [low[place], high[place]], color=colour, alpha=0.4, linewidth=5, solid_capstyle="butt"
        )
        face = style.PAPER if place in track.tied else colour
        axes.plot(place, track.values[place], "o", color=colour, markerfacecolor=face, markersize=6)
    if track.best is not None:
        axes.plot(
            track.best,
            track.values[track.best],
            "o",
            color=style.INK,
            markerfacecolor="none",
            markersize=13,
            markeredgewidth=1.3,
        )
    axes.margins(y=0.16)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
    axes.grid(axis="x", visible=False)
    axes.set_title(readable(track.name), loc="left", size=style.TEXT_SIZE, color=style.INK)
    axes.set_title(track.note, loc="right", size=style.SMALL_SIZE, color=style.MUTED)
