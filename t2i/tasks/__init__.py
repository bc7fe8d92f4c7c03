"""The tasks: one module each, with a function of its name, and `stages`, what it wants of the store, where it wants something."""

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from t2i.config import Config, Task
from t2i.context import Run

if TYPE_CHECKING:
    from t2i.stages.goals import Goals


def function(task: Task) -> Callable[[Config, Run], dict[str, float]]:
    """What does the task; imported only now, so that nobody waits for the libraries of another one."""
    return cast(Callable[[Config, Run], dict[str, float]], getattr(_module(task), task.value))


def goals(config: Config, run: Run) -> "Goals":
    """What the configured task wants of the store; nothing for one that keeps nothing there."""
    stages: Callable[[Config, Run], Goals] = getattr(_module(config.task), "stages", lambda config, run: iter(()))
    return stages(config, run)


def _module(task: Task) -> object:
    return importlib.import_module(f"t2i.tasks.{task.value}")
