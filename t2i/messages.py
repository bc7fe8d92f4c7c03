"""Errors of Hydra and OmegaConf, and unforeseen ones, as one sentence with an exit status."""

import errno
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from t2i.errors import ConfigError, LeftAlone, UserError, unknown
from t2i.keys import having, keys
from t2i.quoting import items, quoted

QUOTES = "'\""

EXPECTED = {
    "could not be converted to Integer": "an integer",
    "could not be converted to Float": "a number",
    "is not a valid bool": "true or false",
    "is not a ListConfig": "a list such as [a,b]",
    "to Dict": "a mapping such as {a: 1}",
    "Cannot merge DictConfig": "a mapping such as {a: 1}",
    "is not Optional": "a value other than null",
    "is not a subclass of": "a key below it",
}
"""What OmegaConf says about a value of the wrong type, and what belongs there."""


FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FULL_WORDS = (
    "No space left on device",
    "os error 28",
    "disk is full",
    "Disk quota exceeded",
    "file write failed",
    "iostream error",
)
LOCKED = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR}
LOCKED_WORDS = (
    "Read-only file system",
    "os error 30",
    "Permission denied",
    "readonly database",
    "unable to open database file",
)
ALONE_WORDS = (
    "gloo/transport/",  # by whatever of the system's words a connection to another process ends
    "Connection closed by peer",
    "Connection reset by peer [",
    "Timed out waiting",
    "NCCL communicator was aborted",
)
"""What the operating system, torch, safetensors, SQLite and gloo say."""


def explain(error: Exception, overrides: Sequence[str]) -> UserError:
    """A ConfigError (exit 2) for a wrong command line, a UserError (exit 1) for anything else that was not foreseen."""
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, choice = (error.missing_cfg_file or "").rpartition("/")
        options = sorted(option for option in error.options if not option.startswith("schema"))
        return unknown(f"{group}={choice} is unknown", choice, options, f"{group}=")
    if isinstance(error, OverrideParseException):
        return ConfigError(f"{error.override} cannot be read; {_as_typed(error.override or '')}")
    if isinstance(error, HydraException | OmegaConfBaseException):
        return _composition(error, overrides)
    if isinstance(error, PermissionError | NotADirectoryError) and error.filename:
        return _not_permitted(Path(os.fsdecode(error.filename)), error)
    if known := _of_the_machine(error):
        return known
    if isinstance(error, OSError) and (outputs := _outputs(overrides)) and _is_at(error, outputs):
        reason = error.strerror or type(error).__name__
        return UserError(f"outputs={outputs} cannot be written ({reason}); use outputs=<a folder of yours>")
    text = str(error).strip().splitlines()
    reason = f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
    return UserError(f"{reason} (add debug=true for the traceback)")


def _outputs(overrides: Sequence[str]) -> str:
    """The output folder that was typed, or nothing."""
    typed = [value for key, _, value in (item.partition("=") for item in overrides) if key.lstrip("+") == "outputs"]
    return typed[-1].strip(QUOTES) if typed else ""


def _is_at(error: OSError, folder: str) -> bool:
    """Whether it was a folder, one that it is in, or something in it that failed."""
    if not error.filename:
        return False
    failed, wanted = Path(os.fsdecode(error.filename)).absolute(), Path(folder).absolute()
    return failed == wanted or failed in wanted.parents or wanted in failed.parents


def _of_the_machine(error: BaseException) -> UserError | None:
    """Disks, memory and other processes fail by many names, those of libraries too, which tell them in their texts only."""
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    number, text = getattr(error, "errno", None), str(error)
    where = error.filename if isinstance(error, OSError) and error.filename else "a file"
    reason = (text.strip().splitlines() or [type(error).__name__])[0][:300]
    if number in FULL or any(words in text for words in FULL_WORDS):
        return UserError(
            f"the disk is full: {where} cannot be written ({reason}); free space there, or use outputs=<a folder on another "
            "disk>, and repeat the command: what is finished is kept"
        )
    if number in LOCKED or any(words in text for words in LOCKED_WORDS):
        return UserError(
            f"{where} cannot be written ({reason}); use outputs=<a folder of yours>, and track.uri=sqlite:///<file> for MLflow"
        )
    if type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError):
        return UserError(
            f"out of memory ({reason}); use launch.mixed_precision=fp16, a smaller batch_size or eval.batch_size, "
            "training.micro_batch=1 or clip.chunk=8"
        )
    if any(words in text for words in ALONE_WORDS):
        return LeftAlone(
            f"another process of this run ended while this one waited for it ({reason}); its own message says why"
        )
    return _of_the_machine(cause) if cause is not None else None


