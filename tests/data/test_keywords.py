"""Domains by what captions say: whole words, plurals, the longest phrase; and the list that is shipped."""

from collections import Counter

import pytest
import yaml

from t2i.data.keywords import KeywordRule, plurals, with_article
from t2i.data.sources.folder import Folder

from ..conftest import PROJECT
from .conftest import picture

SHIPPED = yaml.safe_load((PROJECT / "conf/keywords.yaml").read_text())


@pytest.mark.parametrize(
    ("one", "many"),
    [("bus", "buses"), ("puppy", "puppies"), ("boy", "boys"), ("sheep", "sheep"), ("child", "children")]
    + [("woman", "women"), ("policeman", "policemen"), ("fox", "foxes"), ("ox", "oxen"), ("wolf", "wolves")]
    + [("knife", "knives"), ("giraffe", "giraffes"), ("potato", "potatoes"), ("zoo", "zoos"), ("person", "people")]
    + [("teddy bear", "teddy bears"), ("german", "germans"), ("box", "boxes"), ("goldfish", "goldfish")],
)
def test_plurals(one, many):
    assert many in plurals(one)
    rule = KeywordRule({"thing": [one]})
    assert rule.labels([f"Two {many}, here."]) == rule.labels([f"THE {one}'s"]) == (("thing",), (one,))


@pytest.mark.parametrize(
    ("caption", "domains", "categories"),
    [
        ("Two puppies eat a hot dog.", ("animal", "food"), ("hot dog", "puppy")),
        ("Hotdogs and catalogues, a scattered carpet of birdsong", (), ()),
        ("A woman holds a teddy-bear", ("indoor", "person"), ("teddy bear", "woman")),
        ("A bear holds a woman", ("animal", "person"), ("bear", "woman")),
        ("buses; the sheep's wool", ("animal", "vehicle"), ("bus", "sheep")),
        ("An ORANGE sunset over oranges", (), ()),
        ("a man in a t-shirt", ("accessory", "person"), ("man", "t shirt")),
        ("", (), ()),
    ],
)
def test_the_shipped_list_reads_captions_as_people_do(caption, domains, categories):
    assert KeywordRule(SHIPPED).labels([caption]) == (domains, categories)


def test_every_caption_of_an_image_counts():
    rule = KeywordRule({"animal": ["dog"], "vehicle": ["car"]})
    assert rule.labels(["a dog", "two cars", "a dog"]) == (("animal", "vehicle"), ("car", "dog"))
    assert KeywordRule({"a": ["mouse"], "b": ["mouse"]}).labels(["mice"])[0] == ("a", "b")


@pytest.mark.parametrize(
    ("noun", "phrase"),
    [
        ("airplane", "an airplane"),
        ("dog", "a dog"),
        ("unicycle", "a unicycle"),
        ("hour", "an hour"),
        ("ankle", "an ankle"),
    ]
    + [("umbrella", "an umbrella"), ("horse", "a horse"), ("automobile", "an automobile"), ("ewe", "a ewe")],
)
def test_articles(noun, phrase):
    assert with_article(noun) == phrase


def write(root, captions, folder=""):
    (root / folder).mkdir(parents=True, exist_ok=True)
    for number, caption in enumerate(captions):
        picture(number).save(root / folder / f"{number}.png")
        (root / folder / f"{number}.txt").write_text(caption)
    return str(root)


CAPTIONS = ["a dog", "two dogs", "puppies in a bus", "a bus", "three children", "a stone"]


@pytest.mark.parametrize(
    ("domains", "count"), [([], 6), (["animal"], 3), (["vehicle"], 2), (["animal", "vehicle"], 4), (["dog"], 2)]
)
def test_a_folder_is_filtered_by_its_captions(tmp_path, domains, count):
    data = Folder(root=write(tmp_path, CAPTIONS), keywords=SHIPPED, domains=domains)
    samples = [*data.samples("train"), *data.samples("held_out")]
    assert len(samples) == count
    if not domains:
        counted = Counter(name for sample in samples for name in sample.domains)
        assert counted == {"animal": 3, "vehicle": 2, "person": 1}


def test_captions_add_to_what_a_sub_folder_says_but_not_to_metadata(tmp_path):
    data = Folder(root=write(tmp_path, ["a dog", "a stone"], "mine"), keywords=SHIPPED)
    domains = {sample.captions[0]: sample.domains for split in ("train", "held_out") for sample in data.samples(split)}
    assert domains == {"a dog": ("animal", "mine"), "a stone": ("mine",)}
    (tmp_path / "metadata.csv").write_text(
        "file_name,text,domain,license\nmine/0.png,a dog,art,CC0\nmine/1.png,a cat,,\n"
    )
    samples = {s.id: s for split in ("train", "held_out") for s in data.samples(split)}
    assert samples["mine/0.png"].domains == ("art",) and samples["mine/0.png"].license == "CC0"
    assert samples["mine/1.png"].domains == ("animal", "mine")


@pytest.mark.parametrize(("fraction", "limit", "count"), [(0.5, None, 18), (0.05, None, 2), (0.5, 4, 4), (1.0, 30, 30)])
def test_a_fraction_is_a_fair_subset_that_grows_with_it(folder_root, fraction, limit, count):
    root = str(folder_root())
    whole = [sample.id for sample in Folder(root=root, seed=1).samples("train")]
    some = [sample.id for sample in Folder(root=root, seed=1, fraction=fraction, limit=limit).samples("train")]
    assert len(whole) == 36 and len(some) == count
    more = [sample.id for sample in Folder(root=root, seed=1, fraction=1.0, limit=count + 3).samples("train")]
    assert set(some) < set(more) and some == sorted(some)
