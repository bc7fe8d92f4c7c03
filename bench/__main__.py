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

from bench import _options
from bench._commit import commit
from bench._figure import TITLES, draw
from bench._rows import RESULTS
from t2i.errors import UserError


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


def main() -> int:
    """Runs the measurement that the command line names; what was typed wrong is one sentence, and status 2."""
    usage = f"python -m bench NAME [--key=value ...], where NAME is one of: {', '.join(TITLES)}; NAME --help tells its options"
    name, *typed = sys.argv[1:] or [""]
    if name not in TITLES:
        print(usage, file=sys.stdout if name in _options.HELP else sys.stderr)
        return 0 if name in _options.HELP else 2
    # Whoever types a second command has compiled modules, as the peer has.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    bench = importlib.import_module(f"bench.{name}")
    if _options.HELP & set(typed):
        print(_options.told(bench), end="")
        return 0
    try:
        result = bench.run(**_options.read(bench.run, typed))
    except Exception as error:
        mistake = _mistake(error)
        if mistake is None:
            raise
        print(f"python -m bench {name}: {mistake}", file=sys.stderr)
        return mistake.status
    path = keep(name, result)
    print(path.read_text(encoding="utf-8"))
    print(f"written to {path}")
    return 0


def _mistake(error: Exception) -> UserError | None:
    """The sentence about an error that is the user's doing; None for another one, which keeps its traceback."""
    if isinstance(error, UserError):
        return error
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from t2i.messages import explain

    return explain(error, []) if isinstance(error, HydraException | OmegaConfBaseException) else None


if __name__ == "__main__":
    sys.exit(main())
