"""Errors of Hydra and OmegaConf, and unforeseen ones, as one sentence with an exit status."""

import difflib
import re
from collections.abc import Sequence

from hydra.errors import HydraException, MissingConfigException
from omegaconf.errors import OmegaConfBaseException

from t2i.errors import ConfigError, UserError


def explain(error: Exception, overrides: Sequence[str]) -> UserError:
    """A ConfigError (exit 2) for a wrong command line, a UserError (exit 1) for anything else that was not foreseen."""
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, choice = (error.missing_cfg_file or "").rpartition("/")
        return ConfigError(f"{group}={choice} is unknown; use one of: {', '.join(_visible(error.options))}")
    if isinstance(error, HydraException | OmegaConfBaseException):
        return ConfigError(_composition(error, overrides))
    text = str(error).strip().splitlines()
    reason = f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
    return UserError(f"{reason} (add debug=true for the traceback)")


def _visible(options: Sequence[str]) -> list[str]:
    return sorted(option for option in options if not option.startswith("schema"))


def _composition(error: Exception, overrides: Sequence[str]) -> str:
    cause = error.__cause__ or error
    key = getattr(cause, "full_key", None) or ""
    message = str(cause).splitlines()[0]
    unknown = re.search(r"Key '([^']+)' (?:is )?not in", message)
    if unknown:
        name, valid = unknown.group(1), _keys_beside(key, overrides)
        if valid is None:
            return f"{key} is not set yet; put a + before its override to add it"
        close = difflib.get_close_matches(name, valid, n=1)
        hint = f"; did you mean {key.removesuffix(name)}{close[0]}?" if close else ""
        return f"{key or name} is no key of the configuration{hint} Valid keys: {', '.join(valid)}"
    choices = re.search(r"Invalid value '(.*)', expected one of \[(.*)\]", message)
    if choices:
        return f"{key}={choices.group(1)} is not valid; use one of: {choices.group(2)}"
    return f"{key}: {message}" if key else message


def _keys_beside(key: str, overrides: Sequence[str]) -> list[str] | None:
    """The valid keys at the level of `key`, without the overrides of single keys; None in a table of free keys."""
    from t2i.config import SCHEMAS, compose

    groups = [item for item in overrides if item.split("=")[0] in SCHEMAS]
    config = compose(groups)
    for part in key.split(".")[:-1]:
        config = getattr(config, part)
        if isinstance(config, dict):
            return None
    return sorted(vars(config))
