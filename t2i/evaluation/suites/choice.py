"""Whether a picture shows what its prompt asks for, by a CLIP that chooses among candidates."""

from collections.abc import Sequence

import numpy as np

from t2i.data.pictures import Pictures
from t2i.evaluation.extractors.registry import Extractor, shared_image_features, text_features
from t2i.evaluation.metrics.composition import chosen
from t2i.evaluation.suites.scenes import Posed, Region, regions


def by_choice(suite: Sequence[Posed], pictures: Pictures, clip: Extractor, batch_size: int) -> list[float]:
    """1.0 or 0.0 for each picture, of prompt i picture i, square: whether it fits its first candidate best.

    Every process has to call it; each reads its share.
    """
    rows: dict[Region, list[int]] = {}
    for number, posed in enumerate(suite):
        for region in regions(posed):
            rows.setdefault(region, []).append(number)
    read: dict[tuple[int, Region], np.ndarray] = {}
    for region, own in rows.items():
        features = shared_image_features(clip, "suite", _cut(pictures, own, region), batch_size)
        read |= {(row, region): feature for row, feature in zip(own, features, strict=True)}
    parts = dict.fromkeys(part for posed in suite for own in posed.candidates for layout in own for part in layout)
    wordings = list(dict.fromkeys(text for part in parts for text in part.wordings))
    known = dict(zip(wordings, text_features(clip, wordings, batch_size), strict=True))
    texts = {part.wordings: np.stack([known[text] for text in part.wordings]) for part in parts}
    return [
        chosen(
            [
                [[(read[number, part.region], texts[part.wordings]) for part in layout] for layout in own]
                for own in posed.candidates
            ]
        )
        for number, posed in enumerate(suite)
    ]


def _cut(pictures: Pictures, rows: Sequence[int], region: Region) -> Pictures:
    """A region of these pictures, in their own pixels."""
    left, top, side = region.box(pictures.shape[1])

    def read(some: Sequence[int]) -> np.ndarray:
        return pictures.read([rows[row] for row in some])[:, top : top + side, left : left + side]

    return Pictures((len(rows), side, side, 3), read)
