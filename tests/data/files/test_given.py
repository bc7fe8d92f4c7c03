"""What is given is read as it is meant, or refused with file and line: tables, text files, missing values."""

import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from t2i.data.files.stated import texts, word
from t2i.data.files.text_files import decoded, lines, parsed, table
from t2i.data.sources.coco import Coco
from t2i.data.sources.columns import Columns
from t2i.data.sources.flickr import Flickr
from t2i.data.sources.folder import Folder
from t2i.data.sources.sharded import Shards
from t2i.errors import ConfigError, UserError

from ..conftest import picture
from ..sources.test_hub import image, shard


def captions(dataset):
    return {sample.id: sample.captions for split in ("train", "held_out") for sample in dataset.samples(split)}


TABLES = {
    "quoted": ('file_name,text\na.png,"a cat, a dog"\n', ("a cat, a dog",)),
    "quoted after a space": ('file_name, text\na.png, "a cat, a dog"\n', ("a cat, a dog",)),
    "a quote inside": ('file_name,text\na.png,"a ""big"" cat"\n', ('a "big" cat',)),
    "inches": ('file_name,text\na.png,a 5" nail\n', ('a 5" nail',)),
    "over lines": ('file_name,text\na.png,"a cat\non a mat"\n', ("a cat on a mat",)),
    "blank lines": ("\nfile_name,text\n\na.png,a cat\n\n", ("a cat",)),
    "old Macintosh": ("file_name,text\ra.png,a cat\r", ("a cat",)),
    "Windows": ("file_name,text\r\na.png,a cat\r\n", ("a cat",)),
    "an index of pandas": (",file_name,text\n0,a.png,a cat\n", ("a cat",)),
    "text and caption": ("file_name,text,caption\na.png,a cat,one cat\n", ("a cat", "one cat")),
}


@pytest.mark.parametrize("form", TABLES)
def test_a_table_is_read_as_it_is_meant(tmp_path, form):
    content, expected = TABLES[form]
    picture(0).save(tmp_path / "a.png")
    (tmp_path / "metadata.csv").write_bytes(content.encode())
    assert captions(Folder(root=str(tmp_path))) == {"a.png": expected}


REFUSED = {
    "an unquoted comma": ("file_name,text\nb.png,x\na.png,a cat, a dog\n", "line 3: 3 cells for 2 columns .file_name, text"),
    "a trailing comma": ("file_name,text\na.png,a cat,\n", "line 2: 3 cells"),
    "a missing cell": ("file_name,text,license\na.png,a cat\n", "line 2: 2 cells for 3 columns"),
    "a quote that is not closed": ('file_name,text\na.png,"a cat\nb.png,a dog\n', "line 2: unexpected end of data: close"),
    "a quote closed rows later": ('file_name,text\na.png,"a cat\nb.png,a dog"\n', "line 2: a quote is opened.* like rows"),
    "a quote that another opens": ('file_name,text\na.png,"a cat\nb.png,"a dog"\n', "line 2: .*close every quote"),
    "a column twice": ("file_name,text,text\na.png,a cat,a dog\n", "line 1: the header names 'text' twice"),
    "semicolons": ("file_name;text\na.png;a cat\n", "line 1: columns are separated by ';'"),
    "tabulators": ("file_name\ttext\na.png\ta cat\n", r"line 1: columns are separated by '\\t'"),
    "no such column": ("image,text\na.png,a cat\n", "line 2: expected file_name and text"),
}  # fmt: skip


@pytest.mark.parametrize("form", REFUSED)
def test_a_table_that_cannot_be_meant_is_refused_with_its_line(tmp_path, form):
    content, words = REFUSED[form]
    (tmp_path / "metadata.csv").write_text(content)
    with pytest.raises(UserError, match=f"metadata.csv, {words}"):
        Folder(root=str(tmp_path)).samples("train")


ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-mark", "utf-16-be-mark", "utf-32"]
WORDS = "eine Tür, 猫 und ein Fuß"


