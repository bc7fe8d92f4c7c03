"""Numbers have one name where people read, and their raw name where something is typed."""

import pytest

from t2i.evaluation.metrics import inception_score, prdc
from t2i.evaluation.metrics.registry import METRICS, NUMBERS_OF
from t2i.evaluation.verdict import LABELS
from t2i.reporting import names
from t2i.reporting.names import readable, readable_prose


def test_every_metric_that_can_be_measured_has_a_name():
    measured = (METRICS.keys() - {"prdc", "memorisation", "composition"}) | NUMBERS_OF.keys() | {*prdc.NAMES, "mifid"}
    measured |= {f"inception_score_{inception_score.PUBLISHED_SPLITS}{end}" for end in ("", "_std")}
    assert measured == names.METRICS.keys()
    for name in measured:
        assert readable(f"{name}[tiny_clip]") == f"{names.METRICS[name]} (tiny_clip)"


def test_sentences_and_tables_say_the_same():
    assert {name: names.METRICS[name].lower() for name in LABELS} == {k: v.lower() for k, v in LABELS.items()}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("clip_score[tiny_clip]", "CLIP score (tiny_clip)"),
        ("best clip_score[openai/clip-vit-base-patch32] = 70.2 [67.1, 73.3]", None),
        ("seconds_per_image", "seconds a picture"),
        ("KID against seconds_per_image (lower is better)", "KID against seconds a picture (lower is better)"),
        ("images", "pictures"),
        ("all images", "all images"),
        ("eval.metrics=[fid,kid]", "eval.metrics=[fid,kid]"),
        ("sweeps.metric=fid[tiny_clip]", "sweeps.metric=fid[tiny_clip]"),
        ("my.fid[tiny_clip]", "my.fid[tiny_clip]"),
        ("a fid [1, 2]", "a fid [1, 2]"),
        ("", ""),
    ],
)
def test_only_raw_names_are_replaced(text, shown):
    expected = "best CLIP score (openai/clip-vit-base-patch32) = 70.2 [67.1, 73.3]" if shown is None else shown
    assert readable(text) == expected


def test_what_is_typed_keeps_its_raw_name():
    assert readable_prose("by kid[x]: `fid[x]` and ` kid[x]") == "by KID (x): `fid[x]` and ` KID (x)"
