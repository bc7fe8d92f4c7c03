"""What is planned is scaled by how many rows there are, and taken from the same model only."""

from pathlib import Path

import numpy as np
import pytest

from t2i.config import compose
from t2i.context import Run
from t2i.data.rows import keyed_rows
from t2i.plan import estimates as plan_estimates
from t2i.store import Store


def test_rows_are_scaled_by_their_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path / "run", Store(tmp_path / "store"))

    def made(model: str, rows: int, width: int) -> int:
        stage, _ = keyed_rows(
            run.store, "latents", {"data": f"{rows}", "model": model}, {}, 1,
            lambda: [b"%032d" % i for i in range(rows)],
            lambda chosen: np.zeros((len(chosen), width), np.float32), batch=1, label="latents",
        )  # fmt: skip
        return sum(path.stat().st_size for path in stage.path.iterdir() if path.name != "manifest.json")

    size = made("mine", 8, 1000)
    made("another", 500, 9000)
    config = compose([])
    monkeypatch.setattr(plan_estimates, "model_digest", lambda config, run: "mine")
    monkeypatch.setattr(plan_estimates, "_rows", lambda name, config, run, split: {"train": 4000, "held_out": 4}[split])
    assert plan_estimates.size("latents", config, run, None, "train") == size * 500
    assert plan_estimates.size("latents", config, run, None, "held_out") == size // 2
    seconds = plan_estimates.seconds("latents", config, run, None, "train")
    assert seconds == 1000 * (plan_estimates.seconds("latents", config, run, None, "held_out") or 0)
    assert plan_estimates.size("text_states", config, run, None, "train") is None
    monkeypatch.setattr(plan_estimates, "_rows", lambda *arguments: None)
    assert plan_estimates.size("latents", config, run, None, "train") is None
