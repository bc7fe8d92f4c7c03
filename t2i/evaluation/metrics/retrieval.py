"""Retrieval of captions by images and of images by captions: ranks, recall and median rank.

The Flickr convention (Karpathy and Fei-Fei 2015, arXiv:1412.2306, sec. 4.1): an image finds its text when any of its
captions is among the first k; each caption searches for its image. Captions with the same words are one candidate, and
right for every image that they are said about. A wrong candidate with exactly the same cosine counts as ahead.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from t2i.evaluation import checks
from t2i.evaluation.metrics.zero_shot import unit
from t2i.evaluation.statistics.clustered import PerImage

DEPTHS = (1, 5, 10)
BLOCK = 2**22
"""Cosines held in memory at once (float64: 32 MiB)."""


@dataclass(frozen=True)
class Ranks:
    """1 is the best; `image_to_text` has one entry an image, the others one a caption of an image."""

    image_to_text: np.ndarray
    text_to_image: np.ndarray
    owner: np.ndarray
    """The image of each entry of `text_to_image`."""

    def recall(self, depth: int) -> tuple[PerImage, PerImage]:
        """Share of queries whose first right answer is among the first `depth`: image to text, text to image."""
        images = len(self.image_to_text)
        found = np.bincount(self.owner, self.text_to_image <= depth, minlength=images)
        queries = np.bincount(self.owner, minlength=images).astype(np.float64)
        hits = (self.image_to_text <= depth).astype(np.float64)
        return PerImage(hits, np.ones(images), 0.0, 1.0), PerImage(found, queries, 0.0, 1.0)


def ranks(image_features: np.ndarray, text_features: np.ndarray, said: Sequence[Sequence[int]]) -> Ranks:
    """Of images (N, D) and the distinct captions (K, D); said: for each image the rows of its captions, one at least."""
    images, texts = unit("image", image_features), unit("caption", text_features)
    checks.same_length("images", images, "lists of captions", said)
    checks.same_width("image", images, "caption", texts)
    about: list[list[int]] = [[] for _ in range(len(texts))]
    for image, rows in enumerate(said):
        for row in dict.fromkeys(rows):
            about[row].append(image)
    owner = np.repeat(np.arange(len(said)), [len(rows) for rows in said])
    answered = _first_right(texts, images, about)[[row for rows in said for row in rows]]
    return Ranks(_first_right(images, texts, said), answered, owner)


def _first_right(queries: np.ndarray, candidates: np.ndarray, right: Sequence[Sequence[int]]) -> np.ndarray:
    """For each query 1 + the number of wrong candidates that are at least as near as its nearest right one."""
    parts = []
    for cosines, mask in blocks(queries, candidates, right):
        best = np.where(mask, cosines, -np.inf).max(axis=1, keepdims=True)
        parts.append(1 + ((cosines >= best) & ~mask).sum(axis=1))
    return np.concatenate(parts)


def blocks(
    queries: np.ndarray, candidates: np.ndarray, right: Sequence[Sequence[int]]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cosines of unit rows and which of them are right, float64 and bool (n, K), for some queries at a time."""
    step = max(1, BLOCK // len(candidates))
    for start in range(0, len(queries), step):
        cosines = queries[start : start + step] @ candidates.T
        mask = np.zeros(cosines.shape, dtype=bool)
        for row, columns in enumerate(right[start : start + step]):
            mask[row, list(columns)] = True
        yield cosines, mask
