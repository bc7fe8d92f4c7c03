"""Limits and defaults of what can be asked."""

import dataclasses
from typing import Any

import pytest

from t2i.web.order import Offer, Order, Refused

DEFAULTS = Order("", "", "ddim", 50, 7.5, 64, 64, 0, 1, "tuned")
OFFER = Offer({"ddim": 50, "ddpm": 100, "unipc": 25}, ("base", "tuned"), DEFAULTS)


def test_what_is_left_out_has_its_default() -> None:
    assert OFFER.read({"prompt": "a cat"}) == dataclasses.replace(DEFAULTS, prompt="a cat")


def test_size_is_width_and_height_at_once() -> None:
    assert (OFFER.read({"prompt": "a", "size": 96}).width, OFFER.read({"prompt": "a", "size": 96}).height) == (96, 96)
    both = OFFER.read({"prompt": "a", "size": 96, "height": 72})
    assert (both.width, both.height) == (96, 72)
    with pytest.raises(Refused, match="height is 70; use 64 to 1024 in steps of 8"):
        OFFER.read({"prompt": "a", "height": 70})


def test_a_scheduler_distilled_for_low_guidance_brings_it() -> None:
    offer = Offer({"ddim": 50, "lcm": 4}, ("base", "tuned"), DEFAULTS)
    assert (offer.read({"prompt": "a", "scheduler": "lcm"}).steps, offer.suits("lcm")) == (4, (4, 1.5))
    assert offer.read({"prompt": "a", "scheduler": "lcm", "guidance": 3}).guidance == 3
    assert offer.suits("ddim") == (50, 7.5)


def test_every_adapter_has_a_share_of_its_own() -> None:
    defaults = dataclasses.replace(DEFAULTS, scales=(1.0, 0.4))
    offer = Offer({"ddim": 50}, ("base", "tuned"), defaults, ("style", "pip"))
    assert offer.read({"prompt": "a"}).scales == (1.0, 0.4)
    assert offer.read({"prompt": "a", "scales": [0, 1.5]}).scales == (0.0, 1.5)
    for wrong in ([1], [1, 2, 3], [1, 1.6], [1, "x"], [1, float("nan")], [-0.1, 1], "1,1", None):
        with pytest.raises(
            Refused, match=r"scales is .*; use (2 numbers \(one for each of style, pip\)|0 to 1\.5)|not a number"
        ):
            offer.read({"prompt": "a", "scales": wrong})


def test_another_scheduler_brings_the_steps_that_suit_it() -> None:
    assert OFFER.read({"prompt": "a cat", "scheduler": "unipc"}).steps == 25
    assert OFFER.read({"prompt": "a cat", "scheduler": "unipc", "steps": 7}).steps == 7


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("steps", [1, 100, 40.0]),
        ("width", [64, 72, 1024]),
        ("height", [64, 72, 1024]),
        ("guidance", [0, 30, 7.25]),
        ("count", [1, 4]),
        ("seed", [0, 2**32 - 1]),
        ("model", ["base", "tuned"]),
        ("prompt", ["x", "x" * 1000, "ein Bär \N{GRINNING FACE}", "man\u200d\N{WHITE HEAVY CHECK MARK}"]),
        ("negative_prompt", ["", "x" * 1000]),
        ("prompt_weights", [True, False]),
        ("strength", [0.01, 1.0]),
        ("image", ["", "a" * 80, "000001_b28ad0a05af9a159.png"]),
    ],
)
def test_the_ends_of_every_range_are_allowed(name: str, values: list[Any]) -> None:
    for value in values:
        assert getattr(OFFER.read({"prompt": "a cat", name: value}), name) == value


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"steps": 0}, "steps is 0; use 1 to 100."),
        ({"guidance": float("nan")}, "guidance is nan; use 0 to 30."),
        ({"size": 68}, "size is 68; use 64 to 1024 in steps of 8."),
        ({"count": 5}, "count is 5; use 1 to 4."),
        ({"scheduler": "dim"}, "scheduler is dim; use ddim, ddpm, unipc."),
        ({"prompt": " \n"}, "prompt is empty; say what the picture should show."),
        ({"sigma": 1}, "sigma is not known here; use prompt, negative_prompt, scheduler, steps, guidance, width, height, seed, "
                       "count, model, prompt_weights, scales, image, mask, strength, size."),
        ({"prompt_weights": 1}, "prompt_weights is 1; use true or false."),
        ({"strength": 0}, "strength is 0; use 0.01 to 1."),
        ({"strength": 1.01}, "strength is 1.01; use 0.01 to 1."),
        ({"image": "../x"}, "image is ../x; use the name of a picture of this server, as /v1/pictures answers it."),
        ({"mask": "a.png"}, "mask says where a picture is drawn anew, and image is missing; name one."),
        ({"scales": [1]}, "scales is [1]; use 0 numbers (no adapter is loaded that is not merged)."),
    ],
)  # fmt: skip
def test_a_refusal_says_what_was_found_and_what_fits(asked: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Refused) as caught:
        OFFER.read({"prompt": "a cat", **asked})
    assert str(caught.value) == sentence
    assert caught.value.code == 400
