"""Pictures for prompts, from the base and the tuned model."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..conftest import TOY, Ended, Lab

PROMPTS = 'prompts=["a red cat, asleep","two buses (blue)"]'


def pictures(ended: Ended) -> np.ndarray:
    paths = sorted((ended.folder / "images").glob("*.png"))
    return np.stack([np.asarray(Image.open(path)) for path in paths])


def test_a_picture_carries_its_recipe(lab: Lab, main_job: Ended) -> None:
    ended = lab.here(*TOY, "task=generate", PROMPTS, "seed=7", f"weights={main_job.folder}")
    assert ended.metrics == {"images": 2.0}
    facts = json.loads(Image.open(ended.folder / "images" / "000001.png").text["t2i"])  # type: ignore[attr-defined]
    assert (facts["prompt"], facts["seed"]) == ("two buses (blue)", 8)
    assert (facts["scheduler"]["name"], facts["scheduler"]["steps"], facts["cfg"]["scale"]) == ("dpmpp_2m", 2, 7.5)
    assert facts["weights"]["path"] == str(main_job.folder / "weights") and facts["model"]["name"] == "tiny"
    beside = json.loads((ended.folder / "images" / "000001.json").read_text())
    assert beside == facts


def test_a_picture_does_not_depend_on_the_batch_or_its_place(empty_lab: Lab, lab: Lab, main_job: Ended) -> None:
    arguments = [*TOY, "task=generate"]
    together = pictures(lab.here(*arguments, PROMPTS))
    alone = pictures(lab.here(*arguments, 'prompts=["two buses (blue)"]', "seed=1"))
    apart = pictures(empty_lab.here(*arguments, PROMPTS, "batch_size=1"))
    # A matrix product of another size sums in another order: at most one grey level.
    assert np.abs(together[1].astype(int) - alone[0]).max() <= 1
    assert np.abs(together.astype(int) - apart).max() <= 1
    assert np.abs(together[0].astype(int) - together[1]).max() > 20


def test_weights_are_found_by_run_folder_weights_folder_or_file(lab: Lab, main_job: Ended) -> None:
    folder = main_job.folder / "weights"
    made = [
        lab.here(*TOY, "task=generate", PROMPTS, f"weights={path}").json("stages.json").keys()
        for path in (main_job.folder, folder, folder / "pytorch_lora_weights.safetensors")
    ]
    assert made[0] == made[1] == made[2]


def test_weights_of_another_model_are_refused(empty_lab: Lab, main_job: Ended, tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    shutil.copytree(main_job.folder / "weights", weights)
    description = json.loads((weights / "strategy.json").read_text())
    (weights / "strategy.json").write_text(json.dumps({**description, "base_digest": "0" * 32}))
    (weights / "manifest.json").unlink()  # changed on purpose
    ended = empty_lab.here(*TOY, "task=generate", PROMPTS, f"weights={weights}")
    assert ended.status == 1
    assert "use the model that it was trained from" in ended.err


def test_a_recipe_makes_the_same_picture_bit_for_bit(lab: Lab, main_job: Ended) -> None:
    together = 'prompts=["a red cat","two buses","a {blue|green} tree"]'
    ended = lab.here(*TOY, "task=generate", together, "seed=5", "cfg.scale=4", f"weights={main_job.folder}")
    for i in (0, 3):
        png = ended.folder / "images" / f"{i:06d}.png"
        again = lab.here("task=generate", f"recipe={png if i else png.with_suffix('.json')}")
        assert again.metrics == {"images": 1.0, "identical": 1.0}, again.out
        assert np.array_equal(pictures(again)[0], pictures(ended)[i])
        assert "made again: the same pixels" in again.out


def test_a_recipe_that_cannot_be_followed_says_why(lab: Lab, main_job: Ended, tmp_path: Path) -> None:
    ended = lab.here(*TOY, "task=generate", PROMPTS, f"weights={main_job.folder}")
    path = ended.folder / "images" / "000000.json"
    recipe = json.loads(path.read_text())
    plain = tmp_path / "plain.png"
    Image.new("RGB", (8, 8)).save(plain)
    (tmp_path / "cut.png").write_bytes(path.with_suffix(".png").read_bytes()[:60])
    other = tmp_path / "other.json"

    def told(changed: dict[str, Any], status: int = 1, *more: str) -> str:
        other.write_text(json.dumps({**recipe, **changed}))
        again = lab.here("task=generate", f"recipe={other}", *more)
        assert again.status == status
        return again.err

    for broken in (plain, tmp_path / "cut.png", tmp_path / "nowhere.png"):
        again = lab.here("task=generate", f"recipe={broken}")
        assert again.status == 1 and "holds no recipe" in again.err
    assert "was made with launch.mixed_precision=bf16" in told({"precision": "bf16"}, 2, "launch.mixed_precision=no")
    assert "the model of today" in told({"model": {**recipe["model"], "digest": "0"}})
    assert "the weights of today" in told({"weights": {**recipe["weights"], "digest": "0"}})
    assert "no longer at /nowhere" in told({"weights": {"path": "/nowhere", "digest": "0"}})
    told({"pixels": "0"}, 0)
    assert lab.here("task=generate", f"recipe={other}").metrics["identical"] == 0


def test_prompts_come_from_a_file_several_pictures_each(lab: Lab, main_job: Ended, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("a __animal__ on grass\n\ntwo buses\n")
    (tmp_path / "animal.txt").write_text("cat\ndog\n")
    files = [f"prompts_file={tmp_path}/p.txt", f"wildcards={tmp_path}", "images_per_prompt=2"]
    ended = lab.here(*TOY, "task=generate", *files)
    captions = json.loads((ended.folder / "images" / "captions.json").read_text())
    assert captions[0] in ("a cat on grass", "a dog on grass") and captions[0] == captions[1]
    assert captions[2:] == ["two buses", "two buses"] and len(pictures(ended)) == 4


def test_words_beyond_the_token_limit_are_told(empty_lab: Lab) -> None:
    long = " ".join(f"red{number}" for number in range(30))
    ended = empty_lab.here("task=generate", f"prompts=[a cat, {long} Zebra]", "scheduler.steps=1")
    assert ended.status == 0, ended.err
    (told,) = [line for line in ended.out.splitlines() if "tokens, and 32 are read" in line]
    assert told.endswith(' Zebra".') and "a cat" not in told


def photo(path: Path, size: tuple[int, int] = (120, 80), **options: Any) -> Path:
    """Red on the left, blue on the right."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[:, : size[0] // 2, 0] = pixels[:, size[0] // 2 :, 2] = 220
    Image.fromarray(pixels).save(path, **options)
    return path


