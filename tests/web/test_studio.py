"""The queue, cancelling, and the rate, with a painter whose steps the test counts and holds up."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from t2i.errors import ConfigError
from t2i.web.order import Order, Refused
from t2i.web.painter import Picture
from t2i.web.preview import Preview
from t2i.web.studio import Cancelled, Rate, Studio

ORDER = Order("a cat", "", "ddim", 10, 7.5, 64, 64, 0, 1, "base")
PREVIEW = Preview(torch.eye(37, dtype=torch.float64), torch.zeros(37, 192, dtype=torch.float64), 8)


class SlowPainter:
    """Takes a step whenever the test lets it."""

    batch_size = 1

    def __init__(self) -> None:
        self.go = threading.Semaphore(0)
        self.steps = 0
        self.threads: set[int] = set()
        self.failure: Exception | None = None

    def draw(self, order: Order, on_step: Any, on_tile: Any) -> list[Picture]:
        self.threads.add(threading.get_ident())
        for step in range(1, order.steps + 1):
            assert self.go.acquire(timeout=20)
            self.steps += 1
            if self.failure:
                raise self.failure
            on_step(step, order.steps, torch.zeros(1, 4, 8, 8))
        return [Picture(Path("000000.png"), order, order.seed, 0.1)]

    def cut(self, order: Order) -> list[str]:
        return [f"cut of {order.prompt}"]

    def noise_levels(self, order: Order) -> list[tuple[float, float]]:
        return [(1.0, 0.0)] * order.steps

    def forget(self, keep: int) -> None:
        pass


@pytest.fixture
def painter() -> SlowPainter:
    return SlowPainter()


@pytest.fixture
def studio(painter: SlowPainter) -> Iterator[Studio]:
    made = Studio(painter, PREVIEW, waiting=2, rate=5, keep=5)  # type: ignore[arg-type]
    yield made
    for _ in range(1000):
        painter.go.release()
    made.close()


def until(condition: Any) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_one_thread_draws_everything_in_order(studio: Studio, painter: SlowPainter) -> None:
    jobs = [studio.submit([ORDER], owner=str(i)) for i in range(2)]
    for _ in range(20):
        painter.go.release()
    for job in jobs:
        job.finished.result(timeout=20)
    assert len(painter.threads) == 1
    assert [len(job.pictures) for job in jobs] == [1, 1] and [job.share for job in jobs] == [1.0, 1.0]


def test_the_queue_holds_so_many_and_one_more_is_refused(studio: Studio, painter: SlowPainter) -> None:
    running = studio.submit([ORDER], owner="a")
    until(lambda: running.started)
    waiting = [studio.submit([ORDER], owner="b") for _ in range(2)]
    with pytest.raises(Refused, match="2 requests are waiting already") as refused:
        studio.submit([ORDER], owner="c")
    assert refused.value.code == 503
    assert [studio.place(job) for job in [running, *waiting]] == [0, 1, 2]
    studio.leave("b")  # two places are free at once
    for job in waiting:
        with pytest.raises(Cancelled):
            job.finished.result(timeout=1)
    studio.submit([ORDER], owner="c")


def test_who_leaves_frees_the_model_at_the_next_step(studio: Studio, painter: SlowPainter) -> None:
    job, other = studio.submit([ORDER], owner="a"), studio.submit([ORDER], owner="b")
    painter.go.release(3)
    until(lambda: painter.steps == 3)
    studio.leave("a")
    painter.go.release()
    with pytest.raises(Cancelled):
        job.finished.result(timeout=20)
    assert painter.steps == 4
    painter.go.release(10)
    other.finished.result(timeout=20)


def test_who_watches_gets_previews_and_others_do_not(studio: Studio, painter: SlowPainter) -> None:
    for watched in (True, False):
        job, before = studio.submit([ORDER], owner="a", watched=watched), painter.steps
        painter.go.release(2)
        until(lambda before=before: painter.steps == before + 2)  # the first step has been reported then
        assert job.preview.startswith("data:image/jpeg;base64,") is watched
        painter.go.release(8)
        job.finished.result(timeout=20)


def test_what_fails_is_one_sentence_and_the_next_job_is_drawn(studio: Studio, painter: SlowPainter) -> None:
    for failure, code, sentence in (
        (ConfigError("scheduler.steps=100 is too many"), 400, "scheduler.steps=100 is too many."),
        (RuntimeError("shape mismatch at 0x7f"), 500, "The picture could not be made; the server's run.log says why."),
    ):
        painter.failure = failure
        job = studio.submit([ORDER], owner="a")
        painter.go.release()
        with pytest.raises(Refused) as refused:
            job.finished.result(timeout=20)
        assert (str(refused.value), refused.value.code) == (sentence, code)
    painter.failure = None
    job = studio.submit([ORDER], owner="a")
    painter.go.release(10)
    job.finished.result(timeout=20)


def test_the_rate_is_for_one_address_and_one_minute() -> None:
    now = 100.0
    rate = Rate(2, clock=lambda: now)
    rate.count("a")
    now = 130.0
    rate.count("a")
    rate.count("b")
    with pytest.raises(Refused, match="More than 2 requests in a minute") as refused:
        rate.count("a")
    assert refused.value.code == 429
    now = 160.0
    rate.count("a")
    with pytest.raises(Refused):
        rate.count("a")
