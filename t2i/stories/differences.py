"""What differs between two finished runs: configuration, environment, data, code, results."""

import json
import math
import re
from pathlib import Path
from typing import Any

from t2i.context import flat
from t2i.errors import ConfigError

IGNORED = ("outputs", "runs", "track.", "overrides", "command", "PARENT")
"""Keys that say where and how a run was started, and change no result."""
DIGEST, FOLDED = re.compile(r"[0-9a-f]{32,64}"), 12
"""What a digest or a commit looks like, and how much of it tells two apart."""
Difference = tuple[str, str, str]
"""A name and both values."""


def compare(first: Path, second: Path) -> dict[str, list[Difference]]:
    """The differing entries of each part. Raises ConfigError for a folder that is no finished run."""
    parts: dict[str, list[Difference]] = {}
    both = [read(first), read(second)]
    for part in both[0]:
        left, right = both[0][part], both[1][part]
        names = sorted({*left, *right})
        parts[part] = [
            (name, _shown(left.get(name)), _shown(right.get(name)))
            for name in names
            if _shown(left.get(name)) != _shown(right.get(name)) and not name.startswith(IGNORED)
        ]
    return parts


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """What a run folder holds, flat: configuration, environment, code, stages (by their name and order), results."""
    import yaml

    for name in ("config.yaml", "environment.json", "metrics.json", "stages.json"):
        if not (folder / name).exists():
            raise ConfigError(f"runs={folder} is no finished run ({name} is missing); give a run folder")
    environment = flat(json.loads((folder / "environment.json").read_text(encoding="utf-8")))
    code = {name: value for name, value in environment.items() if name.startswith("git.")}
    stages = json.loads((folder / "stages.json").read_text(encoding="utf-8"))
    named: dict[str, Any] = {}
    for key, stage in stages.items():
        kind = key.split("/")[0]
        number = sum(name.split(" ")[0] == kind for name in named)
        named[f"{kind} {number + 1}" if number else kind] = stage["digest"]
    return {
        "configuration": flat(yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))),
        "environment": {name: value for name, value in environment.items() if name not in code},
        "code": code,
        "data and stages": named,
        "results": json.loads((folder / "metrics.json").read_text(encoding="utf-8")),
    }


def row_of(difference: Difference) -> list[str]:
    """A difference as people read it: of two numbers how far they are apart, of two digests the beginning."""
    name, first, second = difference
    numbers = [_number(text) for text in (first, second)]
    if numbers[0] is not None and numbers[1] is not None:
        from t2i.reporting.numbers import number

        return [name, number(numbers[0]), number(numbers[1]), f"{numbers[1] - numbers[0]:+.3g}"]
    return [name, *(text[:FOLDED] if DIGEST.fullmatch(text) else text for text in (first, second)), ""]


def _number(text: str) -> float | None:
    """A measured number; not one of the texts that JSON writes alike."""
    try:
        return float(text) if DIGEST.fullmatch(text) is None and math.isfinite(float(text)) else None
    except ValueError:
        return None


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.9g}" if isinstance(value, float) else str(value)  # NaN equals itself here
