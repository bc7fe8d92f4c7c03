"""Cycles are looked for seldom while a command runs, and not after its last line."""

import subprocess
import sys

from t2i.collector import BETWEEN

from .conftest import PROJECT

LEFT = """
import atexit, gc
class Cycle:
    def __init__(self): self.own = self
    def __del__(self): print('looked for')
def at_the_end(): print('frozen' if gc.get_freeze_count() > 1000 else 'not frozen')
atexit.register(at_the_end)  # called after those that are registered later
{before}
gc.collect()
gc.disable()  # what is left is for the end
cycle = [Cycle()]
del cycle
print(gc.get_threshold()[0])
"""


def told(before: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", LEFT.format(before=before)], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    return done.stdout.split("\n")[:-1]


def test_nothing_is_looked_through_after_the_last_line() -> None:
    assert told("from t2i import launch; launch.guard(lambda: None)") == [str(BETWEEN), "frozen"]


def test_python_alone_would_look() -> None:
    assert told("import t2i.launch") == ["700", "not frozen", "looked for"]
