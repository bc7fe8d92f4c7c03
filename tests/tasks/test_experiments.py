"""The six named experiments from one command each, on data as it lies on disk, with the bundled networks at toy size."""

import csv
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ..conftest import Ended, Lab
from . import formats

CPU = [
    *("model=tiny", "model.resolution=64", "dataset.resolution=64", "launch.mixed_precision=null"),
    *("eval.extractor=tiny_clip", "eval.clip=bundled", "eval.replicates=100", "eval.images=6", "scheduler.steps=2"),
    "eval.metrics=[fid,inception_score,clip_score]",
]
"""Where the preset names real checkpoints and a GPU."""
TRAIN = [
    *("training.batch_size=4", "training.log_every=1", "training.warmup=1"),
    *("training.validation_images=0", "training.held_out_images=2"),
]
TOWER = ["clip.source=bundled", "clip.epochs=2", "clip.warmup=1", "clip.forgetting=[]"]
PAIRS = [*TOWER, "clip.batch_size=4", "clip.chunk=2", "clip.generate=3"]
FLICKR30K = [
    "dataset.held_out_share=0.25",
    *("dataset.fraction=0.5", "training.micro_batch=2", "training.epochs=1"),
    *("charts.steps=[1,2,3,4]", "charts.images=4", "charts.rows=2"),
]
SETTINGS: dict[str, tuple[Callable[[Path], Path], list[str]]] = {
    "coco_animals": (
        formats.coco,
        [
            *(*TRAIN, "training.images=8", "dataset.quarantine=0.1", "sweeps.metric='clip_score[tiny_clip]'"),
            "sweeps.fixed={scheduler.steps:1,eval.images:3}",
        ],
    ),
    "flickr30k_unet": (formats.flickr30k, [*TRAIN, *FLICKR30K]),
    "text_encoder_flickr8k": (formats.flickr8k, [*TRAIN, "training.micro_batch=2", "training.epochs=1"]),
    "clip_cifar10": (formats.cifar10, TOWER),
    "clip_flickr8k": (formats.flickr8k, [*PAIRS, "clip.text_from_model=true"]),
    "clip_flickr30k": (formats.flickr30k_hub, PAIRS),
}


@pytest.fixture(scope="module")
def own_lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("experiments"))


@pytest.fixture(scope="module")
def experiment(own_lab: Lab) -> Callable[[str], Ended]:
    """Runs a named experiment once, from its preset."""
    made: dict[str, Ended] = {}

    def run(name: str) -> Ended:
        if name not in made:
            made[name] = own_lab.here(*command(name, own_lab))
            assert made[name].status == 0, made[name].err
        return made[name]

    return run


def command(name: str, lab: Lab) -> list[str]:
    """The overrides of an experiment, its data written first."""
    make, settings = SETTINGS[name]
    root = lab.root / "data" / make.__name__
    if not root.exists():
        place = make(root)
        (root / "place.txt").write_text(str(place))
    return [f"experiment={name}", f"dataset.root={(root / 'place.txt').read_text()}", *CPU, *settings]


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def check_log(path: Path, steps: list[int]) -> None:
    """These steps in this order, each with a loss that is a number."""
    found = rows(path)
    assert [int(row["step"]) for row in found] == steps
    assert all(0 < float(row["loss"]) < 20 for row in found)


def check_summary(ended: Ended, name: str, words: tuple[str, ...]) -> None:
    """Both pages say the verdict, the data and every word; the HTML one loads nothing, the other links what is there."""
    html = (ended.folder / "summary.html").read_text(encoding="utf-8")
    text = (ended.folder / "summary.md").read_text(encoding="utf-8")
    verdicts = ("**Cannot tell", "**Better", "**Worse", "**Mixed")
    assert text.startswith(f"# {name}: ") and text.splitlines()[2].startswith(verdicts)
    assert not re.search(r'(?:src|href)="(?!data:|#)', html)
    for word in words:
        assert word in text and word in html, word
    links = re.findall(r"^!\[.+\]\(([^)]+)\)$", text, re.MULTILINE)
    assert len(links) == html.count("data:image/png") > 1
    for link in links:
        with Image.open(ended.folder / link) as image:
            assert min(image.size) > 300, link
    assert f"experiment={name}" in text.rpartition("## Again")[2]