def encoded(text, encoding):
    if encoding.endswith("-mark"):
        return ("\ufeff" + text).encode(encoding.removesuffix("-mark"))
    return text.encode(encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("form", ["csv", "jsonl", "txt", "caption", "json"])
def test_every_text_file_is_decoded_as_its_mark_declares(tmp_path, form, encoding):
    picture(0).save(tmp_path / "a.png")
    content = {
        "csv": f'file_name,text\na.png,"{WORDS}"\n',
        "jsonl": json.dumps({"file_name": "a.png", "text": WORDS}, ensure_ascii=False),
        "json": json.dumps({"caption": WORDS}, ensure_ascii=False),
    }.get(form, WORDS)
    name = f"metadata.{form}" if form in ("csv", "jsonl") else f"a.{form}"
    (tmp_path / name).write_bytes(encoded(content, encoding))
    assert captions(Folder(root=str(tmp_path))) == {"a.png": (WORDS,)}


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le"])
@pytest.mark.parametrize("form", ["csv", "jsonl", "txt", "caption", "json"])
def test_another_encoding_is_refused_in_every_text_file(tmp_path, form, encoding):
    picture(0).save(tmp_path / "a.png")
    content = {
        "csv": 'file_name,text\na.png,"eine Tür"\n',
        "jsonl": '{"file_name": "a.png", "text": "eine Tür"}',
        "json": '{"caption": "eine Tür"}',
    }.get(form, "eine Tür")
    name = f"metadata.{form}" if form in ("csv", "jsonl") else f"a.{form}"
    (tmp_path / name).write_bytes(content.encode(encoding))
    with pytest.raises(UserError, match=rf"{name}, line \d: (not UTF-8|holds a zero character).*save it as UTF-8"):
        Folder(root=str(tmp_path)).samples("train")


@pytest.mark.parametrize("content", ["eine Tür".encode("latin-1"), "a cat".encode("utf-16-le")])
def test_a_members_text_is_decoded_by_the_same_rule(tmp_path, store, content):
    shard(tmp_path / "d/x.tar", [("a.jpg", image(0)), ("a.txt", content)])
    with pytest.raises(UserError, match=r"x.tar/a.txt, line 1: "):
        Shards(root=str(tmp_path / "d")).acquire(store)
    shard(tmp_path / "e/x.tar", [("a.jpg", image(0)), ("a.txt", "eine Tür".encode("utf-16"))])
    data = Shards(root=str(tmp_path / "e"))
    data.acquire(store)
    assert captions(data) == {"x.tar/a": ("eine Tür",)}


def test_the_line_of_a_wrong_byte_is_exact(tmp_path):
    path = tmp_path / "x.txt"
    path.write_bytes(b"one\n" * 5000 + b"\xff\n" + b"more\n" * 9)
    with pytest.raises(UserError, match="x.txt, line 5001: not UTF-8"):
        list(lines(path))
    with pytest.raises(UserError, match="x.txt, line 5001: not UTF-8"):
        decoded(path.read_bytes(), path)


def test_an_unreadable_file_is_not_called_unwritable(tmp_path):
    (tmp_path / "metadata.csv").mkdir()
    with pytest.raises(UserError, match=r"cannot be read \(Is a directory\)"):
        list(table(tmp_path / "metadata.csv"))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('x.jpg,"a cat', "line 3: expected image,caption"),
        ('x.jpg,"a cat" and more', "line 3: expected image,caption"),
        ('x.jpg,"a cat", a dog', "line 3: expected image,caption"),
        ("x.jpg", "line 3: expected image,caption"),
    ],
)
def test_flickr8ks_captions_are_one_a_line(tmp_path, line, words):
    (tmp_path / "Images").mkdir()
    for number, name in enumerate("xy"):
        picture(number).save(tmp_path / f"Images/{name}.jpg")
    good = 'image,caption\ny.jpg,a cat, a dog\n{}\nx.jpg,"one, two"\n'
    (tmp_path / "captions.txt").write_text(good.format('x.jpg,"a ""cat"""'))
    assert captions(Flickr(root=str(tmp_path))) == {"y.jpg": ("a cat, a dog",), "x.jpg": ('a "cat"', "one, two")}
    (tmp_path / "captions.txt").write_text(good.format(line))
    with pytest.raises(UserError, match=words):
        Flickr(root=str(tmp_path)).samples("train")


MISSING = [None, math.nan, [], [None], [math.nan, None]]
NO_TEXT = {
    "a number": 3,
    "a share": 0.5,
    "an object": {"en": "a cat"},
    "truth": True,
    "binary": b"x",
    "mixed": ["a", 3],
}


