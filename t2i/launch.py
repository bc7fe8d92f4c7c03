"""Where a run happens: in this process, or in several under `accelerate launch`; and what its exit status is.

0 done, 1 the run failed, 2 the command line or the configuration is wrong, 128 + signal after SIGTERM or SIGINT.
"""

import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from t2i import allocator, arguments, collector, half, multirun, named, record, recording, threads, workers
from t2i.config import Config, Precision, Task, Then, as_dict, help_text, restore, typed
from t2i.context import FROZEN, Run
from t2i.errors import ConfigError, LeftAlone, UserError
from t2i.headline import UNTRACKED, announced, name_of, params_of
from t2i.interruption import Interrupted
from t2i.messages import explain
from t2i.places import COMMAND
from t2i.processes import COLLECTIVE, Processes, detail, device_type, rank, say, world_size
from t2i.quoting import verbatim
from t2i.record import environment
from t2i.stages import figure
from t2i.store import Store, write_json
from t2i.tasks import function
from t2i.tracker import Tracker

PARENT = "T2I_PARENT_RUN"
PATIENCE = 2.0
"""Seconds that another process than the main one waits after a mistake: torch's launcher stops all processes when the first
has ended, and the main one, which mostly finds the same mistake, shall have told it. Whoever is still there tells it."""
log = logging.getLogger("t2i")


@dataclass(frozen=True)
class Job:
    """What every process of a run must agree on."""

    config: Config
    folder: Path
    overrides: list[str]

    def dump(self) -> dict[str, Any]:
        """As JSON values."""
        return {"config": as_dict(self.config), "folder": str(self.folder), "overrides": self.overrides}

    @classmethod
    def load(cls, values: dict[str, Any]) -> "Job":
        """The inverse of `dump`."""
        return cls(restore(values["config"]), Path(values["folder"]), values["overrides"])


_parents: list[Tracker] = []
"""The MLflow run that holds the runs of a multirun together, while it lasts."""
_launching: list[bool] = []
"""Not empty in a process that was started from the command line; jobs that Hydra sent elsewhere have no end to wait for."""
_cells: list[multirun.Cell] = []
"""The runs of a multirun that have ended, in their order."""
_statuses: list[int] = []
"""Exit statuses of the jobs of this process: Hydra would print its own words about an exception that reached it."""


def guard(compose: Callable[[], None]) -> int:
    """Run the program and return its exit status; a mistake of the user's is one sentence on standard error.

    One of several processes ends here.
    """
    workers.follow()
    threads.settle()
    allocator.keep_freed()
    collector.collect_seldom()
    _launching.append(True)
    status = _guarded(compose)
    if len(_cells) > 1:
        print("\n" + "\n".join(multirun.table_of(_cells)), flush=True)
    _cells.clear()
    while _parents:
        ending = "FINISHED" if status == 0 else "KILLED" if status > 128 else "FAILED"
        _parents.pop().close(ending)
    _launching.clear()
    if world_size() > 1:
        workers.leave(status)
    return status


def _guarded(compose: Callable[[], None]) -> int:
    _statuses.clear()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its errors over instead of printing and exiting
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it warns of the missing torchvision at import
    try:
        sys.argv[1:] = multirun.flag_first(arguments.flags_first(sys.argv[1:]), world_size())
        several = sys.argv[1:2] in (["-m"], ["--multirun"])
        sys.argv[1:] = arguments.or_demo(verbatim(sys.argv[1:], several))
        workers.refuse_sharding()
        if {"--help", "-h"} & set(sys.argv[1:]):
            print(help_text(), end="")
            return 0
        if FROZEN in os.environ:
            work(Job.load(json.loads(Path(os.environ[FROZEN]).read_text(encoding="utf-8"))))
        elif world_size() > 1 and rank() > 0:
            work(_receive())
        else:
            arguments.check(sys.argv[1:], several)
            compose()
    except Interrupted as interruption:
        return interruption.status
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        _statuses.append(_report(error))
    return max(_statuses, default=0)


def _report(error: Exception) -> int:
    """Print what went wrong as one sentence and return the exit status."""
    if any(argument.lower() == "debug=true" for argument in sys.argv):
        traceback.print_exception(error)
    known = error if isinstance(error, UserError) else explain(error, sys.argv[1:])
    if rank() > 0:
        time.sleep(PATIENCE)
    if FROZEN not in os.environ:  # otherwise the process that started this one says it
        print(f"t2i: {known}", file=sys.stderr, flush=True)
    return known.status


def start(cfg: DictConfig) -> None:
    """The composed configuration becomes a job. In a multirun a failed job is reported and the others go on."""
    hydra_config = HydraConfig.get()
    if hydra_config.mode is RunMode.MULTIRUN and _launching:
        settings = multirun.settings(list(hydra_config.overrides.task), sys.argv[1:])
        _cells.append(multirun.Cell(settings, Path(hydra_config.runtime.output_dir)))
        print(f"{chr(10) if len(_cells) > 1 else ''}run {len(_cells)}: {' '.join(settings)}", flush=True)
    try:
        _start(cfg)
    except Exception as error:
        if "SUBMITIT_EXECUTOR" in os.environ:  # a process of a cluster: Hydra carries the error to the one that waits
            raise
        _statuses.append(_report(error))


