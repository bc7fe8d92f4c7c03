"""Steps of a training take the memory of the step before, and not pages that the system has to hand over one by one."""

import os
import subprocess
import sys

import pytest

from t2i import allocator

from .conftest import PROJECT

STEPS = """
import resource, torch
def step():
    return [torch.ones(2**19) for _ in range(20)]  # two megabytes each
for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="of glibc")


def faults(before: str, **chosen: str) -> int:
    """Pages that ten steps of forty megabytes ask the system for."""
    kept = {name: value for name, value in os.environ.items() if name not in allocator.CHOSEN_BY_USER}
    code = [sys.executable, "-c", f"{before}\n{STEPS}"]
    done = subprocess.run(code, cwd=PROJECT, env={**kept, **chosen}, capture_output=True, text=True, check=True)
    return int(done.stdout)


GIVEN_BACK = {"MALLOC_TRIM_THRESHOLD_": "131072", "MALLOC_MMAP_THRESHOLD_": "131072"}
"""As glibc begins; what it learns meanwhile, and what lies at the end of the heap, decides how much it keeps without them."""


def test_what_run_py_frees_is_taken_again() -> None:
    assert faults("from t2i import launch; launch.guard(lambda: None)") < 1000


def test_what_the_user_has_chosen_stays() -> None:
    assert faults("from t2i import allocator; allocator.keep_freed()", **GIVEN_BACK) > 10 * 20 * 400
