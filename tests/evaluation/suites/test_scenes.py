"""The suite of the drawn world: what its prompts say, what its candidates differ in, and that a planted fault is found."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from t2i.data.pictures import Pictures
from t2i.data.sources.scenes import COLOURS, Scene, render
from t2i.data.sources.scenes.coco import first_index
from t2i.evaluation.config import Evaluation
from t2i.evaluation.extractors.registry import Extractor, build
from t2i.evaluation.metrics import composition
from t2i.evaluation.metrics.measurement import Inputs, Suited
from t2i.evaluation.statistics.paired import holm
from t2i.evaluation.suites.choice import by_choice
from t2i.evaluation.suites.scenes import SKILLS, Region, chance, suite

SUITE = suite(12)
OF_COLOUR = ("colour", "attribute binding")


def test_a_longer_suite_begins_with_a_shorter_one() -> None:
    assert suite(14)[: len(SUITE)] == SUITE
    assert Counter(own.item.skill for own in SUITE) == dict.fromkeys(SKILLS, 12)


def test_only_two_skills_name_colours() -> None:
    for own in SUITE:
        named = bool(COLOURS.keys() & set(own.item.prompt.split()))
        assert named == (own.item.skill in OF_COLOUR), own.item


def test_its_scenes_are_no_dataset_s() -> None:
    """A split of their own, each scene another number."""
    numbers = [own.scene.index for own in SUITE]
    assert len(set(numbers)) == len(numbers)
    length = 2**28
    assert all(0 <= number - first_index("composition") < length for number in numbers)
    assert first_index("composition") not in (first_index("train"), first_index("val"))


def test_chance_is_one_of_the_candidates() -> None:
    """30 classes; two and either of them as one of 29 others; one to three; 9 colours; 4 relations; exchanged or not."""
    expected = dict(zip(SKILLS, (1 / 30, 1 / 59, 1 / 3, 1 / 9, 1 / 4, 1 / 2), strict=True))
    assert chance(SUITE) == pytest.approx(expected)
    assert all(len(set(own.candidates)) == len(own.candidates) for own in SUITE)


def test_the_first_candidate_is_what_the_world_draws() -> None:
    for own in SUITE:
        fits = [
            all(
                any(
                    abs(part.region.x - thing.x) < 0.05
                    and abs(part.region.y - thing.y) < 0.05
                    and thing.category in part.wordings[0]
                    and (own.item.skill not in OF_COLOUR or thing.colour in part.wordings[0])
                    for thing in own.scene.things
                )
                for part in layout
            )
            for layout in own.candidates[0]
            if layout[0].region != Region()
        ]
        assert not fits or any(fits), own


def test_a_region_lies_inside_of_the_picture() -> None:
    assert Region().box(64) == (0, 0, 64)
    assert Region(0.5, 0.5, 0.5).box(64) == (16, 16, 32)
    assert Region(0.1, 0.95, 0.5).box(64) == (0, 32, 32)


def test_every_item_asks_questions() -> None:
    assert all(own.item.questions and all(text.endswith("?") for text in own.item.questions) for own in SUITE)


@pytest.fixture(scope="module")
def clip() -> Extractor:
    return build(Evaluation(exact=False))


def drawn(change: Callable[[Scene], Scene]) -> Pictures:
    """What a painter draws for the suite who would draw as the world does, but for one fault."""
    pictures = np.stack([np.asarray(render(change(own.scene), 64)) for own in SUITE])
    return Pictures(pictures.shape, lambda rows: pictures[list(rows)])  # type: ignore[arg-type]


def hits(found: list[float]) -> dict[str, np.ndarray]:
    return {
        skill: np.array([hit for hit, own in zip(found, SUITE, strict=True) if own.item.skill == skill])
        for skill in SKILLS
    }


def colour_blind(scene: Scene) -> Scene:
    """Each colour is another one, the same for every thing: a permutation without a fixed point."""
    names = list(COLOURS)
    after = {name: names[(k + 4) % len(names)] for k, name in enumerate(names)}
    return replace(scene, things=tuple(replace(thing, colour=after[thing.colour]) for thing in scene.things))


def test_a_painter_blind_to_colours_fails_by_the_skills_of_colour_alone(clip: Extractor) -> None:
    real, blind = (hits(by_choice(SUITE, drawn(change), clip, 64)) for change in (lambda scene: scene, colour_blind))

    def read(own: dict[str, np.ndarray]) -> Inputs:
        return Inputs(np.empty((0, 0), np.float32), 0, suite=Suited("toy", own, real, chance(SUITE)))

    changes = composition.difference(read(real), read(blind))
    assert set(changes) == set(composition.NAMES.values())
    adjusted = dict(zip(changes, holm([own.p for own in changes.values()]).tolist(), strict=True))
    assert changes["composition_colour"].difference.value < -0.9 and adjusted["composition_colour"] < 0.05
    others = [name for name in adjusted if name not in ("composition_colour", "composition_binding")]
    assert all(adjusted[name] > 0.05 for name in others), adjusted
