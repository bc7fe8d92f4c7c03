"""What can be seen in a scene, which scene belongs to a number, and how it is drawn.

`describe(seed, index)` is a pure function of its two numbers, so a dataset of any length needs no state;
`render` draws the description at any size between 64 and 512 pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from PIL import Image

from t2i.data.sources.scenes import animal, character, food, indoor, mascots, sports, vehicle
from t2i.data.sources.scenes.backgrounds import BACKGROUNDS
from t2i.data.sources.scenes.canvas import Canvas, Colour
from t2i.errors import UserError
from t2i.randomness import generator

Drawing: TypeAlias = Callable[[Canvas, Colour, np.random.Generator], None]

# Names, grouping and order are those of COCO's 2017 annotations.
SUPERCATEGORIES: dict[str, tuple[str, ...]] = {
    "vehicle": ("bicycle", "car", "airplane", "bus", "train", "boat"),
    "animal": ("bird", "cat", "dog", "sheep", "elephant", "giraffe"),
    "sports": ("sports ball", "kite", "baseball bat", "skateboard", "surfboard", "tennis racket"),
    "food": ("banana", "apple", "carrot", "pizza", "donut", "cake"),
    "indoor": ("book", "clock", "vase", "scissors", "teddy bear", "hair drier"),
}
CHARACTER = "character"
"""The supercategory of what has a name of its own; no scene of `describe` shows one."""
CATEGORIES: tuple[str, ...] = tuple(name for names in SUPERCATEGORIES.values() for name in names)
_SUPERCATEGORY_OF = {name: group for group, names in SUPERCATEGORIES.items() for name in names}
_MODULES = {"vehicle": vehicle, "animal": animal, "sports": sports, "food": food, "indoor": indoor}
_DRAWINGS: dict[str, Drawing] = {
    name: getattr(_MODULES[group], f"draw_{name.replace(' ', '_')}") for name, group in _SUPERCATEGORY_OF.items()
}

COLOURS: dict[str, Colour] = {
    "red": (222, 44, 48),
    "orange": (246, 138, 30),
    "yellow": (250, 212, 48),
    "green": (62, 168, 72),
    "blue": (46, 104, 220),
    "purple": (142, 68, 190),
    "brown": (136, 84, 48),
    "gray": (146, 150, 160),
    "white": (246, 246, 248),
}
CHARACTERS: dict[str, tuple[str, Drawing, Colour]] = {
    "pip": ("robot", character.draw_pip, COLOURS["purple"]),
    **{name: (kind, drawing, COLOURS[colour]) for name, (kind, drawing, colour) in mascots.MASCOTS.items()},
}
"""By name: what each is, how it is drawn, and in which colour."""

NATURAL: dict[str, tuple[str, ...]] = {
    "cat": ("orange", "gray", "white"),
    "dog": ("brown", "orange", "white"),
    "bird": ("red", "blue", "yellow"),
    "sheep": ("white", "gray"),
    "elephant": ("gray",),
    "giraffe": ("yellow", "orange"),
    "car": ("red", "blue", "white"),
    "bus": ("red", "yellow"),
    "banana": ("yellow", "green"),
    "apple": ("red", "green", "yellow"),
    "carrot": ("orange",),
    "pizza": ("yellow", "orange"),
    "donut": ("brown", "white"),
    "cake": ("brown", "white"),
    "baseball bat": ("brown",),
    "sports ball": ("white", "orange"),
    "teddy bear": ("brown",),
}
RELATIONS: tuple[str, ...] = ("left of", "right of", "above", "below")
LARGE_FROM = 0.6
PLACES = {
    1: ((0.5, 0.53),),
    2: ((0.265, 0.54), (0.735, 0.54)),
    3: ((0.25, 0.32), (0.75, 0.32), (0.5, 0.72)),
}
"""Where the centres of so many things of a kind are, before each is moved a little."""
_SIZES = {1: 0.76, 2: 0.43, 3: 0.4}
_BESIDE = ((0.265, 0.53), (0.735, 0.53)), ((0.5, 0.265), (0.5, 0.735))


@dataclass(frozen=True)
class Thing:
    """One object: its centre (x, y) and the side of its square, as fractions of the picture's width."""

    category: str
    supercategory: str
    colour: str
    x: float
    y: float
    size: float
    flip: bool

    @property
    def size_name(self) -> str:
        """`large` from 0.6 of the picture's width on, else `small`."""
        return "large" if self.size >= LARGE_FROM else "small"


@dataclass(frozen=True)
class Scene:
    """A picture in words: `relation` says where the first of two different things is, seen from the second."""

    seed: int
    index: int
    background: str
    things: tuple[Thing, ...]
    relation: str | None


