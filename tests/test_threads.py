"""Who waits sleeps neither at once nor hardly ever, with and without `make`."""

import os
import subprocess
import sys

import pytest

from t2i.threads import SPINS

from .conftest import PROJECT


def told(code: str, **more: str) -> str:
    """What libgomp says of its settings when torch brings it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; import torch"],
        cwd=PROJECT,
        env={**kept, "OMP_DISPLAY_ENV": "verbose", **more},
        capture_output=True,
        text=True,
        check=True,
    )
    if "GOMP_SPINCOUNT" not in done.stderr:
        pytest.skip("this torch brings another OpenMP than GNU's")
    return done.stderr


def test_run_py_tells_libgomp_before_torch_is_there() -> None:
    assert f"GOMP_SPINCOUNT = '{SPINS}'" in told("from t2i import launch; launch.guard(lambda: None)")


@pytest.mark.parametrize(
    ("chosen", "expected"), [({"OMP_WAIT_POLICY": "PASSIVE"}, "'0'"), ({"GOMP_SPINCOUNT": "77"}, "'77'")]
)
def test_what_the_user_has_chosen_stays(chosen: dict[str, str], expected: str) -> None:
    assert f"GOMP_SPINCOUNT = {expected}" in told("from t2i import threads; threads.settle()", **chosen)
