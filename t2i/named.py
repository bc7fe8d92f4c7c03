"""What a composed command line names: keys that its task reads, and files that are there."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from t2i.config import Config, Task
from t2i.errors import ConfigError, UserError

READ_BY: Mapping[str, tuple[Task, ...]] = {
    "prompts": (Task.generate, Task.embed),
    "prompts_file": (Task.generate,),
    "wildcards": (Task.generate, Task.prompt),
    "images_per_prompt": (Task.generate,),
    "image": (Task.generate,),
    "strength": (Task.generate,),
    "mask": (Task.generate,),
    "recipe": (Task.generate,),
    "runs": (Task.compare, Task.report, Task.diff, Task.drift),
    "run": (Task.export, Task.bundle),
    "format": (Task.export,),
    "dtype": (Task.export,),
    "fused": (Task.export,),
    "bundle": (Task.rerun,),
}
"""Keys that say what some tasks are about: typed to another one they would be passed over."""
EXISTING = {
    "image": "is no picture",
    "mask": "is no picture",
    "recipe": "holds no recipe",
    "prompts_file": "holds no prompts",
    "wildcards": "is no folder of wildcards",
    "run": "is no run folder",
    "bundle": "is no bundle",
    "serve.credentials": "is not a file",
}
"""Keys whose value is a file or folder that must be there, and what they are not when it is missing."""


def check_task(task: Task, overrides: Sequence[str]) -> None:
    """Raise ConfigError for a key that only other tasks read, and for a file that is not there."""
    for override in overrides:
        name, _, value = override.lstrip("+").partition("=")
        readers = READ_BY.get(name, (task,))
        if task not in readers and value not in ("null", "[]", ""):
            told = " or ".join(f"task={reader.value}" for reader in readers)
            raise ConfigError(f"task={task.value} does not read {name}; type {told} too, or leave {name} out")


def missing(config: Config) -> Iterator[UserError]:
    """A sentence for every file or folder that the configuration names and that is not there."""
    for name, meant in EXISTING.items():
        holder: Any = config
        for part in name.split("."):
            holder = getattr(holder, part)
        if holder is not None and not Path(holder).expanduser().exists():
            kind = UserError if name == "recipe" else ConfigError  # as for one that is there and holds none
            yield kind(
                f"{name}={holder} {meant}: it does not exist{_near(Path(holder))}; give the path of one that does"
            )
    for run in config.runs:
        if not Path(run).expanduser().is_dir():
            yield ConfigError(
                f"runs={run} is no finished run: there is no such folder{_near(Path(run))}; give folders such as "
                f"{Path(config.outputs) / '<date>' / '<time>_<task>_<id>'}"
            )


def _near(path: Path) -> str:
    path = path.expanduser().absolute()
    if not path.parent.is_dir():
        return f" (nor does the folder {path.parent})"
    found = difflib.get_close_matches(path.name, [other.name for other in path.parent.iterdir()], n=1)
    return f" (did you mean {path.with_name(found[0])}?)" if found else f" in {path.parent}"
