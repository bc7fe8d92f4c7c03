"""Pictures that are asked about: every question counts, and each is about its own picture."""

from collections.abc import Sequence

import numpy as np

from t2i.data.pictures import Pictures
from t2i.evaluation.suites import Item
from t2i.evaluation.suites.judges import by_questions


class Brightness:
    """Is sure by how bright a picture is, and says the contrary to what begins with Not."""

    def yes(self, pictures: np.ndarray | Pictures, questions: Sequence[str], batch_size: int = 8) -> np.ndarray:
        bright = pictures[:].mean(axis=(1, 2, 3)) / 255
        return np.where([text.startswith("Not") for text in questions], 1 - bright, bright)


def test_a_picture_is_right_where_every_question_about_it_is_answered_with_yes() -> None:
    shades = np.array([255, 255, 0, 0, 120], np.uint8)
    pictures = np.broadcast_to(shades[:, None, None, None], (5, 4, 6, 3))
    items = [
        Item("bright", "object", ("Bright?",)),
        Item("both", "two objects", ("Bright?", "Not bright?")),
        Item("dark", "object", ("Not bright?",)),
        Item("bright", "object", ("Bright?",)),
        Item("undecided", "count", ("Not bright?", "Not so bright?")),
    ]
    found = by_questions(items, Pictures(pictures.shape, lambda rows: pictures[list(rows)]), Brightness(), 2)  # type: ignore[arg-type]
    assert found == [1, 0, 1, 0, 1]
