"""The log of a training: a line of CSV now and then, never more of them than the checkpoint that it goes on from knows."""

import csv
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Lines:
    """A CSV file whose first column counts the steps."""

    path: Path
    columns: Sequence[str]

    def cut(self, step: int) -> None:
        """Start it anew with its lines up to `step`."""
        kept: list[list[str]] = []
        if step and self.path.exists():
            with open(self.path, newline="", encoding="utf-8") as file:
                kept = [row for row in csv.reader(file) if row and row[0].isdigit() and int(row[0]) <= step]
        with open(self.path, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([self.columns, *kept])

    def read(self) -> list[dict[str, str]]:
        """Every line, by column."""
        with open(self.path, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    @contextmanager
    def adding(self) -> Iterator[Callable[[Sequence[Any]], None]]:
        """A function that adds a line and puts it on the disk at once."""
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)

            def add(row: Sequence[Any]) -> None:
                writer.writerow(row)
                file.flush()

            yield add


class Pace:
    """Samples per second since the last look; what happens between two trainings' steps does not count."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Count from now on."""
        self._since, self._samples = time.perf_counter(), 0

    def count(self, samples: int) -> None:
        """So many more are done."""
        self._samples += samples

    def look(self, batch: int) -> tuple[float, float]:
        """Seconds that `batch` samples took, and samples per second; the count begins anew."""
        elapsed, samples = time.perf_counter() - self._since, self._samples
        self.restart()
        return elapsed * batch / samples, samples / elapsed
