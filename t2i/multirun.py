"""The runs of a multirun: in what they differ, and the table of what they found."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from t2i.errors import ConfigError

ENDS = (".low", ".high", ".p", ".p_holm", ".smallest_detectable", ".real", ".chance")
"""Ends of the names of numbers that belong to another one."""
COLUMNS = 5
"""Numbers of each run in the table of a multirun."""


@dataclass(frozen=True)
class Cell:
    """One run of a multirun."""

    settings: list[str]
    """The overrides in which it differs from the others."""
    folder: Path


def table_of(cells: Sequence[Cell]) -> list[str]:
    """What a multirun found, as lines: a row a run, its settings and the numbers in which the runs differ."""
    from t2i.reporting.console import lines
    from t2i.reporting.numbers import number

    found = [_numbers(cell.folder) for cell in cells]
    names = [name for numbers in found for name in numbers if not name.endswith(ENDS)]
    shared = [name for name in dict.fromkeys(names) if len({numbers.get(name) for numbers in found}) > 1]
    shared = sorted(shared, key=lambda name: "[" not in name)[:COLUMNS]  # metrics of pictures first
    settings = [dict(text.lstrip("+").split("=", 1) for text in cell.settings) for cell in cells]
    keys = list(dict.fromkeys(key for own in settings for key in own))
    rows = [
        [
            str(place),
            *(own.get(key, "") for key in keys),
            *(
                number(numbers[name], numbers.get(f"{name}.low"), numbers.get(f"{name}.high"))
                if name in numbers
                else ""
                for name in shared
            ),
            "" if numbers else "failed",
        ]
        for place, (own, numbers) in enumerate(zip(settings, found, strict=True), start=1)
    ]
    ending = any(not numbers for numbers in found)
    return lines(["run", *keys, *shared, *[""] * ending], [row if ending else row[:-1] for row in rows])


def _numbers(folder: Path) -> dict[str, float]:
    """The numbers of a run that has ended well; none of another."""
    path = folder / "metrics.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def flag_first(arguments: Sequence[str], processes: int) -> list[str]:
    """With -m before the overrides: between them, Hydra's parser calls the second half unrecognised. ConfigError in one of
    several processes.
    """
    flags = [argument for argument in arguments if argument in ("-m", "--multirun")]
    if flags and processes > 1:
        raise ConfigError(
            "--multirun inside `accelerate launch` is refused: start it without, with launch.processes=<GPUs> for each run"
        )
    return flags[:1] + [argument for argument in arguments if argument not in flags]


def settings(overrides: Sequence[str], arguments: Sequence[str]) -> list[str]:
    """Those of a run's overrides in which it differs from the others; arguments: the command line of all of them."""
    keys = swept(arguments)
    return [text for text in overrides if text.lstrip("+").partition("=")[0] in keys]


def swept(arguments: Sequence[str]) -> set[str]:
    """The keys of which a command line gives several values."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    given = [text for text in arguments if "=" in text and not text.startswith("-")]
    return {own.key_or_group for own in OverridesParser.create().parse_overrides(given) if own.is_sweep_override()}
