"""One subject, as users type it: a prior as a stage, words that prompts have, and what is told before anything is made."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2i.config import compose
from t2i.context import Run
from t2i.stages.elsewhere import elsewhere_of
from t2i.store import Store

from ..conftest import TOY, Ended, Lab
from .test_prepare import noise

MASCOT = ["dataset=mascot", "dataset.train=5", "dataset.val=6"]
TRAIN = [*MASCOT, *TOY, "task=train", "training.validation_images=0", "training.export_pipeline=false"]
DRAWN = ["training.prior=pictures", "training.prior_images=4"]
WORDS = ["training.captions.prefix='<mia> '", "strategy.placeholders=['<mia>']"]


def stages(ended: Ended) -> dict[str, bool]:
    """Names and short digests, and whether they were reused."""
    return {name: stage["reused"] for name, stage in ended.json("stages.json").items()}


def log(ended: Ended) -> list[dict[str, str]]:
    with open(ended.folder / "train_log.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_class_pictures_are_a_stage_that_every_training_finds_again(lab: Lab) -> None:
    planned = lab.here(*TRAIN, *DRAWN, "plan=true")
    assert planned.status == 0 and "generated" in planned.out
    first = lab.here(*TRAIN, *DRAWN)
    assert first.status == 0, first.err
    drawn = [name for name in stages(first) if name.startswith("generated/")]
    assert len(drawn) == 1 and not stages(first)[drawn[0]]
    folder = next((lab.root / "store" / "generated").glob(f"{drawn[0].partition('/')[2]}*"))
    assert len(list(folder.glob("*.png"))) == 4
    assert [float(row["prior_loss"]) > 0 for row in log(first)] == [True] * 4
    other = lab.here(*TRAIN, *DRAWN, "training.prior_weight=0.25")
    assert stages(other)[drawn[0]] is True, "another weight is of the same pictures"
    more = lab.here(*TRAIN, "training.prior=pictures", "training.prior_images=5", "plan=true")
    assert "generated" in more.out


def test_a_prior_by_the_base_begins_at_nothing_and_is_no_training_without_it(lab: Lab) -> None:
    plain, base = lab.here(*TRAIN), lab.here(*TRAIN, "training.prior=base")
    assert float(log(base)[0]["prior_loss"]) < 1e-10 < float(log(base)[-1]["prior_loss"])
    assert "prior_loss" not in log(plain)[0]
    names = [next(name for name in stages(ended) if name.startswith("training/")) for ended in (plain, base)]
    assert names[0] != names[1]
    other = lab.here(*TRAIN, "training.prior=base", "dataset.regularisation=['a red bus']", "plan=true")
    assert "training" in other.out and names[1].partition("/")[2] not in other.out


@pytest.mark.parametrize("strategy", ["textual_inversion", "pivotal"])
def test_a_word_that_was_taught_is_drawn_judged_and_exported(lab: Lab, strategy: str, tmp_path: Path) -> None:
    taught = lab.here(*TRAIN, *WORDS, f"strategy={strategy}", "strategy.initializers=[cat]", "strategy.vectors=2")
    assert taught.status == 0, taught.err
    assert (taught.folder / "weights" / "learned_embeds.safetensors").exists()
    ask = [*TOY, "task=generate", "prompts=['a <mia> in the snow','a cat in the snow']", "images=2"]
    base, tuned = lab.here(*ask), lab.here(*ask, f"weights={taught.folder}")
    pictures = [
        [np.asarray(Image.open(ended.folder / "images" / f"{i:06d}.png"), int) for i in (0, 1)]
        for ended in (base, tuned)
    ]
    assert np.abs(pictures[0][0] - pictures[1][0]).max() > 0
    if strategy == "textual_inversion":
        assert np.array_equal(pictures[0][1], pictures[1][1]), "a prompt without the word is drawn as before"
    exported = lab.here(*TOY, "task=export", f"run={taught.folder}")
    assert exported.status == 0, exported.err
    assert exported.metrics["reload_max_difference"] <= 1.0


def test_words_that_no_caption_has_are_told_before_the_first_step(lab: Lab) -> None:
    ended = lab.here(*TRAIN, "strategy=textual_inversion", "strategy.placeholders=['<unseen>']")
    assert ended.status == 1 and "Traceback" not in ended.err
    assert (
        "no training caption has <unseen>, so nothing could be learned about it; type e.g. dataset.caption="
        in ended.err
    )


@pytest.mark.parametrize(("typed", "sentence"), [
    (["training.prior=base"], "training.prior=base needs captions of what is to stay as it is, and dataset=scenes knows none"),
    (["training.prior=base", "dataset=subject", "dataset.root=/nowhere"], "dataset.root=/nowhere does not exist"),
    (["dataset=mascot", "training.prior=base", "strategy=textual_inversion"], "which changes nothing but its new words"),
    (["model=tiny_flow", "scheduler=flow_euler", "strategy=pivotal"], "strategy=pivotal teaches words to CLIP's text encoders"),
    (["training.prior=base", "training.batch_size=1"], "training.batch_size=1 has no room for training.prior=base"),
])  # fmt: skip
def test_mistakes_are_one_sentence(lab: Lab, typed: list[str], sentence: str) -> None:
    ended = lab.here("task=train", *typed)
    assert ended.status == 2 and sentence in ended.err and "Traceback" not in ended.err


@pytest.fixture(scope="module")
def rex(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = tmp_path_factory.mktemp("rex")
    for number in range(5):
        noise(number).save(root / f"{number}.png")
    return [
        *("dataset=subject", f"dataset.root={root}", "dataset.resolution=64", "dataset.class_word=dog"),
        *("dataset.caption='a photo of sks dog'", *TOY[:4], "training.validation_images=0", "scheduler.steps=2"),
        *("training.export_pipeline=false", "eval.prompts=2"),
    ]


def test_pictures_that_weights_were_trained_on_are_no_judges_of_them(lab: Lab, rex: list[str]) -> None:
    trained = lab.here("task=train", *rex)
    assert trained.status == 0, trained.err
    ask = ["task=evaluate", *rex, "eval=subject", f"weights={trained.folder}"]
    own, more = lab.here(*ask), lab.here(*ask, "dataset.held_out_share=0.7")
    assert own.status == more.status == 0, own.err + more.err
    assert "was trained on" not in own.out
    assert "2 of 4 held-out pictures are ones that weights= was trained on (" in more.out


def test_a_word_that_no_prompt_of_the_subject_has_is_told_before_anything_is_drawn(lab: Lab) -> None:
    """As its training had it: a prefix of all captions, which another command does not know of."""
    taught = lab.here(*TRAIN, *WORDS, "strategy=textual_inversion", "strategy.initializers=[cat]")
    ask = [*MASCOT, *TOY, "task=evaluate", "eval=subject", "eval.prompts=2", f"weights={taught.folder}"]
    refused = lab.here(*ask)
    assert refused.status == 2 and "generated" not in refused.out
    assert "no prompt of mia has <mia>, which weights= teaches: type training.captions.prefix='<mia> '" in refused.err
    told = lab.here(*ask, WORDS[0])
    assert told.status == 0 and told.metrics["drift[tiny_clip]"] == told.metrics["drift[tiny_clip].high"] == 0.0


@pytest.mark.parametrize("typed", [[], ["plan=true"]], ids=["run", "plan"])
def test_what_a_handful_cannot_be_judged_by_is_told_before_the_training(
    lab: Lab, rex: list[str], typed: list[str]
) -> None:
    ask = ["parts=[data,train,compare]", *rex, "dataset.held_out=1", "eval=subject"]
    ended = lab.here(*ask, *typed)
    assert ended.status == 0, ended.err
    told = ended.out.index("Not measured: pictures and numbers, base and tuned needs 2 held-out pictures")
    assert typed or told < ended.out.index("training")
    alone = lab.here("task=evaluate", *rex, "dataset.held_out=1", "eval=subject")
    assert alone.status == 2 and "need 2 held-out pictures and 1 is there" in alone.err


def test_elsewhere_has_a_number_of_its_own(tmp_path: Path, rex: list[str]) -> None:
    """Five photographs hold two out, and two pairs of pictures elsewhere tell nothing."""
    config, run = (
        compose([*rex, "elsewhere=scenes"]),
        Run(tmp_path, Store(tmp_path), overrides=[*rex, "elsewhere=scenes"]),
    )
    config.eval.images = 2  # as it is fitted to what there is
    assert elsewhere_of(config, run).eval.images == 20
    typed = [*rex, "elsewhere=scenes", "eval.images=10"]
    assert elsewhere_of(compose(typed), Run(tmp_path, Store(tmp_path), overrides=typed)).eval.images == 4
