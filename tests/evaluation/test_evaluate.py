"""The whole evaluation at toy size, its definition, and the comparison of two results."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax

from t2i.data.pictures import Pictures
from t2i.errors import UserError
from t2i.evaluation.config import JUDGES, Evaluation
from t2i.evaluation.definition import FORMULAS, differences, text_digest
from t2i.evaluation.evaluate import Result, evaluate, evaluate_samples
from t2i.evaluation.extractors.clip import ClipExtractor
from t2i.evaluation.gather import Facts, Samples
from t2i.evaluation.metrics.inception_score import inception_score
from t2i.evaluation.metrics.registry import METRICS
from t2i.evaluation.verdict import changes_of, refuse_unlike

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
    expected = {key for name in names for key in (name, f"{name}.low", f"{name}.high")}
    expected |= {f"{name}[toy].world.{end}" for name in ("fid", "kid") for end in ("low", "high")}
    assert set(result.metrics) == expected | {"inception_score_10[toy]", "inception_score_10_std[toy]"}
    assert {result.scopes[name] for name in names[:2]} == {"this reference"} and not result.scopes["clip_score[toy]"]
    json.dumps(result.metrics, allow_nan=False)
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
    assert (found["precision"], found["formulas"]) == ("float32 on cpu, 16 at once", FORMULAS)
    assert found["image_format"] == "uint8 RGB 48x40"
    assert {"numpy", "scipy", "pillow", "torch", "transformers", "diffusers"} == set(found["versions"])
    assert (found["resize"], found["antialias"], found["crop"]) == ("clip", True, "center")
    assert (found["clip"], found["clip_sha256"], found["train_sha256"]) == ("toy", extractor.digest, "none")


def test_differences_name_the_fields(result: Result) -> None:
    other = json.loads(json.dumps(result.definition)) | {"generated_count": 9, "steps": 20}
    other["versions"]["torch"] = "0"
    assert differences(result.definition, other) == ["generated_count", "steps", "versions.torch"]
    assert differences(result.definition, result.definition) == []


def test_text_digest_keeps_the_borders() -> None:
    assert text_digest(["ab", "c"]) != text_digest(["a", "bc"]) != text_digest(["abc"])


def test_unlike_definitions_are_refused_by_field(result: Result) -> None:
    with pytest.raises(UserError, match=r"differ in reference_sha256 \(reference_sha256: \w+ and else\)"):
        refuse_unlike(result.definition, result.definition | {"reference_sha256": "else"})


class Classifier:
    """A network without texts: mean colours, and two classes from them."""

    kind, name, digest, preprocessing = "inception", "colours", "1", "torch_fidelity"
    device, at_once = torch.device("cpu"), 1

    def images(self, batch: np.ndarray) -> np.ndarray:
        return batch.mean(axis=(1, 2)).astype(np.float32)

    def logits(self, features: np.ndarray) -> np.ndarray:
        return features[:, :2]


ALL = dataclasses.replace(CONFIG, metrics=list(METRICS))


def samples(images: np.ndarray, **changes: Any) -> Samples:
    return Samples(images, CAPTIONS, ACCEPTED, images[::-1], CLASSES, **changes)


def test_texts_are_read_by_the_clip_and_the_rest_by_the_extractor(extractor: ClipExtractor, images: np.ndarray) -> None:
    others, train = (
        [["a picture"]] * 10,
        {"colours": Classifier().images(images[:3]), "toy": extractor.images(images[:3])},
    )
    found = evaluate_samples(ALL, samples(images, train_features=train, other_captions=others), Classifier(), extractor)
    sources = {key.partition("[")[0]: key.partition("[")[2].rstrip("]") for key in found.metrics if "." not in key}
    assert {name for name, source in sources.items() if source == "toy"} == {
        "clip_score",
        "agreement",
        "ref_clip_score",
        "cmmd",
        "cmmd_biased",
    }
    assert {"fid", "kid", "inception_score", "precision", "coverage", "vendi", "mifid"} <= sources.keys()
    logits = images.mean(axis=(1, 2))[:, :2]
    assert found.metrics["inception_score[colours]"] == pytest.approx(
        inception_score(softmax(logits, axis=1)), rel=1e-4
    )
    assert found.skipped == {
        "fd_dinov2": "needs eval.extractor=dinov2",
        "fid_infinity": "needs 30 samples, of 10",
        "held_out_loss@8": "needs held_out_losses",
        "composition": "needs suite",
        "geneval_prompts": "needs suite",
        **dict.fromkeys(JUDGES, "needs its judge"),
        "dino_i": "needs eval.extractor=dinov2",
        **dict.fromkeys(("clip_i", "clip_t", "drift", "subject_diversity", "subject_nearest"), "needs subject"),
    }
    assert found.definition["resize"] == "torch_fidelity" and found.definition["antialias"] is False
    assert found.definition["train_sha256"] != "none"


def test_what_a_metric_lacks_is_said(extractor: ClipExtractor, images: np.ndarray) -> None:
    found = evaluate_samples(ALL, samples(images), extractor, extractor)
    assert (found.skipped["memorisation"], found.skipped["ref_clip_score"]) == ("needs train", "needs other_texts")


def test_every_metric_with_a_test_is_compared(extractor: ClipExtractor, images: np.ndarray) -> None:
    # Against the same real images: those of `samples` are its own, reversed.
    sets = [Samples(x, CAPTIONS, ACCEPTED, images[::-1], CLASSES) for x in (images, 255 - images)]
    base, tuned = (evaluate_samples(ALL, own, extractor, extractor) for own in sets)
    found = changes_of(base, tuned)
    expected = {"fid", "kid", "inception_score", "clip_score", "agreement", "cmmd", "vendi"}
    assert set(found) == {f"{name}[toy]" for name in expected | {"precision", "recall", "density", "coverage"}}
    for key, change in found.items():
        assert change.difference.value == pytest.approx(tuned.metrics[key] - base.metrics[key], abs=1e-9), key


def test_metrics_that_need_no_reference_do_not_wait_for_one(extractor: ClipExtractor, images: np.ndarray) -> None:
    """One real picture is too few for FID; the CLIP score, the agreement and the rest do not look at it."""
    own = Samples(images, CAPTIONS, ACCEPTED, images[:1], CLASSES)
    found = evaluate_samples(ALL, own, extractor, extractor)
    assert {"clip_score[toy]", "agreement[toy]", "inception_score[toy]", "vendi[toy]"} <= found.metrics.keys()
    assert found.skipped["fid"] == "needs 2 samples, of 1"


def test_how_the_images_came_to_be_is_part_of_the_definition(extractor: ClipExtractor, images: np.ndarray) -> None:
    made = [
        evaluate_samples(CONFIG, samples(images, generation={"scheduler": {"steps": steps}}), extractor, extractor)
        for steps in (20, 25)
    ]
    with pytest.raises(UserError, match="differ in generation.scheduler.steps"):
        refuse_unlike(*(found.definition for found in made))


def test_another_resize_policy_is_another_number(toy_clip: Path, extractor: ClipExtractor, images: np.ndarray) -> None:
    other = ClipExtractor(str(toy_clip), "toy", policy="torch_fidelity")
    assert not np.allclose(other.images(images), extractor.images(images), rtol=1e-3)
    found = [evaluate_samples(CONFIG, samples(images), network, network) for network in (extractor, other)]
    with pytest.raises(UserError, match="differ in antialias, crop, resize"):
        refuse_unlike(*(result.definition for result in found))


@pytest.mark.parametrize("at_once", [1, 6])
def test_pictures_that_are_read_when_needed_are_those_in_memory(
    extractor: ClipExtractor, images: np.ndarray, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """As many at a time as was asked for, or as keep the threads busy."""
    monkeypatch.setattr(ClipExtractor, "at_once", at_once)
    asked: list[int] = []

    def read(rows: Sequence[int]) -> np.ndarray:
        asked.append(len(rows))
        return images[list(rows)]

    lazy = Pictures((10, *images.shape[1:]), read)
    sets = [Samples(given, CAPTIONS, ACCEPTED, images[::-1], CLASSES) for given in (images, lazy)]
    first, second = (evaluate_samples(CONFIG, own, extractor, extractor) for own in sets)
    assert first.metrics == second.metrics and first.definition == second.definition
    assert max(asked) == max(CONFIG.batch_size, at_once)
    assert Facts.of(lazy) == Facts.of(images) != Facts.of(images[::-1])