def _colour(category: str, rng: np.random.Generator) -> str:
    weights = np.array([2.0 if name in NATURAL.get(category, ()) else 1.0 for name in COLOURS])
    return list(COLOURS)[int(rng.choice(len(weights), p=weights / weights.sum()))]


def places_of(relation: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where the first and the second thing of a relation are: their centres, before each is moved a little."""
    first, second = _BESIDE[relation in ("above", "below")]
    return (first, second) if relation in ("left of", "above") else (second, first)


def _thing(category: str, colour: str, place: tuple[float, float], size: float, rng: np.random.Generator) -> Thing:
    x, y = (round(float(value + rng.uniform(-0.03, 0.03)), 4) for value in place)
    size = round(size * float(rng.uniform(0.94, 1.06)), 4)
    return Thing(category, _SUPERCATEGORY_OF[category], colour, x, y, size, bool(rng.random() < 0.5))


def describe(seed: int, index: int) -> Scene:
    """The scene of this number: 70 % one object, 12 % two or three of a kind, 18 % two in a spatial relation."""
    rng = generator(seed, "scenes", index)
    background = list(BACKGROUNDS)[int(rng.integers(len(BACKGROUNDS)))]
    kind = rng.random()
    first, second = (CATEGORIES[int(number)] for number in rng.choice(len(CATEGORIES), size=2, replace=False))
    colour = _colour(first, rng)
    if kind < 0.70:
        size = 0.44 if rng.random() < 0.2 else 0.76
        return Scene(seed, index, background, (_thing(first, colour, (0.5, 0.53), size, rng),), None)
    if kind < 0.82:
        count = 2 if rng.random() < 0.6 else 3
        size = _SIZES[count]
        return Scene(
            seed, index, background, tuple(_thing(first, colour, place, size, rng) for place in PLACES[count]), None
        )
    relation = RELATIONS[int(rng.integers(len(RELATIONS)))]
    here, there = places_of(relation)
    one, other = _thing(first, colour, here, 0.43, rng), _thing(second, _colour(second, rng), there, 0.43, rng)
    return Scene(seed, index, background, (one, other), relation)


def arrange(
    seed: int, index: int, background: str, things: Sequence[tuple[str, str]], relation: str | None = None
) -> Scene:
    """The scene of this number with these things, category and colour of each, where `describe` would put so many: one, two or
    three of a kind, or two in a relation.
    """
    rng = generator(seed, "scenes", "arranged", index)
    places = PLACES[len(things)] if relation is None else places_of(relation)
    size = _SIZES[len(things)]
    shown = [_thing(*thing, place, size, rng) for thing, place in zip(things, places, strict=True)]
    return Scene(seed, index, background, tuple(shown), relation)


def portray(seed: int, index: int, name: str) -> Scene:
    """The scene of this number with the character `name` alone, somewhere."""
    rng = generator(seed, "scenes", "character", name, index)
    background = list(BACKGROUNDS)[int(rng.integers(len(BACKGROUNDS)))]
    if name in mascots.MASCOTS:  # pictures that follow each other are in different places: of a few every one counts
        background = list(BACKGROUNDS)[
            int(generator(seed, "scenes", "places", name).permutation(len(BACKGROUNDS))[index % len(BACKGROUNDS)])
        ]
    x, y = (round(float(value + rng.uniform(-0.05, 0.05)), 4) for value in (0.5, 0.54))
    size = round(float(rng.uniform(0.66, 0.82)), 4)
    return Scene(
        seed, index, background, (Thing(name, CHARACTER, "purple", x, y, size, bool(rng.random() < 0.5)),), None
    )


def draw(scene: Scene, size: int) -> tuple[Image.Image, tuple[tuple[float, float, float, float], ...]]:
    """The picture (RGB, `size` x `size`) and of each thing left, top, right, bottom as fractions of the width.

    Raises `UserError` when `size` is outside 64..512.
    """
    if not 64 <= size <= 512:
        raise UserError(f"Scenes were asked for at {size} pixels, they are drawn at 64 to 512; set dataset.size=64.")
    rng = generator(scene.seed, "scenes", "drawing", scene.index)
    canvas = Canvas(size)
    BACKGROUNDS[scene.background](canvas, rng)
    extents = []
    for thing in scene.things:
        canvas.frame(thing.x, thing.y, thing.size, thing.flip)
        if thing.supercategory == CHARACTER:
            _, drawing, colour = CHARACTERS[thing.category]
        else:
            drawing, colour = _DRAWINGS[thing.category], COLOURS[thing.colour]
        drawing(canvas, colour, rng)
        extents.append(canvas.extent())
    return canvas.finish(), tuple(extents)


def render(scene: Scene, size: int) -> Image.Image:
    """The picture of the scene: RGB, `size` x `size` pixels, 64 <= size <= 512; raises `UserError` otherwise."""
    return draw(scene, size)[0]
