"""Mistakes of a command line, told before Hydra reads it and in the words of who typed it."""

import difflib
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from t2i.config import SCHEMAS, Task
from t2i.errors import ConfigError, unknown
from t2i.keys import Key, keys, options, sections
from t2i.quoting import PATHS, SWEEP_WORDS, TEXT_LISTS, items, quoted

FLAGS = {
    **dict.fromkeys(
        "--help -h --hydra-help --version --resolve --run -r --multirun -m --shell-completion -sc".split(), 0
    ),
    **dict.fromkeys("--cfg -c --package -p --config-path -cp --config-name -cn --config-dir -cd --info -i".split(), 1),
    "--experimental-rerun": 1,
}
"""What begins with a dash and is Hydra's, with the number of words behind it."""
MOST = 6
"""Keys of one name that a sentence lists."""
ASIDE = ("outputs", "plan", "debug", "track", "hydra")
"""Keys that say nothing of what is done."""
DEMO = "experiment=pip"


def or_demo(arguments: Sequence[str]) -> list[str]:
    """The arguments; where none of them says what is to be done, with the experiment that shows what this is."""
    says = any(word.startswith("-") or word.partition("=")[0].split(".")[0] not in ASIDE for word in arguments)
    return [*arguments] if says else [*arguments, DEMO]


def check(arguments: Sequence[str], multirun: bool = False, folders: Sequence[Path] = ()) -> None:
    """Raise ConfigError for the first argument that is no `key=value`, or whose key or value cannot be meant so.

    folders: with options of groups beside ours, besides those that the arguments add.
    """
    words = list(_words(arguments))
    folders = [*folders, *_added(arguments)]
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"{folder} is no folder; give one with options, such as {folder}/scheduler/<name>.yaml")
    for word, after in words:
        if "=" not in word and not word.startswith("~"):
            raise _bare(word, after)
        if not word.startswith("~"):
            _argument(word, multirun, folders)
    if multirun and not any(
        _several(word.partition("=")[2]) or word.lstrip("+").startswith("hydra") for word, _ in words
    ):
        raise ConfigError(
            "-m makes a run for every combination of values, and no argument has several; type e.g. "
            "-m scheduler=ddim,euler, or leave -m out"
        )


def _added(arguments: Sequence[str]) -> Iterator[Path]:
    """The folders that Hydra shall look for options in, beside ours: --config-dir and hydra.searchpath."""
    for argument, after in zip(arguments, [*arguments[1:], ""], strict=False):
        name, equals, value = argument.partition("=")
        if name in ("--config-dir", "-cd"):
            yield Path(value if equals else after)
        elif name.lstrip("+") == "hydra.searchpath":
            named = (item.strip().strip("'\"") for item in items(value.strip("[]")))
            yield from (Path(item.removeprefix("file://")) for item in named if not item.startswith("pkg://"))