def facts_of(ended: Ended, number: int = 0) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((ended.folder / "images" / f"{number:06d}.json").read_text())
    return facts


def test_weights_of_words_are_in_the_recipe_and_made_again(lab: Lab, main_job: Ended) -> None:
    prompts = 'prompts=["a (red)1.4 cat","a (red) cat"]'
    plain = lab.here(*TOY, "task=generate", prompts)
    weighted = lab.here(*TOY, "task=generate", prompts, "cfg.prompt_weights=true")
    assert "prompt_weights" not in facts_of(plain)["cfg"] and facts_of(weighted)["cfg"]["prompt_weights"] is True
    assert not np.array_equal(pictures(plain)[0], pictures(weighted)[0])
    again = lab.here("task=generate", f"recipe={weighted.folder / 'images' / '000000.png'}")
    assert again.metrics == {"images": 1.0, "identical": 1.0}, again.out
    refused = lab.here(*TOY, "task=generate", 'prompts=["a (red:1.4) cat"]', "cfg.prompt_weights=true")
    assert refused.status == 2 and "write (red)1.4" in refused.err


def test_a_picture_drawn_from_another_is_made_again_bit_for_bit(lab: Lab, main_job: Ended, tmp_path: Path) -> None:
    image, mask = photo(tmp_path / "bäh [1].jpg"), photo(tmp_path / "mask.png")
    Image.new("L", (60, 40), 0).save(mask)
    with Image.open(mask) as black:
        white = black.copy()
    white.paste(255, (0, 0, 30, 40))
    white.save(mask)
    arguments = [*TOY, "task=generate", PROMPTS, "seed=5", f"weights={main_job.folder}", "scheduler=euler_a"]
    plain = lab.here(*arguments, "scheduler.steps=4")
    for more in ([], ["strength=0.5"], [f"mask={mask}"]):
        ended = lab.here(*arguments, "scheduler.steps=4", f"image={image}", *more)
        assert ended.metrics == {"images": 2.0}, ended.err
        facts = facts_of(ended, 1)
        assert facts["image"]["path"] == str(image) and facts["strength"] == (0.5 if "strength=0.5" in more else 0.75)
        assert ("mask" in facts) == (more[:1] == [f"mask={mask}"])
        assert not np.array_equal(pictures(ended), pictures(plain))
        again = lab.here("task=generate", f"recipe={ended.folder / 'images' / '000001.png'}")
        assert again.metrics == {"images": 1.0, "identical": 1.0}, again.out
    image.rename(tmp_path / "moved.jpg")
    gone = lab.here("task=generate", f"recipe={ended.folder / 'images' / '000001.png'}")
    assert gone.status == 1 and "say where it is by image=..." in gone.err
    found = lab.here("task=generate", f"recipe={ended.folder / 'images' / '000001.png'}", f"image={tmp_path}/moved.jpg")
    assert found.metrics["identical"] == 1.0
    photo(tmp_path / "moved.jpg", (80, 120))
    other = lab.here("task=generate", f"recipe={ended.folder / 'images' / '000001.png'}", f"image={tmp_path}/moved.jpg")
    assert other.status == 1 and "the picture of today is not the one" in other.err


