"""A stage as a value: what it is made from, how, and where it lies - known before it is made.

`walk` gives everything that a stage stands on, and then the stage. A run goes along it and makes what is missing (`made`);
plan=true goes along the same and says what is missing.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Optional

from t2i.config import Config
from t2i.context import Run
from t2i.stages import history
from t2i.store import Stage as Finished
from t2i.store import digest_of


class Address(NamedTuple):
    """What names a stage's folder, beside its version and the digests of its `inputs`."""

    digests: Mapping[str, str]
    """Of what it reads that is no stage, by name: a model's files, captions."""
    config: Mapping[str, Any]
    """The slice of the configuration that it reads, as JSON values."""


@dataclass(frozen=True, eq=False)
class Stage(ABC):
    """What the store holds under one name, for one configuration. A row of the table in docs/architecture.md is a subclass."""

    config: Config

    name: ClassVar[str]
    version: ClassVar[int] = 1
    """Raised when the code changes the result, and only then."""
    collective: ClassVar[bool] = False
    """Whether every process takes part in `build`."""
    resumable: ClassVar[bool] = False
    """Whether `build` goes on from the folder that a killed run left."""
    resources: ClassVar[tuple[str, ...]] = ()
    """What must be on this machine before its address can be known: data, model, eval, numbers, clip."""

    work: ClassVar[str] = ""
    """Whose memory a plan counts while it is made: drawing, training."""

    # -- what it stands on ---------------------------------------------------------------------------------------------

    def needs(self) -> "Sequence[Stage]":
        """Stages that must be there before its address can be known, because the address reads what they hold."""
        return ()

    def inputs(self) -> "Mapping[str, Stage]":
        """Stages whose digests are part of its address, by the name that they have there."""
        return {}

    def within(self) -> "Sequence[Stage]":
        """Stages that are made only on the way to it: not needed once it is there."""
        return ()

    # -- where it lies -------------------------------------------------------------------------------------------------

    @abstractmethod
    def hangs_on(self) -> Any:
        """All of the configuration that its address hangs on, as JSON values: known before anything is there."""

    @cached_property
    def key(self) -> str:
        """The same for stages with one address, also before that can be known."""
        before = {name: stage.key for name, stage in self.inputs().items()}
        return digest_of([self.name, self.hangs_on(), before, [stage.key for stage in self.needs()]])

    def address(self, run: Run) -> Address:
        """Known once the `needs` are there."""
        return Address({}, {})

    def wanted(self, run: Run) -> bool:
        """Whether a run makes it at all, as far as what is there tells: some are left out for want of pictures."""
        return True

    # -- how it is made ------------------------------------------------------------------------------------------------

    def build(self, run: Run, folder: Path) -> None:
        """Write into `folder` what it holds."""
        raise NotImplementedError

    def at(self, run: Run) -> Finished:
        """The stage in the run's store, whose `needs` and `inputs` are there: made unless the store has it."""
        digests, config = self.address(run)
        inputs = {**digests, **{name: made(stage, run).digest for name, stage in self.inputs().items()}}
        build = partial(self.build, run)
        return run.stage(self.name, inputs, config, self.version, build, self.collective, self.resumable)

    def ask(self, run: Run) -> None:
        """Ask the store for it as `at` does: a plan's store answers where it is and makes nothing."""
        self.at(run)

    # -- what a plan tells of it ---------------------------------------------------------------------------------------

    @property
    def title(self) -> str:
        """What a plan calls it where it stands within another stage."""
        return self.name

    def size(self, run: Run) -> Optional[int]:
        """Bytes that it will take, by those of its kind; None where nobody knows."""
        return history.size(run.store.root, self.name)

    def seconds(self, run: Run) -> Optional[float]:
        """What it will take, by the newest of its kind; None where nobody knows."""
        return history.seconds(run.store.root, self.name)


class NotMade(Exception):
    """Somebody reads a stage that is still to be made."""


class Unmade(Finished):
    """Where a stage would be, from a store that makes nothing: its digest is known, its content is not there."""

    def __getattribute__(self, name: str) -> Any:
        if name == "path":
            raise NotMade(self.name)
        return super().__getattribute__(name)


def walk(stage: Stage, passed: Optional[set[str]] = None) -> Iterator[Stage]:
    """Everything that a stage stands on, each once and after what it stands on itself, and last the stage.

    passed: keys of stages that are left out, with all that they stand on; those that are given are added.
    """
    passed = set() if passed is None else passed
    if stage.key in passed:
        return
    for before in (*stage.needs(), *stage.inputs().values()):
        yield from walk(before, passed)
    passed.add(stage.key)
    yield stage


def made(stage: Stage, run: Run) -> Finished:
    """A stage and all that it stands on, of which what the store lacks is made; looked for once a run.

    Every process has to call it.
    """
    for each in walk(stage, set(_known(run))):
        keep(each, run, each.at(run))
    return _known(run)[stage.key]


def is_there(stage: Stage, run: Run) -> bool:
    """Whether this run has found it in its store, and its content can be read; asks nobody."""
    found = _known(run).get(stage.key)
    return found is not None and not isinstance(found, Unmade)


def keep(stage: Stage, run: Run, finished: Finished) -> None:
    """Have `made` give this one from now on."""
    _known(run)[stage.key] = finished


def _known(run: Run) -> dict[str, Finished]:
    """What this run has found in its store, by key."""
    found: dict[str, Finished] = run.kept("stages", str(run.store.root), dict)
    return found
