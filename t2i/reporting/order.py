"""In which order a page tells its sections, and what of each stands open: the answer first, what it rests on below."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar


class Titled(Protocol):
    """What has a title to be ordered by."""

    @property
    def title(self) -> str: ...


Part = TypeVar("Part", bound=Titled)


@dataclass(frozen=True)
class Kind:
    """Sections that answer one question of the reader."""

    leading: tuple[str, ...]
    """Titles of the sections that answer it."""
    further: tuple[str, ...] = ()
    """Titles of those that are about it: only their text stands open."""
    tables: int = 0
    """How many tables of a leading section stand open; the others are folded."""
    figures: int = 0
    """The same for figures."""


ALL = 1000
KINDS = (
    Kind(
        (
            "All against the first",
            "Base against tuned",
            "Comparison",
            "CLIP before and after",
            "Evaluation",
            "Drift",
            "Repeated",
            "Differences",
        ),
        ("Elsewhere",),
        tables=1,
        figures=2,
    ),
    Kind(("When to stop",), ("Every checkpoint",), tables=1, figures=1),
    Kind(("Pictures", "The subject in places"), figures=ALL),
    Kind(
        (
            *("Samples and numbers", "Pictures and numbers, base and tuned", "Generated pictures"),
            *("Generation with base and tuned text encoder", "Guidance scales", "Numbers of denoising steps"),
            *("Schedulers", "Comparison charts"),
        ),
        figures=1,
    ),
    Kind(
        ("Training", "CLIP tuning", "Clip"),
        ("While it trained", "Between base and tuned", "What the CLIP forgot", "Memorisation"),
        figures=1,
    ),
    Kind(("Sweep",), tables=1, figures=1),
    Kind(("Data",), ("Caption embeddings", "Captions and pictures paired")),
    Kind(("Wiring", "Wiring check", "This machine", "Store")),
)
"""Verdict, pictures, training, sweep, data, checks. What is not named here comes last."""
FEW = 2
"""A page of so many sections is short: nothing of it is folded."""


def place(title: str) -> tuple[int, int]:
    """Where a section stands: the place of its kind, and its own among them.

    A title may go on: `Training (12-53-30_pipeline_ab12cd)` of one run among several, `Drift: mine`.
    """
    plain = _plain(title)
    for rank, kind in enumerate(KINDS):
        titles = kind.leading + kind.further
        if plain in titles:
            return rank, titles.index(plain)
    return len(KINDS), 0


def ordered(sections: Sequence[Part]) -> list[Part]:
    """The sections in the order of the page; equal ones stay as they are."""
    return sorted(sections, key=lambda section: place(section.title))


def is_further(title: str) -> bool:
    """Whether a section only adds to another one."""
    return any(_plain(title) in kind.further for kind in KINDS)


def open_parts(title: str, sections: int) -> tuple[int, int]:
    """How many tables and how many figures of a section stand open on a page of so many sections."""
    rank = place(title)[0]
    if sections <= FEW or rank == len(KINDS):
        return ALL, ALL
    return (0, 0) if is_further(title) else (KINDS[rank].tables, KINDS[rank].figures)


def _plain(title: str) -> str:
    return re.split(r" \(|: ", title)[0]
