"""`task=clip` as users type it: numbers before and after, a CLIP that everything loads, and its tower in generation."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from ..conftest import SCENES, Ended, Lab
from ..evaluation.conftest import toy_clip  # noqa: F401  (a fixture)

TUNE = [*SCENES, "task=clip", "clip.batch_size=8", "clip.epochs=2", "clip.warmup=1", "eval.replicates=100"]
PICTURES = ["scheduler.steps=2", "images=2"]
TEXT = [*TUNE, *PICTURES, "clip.text_from_model=true", "clip.learning_rate=1e-3", "clip.generate=4"]
ELSEWHERE = "clip.forgetting=['dataset=scenes','dataset.seed=5','dataset.train=4','dataset.val=6']"


@pytest.fixture(scope="module")
def own_lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def text(own_lab: Lab) -> Ended:
    """The tiny model's own text encoder, tuned."""
    return own_lab.here(*TEXT)


@pytest.fixture(scope="module")
def both(own_lab: Lab) -> Ended:
    """The bundled CLIP, tuned."""
    return own_lab.here(*TUNE, ELSEWHERE)


def weights(ended: Ended) -> str:
    assert ended.status == 0, ended.err
    return hashlib.sha256((ended.folder / "clip" / "model.safetensors").read_bytes()).hexdigest()


def test_every_number_has_its_interval_before_and_after(both: Ended) -> None:
    numbers = both.metrics
    for state in ("before", "after", "difference", "elsewhere/before", "elsewhere/after", "elsewhere/difference"):
        for name in ("zero_shot_accuracy", "image_to_text_recall_1", "text_to_image_recall_5", "cosine_margin"):
            value, low, high = (numbers[f"{state}/{name}{end}"] for end in ("", ".low", ".high"))
            assert low <= value <= high
    change = numbers["after/cosine_matched"] - numbers["before/cosine_matched"]
    assert numbers["difference/cosine_matched"] == pytest.approx(change)
    gain = 100 * change / numbers["before/cosine_matched"]
    assert numbers["difference/alignment_gain"] == pytest.approx(gain)
    assert (numbers["blend/here/zero_shot_accuracy/0"], numbers["blend/elsewhere/zero_shot_accuracy/1"]) == (
        pytest.approx(100 * numbers["before/zero_shot_accuracy"]),
        pytest.approx(100 * numbers["elsewhere/after/zero_shot_accuracy"]),
    )


def test_the_story_has_its_figures(both: Ended, text: Ended) -> None:
    titles = {section["title"]: section for section in both.json("sections.json")}
    assert list(titles) == ["CLIP tuning", "CLIP before and after", "What the CLIP forgot", "Between base and tuned"]
    figures = {Path(figure["path"]).stem for section in titles.values() for figure in section["figures"]}
    assert figures == {"clip_loss", "clip_before_after", "clip_confusion", "clip_blend"}
    assert [section["title"] for section in text.json("sections.json")] == [
        "CLIP tuning", "CLIP before and after", "Generation with base and tuned text encoder",
    ]  # fmt: skip


def test_the_tuned_clip_is_a_plain_one_and_measures(own_lab: Lab, both: Ended) -> None:
    from t2i.evaluation.extractors.clip import ClipExtractor

    extractor = ClipExtractor(str(both.folder / "clip"), "tuned")
    assert extractor.texts(["a cat"]).shape == (1, 128)
    card = (both.folder / "clip" / "README.md").read_text()
    assert "24 training pictures" in card and "clip.batch_size: 8" in card and "after 6 steps" in card
    scored = own_lab.here(
        *SCENES, "task=embed", "eval.extractor=clip", f"eval.clip={both.folder / 'clip'}", "eval.replicates=100"
    )
    assert scored.metrics["width"] == 128


def test_generation_is_compared_with_equal_seeds(text: Ended) -> None:
    numbers = text.metrics
    base, tuned, change = (
        numbers[f"generation/{name}/clip_score[tiny_clip]"] for name in ("base", "tuned", "difference")
    )
    assert change == pytest.approx(tuned - base) and change != 0
    assert numbers["generation/independent"] == 0  # the tuning started from the CLIP that scores
    assert "it may flatter the tuned text encoder" in text.out


def test_the_tuned_clip_may_not_score_itself(own_lab: Lab, text: Ended) -> None:
    own = ["eval.extractor=clip", f"eval.clip={text.folder / 'clip'}"]
    ended = own_lab.here(*TEXT, *own)
    assert ended.status == 2
    assert "is the CLIP that was tuned: it would score its own work" in ended.err
    asked = own_lab.here(*SCENES, *PICTURES, "task=evaluate", "eval.images=2", f"weights={text.folder}", *own)
    assert asked.status == 2
    assert "it would score its own work" in asked.err


def test_verify_shows_the_tuned_tower_in_use(own_lab: Lab, text: Ended) -> None:
    ended = own_lab.here("task=verify", f"weights={text.folder}")
    assert ended.status == 0, ended.err
    (section,) = ended.json("sections.json")
    rows = {row[0]: row for row in section["tables"][0]["rows"]}
    assert rows["networks that the weights change"][2:] == ["text_encoder", "ok"]
    was, now = rows["text encoder of the pipeline (digest)"][2].removeprefix("was ").split(", now ")
    from transformers import CLIPModel, CLIPTextModel

    from t2i.models.source import BUNDLED
    from t2i.models.weights import module_digest

    assert was == module_digest(CLIPTextModel.from_pretrained(BUNDLED / "text_encoder").float())[:12]
    assert now == module_digest(CLIPModel.from_pretrained(text.folder / "clip").text_model)[:12]
    assert rows["change of a caption's embedding"][3] == "ok"


