"""Errors of Hydra and OmegaConf, and unforeseen ones, as one sentence with an exit status."""

import re
from collections.abc import Sequence
from dataclasses import fields, is_dataclass

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from t2i.errors import ConfigError, UserError, unknown

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


def explain(error: Exception, overrides: Sequence[str]) -> UserError:
    """A ConfigError (exit 2) for a wrong command line, a UserError (exit 1) for anything else that was not foreseen."""
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, choice = (error.missing_cfg_file or "").rpartition("/")
        options = sorted(option for option in error.options if not option.startswith("schema"))
        return unknown(f"{group}={choice} is unknown", choice, options, f"{group}=")
    if isinstance(error, OverrideParseException):
        return ConfigError(
            f"{error.override} cannot be read; write key=value, close every bracket, and quote texts with commas or "
            "brackets, such as 'prompts=[\"a cat, asleep\"]'"
        )
    if isinstance(error, HydraException | OmegaConfBaseException):
        return _composition(error, overrides)
    if isinstance(error, PermissionError | NotADirectoryError) and error.filename:
        return UserError(f"{error.filename} cannot be written ({error.strerror}); use outputs=<a folder of yours>")
    text = str(error).strip().splitlines()
    reason = f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
    return UserError(f"{reason} (add debug=true for the traceback)")


def _composition(error: Exception, overrides: Sequence[str]) -> ConfigError:
    cause = error.__cause__ or error
    key: str = getattr(cause, "full_key", None) or ""
    message = str(cause).splitlines()[0]
    typed = next((item for item in reversed(overrides) if key and item.split("=")[0].lstrip("+") == key), key)
    missing = re.search(r"Key '([^']+)' (?:is )?not in", message)
    if missing:
        name, valid = missing.group(1), _keys_beside(key, overrides)
        if valid:
            return unknown(f"{key} is no key of the configuration", name, valid, key.removesuffix(name))
        typed_keys = [item for item in overrides if f"{key}.".startswith(f"{item.split('=')[0]}.")]
        whole = max(typed_keys, key=lambda item: len(item.split("=")[0]), default=f"{key}=...")
        return ConfigError(f"{key} is not there yet; to add it, put a plus before: +{whole}")
    choices = re.search(r"Invalid value '.*', expected one of \[(.*)\]", message)
    if choices:
        return ConfigError(f"{typed} is not valid; use one of: {choices.group(1)}")
    for words, kind in EXPECTED.items():
        if words in message:
            return ConfigError(f"{typed} is not valid; {kind} is expected")
    return ConfigError(f"{typed}: {message}" if key else message)


def _keys_beside(key: str, overrides: Sequence[str]) -> list[str]:
    """The valid keys at the level of `key`, from the configuration without the overrides of single keys; none where
    any key may stand.
    """
    from t2i.config import SCHEMAS, compose

    level: object = compose([item for item in overrides if item.split("=")[0] in SCHEMAS])
    for part in key.split(".")[:-1]:
        level = getattr(level, part, None)
    return sorted(field.name for field in fields(level)) if is_dataclass(level) else []