@pytest.mark.parametrize("value", MISSING, ids=str)
def test_a_missing_value_is_no_word(value):
    assert texts(value, "x") == [] and texts(["a", value] if not isinstance(value, list) else ["a", *value], "x") == [
        "a"
    ]
    assert value == [] or isinstance(value, list) or word(value, "x", "id") == ""


@pytest.mark.parametrize("value", NO_TEXT.values(), ids=NO_TEXT)
def test_what_is_no_text_is_refused(value):
    with pytest.raises(UserError, match="here: the caption is .*, not a text"):
        texts(value, "here")


SOURCES = ["jsonl", "metadata.parquet", "json", "shards parquet", "shards json", "coco", "karpathy"]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("value", [["a", None], math.nan, {"en": "a cat"}, 7], ids=["list", "nan", "object", "number"])
def test_no_source_makes_a_word_of_a_value(tmp_path, store, coco_root, source, value):
    """["a", null] says "a"; NaN says nothing; an object and a number are refused where they are."""
    root = tmp_path / "d"
    root.mkdir()
    picture(0).save(root / "a.png")

    def read():
        if source == "jsonl":
            (root / "metadata.jsonl").write_text(json.dumps({"file_name": "a.png", "text": value}))
        elif source == "json":
            (root / "a.json").write_text(json.dumps({"caption": value}))
            (root / "a.txt").write_text("b")
        elif source == "metadata.parquet":
            row = {"file_name": "a.png", "text": value}
            pq.write_table(pa.Table.from_pylist([row]), root / "metadata.parquet")
        elif source == "shards parquet":
            row = {"image": {"bytes": image(0), "path": None}, "caption": value}
            pq.write_table(pa.Table.from_pylist([row]), root / "x.parquet")
        elif source == "shards json":
            shard(root / "x.tar", [("a.jpg", image(0)), ("a.json", json.dumps({"caption": value}).encode())])
        elif source == "coco":
            path = coco_root() / "annotations/captions_train2017.json"
            content = json.loads(path.read_text())
            content["annotations"] = [row for row in content["annotations"] if row["image_id"] != 3]
            content["annotations"].append({"id": 1, "image_id": 3, "caption": value})
            path.write_text(json.dumps(content).replace("NaN", "null"))
            return Coco(root=str(path.parent.parent)).samples("train")[0].captions
        else:
            entry = {"filename": "a.png", "split": "train", "sentences": [{"raw": value}, {"raw": "b"}]}
            (root / "dataset_flickr8k.json").write_text(json.dumps({"images": [entry]}).replace("NaN", "null"))
            return captions(Flickr(root=str(root)))["a.png"]
        data = Shards(root=str(root)) if source.startswith("shards") else Folder(root=str(root), caption="own")
        data.acquire(store)
        return next(iter(captions(data).values()))

    if isinstance(value, dict) or value == 7:
        with pytest.raises(UserError, match="not a text"):
            read()
        return
    said = {"json": ("b",), "karpathy": ("b",)}.get(source, ("own",) if source in ("jsonl", "metadata.parquet") else ())
    if isinstance(value, list):
        said = {"json": ("b", "a"), "karpathy": ("a", "b")}.get(source, ("a",))
    assert read() == said


def test_a_key_twice_in_an_object_is_refused():
    with pytest.raises(UserError, match="here: not JSON .the key 'text' twice in one object"):
        parsed('{"text": "a cat", "text": "a dog"}', "here")


def members(*suffixes):
    return [(f"0.{suffix}", image(number)) for number, suffix in enumerate(suffixes)] + [("0.txt", b"a cat")]


def wds(tmp_path, store, content, **settings):
    shard(tmp_path / "d/x.tar", content)
    data = Shards(root=str(tmp_path / "d"), **settings)
    data.validate()
    data.acquire(store)
    return [sample for split in ("train", "held_out") for sample in data.samples(split)]


def test_the_picture_is_the_suffix_that_is_a_plain_kind(tmp_path, store):
    for order in (("jpg", "mask.png"), ("mask.png", "jpg")):
        (sample,) = wds(tmp_path / order[0], store, members(*order))
        assert sample.id == "x.tar/0" and sample.captions == ("a cat",)
        assert sample.path.read_bytes() == image(order.index("jpg"))


