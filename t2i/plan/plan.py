"""`plan=true`: what a command would do - stages, sizes, downloads, memory, time - and nothing of it is done."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from t2i import spoken
from t2i.config import Config
from t2i.context import Run
from t2i.errors import ConfigError, UserError
from t2i.plan.downloads import Missing, missing
from t2i.plan.looking import Dry, LookingStore, Place
from t2i.stages import history
from t2i.stages.goals import Goals
from t2i.stages.stage import NotMade, Stage, Unmade, is_there, keep, walk
from t2i.store import Stage as Finished

if TYPE_CHECKING:
    from t2i.plan.memory import Memory

UNKNOWN = "unknown until measured"


@dataclass(frozen=True)
class Row:
    """One stage of the plan, by what a task wants it for."""

    title: str
    stage: Stage
    place: Place

    @property
    def name(self) -> str:
        """The kind of stage."""
        return self.place.name

    @property
    def digest(self) -> str:
        """Empty where it depends on what is still to be made."""
        return self.place.digest

    @property
    def there(self) -> bool:
        """Whether the store has it."""
        return self.place.there

    def size(self, run: Run) -> Optional[int]:
        """Bytes, if need be as a guess; None where nobody knows."""
        if self.there:
            return self.place.size
        return self.stage.size(run) if self.name == self.stage.name else history.size(run.store.root, self.name)

    def seconds(self, run: Run) -> Optional[float]:
        """What it will take; None where nobody knows."""
        return self.stage.seconds(run) if self.name == self.stage.name else history.seconds(run.store.root, self.name)


@dataclass
class Plan:
    """What was found out."""

    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Why something could not be looked up."""
    downloads: list[Missing] = field(default_factory=list)


def plan(
    config: Config,
    folder: Path,
    overrides: list[str],
    say: Callable[[str], None],
    goals: Callable[[Config, Run], Goals],
) -> Plan:
    """Print the plan of a configured task, line by line through `say`, and return it. Writes nothing but the digests of the
    data's files, which take long to read and are remembered. Raises ConfigError for what the run would refuse.

    goals: what the task wants of the store.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"  # looking must not fetch
    run = Dry(folder, LookingStore(Path(config.outputs) / "store"), overrides=overrides)
    found = Plan(downloads=missing(config))
    look = Look(run, {own.resource for own in found.downloads}, found.notes)
    for title, stages in goals(config, run):
        for goal in stages:
            found.rows += look.along(title, goal)
        found.notes += [] if stages else [title]
    _tell(config, found, run, say)
    return found


class Look:
    """Goes the way of a run and looks in place of making."""

    def __init__(self, run: Run, absent: set[str], notes: list[str]) -> None:
        self._run, self._absent, self._notes = run, absent, notes
        self._passed: set[str] = set()
        self._told: set[tuple[str, str]] = set()
        self._known: set[str] = set()
        """Keys of the stages whose digests are known."""

    def along(self, title: str, goal: Stage) -> Iterator[Row]:
        """The rows of a goal and of what it stands on, but for those that were told before."""
        for stage in walk(goal, self._passed):
            rows = [Row(title, stage, place) for place in self._places(title, stage)]
            if not all(row.there for row in rows):
                for inner in stage.within():
                    yield from self.along(inner.title, inner)
            yield from (row for row in rows if not row.digest or (row.name, row.digest) not in self._told)
            self._told |= {(row.name, row.digest) for row in rows}

    def _places(self, title: str, stage: Stage) -> list[Place]:
        """Of the stage, and of what is asked for on the way to its address; without a digest where that is not known yet."""
        run, store = self._run, self._run.store
        assert isinstance(store, LookingStore)
        unknown = [Place(stage.name, "", False)]
        if not stage.wanted(run):
            return []
        ready = all(is_there(need, run) for need in stage.needs())
        known = all(own.key in self._known for own in stage.inputs().values())
        if not (ready and known) or self._absent & set(stage.resources):
            return unknown
        store.asked_for = []
        try:
            stage.ask(run)
        except NotMade:
            pass  # of several that it asks for, or of what it asked for itself
        except ConfigError:
            raise
        except UserError as error:
            self._notes.append(f"{title}: {error}")
        places = store.asked_for
        own = [place for place in places if place.name == stage.name]
        if not own:
            return [*places, *unknown]
        self._known.add(stage.key)
        first = next((place for place in own if not place.there), own[-1])
        kind = Unmade if not first.there else Finished
        keep(stage, run, kind(stage.name, own[-1].digest, store.root / stage.name / own[-1].digest, first.there))
        return places


def _tell(config: Config, found: Plan, run: Run, say: Callable[[str], None]) -> None:
    new = [row for row in found.rows if not row.there]
    most = "up to " if any(not row.digest for row in found.rows) else ""  # two steps may turn out to need the same set
    say(f"plan of task={config.task.value}: {most}{len(found.rows)} stages, {len(new)} to be made")
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in found.rows:
        groups.setdefault((row.title, row.name), []).append(row)
    lines = [("step", "stage", "", "on disk", "time")]
    seconds: list[Optional[float]] = []
    for (title, name), rows in groups.items():
        times = [row.seconds(run) for row in rows if not row.there]
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
        least = (
            f"; at least {spoken.duration(sum(known))} for the {len(known)} stages that were timed here"
            if known
            else ""
        )
        say(f"time: {UNKNOWN}{least}")
    else:
        say(f"time: about {spoken.duration(sum(known))}, as such stages took here before")
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
    told = [row.size(run) for row in rows]
    if None in told:
        return "unknown"
    sizes = spoken.size(sum(size for size in told if size is not None))
    return sizes if all(row.there for row in rows) else f"about {sizes}"


def _spoken(times: list[Optional[float]]) -> str:
    known = [time for time in times if time is not None]
    return spoken.duration(sum(known)) if len(known) == len(times) else UNKNOWN


def _memory(config: Config, found: Plan) -> list[str]:
    """One line for each kind of work that is still to be done, and one that says how the numbers were got."""
    works = {row.stage.work for row in found.rows if not row.there and row.name == row.stage.name} - {""}
    if not works:
        return []
    from t2i.models.weightless import weightless
    from t2i.plan.memory import METHOD, drawing_memory, in_shards, training_memory

    models = weightless(config.model)
    if models is None:
        return [f"memory: unknown, since model={config.model.name} is not here and names no architecture"]
    told = []
    if "drawing" in works:
        told.append(("drawing", drawing_memory(config, models)))
    if "training" in works and (memory := training_memory(config, models)) is not None:
        each = f" in each of {config.launch.processes} processes" if in_shards(config) else ""
        told.append((f"training{each}", memory))
    return [f"memory, {what}: {_shown(memory)}" for what, memory in told] + [f"memory is an estimate: {METHOD}"]


def _shown(memory: "Memory") -> str:
    parts = {name: value for name, value in vars(memory).items() if value}
    return f"{spoken.size(memory.total)} ({', '.join(f'{name} {spoken.size(v)}' for name, v in parts.items())})"
