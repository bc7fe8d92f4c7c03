"""Small data sets in the layouts that people have on disk."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2i.store import Store

CATEGORIES = [
    {"id": 17, "name": "cat", "supercategory": "animal"},
    {"id": 18, "name": "dog", "supercategory": "animal"},
    {"id": 6, "name": "bus", "supercategory": "vehicle"},
    {"id": 53, "name": "apple", "supercategory": "food"},
]


def picture(number: int, size: tuple[int, int] = (40, 32)) -> Image.Image:
    """Noise that is different for each number."""
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), np.uint8))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def coco_root(tmp_path: Path) -> Callable[..., Path]:
    """Writes 12 training images (5 with animals, 4 with a vehicle, 2 with both, 1 with food, 4 with nothing) and 4
    validation images, in the official layout or in the one of `scenes`."""

    def write(official: bool = True) -> Path:
        root = tmp_path / "coco"
        (root / "annotations").mkdir(parents=True)
        contents = {3: [17], 5: [17, 18], 7: [18], 9: [17, 6], 11: [18, 6], 13: [6], 15: [6, 6], 17: [53]}
        for split, count in (("train", 12), ("val", 4)):
            name = f"{split}2017" if official else split
            folder = root / name if official else root / "images" / name
            folder.mkdir(parents=True)
            ids = [3 + 2 * number + (100 if split == "val" else 0) for number in range(count)]
            files = {key: f"{key:012d}.jpg" if official else f"{name}/{key:012d}.png" for key in ids}
            for key in ids:
                picture(key).save(folder / Path(files[key]).name)
            images = [{"id": key, "file_name": files[key], "width": 40, "height": 32} for key in reversed(ids)]
            captions = [
                {"id": 10 * key + number, "image_id": key, "caption": f" picture {key},\n wording {number} "}
                for number in range(2)
                for key in ids
            ]
            instances = [
                {"id": 10 * key + number, "image_id": key, "category_id": category}
                for key in ids
                for number, category in enumerate(contents.get(key % 100, []))
            ]
            for kind, annotations in (("captions", captions), ("instances", instances)):
                content = {"images": images, "annotations": annotations, "categories": CATEGORIES}
                (root / "annotations" / f"{kind}_{name}.json").write_text(json.dumps(content))
        return root

    return write


@pytest.fixture
def folder_root(tmp_path: Path) -> Callable[..., Path]:
    """Writes 40 captioned images in two sub-folders; `form` is jsonl, csv or txt."""

    def write(form: str = "jsonl", count: int = 40) -> Path:
        root = tmp_path / f"folder_{form}"
        rows = []
        for number in range(count):
            name = f"{('cats', 'dogs')[number % 2]}/{number:02d}.png"
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            picture(number).save(root / name)
            rows.append((name, f"picture {number}"))
        if form == "jsonl":
            lines = [json.dumps({"file_name": name, "text": text}) for name, text in rows]
            (root / "metadata.jsonl").write_text("\n".join(lines))
        elif form == "csv":
            (root / "metadata.csv").write_text(
                "file_name,caption\n" + "".join(f'{name},"{text}"\n' for name, text in rows)
            )
        else:
            for name, text in rows:
                (root / name).with_suffix(".txt").write_text(text)
        return root

    return write
