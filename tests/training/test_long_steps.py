"""Where a launcher would end a training before its checkpoint, the training says so while there is time."""

import pytest

from t2i.context import Run
from t2i.training.resuming.stopping import LONGER, warn_of_long_steps


@pytest.mark.parametrize(
    ("elastic", "longer", "seconds", "says"),
    [(True, None, 45.0, True), (True, None, 1.0, False), (True, "300", 45.0, False), (False, None, 45.0, False)],
    ids=["too long", "short steps", "told to wait", "no such launcher"],
)  # fmt: skip
def test_steps_that_are_longer_than_a_launcher_waits_are_told(
    run: Run, monkeypatch: pytest.MonkeyPatch, elastic: bool, longer: str | None, seconds: float, says: bool
) -> None:
    for name, value in (("TORCHELASTIC_RUN_ID", "none" if elastic else None), (LONGER, longer)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    said: list[str] = []
    monkeypatch.setattr(run, "say", said.append)
    assert warn_of_long_steps(run, seconds) is says
    assert [f"export {LONGER}=300" in line and f"{seconds:.0f} s" in line for line in said] == [True] * says
