"""One Optuna study that several workers share: who takes which cell, who is still alive, what is done.

A worker that dies leaves a running trial behind. On the same machine its process is seen to be gone, on another one its
heartbeat stops; then the trial fails without an error of its own, and its cell is taken by somebody else.
"""

import contextlib
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

import optuna
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from t2i.store import digest_of
from t2i.sweeps.alive import beating, is_gone, me
from t2i.sweeps.config import Sampler, Sweep
from t2i.sweeps.naming import name_objectives, opened, related
from t2i.sweeps.space import Cell, cells, key_of, suggest

CELL, NUMBERS, ERROR, WORKER, DUPLICATE, RETRIES = "cell", "numbers", "error", "worker", "duplicate", "retries"
IDENTITY = "identity"
"""Names of the attributes of a trial."""
PICTURE = "artifacts:"
"""How Optuna's own attributes of a trial begin that name its artifacts."""
DONE = (TrialState.COMPLETE, TrialState.PRUNED)
LIVE = (TrialState.RUNNING, TrialState.WAITING)
# Lists as values of a setting, such as an interval of guidance, come back from every database as they went.
warnings.filterwarnings("ignore", message="Choices for a categorical distribution should be")
warnings.filterwarnings("ignore", message="Heartbeat of storage is supposed to be used with Study.optimize")


@dataclass(frozen=True)
class Shown:
    """What a dashboard tells of a study."""

    title: str = ""
    """Its name; of a study that is there already the name stays."""
    about: Mapping[str, str] = field(default_factory=dict)
    """User attributes: model, data and weights, with their digests."""
    artifacts: Optional[Path] = None
    """The folder of Optuna's file store; None: trials have no pictures."""
    picture: Callable[[Mapping[str, Any], Path], Optional[Path]] = lambda numbers, folder: None
    """From a cell's numbers to a picture of it, written into a folder; None: there is none here."""


