"""A figure of many vectors in a plane, coloured by group."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from t2i.reporting import style

LOOKS = tuple(
    zip(
        (style.BASE, style.TUNED, style.REAL, *style.OTHERS),
        ("o", "s", "^", "D", "v", "P", "X", "*"),
        strict=True,
    )
)
"""Colour and marker: a group can be told by either."""


@style.styled
def projection(
    points: np.ndarray, groups: Sequence[str], explained: Sequence[float], path: Path, title: str, subtitle: str = ""
) -> Path:
    """Points in the plane of two principal components. points: float (N, 2); groups: a name each, or empty texts;
    explained: shares (0 to 1) of the variance of both axes.

    The seven largest groups have their own colour and marker, the others share one. Raises ValueError when there is no
    point, or not as many names as points.
    """
    if not len(points) or len(points) != len(groups):
        raise ValueError(f"found {len(points)} points and {len(groups)} names; expected as many of both, at least one")
    names, member, count = np.unique(np.asarray(groups, np.str_), return_inverse=True, return_counts=True)
    order = np.argsort(-count, kind="stable")
    figure = style.chart(8.6, 5.6, title, subtitle)
    axes = figure.add_subplot()
    parts = [(str(names[k]) or "no domain", member == k) for k in order]
    if len(parts) > len(LOOKS):
        rest = np.isin(member, order[len(LOOKS) - 1 :])
        parts = [*parts[: len(LOOKS) - 1], (f"{len(order) - len(LOOKS) + 1} others", rest)]
    # The smallest group last: the others would cover it.
    for place, (name, chosen) in enumerate(parts):
        colour, marker = LOOKS[place]
        axes.scatter(
            points[chosen, 0],
            points[chosen, 1],
            s=16 if len(points) < 2000 else 9,
            marker=marker,
            color=colour,
            alpha=0.55,
            linewidth=0,
            label=f"{name} ({chosen.sum():,})",
        )
    for axis, number, share in zip((axes.xaxis, axes.yaxis), (1, 2), explained, strict=True):
        axis.set_label_text(f"principal component {number} ({100 * share:.1f} % of the variance)")
    axes.set_aspect("equal", adjustable="datalim")
    if len(parts) > 1 or names[0]:
        legend = axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), markerscale=1.8)
        for handle in legend.legend_handles:
            if handle is not None:
                handle.set_alpha(1.0)
    return style.save(figure, path)
