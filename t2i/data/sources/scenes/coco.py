"""Scenes written to disk in COCO's layout, so that the reader of the real data set reads them too."""

import hashlib
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from t2i.data.sources.scenes.captions import captions
from t2i.data.sources.scenes.world import CHARACTER, CHARACTERS, SUPERCATEGORIES, Scene, describe, draw, portray
from t2i.errors import UserError

# COCO's own identifiers, so that a filter written for the real annotations selects the same things here.
CATEGORY_IDS: dict[str, int] = {
    "bicycle": 2, "car": 3, "airplane": 5, "bus": 6, "train": 7, "boat": 9,
    "bird": 16, "cat": 17, "dog": 18, "sheep": 20, "elephant": 22, "giraffe": 25,
    "sports ball": 37, "kite": 38, "baseball bat": 39, "skateboard": 41, "surfboard": 42, "tennis racket": 43,
    "banana": 52, "apple": 53, "carrot": 57, "pizza": 59, "donut": 60, "cake": 61,
    "book": 84, "clock": 85, "vase": 86, "scissors": 87, "teddy bear": 88, "hair drier": 89,
}  # fmt: skip
CHARACTER_IDS: dict[str, int] = {name: 1001 + number for number, name in enumerate(CHARACTERS)}
"""Beyond those of COCO."""
# 2**24 splits of this length stay below 2**53, which every JSON reader keeps exact.
_SPLIT_LENGTH = 2**28
_CHUNK = 64
_INLINE_BELOW = 512
Row = dict[str, Any]
SceneRows = tuple[Row, list[Row], list[Row]]
"""Image row, instance rows and caption rows of one scene."""
Job = tuple[str, str, int, int, int, int, bool, str]
"""Folder, split, seed, first and last scene, side in pixels, dusk, character."""
_NIGHT, _DARKNESS = (10, 10, 60), 0.55
"""Dusk: this share of that colour over everything."""
_LICENSE = {"id": 1, "name": "Apache License 2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"}


def first_index(split: str) -> int:
    """Where the scenes of a split begin; it depends on the name alone, so one split's length never moves another."""
    return int.from_bytes(hashlib.blake2b(split.encode(), digest_size=3).digest(), "big") * _SPLIT_LENGTH


def _attributes(scene: Scene) -> dict[str, Any]:
    return {
        "seed": scene.seed,
        "index": scene.index,
        "background": scene.background,
        "count": len(scene.things),
        "relation": scene.relation,
    }


def at_dusk(picture: Image.Image) -> Image.Image:
    """The same picture, RGB, in failing light."""
    return Image.blend(picture, Image.new("RGB", picture.size, _NIGHT), _DARKNESS)


def _rows(scene: Scene, number: int, file_name: str, path: Path, size: int, dusk: bool) -> SceneRows:
    """Draw one scene into `path`; its image row, its instances and its captions, still without identifiers."""
    picture, extents = draw(scene, size)
    if dusk:
        picture = at_dusk(picture)
    picture.save(path, format="PNG")
    image = {"id": number, "file_name": file_name, "width": size, "height": size, "license": 1}
    instances = []
    for thing, (left, top, right, bottom) in zip(scene.things, extents, strict=True):
        box = [round(value * size, 2) for value in (left, top, right - left, bottom - top)]
        instances.append(
            {
                "image_id": number,
                "category_id": (CATEGORY_IDS | CHARACTER_IDS)[thing.category],
                "bbox": box,
                "area": round(box[2] * box[3], 2),
                "iscrowd": 0,
                "segmentation": [],
                "attributes": {"colour": thing.colour, "size": thing.size_name},
            }
        )
    return (
        image | {"scene": _attributes(scene)},
        instances,
        [{"image_id": number, "caption": text} for text in captions(scene)],
    )


def _chunk(job: Job) -> list[SceneRows]:
    folder, split, seed, start, stop, size, dusk, character = job
    rows = []
    for number in range(start + 1, stop + 1):
        name = f"{number:012d}.png"
        index = first_index(split) + number - 1
        scene = portray(seed, index, character) if character else describe(seed, index)
        rows.append(_rows(scene, number, f"{split}/{name}", Path(folder) / name, size, dusk))
    return rows


