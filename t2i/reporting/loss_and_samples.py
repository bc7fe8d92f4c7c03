"""One figure for two questions about a training: did the loss fall, and what does the model draw?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from t2i.reporting import style
from t2i.reporting.curves import moving_mean
from t2i.reporting.grids import checked, enlarge


@style.styled
def loss_and_samples(
    steps: Sequence[int], losses: Sequence[float], images: np.ndarray, captions: Sequence[str], path: Path, title: str
) -> Path:
    """The loss of the batches with its moving mean above, up to six pictures with their captions below.

    images: uint8 (N, H, W, 3), N >= 1, one caption each. Raises ValueError when the numbers of either do not agree.
    """
    if len(steps) != len(losses) or not len(steps):
        raise ValueError(
            f"found {len(steps)} steps and {len(losses)} losses; expected as many of both, and at least one"
        )
    tiles = enlarge(checked(images, len(captions)))[:6]
    x, y = np.asarray(steps, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    good = np.isfinite(y)
    window = max(1, int(good.sum()) // 25)
    figure = style.chart(8.6, 4.6, title)
    upper, lower = figure.subfigures(2, 1, height_ratios=(1.15, 1.0), squeeze=False)[:, 0]
    axes = upper.add_subplot()
    few = len(x) <= 40
    axes.plot(
        x[good], y[good], color=style.BASE, alpha=0.4, linewidth=0.9, marker="o" if few else "", markersize=3.5,
        label="each point",
    )  # fmt: skip
    if window > 1:
        axes.plot(
            x[good], moving_mean(y[good], window), color=style.BASE, linewidth=2, label=f"mean of {window:,} points"
        )
    axes.set(xlabel="optimisation step", ylabel="loss (mean over the batch)")
    style.thousands(axes)
    axes.legend(loc="upper right", ncols=2)
    width = 8.0 / len(tiles) * style.DPI
    for place, (tile, caption) in enumerate(zip(tiles, captions, strict=False)):
        cell = lower.add_subplot(1, len(tiles), place + 1)
        cell.imshow(tile)
        cell.set_axis_off()
        text = style.wrap(caption, width - 12, style.SMALL_SIZE, most=4)
        cell.set_title("\n".join(text), size=style.SMALL_SIZE, loc="left", y=0, va="top", pad=-4)
    return style.save(figure, path)
