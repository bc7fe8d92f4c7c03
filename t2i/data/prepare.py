"""From a source to a training-ready, audited set: every image decoded once, the unusable ones set aside with a reason.

The stage holds `train-00000.parquet`, `held_out-00000.parquet` (and further shards), which `datasets` opens with its
Image feature; `captions_subset.json` (the captions that were chosen, by split and image); `audit.json` (id, digest
and source size of every image, counts by domain and category); and `quarantine.json` (what was set aside, and why).
"""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t2i.data.base import SPLITS, Dataset, Sample, inside
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
    # A reused stage may have been built under a looser quota.
    _check_quota(json.loads((stage.path / "quarantine.json").read_text(encoding="utf-8")), len(entries), dataset)
    return stage


def _entries(dataset: Dataset, store: Store) -> list[Entry]:
    """The chosen samples of both splits, screened by what can be told without decoding."""
    root = Path(dataset.root)
    samples = [(split, sample) for split in SPLITS for sample in dataset.samples(split)]
    if not any(split == "train" for split, _ in samples):
        raise UserError(f"dataset={dataset.name} has no training image in {root}: expected {dataset.layout()}.")
    screened = [((split, sample), _reason(root, sample)) for split, sample in samples]
    digests = iter(store.file_digests([sample.path for (_, sample), reason in screened if not reason]))
    return [
        Entry(split, sample, _relative(root, sample.path), "" if reason else next(digests), reason)
        for (split, sample), reason in screened
    ]


def _reason(root: Path, sample: Sample) -> str:
    """Why a sample is unusable before its image is looked at; empty when nothing speaks against it."""
    try:
        if not inside(root, sample.path):
            return "outside the root folder"
        if not sample.path.is_file():
            return "missing"
    except (OSError, ValueError) as error:  # a name that no file system takes
        return f"bad file name: {error}"
    return "" if sample.captions else "no caption"


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
    counts: dict[str, Any] = {}
    subset: dict[str, dict[str, list[str]]] = {}
    quarantine = [_set_aside(entry, entry.reason) for entry in entries if entry.reason]
    _check_quota(quarantine, len(entries), dataset)
    for split in SPLITS:
        chosen = [entry for entry in entries if entry.split == split and not entry.reason]
        used: list[Sample] = []
        with ShardWriter(folder, split) as writer:
            pictures = prepared_files(
                [entry.sample.path for entry in chosen], dataset.resolution, f"preparing {split}" if progress else ""
            )
            for entry, picture in zip(chosen, pictures, strict=True):
                if isinstance(picture, Unusable):
                    quarantine.append(_set_aside(entry, str(picture)))
                    _check_quota(quarantine, len(entries), dataset)
                    continue
                writer.add(entry.sample, picture.png, entry.file)
                used.append(entry.sample)
                audit.append(
                    {
                        "id": entry.sample.id,
                        "split": split,
                        "file": entry.file,
                        "sha256": entry.sha256,
                        "width": picture.width,
                        "height": picture.height,
                    }
                )
        counts[split] = _counts(used)
        subset[split] = {sample.id: list(sample.captions) for sample in used}
    if not counts["train"]["images"]:
        raise UserError(f"no training image is left: {quarantine[0]['file']} is {quarantine[0]['reason']}.")
    write_json(folder / "captions_subset.json", subset)
    write_json(folder / "audit.json", {"resolution": dataset.resolution, "counts": counts, "images": audit})
    write_json(folder / "quarantine.json", quarantine)


def _set_aside(entry: Entry, reason: str) -> dict[str, str]:
    return {"id": entry.sample.id, "split": entry.split, "file": entry.file, "reason": reason}


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
    named = "; ".join(f"{item['file']}: {item['reason']}" for item in quarantine[:3])
    raise UserError(
        f"{len(quarantine)} of {total} images cannot be used ({named}), more than "
        f"dataset.quarantine={dataset.quarantine:g} allows: repair or remove them, or type "
        f"dataset.quarantine={_enough(len(quarantine), total)} to go on without them."
    )


def _enough(bad: int, total: int) -> float:
    """The share that would let `bad` of `total` pass, rounded up to a percent."""
    return min(1.0, -(-100 * bad // total) / 100)
