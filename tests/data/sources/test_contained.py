"""Of containers only what is chosen is written out; it is what would have been chosen from all of them."""

import pytest

from t2i.data.preparation.prepare import prepare
from t2i.data.prepared import Prepared
from t2i.data.sources.columns import Columns
from t2i.data.sources.labelled import LabelledImages
from t2i.data.sources.sharded import Shards

from ..test_keywords import SHIPPED
from .test_hub import image, rows, shard, table
from .test_labelled import batch


def facts(data):
    return {
        split: [
            (s.id, s.captions, s.domains, s.categories, s.license, s.origin, s.path.read_bytes())
            for s in data.samples(split)
        ]
        for split in ("train", "held_out")
    }


def written(store):
    """Image files of all stages."""
    return sum(1 for path in store.root.glob("extracted/[!.]*/images/*/*") if path.is_file())


def shards(tmp_path, form):
    root = tmp_path / form
    if form == "named splits":
        table(root / "train-0.parquet", rows(30, kind=lambda n: "dog" if n % 3 else "bus"))
        table(root / "test-0.parquet", rows(12, 100, kind=lambda n: "dog" if n % 3 else "bus"))
        table(root / "val-0.parquet", rows(5, 200, kind=lambda n: "dog"))
    elif form == "by content":
        table(root / "x.parquet", rows(40, kind=lambda n: "dog" if n % 3 else "bus"))
    else:
        said = [b"a bus", b"a dog"]
        members = [member for n in range(40) for member in ((f"{n}.jpg", image(n)), (f"{n}.txt", said[n % 2]))]
        shard(root / "x.tar", members)
    columns = Columns() if form == "webdataset" else Columns(caption="caption+kind")
    return Shards(root=str(root), columns=columns, resolution=64, keywords=SHIPPED)


LIMITS = [
    {"limit": 5},
    {"fraction": 0.3},
    {"held_out": 2},
    {"held_out": 0, "limit": 7},
    {"domains": ["animal"], "limit": 4},
]


@pytest.mark.parametrize("limits", LIMITS, ids=str)
@pytest.mark.parametrize("form", ["named splits", "by content", "webdataset"])
def test_the_choice_is_that_from_all_and_the_rest_is_not_written(tmp_path, store, form, limits):
    whole, part = shards(tmp_path, form), shards(tmp_path, form)
    whole.acquire(type(store)(tmp_path / "whole"))
    for data in (whole, part):
        for key, value in limits.items():
            setattr(data, key, value)
    for _ in range(2):
        part.acquire(store)
    expected = facts(whole)
    assert facts(part) == expected
    assert written(store) == len(expected["train"]) + len(expected["held_out"])
    left = [
        {name: sorted(map(tuple, rows)) for name, rows in data.remarks.left_out.items() if rows}
        for data in (whole, part)
    ]
    assert left[0] == left[1]
    stage = prepare(part, store)
    assert sorted(Prepared(stage.path).split("train").ids) == sorted(row[0] for row in expected["train"])


def test_a_limit_of_labelled_images_writes_no_more_than_that(tmp_path, store):
    for number, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        (tmp_path / "d").mkdir(exist_ok=True)
        (tmp_path / "d" / name).write_bytes(batch(2, number))
    labels = [f"thing{n}" for n in range(10)]
    data = LabelledImages(root=str(tmp_path / "d"), labels=labels, resolution=64, limit=3, held_out=1)
    data.acquire(store)
    assert (len(data.samples("train")), len(data.samples("held_out")), written(store)) == (3, 1, 4)
    assert all(sample.captions == (f"an image of a {sample.categories[0]}",) for sample in data.samples("train"))


def test_a_subset_of_shards_is_repeated_by_its_file(tmp_path, store):
    first = shards(tmp_path, "named splits")
    first.limit, first.held_out = 6, 2
    stage = prepare(first, store)
    again = shards(tmp_path, "named splits")
    again.subset = str(stage.path / "captions_subset.json")
    other = type(store)(tmp_path / "other")
    repeated = prepare(again, other)
    for split in ("train", "held_out"):
        one, two = (Prepared(place.path).split(split) for place in (stage, repeated))
        assert one.ids == two.ids and one.captions == two.captions
    assert written(other) == 8