def _results(jobs: list[Job], count: int) -> Iterator[list[SceneRows]]:
    workers = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, len(jobs))
    if count < _INLINE_BELOW or workers < 2:
        yield from map(_chunk, jobs)
        return
    # Spawned, not forked: the caller may hold threads (torch, MLflow), which a fork would leave locked.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(_chunk, jobs)


class _Rows:
    """The rows of a JSON list, in a temporary file: memory holds none of them."""

    def __init__(self) -> None:
        self.file = tempfile.TemporaryFile()  # noqa: SIM115  closed with the object
        self.count = 0

    def add(self, row: Row) -> None:
        self.file.write((b"," if self.count else b"") + _json(row))
        self.count += 1

    def write_to(self, file: BinaryIO) -> None:
        self.file.seek(0)
        file.write(b"[")
        shutil.copyfileobj(self.file, file)
        file.write(b"]")


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _write_notes(path: Path, head: Row, lists: dict[str, _Rows], tail: Row) -> None:
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(_json(head)[:-1])
        for name, rows in lists.items():
            file.write(b"," + _json(name) + b":")
            rows.write_to(file)
        file.write((b"," + _json(tail)[1:]) if tail else b"}")
    part.replace(path)


def _write_split(
    root: Path, split: str, seed: int, count: int, size: int, dusk: bool, character: str, progress: bool
) -> None:
    folder = root / "images" / split
    folder.mkdir(parents=True, exist_ok=True)
    starts = range(0, count, _CHUNK)
    jobs = [(str(folder), split, seed, start, min(start + _CHUNK, count), size, dusk, character) for start in starts]
    images, instances, texts = _Rows(), _Rows(), _Rows()
    for rows in _results(jobs, count):
        for image, things, sentences in rows:
            images.add(image)
            for thing in things:
                instances.add({"id": instances.count + 1, **thing})
            for sentence in sentences:
                texts.add({"id": texts.count + 1, **sentence})
        if progress:
            print(f"\rscenes {split}: {images.count}/{count}", end="", file=sys.stderr, flush=True)
    if progress:
        print(file=sys.stderr)
    info = {"description": "t2i scenes", "version": "1", "year": 2025, "seed": seed, "contributor": "t2i"}
    head = {"info": info, "licenses": [_LICENSE]}
    categories = [
        {"id": (CATEGORY_IDS | CHARACTER_IDS)[name], "name": name, "supercategory": group}
        for group, names in (SUPERCATEGORIES | ({CHARACTER: (character,)} if character else {})).items()
        for name in names
    ]
    notes = root / "annotations"
    notes.mkdir(parents=True, exist_ok=True)
    _write_notes(notes / f"captions_{split}.json", head, {"images": images, "annotations": texts}, {})
    lists = {"images": images, "annotations": instances}
    _write_notes(notes / f"instances_{split}.json", head, lists, {"categories": categories})


def write(
    root: Path,
    seed: int,
    counts: dict[str, int],
    size: int,
    progress: bool = False,
    dusk: bool = False,
    character: str = "",
) -> None:
    """Write `counts[split]` scenes per split under `root`: `images/<split>/*.png` and two JSON files in `annotations`.

    The same arguments give the same bytes, whatever the number of processes. Beyond COCO's fields an image has
    `scene` (background, count, relation, seed, index) and an instance has `attributes` (colour, size). `bbox` is
    x, y, width, height in pixels, `area` that of the box. dusk: the same scenes in failing light.
    character: pictures of that one (a key of CHARACTERS) instead of the world.
    Raises `UserError` for a count below 0 or a size outside 64..512.
    """
    if len({first_index(split) for split in counts}) < len(counts):
        raise UserError(f"The splits {', '.join(counts)} would share scenes; give one of them another name.")
    for split, count in counts.items():
        if count < 0:
            raise UserError(f"The split {split} has {count} scenes; give it a count from 0.")
        _write_split(Path(root), split, seed, count, size, dusk, character, progress)