def _words(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The arguments that are no flags, each with the one behind it; ConfigError for a flag that there is not."""
    skip = 0
    for place, argument in enumerate(arguments):
        after = next((word for word in arguments[place + 1 :] if word not in ("=", ":")), "")
        if skip:
            skip -= 1
        elif _flag(argument, after):
            skip = _behind(argument, after)
        elif argument.startswith("-") and argument != "-":
            raise _dashed(argument, after)
        else:
            yield argument, after


def flags_first(arguments: Sequence[str]) -> list[str]:
    """The arguments with Hydra's flags, and the words that belong to them, before the rest: of what follows a flag between
    overrides its parser says that it is unrecognised.
    """
    flags, rest, skip = list[str](), list[str](), 0
    for argument, after in zip(arguments, [*arguments[1:], ""], strict=False):
        own = skip > 0 or _flag(argument, after)
        (flags if own else rest).append(argument)
        skip = skip - 1 if skip else _behind(argument, after) if own else 0
    return [*flags, *rest]


def _behind(flag: str, after: str) -> int:
    """How many words behind a flag belong to it."""
    return FLAGS[flag.partition("=")[0]] * ("=" not in flag) * ("=" not in after)


def _flag(argument: str, after: str) -> bool:
    """Whether an argument is one of Hydra's flags: --cfg and --run are names of ours, too."""
    name, equals, value = argument.partition("=")
    if name not in FLAGS or (equals and not FLAGS[name]):
        return False
    if not FLAGS[name] and _known(name.lstrip("-")) and after and "=" not in after and not after.startswith("-"):
        return False
    return name != "--cfg" or (value if equals else after) in ("job", "hydra", "all")


def _dashed(argument: str, after: str) -> ConfigError:
    name, equals, value = argument.lstrip("-").partition("=")
    name = name if _known(name) else name.replace("-", "_")
    if not equals and _known(name) and after and not after.startswith("-") and "=" not in after:
        equals, value, argument = "=", after, f"{argument} {after}"
    if equals or _known(name):
        return ConfigError(f"{argument}: keys have no dashes before them; type {name}={value or '...'}")
    return unknown(f"{argument} is no flag", argument, [flag for flag in FLAGS if flag.startswith("--")])


def _bare(word: str, after: str) -> ConfigError:
    """A word without `=`."""
    follows = after.lstrip("=: ") if "=" not in after.lstrip("=") and not after.startswith("-") else ""
    name, colon, value = word.partition(":")
    if colon and _known(name):
        return ConfigError(f"{word} is no key=value; type {name}={value or follows or '...'}")
    if word in Task.__members__ and not follows:
        return ConfigError(f"{word} is no key=value; type task={word}")
    if _known(word):
        return ConfigError(f"{word} has no value; type {word}={follows or '...'}, without blanks around the =")
    groups = [f"{group}={word}" for group, names in options().items() if word in names]
    groups = groups or [f"task={task}" for task in difflib.get_close_matches(word, [task.value for task in Task], n=1)]
    meant = f"; type {' or '.join(groups)}" if groups else "; write key=value, and texts with blanks in quotes"
    return ConfigError(f"{word} is no key=value{meant}")


def _known(name: str) -> bool:
    return name in keys() or name in options() or name in sections()


def _argument(argument: str, multirun: bool, folders: Sequence[Path]) -> None:
    name, _, value = argument.lstrip("+").partition("=")
    if name.startswith(("hydra.", "hydra/")) or "@" in name or value.startswith("${"):
        return
    if value.startswith("=") and not _known(f"{name}="):
        raise ConfigError(f"{argument} has more than one =; type {name}={value.lstrip('=')}")
    if name.strip() != name and _known(name.strip()):
        raise ConfigError(f"{argument} has blanks around the =; type {name.strip()}={value.strip()}")
    if not _known(name):
        if any(name.startswith(f"{key.name}.") for key in keys().values() if key.mapping or key.kind is Any):
            return
        raise _no_key(name, value)
    if name in sections() and not value.startswith("{"):
        raise _not_below(name, value, f"{name} has keys below it")
    if name in PATHS and not value.strip("'\" "):
        raise ConfigError(f"{name} is empty; type {name}=<path>, or leave it out")
    several = _several(value)
    if name in keys() and keys()[name].several and value[:1] != "[" and value not in ("", "null") and not _swept(value):
        raise _no_list(name, value)
    if several and not multirun:
        raise _for_multirun(name, value)
    if name in options():
        for one in items(value) if several and not _swept(value) else [value]:
            _option(name, one.strip(), folders)


def _no_key(name: str, value: str) -> ConfigError:
    """A key that there is not: where its name is one below another, or something like it."""
    last = name.rpartition(".")[2]
    own = [key for key in keys() if key == last or key.endswith(f".{last}")]
    if own:
        parents = difflib.get_close_matches(
            name.rpartition(".")[0], [key.rpartition(".")[0] for key in own], n=1, cutoff=0.75
        )
        near = [f"{parents[0]}.{last}"] if parents else own
        typed = [f"{key}={value}" for key in sorted(near, key=_first)[:MOST]]
        return ConfigError(f"{name} is no key of the configuration; type {' or '.join(typed)}")
    above = name.rpartition(".")[0]
    beside = [key for key in keys() if key.startswith(f"{above}.")] if above else []
    if beside:
        valid = sorted({key.removeprefix(f"{above}.") for key in beside})
        return unknown(f"{name} is no key of the configuration", last, valid, f"{above}.")
    everything = [*keys(), *options()]
    near = (
        difflib.get_close_matches(name, everything, n=1)
        or [key for key in everything if difflib.get_close_matches(last, [key.rpartition(".")[2]], cutoff=0.75)][:1]
    )
    meant = f" (did you mean {near[0]}?)" if near else ""
    top = sorted({key.partition(".")[0] for key in everything})
    return ConfigError(
        f"{name} is no key of the configuration{meant}; use one of: {', '.join(top)}, or a key below one"
    )


def _first(key: str) -> tuple[int, str]:
    """What is meant most often comes first: training, then sampling, then what is about one of them."""
    order = ("training", "scheduler", "cfg", "strategy", "model", "dataset", "eval")
    group = key.partition(".")[0]
    return order.index(group) if group in order else len(order), key


def _option(group: str, value: str, folders: Sequence[Path]) -> None:
    """ConfigError where a group is given something else than one of its files, ours or in `folders`."""
    plain = value.strip("'\"")
    names = [*options()[group], *(path.stem for folder in folders for path in sorted((folder / group).glob("*.yaml")))]
    if plain in names or value in ("null", "") or value.startswith(("${", "???")):
        return
    if value.startswith("[") and not value.endswith("]"):
        return  # what cannot be read is told as such
    stem = Path(plain).stem
    alike = [name for name in names if name.lower() in (plain.lower(), stem.lower())]
    if alike:
        raise ConfigError(f"{group}={value} is unknown; type {group}={alike[0]}")
    if value.startswith("["):
        several = [item.strip() for item in items(value[1:-1])]
        if group == "experiment":  # presets can stand on each other
            for one in several:
                _option(group, one, folders)
            return
        inner = ",".join(several)
        raise ConfigError(f"{group}={value} are several; for a run each type -m {group}={inner}")
    near = difflib.get_close_matches(plain, names, n=1)
    if near or group == "experiment":
        raise unknown(f"{group}={value} is unknown", plain, names, f"{group}=")
    raise _not_below(group, value, f"{group} is one of: {', '.join(names)}")


def _not_below(name: str, value: str, what: str) -> ConfigError:
    """A value that was given to what has keys: the keys that would take it."""
    inner = re.fullmatch(r"\{\s*(\w+)\s*:\s*(.*)\}", value)
    if inner and f"{name}.{inner[1]}" in keys():
        return ConfigError(f"{name}={value} is not valid; {what}; type {name}.{inner[1]}={inner[2].strip()}")
    below = [
        key for key in keys().values() if key.name.startswith(f"{name}.") and key.name.count(".") == name.count(".") + 1
    ]
    taking = [f"{key.name}={value}" for key in below if key.takes(value) and _usable(key, value)][:3]
    if taking:
        return ConfigError(f"{name}={value} is not valid; {what}; for one of its keys type {' or '.join(taking)}")
    if name in options():
        return ConfigError(f"{name}={value} is unknown; use one of: {', '.join(options()[name])}")
    return ConfigError(
        f"{name}={value} is not valid; {what}: {', '.join(key.name.removeprefix(f'{name}.') for key in below)}; type "
        f"{name}.<key>=<value>"
    )


def _usable(key: Key, value: str) -> bool:
    """Whether the group would not refuse the value by itself."""
    group, _, field = key.name.partition(".")
    if group not in SCHEMAS or group == "dataset":
        return True
    schema = next(schema for schema in SCHEMAS[group].values() if field in {each.name for each in fields(schema)})
    numbers = [kind for kind in key.kinds if kind in (int, float)]
    if not numbers:
        return True
    part = schema()
    setattr(part, field, numbers[0](float(value)))
    try:
        part.validate()
    except ConfigError as error:
        return not str(error).startswith(f"{key.name}=")
    return True


def _several(value: str) -> bool:
    """Whether a value asks for several runs."""
    return _swept(value) or len(items(value)) > 1


def _swept(value: str) -> bool:
    return bool(SWEEP_WORDS.match(value))


def _for_multirun(name: str, value: str) -> ConfigError:
    """Values with commas between them, without -m."""
    key = keys().get(name)
    one = items(value)[0].strip() if not _swept(value) else "<value>"
    sentence = f"{name}={value} are several values; for a run each type -m {name}={value}, for one run {name}={one}"
    if key is not None and key.text and not _swept(value):
        sentence += f", for a text with commas {shlex.quote(f'{name}={quoted(value)}')}"
    return ConfigError(sentence)


def _no_list(name: str, value: str) -> ConfigError:
    """One value, or several with commas between them, for a key that takes a list."""
    plain = value[1:-1] if len(items(value)) == 1 and value[0] == value[-1] and value[0] in "'\"" else value
    parts = [plain] if name in TEXT_LISTS else [part.strip() for part in items(plain)]
    texts = [part if re.fullmatch(r"[\w./:+-]+", part) else quoted(part, '"') for part in parts]
    typed = f"{name}=[{','.join(texts)}]"
    return ConfigError(f"{name}={value} is no list; type {shlex.quote(typed)}")
