"""`plan=true`: what a command would do - stages, sizes, downloads, memory, time - and nothing of it is done."""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from t2i.config import Config
from t2i.context import Run
from t2i.errors import ConfigError, UserError
from t2i.plan import estimates as estimates
from t2i.plan.downloads import Missing, missing, spoken_bytes
from t2i.plan.steps import Step, steps
from t2i.store import Stage, Store, addressed, read_manifest

if TYPE_CHECKING:
    from t2i.plan.memory import Memory

UNKNOWN = "unknown until measured"


class Dry(Run):
    """A run that writes nothing: no process of it is the one that does."""

    @property
    def main(self) -> bool:
        """Never: who is not the main process leaves no file and tells no story."""
        return False


class Answered(Exception):
    """The last stage that a step asks for has been looked up."""


@dataclass(frozen=True)
class Row:
    """One stage of the plan."""

    step: Step
    name: str
    digest: str
    """Empty where it depends on what is still to be made."""
    there: bool
    size: int = 0
    """Bytes in the store."""


class Ledger(Store):
    """A store that builds nothing: it says where a stage would be, and remembers what it was asked for."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.looked_up: list[tuple[str, str, bool, int]] = []
        self.last: Optional[tuple[str, int]] = None
        """The stage after which a step is answered, and how often it has to be asked for."""

    def stage(
        self,
        name: str,
        inputs: Mapping[str, str],
        config: Mapping[str, Any],
        version: int,
        build: Callable[[Path], None],
        collective: bool = False,
        resumable: bool = False,
    ) -> Stage:
        """Where the stage is or would be; its folder need not exist."""
        digest = addressed(name, inputs, config, version)[1]
        folder = self.root / name / digest
        there = self.sound(folder)
        files = (read_manifest(folder) or {})["files"] if there else {}
        self.looked_up.append((name, digest, there, sum(entry["bytes"] for entry in files.values())))
        if (
            self.last is not None
            and sum(own[0] == name for own in self.looked_up) >= self.last[1]
            and self.last[0] == name
        ):
            raise Answered
        return Stage(name, digest, folder, there)


@dataclass
class Plan:
    """What was found out."""

    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Why something could not be looked up."""
    downloads: list[Missing] = field(default_factory=list)


