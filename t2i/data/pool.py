"""Image files through `prepare_file` on every core, in order, in constant memory."""

import multiprocessing
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from rich.console import Console
from rich.progress import track

from t2i.data.decode import Picture, Unusable, prepare_file
from t2i.errors import UserError

CHUNK = 32
"""Images in one message to a worker."""
ALONE = 256
"""Up to this many images the start of worker processes costs more than they save."""


def prepared_files(paths: Sequence[Path], resolution: int, label: str) -> Iterable[Picture | Unusable]:
    """One picture, or the reason why there is none, for each path in order; `label` names the progress bar, if any."""
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    chunks = [paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK)]
    alone = workers == 1 or len(paths) <= ALONE
    results = (_prepare_chunk(chunk, resolution) for chunk in chunks) if alone else _pooled(chunks, resolution, workers)
    flat = (picture for chunk in results for picture in chunk)
    console = Console(stderr=True)
    if not label or not console.is_terminal:
        return flat
    return track(flat, label, len(paths), console=console, transient=True)


def _prepare_chunk(paths: Sequence[Path], resolution: int) -> list[Picture | Unusable]:
    pictures: list[Picture | Unusable] = []
    for path in paths:
        try:
            pictures.append(prepare_file(path, resolution))
        except Unusable as reason:
            pictures.append(reason)
    return pictures


def _pooled(chunks: list[Sequence[Path]], resolution: int, workers: int) -> Iterator[list[Picture | Unusable]]:
    # Not forked: the parent may hold threads and a GPU. A few chunks ahead keep the workers busy without piling up.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        waiting: deque[tuple[Sequence[Path], Future[list[Picture | Unusable]]]] = deque()
        try:
            for chunk in chunks:
                waiting.append((chunk, pool.submit(_prepare_chunk, chunk, resolution)))
                if len(waiting) > 4 * workers:
                    yield waiting[0][1].result()
                    waiting.popleft()
            while waiting:
                yield waiting[0][1].result()
                waiting.popleft()
        except BrokenProcessPool as error:
            first = waiting[0][0] if waiting else chunks[0]
            raise UserError(
                f"a decoding process was killed (too little memory, or a damaged image) in or near {first[0]} to "
                f"{first[-1]}: free memory, or move these files away and start again."
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
