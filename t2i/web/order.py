"""What may be asked of the model: one place reads and limits it for the page, the endpoint and the terminal."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from t2i.errors import UserError
from t2i.sampling.given import STRENGTH

LONGEST_PROMPT = 1_000
MOST_STEPS = 100
SMALLEST, LARGEST, GRAIN = 64, 1_024, 8
MOST_COUNT = 4
HIGHEST_GUIDANCE = 30.0
HIGHEST_SEED = 2**32 - 1
MOST_CELLS = 12
HIGHEST_SCALE = 1.5
LEAST_STRENGTH = 0.01
NAME = re.compile(r"[A-Za-z0-9_.-]{0,80}")
GUIDANCE = {"lcm": 1.5}
"""Scales that schedulers need for themselves: models distilled to LCM hold guidance already (Luo et al. 2023)."""


class Refused(UserError):
    """A request that is not answered: one sentence for who asked, and the HTTP status that says the same."""

    def __init__(self, sentence: str, code: int = 400, wait: int | None = None) -> None:
        """wait: seconds after which asking again may help."""
        super().__init__(sentence)
        self.code = code
        self.wait = wait

    @property
    def headers(self) -> dict[str, str]:
        """Of the answer, besides the sentence."""
        return {} if self.wait is None else {"retry-after": str(self.wait)}


@dataclass(frozen=True)
class Order:
    """Pictures of one prompt with one setting; picture i of `count` has seed + i."""

    prompt: str
    negative_prompt: str
    scheduler: str
    steps: int
    guidance: float
    width: int
    height: int
    """Both in pixels."""
    seed: int
    count: int
    model: str
    """`base` or `tuned`."""
    prompt_weights: bool = False
    """Whether words of the prompts may have weights: `(word)1.3`, `word++`."""
    scales: tuple[float, ...] = ()
    """How much of each adapter the tuned model takes, in the order of `Offer.adapters`."""
    image: str = ""
    """Name of an uploaded or drawn picture that drawing begins from; empty: from noise."""
    mask: str = ""
    """Name of an uploaded picture whose white part says where `image` is drawn anew; empty: everywhere."""
    strength: float = STRENGTH
    """How much of `image` is drawn anew."""


@dataclass(frozen=True)
class Offer:
    """What can be asked of this server: its schedulers, its models, and what is taken where nothing is said.

    `size` in an order is width and height at once.
    """

    schedulers: Mapping[str, int]
    """Names, with the number of steps that suits each."""
    models: tuple[str, ...]
    defaults: Order
    adapters: tuple[str, ...] = ()
    """Names of the adapters of which a share can be taken."""
    fields: tuple[str, ...] = field(default=(*Order.__dataclass_fields__, "size"))

    def suits(self, scheduler: str) -> tuple[int, float]:
        """Steps and guidance scale that go with a scheduler: the command line's with its own."""
        if scheduler == self.defaults.scheduler:
            return self.defaults.steps, self.defaults.guidance
        return self.schedulers[scheduler], GUIDANCE.get(scheduler, self.defaults.guidance)

    def read(self, asked: Mapping[str, Any]) -> Order:
        """The order that `asked` describes; what it leaves out has its default. Raises Refused (400)."""
        for name in asked:
            if name not in self.fields:
                raise Refused(f"{_shown(name)} is not known here; use {', '.join(self.fields)}.")
        default = self.defaults
        scheduler = _choice(asked, "scheduler", default.scheduler, tuple(self.schedulers))
        steps, guidance = self.suits(scheduler)
        width, height = default.width, default.height
        if "size" in asked:
            width = height = _whole(asked, "size", 0, SMALLEST, LARGEST, GRAIN)
        return Order(
            prompt=_text(asked, "prompt", default.prompt),
            negative_prompt=_text(asked, "negative_prompt", default.negative_prompt, empty=True),
            scheduler=scheduler,
            steps=_whole(asked, "steps", steps, 1, MOST_STEPS),
            guidance=_number(asked, "guidance", guidance, 0.0, HIGHEST_GUIDANCE),
            width=_whole(asked, "width", width, SMALLEST, LARGEST, GRAIN),
            height=_whole(asked, "height", height, SMALLEST, LARGEST, GRAIN),
            seed=_whole(asked, "seed", default.seed, 0, HIGHEST_SEED),
            count=_whole(asked, "count", default.count, 1, MOST_COUNT),
            model=_choice(asked, "model", default.model, self.models),
            prompt_weights=_flag(asked, "prompt_weights", default.prompt_weights),
            scales=self._scales(asked.get("scales", default.scales)),
            **_beginning(asked, default),
        )

    def _scales(self, value: Any) -> tuple[float, ...]:
        if not isinstance(value, list | tuple) or len(value) != len(self.adapters):
            loaded = (
                f"one for each of {', '.join(self.adapters)}"
                if self.adapters
                else "no adapter is loaded that is not merged"
            )
            raise Refused(f"scales is {_shown(value)}; use {len(self.adapters)} numbers ({loaded}).")
        high = max([HIGHEST_SCALE, *self.defaults.scales])
        low = min([0.0, *self.defaults.scales])
        return tuple(_number({"scales": each}, "scales", 1.0, low, high) for each in value)


