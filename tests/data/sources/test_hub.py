"""Sets of images and captions by their columns: Parquet files, WebDataset's shards, and what `datasets` loads."""

import io
import json
import sys
import tarfile
import types
import zipfile
from itertools import chain

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from t2i.data.files import parquet
from t2i.data.preparation.prepare import prepare
from t2i.data.sources.columns import Columns
from t2i.data.sources.hub import Hub
from t2i.data.sources.sharded import Shards
from t2i.errors import ConfigError, UserError

from ..conftest import picture
from ..test_keywords import SHIPPED


def image(number, form="JPEG"):
    file = io.BytesIO()
    picture(number).save(file, form)
    return file.getvalue()


def rows(count, start=0, **more):
    return [
        {"image": {"bytes": image(number), "path": f"{number}.jpg"}, "caption": f"picture {number}"}
        | {key: value(number) for key, value in more.items()}
        for number in range(start, start + count)
    ]


def table(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(values), path, row_group_size=5)


def acquired(kind, root, store, **settings):
    data = kind(root=str(root), resolution=64, **settings)
    data.validate()
    data.acquire(store)
    return data


@pytest.mark.parametrize("kind", [Hub, Shards])
def test_parquet_files_in_their_splits(tmp_path, store, kind):
    table(tmp_path / "d/data/train-00000-of-00002.parquet", rows(8))
    table(tmp_path / "d/data/train-00001-of-00002.parquet", rows(4, 8))
    table(tmp_path / "d/data/validation-00000-of-00001.parquet", rows(3, 20))
    data = acquired(kind, tmp_path / "d", store, held_out_split="validation")
    train, held_out = data.samples("train"), data.samples("held_out")
    assert [sample.captions for sample in train] == [(f"picture {number}",) for number in range(12)]
    assert [sample.path.read_bytes() for sample in held_out] == [image(number) for number in range(20, 23)]
    assert [sample.id for sample in train][::11] == ["train_0000000", "train_0000011"]
    prepare(data, store)
    with pytest.raises(ConfigError, match=r"held_out_split=test names 'test'.* type some of \[train,validation\]"):
        acquired(kind, tmp_path / "d", store).samples("held_out")


def test_files_of_one_split_are_split_by_content(tmp_path, store):
    table(tmp_path / "d/train-00000.parquet", rows(40))
    data = acquired(Shards, tmp_path / "d", store, held_out_share=0.2)
    train, held_out = ({s.captions[0] for s in data.samples(split)} for split in ("train", "held_out"))
    assert len(train | held_out) == 40 and not train & held_out and 2 <= len(held_out) <= 16


def test_columns_are_named(tmp_path, store):
    values = rows(
        4, part=lambda n: "test" if n else "train", key=lambda n: n, by=lambda n: "CC0", b=lambda n: [f"b{n}", "c"]
    )
    for value in values:
        value["pixels"] = value.pop("image")["bytes"]
    values.append(values[1] | {"caption": "again 1", "b": None})
    table(tmp_path / "d/x.parquet", values)
    columns = Columns(image="pixels", caption="caption+b", split="part", id="key", license="by")
    data = acquired(Hub, tmp_path / "d", store, columns=columns)
    held_out = data.samples("held_out")
    assert [(sample.id, sample.captions, sample.license) for sample in held_out] == [
        ("1", ("picture 1", "b1", "c", "again 1"), "CC0"),
        ("2", ("picture 2", "b2", "c"), "CC0"),
        ("3", ("picture 3", "b3", "c"), "CC0"),
    ]
    assert len(data.samples("train")) == 1
    with pytest.raises(
        ConfigError, match=r"columns.caption=text names 'text', which x.parquet does not have: .*\[pixels|capt"
    ):
        acquired(Hub, tmp_path / "d", store, columns=Columns(image="pixels", caption="text"))


def shard(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in members:
                archive.writestr(name, data)
        return
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "zip"])
def test_webdataset_shards(tmp_path, store, suffix):
    train = [
        [(f"{n:06d}.jpg", image(n)), (f"{n:06d}.json", json.dumps({"caption": "no", "license": "by"}).encode())]
        + [(f"{n:06d}.txt", f"a dog {n}\nanother wording {n}\n".encode())]
        for n in range(6)
    ]
    held_out = [
        [
            (f"./sub.dir/x{n}.png", image(n, "PNG")),
            (f"./sub.dir/x{n}.json", json.dumps({"caption": [f"bus {n}", "b"]}).encode()),
        ]
        for n in range(3)
    ]
    shard(tmp_path / f"d/train-00000.{suffix}", chain(*train[:4]))
    shard(tmp_path / f"d/train-00001.{suffix}", [*chain(*train[4:]), ("000009.json", b'{"status": "failed"}')])
    shard(tmp_path / f"d/test-00000.{suffix}", chain(*held_out))
    columns = Columns(license="license")
    data = acquired(Shards, tmp_path / "d", store, columns=columns, keywords=SHIPPED)
    samples = data.samples("train")
    assert [sample.captions for sample in samples][:-1] == [(f"a dog {n}", f"another wording {n}") for n in range(6)]
    assert samples[0].id == f"train-00000.{suffix}/000000" and samples[0].license == "by"
    assert samples[0].domains == ("animal",) and samples[5].path.read_bytes() == image(5)
    assert (
        not samples[6].path.exists() and samples[6].captions == ()
    )  # listed, so that preparation can say it is missing
    assert [(s.captions, s.domains, s.path.suffix) for s in data.samples("held_out")] == [
        ((f"bus {n}", "b"), ("vehicle",), ".png") for n in range(3)
    ]


