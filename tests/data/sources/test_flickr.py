"""Flickr30k and Flickr8k in each form in which people have them."""

import json
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from t2i.data.preparation.prepare import prepare
from t2i.data.sources.flickr import Flickr
from t2i.errors import ConfigError, UserError

from ..conftest import picture
from ..test_keywords import SHIPPED

NAMES = [f"{1000092795 + 7919 * number}_a{number:02d}.jpg" for number in range(20)]
WORDS = [f"Picture {number}, wording {part} ." for number in range(20) for part in range(5)]
SUBJECTS = ["A dog runs .", "Two buses, parked .", "Children play ."]


def words(number):
    """Five captions, the first of which names a dog, a bus or children in turn."""
    return [SUBJECTS[number % 3], *WORDS[5 * number + 1 : 5 * number + 5]]


def images(folder, names=NAMES):
    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        picture(number).save(folder / name)


def split_of(number):
    return "test" if number < 3 else "val" if number < 5 else "train"


def karpathy_json(path):
    entries = [
        {
            "sentids": [5 * number + part for part in range(5)],
            "imgid": number,
            "sentences": [
                {"tokens": text.lower().split(), "raw": text, "imgid": number, "sentid": 5 * number + part}
                for part, text in enumerate(words(number))
            ],
            "split": split_of(number),
            "filename": name,
        }
        for number, name in enumerate(NAMES)
    ]
    path.write_text(json.dumps({"images": entries, "dataset": "flickr30k"}))


def results_csv(path):
    lines = ["image_name| comment_number| comment"]
    lines += [f"{name}| {part}| {text}" for number, name in enumerate(NAMES) for part, text in enumerate(words(number))]
    lines[3 * 5 + 5] = lines[3 * 5 + 5].replace("| 4| ", "| 4   ")  # as line 19,999 of the published file
    path.write_text("\n".join(lines) + "\n")


def tokens(path, names=NAMES):
    rows = [f"{name}#{part}\t{text}" for number, name in enumerate(names) for part, text in enumerate(words(number))]
    path.write_text("\n".join(rows) + "\n")


def kaggle_captions(path):
    rows = [(name, text) for number, name in enumerate(NAMES) for text in words(number)]
    quoted = [f'{name},"{text}"' if "," in text else f"{name},{text}" for name, text in rows]
    quoted[2] = quoted[2].replace('"', "")  # a comma without quotes
    path.write_text("\n".join(["image,caption", *quoted]) + "\n")


def everything(dataset):
    return [*dataset.samples("train"), *dataset.samples("held_out")]


def check(dataset):
    """Every image is there with its five captions, in files that exist."""
    samples = {sample.path.name: sample for sample in everything(dataset)}
    assert set(samples) == set(NAMES)
    for number, name in enumerate(NAMES):
        assert list(samples[name].captions) == words(number) and samples[name].path.is_file()


def test_karpathys_splits(tmp_path):
    images(tmp_path / "flickr30k-images")
    karpathy_json(tmp_path / "dataset_flickr30k.json")
    data = Flickr(root=str(tmp_path))
    assert (len(data.samples("train")), len(data.samples("held_out"))) == (15, 3)
    assert [sample.id for sample in data.samples("held_out")] == NAMES[:3]
    assert list(data.samples("train")[0].captions) == words(5)
    both = Flickr(root=str(tmp_path), train_split="train+val")
    assert len(both.samples("train")) == 17
    with pytest.raises(
        ConfigError, match=r"names 'dev', which flickr30k does not have: type some of \[test,train,val\]"
    ):
        Flickr(root=str(tmp_path), held_out_split="dev").samples("held_out")
    with pytest.raises(ConfigError, match="holds out 'val', which dataset.train_split=train.val trains on"):
        Flickr(root=str(tmp_path), train_split="train+val", held_out_split="val").validate()


@pytest.mark.parametrize("nested", [False, True])
def test_kaggles_results_with_the_line_that_lacks_a_separator(tmp_path, nested):
    folder = tmp_path / "flickr30k_images" if nested else tmp_path
    images(folder / "flickr30k_images")
    results_csv(folder / "results.csv")
    check(Flickr(root=str(tmp_path)))
    # Without splits of its own: by content, the same at every reading.
    held_out = [sample.id for sample in Flickr(root=str(tmp_path)).samples("held_out")]
    assert 0 < len(held_out) < 8
    assert held_out == [sample.id for sample in Flickr(root=str(tmp_path)).samples("held_out")]


def test_karpathys_file_wins_over_a_table_beside_it(tmp_path):
    images(tmp_path / "Images")
    results_csv(tmp_path / "results.csv")
    karpathy_json(tmp_path / "dataset_flickr30k.json")
    assert len(Flickr(root=str(tmp_path)).samples("held_out")) == 3