def plan(config: Config, folder: Path, overrides: list[str], say: Callable[[str], None]) -> Plan:
    """Print the plan of a configured task, line by line through `say`, and return it. Writes nothing but the digests of the
    data's files, which take long to read and are remembered. Raises ConfigError for what the run would refuse.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"  # looking must not fetch
    ledger = Ledger(Path(config.outputs) / "store")
    run = Dry(folder, ledger, overrides=overrides)
    found = Plan(downloads=missing(config))
    absent = {own.resource for own in found.downloads}
    known: set[tuple[str, str]] = set()
    for step in steps(config, run):
        rows = _looked(step, ledger, absent, found.notes)
        if step.within:
            outer = next(i for i, row in enumerate(found.rows) if row.name == step.within)
            if not found.rows[outer].there:
                found.rows[outer:outer] = rows  # they are made on the way to it
            continue
        for row in rows:
            key = (row.name, row.digest or _shared(row, config))
            if key not in known:
                found.rows.append(row)
            if key[1]:
                known.add(key)
    _tell(config, found, run, say)
    return found


def _shared(row: Row, config: Config) -> str:
    """What stands for the digest of a stage that several steps will read, where that cannot be known yet."""
    if row.name == "reference":
        return "of the sweep" if row.step.group and config.sweeps.reference else "held out"
    return "of the data" if row.name == "training_features" else ""


def _looked(step: Step, ledger: Ledger, absent: set[str], notes: list[str]) -> list[Row]:
    """The stages of one step; those that cannot be looked up yet are to be made."""
    ledger.looked_up = []
    ledger.last = (step.names[-1], step.names.count(step.names[-1])) if step.names else None
    complete = False
    if not absent & set(step.needs):
        try:
            step.look()
            complete = True
        except Answered:
            complete = True
        except ConfigError:
            raise
        except UserError as error:
            notes.append(f"{step.title}: {error}")
        except Exception as error:  # it reads what is still to be made: files, databases, arrays that are not there
            if not isinstance(error, FileNotFoundError | IndexError) and all(
                there for _, _, there, _ in ledger.looked_up
            ):
                raise
    names = step.names if step.within else (*FIRST, *step.names)
    rows = [Row(step, name, digest, there, size) for name, digest, there, size in ledger.looked_up if name in names]
    if not complete:
        left = Counter(step.names) - Counter(row.name for row in rows)
        rows += [Row(step, name, "", False) for name in left.elements()]
    return rows


FIRST = ("scenes", "unpacked", "coco_index", "chosen", "extracted")
"""Stages that a source of data keeps for itself before anything is prepared."""


def _tell(config: Config, found: Plan, run: Run, say: Callable[[str], None]) -> None:
    from t2i.sweeps.budget import spoken

    new = [row for row in found.rows if not row.there]
    most = "up to " if any(not row.digest for row in found.rows) else ""  # two steps may turn out to need the same set
    say(f"plan of task={config.task.value}: {most}{len(found.rows)} stages, {len(new)} to be made")
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in found.rows:
        groups.setdefault((row.step.group or row.step.title, row.name), []).append(row)
    lines = [("step", "stage", "", "on disk", "time")]
    seconds: list[Optional[float]] = []
    for (title, name), rows in groups.items():
        times = [_time(row, run) for row in rows if not row.there]
        seconds += times
        lines.append((title, name, _state(rows), _size(rows, run), _spoken(times) if times else ""))
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    for line in lines:
        say("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
    say(f"downloads: {'; '.join(f'{own.what}, {own.size}' for own in found.downloads) or 'none'}")
    for text in _memory(config, found):
        say(text)
    known = [time for time in seconds if time is not None]
    if not new:
        say("time: everything is in the store")
    elif len(known) < len(seconds):
        least = f"; at least {spoken(sum(known))} for the {len(known)} stages that were timed here" if known else ""
        say(f"time: {UNKNOWN}{least}")
    else:
        say(f"time: about {spoken(sum(known))}, as such stages took here before")
    for note in dict.fromkeys(found.notes):
        say(f"note: {note}")
    say("nothing was done; without plan=true it will be")


def _state(rows: list[Row]) -> str:
    there = sum(row.there for row in rows)
    if len(rows) == 1:
        return "in the store" if there else "to be made"
    left = len(rows) - there
    return ", ".join(f"{n} {what}" for n, what in ((there, "in the store"), (left, "to be made")) if n)


def _size(rows: list[Row], run: Run) -> str:
    """What lies there and what will, together; unknown as soon as one of them is."""
    told = [
        row.size if row.there else estimates.size(row.name, row.step.config, run, row.step.pictures, row.step.split)
        for row in rows
    ]
    if None in told:
        return "unknown"
    sizes = spoken_bytes(sum(size for size in told if size is not None))
    return sizes if all(row.there for row in rows) else f"about {sizes}"


def _time(row: Row, run: Run) -> Optional[float]:
    return estimates.seconds(row.name, row.step.config, run, row.step.pictures, row.step.split)


def _spoken(times: list[Optional[float]]) -> str:
    from t2i.sweeps.budget import spoken

    known = [time for time in times if time is not None]
    return spoken(sum(known)) if len(known) == len(times) else UNKNOWN


def _memory(config: Config, found: Plan) -> list[str]:
    """One line for each kind of work that is still to be done, and one that says how the numbers were got."""
    names = {row.name for row in found.rows if not row.there}
    if not names & {"training", "generated"}:
        return []
    from t2i.models.weightless import weightless
    from t2i.plan.memory import METHOD, drawing_memory, training_memory

    models = weightless(config.model)
    if models is None:
        return [f"memory: unknown, since model={config.model.name} is not here and names no architecture"]
    told = []
    if "generated" in names:
        told.append(("drawing", drawing_memory(config, models)))
    if "training" in names and (memory := training_memory(config, models)) is not None:
        told.append(("training", memory))
    return [f"memory, {what}: {_shown(memory)}" for what, memory in told] + [f"memory is an estimate: {METHOD}"]


def _shown(memory: "Memory") -> str:
    parts = {name: value for name, value in vars(memory).items() if value}
    return f"{spoken_bytes(memory.total)} ({', '.join(f'{name} {spoken_bytes(v)}' for name, v in parts.items())})"
