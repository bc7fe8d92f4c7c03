"""The figure and the table of `bench/personalisation.py`: what each method gains of the subject, and what it takes."""

from typing import Any

import numpy as np

COSTS = {
    "drift": "drift: what else changed",
    "train_s": "processor seconds of the training",
    "bytes": "bytes of what it leaves",
}
NAMED = 12
"""Pairs that are named; more are left to the result."""
Result = dict[str, Any]


def gain_of(over: Result) -> str:
    """The subject's score that there is: by DINO where it was asked, otherwise by CLIP."""
    return "dino_i" if "dino_i" in next(iter(over.values())) else "clip_i"


def pareto(title: str, about: str, result: Result) -> Any:
    """A panel a cost: the subject's score against it, with 95 % intervals over subjects; those that none beats are joined."""
    from t2i.reporting import style
    from t2i.reporting.gains import on_front

    over = result["methods_over_subjects"]
    gain = gain_of(over)
    figure = style.chart(9.6, 3.9, title, about)
    panels = figure.subplots(1, len(COSTS), sharey=True)
    for axes, (cost, label) in zip(panels, COSTS.items(), strict=True):
        x, y = ([float(own[key][0]) for own in over.values()] for key in (cost, gain))
        front = sorted(point for point, best in zip(zip(x, y, strict=True), on_front(y, x), strict=True) if best)
        axes.plot(*zip(*front, strict=True), color=style.INK, linewidth=0.9, linestyle=":", zorder=1)
        for place, (name, own) in enumerate(over.items()):
            colour = ([style.BASE, style.TUNED, style.REAL, *style.OTHERS])[place % 8]
            axes.errorbar(
                *(x[place], y[place]), xerr=_arms(own[cost]) if cost == "drift" else None, yerr=_arms(own[gain]),
                color=colour, marker="os^DvPX*"[place % 8], markersize=6, elinewidth=0.7, label=name.replace("_", " "),
            )  # fmt: skip
        axes.set_xlabel(label)
        if cost == "bytes":
            axes.set_xscale("log")
    panels[0].set_ylabel("CLIP-I: is the subject there" if gain == "clip_i" else "DINO-I: is the subject there")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=8, fontsize=style.SMALL_SIZE)
    return figure


def _arms(own: list[float | None]) -> list[list[float]] | None:
    value, low, high = own
    return None if value is None or low is None or high is None else [[value - low], [high - value]]


def table(result: Result) -> str:
    """One line a method, and which pairs are told apart."""
    over = result["methods_over_subjects"]
    gain = gain_of(over)
    heads = ["method", gain.replace("_", "-").upper(), "CLIP-T", "drift", "seconds", "KiB"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for name, own in over.items():
        told = [_told(own[key]) for key in (gain, "clip_t", "drift")]
        lines.append(f"| {name} | {' | '.join(told)} | {own['train_s'][0]:.0f} | {own['bytes'][0] / 1024:,.0f} |")
    cells = list(result["cells"].values())
    around = {end: np.mean([cell[f"{gain}_of_{end}"] for cell in cells]) for end in ("base", "real")}
    lines.append(
        f"\n{gain.replace('_', '-').upper()} of the base model {around['base']:.3f}, of real pictures {around['real']:.3f}."
    )
    count, least = len(result["subjects"]), result["fewest_subjects"]
    for metric in (gain, "drift"):
        pairs, alike = result["pairs"].get(metric, []), result["not_told_apart"].get(metric, [])
        those = f": {', '.join(' and '.join(pair) for pair in alike)}" if 0 < len(alike) <= NAMED else ""
        spoken = metric if metric == "drift" else metric.replace("_", "-").upper()
        lines.append(
            f"By {spoken}, {len(pairs) - len(alike)} of {len(pairs)} pairs of methods are told apart, "
            f"{len(alike)} are not{those} (paired over {count} subjects, for all pairs by exchanged signs; fewer than "
            f"{least} subjects can tell none)."
        )
    return "\n".join(lines)


def _told(own: list[float | None]) -> str:
    value, low, high = own
    return f"{value:.3f}" + (f" [{low:.3f}, {high:.3f}]" if low is not None and high is not None else "")
