"""Work that grows with the square of the samples is told before it begins."""

import logging
import time

import numpy as np
import pytest

from t2i.evaluation.metrics import kid, prdc
from t2i.evaluation.metrics.measurement import Inputs
from t2i.evaluation.statistics import forecast, mmd
from t2i.randomness import generator


def draw(key: str, samples: int) -> np.ndarray:
    return generator("forecast", key).standard_normal((samples, 4))


def test_work_on_all_pairs_says_beforehand_how_long_it_takes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Sixty and 45 samples in portions of 7: 45 tiles of the real ones, 28 of the others and 63 of both."""
    caplog.set_level(logging.INFO, "t2i")
    monkeypatch.setattr(mmd, "BLOCK", 7)
    real, fake = draw("real", 60), draw("fake", 45)
    kid.measure(Inputs(fake, 5, real))
    assert not caplog.records, "a sentence for less than 20 seconds"
    seconds = forecast.foretell("KID", 45, 60, lambda rows: time.sleep(0.15) if rows == slice(0, 7) else 1 / 0)
    assert 0.05 * (45 + 28 + 63) <= seconds < 0.5 * (45 + 28 + 63)
    assert not caplog.records
    monkeypatch.setattr(forecast, "LONG", 0.0)
    prdc.measure(Inputs(fake, 5, real))
    said = "precision and recall of 45 pictures and 60 of the reference: all pairs are looked at, about 1 s"
    assert said in caplog.text
    assert forecast.foretell("KID", 20, 20, lambda _: 1 / 0) == 0.0, "few tiles are not worth timing three of them"