def test_the_same_pixels_are_the_same_stage_whatever_file_they_are_in(
    lab: Lab, main_job: Ended, tmp_path: Path
) -> None:
    arguments = [*TOY, "task=generate", PROMPTS, "scheduler.steps=4"]
    first = lab.here(*arguments, f"image={photo(tmp_path / 'one.png', (64, 64))}")
    second = lab.here(*arguments, f"image={photo(tmp_path / 'two.bmp', (64, 64))}")
    third = lab.here(*arguments, f"image={photo(tmp_path / 'three.png', (64, 64))}", "strength=0.5")
    assert first.json("stages.json").keys() == second.json("stages.json").keys() != third.json("stages.json").keys()


def test_a_picture_is_turned_as_it_is_looked_at(lab: Lab, main_job: Ended, tmp_path: Path) -> None:
    """Orientation 6 is turned clockwise: what is stored on the left is looked at on top."""
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = photo(tmp_path / "turned.jpg", (64, 64), exif=exif, quality=100, subsampling=0)
    upright = tmp_path / "upright.png"
    with Image.open(turned) as image:
        image.transpose(Image.Transpose.ROTATE_270).save(upright)
    arguments = [*TOY, "task=generate", PROMPTS, "scheduler.steps=4"]
    stages = [lab.here(*arguments, f"image={path}").json("stages.json").keys() for path in (turned, upright)]
    assert stages[0] == stages[1]


def test_what_cannot_be_drawn_from_is_one_sentence(lab: Lab, main_job: Ended, tmp_path: Path) -> None:
    image = photo(tmp_path / "a.png")
    (tmp_path / "cut.png").write_bytes(image.read_bytes()[:90])
    (tmp_path / "words.png").write_text("no picture")
    Image.new("1", (10_000, 10_000)).save(tmp_path / "bomb.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "small.png")
    Image.new("L", (64, 64)).save(tmp_path / "black.png")
    for arguments, status, sentence in (
        ([f"image={tmp_path}/none.png"], 2, "none.png is no picture: it does not exist"),
        ([f"image={tmp_path}/cut.png"], 1, "cannot be used (truncated"),
        ([f"image={tmp_path}/words.png"], 1, "cannot be used (unreadable"),
        ([f"image={tmp_path}/bomb.png"], 1, "10000 x 10000 is more than 64,000,000 pixels"),
        ([f"image={tmp_path}/small.png"], 1, "the shorter side must have 16 pixels"),
        ([f"image={tmp_path}"], 2, "is a folder; give one picture"),
        ([f"image={image}", f"mask={tmp_path}/black.png"], 1, "white is what is drawn anew"),
        ([f"image={image}", f"mask={tmp_path}/cut.png"], 1, "cannot be used (truncated"),
        ([f"image={image}", "strength=0"], 2, "strength=0.0 is not above 0 and up to 1"),
        ([f"image={image}", "strength=1.5"], 2, "strength=1.5 is not above 0 and up to 1"),
        ([f"image={image}", "strength=nan"], 2, "strength=nan is not above 0 and up to 1"),
        ([f"image={image}", "strength=0.1"], 2, "strength=0.1 of 2 steps leaves none; use 10 steps or more"),
        ([f"mask={image}"], 2, "and none is given; type image=<picture>"),
        (["strength=0.5"], 2, "and none is given; type image=<picture>"),
    ):
        ended = lab.here(*TOY, "task=generate", PROMPTS, *arguments)
        assert (ended.status, ended.err.count("\n")) == (status, 1) and sentence in ended.err, (arguments, ended.err)
    elsewhere = lab.here(*TOY, "task=evaluate", f"image={image}")
    assert elsewhere.status == 2 and "task=evaluate does not read image; type task=generate" in elsewhere.err
