"""The prompt suite of the drawn world: six skills, each prompt with its scene, questions, and what it could be mistaken for.

The skills are those of GenEval (Ghosh et al. 2023, arXiv:2310.11513). A prompt names nothing but its skill: colours stand in
those of colour and of attribute binding only, where binding is of colours to things. So a model that is blind to colours fails by
these two.

A candidate is a way in which the picture could be read: what the prompt says, or something that differs in the skill alone. It is
read in regions, as GenEval reads the boxes of a detector: the bundled evaluator, which knows any thing and colour of the world,
cannot read a caption's grammar (of real pictures it tells "left of" from "right of" no better than chance). Where things stand is
known: two beside or above each other, three in a triangle. A candidate that allows several layouts counts by the best.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from t2i.data.sources.scenes.backgrounds import BACKGROUNDS
from t2i.data.sources.scenes.captions import LONG, NUMBERS, PLACES, plural, with_article
from t2i.data.sources.scenes.coco import first_index
from t2i.data.sources.scenes.world import CATEGORIES, COLOURS, RELATIONS, Scene, arrange, places_of
from t2i.data.sources.scenes.world import PLACES as OF_A_KIND
from t2i.evaluation.suites import Item
from t2i.randomness import generator

VERSION = 1
"""Raised when the same number of prompts becomes another suite, or is read otherwise."""
SKILLS = ("object", "two objects", "count", "colour", "position", "attribute binding")
WORLD = 2311
"""Seed of the scenes. They are a split of their own, which no dataset draws, whatever its seed."""
TEMPLATES = ("a picture of {}", "a drawing of {}")


@dataclass(frozen=True)
class Region:
    """A square of the picture: centre and side as fractions of its width."""

    x: float = 0.5
    y: float = 0.5
    side: float = 1.0

    def box(self, pixels: int) -> tuple[int, int, int]:
        """Left, top and side in a picture of so many pixels a side; inside of it."""
        side = max(1, round(self.side * pixels))
        left, top = (min(max(round(at * pixels - side / 2), 0), pixels - side) for at in (self.x, self.y))
        return left, top, side


@dataclass(frozen=True)
class Part:
    """What is to be seen in a region, in several wordings."""

    region: Region
    wordings: tuple[str, ...]


Layout = tuple[Part, ...]
Candidate = tuple[Layout, ...]
"""Layouts of which one is enough."""


@dataclass(frozen=True)
class Posed:
    """A prompt of the suite."""

    item: Item
    scene: Scene
    """What the world itself draws for it."""
    candidates: tuple[Candidate, ...]
    """Ways to read a picture of it; the first is right."""


NEAR = 0.54
"""Side of the region in which a thing of a pair, or of several, is read."""


def suite(prompts: int) -> list[Posed]:
    """`prompts` of each skill, the first of every skill before the second of any: a longer suite begins with a shorter one."""
    return [POSES[skill](number) for number in range(prompts) for skill in SKILLS]


def _drawn(skill: str, number: int) -> tuple[np.random.Generator, int, str, tuple[str, str], tuple[str, str]]:
    """By lot: what is left of the dice, the scene's number, the background, two classes and two colours."""
    rng = generator("composition", skill, number)
    background = list(BACKGROUNDS)[int(rng.integers(len(BACKGROUNDS)))]
    one, other = (CATEGORIES[int(k)] for k in rng.choice(len(CATEGORIES), size=2, replace=False))
    first, second = (list(COLOURS)[int(k)] for k in rng.choice(len(COLOURS), size=2, replace=False))
    index = first_index("composition") + number * len(SKILLS) + SKILLS.index(skill)
    return rng, index, background, (one, first), (other, second)


def _said(name: str, colour: str = "") -> str:
    return with_article(f"{colour} {name}".strip(), name)


def _seen(region: Region, name: str, colour: str = "") -> Part:
    return Part(region, tuple(template.format(_said(name, colour)) for template in TEMPLATES))


def _whole(name: str, colour: str = "") -> Candidate:
    return ((_seen(Region(), name, colour),),)


def _pair(relations: Sequence[str], first: tuple[str, str], second: tuple[str, str]) -> Candidate:
    """Two things, class and colour of each (a colour may be empty), in one of these relations."""
    return tuple(
        tuple(
            _seen(Region(*place, NEAR), *thing)
            for place, thing in zip(places_of(relation), (first, second), strict=True)
        )
        for relation in relations
    )


