"""Image files through `prepare_file` on every core, in order, in constant memory."""

import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from pathlib import Path

from t2i.data.crop import Crop
from t2i.data.preparation.colours import AUTO, Unusable
from t2i.data.preparation.decode import Picture, prepare_file
from t2i.errors import UserError
from t2i.progress import progress

CHUNK = 8
"""Images in one message to a worker."""
ALONE = 1.0
"""Seconds that this process works alone: what is done by then, worker processes would have taken to start."""
Job = tuple[Path, float]
"""An image file, and where along its longer side the crop lies (0 to 1)."""


def prepared_files(
    jobs: Iterable[Job], count: int, resolution: int, crop: Crop, label: str, background: str = AUTO
) -> Iterator[Picture | Unusable]:
    """One picture, or the reason why there is none, for each of `count` jobs in order.

    Jobs are asked for as they are needed. label: names the progress bar, if any.
    """
    results = _alone_then_pooled(_chunks(jobs), resolution, crop, background, cores())
    flat = (picture for chunk in results for picture in chunk)
    return iter(progress(flat, label, "image", count)) if label else flat


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _alone_then_pooled(
    chunks: Iterator[list[Job]], resolution: int, crop: Crop, background: str, workers: int
) -> Iterator[list[Picture | Unusable]]:
    taken = 0.0
    while workers == 1 or taken < ALONE:
        if (chunk := next(chunks, None)) is None:
            return
        start = time.perf_counter()
        pictures = _prepare_chunk(chunk, resolution, crop, background)
        taken += time.perf_counter() - start
        yield pictures
    yield from _pooled(chunks, resolution, crop, background, workers)


def _chunks(jobs: Iterable[Job]) -> Iterator[list[Job]]:
    source = iter(jobs)
    while chunk := list(islice(source, CHUNK)):
        yield chunk


def _prepare_chunk(jobs: Sequence[Job], resolution: int, crop: Crop, background: str) -> list[Picture | Unusable]:
    pictures: list[Picture | Unusable] = []
    for path, position in jobs:
        try:
            pictures.append(prepare_file(path, resolution, crop, position, background))
        except Unusable as reason:
            pictures.append(reason)
    return pictures


def _pooled(
    chunks: Iterator[list[Job]], resolution: int, crop: Crop, background: str, workers: int
) -> Iterator[list[Picture | Unusable]]:
    # Not forked: the parent may hold threads and a GPU. A few chunks ahead keep the workers busy without piling up.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent) as pool:
        waiting: deque[tuple[list[Job], Future[list[Picture | Unusable]]]] = deque()
        chunk: list[Job] = []
        try:
            for chunk in chunks:
                waiting.append((chunk, pool.submit(_prepare_chunk, chunk, resolution, crop, background)))
                if len(waiting) > 4 * workers:
                    yield waiting[0][1].result()
                    waiting.popleft()
            while waiting:
                yield waiting[0][1].result()
                waiting.popleft()
        except BrokenProcessPool as error:
            lost = waiting[0][0] if waiting else chunk
            raise UserError(
                f"a decoding process was killed (too little memory, or a damaged image) in or near {lost[0][0]} to "
                f"{lost[-1][0]}: free memory, or move these files away and start again."
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _end_with_parent() -> None:
    """Has a worker end when its parent is killed: it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
