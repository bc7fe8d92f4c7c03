"""`python -m bench NAME [--key=value ...]`: runs bench/NAME.py and keeps what it measured."""

import datetime
import importlib
import json
import os
import platform
import re
import sys
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def machine() -> str:
    """The processor's name and how many cores may be used, fit for a file name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1] for line in lines if line.startswith("model name")]
    name = re.sub(r"[^a-z0-9]+", "-", (names or [platform.machine()])[0].lower()).strip("-")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}-{cores}-cores"


def _value(text: str) -> int | str:
    return int(text) if text.lstrip("-").isdigit() else text


def main() -> int:
    """Runs the measurement that the command line names."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_"))
    if len(sys.argv) < 2 or sys.argv[1] not in names:
        print(f"python -m bench NAME, where NAME is one of: {', '.join(names)}", file=sys.stderr)
        return 2
    name = sys.argv[1]
    options = dict(argument.removeprefix("--").split("=", 1) for argument in sys.argv[2:])
    result = importlib.import_module(f"bench.{name}").run(**{key: _value(text) for key, text in options.items()})
    record = {"benchmark": name, "machine": machine(), "python": platform.python_version(), **result}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{datetime.date.today().isoformat()}_{machine()}_{name}.json"
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=2))
    print(f"written to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
