"""One subject, as users type it: a prior as a stage, words that prompts have, and what is told before anything is made."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ..conftest import TOY, Ended, Lab

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
