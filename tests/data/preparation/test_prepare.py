"""Preparation: what is kept, what is set aside, what is done again and what is not."""

import errno
import io
import itertools
import json
import multiprocessing
import os
import shutil
import time

import numpy as np
import pytest
from PIL import Image

from t2i.data.crop import Crop
from t2i.data.preparation import pool
from t2i.data.preparation.prepare import prepare
from t2i.data.prepared import Prepared
from t2i.data.sources.coco import Coco
from t2i.data.sources.folder import Folder
from t2i.errors import UserError

from ..conftest import picture


def folder(root, **settings):
    return Folder(root=str(root), resolution=64, **settings)


def read(stage, name):
    return json.loads((stage.path / name).read_text())


def test_a_round_trip_gives_the_pictures_in_order(coco_root, store):
    stage = prepare(Coco(root=str(coco_root(False)), resolution=64, train_split="train", held_out_split="val"), store)
    data = Prepared(stage.path)
    train = data.split("train")
    assert train.ids == [str(3 + 2 * number) for number in range(12)] and len(train) == 12
    assert train.captions[0] == ["picture 3, wording 0", "picture 3, wording 1"]
    assert train.domains[3] == ["animal", "vehicle"] and train.categories[3] == ["bus", "cat"]
    assert data.split("held_out").ids == ["103", "105", "107", "109"]
    expected = picture(9).crop((4, 0, 36, 32)).resize((64, 64), Image.Resampling.LANCZOS)
    assert (train.pixels([3])[0] == np.asarray(expected)).all()


def test_the_audit_counts_and_names_every_image(coco_root, store):
    root = coco_root()
    stage = prepare(Coco(root=str(root), resolution=64), store)
    audit = read(stage, "audit.json")
    assert audit["counts"]["train"] == {
        "images": 12,
        "captions": 24,
        "domains": {"animal": 5, "food": 1, "vehicle": 4},
        "categories": {"apple": 1, "bus": 4, "cat": 3, "dog": 3},
    }
    first = audit["images"][0]
    assert (first["id"], first["file"], first["width"], first["height"]) == ("3", "train2017/000000000003.jpg", 40, 32)
    assert first["sha256"] == store.file_digest(root / first["file"])
    assert read(stage, "captions_subset.json")["held_out"]["103"]["captions"] == [
        "picture 103, wording 0",
        "picture 103, wording 1",
    ]
    assert read(stage, "quarantine.json") == []


def test_nothing_is_done_twice_and_a_changed_image_or_caption_is_noticed(folder_root, store):
    root = folder_root("txt")
    first = prepare(folder(root), store)
    again = prepare(folder(root), store)
    assert not first.reused and again.reused and again.digest == first.digest
    (root / "cats/00.txt").write_text("another caption")
    changed = prepare(folder(root), store)
    assert not changed.reused
    picture(99).save(root / "cats/00.png")
    assert prepare(folder(root), store).digest not in (first.digest, changed.digest)
    shutil.move(root, root.with_name("moved"))
    assert prepare(folder(root.with_name("moved")), store).reused


