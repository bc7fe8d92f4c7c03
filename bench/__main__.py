"""`python -m bench NAME [--key=value ...]`: runs bench/NAME.py and keeps what it measured, as JSON and as a figure."""

import datetime
import importlib
import json
import os
import platform
import re
import sys
from pathlib import Path
from typing import Any

from bench._commit import commit
from bench._figure import TITLES, draw
from bench._rows import RESULTS


def machine(device: str = "cpu") -> str:
    """The names of the processor and of the GPU that was used, and how many cores may be; fit for a file name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1] for line in lines if line.startswith("model name")]
    name = (names or [platform.machine()])[0] + ("" if device == "cpu" else f" {device}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}-{cores}-cores"


def keep(name: str, result: dict[str, Any], folder: Path = RESULTS) -> Path:
    """Writes a bench's result and its figure; returns the path of the first."""
    where, date = machine(result.get("device", "cpu")), datetime.date.today().isoformat()
    about = {"benchmark": name, "machine": where, "commit": commit(), "python": platform.python_version()}
    record = {**about, **result}
    folder.mkdir(exist_ok=True)
    path = folder / f"{date}_{where}_{name}.json"
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    draw(date, record, path.with_suffix(".png"))
    return path


def _value(text: str) -> int | str:
    return int(text) if text.lstrip("-").isdigit() else text


def main() -> int:
    """Runs the measurement that the command line names."""
    if len(sys.argv) < 2 or sys.argv[1] not in TITLES:
        print(f"python -m bench NAME, where NAME is one of: {', '.join(TITLES)}", file=sys.stderr)
        return 2
    name = sys.argv[1]
    options = dict(argument.removeprefix("--").split("=", 1) for argument in sys.argv[2:])
    result = importlib.import_module(f"bench.{name}").run(**{key: _value(text) for key, text in options.items()})
    path = keep(name, result)
    print(path.read_text(encoding="utf-8"))
    print(f"written to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
