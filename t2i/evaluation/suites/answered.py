"""What the answers to an item's questions come to."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from t2i.data.pictures import Pictures
from t2i.evaluation import checks
from t2i.evaluation.suites import Item

if TYPE_CHECKING:
    from t2i.evaluation.extractors.vlm import Vlm

PRODUCT = "product of P(yes) of all questions"
"""How an item is scored; for a definition. It is P(all yes) where the answers to one picture do not hang on each other, and one
question that is answered with no takes all, as one fault of a picture should."""


def scores(items: Sequence[Item], pictures: np.ndarray | Pictures, network: "Vlm", batch_size: int) -> np.ndarray:
    """float64 (N,) in [0, 1]: of picture i uint8 (H, W, 3), drawn for items[i], the product of P(yes) of all its questions."""
    checks.same_length("pictures", pictures, "items", items)
    rows = np.array([row for row, item in enumerate(items) for _ in item.questions])
    questions = [question for item in items for question in item.questions]
    yes = network.answers(pictures, questions, batch_size, rows).yes
    found = np.ones(len(items))
    np.multiply.at(found, rows, yes)
    return found
