"""Did the tuned model learn the subject or its training set? Nearest training pictures, and held-out minus train."""

from typing import TYPE_CHECKING

from t2i.config import Config
from t2i.context import Run
from t2i.stages.metrics import Metrics
from t2i.stages.nearest import Nearest
from t2i.stages.prepared import data_of, training_split
from t2i.stages.train_scores import TrainScores

if TYPE_CHECKING:
    import numpy as np

    from t2i.evaluation.evaluate import Result

SHOWN = 9


def memorisation(
    config: Config, run: Run, base: Metrics, tuned: Metrics, metrics: dict[str, float]
) -> dict[str, float]:
    """The nearest training picture of each generated one, as pairs, and how much better the training captions do.

    metrics: the run's numbers, of which the losses on held-out and training pictures are told again. Returns
    `distance_tuned` (mean cosine distance of its pictures to the nearest training picture), `distance_base`,
    `distance_real` (held-out pictures), and `clip_score_gap`, each with its 95 % interval.
    """
    found, means = Nearest(config, base, tuned).read(run)
    numbers: dict[str, float] = {}
    for name, (value, low, high) in means.items():
        numbers |= {f"distance_{name}": value, f"distance_{name}.low": low, f"distance_{name}.high": high}
    numbers |= _gap(config, run, base, tuned)
    if run.main:
        better = tuned.read(run)
        train, side = training_split(config, data_of(config, run)), config.dataset.resolution
        order = sorted(range(len(found)), key=lambda i: found[i][1])[:SHOWN]
        pairs = [
            (picture, train.squares([found[i][0]], side)[0], f"{found[i][1]:.3f}: {better.captions[i]}")
            for i, picture in zip(order, better.picked(order), strict=True)
        ]
        _section(run, config, pairs, numbers, metrics)
    return numbers


def _gap(config: Config, run: Run, base: Metrics, tuned: Metrics) -> dict[str, float]:
    """By how much more tuning raised the CLIP score of training captions than that of held-out ones, with Welch's 95 %
    interval (Welch 1947, Biometrika 34); each caption's gain is tuned minus base from one seed. Empty without scores.
    """
    stage = TrainScores(config, tuned.weights)
    if not stage.wanted(run):
        return {}
    before, after = base.read(run).result, tuned.read(run).result
    return _welch(stage.read(run), before, after, f"clip_score[{after.definition['clip']}]")


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
    run.detail(text)
