"""`task=evaluate` on one and two processes, and what it says when it cannot go on."""

import json
from pathlib import Path

import numpy as np
import pytest

from t2i.evaluation.extractors import inception_weights

from ..conftest import SCENES, TOY, Lab

METRICS = (
    "eval.metrics=[fid,kid,inception_score,clip_score,agreement,prdc,cmmd,vendi,memorisation,fd_dinov2,"
    "held_out_loss@8,composition]"
)


def test_two_processes_and_other_batches_measure_the_same(empty_lab: Lab) -> None:
    command = ["task=evaluate", *SCENES, *TOY, "eval.images=9", "eval.prompts=2", METRICS]
    one = empty_lab.here(*command, "eval.batch_size=7")
    two = empty_lab.away(*command, "eval.batch_size=1", "launch.processes=2")
    assert two.metrics == pytest.approx(one.metrics, rel=1e-9)
    assert two.json("environment.json")["processes"] == 2
    assert {
        "fid[tiny_clip]",
        "coverage[tiny_clip]",
        "kid[tiny_clip].world.high",
        "mifid[tiny_clip]",
        "held_out_loss@8.high",
        "composition_binding[tiny_clip].real.low",
    } <= one.metrics.keys()
    assert "fd_dinov2" in one.out and "needs eval.extractor=dinov2" in one.out
    definition = one.json("definition.json")
    assert definition["generation"]["scheduler"]["steps"] == 2 and definition["resize"] == "clip"


def test_without_the_inception_weights_one_sentence_says_what_to_type(
    empty_lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(url: str, path: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(inception_weights, "CACHE", empty_lab.root / "cache")
    monkeypatch.setattr(inception_weights.urllib.request, "urlretrieve", offline)
    ended = empty_lab.here("task=evaluate", *SCENES, *TOY, "eval.extractor=inception")
    assert ended.status == 1
    last = ended.err.splitlines()[-1]
    assert last.startswith("t2i: the Inception weights could not be downloaded (no network)")
    assert "type eval.inception=<path>, or eval.extractor=tiny_clip" in last


def test_a_run_can_be_the_reference_of_another(empty_lab: Lab) -> None:
    """A set against itself has FID 0; its moments are in one file under the names that pytorch-fid reads."""
    command = ["task=evaluate", *SCENES, *TOY, "eval.metrics=[fid]"]
    first = empty_lab.here(*command)
    again = empty_lab.here(*command, f"eval.reference={first.folder}")
    assert again.metrics["fid[tiny_clip]"] == pytest.approx(0, abs=1e-9)
    assert again.json("definition.json")["reference_count"] == 6
    digest = next(s["digest"] for name, s in again.json("stages.json").items() if name.startswith("reference/"))
    with np.load(empty_lab.root / "store" / "reference" / digest / "reference.npz") as file:
        features = file["tiny_clip.features"].astype(np.float64)
        assert len(features) == 6
        assert file["mu"] == pytest.approx(features.mean(axis=0))
        assert np.trace(file["sigma"]) == pytest.approx(features.var(axis=0, ddof=1).sum())
    # the file by itself serves as well, anywhere
    file = empty_lab.root / "shared.npz"
    file.write_bytes((empty_lab.root / "store" / "reference" / digest / "reference.npz").read_bytes())
    other = Lab(empty_lab.root / "elsewhere")
    third = other.here(*command, f"eval.reference={file}")
    assert third.metrics == again.metrics
    for key in ("reference_sha256", "reference_count", "reference_format"):
        assert third.json("definition.json")[key] == again.json("definition.json")[key]
    refused = empty_lab.here(*command, f"eval.reference={empty_lab.root}")
    assert refused.status == 2
    assert "has 0 sets of generated pictures and one is expected" in refused.err.splitlines()[-1]


def test_a_foreign_reference_file_is_refused_with_what_it_holds(empty_lab: Lab) -> None:
    command = ["task=evaluate", *SCENES, *TOY, "eval.metrics=[fid]"]
    moments, other, text, foreign = (empty_lab.root / f"{name}.npz" for name in ("moments", "other", "text", "foreign"))
    empty_lab.root.mkdir(exist_ok=True)
    np.savez(moments, mu=np.zeros(3), sigma=np.eye(3))
    about = {"pictures": {}, "networks": {"tiny_clip": "0" * 64}, "resize": {"tiny_clip": "clip"}}
    np.savez(other, about=np.array(json.dumps(about)))
    text.write_text("no archive")
    np.savez(foreign, weights=np.eye(3))
    narrow = empty_lab.here(*command, f"eval.reference={moments}")  # FID takes moments, of features as wide as its own
    assert narrow.status == 1 and "128 wide and the reference features 3" in narrow.err.splitlines()[-1]
    for path, said in (
        (foreign, "holds weights, and neither features nor mu and sigma"),
        (other, "has features of tiny_clip 00000000 and none of tiny_clip "),
        (text, "is no .npz file"),
    ):
        ended = empty_lab.here(*command, f"eval.reference={path}")
        assert ended.status == 2 and said in ended.err.splitlines()[-1], ended.err


def test_every_judge_that_is_missing_is_told_before_anything_is_drawn(empty_lab: Lab) -> None:
    ended = empty_lab.here("task=evaluate", *SCENES, *TOY, "eval=preference")
    assert ended.status == 1 and all(f"{key}=" in ended.err for key in ("eval.pickscore", "eval.hpsv2", "eval.vlm"))
    assert not list((empty_lab.root / "store").glob("*/*"))


@pytest.mark.parametrize("metrics", ["composition", "clip_i,drift"])
def test_what_the_data_cannot_be_measured_by_is_told_before_anything_is_made(
    empty_lab: Lab, folder_data: Path, metrics: str
) -> None:
    data = ["dataset=folder", f"dataset.root={folder_data}"]
    alone = empty_lab.here("task=evaluate", *data, *TOY, f"eval.metrics=[{metrics}]")
    assert alone.status == 2 and "cannot be measured: needs" in alone.err
    assert not list((empty_lab.root / "store").glob("*/*"))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("precision", "which is a number of the metric prdc; type prdc"),
        ("memorisation_distance", "which is a number of the metric memorisation; type memorisation"),
        ("pickscor", "did you mean pickscore?"),
    ],
)
def test_a_name_that_is_no_metric_has_the_one_that_is_meant(empty_lab: Lab, name: str, sentence: str) -> None:
    ended = empty_lab.here("task=evaluate", f"eval.metrics=[{name}]")
    assert ended.status == 2 and sentence in ended.err
