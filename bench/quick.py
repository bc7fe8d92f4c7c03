"""Every bench at its smallest (`make bench-quick`): do both sides agree, and are the files written? Not how fast they are."""

import importlib
import json
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.__main__ import keep

SMALLEST: dict[str, dict[str, Any]] = {
    "startup": {"rounds": 1, "warm_up": 0},
    "small": {"rounds": 1, "warm_up": 0, "quick": 1},
    "prepare": {"images": 40, "rounds": 1},
    "prepare_memory": {"small": 20, "large": 40},
    "train": {"batch": 2, "rounds": 1, "only": "attn2_to_v"},
    "half": {"model": "tiny", "pixels": 64, "batch": 2, "rounds": 1, "steps": 20, "curve_batch": 2, "only": "lora"},
    "engines": {"full": 0, "rounds": 1},
    "sampling": {"images": 4, "steps": 3, "batch": 4, "rounds": 1},
    "evaluation": {"rounds": 1, "width": 64, "divide": 25},
    "verdict": {"samples": 60, "rounds": 1, "width": 64},
    "images": {"images": 2, "rounds": 1},
    "evaluate_task": {"images": 6, "steps": 2, "rounds": 1, "forms": 1},
    "sweep": {"images": 2, "steps": 2, "rounds": 1, "forms": 1},
    "checkpoint": {"model": "tiny", "rounds": 1},
    "processes": {"batch": 4, "steps": 4, "rounds": 1, "limit": 0},
    "end_to_end": {"pictures": 40, "steps": 2, "images": 6, "sampling": 2, "rounds": 1, "forms": 1},
    "waiting": {"counts": 1000, "rounds": 1},
    "gpu": {"model": "tiny", "budget": 3600},
    "growth": {"samples": 400, "pictures": 40, "cells": 0},
    "personalisation": {
        "subjects": "mia,rex",
        "methods": "lora_4,textual_inversion",
        "steps": 2,
        "prompts": 2,
        "keys": "scheduler.steps=2",
    },
}


def main() -> int:
    """Status 1 when two sides of a bench differ, or when it leaves no result or no figure."""
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        for name, options in SMALLEST.items():
            before = _processor_seconds()
            print(f"--- {name}", flush=True)
            places = {"personalisation": "outputs", "gpu": "folder"}  # the others have folders of their own
            where = {places[name]: folder} if name in places else {}
            result = importlib.import_module(f"bench.{name}").run(**options, **where)
            path = keep(name, result, Path(folder))
            written = json.loads(path.read_text(encoding="utf-8")).get("results_equal", True)
            if not written or path.with_suffix(".png").stat().st_size < 5000:
                failed.append(name)
            print(f"--- {name}: {_processor_seconds() - before:.0f} processor seconds", flush=True)
    print(f"all: {_processor_seconds():.0f} processor seconds")
    if failed:
        print(f"the two sides differ, or files are missing: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _processor_seconds() -> float:
    """Of this process and of those that it started."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    sys.exit(main())
