"""Mistakes of the user's doing: `run.py` prints them as one sentence, without a traceback."""


class UserError(Exception):
    """The run cannot go on: one sentence that says what was found, what was expected and what to type."""

    status = 1


class ConfigError(UserError):
    """The command line or the configuration is wrong: the sentence names the key and the valid values."""

    status = 2
