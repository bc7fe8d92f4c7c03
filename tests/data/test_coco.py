"""The COCO source: layouts, domains, limits, and what it says when files are missing."""

import json

import pytest

from t2i.data.coco import Coco
from t2i.errors import ConfigError, UserError


def coco(root, official=True, **settings):
    splits = {} if official else {"train_split": "train", "held_out_split": "val"}
    dataset = Coco(root=str(root), resolution=64, **splits, **settings)
    dataset.validate()
    return dataset


@pytest.mark.parametrize("official", [True, False])
def test_both_layouts_list_the_same_samples_in_order_of_id(coco_root, official):
    dataset = coco(coco_root(official), official)
    train, held_out = dataset.samples("train"), dataset.samples("held_out")
    assert [sample.id for sample in train] == [str(3 + 2 * number) for number in range(12)]
    assert [sample.id for sample in held_out] == ["103", "105", "107", "109"]
    assert all(sample.path.is_file() for sample in [*train, *held_out])
    assert train[3].captions == ("picture 9, wording 0", "picture 9, wording 1")
    assert (train[3].domains, train[3].categories) == (("animal", "vehicle"), ("bus", "cat"))


@pytest.mark.parametrize(
    ("domains", "count"),
    [([], 12), (["animal"], 5), (["vehicle"], 4), (["animal", "vehicle"], 7), (["dog", "food"], 4)],
)
def test_domains_are_supercategories_or_categories(coco_root, domains, count):
    assert len(coco(coco_root(), domains=domains).samples("train")) == count


def test_an_unknown_domain_is_answered_with_those_that_exist(coco_root):
    with pytest.raises(ConfigError, match=r"dataset.domains=\[anmal\].*\[animal,food,vehicle\]"):
        coco(coco_root(), domains=["anmal"]).samples("train")


def test_held_out_images_need_not_show_every_domain(coco_root):
    assert list(coco(coco_root(), domains=["food"]).samples("held_out")) == []


def test_a_limit_is_a_subset_that_grows_with_it_and_moves_with_the_seed(coco_root):
    root = coco_root()
    five = [sample.id for sample in coco(root, limit=5).samples("train")]
    eight = [sample.id for sample in coco(root, limit=8).samples("train")]
    assert len(five) == 5 and set(five) < set(eight) and five == sorted(five, key=int)
    assert five == [sample.id for sample in coco(root, limit=5).samples("train")]
    assert {tuple(sample.id for sample in coco(root, limit=5, seed=seed).samples("train")) for seed in range(4)} > {
        tuple(five)
    }
    assert len(coco(root, held_out=3).samples("held_out")) == 3


def test_captions_without_instances_have_no_domain(coco_root):
    root = coco_root()
    (root / "annotations/instances_train2017.json").unlink()
    assert {sample.domains for sample in coco(root).samples("train")} == {()}
    with pytest.raises(UserError, match=r"annotations/instances_train2017.json is missing"):
        coco(root, domains=["animal"]).samples("train")


def test_missing_annotations_name_what_was_found_and_expected(coco_root):
    root = coco_root()
    (root / "annotations/captions_train2017.json").unlink()
    with pytest.raises(UserError, match=r"captions_train2017.json is missing: .*\[annotations/,train2017/,val2017/\]"):
        coco(root).samples("train")


def test_missing_images_name_the_folders_that_were_tried(coco_root):
    root = coco_root()
    (root / "train2017").rename(root / "elsewhere")
    with pytest.raises(
        UserError, match=r"none of the 12 images of train2017 .*000000000003.jpg.* lies in images/train2017/"
    ):
        coco(root).samples("train")


@pytest.mark.parametrize(
    ("content", "words"),
    [("[1, 2", "is not JSON"), ("[1, 2]", "no 'images'"), ('{"images": [{}], "annotations": []}', "lack 'id'")],
)
def test_damaged_annotations_are_one_sentence(coco_root, content, words):
    root = coco_root()
    (root / "annotations/captions_train2017.json").write_text(content)
    with pytest.raises(UserError, match=words):
        coco(root).samples("train")


def test_an_instance_of_an_unlisted_category_is_one_sentence(coco_root):
    root = coco_root()
    path = root / "annotations/instances_train2017.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["category_id"] = 999
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="lack 999"):
        coco(root).samples("train")


@pytest.mark.parametrize("name", ["", "../x", "a/b"])
def test_a_split_is_a_name_not_a_path(coco_root, name):
    with pytest.raises(ConfigError, match="dataset.train_split"):
        coco(coco_root(), train_split=name)