def _object(number: int) -> Posed:
    _, index, background, (name, colour), _ = _drawn("object", number)
    item = Item(f"{_said(name)} {PLACES[background]}", "object", (f"Does this picture show {_said(name)}?",))
    others = [_whole(other) for other in CATEGORIES if other != name]
    return Posed(item, arrange(WORLD, index, background, [(name, colour)]), (_whole(name), *others))


def _two_objects(number: int) -> Posed:
    """Another class in place of one of them, or one of them twice."""
    rng, index, background, (one, first), (other, second) = _drawn("two objects", number)
    relation = RELATIONS[int(rng.integers(len(RELATIONS)))]
    questions = tuple(f"Does this picture show {_said(name)}?" for name in (one, other))
    item = Item(f"{_said(one)} and {_said(other)} {PLACES[background]}", "two objects", questions)
    wrong = [pair for name in CATEGORIES for pair in ((one, name), (name, other)) if pair != (one, other)]
    candidates = [_pair(RELATIONS, (a, ""), (b, "")) for a, b in [(one, other), *wrong]]
    scene = arrange(WORLD, index, background, [(one, first), (other, second)], relation)
    return Posed(item, scene, tuple(candidates))


def _count(number: int) -> Posed:
    """One, two or three of a kind."""
    rng, index, background, (name, colour), _ = _drawn("count", number)
    count = int(rng.integers(2, 4))
    item = Item(
        f"{NUMBERS[count]} {plural(name)} {PLACES[background]}",
        "count",
        (f"Does this picture show exactly {NUMBERS[count]} {plural(name)}?",),
    )
    scene = arrange(WORLD, index, background, [(name, colour)] * count)
    counts = [count, *(other for other in OF_A_KIND if other != count)]
    return Posed(item, scene, tuple(_of_a_kind(name, other) for other in counts))


def _of_a_kind(name: str, count: int) -> Candidate:
    return (tuple(_seen(Region(*place, NEAR), name) for place in OF_A_KIND[count]),)


def _colour(number: int) -> Posed:
    _, index, background, (name, colour), _ = _drawn("colour", number)
    item = Item(f"{_said(name, colour)} {PLACES[background]}", "colour", (f"Is the {name} in this picture {colour}?",))
    others = [_whole(name, other) for other in COLOURS if other != colour]
    return Posed(item, arrange(WORLD, index, background, [(name, colour)]), (_whole(name, colour), *others))


def _position(number: int) -> Posed:
    """The three other relations."""
    rng, index, background, (one, first), (other, second) = _drawn("position", number)
    relation = RELATIONS[int(rng.integers(len(RELATIONS)))]
    item = Item(
        f"a drawing of {_said(one)} {LONG[relation]} {_said(other)}",
        "position",
        (f"Is there {_said(one)} {LONG[relation]} {_said(other)} in this picture?",),
    )
    relations = [relation, *(wrong for wrong in RELATIONS if wrong != relation)]
    scene = arrange(WORLD, index, background, [(one, first), (other, second)], relation)
    return Posed(item, scene, tuple(_pair([own], (one, ""), (other, "")) for own in relations))


def _binding(number: int) -> Posed:
    """The colours of the two things exchanged."""
    rng, index, background, one, other = _drawn("attribute binding", number)
    relation = RELATIONS[int(rng.integers(len(RELATIONS)))]
    questions = tuple(f"Is the {name} in this picture {colour}?" for name, colour in (one, other))
    item = Item(f"a picture of {_said(*one)} and {_said(*other)}", "attribute binding", questions)
    right, wrong = _pair(RELATIONS, one, other), _pair(RELATIONS, (one[0], other[1]), (other[0], one[1]))
    return Posed(item, arrange(WORLD, index, background, [one, other], relation), (right, wrong))


POSES: dict[str, Callable[[int], Posed]] = dict(
    zip(SKILLS, (_object, _two_objects, _count, _colour, _position, _binding), strict=True)
)


def regions(posed: Posed) -> Iterator[Region]:
    """Each region in which a picture of the prompt is read, once."""
    yield from dict.fromkeys(part.region for own in posed.candidates for layout in own for part in layout)


def chance(posed: Sequence[Posed]) -> dict[str, float]:
    """By skill, the share of pictures of anything that would be taken for right: one candidate in so many."""
    shares: dict[str, list[float]] = {}
    for own in posed:
        shares.setdefault(own.item.skill, []).append(1.0 / len(own.candidates))
    return {skill: float(np.mean(found)) for skill, found in shares.items()}
