"""A bar with the time that is left, for work that turns out to take longer than three seconds."""

import os
from collections.abc import Iterable, Sized
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
DELAY = 3.0
"""Seconds before a bar is shown: what ends sooner leaves the screen alone."""


def progress(items: Iterable[Item], label: str, unit: str) -> Iterable[Item]:
    """The same items; the first process of several shows how many are done."""
    total = len(items) if isinstance(items, Sized) else None
    others = os.environ.get("RANK", "0") != "0"
    bar: Iterable[Item] = tqdm(items, label, total, unit=unit, leave=False, delay=DELAY, disable=others)
    return bar
