"""How far work is that takes longer than three seconds: a bar with the time that is left; without a terminal a line every
half minute."""

import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import Optional, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
DELAY = 3.0
"""Seconds before a bar is shown: what ends sooner leaves the screen alone."""
EVERY = 30.0
"""Seconds between two lines where there is no terminal for a bar."""
log = logging.getLogger("t2i")


def progress(items: Iterable[Item], label: str, unit: str, total: Optional[int] = None) -> Iterable[Item]:
    """The same items; the first process of several shows how many are done. total: how many there are, if they do not say."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    if os.environ.get("RANK", "0") != "0":
        return items
    if not on_terminal():
        return _lines(items, label, unit, total)
    bar: Iterable[Item] = tqdm(items, label, total, unit=unit, leave=False, delay=DELAY)
    return bar


def on_terminal() -> bool:
    """Whether somebody can see a bar."""
    return sys.stderr.isatty()


def _lines(items: Iterable[Item], label: str, unit: str, total: Optional[int]) -> Iterator[Item]:
    start = last = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if now - last >= EVERY:
            last = now
            left = f", about {_spoken((now - start) / done * (total - done))} left" if total and done else ""
            log.info(f"{label}: {done:,}{f' of {total:,}' if total else ''} {unit}s{left}")
        yield item


def _spoken(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
