"""PickScore and HPSv2.1 of toy weights in their published layouts, and what is said of judges that are not here."""

import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTokenizer

from t2i.errors import UserError
from t2i.evaluation.config import JUDGES, Evaluation
from t2i.evaluation.evaluate import evaluate_samples
from t2i.evaluation.extractors import judges, preference
from t2i.evaluation.extractors import registry as extractors
from t2i.evaluation.extractors.precision import suffix
from t2i.evaluation.extractors.resize import POLICIES
from t2i.evaluation.gather import Samples, gather
from t2i.models.published import PUBLISHED, told
from t2i.places import PACKAGE
from t2i.randomness import generator

from .. import toy_judges

CAPTIONS = ["a red kite", "two dogs on a bench, one of them asleep", "", "a blue kite"]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    root = tmp_path_factory.mktemp("judges")
    return Evaluation(
        metrics=["clip_score", "pickscore", "hpsv2", "vqa_score"],
        pickscore=str(toy_judges.clip(root / "PickScore_v1")),
        hpsv2=str(toy_judges.hpsv2(root / "HPSv2" / "HPS_v2.1_compressed.pt")),
        vlm=str(toy_judges.blip(root / "blip-vqa-base")),
    )


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """uint8 (4, 40, 64, 3)."""
    return generator("judges").integers(0, 256, (4, 40, 64, 3), dtype=np.uint8)


def test_each_metric_is_of_its_own_judge_and_the_definition_says_which(
    config: Evaluation, pictures: np.ndarray
) -> None:
    clip = extractors.build(config)
    known = judges.judges(config)
    found = evaluate_samples(config, Samples(pictures, CAPTIONS), clip, clip, known)
    names = {name for name in found.metrics if "." not in name.split("]")[-1]}
    assert names == {
        "clip_score[tiny_clip]", "pickscore[PickScore_v1]", "hpsv2[HPS_v2_1]",
        "vqa_score[blip-vqa-base]", "vqa_score_answered[blip-vqa-base]",
    }  # fmt: skip
    told_ = found.definition["judges"]
    assert set(told_) == {"pickscore", "hpsv2", "vqa_score"}
    assert told_["hpsv2"]["formula"] == "100 * cos(picture, prompt)" and told_["hpsv2"]["resize"] == "whole"
    assert told_["vqa_score"]["sha256"] + suffix(config.exact) == judges.digests(config)["vqa_score"]


def test_pickscore_is_what_the_authors_readme_computes(config: Evaluation, pictures: np.ndarray) -> None:
    """With transformers' own processor: logit_scale.exp() times the product of unit features."""
    inputs = gather(config, Samples(pictures, CAPTIONS), *(extractors.build(config),) * 2, judges.judges(config))
    model = CLIPModel.from_pretrained(config.pickscore).eval()
    tokenizer = CLIPTokenizer.from_pretrained(PACKAGE / "assets" / "clip_vocabulary")
    processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    with torch.inference_mode():
        tokens = tokenizer(CAPTIONS, padding=True, truncation=True, max_length=77, return_tensors="pt")
        images = processor(list(pictures), return_tensors="pt")
        seen = torch.nn.functional.normalize(
            model.visual_projection(model.vision_model(**images).pooler_output), dim=-1
        )
        read = torch.nn.functional.normalize(model.text_projection(model.text_model(**tokens).pooler_output), dim=-1)
        expected = (model.logit_scale.exp() * (seen * read).sum(-1)).numpy()
    from t2i.evaluation.metrics.pickscore import measure

    found = measure(inputs["pickscore"])["pickscore"].per_sample
    assert expected.std() > 0.5
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_hpsv2_sees_the_whole_picture(config: Evaluation) -> None:
    """A picture that differs at its far ends alone: cut away by CLIP's resizing, kept by HPSv2's."""
    one = np.full((1, 32, 96, 3), 120, np.uint8)
    other = one.copy()
    other[:, :, :16] = 255
    network = preference.build("hpsv2", config)
    assert np.abs(network.images(one) - network.images(other)).max() > 1e-3
    cut = preference.build("pickscore", config)
    np.testing.assert_array_equal(cut.images(one), cut.images(other))


def test_whole_keeps_a_picture_and_puts_black_around(pictures: np.ndarray) -> None:
    found = POLICIES["whole"].apply(np.full((1, 20, 40, 3), 200, np.uint8), 16).numpy()
    assert found.shape == (1, 3, 16, 16)
    assert (found[:, :, :4] == 0).all() and (found[:, :, 12:] == 0).all()
    np.testing.assert_allclose(found[:, :, 4:12], 200.0, atol=1e-3)
    np.testing.assert_array_equal(
        POLICIES["whole"].apply(pictures[:, :40, :40], 40).numpy(), np.moveaxis(pictures[:, :40, :40], -1, 1)
    )


def test_a_batch_changes_nothing(config: Evaluation, pictures: np.ndarray) -> None:
    network = preference.build("hpsv2", config)
    one = np.concatenate([network.images(picture[None]) for picture in pictures])
    np.testing.assert_allclose(one, network.images(pictures), rtol=0, atol=1e-6)


def test_judges_that_nobody_asks_are_not_looked_for() -> None:
    assert judges.digests(Evaluation(pickscore="/no/where", metrics=["kid"])) == {}


@pytest.mark.parametrize(("metric", "key"), [("pickscore", "pickscore"), ("hpsv2", "hpsv2"), ("vqa_score", "vlm")])
def test_one_that_is_not_here_is_a_sentence_with_what_to_type(
    metric: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    config = Evaluation(metrics=[metric])
    source = getattr(config, key)
    start = time.monotonic()
    with pytest.raises(UserError) as refused:
        judges.digests(config)
    assert time.monotonic() - start < 2.0
    said = str(refused.value)
    assert said.startswith(f"eval.{key}={source} is neither") and "\n" not in said
    assert f"hf download {source}" in said and told(source) in said and f"eval.{key}=models/" in said


def test_every_judge_has_size_and_licence() -> None:
    own = Evaluation()
    sources = [str(getattr(own, key)) for keys in JUDGES.values() for key in keys]
    assert {*sources, own.dinov2, "inception", "Salesforce/blip-vqa-base"} <= PUBLISHED.keys()
    assert told("xswu/HPSv2@main") == "about 1.97 GB, Apache-2.0" and told("some/body") == "size and licence unknown"


def test_files_that_do_not_fit_are_refused(config: Evaluation, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds 0 files of HPSv2.1; expected HPS_v2.1_compressed.pt"):
        preference.weights_of("hpsv2", str(tmp_path))
    (tmp_path / "HPS_v2.1.zip").write_text("x")
    with pytest.raises(UserError, match="is no file of weights"):
        preference.weights_of("hpsv2", str(tmp_path / "HPS_v2.1.zip"))
    shutil.copy(config.hpsv2, tmp_path / "HPS_v2.1.pt")
    assert preference.weights_of("hpsv2", str(tmp_path)) == tmp_path / "HPS_v2.1.pt"
    small = toy_judges.clip(tmp_path / "small", words=100)
    with pytest.raises(UserError, match="knows 100 words and its tokenizer 49408"):
        preference.build("pickscore", Evaluation(pickscore=str(small)))
