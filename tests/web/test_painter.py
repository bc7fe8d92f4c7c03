"""Orders become files; a picture can be given up in its steps and between the tiles of its decoding."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from t2i.config import as_dict, compose
from t2i.models.load import load
from t2i.store import Store
from t2i.web.order import Order
from t2i.web.painter import Painter

ORDER = Order("a cat", "blurry", "ddim", 2, 3.0, 128, 128, 5, 1, "base")


class GivenUp(Exception):
    pass


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> Painter:
    config = compose(["scheduler=ddim"])
    models = load(config.model, Store(tmp_path_factory.mktemp("store")))
    models.vae.enable_tiling()

    def describe(*facts: Any) -> dict[str, Any]:
        order, scheduler, guidance = facts
        return {"cfg": as_dict(guidance), "steps": scheduler.steps, "model": order.model}

    return Painter(
        {"base": models}, {"ddim": config.scheduler}, config.cfg, describe, tmp_path_factory.mktemp("made"), 1
    )


def test_an_order_becomes_files_with_its_recipe(painter: Painter) -> None:
    (picture,) = painter.draw(ORDER)
    with Image.open(picture.path) as image:
        recipe = json.loads(image.text["t2i"])  # type: ignore[attr-defined]
        assert image.size == (128, 128)
    assert (recipe["prompt"], recipe["seed"], recipe["steps"]) == ("a cat", 5, 2)
    assert (recipe["cfg"]["scale"], recipe["cfg"]["negative_prompt"]) == (3.0, "blurry")
    assert painter.models["base"].resolution == 64  # the order's size is the order's alone


def test_a_picture_that_is_not_square_is_the_one_of_diffusers(painter: Painter) -> None:
    """The seed's noise in the asked shape, as diffusers' own pipeline draws it; for a scheduler with noise in its steps too."""
    from diffusers import EulerAncestralDiscreteScheduler, StableDiffusionPipeline

    models = painter.models["base"]
    painter.schedulers["euler_a"] = compose(["scheduler=euler_a"]).scheduler  # type: ignore[index]
    order = dataclasses.replace(ORDER, width=96, height=64, scheduler="euler_a", negative_prompt="")
    (picture,) = painter.draw(order)
    pipeline = StableDiffusionPipeline(
        vae=models.vae, text_encoder=models.text_encoder, tokenizer=models.tokenizer, unet=models.unet,
        scheduler=EulerAncestralDiscreteScheduler.from_config(models.scheduler_config), safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        "a cat", num_inference_steps=2, guidance_scale=3.0, height=64, width=96,
        generator=torch.Generator("cpu").manual_seed(5), output_type="np",
    ).images[0]  # fmt: skip
    with Image.open(picture.path) as image:
        assert image.size == (96, 64) and json.loads(image.text["t2i"])["height"] == 64  # type: ignore[attr-defined]
        assert np.abs(np.asarray(image).astype(int) - (theirs * 255).round()).max() <= 1


def test_a_picture_is_given_up_between_the_tiles_of_its_decoding(painter: Painter) -> None:
    steps, tiles = [], []

    def on_tile() -> None:
        tiles.append(len(steps))
        if len(tiles) == 2:
            raise GivenUp

    with pytest.raises(GivenUp):
        painter.draw(ORDER, lambda step, total, latents: steps.append(step), on_tile)
    assert steps == [1, 2] and tiles == [2, 2]
    painter.draw(ORDER)  # nothing of it is left in the network
    assert len(tiles) == 2


def test_only_the_newest_pictures_are_kept(painter: Painter) -> None:
    names = [painter.draw(ORDER)[0].path.name for _ in range(3)]
    painter.forget(2)
    assert sorted(path.name for path in painter.folder.glob("*.png")) == names[1:]
    assert len(list(painter.folder.glob("*.json"))) == 2


def test_no_name_is_that_of_another_picture_or_can_be_guessed(painter: Painter) -> None:
    paths: list[Path] = [painter.draw(ORDER)[0].path for _ in range(2)]
    first, second = (path.stem.split("_") for path in paths)
    assert int(second[0]) == int(first[0]) + 1
    assert first[1] != second[1] and len(first[1]) == 16
