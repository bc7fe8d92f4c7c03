"""The figure of a bench: ratio bars with their ranges and targets, lines of cost against size, or gain against cost."""

from pathlib import Path
from typing import Any

from PIL import Image

from bench._pareto import pareto
from bench._rows import ROWS, Found, Result, number, parts

TITLES = {
    "startup": "Start-up",
    "small": "Small commands",
    "prepare": "Preparing pictures",
    "prepare_memory": "Memory while a data set is drawn and prepared",
    "train": "Training steps",
    "half": "bf16 on a CPU",
    "sampling": "Drawing pictures",
    "engines": "Drawing pictures on a CPU by OpenVINO",
    "sweep": "A sweep of nine cells",
    "evaluation": "Metrics from features",
    "verdict": "From features to the verdict",
    "images": "Pictures to numbers",
    "evaluate_task": "A whole evaluation",
    "checkpoint": "Checkpoints of an attn2.to_v training",
    "processes": "Two processes",
    "end_to_end": "Data to verdict",
    "growth": "Cost against size",
    "personalisation": "One subject: what a method gains, and what it takes",
    "waiting": "Two threads that wait for each other",
    "gpu": "What a card is measured by",
}


def draw(date: str, result: Result, path: Path) -> Path:
    """Writes the figure of a bench's result as PNG; returns its path. KeyError when no row knows its numbers."""
    from t2i.reporting.style import save, styled

    name = result["benchmark"]
    about = f"{result['what']}; {result['machine']}, {date}"
    if name == "growth":
        figure = styled(_growth)(TITLES[name], about, result["series"])
    elif name == "personalisation":
        figure = styled(pareto)(TITLES[name], about, result)
    elif name == "prepare_memory":
        figure = styled(_memory)(TITLES[name], about, result)
    else:
        inside = parts(result)
        rows = [found for row in ROWS for one in inside if row.bench == one["benchmark"] and (found := row.found(one))]
        if not rows:
            raise KeyError(f"no row of bench/_rows.py finds its numbers in the result of {name}: measure it again")
        figure = styled(_ratios)(TITLES[name], about, rows)
    save(figure, path)
    with Image.open(path) as image:  # a few colours: a third of the size
        reduced = image.convert("RGB").quantize(64, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    reduced.save(path, optimize=True)
    return path


def _ratios(title: str, about: str, rows: list[Found]) -> Any:
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    from t2i.reporting import style

    figure = style.chart(7.4, 0.75 + 0.46 * len(rows), f"{title}: how many times as fast (as small) as the peer", about)
    axes = figure.add_subplot()
    highest = max(max(row.high, row.stretch or 0, row.must or 0) for row in rows)
    lowest = min(1.0, *(row.low for row in rows))
    start = 1 if highest / lowest > 8 else 0
    for place, row in enumerate(rows):
        colour = style.TUNED if row.short else style.REAL if row.must is not None else style.MUTED
        axes.plot([start, row.median], [place, place], color=colour, linewidth=9, solid_capstyle="butt")
        axes.plot([row.low, row.high], [place, place], color=style.INK, linewidth=1.2, marker="|", markersize=6)
        for target, width in ((row.must, 2.0), (row.stretch, 1.0)):
            if target is not None:
                axes.plot(
                    [target, target], [place - 0.38, place + 0.38], color=style.INK, linewidth=width, linestyle=":"
                )
        end = max(row.high, row.median, 1.0, row.must or 0, row.stretch or 0)
        axes.annotate(number(row.median), (end, place), (6, 0), textcoords="offset points", va="center", size=8)
    labels = [f"{row.row.what.replace('`', '')}\nagainst {row.row.peer}" for row in rows]
    axes.set_yticks(range(len(rows)), labels, fontsize=style.SMALL_SIZE)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    if start:
        axes.set_xscale("log")
        axes.set_xlim(lowest / 1.15, highest**1.12 * 1.12)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if highest < 200 else (1,)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(0, highest * 1.12)
        axes.xaxis.set_major_locator(MaxNLocator(8))
    axes.axvline(1, color=style.INK, linewidth=0.9)
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.set_xlabel("ratio to the peer in the same rounds (1: equal)" + (", logarithmic" if start else ""))
    handles = [
        Line2D([], [], color=style.REAL, linewidth=7, label="target reached"),
        Line2D([], [], color=style.TUNED, linewidth=7, label="short of it"),
        Line2D([], [], color=style.MUTED, linewidth=7, label="no target"),
        Line2D([], [], color=style.INK, linewidth=1.2, marker="|", label="range of the rounds"),
        Line2D([], [], color=style.INK, linewidth=2, linestyle=":", label="target (thin: stretch)"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=style.SMALL_SIZE)
    return figure


def _growth(title: str, about: str, series: dict[str, Any]) -> Any:
    from t2i.reporting import style

    figure = style.chart(8.6, 3.9, title, about)
    left, right = figure.subplots(1, 2)
    for index, (name, found) in enumerate(series.items()):
        colour = ([style.BASE, style.TUNED, style.REAL, *style.OTHERS])[index % 8]
        for axes, values, slope in ((left, "seconds", "time"), (right, "peak_mib", "memory")):
            if values in found:
                label = f"{name.replace('_', ' ')}: exponent {found[slope]['median']:.2f}"
                marker = "os^DvPX*"[index % 8]  # eight colours are hard to tell apart
                axes.plot(found["sizes"], found[values], marker=marker, markersize=4, color=colour, label=label)
    for axes, title, unit in ((left, "Time", "processor seconds"), (right, "Memory", "peak, MiB")):
        axes.set(xscale="log", yscale="log", ylabel=unit, xlabel="pictures, samples or cells")
        axes.set_title(title, loc="left", fontsize=style.TEXT_SIZE)
        axes.legend(loc="upper left", fontsize=6.5)
        low, high = axes.get_ylim()
        axes.set_ylim(low, high * (high / low) ** 0.45)  # room for the legend
    return figure


def _memory(title: str, about: str, result: Result) -> Any:
    from t2i.reporting import style

    figure = style.chart(6.4, 2.6, title, about)
    axes = figure.add_subplot()
    names = [f"{work}, {size}" for work in ("draw", "prepare") for size in ("small", "large")]
    values = [*result["draw_peak_mib"], *result["prepare_peak_mib"]]
    bars = axes.barh(names, values, color=[style.BASE, style.BASE, style.TUNED, style.TUNED], height=0.6)
    axes.bar_label(bars, fmt="%.0f", padding=4, size=8)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("peak over all processes (PSS), MiB")
    axes.set_xlim(0, max(values) * 1.12)
    return figure
