"""Captions and pictures of a set paired by cosine: what is nearest to what, and which captions are mistaken."""

from dataclasses import replace
from typing import TYPE_CHECKING

from t2i.config import Config
from t2i.context import Run
from t2i.stages.clip_features import Measured, OfEvaluator
from t2i.stages.prepared import data_of

if TYPE_CHECKING:
    import numpy as np

PICTURES = 100
"""Held-out pictures that are paired, at most."""
SHOWN, COMPARED = 15, 12
"""Pictures in the figure of best matches, and captions in the matrix."""
LETTERS = 34
"""Of a caption beside the matrix."""


def features(config: Config) -> OfEvaluator:
    """What pictures and captions are paired by."""
    return OfEvaluator(replace(config, clip=replace(config.clip, images=PICTURES)))


def paired(config: Config, run: Run) -> dict[str, float]:
    """Recall in both ways between held-out pictures and their captions, with intervals; tells it with two figures.

    Empty where fewer than two pictures are held out.
    """
    from t2i.evaluation.extractors import registry as extractors

    split = data_of(config, run).split("held_out")
    count = min(PICTURES, len(split))
    if count < 2:
        return {}
    name = extractors.source(config.eval)[0]
    found = features(config).read(run)
    metrics: dict[str, float] = {}
    for key in ("image_to_text_recall_1", "text_to_image_recall_1"):
        if key in found.contrast.metrics:
            interval = found.contrast.metrics[key]
            metrics |= {key: interval.value, f"{key}.low": interval.low, f"{key}.high": interval.high}
    if run.main:
        _tell(config, run, name, count, found)
    return metrics


def _tell(config: Config, run: Run, name: str, count: int, found: Measured) -> None:
    from t2i.reporting.figures import matrices, sample_grid
    from t2i.reporting.numbers import number

    split = data_of(config, run).split("held_out")
    cosines = _cosines(found)
    best = cosines.argmax(axis=1)
    own = [set(rows) for rows in found.features.said]
    shown = range(min(SHOWN, count))
    labels = [
        f"{cosines[i, best[i]]:.2f} {'' if int(best[i]) in own[i] else '(not its own) '}{found.captions[int(best[i])]}"
        for i in shown
    ]
    pictures = split.squares(shown, config.dataset.resolution)
    figures = [
        (
            sample_grid(
                pictures, labels, run.figures() / "best_captions.png",
                f"The nearest of {len(found.captions):,} captions to each picture, with its cosine ({name})",
            ),
            "Held-out pictures, each with the caption whose vector is nearest.",
        )
    ]  # fmt: skip
    chosen: dict[int, int] = {}  # caption to picture: those whose first captions differ
    for i, rows in enumerate(found.features.said):
        if len(chosen) < COMPARED:
            chosen.setdefault(rows[0], i)
    if len(chosen) > 1:
        texts = [_short(found.captions[row]) for row in chosen]
        path = matrices(
            {"": 100 * cosines[list(chosen.values())][:, list(chosen)]}, texts, texts,
            run.figures() / "caption_confusion.png", f"Which caption is near which picture ({name})", "100 x cosine",
            ("picture, by its caption", "caption"), "the diagonal is right",
        )  # fmt: skip
        figures.append((path, "Cosines of pictures (rows) and captions (columns)."))
    right = sum(int(best[i]) in own[i] for i in range(count))
    text = f"The nearest caption of {right} of {count} held-out pictures is one of their own ({name})"
    if "image_to_text_recall_1" in found.contrast.metrics:
        interval = found.contrast.metrics["image_to_text_recall_1"]
        text += f": {number(100 * interval.value, 100 * interval.low, 100 * interval.high)} %"
        text += f" among {len(found.captions):,} different captions"
    run.section("Captions and pictures paired", text + ".", [], figures)
    run.detail(text + ".")


def _cosines(found: Measured) -> "np.ndarray":
    from t2i.evaluation.metrics.zero_shot import cosines

    return cosines(found.features.images, found.features.texts)


def _short(caption: str) -> str:
    return caption if len(caption) <= LETTERS else caption[: LETTERS - 1].rstrip() + "…"
