"""From a source to a training-ready, audited set: every image decoded once, the unusable ones set aside with a reason.

The stage holds `train-00000.parquet`, `held_out-00000.parquet` (and further shards), which `datasets` opens with its
Image feature; `set_aside-00000.parquet` (pictures that others repeat); `captions_subset.json` (the captions that were
chosen, by split and image); `audit.json` (id, digest, licence and size of every image, why it was dropped if it was,
counts by domain and category, dropped captions); `quarantine.json` (images that cannot be used, and why); and
`duplicates.json` (images that repeat others, and pairs that look alike).

Pictures that an earlier stage or a killed run made from files of the same content are taken from there.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from t2i.data.base import SPLITS, Dataset, NearDuplicates, draw
from t2i.data.crop import Crop
from t2i.data.preparation.colours import Unusable
from t2i.data.preparation.decode import Picture, prepare_file
from t2i.data.preparation.entries import Chosen, Entry, chosen
from t2i.data.preparation.harvest import LEFTOVERS, Harvest, earlier, leftovers
from t2i.data.preparation.manifest import Manifest
from t2i.data.preparation.outcomes import Outcome, Outcomes
from t2i.data.preparation.pool import Job, prepared_files
from t2i.data.preparation.repeats import Repeats
from t2i.data.preparation.shards import ShardWriter
from t2i.errors import UserError
from t2i.store import Stage, Store, addressed

VERSION = 3
SET_ASIDE = "set_aside"


def prepare(dataset: Dataset, store: Store, progress: bool = True) -> Stage:
    """The prepared images of a validated data set, built unless the store has them.

    Raises UserError when there is nothing to prepare, or when more than the share `dataset.quarantine` of the images
    is unusable; ConfigError when a domain does not exist.
    """
    dataset.acquire(store)
    with _told(store, lambda: "the digests of the files that were read are kept"):
        found = chosen(dataset, store)
    for note in dataset.remarks.notes:
        store.announce(f"{dataset.name}: {note}")
    config = {
        **dataset.digest_parts(),
        "seed": dataset.seed,
        "near_bits": dataset.near_bits,
        "near_duplicates": dataset.near_duplicates.value,
    }
    build = partial(_build, found=found, dataset=dataset, store=store, progress=progress)
    with _told(
        store, lambda: f"{_kept(store, found, config):,} of {len(found.entries):,} images are prepared and kept"
    ):
        stage = store.stage("prepared", found.digests, config, VERSION, build, resumable=True)
    # Outside of the stage: under a looser quota, what is prepared now need not be prepared again.
    quarantine = json.loads((stage.path / "quarantine.json").read_text(encoding="utf-8"))
    _check_quota(quarantine, len(found.entries), dataset)
    return stage


@contextmanager
def _told(store: Store, kept: Callable[[], str]) -> Iterator[None]:
    """Says what is kept when a signal ends the work inside."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception):
            store.announce(f"interrupted: {kept()}; the same command goes on from there")
        raise


def _kept(store: Store, found: Chosen, config: Mapping[str, Any]) -> int:
    """How many prepared pictures a build that was interrupted left in finished shards."""
    _, digest = addressed("prepared", found.digests, config, VERSION)
    files = (store.root / "prepared" / f".{digest}.partial").rglob("*.parquet")
    return sum(pq.read_metadata(path).num_rows for path in files)