def test_unusable_images_are_set_aside_and_the_others_unchanged(folder_root, store, tmp_path):
    root = folder_root("jsonl")
    good = Prepared(prepare(folder(root), store).path)
    shutil.copy(root / "cats/00.png", tmp_path / "outside.png")
    (root / "cut.png").write_bytes((root / "cats/02.png").read_bytes()[:900])
    (root / "link.png").symlink_to(tmp_path / "outside.png")
    (root / "inner.png").symlink_to(root / "cats/04.png")
    shutil.copy(root / "cats/06.png", root / "mute.png")
    (root / "loop.png").symlink_to(root / "loop.png")
    bad = {
        "loop.png": "",
        "cut.png": "truncated",
        "link.png": "outside the root folder",
        "../outside.png": "outside the root folder",
        "/etc/hostname": "outside the root folder",
        "gone.png": "missing",
        "nul\0.png": "not a usable file name",
        "x" * 300 + ".png": "not a usable file name",
        "\ud800.png": "not a usable file name",
        "mute.png": "no caption",
    }
    with (root / "metadata.jsonl").open("a") as file:
        for name in [*bad, "inner.png"]:
            text = "" if name == "mute.png" else f"bad {name[:20]}"
            file.write("\n" + json.dumps({"file_name": name, "text": text}))
    stage = prepare(folder(root, quarantine=0.3), store)
    listed = {item["file"]: item["reason"] for item in read(stage, "quarantine.json")}
    assert len(listed) == len(bad)
    for name, reason in bad.items():
        written = name.encode("utf-8", "backslashreplace").decode()
        file = next(file for file in listed if file.endswith(written.lstrip("./")))
        assert listed[file].startswith(reason), (file, listed[file])
    data = Prepared(stage.path)
    for split in ("train", "held_out"):
        kept = [key for key in data.split(split).ids if key != "inner.png"]
        assert kept == good.split(split).ids
        indices = [data.split(split).ids.index(key) for key in kept]
        assert (data.split(split).pixels(indices) == good.split(split).pixels(range(len(kept)))).all()


def test_past_the_quota_preparation_stops_and_names_the_files(folder_root, store):
    root = folder_root("txt")
    for name in ("cats/00.png", "dogs/01.png"):
        (root / name).write_bytes(b"damaged")
    with pytest.raises(UserError) as error:
        prepare(folder(root), store)
    text = str(error.value)
    assert text.startswith("2 of 40 images cannot be used (") and "\n" not in text
    assert "cats/00.png: unreadable" in text and "dogs/01.png: unreadable" in text
    assert text.endswith("type dataset.quarantine=0.05 to go on without them.")
    stage = prepare(folder(root, quarantine=0.05), store)
    assert stage.reused and len(read(stage, "quarantine.json")) == 2
    with pytest.raises(UserError, match="dataset.quarantine=0.01"):
        prepare(folder(root), store)


def test_when_no_training_image_is_left_the_reason_is_given(tmp_path, store):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.png").write_bytes(b"damaged")
    (tmp_path / "data/a.txt").write_text("a caption")
    with pytest.raises(UserError, match="no training image is left of 1: a.png: unreadable"):
        prepare(folder(tmp_path / "data", quarantine=1.0), store)


def test_a_filter_that_leaves_nothing_says_so(coco_root, store):
    root = coco_root()
    path = root / "annotations/captions_train2017.json"
    path.write_text(json.dumps({"images": [], "annotations": []}))
    with pytest.raises(UserError, match="dataset=coco has no training image"):
        prepare(Coco(root=str(root), resolution=64), store)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_set_aside(folder_root, store):
    root = folder_root("txt")
    (root / "cats/00.png").chmod(0)
    stage = prepare(folder(root, quarantine=0.05), store)
    assert read(stage, "quarantine.json")[0]["reason"] == "not permitted to read"


@pytest.mark.parametrize("seconds", [0.0, 1e-9], ids=["from the start", "after the first"])
def test_worker_processes_give_what_one_process_gives(folder_root, store, tmp_path, monkeypatch, seconds):
    root = folder_root("txt")
    (root / "cats/00.png").write_bytes(b"damaged")
    alone = Prepared(prepare(folder(root, quarantine=0.1), store).path).split("train")
    monkeypatch.setattr(pool, "ALONE", seconds)
    monkeypatch.setattr(pool, "CHUNK", 3)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    pooled, original = [], pool._pooled
    monkeypatch.setattr(pool, "_pooled", lambda *given: (pooled.append(own) or own for own in original(*given)))
    other = type(store)(tmp_path / "other")
    stage = prepare(folder(root, quarantine=0.1), other)
    together = Prepared(stage.path).split("train")
    assert together.ids == alone.ids and read(stage, "quarantine.json")[0]["file"] == "cats/00.png"
    assert (together.pixels(range(len(alone))) == alone.pixels(range(len(alone)))).all()
    count = len(list(root.rglob("*.png")))
    assert sum(map(len, pooled)) == (count if seconds == 0 else count - 3)


