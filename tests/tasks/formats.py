"""The data of the named experiments as people have them on disk, a few pictures each."""

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from t2i.data.sources.scenes.captions import captions
from t2i.data.sources.scenes.coco import describe, draw

from ..data.conftest import CATEGORIES, picture
from ..data.sources import test_flickr as flickr
from ..data.sources import test_labelled as labelled

LION, BUS = 24, 6


def coco(root: Path, train: int = 14, val: int = 6) -> Path:
    """COCO 2017 as its archives unpack: annotations/*.json and JPEG files. Of four training pictures three show an animal;
    the first of them is cut short. Every held-out picture shows one.
    """
    (root / "annotations").mkdir(parents=True)
    categories = [*CATEGORIES, {"id": LION, "name": "lion", "supercategory": "animal"}]
    for split, count, first in (("train2017", train, 1000), ("val2017", val, 9000)):
        (root / split).mkdir()
        images, captions, instances = [], [], []
        for number in range(count):
            key = first + 7 * number
            file = root / split / f"{key:012d}.jpg"
            picture(key, (96, 80)).save(file, quality=90)
            if split == "train2017" and number == 0:
                file.write_bytes(file.read_bytes()[:1500])
            images.append({"id": key, "file_name": file.name, "width": 96, "height": 80, "license": 1 + number % 3})
            category = BUS if split == "train2017" and number % 4 == 3 else LION
            instances.append(
                {"id": key, "image_id": key, "category_id": category, "bbox": [1, 2, 30, 40], "iscrowd": 0}
            )
            what = "bus on a road" if category == BUS else "lion in the savanna"
            captions += [
                {"id": 10 * key + part, "image_id": key, "caption": f"A {what}, picture {number}, wording {part}."}
                for part in range(5)
            ]
        for kind, annotations in (("captions", captions), ("instances", instances)):
            content = {"info": {}, "images": images, "annotations": annotations, "categories": categories}
            (root / "annotations" / f"{kind}_{split}.json").write_text(json.dumps(content))
    return root


def flickr8k(root: Path) -> Path:
    """The original archives: Flickr8k.token.txt, the lists of the splits, Flicker8k_Dataset/*.jpg."""
    flickr.images(root / "Flicker8k_Dataset")
    (root / "Flickr8k_text").mkdir()
    flickr.tokens(root / "Flickr8k_text" / "Flickr8k.token.txt")
    for split, part in (("train", flickr.NAMES[:12]), ("dev", flickr.NAMES[12:14]), ("test", flickr.NAMES[14:])):
        (root / "Flickr8k_text" / f"Flickr_8k.{split}Images.txt").write_text("\n".join(part) + "\n")
    return root


def flickr30k(root: Path) -> Path:
    """Kaggle's copy: results.csv, parted by bars, beside the folder of the pictures."""
    flickr.images(root / "flickr30k_images" / "flickr30k_images")
    flickr.results_csv(root / "flickr30k_images" / "results.csv")
    return root


def flickr30k_hub(root: Path) -> Path:
    """The hub's Parquet: the encoded pictures in the table, five captions and a split a row. The pictures are drawn scenes
    with captions that the bundled CLIP understands.
    """
    rows = []
    for number in range(20):
        scene, file = describe(7, number), io.BytesIO()
        draw(scene, 96)[0].convert("RGB").save(file, "JPEG")
        name = f"{number:09d}.jpg"
        split = "test" if number < 8 else "train"
        image = {"bytes": file.getvalue(), "path": name}
        rows.append({"image": image, "caption": captions(scene), "split": split, "filename": name})
    root.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), root / "test-00000-of-00001.parquet")
    return root


def cifar10(root: Path) -> Path:
    """The pickled batches of cifar-10-python.tar.gz, unpacked."""
    labelled.write(root, "python 2")
    return root
