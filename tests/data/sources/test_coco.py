"""The COCO source: layouts, domains, limits, and what it says when files are missing."""

import json
import shutil
import sys
import tracemalloc
import types
import zipfile
from collections import Counter

import pytest

from t2i.data.preparation.prepare import prepare
from t2i.data.prepared import Prepared
from t2i.data.sources.coco import Coco
from t2i.data.sources.coco_index import Index
from t2i.errors import ConfigError, UserError
from t2i.store import Store


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


def zipped(root, splits=("train2017", "val2017"), annotations=True):
    """The archives as they are published, in place of what they hold."""
    packed = {f"{split}.zip": [root / split] for split in splits}
    if annotations:
        packed["annotations_trainval2017.zip"] = [root / "annotations"]
    for name, folders in packed.items():
        with zipfile.ZipFile(root / name, "w") as archive:
            for folder in folders:
                for path in sorted(folder.iterdir()):
                    archive.write(path, path.relative_to(root).as_posix())
                shutil.rmtree(folder)


def facts(samples):
    return [(s.id, s.path.name, s.path.read_bytes(), s.captions, s.domains, s.categories, s.license) for s in samples]


@pytest.mark.parametrize("packed", ["all", "images", "annotations"])
def test_archives_are_unpacked_once_into_the_store(coco_root, store, packed):
    root = coco_root()
    expected = facts(coco(root, domains=["animal"]).samples("train"))
    zipped(root, ("train2017", "val2017") if packed != "annotations" else (), annotations=packed != "images")
    if packed == "all":  # beside what nobody needs
        with zipfile.ZipFile(root / "annotations_trainval2017.zip", "a") as archive:
            archive.writestr("annotations/person_keypoints_train2017.json", "{}")
    for _ in range(2):
        data = coco(root, domains=["animal"])
        data.acquire(store)
        assert facts(data.samples("train")) == expected and len(data.samples("held_out")) == 4
    (stage,) = (store.root / "unpacked").glob("[!.]*")
    assert not (stage / "annotations/person_keypoints_train2017.json").exists()
    assert len(Prepared(prepare(coco(root, domains=["animal"]), store).path).split("train")) == 5


def test_kaggles_copy_lies_one_folder_deeper(coco_root, tmp_path):
    root = coco_root()
    (tmp_path / "archive").mkdir()
    root.rename(tmp_path / "archive/coco2017")
    assert len(coco(tmp_path / "archive").samples("train")) == 12


def test_the_year_2014_is_the_same_layout_under_other_names(coco_root):
    root = coco_root()
    for path in sorted(root.rglob("*2017*"), reverse=True):
        path.rename(path.with_name(path.name.replace("2017", "2014")))
    data = Coco(root=str(root), train_split="train2014", held_out_split="val2014")
    assert (len(data.samples("train")), len(data.samples("held_out"))) == (12, 4)


def test_the_licence_of_an_image_is_its_id(coco_root):
    root = coco_root()
    path = root / "annotations/captions_train2017.json"
    content = json.loads(path.read_text())
    for image in content["images"]:
        if image["id"] < 20:
            image["license"] = 3
    path.write_text(json.dumps(content))
    assert Counter(sample.license for sample in coco(root).samples("train")) == {"3": 9, "": 3}


def test_annotations_are_read_once_for_all_runs(coco_root, store):
    root = coco_root()
    first = coco(root)
    first.acquire(store)
    expected = facts(first.samples("train"))
    assert expected == facts(coco(root).samples("train"))
    again = Store(store.root)
    data = coco(root)
    data.acquire(again)
    data.samples("train")
    assert len(list((store.root / "coco_index").glob("[!.]*"))) == 1
    path = root / "annotations/captions_train2017.json"
    path.write_text(path.read_text().replace("picture 9,", "photo 9,"))
    assert data.samples("train")[3].captions[0] == "photo 9, wording 0"


def test_karpathys_splits_of_2014(coco_root):
    root = coco_root()
    for path in sorted(root.rglob("*2017*"), reverse=True):
        path.rename(path.with_name(path.name.replace("2017", "2014")))
    splits = {**dict.fromkeys(range(3, 27, 2), "train"), 103: "restval", 105: "val", 107: "test", 109: "test"}
    images = [
        {
            "filepath": "train2014" if key < 100 else "val2014",
            "filename": f"{key:012d}.jpg",
            "cocoid": key,
            "split": split,
        }
        | {
            "sentids": [1, 2],
            "imgid": 0,
            "sentences": [{"raw": f"Image {key}.", "tokens": []}, {"raw": "Two", "tokens": []}],
        }
        for key, split in reversed(splits.items())
    ]
    (root / "dataset_coco.json").write_text(json.dumps({"images": images, "dataset": "coco"}))
    data = Coco(root=str(root), karpathy="dataset_coco.json", train_split="train+restval", held_out_split="test")
    data.validate()
    train = data.samples("train")
    assert [sample.id for sample in train] == [str(key) for key in [*range(3, 27, 2), 103]]
    assert [sample.id for sample in data.samples("held_out")] == ["107", "109"]
    assert all(sample.path.is_file() for sample in train) and train[0].captions == ("Image 3.", "Two")
    assert train[3].domains == ("animal", "vehicle")
    assert [sample.domains for sample in data.samples("held_out")] == [("animal",), ("animal", "vehicle")]
    (root / "dataset_coco.json").unlink()
    with pytest.raises(
        UserError, match=r"dataset_coco.json is missing: .*expected dataset_coco.json, annotations/inst"
    ):
        data.samples("train")


@pytest.mark.parametrize("module", ["missing", "offline"])
def test_a_download_that_cannot_be_is_one_sentence(store, monkeypatch, module):
    kagglehub = types.ModuleType("kagglehub")

    def dataset_download(handle):
        raise ConnectionError(f"no route to {handle}\nand more")

    kagglehub.dataset_download = dataset_download
    monkeypatch.setitem(sys.modules, "kagglehub", None if module == "missing" else kagglehub)
    data = Coco(kaggle="owner/coco")
    data.validate()
    words = {
        "missing": r"needs the package kagglehub, which is not installed: type `pip install kagglehub`",
        "offline": r"could not be downloaded \(ConnectionError: no route to owner/coco and more\): check the name",
    }
    with pytest.raises(UserError, match=f"^dataset.kaggle=owner/coco {words[module]}"):
        data.acquire(store)


def test_what_kagglehub_downloads_is_read(coco_root, store, monkeypatch):
    root = coco_root()
    kagglehub = types.ModuleType("kagglehub")
    kagglehub.dataset_download = lambda handle: str(root)
    monkeypatch.setitem(sys.modules, "kagglehub", kagglehub)
    data = Coco(kaggle="owner/coco")
    data.acquire(store)
    assert len(data.samples("train")) == 12 and data.root == ""


def test_captions_of_a_whole_split_need_little_memory(coco_root, tmp_path):
    """30,000 captions of 100 letters are 20 MB once parsed as a whole; here they pass one by one."""
    path = tmp_path / "captions.json"
    images = [{"id": key, "file_name": f"{key}.jpg", "license": 1} for key in range(6000)]
    captions = [{"id": key, "image_id": key % 6000, "caption": f"{key} {'x' * 100}"} for key in range(30_000)]
    path.write_text(json.dumps({"info": {}, "images": images, "annotations": captions}))
    del images, captions
    index = Index()
    tracemalloc.start()
    index.fill(path, [])
    rows = sum(len(row.captions) for row in index)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows == 30_000 and peak < 3e6
