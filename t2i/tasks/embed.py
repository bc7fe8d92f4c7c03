"""`task=embed`: caption embeddings, and whether captions of one picture are closer than captions of two."""

import json
from pathlib import Path

from t2i.config import Config
from t2i.context import Run
from t2i.randomness import generator
from t2i.tasks.evaluate import extractor_of
from t2i.tasks.shared import prepared

VERSION = 1


def embed(config: Config, run: Run) -> dict[str, float]:
    """Writes `text_embeddings.npy` (projected, float32 (N, D)), `text_embeddings_pooled.npy` (mean of the last hidden
    states over a caption's tokens) and `text_index.json`; returns the cosine check.
    """
    import numpy as np

    from t2i.evaluation import extractors

    config.eval.validate()
    stage, data = prepared(config, run)
    name, digest = extractors.identity(config.eval)

    def build(folder: Path) -> None:
        extractor = extractor_of(config, run)
        split = data.split("train")
        rows = [(split.ids[i], caption) for i in range(len(split)) for caption in split.captions[i]]
        texts = [caption for _, caption in rows]
        distinct = list(dict.fromkeys(texts))
        place = {caption: k for k, caption in enumerate(distinct)}
        index = [place[caption] for caption in texts]
        projected = extractors.text_features(extractor, distinct, config.eval.batch_size)
        pooled = np.concatenate(
            [
                extractor.pooled_texts(distinct[k : k + config.eval.batch_size])
                for k in range(0, len(distinct), config.eval.batch_size)
            ]
        )
        np.save(folder / "text_embeddings.npy", projected[index])
        np.save(folder / "text_embeddings_pooled.npy", pooled[index])
        entries = [{"row": k, "image": image, "caption": caption} for k, (image, caption) in enumerate(rows)]
        (folder / "text_index.json").write_text(json.dumps(entries, indent=0, ensure_ascii=False), encoding="utf-8")

    result = run.stage("text_embeddings", {"data": stage.digest, "extractor": digest}, {"name": name}, VERSION, build)
    vectors = np.load(result.path / "text_embeddings.npy", mmap_mode="r")
    entries = json.loads((result.path / "text_index.json").read_text(encoding="utf-8"))
    images = [entry["image"] for entry in entries]
    matched, random = cosine_check(vectors, images, config.seed)
    metrics = {"captions": float(len(vectors)), "width": float(vectors.shape[1])}
    if len(matched) and len(random):
        metrics |= {"cosine_matched": float(matched.mean()), "cosine_random": float(random.mean())}
        metrics["separation"] = float((matched[:, None] > random[None, :]).mean())
    if run.main:
        _tell(run, result.path, name, metrics, matched, random)
    return metrics


def cosine_check(vectors, images: list[str], seed: int, pairs: int = 2000):  # type: ignore[no-untyped-def]
    """Cosines of caption pairs of one picture, and of captions of two pictures: two float arrays of at most `pairs`."""
    import numpy as np

    groups: dict[str, list[int]] = {}
    for row, image in enumerate(images):
        groups.setdefault(image, []).append(row)
    g = generator(seed, "cosine check")
    several = [rows for rows in groups.values() if len(rows) > 1]
    same = (
        [tuple(g.choice(several[int(k)], 2, replace=False)) for k in g.integers(0, len(several), pairs)]
        if several
        else []
    )
    drawn = g.integers(0, len(images), (pairs, 2))
    other = [(a, b) for a, b in drawn if images[a] != images[b]]

    def cosines(chosen):  # type: ignore[no-untyped-def]
        if not chosen:
            return np.zeros(0)
        left, right = (np.asarray(vectors[[pair[side] for pair in chosen]], dtype=np.float64) for side in (0, 1))
        return (left * right).sum(1) / (np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1))

    return cosines(same), cosines(other)


def _tell(run: Run, folder: Path, name: str, metrics: dict[str, float], matched, random) -> None:  # type: ignore[no-untyped-def]
    figures = []
    text = f"{metrics['captions']:.0f} captions as vectors of {metrics['width']:.0f} numbers ({name}), in `{folder}`."
    if "separation" in metrics:
        from t2i.reporting.figures import similarity_histogram

        figure = similarity_histogram(
            matched, random, run.figures() / "caption_similarity.png", f"Cosine between captions ({name})"
        )
        figures.append((figure, "Captions of one picture against captions of two pictures."))
        text += (
            f" Captions of one picture have cosine {metrics['cosine_matched']:.3f} on average, of two pictures "
            f"{metrics['cosine_random']:.3f}; a matched pair is closer {100 * metrics['separation']:.1f} % of the time."
        )
    run.section("Caption embeddings", text, [], figures)
    run.say(text)
