"""Folders as their makers mean them: splits, nested metadata, classes, links; and what is refused."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from t2i.data.sources.folder import Folder
from t2i.errors import ConfigError, UserError

from ..conftest import picture


def write(root, *names):
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        picture(number).save(root / name)
    return root


def told(root, *names):
    write(root, *names)
    for name in names:
        (root / name).with_suffix(".txt").write_text(f"words of {name}")
    return root


def sides(dataset):
    return {split: sorted(sample.id for sample in dataset.samples(split)) for split in ("train", "held_out")}


def captions(dataset):
    return {s.id: s.captions for split in ("train", "held_out") for s in dataset.samples(split)}


SPLITS = {
    "train and test": (["train/a", "train/b", "test/c"], ["train/a", "train/b"], ["test/c"]),
    "train and val": (["train/a", "val/c"], ["train/a"], ["val/c"]),
    "all three": (["train/a", "test/b", "validation/c"], ["train/a"], ["test/b"]),
    "classes below": (["train/cat/a", "train/dog/b", "test/cat/c"], ["train/cat/a", "train/dog/b"], ["test/cat/c"]),
    "test beside others": (["cats/a", "dogs/b", "test/c"], ["cats/a", "dogs/b"], ["test/c"]),
    "inside of a folder": (
        ["data/train/a", "data/train/b", "data/test/c"],
        ["data/train/a", "data/train/b"],
        ["data/test/c"],
    ),
    "capitals": (["Train/a", "Test/c"], ["Train/a"], ["Test/c"]),
    "outside of them": (["train/a", "test/b", "c"], ["train/a"], ["test/b"]),
}


@pytest.mark.parametrize("layout", SPLITS)
def test_split_folders_are_splits_and_no_domains(tmp_path, layout):
    names, train, held_out = ([f"{name}.png" for name in part] for part in SPLITS[layout])
    data = Folder(root=str(told(tmp_path, *names)))
    assert sides(data) == {"train": train, "held_out": held_out}
    for split in ("train", "held_out"):
        for sample in data.samples(split):
            folder = sample.id.split("/")[-2]
            assert sample.domains == (() if folder.lower() in ("train", "test", "val") else (folder,))
    used = {*train, *held_out}
    left = [row for rows in data.remarks.left_out.values() for row in rows]
    assert sorted(name for name, _ in left) == sorted(set(names) - used) and all(reason for _, reason in left)


def test_a_train_beside_a_bus_is_a_class(tmp_path):
    data = Folder(root=str(told(tmp_path, "train/a.png", "bus/b.png", "car/c.png")))
    found = [*data.samples("train"), *data.samples("held_out")]
    assert sorted(sample.domains for sample in found) == [("bus",), ("car",), ("train",)]


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_metadata_lies_in_each_split_and_may_nest(tmp_path, form):
    """Hugging Face's ImageFolder: file_name is relative to the metadata file."""
    write(tmp_path, "train/a.png", "train/deep/b.png", "test/c.png", "train/unnamed.png")

    def metadata(folder, **rows):
        path, texts = tmp_path / folder / f"metadata.{form}", [{"file_name": k, "text": v} for k, v in rows.items()]
        if form == "jsonl":
            path.write_text("\n".join(map(json.dumps, texts)))
        elif form == "csv":
            path.write_text("file_name,text\n" + "".join(f"{row['file_name']},{row['text']}\n" for row in texts))
        else:
            pq.write_table(pa.Table.from_pylist(texts), path)

    metadata("train", **{"a.png": "words of a", "deep/b.png": "words of b"})
    metadata("train/deep", **{"b.png": "more of b"})
    metadata("test", **{"c.png": "words of c"})
    data = Folder(root=str(tmp_path))
    assert captions(data) == {
        "train/a.png": ("words of a",),
        "train/deep/b.png": ("words of b", "more of b"),
        "test/c.png": ("words of c",),
    }
    assert sides(data)["held_out"] == ["test/c.png"]


def test_where_metadata_does_not_speak_side_files_do(tmp_path):
    told(tmp_path, "test/c.png")
    write(tmp_path, "train/a.png")
    (tmp_path / "train/metadata.jsonl").write_text('{"file_name": "a.png", "text": "words of a"}')
    assert captions(Folder(root=str(tmp_path))) == {
        "train/a.png": ("words of a",),
        "test/c.png": ("words of test/c.png",),
    }


def test_side_files_of_every_kind_add_up(tmp_path):
    write(tmp_path, "a.png", "b.jpg", "c.png")
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    (tmp_path / "a.caption").write_text("two\nthree\n")
    (tmp_path / "a.json").write_text('{"caption": "four", "width": 64}')
    (tmp_path / "b.jpg.txt").write_text("of the whole name")
    (tmp_path / "c.json").write_text('{"shapes": []}')
    found = captions(Folder(root=str(tmp_path)))
    assert found == {"a.png": ("one", "two", "three", "four"), "b.jpg": ("of the whole name",), "c.png": ()}