def test_a_large_member_is_not_read(tmp_path, store, monkeypatch):
    monkeypatch.setattr("t2i.data.sources.sharded.MAX_IMAGE_BYTES", 5000)
    shard(
        tmp_path / "d/x.tar",
        [("a.bmp", image(1, "BMP")[:4000]), ("a.txt", b"small"), ("b.bmp", bytes(5001)), ("b.txt", b"large")],
    )
    data = acquired(Shards, tmp_path / "d", store)
    there = {s.captions: s.path.exists() for split in ("train", "held_out") for s in data.samples(split)}
    assert there == {("small",): True, ("large",): False}


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("x.tar", [("../up.jpg", b"1"), ("../up.txt", b"1")], "lies outside"),
        ("x.tar", [("a.jpg", b"1"), ("a.json", b"{")], "x.tar/a.json: not JSON"),
        ("x.parquet", b"PAR1 not at all PAR1", "x.parquet cannot be read as Parquet"),
        ("x.parquet", b"", "x.parquet cannot be read as Parquet"),
    ],
)
def test_damage_is_one_sentence(tmp_path, store, name, data, words):
    (tmp_path / "d").mkdir()
    if isinstance(data, bytes):
        (tmp_path / "d" / name).write_bytes(data)
    else:
        shard(tmp_path / "d" / name, data)
    with pytest.raises(UserError, match=words):
        acquired(Shards, tmp_path / "d", store)


def test_what_is_read_has_limits_and_stays_below_the_root(tmp_path, store, monkeypatch):
    table(tmp_path / "outside.parquet", rows(1))
    table(tmp_path / "d/x.parquet", rows(10))
    monkeypatch.setattr(parquet, "MAX_GROUP_BYTES", 1000)
    with pytest.raises(UserError, match="row groups of more than 1,000 bytes"):
        acquired(Shards, tmp_path / "d", store)
    (tmp_path / "d/y.parquet").symlink_to(tmp_path / "outside.parquet")
    with pytest.raises(UserError, match=r"y.parquet in .* is outside the root folder: .*: copy the file itself there"):
        acquired(Shards, tmp_path / "d", store)
    (tmp_path / "e").mkdir()
    with pytest.raises(UserError, match=r"no shard to read: .* is empty, expected \*.parquet"):
        acquired(Shards, tmp_path / "e", store)


@pytest.mark.parametrize(
    ("name", "split"),
    [("train-00000-of-00041.parquet", "train"), ("TEST/0000.parquet", "test"), ("data/val.parquet", "validation")]
    + [
        ("held_out-00000.parquet", "held_out"),
        ("constrained.parquet", ""),
        ("train/a-test.tar", "test"),
        ("dev_1.tar", "validation"),
    ],
)
def test_a_split_is_a_word_of_the_name(name, split):
    assert parquet.split_of(name) == split


def test_a_prepared_set_is_a_source(tmp_path, store, folder_root):
    from t2i.data.sources.folder import Folder

    stage = prepare(Folder(root=str(folder_root()), resolution=64), store)
    data = acquired(Shards, stage.path, store, columns=Columns(caption="captions", id="id"), held_out_split="held_out")
    before = Folder(root=str(folder_root()), resolution=64)
    for split in ("train", "held_out"):
        assert {s.id: s.captions for s in data.samples(split)} == {s.id: s.captions for s in before.samples(split)}


def test_what_datasets_loads_is_written_out_once(tmp_path, store, monkeypatch):
    datasets = pytest.importorskip("datasets")
    files = {"train": str(tmp_path / "d/train.parquet"), "test": str(tmp_path / "d/test.parquet")}
    table(tmp_path / "d/train.parquet", rows(7, name=lambda n: f"n{n}"))
    table(tmp_path / "d/test.parquet", rows(2, 10, name=lambda n: f"n{n}"))
    asked = []

    def load(name, subset, revision):
        asked.append((name, subset, revision))
        return real("parquet", data_files=files, cache_dir=str(tmp_path / "cache"))

    real = datasets.load_dataset
    monkeypatch.setattr(datasets, "load_dataset", load)
    for _ in range(2):
        data = acquired(Hub, "", store, hub="owner/set", revision="v1", columns=Columns(id="name"))
    assert asked[0] == ("owner/set", None, "v1")
    assert [(s.id, s.captions) for s in data.samples("held_out")] == [
        ("n10", ("picture 10",)),
        ("n11", ("picture 11",)),
    ]
    assert [s.path.read_bytes() for s in data.samples("train")] == [image(n) for n in range(7)]
    assert len(list((store.root / "extracted").glob("[!.]*"))) == 1
    with pytest.raises(
        ConfigError, match=r"columns.caption=text names 'text', which owner/set \(train\) does not have: type"
    ):
        acquired(Hub, "", store, hub="owner/set", columns=Columns(caption="text"))


@pytest.mark.parametrize("module", ["missing", "offline"])
def test_a_hub_that_cannot_be_reached_is_one_sentence(store, monkeypatch, module):
    datasets = types.ModuleType("datasets")

    def load_dataset(*arguments, **settings):
        raise ConnectionError("Couldn't reach 'owner/set' on the Hub")

    datasets.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", None if module == "missing" else datasets)
    words = {
        "missing": "needs the package datasets, which is not installed",
        "offline": r"could not be loaded \(ConnectionError: Couldn't reach .*\): check the name and the network",
    }
    with pytest.raises(UserError, match=f"^dataset.hub=owner/set {words[module]}"):
        acquired(Hub, "", store, hub="owner/set")


def test_no_name_and_no_folder_says_what_to_type():
    with pytest.raises(ConfigError, match="dataset.root is not set .type dataset.hub"):
        Hub(obtain="type dataset.hub=<owner/name>").validate()
    with pytest.raises(ConfigError, match="dataset.columns.image is empty"):
        Hub(hub="a/b", columns=Columns(image="")).validate()