class Study:
    """The cells of one sweep in a shared database."""

    def __init__(
        self,
        config: Sweep,
        storage: RDBStorage,
        name: str,
        seed: int = 0,
        identify: Callable[[Cell], str] = lambda cell: "",
        shown: Shown = Shown(),
    ) -> None:
        """Opens or creates the study of exactly this space and objectives, with what other spaces have measured.

        name: what the sweep is known by; identify: what a cell is known by beside its values; trials of a cell that was
        another one are not seen. shown: what a dashboard tells of it, which decides nothing.
        Optuna fixes the choices of a study with its first trial, so a space that grew is another study.
        """
        self.config, self.storage, self._identify, self._shown = config, storage, identify, shown
        self.dimensions = config.dimensions()
        objectives = {metric: direction.value for metric, direction in config.objectives.items()}
        own = f"{name}-{digest_of({'space': config.space, 'objectives': objectives, 'racing': config.racing})[:8]}"
        self.optuna = opened(
            storage,
            own,
            shown.title,
            directions=[optuna.study.StudyDirection[value.upper()] for value in objectives.values()],
            sampler=_sampler(config, seed),
            pruner=optuna.pruners.WilcoxonPruner() if config.racing else optuna.pruners.NopPruner(),
        )
        name_objectives(self.optuna, list(objectives))
        for fact, told in shown.about.items():
            if self.optuna.user_attrs.get(fact) != told:
                self.optuna.set_user_attr(fact, told)
        self.began = time.time()
        self._name, self._own = name, own
        if config.sampler is Sampler.grid and not config.racing:
            self._take_over()

    def agreed(self, fact: str) -> Any:
        """What `agree` kept for this sweep, whatever its space; None when nothing was."""
        for study in (self.optuna, *self._others()):
            if fact in study.user_attrs:
                return study.user_attrs[fact]
        return None

    def agree(self, fact: str, value: Any) -> Any:
        """Keep `value`, for everybody who works on this sweep now and later, unless another one was kept: what holds."""
        if (kept := self.agreed(fact)) is None:
            self.optuna.set_user_attr(fact, value)
            return value
        return kept

    def _others(self) -> Iterator[optuna.Study]:
        """The studies of the same sweep over other spaces."""
        return related(self.storage, self._name, self._own)

    # -- what is there -------------------------------------------------------------------------------------------------

    def trials(self) -> list[FrozenTrial]:
        """Every trial but the duplicates that two workers made at once, and those whose cell was another one."""
        every = self.optuna.get_trials(deepcopy=False)
        return [trial for trial in every if DUPLICATE not in trial.user_attrs and self._is_of_today(trial)]

    def _is_of_today(self, trial: FrozenTrial) -> bool:
        """Whether its cell hangs on the same files, options and code as it would now."""
        if CELL not in trial.user_attrs:  # a worker has just asked for it
            return True
        return str(trial.user_attrs.get(IDENTITY, "")) == self._identify(_cell(trial))

    def by_cell(self) -> dict[str, list[FrozenTrial]]:
        """The trials of each cell, oldest first; one that waits for its first worker has the parameters it will get."""
        found: dict[str, list[FrozenTrial]] = {}
        for trial in self.trials():
            found.setdefault(key_of(_cell(trial)), []).append(trial)
        return found

    def finished(self) -> dict[str, FrozenTrial]:
        """The trial that measured a cell, or stopped it in a race."""
        results = {key: [t for t in group if t.state in DONE] for key, group in self.by_cell().items()}
        return {key: group[0] for key, group in results.items() if group}

    def wanted(self) -> list[Cell]:
        """The cells of a grid."""
        return cells(self.config.space)[: self.config.trials]

    def missing(self) -> list[Cell]:
        """Cells of a grid that nobody has measured or is about to: new, or left by a worker that died."""
        found = self.by_cell()
        return [cell for cell in self.wanted() if self._free(found.get(key_of(cell), []))]

    def to_come(self) -> list[Cell]:
        """Cells of a grid that are not measured and that no living worker is at: missing ones, and those that wait."""
        self.bury_the_dead()
        found = self.by_cell()
        taken = (*DONE, TrialState.RUNNING)
        return [cell for cell in self.wanted() if self._free(found.get(key_of(cell), []), taken)]

    def _free(self, group: list[FrozenTrial], taken: tuple[TrialState, ...] = DONE + LIVE) -> bool:
        return not any(t.state in taken or self._failed_lately(t) for t in group)

    def _failed_lately(self, trial: FrozenTrial) -> bool:
        """Whether a cell failed since this worker began; a failure of before is worth another attempt."""
        return ERROR in trial.user_attrs and _ended(trial) >= self.began

    def left(self) -> bool:
        """Whether somebody is still at work on this sweep."""
        return any(trial.state in LIVE for trial in self.trials())

    # -- taking cells ----------------------------------------------------------------------------------------------------

    def take(self) -> Optional[tuple[optuna.Trial, Cell]]:
        """A cell of this worker's own; None when there is none to take now."""
        self.bury_the_dead()
        if self.config.sampler is Sampler.grid:
            for cell in self.missing():
                self.optuna.enqueue_trial(cell, user_attrs={CELL: cell, IDENTITY: self._identify(cell)})
        else:
            self._retry_the_dead()
        if not self._open():
            return None
        trial = self.optuna.ask()
        trial.set_user_attr(WORKER, me())
        cell = suggest(self.dimensions, trial)
        trial.set_user_attr(IDENTITY, self._identify(cell))
        trial.set_user_attr(CELL, cell)
        if self._superfluous(trial, cell):
            trial.set_user_attr(DUPLICATE, True)
            self.optuna.tell(trial, state=TrialState.FAIL)
            return self.take()
        return trial, cell

    def _open(self) -> bool:
        """Whether a cell waits in the queue, or a sampler may suggest another one."""
        trials = self.trials()
        if any(trial.state is TrialState.WAITING for trial in trials):
            return True
        counted = [trial for trial in trials if trial.state in DONE + LIVE or self._failed_lately(trial)]
        return self.config.sampler is not Sampler.grid and len(counted) < (self.config.trials or 0)

    def _superfluous(self, trial: optuna.Trial, cell: Cell) -> bool:
        """Whether an older trial has this cell of a grid, or enough older ones exist: two workers asked at once."""
        older = [t for t in self.trials() if t.number < trial.number and (t.state in DONE + LIVE)]
        if self.config.sampler is not Sampler.grid:
            return len(older) >= (self.config.trials or 0)
        return any(key_of(_cell(t)) == key_of(cell) for t in older) or key_of(cell) not in map(key_of, self.wanted())

    def _retry_the_dead(self) -> None:
        """Queue the values of trials that ended without a result or an error of their own, unless somebody did."""
        trials = self.trials()
        retried = {trial.user_attrs.get(RETRIES) for trial in trials}
        for trial in trials:
            if trial.state is TrialState.FAIL and ERROR not in trial.user_attrs and trial.number not in retried:
                facts = {CELL: trial.params, IDENTITY: self._identify(trial.params), RETRIES: trial.number}
                self.optuna.enqueue_trial(trial.params, user_attrs=facts)

    def bury_the_dead(self) -> None:
        """Fail the trials of workers that are gone: of this machine by their process, of others by their heartbeat."""
        optuna.storages.fail_stale_trials(self.optuna)
        for trial in self.optuna.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            if is_gone(trial.user_attrs.get(WORKER)):
                with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
                    self.storage.set_trial_state_values(trial._trial_id, state=TrialState.FAIL)

    def alive(self, trial: optuna.Trial) -> contextlib.AbstractContextManager[None]:
        """Inside, the database hears from this worker every `heartbeat` seconds."""
        return beating(self.storage, trial, self.config.heartbeat)

    def show(self, trial: optuna.Trial, numbers: Mapping[str, Any]) -> None:
        """Give a trial the picture of its cell, where there is one: Optuna's dashboard shows it beside the numbers."""
        if self._shown.artifacts is None:
            return
        self._shown.artifacts.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._shown.artifacts, prefix=".") as folder:
            picture = self._shown.picture(numbers, Path(folder))
            if picture is not None:
                store = FileSystemArtifactStore(self._shown.artifacts)
                upload_artifact(artifact_store=store, file_path=str(picture), study_or_trial=trial)

    # -- other studies -----------------------------------------------------------------------------------------------------

    def _take_over(self) -> None:
        """Copy what studies of other spaces have measured of these cells."""
        choices: dict[str, BaseDistribution] = {d.key: CategoricalDistribution(d.values or []) for d in self.dimensions}
        missing = {key_of(cell) for cell in self.missing()}
        for other in self._others():
            for trial in other.get_trials(deepcopy=False):
                cell, numbers = _cell(trial), trial.user_attrs.get(NUMBERS, {})
                values = [numbers.get(metric) for metric in self.config.objectives]
                whole = trial.state is TrialState.COMPLETE and None not in values
                if whole and key_of(cell) in missing and self._is_of_today(trial):
                    missing.remove(key_of(cell))
                    copy = optuna.trial.create_trial(
                        params=cell,
                        distributions={key: choices[key] for key in cell},
                        values=values,
                        user_attrs=trial.user_attrs,
                        system_attrs={k: v for k, v in trial.system_attrs.items() if k.startswith(PICTURE)},
                    )
                    self.optuna.add_trial(copy)


def _cell(trial: FrozenTrial) -> Cell:
    cell: Cell = trial.user_attrs.get(CELL) or trial.params
    return cell


def _ended(trial: FrozenTrial) -> float:
    return trial.datetime_complete.timestamp() if trial.datetime_complete else 0.0


def _sampler(config: Sweep, seed: int) -> BaseSampler:
    samplers: Mapping[Sampler, Any] = {
        Sampler.grid: optuna.samplers.RandomSampler,  # the queue decides
        Sampler.random: optuna.samplers.RandomSampler,
        Sampler.tpe: optuna.samplers.TPESampler,
        Sampler.cmaes: optuna.samplers.CmaEsSampler,
        Sampler.nsga2: optuna.samplers.NSGAIISampler,
    }
    # Cells that others are at work on count as bad ones, so that two workers do not try the same.
    more = {"constant_liar": True} if config.sampler is Sampler.tpe else {}
    sampler: BaseSampler = samplers[config.sampler](seed=seed, **more)
    return sampler
