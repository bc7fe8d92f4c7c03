"""What a task may record, whoever keeps it; and a tracker that records nothing."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Protocol

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Input:
    """Data that a run read."""

    name: str
    digest: str
    """Of its content, at most 36 characters."""
    source: str
    """Where it lies."""
    context: str
    """What it was for: `training` or `evaluation`."""


class Tracker(Protocol):
    """What a task may record. Every method is cheap and never raises because of a value it cannot show."""

    @property
    def run_id(self) -> Optional[str]: ...

    @property
    def begun(self) -> bool:
        """Whether the run is recorded: its work has begun."""
        ...

    def begin(self) -> None:
        """The work begins: a run that ends before, by a mistake, is not recorded."""
        ...

    def params(self, values: Mapping[str, Any]) -> None: ...
    def metrics(self, values: Mapping[str, float], step: int = 0) -> None: ...
    def tags(self, values: Mapping[str, str]) -> None: ...
    def artifact(self, path: Path, folder: str = "") -> None: ...
    def image(self, picture: "np.ndarray", key: str, step: int = 0) -> None:
        """A picture, uint8 (H, W, 3), for the grids that compare runs and steps."""
        ...

    def inputs(self, data: Sequence[Input]) -> None: ...
    def model(self, name: str, path: Path, facts: Mapping[str, Any]) -> None:
        """Weights that the run leaves at `path`: told, not copied."""
        ...

    def child(self, name: str) -> "contextlib.AbstractContextManager[Tracker]": ...
    def close(self, status: str) -> None: ...

    @property
    def link(self) -> Optional[str]:
        """Where to look at the run: an address, or the command that serves it; None when nothing is recorded."""
        ...


class NullTracker:
    """Records nothing."""

    run_id: Optional[str] = None
    link: Optional[str] = None
    begun: bool = False

    def begin(self) -> None:
        pass

    def params(self, values: Mapping[str, Any]) -> None:
        pass

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        pass

    def tags(self, values: Mapping[str, str]) -> None:
        pass

    def artifact(self, path: Path, folder: str = "") -> None:
        pass

    def image(self, picture: "np.ndarray", key: str, step: int = 0) -> None:
        pass

    def inputs(self, data: Sequence[Input]) -> None:
        pass

    def model(self, name: str, path: Path, facts: Mapping[str, Any]) -> None:
        pass

    @contextlib.contextmanager
    def child(self, name: str) -> Iterator["Tracker"]:
        yield self

    def close(self, status: str) -> None:
        pass
