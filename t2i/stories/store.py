"""How large a store is by stage and by run; what of it is damaged; how what no run needs goes."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from t2i import spoken
from t2i.config import Config
from t2i.context import Run
from t2i.manifest import told, unlike
from t2i.progress import progress
from t2i.upkeep import Held, State, freed, prune, size

SHOWN = 20
"""Runs in the table: those that alone need the most."""


def by_stage(entries: Sequence[Held], spare: Sequence[Held]) -> dict[str, Any]:
    """The largest kinds of stages first; spare: those that no run needs."""
    rows: list[tuple[str, int, int, int, int, int]] = []
    for name in sorted({entry.name for entry in entries}):
        own = [entry for entry in entries if entry.name == name]
        states = {state: sum(entry.state is state for entry in own) for state in State}
        rest = [entry for entry in spare if entry.name == name]
        counts = (states[State.finished], states[State.partial], states[State.damaged])
        rows.append((name, *counts, size(own), freed(rest)))
    rows.sort(key=lambda row: -row[4])
    return {
        "columns": ["stage", "finished", "partial", "damaged", "size", "of that no run needs"],
        "rows": [[*row[:4], spoken.size(row[4]), spoken.size(row[5])] for row in rows],
        "caption": "Partial: left by a killed run, which goes on from it. Damaged: put aside until it is made again. "
        "Files that several stages share count once in each.",
    }


def by_run(entries: Sequence[Held], needs: dict[Path, set[str]]) -> dict[str, Any]:
    """What each run needs, and what of it nobody else does. needs: digests, by run folder."""
    users: dict[str, int] = {}
    for digests in needs.values():
        for digest in digests:
            users[digest] = users.get(digest, 0) + 1
    rows = []
    for folder, digests in needs.items():
        own = [entry for entry in entries if entry.digest in digests]
        alone = [entry for entry in own if users[entry.digest] == 1]
        rows.append(("/".join(folder.parts[-2:]), len(own), size(own), size(alone)))
    rows.sort(key=lambda row: (-row[3], row[0]))
    more = f" {len(rows) - SHOWN} more runs are not shown." if len(rows) > SHOWN else ""
    return {
        "columns": ["run", "stages", "size", "of that it alone needs"],
        "rows": [[name, count, spoken.size(whole), spoken.size(alone)] for name, count, whole, alone in rows[:SHOWN]],
        "caption": f"What a run alone needs can be removed when its folder is gone.{more}",
    }


def show(run: Run, table: dict[str, Any]) -> None:
    """Print a table."""
    lines = [table["columns"], *([str(value) for value in row] for row in table["rows"])]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        first, *others = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        run.say("  ".join([first, *(text.strip().rjust(len(text)) for text in others)]).rstrip())
    run.say("")


def verified(run: Run, entries: Sequence[Held]) -> int:
    """How many finished stages are not as they were written; each is named."""
    damaged = 0
    finished = [entry for entry in entries if entry.state is State.finished]
    for entry in progress(finished, "reading the store", "stage"):
        wrong = unlike(entry.path)
        if wrong != []:
            damaged += 1
            run.say(f"damaged: {entry.path} ({told(wrong)}); the next command that needs it makes it again")
    run.say(f"{len(finished):,} stages read: {damaged} damaged")
    return damaged


def pruned(config: Config, run: Run, spare: Sequence[Held], began: float) -> dict[str, float]:
    """Remove what no run needs, after asking; what has been asked for since `began` (seconds since the epoch) stays."""
    for entry in spare:
        run.say(f"no run needs {entry.name}/{entry.digest[:12]} ({entry.state.value}, {spoken.size(size([entry]))})")
    if not spare:
        return {"removed": 0.0, "freed_bytes": 0.0}
    if not config.store.yes:
        if not sys.stdin.isatty():
            run.say("nothing was removed; type store.prune=true store.yes=true to remove these without a question")
            return {"removed": 0.0, "freed_bytes": 0.0}
        answer = input(f"Remove {len(spare):,} stages, {spoken.size(freed(spare))}? [y/N] ")
        if answer.strip().lower() not in ("y", "yes"):
            run.say("nothing was removed")
            return {"removed": 0.0, "freed_bytes": 0.0}
    removed, room = [], freed(spare)
    for entry, reason in prune(run.store.root, spare, began):
        if reason:
            run.say(f"stays: {entry.path} ({reason})")
        else:
            removed.append(entry)
    if len(removed) < len(spare):
        room = freed(removed)
    run.say(f"removed {len(removed):,} stages: {spoken.size(room)} are free again")
    return {"removed": float(len(removed)), "freed_bytes": float(room)}
