"""Caption embeddings: whether captions of one picture are closer than captions of two, and what is near."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2i.config import Config
from t2i.context import Run
from t2i.randomness import generator
from t2i.stages.networks import extractor_of

if TYPE_CHECKING:
    import numpy as np

    from t2i.evaluation.embeddings import Rows
    from t2i.evaluation.metrics.separation import Cosines

NEAREST = 5
"""Captions that are shown for each text."""
POINTS = 4000
"""Captions in the projection figure, at most."""


def tell(config: Config, run: Run, folder: Path) -> dict[str, float]:
    """Returns the cosine check of the embeddings in `folder`; links them into the run folder."""
    import numpy as np

    from t2i.evaluation import embeddings
    from t2i.evaluation.extractors import registry as extractors
    from t2i.evaluation.metrics.separation import cosine_check, separation

    rows = embeddings.Rows.read(folder)
    vectors, pooled = (np.load(folder / file, mmap_mode="r") for file in (embeddings.PROJECTED, embeddings.POOLED))
    found = cosine_check(vectors, rows.image, config.seed)
    metrics = {"captions": float(len(vectors)), "distinct_captions": float(len(np.unique(rows.first)))}
    metrics |= {"width": float(vectors.shape[1]), "pooled_width": float(pooled.shape[1])}
    if len(found.random):
        metrics["cosine_random"] = float(found.random.mean())
    if len(found.matched):
        metrics["cosine_matched"] = float(found.matched.mean())
    if len(found.matched) and len(found.random):
        interval = separation(found, config.seed, config.eval.replicates)
        metrics |= {
            "separation": interval.value,
            "separation.low": interval.low,
            "separation.high": interval.high,
        }
    if run.main:
        for file in (embeddings.PROJECTED, embeddings.POOLED, embeddings.INDEX):
            (run.folder / file).symlink_to(os.path.relpath(folder / file, run.folder))
        _section(config, run, folder, extractors.source(config.eval)[0], metrics, found, rows, vectors)
    return metrics


def lookup(config: Config, run: Run, folder: Path, rows: "Rows", vectors: "np.ndarray") -> list[list[Any]]:
    """For each of `prompts` the nearest captions: text, cosine, caption, image and how many rows have that caption."""
    import numpy as np

    from t2i.evaluation import embeddings

    texts = list(config.prompts)
    distinct = np.flatnonzero(rows.first == np.arange(len(rows.first)))
    asked = extractor_of(config, run).text_vectors(texts)[0]
    places, cosines = embeddings.nearest(vectors, asked, distinct, NEAREST)
    said = embeddings.entries(folder, set(places.ravel().tolist()))
    often = np.bincount(rows.first, minlength=len(rows.first))
    return [
        [text, float(cosine), said[place]["caption"], said[place]["image"], int(often[place])]
        for text, row, values in zip(texts, places.tolist(), cosines, strict=True)
        for place, cosine in zip(row, values, strict=True)
    ]


def _section(
    config: Config,
    run: Run,
    folder: Path,
    name: str,
    metrics: dict[str, float],
    found: "Cosines",
    rows: "Rows",
    vectors: "np.ndarray",
) -> None:
    from t2i.reporting.figures import similarity_histogram
    from t2i.reporting.numbers import number

    text = (
        f"{metrics['captions']:,.0f} captions ({metrics['distinct_captions']:,.0f} different ones) as vectors of "
        f"{metrics['width']:.0f} numbers projected and {metrics['pooled_width']:.0f} mean-pooled ({name}), in `{folder}`."
    )
    if "separation" in metrics:
        value, low, high = (100 * metrics[f"separation{end}"] for end in ("", ".low", ".high"))
        text += (
            f" Captions of one picture have cosine {metrics['cosine_matched']:.3f} on average, of two pictures "
            f"{metrics['cosine_random']:.3f}; a pair of one picture is the closer one "
            f"in {number(value, low, high)} % of comparisons "
            f"(area under the ROC curve, 95 % bootstrap over {len(found.matched):,} pictures)."
        )
    else:
        text += " No picture has two captions: paraphrases cannot be compared." if len(rows.image) > 1 else ""
    path = run.figures() / "caption_similarity.png"
    similarity_histogram(found.matched, found.random, path, f"Cosine between captions ({name})")
    figures = [
        (path, "Captions of one picture against captions of two pictures."),
        *_projection(run, name, rows, vectors),
    ]
    tables = []
    if config.prompts:
        near = lookup(config, run, folder, rows, vectors)
        tables.append(
            {
                "columns": ["text", "cosine", "nearest caption", "picture", "captions like it"],
                "rows": near,
                "caption": f"The {NEAREST} different captions nearest to each text; the picture is the first that has it.",
            }
        )
        for asked, cosine, caption, image, _ in near:
            run.say(f"{asked} ~ {cosine:.3f} {caption} ({image})")
    run.section("Caption embeddings", text, tables, figures)
    run.detail(text)


def _projection(run: Run, name: str, rows: "Rows", vectors: "np.ndarray") -> Sequence[tuple[Path, str]]:
    import numpy as np

    from t2i.evaluation.embeddings import principal_plane
    from t2i.reporting.figures import projection

    distinct = np.flatnonzero(rows.first == np.arange(len(rows.first)))
    if len(distinct) < 3 or vectors.shape[1] < 2:
        return []
    chosen = np.sort(generator("projection", len(distinct)).permutation(distinct)[:POINTS])
    points, explained = principal_plane(vectors, chosen)
    shown = f"{len(chosen):,} of {len(distinct):,} different captions"
    path = run.figures() / "caption_projection.png"
    projection(
        points,
        [rows.groups[k] for k in rows.group[chosen]],
        explained.tolist(),
        path,
        f"Captions in the plane ({name})",
        shown,
    )
    return [(path, "Projected vectors, each of length one, on their two principal components; colour: rarest domain.")]
