"""Pictures for prompts, from the base and the tuned model."""

import json
import shutil
from pathlib import Path

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
    assert facts["weights"] != ""


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
    ended = empty_lab.here(*TOY, "task=generate", PROMPTS, f"weights={weights}")
    assert ended.status == 1
    assert "use the model that it was trained from" in ended.err
