"""What is planned is scaled by how many rows there are, and taken from the same model only."""

from pathlib import Path

import numpy as np
import pytest

from t2i.config import compose
from t2i.context import Run
from t2i.data.rows import keyed_rows
from t2i.stages import encoded
from t2i.stages.latents import Latents
from t2i.stages.text_states import TextStates
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
    monkeypatch.setattr(encoded, "model_digest", lambda config, run: "mine")
    monkeypatch.setattr(encoded.Encoded, "rows", lambda self, run: {"train": 4000, "held_out": 4}[self.split])
    train, held_out = (Latents(config, split) for split in ("train", "held_out"))
    assert train.size(run) == size * 500
    assert held_out.size(run) == size // 2
    assert train.seconds(run) == 1000 * (held_out.seconds(run) or 0)
    monkeypatch.undo()
    monkeypatch.setattr(encoded, "model_digest", lambda config, run: "mine")
    assert TextStates(config, "train").size(run) is None
    assert train.rows(run) is None and train.size(run) is None, "the data is still to be prepared"