def test_folders_without_captions_are_classes(tmp_path):
    write(tmp_path, "golden_retriever/a.png", "owl/b.png", "owl/c.png")
    data = Folder(root=str(tmp_path), templates=["a photo of {a label}", "{label}"])
    assert captions(data) == {
        "golden_retriever/a.png": ("a photo of a golden retriever", "golden retriever"),
        "owl/b.png": ("a photo of an owl", "owl"),
        "owl/c.png": ("a photo of an owl", "owl"),
    }
    assert list(data.remarks.notes) == ["captions are made from the names of the folders by dataset.templates"]
    (tmp_path / "owl/b.txt").write_text("an owl asleep")  # one caption of its own: then the others lack theirs
    found = captions(Folder(root=str(tmp_path)))
    assert found["owl/b.png"] == ("an owl asleep",) and found["owl/c.png"] == ()
    with pytest.raises(ConfigError, match="dataset.templates holds 'a cat'"):
        Folder(root=str(tmp_path), templates=["a cat"]).validate()


@pytest.mark.parametrize("told_too", [False, True])
def test_one_caption_for_pictures_without_any(tmp_path, told_too):
    write(tmp_path, "a.png", "cat/b.png")
    if told_too:
        (tmp_path / "a.txt").write_text("its own")
    found = captions(Folder(root=str(tmp_path), caption="a photo of a cat"))
    assert found == {"a.png": ("its own" if told_too else "a photo of a cat",), "cat/b.png": ("a photo of a cat",)}


def snapshot(cache):
    """A data set as huggingface_hub keeps it: blobs, and a snapshot of links to them."""
    repository = cache / "datasets--owner--name"
    told(repository / "blobs", "0.png", "1.png")
    place = repository / "snapshots/0123abcd"
    place.mkdir(parents=True)
    for number in range(2):
        (place / f"p{number}.png").symlink_to(f"../../blobs/{number}.png")
        (place / f"p{number}.txt").symlink_to(f"../../blobs/{number}.txt")
    return place


@pytest.mark.parametrize("form", ["HF_HUB_CACHE", "HF_HOME", "copied"])
def test_a_snapshot_of_the_hubs_cache_is_read(tmp_path, store, monkeypatch, form):
    from t2i.data.preparation.prepare import prepare

    cache = tmp_path / "hub"
    if form != "copied":
        monkeypatch.setenv(form, str(cache if form == "HF_HUB_CACHE" else tmp_path))
    stage = prepare(Folder(root=str(snapshot(cache)), resolution=64), store)
    assert json.loads((stage.path / "quarantine.json").read_text()) == []
    assert len(json.loads((stage.path / "captions_subset.json").read_text())["train"]) == 1


def test_a_link_out_is_refused_unless_the_user_names_the_folder(tmp_path, store):
    from t2i.data.preparation.prepare import prepare

    told(tmp_path / "big", "far.png", "further.png")
    root = told(tmp_path / "root", "a.png", "b.png")
    (root / "far.png").symlink_to(tmp_path / "big/far.png")
    (root / "far.txt").write_text("a link")
    (root / "more").symlink_to(tmp_path / "big")
    stage = prepare(Folder(root=str(root), resolution=64, quarantine=0.5), store)
    (item,) = json.loads((stage.path / "quarantine.json").read_text())
    assert item["file"] == "far.png"
    assert item["reason"] == (
        f"outside the root folder: it lies in {tmp_path}/big, which dataset.links=[{tmp_path}/big] allows"
    )
    data = Folder(root=str(root), resolution=64, links=[str(tmp_path / "big")])
    assert sorted(captions(data)) == ["a.png", "b.png", "far.png", "more/far.png", "more/further.png"]
    with pytest.raises(ConfigError, match="dataset.links names gone, which is no folder"):
        Folder(root=str(root), links=["gone"]).validate()


def test_links_that_lead_back_are_entered_once(tmp_path):
    root = told(tmp_path / "root", "cats/a.png", "b.png")
    (root / "cats/loop").symlink_to(root)
    (root / "again").symlink_to(root / "cats")
    (root / "dangling").symlink_to(root / "nowhere")
    assert sorted(captions(Folder(root=str(root)))) == ["b.png", "cats/a.png"]


def test_two_metadata_files_in_one_folder_are_refused(tmp_path):
    write(tmp_path, "train/a.png")
    (tmp_path / "train/metadata.jsonl").write_text('{"file_name": "a.png", "text": "a"}')
    (tmp_path / "train/metadata.csv").write_text("file_name,text\na.png,a\n")
    with pytest.raises(UserError, match=r"train has metadata.csv and metadata.jsonl: keep the one that is meant"):
        Folder(root=str(tmp_path)).samples("train")


def test_hidden_folders_and_macos_are_not_trained_on(tmp_path):
    told(tmp_path, "a.png", "b.png", ".ipynb_checkpoints/a-checkpoint.png", ".git/x.png", "__MACOSX/a.png")
    (tmp_path / "._a.png").write_bytes(b"\0\5\x16\7")
    (tmp_path / ".hidden.png").write_bytes(b"x")
    assert sorted(captions(Folder(root=str(tmp_path)))) == ["a.png", "b.png"]


def test_names_written_on_windows_are_found(tmp_path):
    write(tmp_path, "cats/a.png", "b.png")
    rows = [{"file_name": "cats\\a.png", "text": "a cat"}, {"file_name": "b.png", "text": "b"}]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert captions(Folder(root=str(tmp_path))) == {"cats/a.png": ("a cat",), "b.png": ("b",)}


@pytest.mark.parametrize("content", ["", "file_name,text\n"])
def test_metadata_without_rows_is_named(tmp_path, content):
    write(tmp_path, "a.png")
    (tmp_path / "metadata.csv").write_text(content)
    with pytest.raises(UserError, match="metadata.csv names no image: expected rows"):
        Folder(root=str(tmp_path)).samples("train")
