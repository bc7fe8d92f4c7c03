"""What differs between two finished runs: configuration, environment, data, code, results."""

import json
from pathlib import Path
from typing import Any

from t2i.context import flat
from t2i.errors import ConfigError

IGNORED = ("outputs", "runs", "track.", "overrides", "command", "PARENT")
"""Keys that say where and how a run was started, and change no result."""
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


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.9g}" if isinstance(value, float) else str(value)  # NaN equals itself here
