"""Every bench at its smallest: whether both sides still give the same results, not how fast they are (`make bench-quick`)."""

import os
from typing import Any


def run() -> dict[str, Any]:
    """The results of each; AssertionError when two sides differ."""
    from bench import prepare, sampling, startup, train

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    found = {
        "startup": startup.run(rounds=1),
        "prepare": prepare.run(images=40, rounds=1),
        "sampling": sampling.run(images=4, steps=3, batch=4, rounds=1),
        "train": train.run(batch=2, rounds=1),
    }
    for name in ("startup", "prepare", "sampling"):
        assert found[name]["results_equal"], name
    for name, strategy in found["train"]["strategies"].items():
        assert strategy["losses_equal"], name
    return {"what": "both sides of every bench at its smallest", "results_equal": True, "benches": sorted(found)}
