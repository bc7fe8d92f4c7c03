"""The whole evaluation at toy size, its definition, and the comparison of two results."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from t2i.errors import UserError
from t2i.evaluation.clip_extractor import ClipExtractor
from t2i.evaluation.config import Evaluation
from t2i.evaluation.definition import differences, text_digest
from t2i.evaluation.evaluate import Result, compare, evaluate

CLASSES = ["cat", "bus", "apple"]
CAPTIONS = [f"a {CLASSES[i % 3]} number {i}" for i in range(10)]
ACCEPTED = [{CLASSES[i % 3]} for i in range(10)]
CONFIG = Evaluation(batch_size=4, replicates=100)


@pytest.fixture(scope="module")
def extractor(toy_clip: Path) -> ClipExtractor:
    return ClipExtractor(str(toy_clip), "toy")


@pytest.fixture
def result(extractor: ClipExtractor, images: np.ndarray) -> Result:
    return evaluate(CONFIG, images, CAPTIONS, ACCEPTED, images[::-1], CLASSES, extractor)


def test_every_metric_has_its_name_and_an_interval(result: Result) -> None:
    names = [f"{name}[toy]" for name in ("fid", "kid", "inception_score", "clip_score", "agreement")]
    assert list(result.metrics) == [key for name in names for key in (name, f"{name}.low", f"{name}.high")]
    for name in names:
        assert result.metrics[f"{name}.low"] <= result.metrics[name] <= result.metrics[f"{name}.high"]
    assert result.metrics["fid[toy]"] == pytest.approx(0.0, abs=1e-9)
    assert result.skipped == {}


def test_per_sample_values_average_to_the_metric(result: Result) -> None:
    assert set(result.per_sample) == {"clip_score[toy]", "agreement[toy]"}
    for key, values in result.per_sample.items():
        assert values.mean() == pytest.approx(result.metrics[key])


def test_batch_size_does_not_change_a_metric(result: Result, extractor: ClipExtractor, images: np.ndarray) -> None:
    other = dataclasses.replace(CONFIG, batch_size=64)
    again = evaluate(other, images, CAPTIONS, ACCEPTED, images[::-1], CLASSES, extractor)
    assert again.metrics == result.metrics
    assert again.definition == result.definition


def test_metrics_without_their_data_are_skipped_by_name(extractor: ClipExtractor, images: np.ndarray) -> None:
    found = evaluate(CONFIG, images, CAPTIONS, None, images, None, extractor)
    assert found.skipped == {"inception_score": "needs classes", "agreement": "needs classes and accepted"}
    assert "clip_score[toy]" in found.metrics
    config = dataclasses.replace(CONFIG, metrics=["fid"])
    with pytest.raises(UserError, match="fid needs reference"):
        evaluate(config, images, CAPTIONS, None, None, None, extractor)


def test_mismatched_arguments_are_one_sentence(extractor: ClipExtractor, images: np.ndarray) -> None:
    with pytest.raises(UserError, match="10 generated images and 9 captions"):
        evaluate(CONFIG, images, CAPTIONS[1:], ACCEPTED, images, CLASSES, extractor)
    with pytest.raises(UserError, match="'dog' is not among the 3 classes"):
        evaluate(CONFIG, images, CAPTIONS, [{"dog"}] * 10, images, CLASSES, extractor)


def test_definition_tells_where_the_numbers_come_from(result: Result, extractor: ClipExtractor) -> None:
    found = json.loads(json.dumps(result.definition))
    assert found == result.definition
    assert (found["extractor"], found["weights_sha256"]) == ("toy", extractor.digest)
    assert (found["generated_count"], found["reference_count"], found["covariance_ddof"]) == (10, 10, 1)
    assert found["image_format"] == "uint8 RGB 48x40"
    assert {"numpy", "scipy", "pillow", "torch", "transformers"} == set(found["versions"])


def test_differences_name_the_fields(result: Result) -> None:
    other = json.loads(json.dumps(result.definition)) | {"generated_count": 9, "steps": 20}
    other["versions"]["torch"] = "0"
    assert differences(result.definition, other) == ["generated_count", "steps", "versions.torch"]
    assert differences(result.definition, result.definition) == []


def test_text_digest_keeps_the_borders() -> None:
    assert text_digest(["ab", "c"]) != text_digest(["a", "bc"]) != text_digest(["abc"])


def scored(result: Result, scores: np.ndarray) -> Result:
    return dataclasses.replace(result, per_sample={"clip_score[toy]": scores})


@pytest.mark.parametrize(
    ("gain", "verdict"),
    [(np.arange(1.0, 11.0), "better"), (-np.arange(1.0, 11.0), "worse"), (np.tile([1.0, -1], 5), "")],
)
def test_verdict_follows_the_paired_interval(result: Result, gain: np.ndarray, verdict: str) -> None:
    base = np.linspace(0, 90, 10)
    found = compare(scored(result, base), scored(result, base + gain))
    assert found["verdict"] == (verdict or "cannot tell")
    assert found["difference"] == pytest.approx(gain.mean())
    assert found["low"] <= found["difference"] <= found["high"]
    assert found["sentence"].startswith(f"{found['verdict']} at N = 10: clip_score[toy] changes by ")
    assert found["sign_test_p"] == pytest.approx(2 / 2**10 if verdict else 1.0)


def test_unlike_definitions_are_refused_by_field(result: Result) -> None:
    other = dataclasses.replace(result, definition=result.definition | {"reference_sha256": "else"})
    with pytest.raises(UserError, match="differ in reference_sha256"):
        compare(result, other)


def test_a_comparison_without_scores_is_one_sentence(result: Result) -> None:
    with pytest.raises(UserError, match="add clip_score to eval.metrics"):
        compare(result, dataclasses.replace(result, per_sample={}))
