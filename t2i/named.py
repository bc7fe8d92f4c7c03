"""What a composed command line names: keys that its task reads, and files that are there."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from t2i import arguments
from t2i.config import CONF, SCHEMAS, Config, Part, Task, as_override, composed, searched, spelt
from t2i.errors import ConfigError, UserError, unknown
from t2i.keys import keys
from t2i.messages import explain

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
    "run": (Task.export, Task.bundle, Task.curve),
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
FILES = {
    "image": "one picture, e.g. image=photo.png",
    "mask": "one picture, e.g. mask=mask.png",
    "recipe": "a picture that was made here, or its recipe",
    "prompts_file": "a text file with one prompt a line, a .json or a .csv",
}
"""Of these, the ones that must be a file, and what to give."""
LOCAL = {
    "dataset.subset": "the captions_subset.json of an earlier run",
    "dataset.karpathy": "a file of Karpathy's splits",
    "dataset.links": "folders that are there, or leave it out",
    "model.source": "a folder in diffusers' pipeline layout, a single-file .safetensors checkpoint or a hub id",
    "model.architecture": "a folder in diffusers' pipeline layout, or a name such as sd15",
    "eval.clip": "a folder with config.json and model.safetensors, or a hub id",
    "eval.inception": "the file of its weights",
    "eval.dinov2": "a folder with config.json and model.safetensors, or a hub id",
    "eval.pickscore": "a folder with config.json and model.safetensors, or a hub id",
    "eval.hpsv2": "HPS_v2.1_compressed.pt, a folder with it, or a hub id",
    "eval.vlm": "a folder with config.json and model.safetensors, or a hub id",
    "clip.source": "a folder with config.json and model.safetensors, a hub id, or random",
}
"""Keys that are looked at when they are typed, whichever task reads them, and what to give: a value that can be nothing but a
path, and is none, is a mistake. What a YAML names is looked at by who reads it."""
MADE = frozenset(["outputs", "sweeps.apply", "track.artifacts"])
"""Keys of paths that a run makes."""


def check_task(task: Task, overrides: Sequence[str]) -> None:
    """Raise ConfigError for a key that only other tasks read, and for a file that is not there."""
    for override in overrides:
        name, _, value = override.lstrip("+").partition("=")
        readers = READ_BY.get(name, (task,))
        if task not in readers and value not in ("null", "[]", ""):
            told = " or ".join(f"task={reader.value}" for reader in readers)
            raise ConfigError(f"task={task.value} does not read {name}; type {told} too, or leave {name} out")


def refuse(config: Config, overrides: Sequence[str], processes: int) -> None:
    """UserError for what no run could use, as far as the configuration and the files that it names tell."""
    check_task(config.task, overrides)
    for mistake in missing(config, overrides):
        raise mistake
    config.validate(processes)
    if config.task is Task.sweep or (config.task is Task.pipeline and Part.sweep in config.parts):
        _check_cells(config, overrides)


def _check_cells(config: Config, overrides: Sequence[str]) -> None:
    """ConfigError for a setting or an objective that no cell of a sweep could have, as if it had been typed: before data is
    prepared for it.
    """
    from t2i.sweeps import objectives  # metrics import numpy

    objectives.refuse(config)
    found, reference = config.sweeps.dimensions(), config.sweeps.reference
    always = [*config.sweeps.fixed.items(), *([("scheduler", reference)] if reference is not None else [])]
    always += [(each.key, value) for each in found if each.when is None for value in each.values or ()]
    for key, value in [*always, *((each.key, value) for each in found if each.when for value in each.values or ())]:
        if isinstance(value, str) or key not in SCHEMAS:  # YAML reads an option called no as false, which is told below
            arguments.check([as_override(key, value)], folders=searched())
    for key, value in always:
        known = keys().get(key.lstrip("+"))
        fits = isinstance(value, str) if key in SCHEMAS else known is None or known.text or known.takes(spelt(value))
        if fits:
            continue
        try:  # composing takes a while: only what does not look right is looked at closely
            composed(config, {key: value}, overrides)
        except UserError:
            raise
        except Exception as error:  # of Hydra and OmegaConf
            raise explain(error, [as_override(key, value)]) from error


def missing(config: Config, overrides: Sequence[str] = ()) -> Iterator[UserError]:
    """A sentence for every file or folder that the configuration names and that is not there; overrides: what was typed."""
    for name, meant in EXISTING.items():
        holder = _value(config, name)
        if holder is not None and not Path(holder).expanduser().exists():
            kind = UserError if name == "recipe" else ConfigError  # as for one that is there and holds none
            yield kind(
                f"{name}={holder} {meant}: it does not exist{_near(Path(holder))}; give the path of one that does"
            )
    for name, example in FILES.items():
        if (given := _value(config, name)) is not None and Path(given).expanduser().is_dir():
            yield ConfigError(f"{name}={given} is a folder; give {example}")
    for run in config.runs:
        if not Path(run).expanduser().is_dir():
            yield ConfigError(
                f"runs={run} is no finished run: there is no such folder{_near(Path(run))}; give folders such as "
                f"{Path(config.outputs) / '<date>' / '<time>_<task>_<id>'}"
            )

    if config.elsewhere is not None:
        yield from _no_data_set(config, config.elsewhere, overrides)
    typed = {override.lstrip("+").partition("=")[0] for override in overrides}
    if "dataset.root" in typed:
        config.dataset.validate_root()
    for name in sorted(typed & LOCAL.keys()):
        values = _value(config, name)
        for value in values if isinstance(values, list) else [values]:
            if value and _only_a_path(str(value), name) and not Path(value).expanduser().exists():
                yield ConfigError(f"{name}={value} does not exist{_near(Path(value))}; give {LOCAL[name]}")


def _no_data_set(config: Config, name: str, overrides: Sequence[str]) -> Iterator[ConfigError]:
    """Of an option of `dataset` that is not there; one of a folder that was added to the search is."""
    known = sorted(path.stem for path in (CONF / "dataset").glob("*.yaml"))
    if name not in known:
        try:
            composed(config, {"dataset": name}, overrides)
        except Exception:  # Hydra's own, or ours
            yield unknown(f"elsewhere={name} is no data set", name, known)


def _only_a_path(value: str, name: str) -> bool:
    """Whether a value can be no name on the hub."""
    return value.startswith(("/", "~", ".")) or name.startswith("dataset.") or name == "eval.inception"


def _value(config: Config, name: str) -> Any:
    """Of a key; None where the kind of its group has none."""
    holder: Any = config
    for part in name.split("."):
        holder = getattr(holder, part, None)
    return holder


def _near(path: Path) -> str:
    path = path.expanduser().absolute()
    if not path.parent.is_dir():
        return f" (nor does the folder {path.parent})"
    found = difflib.get_close_matches(path.name, [other.name for other in path.parent.iterdir()], n=1)
    return f" (did you mean {path.with_name(found[0])}?)" if found else f" in {path.parent}"