def check_metrics(ended: Ended) -> None:
    """metrics.csv has every number of metrics.json once, with its interval."""
    numbers = ended.metrics
    found = {f"{row['part']}/{row['metric']}": row for row in rows(ended.folder / "metrics.csv")}
    assert found.keys() == {name for name in numbers if not name.endswith((".low", ".high"))}
    for name, row in found.items():
        assert float(row["value"]) == pytest.approx(numbers[name], nan_ok=True)
        assert (row["low"] != "") == (f"{name}.low" in numbers)


def check_embeddings(ended: Ended, captions: int) -> None:
    """One projected and one pooled vector for each caption of the index; equal captions have equal vectors."""
    vectors = np.load(ended.folder / "text_embeddings.npy")
    assert vectors.shape == (captions, 128)  # the bundled CLIP's width; that of ViT-B/32 is 512
    assert np.load(ended.folder / "text_embeddings_pooled.npy").shape == (captions, 128)
    index = json.loads((ended.folder / "text_index.json").read_text(encoding="utf-8"))
    assert len(index) == captions
    place = {entry["caption"]: row for row, entry in enumerate(index)}
    assert np.array_equal(vectors, vectors[[place[entry["caption"]] for entry in index]])
    assert len(np.unique(vectors, axis=0)) == len(place)


def subset(ended: Ended) -> dict[str, dict[str, list[str]]]:
    """captions_subset.json: split, picture, its captions."""
    found = json.loads((ended.folder / "captions_subset.json").read_text())
    return {split: {key: said["captions"] for key, said in found[split].items()} for split in ("train", "held_out")}


def figure(ended: Ended, name: str) -> tuple[int, int]:
    with Image.open(ended.folder / "figures" / f"{name}.png") as image:
        return image.size


def table(ended: Ended, title: str) -> list[list[Any]]:
    """The first table of a section."""
    part = next(part for part in ended.json("sections.json") if part["title"] == title)
    found: list[list[Any]] = part["tables"][0]["rows"]
    return found


def test_coco_animals(experiment: Callable[[str], Ended], own_lab: Lab) -> None:
    ended = experiment("coco_animals")
    numbers = ended.metrics
    # 14 training pictures: 3 with a bus and no animal are left out, one of the 11 others is cut short
    assert (numbers["data/train_images"], numbers["data/quarantined"], numbers["data/held_out_images"]) == (10, 1, 6)
    captions = subset(ended)
    assert {split: len(pictures) for split, pictures in captions.items()} == {"train": 10, "held_out": 6}
    assert all("lion" in text for pictures in captions.values() for own in pictures.values() for text in own)
    check_embeddings(ended, captions=5 * 16)
    assert 0 <= numbers["embed/separation"] <= 1
    # 8 of the 10 are trained on, twice, 4 a step
    check_log(ended.folder / "train_log.csv", steps=[1, 2, 3, 4])
    assert numbers["train/reload_max_difference"] <= 1
    assert "8 training pictures" in (ended.folder / "weights" / "README.md").read_text()
    assert (ended.folder / "pipeline" / "unet" / "diffusion_pytorch_model.safetensors").exists()
    checks = {row[0]: row for row in table(ended, "Wiring")}
    assert any("cross-attention" in name for name in checks)
    cells = table(ended, "Sweep")
    assert {(row[0], row[1]) for row in cells} == {
        (name, scale) for name in ("ddim", "pndm", "euler") for scale in ("5.0", "7.5", "10.0")
    }
    # one set of DPM-Solver++ is what all nine cells are held against, and none is held against real pictures
    (reference,) = (own_lab.root / "store" / "sweep_reference").glob("[!.]*/stages.json")
    (drawn,) = json.loads(reference.read_text()).values()
    recipe = json.loads((own_lab.root / "store" / "generated" / drawn["digest"] / "000000.json").read_text())
    assert (recipe["scheduler"]["name"], recipe["scheduler"]["steps"]) == ("dpmpp_2m", 1)
    for name in ("training_loss", "loss_and_samples", "generated_samples_grid", "base_versus_tuned", "cell_grid"):
        assert min(figure(ended, name)) > 300, name
    check_metrics(ended)
    check_summary(
        ended, "coco_animals", ("attn2_to_v", "10 training and 6 held-out", "CLIP score (tiny_clip)", "9 cells")
    )


