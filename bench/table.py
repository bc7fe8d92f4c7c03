"""Writes the tables of bench/README.md and the figures from the newest results: `python -m bench.table` (`make bench-table`)."""

from pathlib import Path

from bench._commit import changed_since
from bench._figure import draw
from bench._pareto import table
from bench._rows import RESULTS, ROWS, Found, Result, newest, number, parts

README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- table -->", "<!-- end of table -->"
OLDER = ", **older than its code**"
"""Said of a result when a later commit touches what it measures; nothing without the history."""
Measured = list[tuple[str, Found]]
"""Where and when, and the numbers."""


def measured() -> Measured:
    """Every comparison that has a result, in the order of the rows."""
    results = [(date, machine, part) for date, machine, result in newest() for part in parts(result)]
    return [
        (when(date, machine, result), found)
        for row in ROWS
        for date, machine, result in results
        if result["benchmark"] == row.bench and (found := row.found(result))
    ]


def when(date: str, machine: str, result: Result) -> str:
    """Day, machine and commit of a result, and whether its code has changed since."""
    at = result.get("commit")
    older = OLDER if changed_since(result["benchmark"], at, date) else ""
    return ", ".join(filter(None, (date, machine, at))) + older


def ratios(rows: Measured) -> str:
    """One line a comparison."""
    heads = ["what", "peer", "times as fast", "range", "must", "stretch", "", "share of the limit", "measured"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for measured_at, found in rows:
        targets = [f"{target:g}" if target is not None else "" for target in (found.must, found.stretch)]
        load = f", load {found.load:.1f}" if found.load is not None else ""
        share = f"{found.share:.0%}" if found.share is not None else ""
        numbers = [number(found.median), f"{number(found.low)} to {number(found.high)}", *targets, found.verdict, share]
        lines.append("| " + " | ".join([found.row.what, found.row.peer, *numbers, f"{measured_at}{load}"]) + " |")
    return "\n".join(lines)


def shortfalls(rows: Measured) -> str:
    """Where the time of the rows goes that miss their target, by the profile kept beside the numbers."""
    lines = []
    for _, found in rows:
        if found.short and found.profile:
            lines.append(f"- {found.row.what} ({found.row.peer}), {found.verdict}: {'; '.join(found.profile[:4])}.")
    return "Where the time of the short rows goes (profiles in the results):\n\n" + "\n".join(lines) if lines else ""


def growth() -> str:
    """Exponents of cost against size."""
    heads = [
        "cost of",
        "sizes",
        "exponent of time",
        "range",
        "at the largest",
        "exponent of memory",
        "peak",
        "measured",
    ]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for date, machine, result in newest():
        if result["benchmark"] == "growth":
            for name, found in result["series"].items():
                sizes = f"{found['sizes'][0]:,} to {found['sizes'][-1]:,}"
                low, high = found["time"]["range"]
                time = [f"{found['time']['median']:.2f}", f"{low:.2f} to {high:.2f}", f"{found['seconds'][-1]:.3g} s"]
                memory = (
                    [f"{found['memory']['median']:.2f}", f"{found['peak_mib'][-1]:.0f} MiB"]
                    if "memory" in found
                    else ["", ""]
                )
                lines.append(
                    "| "
                    + " | ".join([name.replace("_", " "), sizes, *time, *memory, when(date, machine, result)])
                    + " |"
                )
        if result["benchmark"] == "processes":
            time = [f"{result['exponent']:.2f}", "", "", "", ""]
            lines.append(
                "| " + " | ".join(["processes of one training", "1 to 2", *time, when(date, machine, result)]) + " |"
            )
    return "\n".join(lines) if len(lines) > 2 else ""


def personalisation() -> str:
    """The methods that teach a subject, of each machine and model."""
    found = [own for own in newest() if own[2]["benchmark"] == "personalisation"]
    return "\n\n".join(f"{result['what']} ({date}, {machine}):\n\n{table(result)}" for date, machine, result in found)


def renewed(text: str) -> str:
    """The page with what the newest results say between its two marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    rows = measured()
    parts = "\n\n".join(part for part in (ratios(rows), shortfalls(rows), growth(), personalisation()) if part)
    return f"{before}{BEGIN}\n{parts}\n{END}{after}"


def main() -> None:
    """Renew the page, and draw the figure of every result that is shown."""
    README.write_text(renewed(README.read_text(encoding="utf-8")), encoding="utf-8")
    for date, machine, result in newest():
        try:
            draw(date, result, RESULTS / f"{date}_{machine}_{result['benchmark']}.png")
        except KeyError as error:
            print(error.args[0])


if __name__ == "__main__":
    main()