def test_what_one_process_does_within_a_second_starts_no_others(folder_root, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(pool, "ProcessPoolExecutor", None)  # nothing is asked of it
    jobs = [(path, 0.5) for path in sorted(folder_root("txt").rglob("*.png"))]
    assert len(list(pool.prepared_files(jobs, len(jobs), 64, Crop.centre, ""))) == len(jobs)


def die(jobs, resolution, crop, background):
    os._exit(9)


def test_a_killed_worker_is_one_sentence(folder_root, monkeypatch):
    paths = sorted(folder_root("txt").rglob("*.png"))
    monkeypatch.setattr(pool, "ALONE", 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(pool, "_prepare_chunk", die)
    with pytest.raises(UserError, match="a decoding process was killed .*00.png to .*14.png: free memory"):
        list(pool.prepared_files([(path, 0.5) for path in paths], 40, 64, Crop.centre, ""))


def test_the_shards_open_with_datasets(folder_root, store, tmp_path):
    datasets = pytest.importorskip("datasets")
    stage = prepare(folder(folder_root()), store)
    files = {split: str(stage.path / f"{split}-*.parquet") for split in ("train", "held_out")}
    loaded = datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "cache"))
    ours = Prepared(stage.path).split("train")
    row = loaded["train"][4]
    assert isinstance(loaded["train"].features["image"], datasets.Image)
    assert row["id"] == ours.ids[4] and row["captions"] == ours.captions[4] and row["domains"] == ours.domains[4]
    assert (np.asarray(row["image"]) == ours.pixels([4])[0]).all()
    assert len(loaded["held_out"]) == len(Prepared(stage.path).split("held_out"))
    assert Image.open(io.BytesIO(loaded["train"].with_format("arrow")[0]["image"][0]["bytes"].as_py())).size == (64, 64)


def test_when_every_training_image_repeats_a_held_out_one_the_message_says_so(tmp_path, store):
    for name in ("a.png", "b.bmp"):  # by their contents on two sides
        picture(0).save(tmp_path / name)
        (tmp_path / name).with_suffix(".txt").write_text("a caption")
    with pytest.raises(UserError, match=r"no training image is left of 2: .*: duplicate of held-out "):
        prepare(folder(tmp_path), store)


def test_a_file_that_the_disk_does_not_give_is_set_aside(coco_root, store, monkeypatch):
    root = coco_root()
    original = store.file_digests

    def failing(paths):
        if root / "train2017/000000000003.jpg" in paths:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return original(paths)

    monkeypatch.setattr(store, "file_digests", failing)
    stage = prepare(Coco(root=str(root), resolution=64, quarantine=0.1), store)
    assert [(item["id"], item["reason"]) for item in read(stage, "quarantine.json")] == [
        ("3", "unreadable: Input/output error")
    ]
    assert len(Prepared(stage.path).split("train")) == 11


def endless(image, connection):
    """Decodes one picture again and again in two worker processes."""
    pool.ALONE = 0
    os.sched_getaffinity = lambda _: {0, 1}
    jobs = ((image, 0.5) for _ in itertools.count())
    for number, _ in enumerate(pool.prepared_files(jobs, 10**9, 64, Crop.centre, "")):
        if number == 100:
            connection.send([child.pid for child in multiprocessing.active_children()])


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="counts cores as Linux does")
def test_workers_end_when_their_parent_is_killed(tmp_path):
    picture(0).save(tmp_path / "x.png")
    receiving, sending = multiprocessing.Pipe(duplex=False)
    parent = multiprocessing.get_context("spawn").Process(target=endless, args=(tmp_path / "x.png", sending))
    parent.start()
    assert receiving.poll(120)
    workers = receiving.recv()
    parent.kill()
    parent.join()
    assert len(workers) == 2
    deadline = time.monotonic() + 20
    while any(running(worker) for worker in workers):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.05)


def running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"  # not reaped yet, but ended
    except FileNotFoundError:
        return False
