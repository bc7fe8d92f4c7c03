"""The model's only worker: a queue with a limit in front of one thread, and jobs that can be given up at every step."""

import base64
import collections
import io
import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import torch
from PIL import Image

from t2i.errors import ConfigError, UserError
from t2i.web.order import Order, Refused
from t2i.web.painter import Painter, Picture
from t2i.web.preview import Preview

PREVIEW_SECONDS = 0.25
PREVIEW_PIXELS = 384
log = logging.getLogger("t2i")


class Cancelled(Exception):
    """Who asked has left, or pressed cancel."""


@dataclass
class Job:
    """Orders of one request, done one after another. Written by the worker, read by who waits."""

    orders: Sequence[Order]
    owner: str
    watched: bool
    """Whether somebody looks at previews."""
    pictures: list[list[Picture]] = field(default_factory=list)
    """Of every order that is done."""
    cut: list[str] = field(default_factory=list)
    """Sentences about words that the text encoder did not read; of the worker's, which alone uses the tokenizers."""
    step: int = 0
    """Steps done in all orders."""
    steps: int = 0
    preview: str = ""
    """The picture in the making as a data URI."""
    started: bool = False
    finished: "Future[None]" = field(default_factory=Future)
    cancelled: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.finished.set_running_or_notify_cancel()  # who waits for it and stops waiting must not cancel it

    @property
    def share(self) -> float:
        """How much is done, 0 to 1."""
        return min(1.0, self.step / self.steps) if self.steps else 0.0


@dataclass
class Rate:
    """At most `most` events a minute for one address; thread-safe, and forgets addresses that went quiet."""

    most: int
    seconds: float = 60.0
    clock: Callable[[], float] = time.monotonic
    _times: "dict[str, collections.deque[float]]" = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, address: str) -> None:
        """Note an event; Refused (429) when it is one too many."""
        now = self.clock()
        with self._lock:
            if len(self._times) > 10_000:
                self._times = {key: times for key, times in self._times.items() if times[-1] > now - self.seconds}
            times = self._times.setdefault(address, collections.deque())
            while times and times[0] <= now - self.seconds:
                times.popleft()
            if len(times) >= self.most:
                wait = max(1, math.ceil(times[0] + self.seconds - now))
                raise Refused(
                    f"More than {self.most} requests in a minute came from your address; try again in {wait} s.",
                    429,
                    wait,
                )
            times.append(now)


class Studio:
    """The painter behind its queue. One thread draws, so that load cannot change a picture."""

    def __init__(self, painter: Painter, preview: Preview, waiting: int, rate: int, keep: int) -> None:
        self.painter = painter
        self.preview = preview
        self.rate = Rate(rate)
        self.keep = keep
        self.answered = 0
        self._waiting = waiting
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._open: list[Job] = []
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Jobs that have not been started."""
        with self._lock:
            return sum(not job.started for job in self._open)

    def place(self, job: Job) -> int:
        """How many jobs come before this one."""
        with self._lock:
            return self._open.index(job) if job in self._open else 0

    def submit(self, orders: Sequence[Order], owner: str, watched: bool = False) -> Job:
        """Put orders into the queue; Refused (503) when it is full. `owner` may cancel them."""
        job = Job(orders, owner, watched, steps=sum(order.steps * self._batches(order) for order in orders))
        with self._lock:
            if sum(not other.started for other in self._open) >= self._waiting:
                raise Refused(f"{self._waiting} requests are waiting already; try again in a minute.", 503, 60)
            self._open.append(job)
            self._jobs.put(job)
        return job

    def leave(self, owner: str) -> None:
        """Give up every job of somebody who left or cancelled; the running one ends at its next step."""
        with self._lock:
            jobs = [job for job in self._open if job.owner == owner]
        for job in jobs:
            self.cancel(job)

    def cancel(self, job: Job) -> None:
        """Give up one job; when it waits, its place is free at once."""
        job.cancelled.set()
        with self._lock:
            waits = job in self._open and not job.started
            if waits:
                self._open.remove(job)
        if waits and not job.finished.done():
            job.finished.set_exception(Cancelled())

    def close(self) -> None:
        """Give up everything and end the worker."""
        with self._lock:
            jobs = list(self._open)
        for job in jobs:
            self.cancel(job)
        self._jobs.put(None)
        self._thread.join(timeout=60)

    def _batches(self, order: Order) -> int:
        return -(-order.count // self.painter.batch_size)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            with self._lock:
                if job.cancelled.is_set():
                    continue
                job.started = True
            try:
                for order in job.orders:
                    job.pictures.append(self._draw(job, order))
                self.painter.forget(self.keep)
                error: Exception | None = None
            except Exception as failure:
                error = _told(failure)
            with self._lock:
                self._open.remove(job)
            self.answered += error is None
            job.preview = ""
            if error is None:
                job.finished.set_result(None)
            else:
                job.finished.set_exception(error)

    def _draw(self, job: Job, order: Order) -> list[Picture]:
        before, batches, shown = job.step, 0, 0.0
        levels = self.painter.noise_levels(order) if job.watched else []

        def wanted() -> None:
            if job.cancelled.is_set():
                raise Cancelled

        def on_step(step: int, total: int, latents: torch.Tensor) -> None:
            nonlocal batches, shown
            wanted()
            batches += step == 1
            # Some schedulers evaluate the network twice in a step: `total` is then larger than what was asked for.
            job.step = before + round((batches - 1 + step / total) * order.steps)
            if job.watched and time.monotonic() - shown > PREVIEW_SECONDS:
                shown = time.monotonic()
                scale, noise = levels[step - 1 - total]  # from the end: a picture to begin from saves the first ones
                job.preview = self._encoded(latents[0] / scale, noise)

        wanted()
        if job.watched:
            job.cut += [sentence for sentence in self.painter.cut(order) if sentence not in job.cut]
        return self.painter.draw(order, on_step, wanted)

    def _encoded(self, latents: torch.Tensor, noise: float) -> str:
        image = Image.fromarray(self.preview.picture(latents, noise))
        image.thumbnail((PREVIEW_PIXELS, PREVIEW_PIXELS))
        file = io.BytesIO()
        image.save(file, format="JPEG", quality=75)
        return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _told(failure: Exception) -> Exception:
    """A failure as one sentence with a status; what nobody foresaw goes to the log alone."""
    if isinstance(failure, Cancelled | Refused):
        return failure
    if isinstance(failure, ConfigError):  # the request asks for what this model or scheduler cannot do
        return Refused(f"{str(failure).rstrip('.')}.", 400)
    if isinstance(failure, UserError):
        return Refused(str(failure), 500)
    log.debug("a picture failed", exc_info=failure)
    return Refused("The picture could not be made; the server's run.log says why.", 500)
