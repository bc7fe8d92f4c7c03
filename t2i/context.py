"""`Run`: what a task receives beside its configuration - folder, store, tracker, devices, and a way to be interrupted."""

import contextlib
import json
import logging
import math
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from t2i.asked import Asked
from t2i.interruption import Arrivals, Interrupted
from t2i.processes import Processes, detail, rank, world_size
from t2i.store import Stage, Store, digest_of, write_json
from t2i.tracking import NullTracker, Tracker

if TYPE_CHECKING:
    from accelerate import Accelerator

FROZEN = "T2I_FROZEN"
"""Environment variable: the file with the composed job of a process that was started by another one."""
Kept = TypeVar("Kept")
log = logging.getLogger("t2i")


@dataclass
class Run:
    """One run of one task: created by `t2i.launch`, handed to every task."""

    folder: Path
    store: Store
    tracker: Tracker = field(default_factory=NullTracker)
    overrides: list[str] = field(default_factory=list)
    """The command-line overrides that made the configuration."""
    processes: Processes = field(default_factory=Processes)
    stages: dict[str, Stage] = field(default_factory=dict)
    """Every stage that the run used, by name of use."""
    tags: dict[str, str] = field(default_factory=dict)
    """Short facts that the tracker shows beside the run, such as the digest of the model."""
    _kept: dict[str, dict[str, Any]] = field(default_factory=dict)
    sections: list[dict[str, Any]] = field(default_factory=list)
    """What the run found, for report.html: `section` adds to it."""
    pending_signal: int = 0
    _deferred: bool = False
    _asked: Asked = field(init=False)

    def __post_init__(self) -> None:
        self._asked = Asked(self.folder, self.store.root)

    @property
    def main(self) -> bool:
        """Whether this process is the one that writes files and records numbers."""
        return rank() == 0

    @property
    def accelerator(self) -> "Accelerator":
        """Devices, precision and communication."""
        return self.processes.accelerator

    @property
    def barrier(self) -> Callable[[], None]:
        """Wait for the other processes of this run."""
        return self.processes.barrier

    @property
    def tell(self) -> Callable[[Callable[[], Any]], Any]:
        """What a function finds in the main process, in every process."""
        return self.processes.tell

    def asked(self, name: str, digest: str) -> None:
        """Write down at once that this run needs a stage, by name and digest: the work has begun."""
        self._asked.note(name, digest)
        self.tracker.begin()

    def stage(self, name: str, *args: Any, **kwargs: Any) -> Stage:
        """`Store.stage`, remembered under its name in this run."""
        return self.use(self.store.stage(name, *args, **kwargs))

    def use(self, stage: Stage) -> Stage:
        """Note that this run depends on `stage`."""
        self.stages.setdefault(f"{stage.name}/{stage.digest[:12]}", stage)  # built here and read again is not reused
        return stage

    def say(self, line: str) -> None:
        """A line for the person who waits, and for run.log."""
        if self.main:
            log.info(line)

    def detail(self, line: str) -> None:
        """The same, but a pipeline shows it in run.log alone."""
        detail(line)

    def section(
        self,
        title: str,
        text: str,
        tables: Sequence[Mapping[str, Any]] = (),
        figures: Sequence[tuple[Path, str]] = (),
        **facts: Any,
    ) -> None:
        """A part of the run's story for report.html, kept in `sections.json` so that task=report can tell it again.

        tables: mappings with columns, rows and caption. figures: paths below the run folder, with captions.
        """
        if not self.main:
            return
        for path, _ in figures:
            self.tracker.artifact(path, "figures")
        shown = [{"path": str(path.relative_to(self.folder)), "caption": caption} for path, caption in figures]
        self.sections.append({"title": title, "text": text, "tables": list(tables), "figures": shown, "facts": facts})
        write_json(self.folder / "sections.json", self.sections)

    def figures(self) -> Path:
        """The folder for pictures of this run."""
        folder = self.folder / "figures"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def kept(self, name: str, made_from: Any, make: Callable[[], Kept], most: int | None = None) -> Kept:
        """What `make` gives, made once a run for what it is made from: JSON values that say all of it.

        most: how many of this name are kept at once, those that were asked for last; None: all.
        """
        entries, key = self._kept.setdefault(name, {}), digest_of(made_from)
        found = entries.pop(key) if key in entries else None
        if found is None:
            while most is not None and len(entries) >= most:
                entries.pop(next(iter(entries)))  # before the next one takes its memory
            found = make()
        entries[key] = found  # the last one that was asked for
        return cast(Kept, found)

    def forget(self, name: str) -> None:
        """Keep nothing of this name any longer."""
        self._kept.pop(name, None)

    # -- interruption ------------------------------------------------------------------------------------------------

    def catch_signals(self) -> None:
        """SIGTERM and SIGINT raise `Interrupted`, at once or - inside `deferring()` - when the work asks."""

        arrivals = Arrivals()

        def handle(number: int, frame: Any) -> None:
            again = arrivals.again()
            # A second signal does not wait; but one of several processes hears of the first from its launcher again.
            if again or (arrivals.second and world_size() > 1):
                return
            if not self._deferred or arrivals.second:
                raise Interrupted(number)
            self.pending_signal = number
            self.say(f"{signal.Signals(number).name}: finishing this step, then saving a checkpoint")

        signal.signal(signal.SIGTERM, handle)
        signal.signal(signal.SIGINT, handle)

    @contextlib.contextmanager
    def deferring(self) -> Iterator[None]:
        """Signals wait: the work inside looks at `pending_signal` between its steps and raises `Interrupted` itself.

        What it did not look at any more raises `Interrupted` at the end.
        """
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        if self.pending_signal:
            raise Interrupted(self.pending_signal)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` as `{"a.b": 1}`; lists become JSON."""
    items: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            items.update(flat(value, f"{prefix}{key}."))
        else:
            items[prefix + key] = json.dumps(value) if isinstance(value, list) else value
    return items


def finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """The numbers that JSON can hold: it knows no infinity and no NaN, and what has no finite value was not measured."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def write_results(folder: Path, metrics: Mapping[str, float], stages: Mapping[str, Stage]) -> None:
    """`metrics.json` (the numbers) and `stages.json` (the digests of everything they came from) of a run folder."""
    write_json(folder / "metrics.json", finite(metrics))
    write_json(folder / "stages.json", {name: {"digest": s.digest, "reused": s.reused} for name, s in stages.items()})