def _build(folder: Path, found: Chosen, dataset: Dataset, store: Store, progress: bool) -> None:
    folders = [leftovers(folder), *earlier(store, "prepared", dataset.digest_parts(), VERSION)]
    repeats, outcomes, manifest = Repeats(found.entries, dataset.near_bits), Outcomes(), Manifest()
    pictures = _pictures(found, dataset, store, Harvest(folders), f"preparing {dataset.name}" if progress else "")
    with ShardWriter(folder, SET_ASIDE, empty=False) as aside:
        with ExitStack() as stack:
            writers = {name: stack.enter_context(ShardWriter(folder, name)) for name in SPLITS}
            for place, (entry, picture) in enumerate(pictures):
                outcome = _judged(found, place, entry, picture, repeats)
                outcomes.add(found, place, outcome)
                if isinstance(picture, Picture):
                    writer = aside if outcome.kind else writers[entry.split]
                    writer.add(entry.sample, picture, entry.file, entry.sha256)
        if dataset.near_duplicates is not NearDuplicates.keep:
            outcomes.set_aside_alike(repeats, dataset.near_duplicates is NearDuplicates.merge)
        outcomes.revise(folder, found, aside)
    outcomes.tell(found, repeats, manifest, dataset.near_duplicates is NearDuplicates.keep)
    if not manifest.used["train"]:
        _check_quota(manifest.unusable, len(found.entries), dataset)
        dropped = [*manifest.unusable[:3], *manifest.repeated[:3]]
        raise UserError(f"no training image is left of {len(found.entries)}: {_named(dropped)}.")
    manifest.write(folder, {"resolution": dataset.resolution, "crop": dataset.crop.value, "seed": dataset.seed})
    shutil.rmtree(folder / LEFTOVERS)


def _judged(found: Chosen, place: int, entry: Entry, picture: Picture | Unusable | None, repeats: Repeats) -> Outcome:
    if isinstance(picture, Unusable):
        return Outcome("unusable", repeats.refused(place, str(picture)))
    if picture is None:
        return Outcome.of(None, repeats.copy(int(found.first[place]), entry))
    return Outcome.of(picture, repeats.judge(place, entry, picture))


def _pictures(
    found: Chosen, dataset: Dataset, store: Store, harvest: Harvest, label: str
) -> Iterator[tuple[Entry, Picture | Unusable | None]]:
    """Every entry with its picture or the reason why there is none; None for the copy of an earlier file."""
    entries = found.entries
    own = found.first == np.arange(len(entries))
    wanted = own & (found.keys > 0)
    known = harvest.has(found.keys)
    todo = wanted & ~known
    if (wanted & known).any():
        store.announce(f"{(wanted & known).sum()} of {wanted.sum()} images are prepared already")

    def job(entry: Entry) -> Job:
        return entry.sample.path, draw(dataset.seed, "crop", entry.sha256) if dataset.crop is Crop.random else 0.5

    jobs = (job(entries[place]) for place in np.flatnonzero(todo).tolist())
    decoded = prepared_files(jobs, int(todo.sum()), dataset.resolution, dataset.crop, label, dataset.background)
    for place in range(len(entries)):
        entry = found.merged(place)
        if entry.reason:
            yield entry, Unusable(entry.reason)
        elif not own[place]:
            yield entry, None
        elif todo[place]:
            yield entry, next(decoded)
        else:
            yield entry, harvest.picture(entry.sha256) or _decoded(job(entry), dataset)
    if next(decoded, None) is not None:  # asked once more, the worker processes end
        raise AssertionError("more pictures than jobs")


def _decoded(job: Job, dataset: Dataset) -> Picture | Unusable:
    """For a picture that was known, but is damaged."""
    try:
        return prepare_file(job[0], dataset.resolution, dataset.crop, job[1], dataset.background)
    except Unusable as reason:
        return reason


def _check_quota(quarantine: Any, total: int, dataset: Dataset) -> None:
    if len(quarantine) <= dataset.quarantine * total:
        return
    raise UserError(
        f"{len(quarantine)} of {total} images cannot be used ({_named(quarantine)}), more than "
        f"dataset.quarantine={dataset.quarantine:g} allows: repair or remove them, or type "
        f"dataset.quarantine={_enough(len(quarantine), total)} to go on without them."
    )


def _named(quarantine: Any, most: int = 3) -> str:
    named = "; ".join(f"{item['file']}: {item['reason']}" for item in quarantine[:most])
    return named + ("; ..." if len(quarantine) > most else "")


def _enough(bad: int, total: int) -> float:
    """The share that would let `bad` of `total` pass, rounded up to a percent."""
    return min(1.0, -(-100 * bad // total) / 100)