@pytest.mark.parametrize("suffixes", [("v0.jpg", "v1.jpg", "v2.jpg", "v3.jpg"), ("jpg", "png"), ("mask.png",)])
def test_a_key_without_one_plain_picture_asks_which(tmp_path, store, suffixes):
    words = rf"x.tar/0 has .*\.{suffixes[0]}.*: type which one is meant, as in dataset.columns.image={suffixes[0]}"
    with pytest.raises(UserError, match=words):
        wds(tmp_path, store, members(*suffixes))
    for number, suffix in enumerate(suffixes):
        (sample,) = wds(tmp_path, store, members(*suffixes), columns=Columns(image=suffix))
        assert sample.path.read_bytes() == image(number) and sample.captions == ("a cat",)


def test_no_picture_of_a_shard_is_lost_to_another_of_its_name(tmp_path, store):
    one, other = members("jpg"), [("0.jpg", image(7))]
    with pytest.raises(UserError, match="the member 0.jpg is there twice"):
        wds(tmp_path / "a", store, [*one, *other])
    between = [("1.jpg", image(1)), ("1.txt", b"b")]
    with pytest.raises(UserError, match="the image 'x.tar/0' was there already .* with another picture"):
        wds(tmp_path / "b", store, [*one, *between, *other])


def test_macos_leaves_nothing_in_a_shard(tmp_path, store):
    content = [("._0.jpg", b"\0\5\x16\7"), *members("jpg"), ("__MACOSX/0.jpg", b"\0"), (".hidden", b"x")]
    (sample,) = wds(tmp_path, store, content)
    assert sample.path.read_bytes() == image(0)


def test_classes_become_captions(tmp_path, store):
    content = [
        *[("0.jpg", image(0)), ("0.cls", b"1\n"), ("1.jpg", image(1)), ("1.cls", b"owl")],
        *[("2.jpg", image(2)), ("2.cls", b"0"), ("2.txt", b"own words")],
    ]
    samples = {
        s.id: s for s in wds(tmp_path, store, content, labels=["cat", "dog"], templates=["a photo of {a label}"])
    }
    assert samples["x.tar/0"].captions == ("a photo of a dog",) and samples["x.tar/0"].categories == ("dog",)
    assert samples["x.tar/1"].captions == ("a photo of an owl",)
    assert samples["x.tar/2"].captions == ("own words",)
    with pytest.raises(ConfigError, match="x.tar/0: its .cls says the class 1, and dataset.labels names 0"):
        wds(tmp_path / "none", store, content)


def test_what_save_to_disk_wrote_is_read(tmp_path, store):
    datasets = pytest.importorskip("datasets")
    rows = [{"image": {"bytes": image(n), "path": None}, "caption": f"picture {n}"} for n in range(6)]
    features = datasets.Features({"image": datasets.Image(), "caption": datasets.Value("string")})
    splits = {"train": rows[:4], "test": rows[4:]}
    made = datasets.DatasetDict({k: datasets.Dataset.from_list(v, features=features) for k, v in splits.items()})
    made.save_to_disk(str(tmp_path / "d"))
    (tmp_path / "d/train/cache-0123.arrow").write_bytes((tmp_path / "d/train/data-00000-of-00001.arrow").read_bytes())
    data = Shards(root=str(tmp_path / "d"))
    data.acquire(store)
    assert [s.captions for s in data.samples("train")] == [(f"picture {n}",) for n in range(4)]
    assert [s.path.read_bytes() for s in data.samples("held_out")] == [image(4), image(5)]
    with pytest.raises(UserError, match="for shards and tables type dataset=shards"):
        Folder(root=str(tmp_path / "d")).samples("train")


def test_a_column_that_is_no_image_is_refused(tmp_path, store):
    (tmp_path / "d").mkdir()
    pq.write_table(pa.table({"image": ["http://x/1.jpg"], "caption": ["a cat"]}), tmp_path / "d/x.parquet")
    with pytest.raises(UserError, match="x.parquet, row 1: dataset.columns.image=image holds str"):
        Shards(root=str(tmp_path / "d")).acquire(store)


def test_a_missing_id_is_not_the_same_image(tmp_path, store):
    (tmp_path / "d").mkdir()
    rows = [{"image": image(n), "caption": f"p{n}", "key": None if n < 2 else "k"} for n in range(3)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "d/x.parquet")
    data = Shards(root=str(tmp_path / "d"), columns=Columns(id="key"))
    data.acquire(store)
    assert captions(data) == {"row_0000000": ("p0",), "row_0000001": ("p1",), "k": ("p2",)}