def test_pictures_are_of_the_tuned_tower(own_lab: Lab, text: Ended) -> None:
    from PIL import Image

    arguments = [*SCENES, *PICTURES, "task=generate"]
    base, tuned = own_lab.here(*arguments), own_lab.here(*arguments, f"weights={text.folder}")
    first, second = (np.asarray(Image.open(ended.folder / "images" / "000000.png")) for ended in (base, tuned))
    assert base.status == tuned.status == 0
    assert not np.array_equal(first, second)


def test_a_tower_of_another_width_is_refused_in_one_sentence(own_lab: Lab, toy_clip: Path) -> None:  # noqa: F811
    ended = own_lab.here(*TUNE, *PICTURES, f"clip.source={toy_clip}", "clip.generate=2", "clip.epochs=1")
    assert ended.status == 0, ended.err
    assert "not compared: the text tower" in ended.out
    refused = own_lab.here(*SCENES, *PICTURES, "task=generate", f"weights={ended.folder}")
    assert refused.status == 1
    (sentence,) = [line for line in refused.err.splitlines() if line.startswith("t2i: ")]
    assert "gives states of width 16 and the U-Net of model=tiny reads 128" in sentence
    assert "clip.text_from_model=true" in sentence and "strategy=text_adapter" in sentence


def test_an_interrupted_tuning_goes_on_with_the_same_bits(
    own_lab: Lab, both: Ended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from t2i.training.contrastive.loop import Tuner

    whole, count, stop = Tuner.step, 0, True

    def counted(self: Tuner, epoch: int, batch: list[int]) -> object:
        nonlocal count
        count += 1
        if count == 5 and stop:
            raise KeyboardInterrupt
        return whole(self, epoch, batch)

    monkeypatch.setattr(Tuner, "step", counted)
    other = own_lab.sharing(tmp_path / "other", without="clip")
    assert other.here(*TUNE, ELSEWHERE).status == 130
    stop = False
    again = other.here(*TUNE, ELSEWHERE)
    assert "resumed from the checkpoint of step 3" in again.out  # three batches of eight pictures an epoch
    assert weights(again) == weights(both)
    assert json.loads((again.folder / "metrics.json").read_text()) == both.metrics


def test_a_second_run_reuses_the_tuning_whatever_does_not_change_it(own_lab: Lab, both: Ended) -> None:
    again = own_lab.here(*TUNE, "clip.keep=5", "clip.chunk=4", "clip.images=6")
    assert weights(again) == weights(both)
    assert {n.partition("/")[0] for n, stage in again.json("stages.json").items() if not stage["reused"]} == {
        "clip_features"
    }


def test_only_a_dataset_can_be_forgotten(own_lab: Lab) -> None:
    ended = own_lab.here(*TUNE, "clip.forgetting=['seed=3']")
    assert ended.status == 2
    assert "clip.forgetting holds 'seed=3'" in ended.err


def test_too_few_held_out_pictures_are_refused_before_anything_is_tuned(own_lab: Lab, folder_data: Path) -> None:
    data = ["dataset=folder", f"dataset.root={folder_data}", "dataset.held_out=1"]
    ended = own_lab.here(*TUNE[len(SCENES) :], *data)
    assert ended.status == 2
    assert "1 held-out pictures of dataset=folder are too few to measure a CLIP on" in ended.err
    assert "checkpoint" not in ended.out


@pytest.mark.slow
def test_two_processes_tune_as_one(own_lab: Lab, both: Ended, tmp_path: Path) -> None:
    other = own_lab.sharing(tmp_path / "other", without="clip")
    ended = other.away(*TUNE, ELSEWHERE, "launch.processes=2")
    assert ended.status == 0, ended.err
    for name in ("after/cosine_matched", "after/cosine_margin"):
        assert ended.metrics[name] == pytest.approx(both.metrics[name], rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clip_cifar10", "clip_flickr8k", "clip_flickr30k", "text_encoder_flickr8k"])
def test_the_presets_have_a_twin_at_toy_size(own_lab: Lab, name: str) -> None:
    numbers = own_lab.here(f"experiment={name}_tiny").metrics
    if name.startswith("clip"):
        key = "zero_shot_accuracy" if name == "clip_cifar10" else "image_to_text_recall_1"
        assert numbers[f"clip/after/{key}"] > numbers[f"clip/before/{key}"] + 0.2
    else:
        # The tiny text encoder was trained for these scenes: what counts is that it trains, and comes back from disk.
        assert numbers["train/trainable_parameters"] == 1_181_056 and numbers["train/reload_max_difference"] <= 1
        assert numbers["train/held_out_loss"] == pytest.approx(numbers["train/held_out_loss_before"], rel=0.05)
        assert numbers["train/held_out_loss"] != numbers["train/held_out_loss_before"]