def _beginning(asked: Mapping[str, Any], default: Order) -> dict[str, Any]:
    """image, mask and strength."""
    names = {key: asked.get(key, getattr(default, key)) for key in ("image", "mask")}
    for key, value in names.items():
        if not isinstance(value, str) or not NAME.fullmatch(value):
            raise Refused(
                f"{key} is {_shown(value)}; use the name of a picture of this server, as /v1/pictures answers it."
            )
    if names["mask"] and not names["image"]:
        raise Refused("mask says where a picture is drawn anew, and image is missing; name one.")
    return {**names, "strength": _number(asked, "strength", default.strength, LEAST_STRENGTH, 1.0)}


def _text(asked: Mapping[str, Any], name: str, default: str, empty: bool = False) -> str:
    value = asked.get(name, default)
    if not isinstance(value, str):
        raise Refused(f"{name} is not a text; write it in quotes.")
    value = " ".join(value.split())  # line ends and tabs are no words
    if len(value) > LONGEST_PROMPT:
        raise Refused(f"{name} has {len(value):,} characters; {LONGEST_PROMPT:,} are the most.")
    if not value and not empty:
        raise Refused(f"{name} is empty; say what the picture should show.")
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in value):
        raise Refused(f"{name} holds characters that cannot be shown; use plain text.")
    return value


def _number(asked: Mapping[str, Any], name: str, default: float, low: float, high: float) -> float:
    value = asked.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused(f"{name} is not a number; use {low:g} to {high:g}.")
    if not low <= value <= high:  # NaN too
        raise Refused(f"{name} is {_shown(value)}; use {low:g} to {high:g}.")
    return float(value)


def _whole(asked: Mapping[str, Any], name: str, default: int, low: int, high: int, grain: int = 1) -> int:
    value = asked.get(name, default)
    span = f"{low} to {high}" + (f" in steps of {grain}" if grain > 1 else "")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused(f"{name} is not a whole number; use {span}.")
    if not low <= value <= high or value != int(value) or int(value) % grain:  # NaN fails the first comparison
        raise Refused(f"{name} is {_shown(value)}; use {span}.")
    return int(value)


def _flag(asked: Mapping[str, Any], name: str, default: bool) -> bool:
    value = asked.get(name, default)
    if not isinstance(value, bool):
        raise Refused(f"{name} is {_shown(value)}; use true or false.")
    return value


def _choice(asked: Mapping[str, Any], name: str, default: str, valid: tuple[str, ...]) -> str:
    value = asked.get(name, default)
    if value not in valid:
        raise Refused(f"{name} is {_shown(value)}; use {', '.join(valid)}.")
    return str(value)


def _shown(value: object) -> str:
    """A value as it came, short enough for a sentence."""
    text = "".join(letter if letter.isprintable() else "?" for letter in str(value))
    return text if len(text) <= 40 else f"{text[:40]}..."