def test_flickr30k_unet(experiment: Callable[[str], Ended], own_lab: Lab) -> None:
    ended = experiment("flickr30k_unet")
    numbers = ended.metrics
    pictures = int(numbers["data/train_images"])
    assert {split: len(own) for split, own in subset(ended).items()}["train"] == pictures
    check_log(ended.folder / "train_log.csv", steps=list(range(1, 1 + round(pictures / 4))))
    assert numbers["train/trainable_parameters"] == numbers["verify/trainable_parameters"]
    for name in ("fid", "inception_score", "clip_score"):
        key = f"tuned/{name}[tiny_clip]"
        assert numbers[f"{key}.low"] <= numbers[key] <= numbers[f"{key}.high"]
    for chart, labels in (("guidance", "1 3 5 7.5 10"), ("steps", "1 2 3 4")):
        scored = {
            name.split("/")[2] for name in numbers if name.startswith(f"charts/{chart}/") and name.count("/") == 3
        }
        assert scored == set(labels.split())
    # the run's own setting is 7.5 and 2 steps: one set of pictures stands in both charts, and is no change
    assert numbers["charts/guidance/7.5/clip_score"] == numbers["charts/steps/2/clip_score"]
    assert "charts/guidance/7.5/change" not in numbers
    change = numbers["charts/guidance/3/clip_score"] - numbers["charts/guidance/7.5/clip_score"]
    assert numbers["charts/guidance/3/change"] == pytest.approx(change)
    assert numbers["charts/guidance/3/change.low"] <= change <= numbers["charts/guidance/3/change.high"]
    # columns of 192 pixels with gaps of 14, and margins: five columns are one wider than four
    wide, narrow = figure(ended, "guidance_comparison"), figure(ended, "inference_steps_comparison")
    assert wide[0] - narrow[0] == 192 + 14
    for name in ("real_versus_generated", "base_versus_tuned", "generated_samples_grid", "training_loss"):
        assert min(figure(ended, name)) > 300, name
    check_metrics(ended)
    check_summary(ended, "flickr30k_unet", ("unet", "guidance 3", "4 steps", "trainable parameters"))


def test_the_same_command_draws_nothing_again(experiment: Callable[[str], Ended], own_lab: Lab) -> None:
    first = experiment("flickr30k_unet")
    again = own_lab.here(*command("flickr30k_unet", own_lab))
    assert "built " not in again.out
    assert again.metrics == first.metrics


@pytest.mark.parametrize("name", ["coco_animals", "clip_flickr8k"])
def test_a_plan_afterwards_finds_every_stage(experiment: Callable[[str], Ended], own_lab: Lab, name: str) -> None:
    used = {key.partition("/")[0] for key in experiment(name).json("stages.json")}
    plan = own_lab.here(*command(name, own_lab), "plan=true")
    assert plan.status == 0, plan.err
    assert "to be made" not in plan.out.partition("\n")[2]
    assert "time: everything is in the store" in plan.out
    assert all(f" {stage} " in plan.out for stage in used)


def test_a_plan_names_each_state_of_a_clip_that_is_still_to_be_tuned(own_lab: Lab) -> None:
    plan = own_lab.here(*command("clip_cifar10", own_lab), "clip.seed=5", "plan=true")
    for state in ("as it came", "before", "after"):
        assert re.search(rf"CLIP {state} +clip_features ", plan.out)


def test_text_encoder_flickr8k(experiment: Callable[[str], Ended], own_lab: Lab) -> None:
    ended = experiment("text_encoder_flickr8k")
    numbers = ended.metrics
    assert {split: len(own) for split, own in subset(ended).items()} == {"train": 12, "held_out": 6}
    check_log(ended.folder / "train_log.csv", steps=[1, 2, 3])
    assert numbers["train/trainable_parameters"] == 1_181_056  # the tiny text encoder, whole
    check_metrics(ended)
    check_summary(ended, "text_encoder_flickr8k", ("text_encoder", "12 training and 6 held-out"))
    # what the last lines say to type works as it stands
    line = next(line for line in ended.out.splitlines() if line.startswith("pictures of a prompt: "))
    words = [word for word in shlex.split(line.partition("run.py")[2]) if not word.startswith(("outputs=", "track."))]
    drawn = own_lab.here(*words)
    assert drawn.metrics["images"] == 1
    recipe = json.loads((drawn.folder / "images" / "000000.json").read_text())
    assert Path(recipe["weights"]["path"]).parent == ended.folder


