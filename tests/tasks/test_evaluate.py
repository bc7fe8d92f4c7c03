"""`task=evaluate` on one and two processes, and what it says when it cannot go on."""

import numpy as np
import pytest

from t2i.evaluation import inception_weights

from ..conftest import SCENES, TOY, Lab

METRICS = "eval.metrics=[fid,kid,inception_score,clip_score,agreement,prdc,cmmd,vendi,memorisation,fd_dinov2]"


def test_two_processes_and_other_batches_measure_the_same(empty_lab: Lab) -> None:
    command = ["task=evaluate", *SCENES, *TOY, "eval.images=9", METRICS]
    one = empty_lab.here(*command, "eval.batch_size=7")
    two = empty_lab.away(*command, "eval.batch_size=1", "launch.processes=2")
    assert two.metrics == pytest.approx(one.metrics, rel=1e-9)
    assert two.json("environment.json")["processes"] == 2
    assert {"fid[tiny_clip]", "coverage[tiny_clip].high", "mifid[tiny_clip]"} <= one.metrics.keys()
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
    refused = empty_lab.here(*command, f"eval.reference={empty_lab.root}")
    assert refused.status == 2
    assert "has 0 sets of generated pictures and one is expected" in refused.err.splitlines()[-1]
