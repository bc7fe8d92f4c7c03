"""How fast preparation is, against the least that anybody would write: decode, crop, resize and encode in a pool.

Both read the same JPEG files with as many processes, in turns, and must give the same bytes. Preparation also
screens names, reads every file's digest, hashes every picture, finds duplicates, and writes shards and an audit.
"""

import io
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import Image

RESOLUTION = 256
SCRATCH = Path("outputs")
"""On the disk that runs write to: a temporary folder may lie in memory."""


def run(images: int = 2000, rounds: int = 5) -> dict[str, Any]:
    """Images per second of both, and the median of the rounds' ratios."""
    from t2i.data.preparation.prepare import prepare
    from t2i.data.prepared import Prepared
    from t2i.data.sources.folder import Folder
    from t2i.store import Store

    cores = len(os.sched_getaffinity(0))
    SCRATCH.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as scratch:
        root = Path(scratch) / "images"
        paths = _photographs(root, images, cores)
        ours, bare = [], []
        for number in range(rounds):
            start = time.perf_counter()
            made = _bare(paths, Path(scratch) / f"bare{number}", cores)
            bare.append(images / (time.perf_counter() - start))
            start = time.perf_counter()
            dataset = Folder(root=str(root), resolution=RESOLUTION, held_out_share=0.001)
            stage = prepare(dataset, Store(Path(scratch) / f"store{number}"), progress=False)
            ours.append(images / (time.perf_counter() - start))
            data = Prepared(stage.path)
            for split in map(data.split, ("train", "held_out")):
                for place, name in enumerate(split.ids):
                    assert split.encoded(place) == (made / name).with_suffix(".png").read_bytes(), name
            assert len(data.split("train")) + len(data.split("held_out")) == images
            print(f"round {number + 1}: {ours[-1]:.1f} images/s prepared, {bare[-1]:.1f} bare", flush=True)
        size = statistics.mean(path.stat().st_size for path in paths)
    ratios = [mine / other for mine, other in zip(ours, bare, strict=True)]
    return {
        "what": f"{images} JPEG files of 640 x 480 pixels, {size / 1000:.0f} kB on average, to {RESOLUTION} x {RESOLUTION}",
        "pillow": PIL.__version__,
        "processes": cores,
        "prepare_images_per_s": [round(value, 2) for value in ours],
        "bare_images_per_s": [round(value, 2) for value in bare],
        "ratio_median": round(statistics.median(ratios), 3),
        "ratio_range": [round(min(ratios), 3), round(max(ratios), 3)],
        "results_equal": True,
        "target": 0.8,
    }


def _photographs(root: Path, count: int, cores: int) -> list[Path]:
    """Drawn scenes with sensor-like noise, as JPEG files of about the size of COCO's, with a caption each."""
    root.mkdir()
    with multiprocessing.get_context("spawn").Pool(cores) as pool:
        paths = pool.map(partial(_photograph, root), range(count), chunksize=16)
    rows = [json.dumps({"file_name": path.name, "text": f"picture {number}"}) for number, path in enumerate(paths)]
    (root / "metadata.jsonl").write_text("\n".join(rows), encoding="utf-8")
    return paths


def _photograph(root: Path, number: int) -> Path:
    from t2i.data.sources.scenes.world import describe, draw

    scene = draw(describe(0, number), 256)[0].convert("RGB").resize((640, 480), Image.Resampling.BICUBIC)
    noise = np.random.default_rng(number).normal(0, 9, (480, 640, 1))
    path = root / f"{number:06d}.jpg"
    Image.fromarray(np.clip(np.asarray(scene) + noise, 0, 255).astype(np.uint8)).save(path, quality=90)
    return path


def _bare(paths: list[Path], folder: Path, cores: int) -> Path:
    folder.mkdir()
    with multiprocessing.get_context("spawn").Pool(cores) as pool:
        pool.map(partial(_one, folder), paths, chunksize=8)
    return folder


def _one(folder: Path, path: Path) -> None:
    with Image.open(path) as image:
        image.draft(None, (2 * RESOLUTION, 2 * RESOLUTION))
        picture = image.convert("RGB")
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side))
    file = io.BytesIO()
    square.resize((RESOLUTION, RESOLUTION), Image.Resampling.LANCZOS).save(file, "PNG", compress_level=3)
    (folder / path.with_suffix(".png").name).write_bytes(file.getvalue())