def _as_typed(override: str) -> str:
    """What to type for an argument that Hydra's grammar does not read: the exact argument where quoting makes it readable."""
    key, equals, value = override.partition("=")
    if value.startswith("[") and value.endswith("]"):
        parts = [quoted(item.strip().strip(QUOTES), '"') for item in items(value[1:-1])]
        value = f"[{','.join(parts)}]"
    elif equals and value and value[0] not in "[{":
        value = quoted(value.strip(QUOTES), '"')
    candidate = f"{key}={value}"
    try:
        OverridesParser.create().parse_override(candidate)
    except HydraException:
        candidate = override
    if candidate == override:
        return (
            "write key=value, close every bracket, and quote texts with commas or brackets, such as "
            "'prompts=[\"a cat, asleep\"]'"
        )
    return f"type {shlex.quote(candidate)}"


def _not_permitted(path: Path, error: OSError) -> UserError:
    """A file or folder that may not be read, or not be written."""
    if isinstance(error, PermissionError) and path.exists() and not os.access(path, os.R_OK):
        return UserError(
            f"{path} cannot be read ({error.strerror}); give yourself permission: chmod u+r {shlex.quote(str(path))}"
        )
    return UserError(f"{path} cannot be written ({error.strerror}); use outputs=<a folder of yours>")


def _composition(error: Exception, overrides: Sequence[str]) -> ConfigError:
    from t2i.config import SCHEMAS

    cause = error.__cause__ or (error.__context__ if isinstance(error.__context__, OmegaConfBaseException) else error)
    key: str = getattr(cause, "full_key", None) or ""
    message = str(cause).splitlines()[0]
    typed = next((item for item in reversed(overrides) if key and item.split("=")[0].lstrip("+") == key), key)
    typed = typed or " ".join(overrides) or "the configuration"  # OmegaConf does not always name the key
    missing = re.search(r"Key '([^']+)' (?:is )?not in", message)
    preset = re.match(r"In '([^']+)': \w+ raised while composing", str(error))
    if preset and key and preset[1].partition("/")[0] not in SCHEMAS:
        return _preset(preset[1].replace("/", "=", 1), key, message, overrides)
    if missing:
        name, valid = missing.group(1), _keys_beside(key, overrides)
        if key in keys() and keys()[key].options:
            return _elsewhere(key, overrides)
        if valid:
            return unknown(f"{key} is no key of the configuration", name, valid, key.removesuffix(name))
        typed_keys = [item for item in overrides if f"{key}.".startswith(f"{item.split('=')[0]}.")]
        whole = max(typed_keys, key=lambda item: len(item.split("=")[0]), default=f"{key}=...")
        return ConfigError(f"{key} is not there yet; to add it, put a plus before: +{whole}")
    empty = key in keys() and type(None) in keys()[key].kinds
    choices = re.search(r"Invalid value '.*', expected one of \[(.*)\]", message)
    if choices:
        return ConfigError(f"{typed} is not valid; use one of: {choices.group(1)}{', null' if empty else ''}")
    for words, kind in EXPECTED.items():
        if words in message:
            return ConfigError(f"{typed} is not valid; {kind}{', or null,' if empty else ''} is expected")
    return ConfigError(f"{typed}: {message}" if key else message)


def _elsewhere(key: str, overrides: Sequence[str]) -> ConfigError:
    """A key that other options of its group have."""
    group = key.partition(".")[0]
    chosen = next((item for item in reversed(overrides) if item.partition("=")[0] == group), f"the {group} of this run")
    others = [f"{group}={name}" for name in having(key)]
    return ConfigError(f"{key} is no key of {chosen}; leave {key} out, or choose what has it: {', '.join(others)}")


def _preset(preset: str, key: str, message: str, overrides: Sequence[str]) -> ConfigError:
    """A value in a preset (`experiment=...`) does not fit what the command line chose beside it."""
    group = key.partition(".")[0]
    chosen = next((item for item in reversed(overrides) if item.partition("=")[0] == group), "")
    if chosen and re.search(r"Key '[^']+' (?:is )?not in", message):
        return ConfigError(
            f"{preset} sets {key}, which {chosen} does not have; leave one of the two out, or use one of its keys: "
            f"{', '.join(_keys_beside(key, overrides))}"
        )
    return ConfigError(f"{preset} sets {key}, which is not valid there: {message}")


def _keys_beside(key: str, overrides: Sequence[str]) -> list[str]:
    """The valid keys at the level of `key`, from the configuration without the overrides of single keys; none where
    any key may stand.
    """
    from t2i.config import SCHEMAS, compose

    level: object = compose([item for item in overrides if item.split("=")[0] in SCHEMAS])
    for part in key.split(".")[:-1]:
        level = getattr(level, part, None)
    return sorted(field.name for field in fields(level)) if is_dataclass(level) else []
