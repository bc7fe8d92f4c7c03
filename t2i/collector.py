"""Python's collector of cycles: seldom while a command runs, and not at its end. What the libraries make as they are imported,
most of a million objects, lives as long as the process does, and is looked through in vain: a fifth of the time that an import
takes, and a second after the last line."""

import atexit
import gc

BETWEEN = 10_000
"""New containers from one look at the young ones to the next; Python begins with 700."""


def collect_seldom() -> None:
    """Sets it for this process, and has what is there at its end left to the system. Nothing else changes: cycles of a model
    that was let go were as rarely found before, when a million objects were known and less than a quarter was new.
    """
    gc.set_threshold(BETWEEN, 10, 10)
    atexit.register(gc.freeze)
