"""GenEval's prompts become questions, and answers become scores."""

from collections import Counter

import numpy as np
import pytest

from t2i.errors import UserError
from t2i.evaluation.extractors.vlm import Answers
from t2i.evaluation.suites import Item, answered, geneval


def test_the_published_prompts_are_all_there_by_skill() -> None:
    found = Counter(item.skill for item in geneval.items())
    assert found == {
        "object": 80, "two objects": 99, "count": 80, "colour": 94, "position": 100, "attribute binding": 100,
    }  # fmt: skip
    assert len({item.prompt for item in geneval.items()}) > 540  # a few are published twice
    some = geneval.items(90)
    assert Counter(item.skill for item in some) == {skill: min(90, count) for skill, count in found.items()}
    assert some[:80] == geneval.items()[:80]


def test_questions_follow_what_a_prompt_names() -> None:
    asked = {item.prompt: item.questions for item in geneval.items()}
    assert asked["a photo of a bench"] == ("Is there a bench?",)
    assert asked["a photo of two clocks"] == ("Are there exactly two clocks?",)
    assert asked["a photo of a blue fire hydrant"] == ("Is there a fire hydrant?", "Is the fire hydrant blue?")
    assert asked["a photo of a dog right of a teddy bear"] == (
        "Is there a teddy bear?", "Is there a dog?", "Is the dog to the right of the teddy bear?",
    )  # fmt: skip
    assert asked["a photo of a purple wine glass and a black apple"] == (
        "Is there a wine glass?", "Is the wine glass purple?", "Is there an apple?", "Is the apple black?",
    )  # fmt: skip
    assert all(item.questions for item in geneval.items())
    assert not [q for item in geneval.items() for q in item.questions if " a scissors" in q or " a skis" in q]


class Oracle:
    """Says yes to what it is told is true of a picture, by the picture's first value."""

    def __init__(self, true: dict[tuple[int, str], float]) -> None:
        self.true = true

    def answers(self, pictures: np.ndarray, questions: list[str], batch: int, rows: np.ndarray) -> Answers:
        yes = [self.true[int(pictures[row, 0, 0, 0]), asked] for row, asked in zip(rows, questions, strict=True)]
        return Answers(np.array(yes), np.ones(len(yes)))


def test_a_score_is_the_product_of_all_answers() -> None:
    items = [
        Item("a", "count", ("x?",)), Item("a", "count", ("x?",)), Item("b", "count", ("x?",)), Item("c", "colour", ("x?", "y?")),
    ]  # fmt: skip
    pictures = np.arange(4, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    true = {(0, "x?"): 0.2, (1, "x?"): 0.6, (2, "x?"): 1.0, (3, "x?"): 0.9, (3, "y?"): 0.5}
    found = answered.scores(items, pictures, Oracle(true), 4)  # type: ignore[arg-type]
    np.testing.assert_allclose(found, [0.2, 0.6, 1.0, 0.45])
    with pytest.raises(UserError, match="found 4 pictures and 1 items"):
        answered.scores(items[:1], pictures, Oracle(true), 4)  # type: ignore[arg-type]
