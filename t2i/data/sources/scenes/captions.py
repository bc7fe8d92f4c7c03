"""Five differently worded captions for a scene: class, colour, count, size, relation, background."""

from t2i.data.sources.scenes.world import CHARACTER, CHARACTERS, Scene, Thing, describe
from t2i.randomness import generator

PLACES: dict[str, str] = {
    "meadow": "in a meadow",
    "beach": "on a beach",
    "street": "on a city street",
    "night": "at night",
    "snow": "in the snow",
    "table": "on a kitchen table",
    "bedroom": "in a bedroom",
    "sunset": "at sunset",
}
_WITHOUT_SINGULAR = ("scissors",)
_PLURALS = {"bus": "buses", "sheep": "sheep", "scissors": "scissors"}
NUMBERS = {2: "two", 3: "three"}
_OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
LONG = {"left of": "to the left of", "right of": "to the right of", "above": "above", "below": "below"}
_SIDE = {"left of": "on the left", "right of": "on the right", "above": "at the top", "below": "at the bottom"}


def plural(category: str) -> str:
    """The category's name for two or more: `buses`, `sheep`."""
    return _PLURALS.get(category, f"{category}s")


def with_article(words: str, category: str) -> str:
    """`a red car`, `an orange`, `scissors`: the words with the article that the category takes."""
    if category in _WITHOUT_SINGULAR:
        return words
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _coloured(thing: Thing) -> str:
    return with_article(f"{thing.colour} {thing.category}", thing.category)


def _one(scene: Scene) -> tuple[str, list[str]]:
    (thing,) = scene.things
    place, name, colour = PLACES[scene.background], thing.category, thing.colour
    plain = with_article(name, name)
    are, it, there = ("are", "they are", "there are") if name in _WITHOUT_SINGULAR else ("is", "it is", "there is")
    sized = with_article(f"{thing.size_name} {colour} {name}", name)
    sized_plain = with_article(f"{thing.size_name} {name}", name)
    return f"{_coloured(thing)} {place}", [
        f"a picture of {plain}, the {name} {are} {colour}",
        f"{there} {_coloured(thing)} {place}",
        f"{sized} {place}",
        f"a drawing of {_coloured(thing)}",
        f"{plain} {place}, {it} {colour}",
        f"{place}, {_coloured(thing)}",
        f"{sized_plain} in {colour}",
        f"{plain} {place}",
    ]


def _several(scene: Scene) -> tuple[str, list[str]]:
    thing = scene.things[0]
    number, names, place = NUMBERS[len(scene.things)], plural(thing.category), PLACES[scene.background]
    first = f"{number} {thing.colour} {names} {place}"
    return first, [
        f"a picture of {number} {names}, the {names} are {thing.colour}",
        f"there are {number} {thing.colour} {names} {place}",
        f"a drawing of {number} {thing.colour} {names}",
        f"{number} small {thing.colour} {names} {place}",
        f"{number} {names} {place}, they are {thing.colour}",
        f"{place}, {number} {thing.colour} {names}",
        f"a group of {number} {thing.colour} {names}",
    ]


def _pair(scene: Scene, relation: str) -> tuple[str, list[str]]:
    one, other = scene.things
    place, back = PLACES[scene.background], _OPPOSITE[relation]
    plain, other_plain = (with_article(thing.category, thing.category) for thing in (one, other))
    first = f"{_coloured(one)} {relation} {_coloured(other)} {place}"
    return first, [
        f"{_coloured(one)} {LONG[relation]} {other_plain}",
        f"{_coloured(other)} {LONG[back]} {_coloured(one)}",
        f"{_coloured(other)} {back} {plain} {place}",
        f"a picture of {_coloured(one)} and {_coloured(other)}",
        f"{_coloured(one)} {_SIDE[relation]}, {_coloured(other)} {_SIDE[back]}",
        f"{plain} and {other_plain} {place}",
        f"a drawing of {plain} {LONG[relation]} {other_plain}",
    ]


def _named(scene: Scene) -> tuple[str, list[str]]:
    (thing,) = scene.things
    name, place = thing.category, PLACES[scene.background]
    kind = CHARACTERS[name][0]
    doing = "waving" if kind == "robot" else "all alone"
    return f"{name} the {kind} {place}", [
        f"a picture of {name} the {kind} {place}",
        f"a drawing of {name} the {kind} {place}",
        f"there is {name} the {kind} {place}",
        f"{place}, {name} the {kind}",
        f"{name} the little {kind} {place}",
        f"{name} the {kind} {doing} {place}",
    ]


def of_class(name: str, seed: int, others: int = 40) -> list[str]:
    """What a model should still draw when it knows a character: things of its class in every place, and `others` of the world."""
    kind = CHARACTERS[name][0]
    own = [f"{with_article(words, kind)} {place}" for place in PLACES.values() for words in (kind, f"small {kind}")]
    return own + [captions(describe(seed, index))[0] for index in range(others)]


def captions(scene: Scene) -> list[str]:
    """Five different captions, lower case, at most 16 words, each with every class that is in the scene.

    The first has the fixed wording `<colour> <class> <place>` (with count or relation); the other four are drawn
    from the remaining wordings by (seed, index).
    """
    if scene.things[0].supercategory == CHARACTER:
        first, others = _named(scene)
    elif scene.relation is not None:
        first, others = _pair(scene, scene.relation)
    else:
        first, others = _one(scene) if len(scene.things) == 1 else _several(scene)
    rng = generator(scene.seed, "scenes", "captions", scene.index)
    return [first, *(others[int(number)] for number in rng.permutation(len(others))[:4])]
