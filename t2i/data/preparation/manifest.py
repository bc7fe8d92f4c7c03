"""What preparation writes beside the pictures: every image with its source, and all that was set aside, with reasons."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

from t2i.data.base import SPLITS
from t2i.data.files.fence import written
from t2i.data.preparation.entries import Entry
from t2i.data.spool import Spool

SHOWN = 200
"""Characters of a dropped caption that are written."""


def _plain() -> Spool[Any]:
    return Spool(pack=lambda record: record)


class Manifest:
    """Collects while preparation goes on; its lists lie in temporary files."""

    def __init__(self) -> None:
        self.used = dict.fromkeys(SPLITS, 0)
        self.unusable = _plain()
        self._images = {split: _plain() for split in SPLITS}
        self._captions = {split: _plain() for split in SPLITS}
        self._dropped_captions = _plain()
        self.repeated = _plain()
        self._near = _plain()
        self._domains: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
        self._categories: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
        self._texts = dict.fromkeys(SPLITS, 0)
        self._reasons: Counter[str] = Counter()

    def use(self, entry: Entry, facts: Mapping[str, Any], merged: int = 0) -> None:
        """An image that is in the set; facts: what was seen of it, for audit.json; merged: captions that copies gave it."""
        split, sample = entry.split, entry.sample
        self.used[split] += 1
        self._texts[split] += len(sample.captions)
        self._domains[split].update(sample.domains)
        self._categories[split].update(sample.categories)
        self._reasons["flat"] += facts.get("flat", False)
        self._reasons["merged"] += merged
        said = {"file": written(entry.file), "captions": sample.captions, "domains": sample.domains}
        self._captions[split].append([written(sample.id), said])
        self._list(entry, facts)

    def refuse(self, entry: Entry, reason: str) -> None:
        """An image that cannot be used."""
        self._reasons["unusable"] += 1
        self.unusable.append(_named(entry) | {"reason": written(reason)})
        self._list(entry, {"dropped": written(reason)})

    def set_aside(self, entry: Entry, kind: str, reason: str, facts: Mapping[str, Any]) -> None:
        """An image that could be used, but shows what another one shows."""
        self._reasons[kind] += 1
        self.repeated.append(_named(entry) | {"reason": written(reason)})
        self._list(entry, {**facts, "dropped": written(reason)})

    def near(self, earlier: Entry, later: Entry, bits: int) -> None:
        """Two images of the set that look alike."""
        self._reasons["near_duplicates"] += 1
        self._near.append({"images": [_named(earlier), _named(later)], "bits": bits})

    def _list(self, entry: Entry, facts: Mapping[str, Any]) -> None:
        record = {**_named(entry), "sha256": entry.sha256, "license": entry.sample.license, **facts}
        self._images[entry.split].append({key: value for key, value in record.items() if value != ""})
        for caption, reason in entry.dropped:
            self._reasons[reason] += 1
            shown = caption if len(caption) <= SHOWN else caption[:SHOWN] + "..."
            self._dropped_captions.append(_named(entry) | {"caption": shown, "reason": reason})

    def write(self, folder: Path, head: Mapping[str, Any]) -> None:
        """Writes captions_subset.json, audit.json, duplicates.json and quarantine.json."""
        counts = {
            split: {
                "images": self.used[split],
                "captions": self._texts[split],
                "domains": dict(sorted(self._domains[split].items())),
                "categories": dict(sorted(self._categories[split].items())),
            }
            for split in SPLITS
        }
        kinds = ("unusable", "duplicate", "leak", "look_alike", "near_duplicates", "empty caption", "duplicate caption")
        counts["set_aside"] = {kind.replace(" ", "_"): self._reasons[kind] for kind in kinds}
        counts["kept"] = {"flat": self._reasons["flat"], "merged_captions": self._reasons["merged"]}
        images = (record for split in SPLITS for record in self._images[split])
        with _opened(folder / "audit.json") as file:
            file.write(_json({**head, "counts": counts})[:-1] + ',\n"images": ')
            write_list(file, images)
            file.write(',\n"dropped_captions": ')
            write_list(file, self._dropped_captions)
            file.write("}\n")
        with _opened(folder / "duplicates.json") as file:
            file.write('{"set_aside": ')
            write_list(file, self.repeated)
            file.write(',\n"near": ')
            write_list(file, self._near)
            file.write("}\n")
        with _opened(folder / "quarantine.json") as file:
            write_list(file, self.unusable)
        with _opened(folder / "captions_subset.json") as file:
            file.write(_json(head)[:-1])
            for split in SPLITS:
                file.write(f",\n{_json(split)}: {{")
                for place, (key, said) in enumerate(self._captions[split]):
                    file.write((",\n" if place else "\n") + f"{_json(key)}: {_json(said)}")
                file.write("}")
            file.write("}\n")


def _named(entry: Entry) -> dict[str, str]:
    return {"id": written(entry.sample.id), "split": entry.split, "file": written(entry.file)}


def _opened(path: Path) -> TextIO:
    return open(path, "w", encoding="utf-8")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def write_list(file: TextIO, records: Iterable[Any]) -> None:
    """A JSON list with one record a line."""
    file.write("[")
    for place, record in enumerate(records):
        file.write((",\n" if place else "\n") + _json(record))
    file.write("]")