def test_clip_cifar10(experiment: Callable[[str], Ended], own_lab: Lab) -> None:
    ended = experiment("clip_cifar10")
    numbers = ended.metrics
    pictures = int(numbers["data/train_images"])
    assert (pictures, numbers["data/held_out_images"]) == (100, 20)
    check_log(ended.folder / "clip_log.csv", steps=[6, 10, 12])  # 6 batches of 16 an epoch, twice
    assert all(re.match(r"an? \w+ ", own[0]) for own in subset(ended)["train"].values())
    for state in ("as_it_came", "before", "after"):
        key = f"clip/{state}/zero_shot_accuracy"
        assert 0 <= numbers[f"{key}.low"] <= numbers[key] <= numbers[f"{key}.high"] <= 1
    epochs = sorted(path.name for path in (ended.folder / "epochs").iterdir())
    assert epochs == ["epoch_01", "epoch_02"]
    first, second, last = (
        (ended.folder / name / "model.safetensors").read_bytes()
        for name in ("epochs/epoch_01", "epochs/epoch_02", "clip")
    )
    assert first != second == last
    assert min(figure(ended, "clip_before_after")) > 300
    check_metrics(ended)
    check_summary(ended, "clip_cifar10", ("Zero-shot accuracy", "projection", "100 training and 20 held-out"))
    assert "prompt: " not in ended.out  # a tower of its own fits no pipeline


def test_clip_flickr8k(experiment: Callable[[str], Ended]) -> None:
    ended = experiment("clip_flickr8k")
    numbers = ended.metrics
    check_log(ended.folder / "clip_log.csv", steps=[3, 6])  # 3 batches of 4 an epoch, twice
    for state in ("before", "after"):
        recalls = [numbers[f"clip/{state}/image_to_text_recall_{k}"] for k in (1, 5, 10)]
        assert recalls == sorted(recalls) and 0 <= recalls[0] and recalls[-1] <= 1
    base, tuned, change = (
        numbers[f"clip/generation/{name}/clip_score[tiny_clip]"] for name in ("base", "tuned", "difference")
    )
    assert change == pytest.approx(tuned - base)
    assert min(figure(ended, "clip_generation")) > 300
    check_metrics(ended)
    check_summary(ended, "clip_flickr8k", ("recall@1", "CLIP score [tiny_clip]"))


def test_clip_flickr30k(experiment: Callable[[str], Ended], own_lab: Lab) -> None:
    ended = experiment("clip_flickr30k")
    numbers = ended.metrics
    held_out = sum(map(len, subset(ended)["held_out"].values()))
    check_embeddings(ended, captions=int(numbers["data/captions"]))
    for name in ("caption_lengths", "word_frequencies", "training_pictures"):  # exploration; all sources have one size
        assert min(figure(ended, name)) > 200, name
    assert held_out == 5 * 8 and "embed/image_to_text_recall_1" in numbers  # pairing by cosine
    gain = numbers["clip/difference/alignment_gain"]
    assert numbers["clip/difference/alignment_gain.low"] <= gain <= numbers["clip/difference/alignment_gain.high"]
    matched = [numbers[f"clip/{state}/cosine_matched"] for state in ("before", "after")]
    assert gain == pytest.approx(100 * (matched[1] - matched[0]) / matched[0])
    drawn = [name.partition("/")[2] for name in ended.json("stages.json") if name.startswith("generated/")]
    recipes = [next((own_lab.root / "store" / "generated").glob(f"{digest}*/000000.json")) for digest in drawn]
    assert {json.loads(path.read_text())["scheduler"]["name"] for path in recipes} == {"pndm"}
    check_metrics(ended)
    check_summary(ended, "clip_flickr30k", ("alignment gain", "12 training and 8 held-out"))
