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

    def told(changed: dict[str, Any], status: int = 1) -> str:
        other.write_text(json.dumps({**recipe, **changed}))
        again = lab.here("task=generate", f"recipe={other}")
        assert again.status == status
        return again.err

    for broken in (plain, tmp_path / "cut.png", tmp_path / "nowhere.png"):
        again = lab.here("task=generate", f"recipe={broken}")
        assert again.status == 1 and "holds no recipe" in again.err
    assert "launch.mixed_precision=bf16" in told({"precision": "bf16"}, 2)
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
