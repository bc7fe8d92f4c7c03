"""Did the tuned model learn the subject or its training set? Nearest training pictures, and held-out minus train."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from t2i import identity
from t2i.config import Config
from t2i.context import Run
from t2i.stages.reference import generated_pictures, pictures_of, training_features
from t2i.stages.generated import generated_set, prepared, read_pictures, training_split
from t2i.stages.tuned import Tuned
from t2i.store import write_json
from t2i.tasks.evaluate import Measured, extractors_of

if TYPE_CHECKING:
    import numpy as np

    from t2i.data.pictures import Pictures
    from t2i.evaluation.evaluate import Result

NEAREST_VERSION, VERSION = 2, 1
SHOWN = 9
GAP_PICTURES = 40
"""Pictures of training captions at most; drawn besides those that are measured."""


def memorisation(
    config: Config, run: Run, base: Measured, better: Measured, tuned: Tuned, metrics: dict[str, float]
) -> dict[str, float]:
    """The nearest training picture of each generated one, as pairs, and how much better the training captions do.

    metrics: the run's numbers, of which the losses on held-out and training pictures are told again. Returns
    `distance_tuned` (mean cosine distance of its pictures to the nearest training picture), `distance_base`,
    `distance_real` (held-out pictures), and `clip_score_gap`, each with its 95 % interval.
    """
    _, data = prepared(config, run)
    train, side = training_split(config, data), config.dataset.resolution
    found, numbers = _distances(config, run, base, better)
    numbers |= _gap(config, run, base, better, tuned)
    if run.main:
        order = sorted(range(len(found)), key=lambda i: found[i][1])[:SHOWN]
        pairs = [
            (picture, train.squares([found[i][0]], side)[0], f"{found[i][1]:.3f}: {better.captions[i]}")
            for i, picture in zip(order, better.picked(order), strict=True)
        ]
        _section(run, config, pairs, numbers, metrics)
    return numbers


def _distances(
    config: Config, run: Run, base: Measured, better: Measured
) -> tuple[list[tuple[int, float]], dict[str, float]]:
    """For each picture of the tuned model the row of its nearest training picture and their distance; and the means."""
    import numpy as np

    from t2i.evaluation.extractors import registry as extractors
    from t2i.evaluation.extractors.registry import shared_image_features
    from t2i.evaluation.metrics.memorisation import nearest_training
    from t2i.evaluation.statistics import intervals

    data_stage, data = prepared(config, run)
    network = extractors_of(config, run)[0]
    known = training_features(config, run, lambda: extractors_of(config, run)).features[network.name]

    def build(folder: Path) -> None:
        def features(name: str, images: "Pictures") -> "np.ndarray":
            return shared_image_features(network, name, images, config.eval.batch_size)

        held_out = data.split("held_out")
        rows = range(min(len(held_out), len(base.captions)))
        real = pictures_of(held_out.part(np.array(rows)), config.dataset.resolution)
        sets = {
            "tuned": features("generated", generated_pictures(better.folder, len(better.captions))),
            "base": features("generated", generated_pictures(base.folder, len(base.captions))),
            "real": features("held-out", real),
        }
        if not run.main:
            return
        found = {name: nearest_training(rows, known) for name, rows in sets.items()}
        means = {name: intervals.mean(distances, 0.0, 1.0) for name, (_, distances) in found.items()}
        write_json(
            folder / "nearest.json",
            {
                "nearest": [[int(row), float(distance)] for row, distance in zip(*found["tuned"], strict=True)],
                "means": {name: [mean.value, mean.low, mean.high] for name, mean in means.items()},
            },
        )

    inputs = {
        "tuned": better.folder.name,
        "base": base.folder.name,
        "data": data_stage.digest,
        "trained": str(len(known)),
        "extractor": extractors.digests(config.eval),
    }
    slice_ = {
        "extractor": config.eval.extractor,
        "resize": config.eval.resize_policy,
        "images": len(better.captions),
    }
    stage = run.stage("nearest", inputs, slice_, NEAREST_VERSION, build, collective=True)
    found = json.loads((stage.path / "nearest.json").read_text(encoding="utf-8"))
    numbers: dict[str, float] = {}
    for name, (value, low, high) in found["means"].items():
        numbers |= {f"distance_{name}": value, f"distance_{name}.low": low, f"distance_{name}.high": high}
    return [(int(row), float(distance)) for row, distance in found["nearest"]], numbers


def _gap(config: Config, run: Run, base: Measured, better: Measured, tuned: Tuned) -> dict[str, float]:
    """By how much more tuning raised the CLIP score of training captions than that of held-out ones, with Welch's 95 %
    interval (Welch 1947, Biometrika 34); each caption's gain is tuned minus base from one seed. Empty without scores.
    """
    from t2i.evaluation.extractors import registry as extractors

    scores = f"clip_score[{better.result.definition['clip']}]"
    _, data = prepared(config, run)
    train = training_split(config, data)
    captions = [group[0] for group in train.captions if group][: min(GAP_PICTURES, config.eval.images)]
    if scores not in better.result.per_sample or len(captions) < 2:
        return {}
    sets = {name: generated_set(config, run, captions, weights) for name, weights in (("base", None), ("tuned", tuned))}

    def build(folder: Path) -> None:
        from t2i.evaluation.metrics.clip_score import clip_scores

        _, clip = extractors_of(config, run)
        size = config.eval.batch_size
        texts = extractors.text_features(clip, captions, size)
        found = {
            name: clip_scores(
                extractors.image_features(clip, "generated", read_pictures(stage.path, len(captions)), size), texts
            ).tolist()
            for name, stage in sets.items()
        }
        write_json(folder / "scores.json", found)

    inputs = {name: stage.digest for name, stage in sets.items()} | {"extractor": extractors.digests(config.eval)}
    slice_ = {"clip": config.eval.clip, **identity.resized(config)}
    stage = run.stage("train_scores", inputs, slice_, VERSION, build)
    return _welch(
        json.loads((stage.path / "scores.json").read_text(encoding="utf-8")), base.result, better.result, scores
    )


def _welch(on_train: dict[str, list[float]], base: "Result", tuned: "Result", scores: str) -> dict[str, float]:
    import numpy as np

    from t2i.evaluation.statistics.intervals import difference_of_means

    seen = np.array(on_train["tuned"]) - np.array(on_train["base"])
    unseen = tuned.per_sample[scores] - base.per_sample[scores]
    gap = difference_of_means(seen, unseen)
    return {
        "clip_score_train": float(np.mean(on_train["tuned"])),
        "clip_score_gain_train": float(seen.mean()),
        "clip_score_gain_held_out": float(unseen.mean()),
        "clip_score_gap": gap.value,
        "clip_score_gap.low": gap.low,
        "clip_score_gap.high": gap.high,
    }


def _section(
    run: Run,
    config: Config,
    pairs: "list[tuple[np.ndarray, np.ndarray, str]]",
    numbers: dict[str, float],
    metrics: dict[str, float],
) -> None:
    from t2i.reporting.figures import picture_pairs
    from t2i.reporting.numbers import number

    def shown(name: str) -> str:
        return number(numbers[name], numbers[f"{name}.low"], numbers[f"{name}.high"])

    rows: list[list[object]] = [
        ["distance to the nearest training picture: tuned", shown("distance_tuned")],
        ["the same, base", shown("distance_base")],
        ["the same, real held-out pictures", shown("distance_real")],
    ]
    if "clip_score_gap" in numbers:
        rows += [
            ["CLIP score gained on training captions", numbers["clip_score_gain_train"]],
            ["CLIP score gained on held-out captions", numbers["clip_score_gain_held_out"]],
            ["their gap", shown("clip_score_gap")],
        ]
    for label, key in (
        ("held-out loss minus that of training pictures", "train/loss_gap"),
        ("of that, added by the training", "train/loss_gap_change"),
    ):
        if key in metrics:
            rows.append([label, number(metrics[key], metrics[f"{key}.low"], metrics[f"{key}.high"])])
    figure = picture_pairs(
        pairs,
        run.figures() / "nearest_training.png",
        "The tuned model's pictures that are nearest to a training picture",
        f"Left: generated, right: the nearest training picture by {config.eval.extractor}; 0 is a copy.",
    )
    closer = numbers["distance_tuned.high"] < numbers["distance_real.low"]
    text = (
        "The tuned model's pictures are closer to the training set than real held-out pictures are: look at the pairs."
        if closer
        else "The tuned model's pictures are not clearly closer to the training set than real held-out pictures are."
    )
    table = {
        "columns": ["quantity", "value"],
        "rows": rows,
        "caption": "Distance: 1 minus the cosine of features. A gap above zero: training captions or pictures gained more, which "
        "is memory, not skill. Losses at the same fixed timesteps; 95 % intervals.",
    }
    run.section("Memorisation", text, [table], [(figure, "The smallest distances first.")])
    run.say(text)