def _start(cfg: DictConfig) -> None:
    """Run the job here, or in several processes."""
    hydra_config, config = HydraConfig.get(), typed(cfg)
    several = hydra_config.mode is RunMode.MULTIRUN
    config.outputs = str(Path(config.outputs).expanduser().absolute())
    if config.launch.mixed_precision is None:
        config.launch.mixed_precision = Precision(os.environ.get("ACCELERATE_MIXED_PRECISION", "no"))
    half.settle(config)
    overrides = list(hydra_config.overrides.task)
    if config.task is Task.sweep:
        config.sweeps.give_way(overrides)
    folder = Path(hydra_config.runtime.output_dir).absolute()
    try:
        named.refuse(config, overrides, world_size() if world_size() > 1 else config.launch.processes)
    except UserError:
        record.remove_empty(folder)
        raise
    if config.plan:
        _plan(config, folder, overrides)
        return
    if config.task not in UNTRACKED:
        recording.make_places(config.track)
    job = Job(config, folder, overrides)
    if several and not _parents and PARENT not in os.environ and _launching and config.task not in UNTRACKED:
        _parents.append(recording.start(config.track, f"multirun of task={config.task.value} on {config.dataset.name}"))
    if world_size() > 1:
        _send(job)
        work(job)
    elif config.launch.processes > 1:
        _spawn(job)
    else:
        work(job)
        if config.task is Task.pipeline and config.then is not None and not several and sys.stdin.isatty():
            work(_following(job, config.then))


def _following(job: Job, then: Then) -> Job:
    """The page or the line for the weights that a pipeline has just made, as a run of its own."""
    made = any((job.folder / name).exists() for name in ("weights", "clip"))
    config = replace(job.config, task=Task(then.value))
    if made:
        config.weights, config.weights_scale = str(job.folder), []
    return Job(config, job.folder.with_name(job.folder.name.replace("pipeline", then.value)), job.overrides)


def _plan(config: Config, folder: Path, overrides: list[str]) -> None:
    """Print what the job would do; the run folder that Hydra made goes again."""
    from t2i.plan.plan import plan
    from t2i.tasks import goals

    if world_size() > 1:
        raise ConfigError(f"plan=true looks from one process: type {COMMAND}, with launch.processes=<GPUs> for several")
    try:
        plan(config, folder, overrides, print, goals)
    finally:
        record.remove_empty(folder)


def work(job: Job) -> dict[str, float]:
    """Run the task in this process and leave its record in the run folder and in the tracker."""
    config, folder = job.config, job.folder
    main = rank() == 0
    precision = config.launch.mixed_precision or Precision.no
    processes, store = Processes(precision.value, config.launch.shard), Store(Path(config.outputs) / "store", main)
    run = Run(folder, store, overrides=job.overrides, processes=processes)
    store.barrier, store.announce, store.tell, store.asked = processes.barrier, say, processes.tell, run.asked
    store.note = detail
    run.catch_signals()
    handlers = record.log_to(folder, brief=config.task is Task.pipeline) if main else []
    status = "FAILED"
    ending: dict[str, Any] = {}
    try:
        if main:
            folder.mkdir(parents=True, exist_ok=True)
            record.configured(folder, config)
            state = environment()
            write_json(folder / "environment.json", {**state, "shard": processes.shard, "overrides": job.overrides})
            run.say(announced(config))  # torch takes seconds to import
            if line := half.advice(config, job.overrides):
                run.say(line)
            if config.task not in UNTRACKED:
                tags = record.sources(state, job.overrides)
                parent = _parents[0] if _parents else os.environ.get(PARENT)
                run.tracker = recording.start(config.track, name_of(config), parent, tags)
                run.tracker.params(params_of(config))
        with figure.keeping(config, run):
            metrics = function(config.task)(config, run)
        if main:
            record.finished(config, run, metrics)
        status = "FINISHED"
        return metrics
    except Interrupted as interruption:
        status = "KILLED"
        record.interrupted(config, run, interruption)
        raise
    except Exception as error:
        log.debug("failed", exc_info=True)  # the whole story goes to run.log
        known = error if isinstance(error, UserError) else explain(error, job.overrides)
        ending = {"error": str(known), "exit": known.status, "alone": isinstance(known, LeftAlone)}
        raise
    finally:
        try:
            record.ended(run, {"status": status, **ending})
        except Exception as error:  # e.g. the disk that was full for the run is full for its record
            if status == "FINISHED":
                raise
            log.warning("the record of how the run ended is not complete (%s)", explain(error, job.overrides))
        for handler in handlers:
            log.removeHandler(handler)
            handler.close()


def _spawn(job: Job) -> None:
    """Run the same script in several processes; they read the frozen configuration that was composed here."""
    job.folder.mkdir(parents=True, exist_ok=True)
    frozen = job.folder / "frozen.json"
    write_json(frozen, job.dump())
    if _parents:
        os.environ[PARENT] = _parents[0].run_id or ""
    precision = job.config.launch.mixed_precision or Precision.no
    workers.run(job.folder, frozen, job.config.launch.processes, precision.value)


def _send(job: Job) -> None:
    """The main worker tells the others the job: they never compose, so ranks cannot disagree."""
    _broadcast([job.dump()])


def _receive() -> Job:
    (values,) = _broadcast([None])
    if values is None:
        raise UserError("this process got no job from the main one; start it with `accelerate launch` and RANK unset")
    return Job.load(values)


def _broadcast(values: list[Any]) -> list[Any]:
    """What the main process put into its list, in every process."""
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    # Without being told so, PartialState takes a machine without GPUs for a single process.
    PartialState(cpu=device_type() == "cpu", timeout=COLLECTIVE)
    received: list[Any] = broadcast_object_list(values)
    return received
