"""Mistakes of the user's doing: `run.py` prints them as one sentence, without a traceback."""

import difflib
from collections.abc import Sequence


class UserError(Exception):
    """The run cannot go on: one sentence that says what was found, what was expected and what to type."""

    status = 1


class ConfigError(UserError):
    """The command line or the configuration is wrong: the sentence names the key and the valid values."""

    status = 2


class LeftAlone(UserError):
    """Another process of the run is gone while this one waited for it: that one knows why."""


def unknown(what: str, name: str, valid: Sequence[str], prefix: str = "") -> ConfigError:
    """`name` is none of the `valid` ones; what: how the sentence begins. prefix: what comes before a name when typed."""
    near = difflib.get_close_matches(name, valid, n=1)
    meant = f" (did you mean {prefix}{near[0]}?)" if near else ""
    return ConfigError(f"{what}{meant}; use one of: {', '.join(valid)}")
