"""The cells of a sweep in a table and in sentences: which is the best, which cannot be told from it, which are on the front."""

from typing import Any

from t2i.config import spelt
from t2i.stories.evaluation import metrics_table
from t2i.sweeps.findings import Finding, plain, shown

NAMED = 5
"""Cells of the front that a sentence names."""


def sure(finding: Finding) -> str:
    """How sure it is which cell is the best: who is tied with it; of several objectives the front, and what to take."""
    if finding.several:
        return _of_several(finding)
    tied = sum(finding.tied) - 1
    if not tied:
        return f"No other cell is tied with it ({finding.method})."
    more = f" About {finding.needed:,} pictures a cell would part it from the runner-up." if finding.needed else ""
    cells = "1 other cell cannot" if tied == 1 else f"{tied} other cells cannot"
    return f"{cells} be told from it with this many pictures ({finding.method}).{more}"


def _of_several(finding: Finding) -> str:
    """The front, who is tied in what, and what speaks for the cell that is suggested."""
    front = [outcome for outcome, chosen in zip(finding.outcomes, finding.front, strict=True) if chosen]
    names = " and ".join(finding.standings)
    told = f"{', '.join(f'`{shown(outcome)}`' for outcome in front[:NAMED])}{' and more' if len(front) > NAMED else ''}"
    beaten = f"{_count(len(front), len(finding.outcomes))} not beaten by another in {names} at once: {told}."
    ties = "; ".join(
        f"{metric}: {sum(own.tied) - 1} tied with the best" for metric, own in finding.standings.items() if own.tested
    )
    tied = (
        f" Cells that cannot be told from the best in a metric count as equal to it ({ties}; {finding.method})."
        if ties
        else ""
    )
    if len(front) == 1:
        return f"{beaten}{tied}"
    return f"{beaten}{tied} If one must be chosen: `{shown(finding.best)}`, as {finding.why}."


def _count(front: int, cells: int) -> str:
    return f"1 of {cells} cells is" if front == 1 else f"{front} of {cells} cells are"


def raced(finding: Finding) -> str:
    """How many cells left a race, and how many pictures that saved; empty without one."""
    beaten = [outcome for outcome in finding.outcomes if outcome.beaten]
    if not beaten:
        return ""
    made = sum(outcome.numbers["images"] for outcome in finding.outcomes if outcome.numbers)
    whole = finding.best.numbers["images"] * len(finding.outcomes)
    return f" {len(beaten)} cells left the race early: {made:,.0f} of {whole:,.0f} pictures were made ({made / whole:.0%})."


def table(finding: Finding) -> dict[str, Any]:
    """One row a cell, one column a number, each with its interval, the objectives first; the best
    cell and those tied with it are marked, of several objectives the front, and in which of them a cell is tied with the best.
    """
    heads = [row[0] for row in metrics_table({"value": plain(finding.best.numbers)})["rows"]]
    heads = [*finding.standings, *(head for head in heads if head not in finding.standings)]
    keys = list(dict.fromkeys(key for outcome in finding.outcomes for key in outcome.cell))
    rows = []
    for k, outcome in enumerate(finding.outcomes):
        told = (
            {row[0]: row[1] for row in metrics_table({"value": plain(outcome.numbers)})["rows"]}
            if outcome.numbers
            else {}
        )
        values = [told.get(head, "" if outcome.numbers else "failed") for head in heads]
        marks = _marks(finding, k) if outcome.numbers else ["", *["failed"] * finding.several]
        rows.append([*(spelt(outcome.cell[key]) if key in outcome.cell else "" for key in keys), *marks, *values])
    caption = f"Every cell: value and 95 % interval. Tied: cannot be told from the best ({finding.method})."
    if finding.several:
        caption += " Front: no other cell is better in one objective and as good in the others, ties counted as equal."
    extra = ["", *["tied with the best in"] * finding.several]
    return {"columns": [*keys, *extra, *heads], "rows": rows, "caption": caption, "keys": len(keys) + len(extra)}


def _marks(finding: Finding, k: int) -> list[str]:
    """What is said of a measured cell before its numbers."""
    outcome = finding.outcomes[k]
    if outcome.beaten:
        return [f"beaten after {outcome.numbers['images']:.0f}"]
    if not finding.several:
        return ["best" if outcome is finding.best else "tied" if finding.tied[k] else ""]
    mark = "suggested" if outcome is finding.best else "front" if finding.front[k] else ""
    return [mark, ", ".join(metric for metric, own in finding.standings.items() if own.tied[k])]
