"""From a source to a training-ready, audited set: every image decoded once, the unusable ones set aside with a reason.

The stage holds `train-00000.parquet`, `held_out-00000.parquet` (and further shards), which `datasets` opens with its
Image feature; `captions_subset.json` (the captions that were chosen, by split and image); `audit.json` (id, digest
and source size of every image, counts by domain and category); and `quarantine.json` (what was set aside, and why).
"""

import json
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2i.data.base import SPLITS, Dataset, Fence, Sample
from t2i.data.decode import Unusable
from t2i.data.pool import prepared_files
from t2i.data.shards import ShardWriter
from t2i.errors import UserError
from t2i.store import Stage, Store, digest_of, write_json

VERSION = 1


@dataclass(frozen=True)
class Entry:
    """A chosen sample: `file` is its path below the root, `sha256` its digest, or `reason` why it cannot be used."""

    split: str
    sample: Sample
    file: str
    sha256: str = ""
    reason: str = ""


def prepare(dataset: Dataset, store: Store, progress: bool = True) -> Stage:
    """The prepared images of a validated data set, built unless the store has them.

    Raises UserError when there is nothing to prepare, or when more than the share `dataset.quarantine` of the images
    is unusable; ConfigError when a domain does not exist.
    """
    dataset.acquire(store)
    entries = _entries(dataset, store)
    inputs = {split: digest_of([_identity(entry) for entry in entries if entry.split == split]) for split in SPLITS}
    stage = store.stage(
        "prepared", inputs, dataset.digest_parts(), VERSION, lambda folder: _build(folder, entries, dataset, progress)
    )
    # Outside of the stage: under a looser quota, what is prepared now need not be prepared again.
    _check_quota(json.loads((stage.path / "quarantine.json").read_text(encoding="utf-8")), len(entries), dataset)
    return stage


def _entries(dataset: Dataset, store: Store) -> list[Entry]:
    """The chosen samples of both splits, screened by what can be told without decoding."""
    root = dataset.location()
    samples = [(split, sample) for split in SPLITS for sample in dataset.samples(split)]
    if not any(split == "train" for split, _ in samples):
        raise UserError(f"dataset={dataset.name} has no training image in {root}: expected {dataset.layout()}.")
    fence = Fence(root)
    screened = [
        ((split, sample), fence.refusal(sample.path) or ("" if sample.captions else "no caption"))
        for split, sample in samples
    ]
    digests = iter(store.file_digests([sample.path for (_, sample), reason in screened if not reason]))
    return [
        Entry(split, sample, _relative(root, sample.path), "" if reason else next(digests), reason)
        for (split, sample), reason in screened
    ]


def _relative(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _identity(entry: Entry) -> list[Any]:
    sample = entry.sample
    return [
        sample.id,
        entry.file,
        entry.sha256,
        entry.reason,
        *map(list, (sample.captions, sample.domains, sample.categories)),
    ]


def _build(folder: Path, entries: list[Entry], dataset: Dataset, progress: bool) -> None:
    audit: list[dict[str, Any]] = []
    used: dict[str, list[Sample]] = {split: [] for split in SPLITS}
    quarantine = [_set_aside(entry, entry.reason) for entry in entries if entry.reason]
    chosen = [entry for entry in entries if not entry.reason]
    label = f"preparing {dataset.name}" if progress else ""
    with ExitStack() as stack:
        writers = {split: stack.enter_context(ShardWriter(folder, split)) for split in SPLITS}
        pictures = prepared_files([entry.sample.path for entry in chosen], dataset.resolution, label)
        for entry, picture in zip(chosen, pictures, strict=True):
            if isinstance(picture, Unusable):
                quarantine.append(_set_aside(entry, str(picture)))
                continue
            writers[entry.split].add(entry.sample, picture.png, entry.file)
            used[entry.split].append(entry.sample)
            source = {"sha256": entry.sha256, "width": picture.width, "height": picture.height}
            audit.append({"id": entry.sample.id, "split": entry.split, "file": entry.file, **source})
    counts = {split: _counts(used[split]) for split in SPLITS}
    subset = {split: {sample.id: list(sample.captions) for sample in used[split]} for split in SPLITS}
    if not used["train"]:
        _check_quota(quarantine, len(entries), dataset)
        raise UserError(f"no training image is left of {len(entries)}: {_named(quarantine)}.")
    write_json(folder / "captions_subset.json", subset)
    write_json(folder / "audit.json", {"resolution": dataset.resolution, "counts": counts, "images": audit})
    write_json(folder / "quarantine.json", quarantine)


def _set_aside(entry: Entry, reason: str) -> dict[str, str]:
    # A file name need not be Unicode; what is written is.
    texts = {"id": entry.sample.id, "split": entry.split, "file": entry.file, "reason": reason}
    return {key: text.encode("utf-8", "backslashreplace").decode() for key, text in texts.items()}


def _counts(samples: list[Sample]) -> dict[str, Any]:
    domains = Counter(name for sample in samples for name in sample.domains)
    categories = Counter(name for sample in samples for name in sample.categories)
    return {
        "images": len(samples),
        "captions": sum(len(sample.captions) for sample in samples),
        "domains": dict(sorted(domains.items())),
        "categories": dict(sorted(categories.items())),
    }


def _check_quota(quarantine: list[dict[str, str]], total: int, dataset: Dataset) -> None:
    if len(quarantine) <= dataset.quarantine * total:
        return
    raise UserError(
        f"{len(quarantine)} of {total} images cannot be used ({_named(quarantine)}), more than "
        f"dataset.quarantine={dataset.quarantine:g} allows: repair or remove them, or type "
        f"dataset.quarantine={_enough(len(quarantine), total)} to go on without them."
    )


def _named(quarantine: list[dict[str, str]], most: int = 3) -> str:
    named = "; ".join(f"{item['file']}: {item['reason']}" for item in quarantine[:most])
    return named + ("; ..." if len(quarantine) > most else "")


def _enough(bad: int, total: int) -> float:
    """The share that would let `bad` of `total` pass, rounded up to a percent."""
    return min(1.0, -(-100 * bad // total) / 100)