@pytest.mark.parametrize("archive", ["Flickr8k_text", "."])
def test_flickr8k_with_its_split_lists(tmp_path, archive):
    names = [*NAMES, "2258277193_586949ec62.jpg.1"]  # the published token file names this one, and no list does
    images(tmp_path / "Flicker8k_Dataset")
    (tmp_path / archive).mkdir(exist_ok=True)
    tokens(tmp_path / archive / "Flickr8k.token.txt", names)
    for split, part in (("train", NAMES[:12]), ("dev", NAMES[12:15]), ("test", NAMES[15:18])):
        (tmp_path / archive / f"Flickr_8k.{split}Images.txt").write_text("\n".join(part) + "\n")
    data = Flickr(name="flickr8k", root=str(tmp_path))
    assert [sample.id for sample in data.samples("train")] == NAMES[:12]
    assert [sample.id for sample in data.samples("held_out")] == NAMES[15:18]
    assert len(Flickr(root=str(tmp_path), train_split="train+dev").samples("train")) == 15
    assert list(data.samples("train")[1].captions) == words(1)


@pytest.mark.parametrize("name", ["Flickr8k.token.txt", "results_20130124.token"])
def test_token_files_without_lists_are_split_by_content(tmp_path, name):
    images(tmp_path / "images")
    tokens(tmp_path / name)
    check(Flickr(root=str(tmp_path)))


def test_kaggles_captions(tmp_path):
    images(tmp_path / "Images")
    kaggle_captions(tmp_path / "captions.txt")
    check(Flickr(name="flickr8k", root=str(tmp_path)))


def test_the_hubs_parquet(tmp_path, store):
    images(tmp_path / "source")
    root = tmp_path / "data/TEST"
    root.mkdir(parents=True)
    rows = [
        {
            "image": {"bytes": (tmp_path / "source" / name).read_bytes(), "path": name},
            "caption": words(number),
            "sentids": [str(5 * number + part) for part in range(5)],
            "split": split_of(number),
            "img_id": str(number),
            "filename": name,
        }
        for number, name in enumerate(NAMES)
    ]
    for part in range(2):
        pq.write_table(pa.Table.from_pylist(rows[part::2]), root / f"{part:04d}.parquet")
    data = Flickr(root=str(tmp_path / "data"))
    data.acquire(store)
    assert (len(data.samples("train")), len(data.samples("held_out"))) == (15, 3)
    sample = next(sample for sample in data.samples("train") if sample.id == NAMES[6])
    assert list(sample.captions) == words(6)
    assert sample.path.read_bytes() == rows[6]["image"]["bytes"] and sample.path.suffix == ".jpg"
    assert len(list((store.root / "extracted").glob("[!.]*"))) == 1
    prepare(Flickr(root=str(tmp_path / "data"), resolution=64), store)


@pytest.mark.parametrize(
    ("domains", "count"), [(["animal"], 7), (["vehicle"], 7), (["person"], 6), (["animal", "vehicle"], 14)]
)
def test_domains_come_from_captions(tmp_path, domains, count):
    images(tmp_path / "Images")
    results_csv(tmp_path / "results.csv")
    data = Flickr(root=str(tmp_path), keywords=SHIPPED, domains=domains)
    assert len(everything(data)) == count
    assert Counter(name for s in everything(data) for name in s.domains) == dict.fromkeys(
        domains, count // len(domains)
    )


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        (
            "results.csv",
            "image_name| comment_number| comment\na.jpg, 0, A dog\n",
            r"results.csv, line 2: expected image_name",
        ),
        ("Flickr8k.token.txt", "a.jpg A dog\n", r"token.txt, line 1: expected <image>#<number><tab><caption>"),
        ("captions.txt", "image,caption\na.jpg\n", r"expected image,caption, found 'a.jpg'"),
        ("captions.txt", "image,caption\n", r"captions.txt has no caption"),
        ("dataset_flickr30k.json", '{"images": [{"filename": "a.jpg"}]}', r"lacks 'sentences'"),
        ("dataset_flickr30k.json", '{"pictures": []}', r"has no 'images'"),
        ("dataset_flickr30k.json", '{"images": [1]}', r"expected filename, split and sentences"),
    ],
)
def test_damaged_captions_are_one_sentence(tmp_path, name, content, sentence):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=sentence):
        Flickr(root=str(tmp_path)).samples("train")


def test_what_is_missing_is_said_with_the_way_to_get_it(tmp_path):
    (tmp_path / "notes.md").touch()
    data = Flickr(root=str(tmp_path), obtain="ask for it")
    with pytest.raises(
        UserError, match=r"no captions of flickr30k: .* holds \[notes.md\], expected dataset_.*ask for it"
    ):
        data.samples("train")
    tokens(tmp_path / "Flickr8k.token.txt")
    with pytest.raises(
        UserError, match=r"none of the 20 images .* lies in Flicker8k_Dataset/.*\[Flickr8k.token.txt,notes"
    ):
        data.samples("train")
