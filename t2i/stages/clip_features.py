"""What a CLIP knows about captioned pictures, before and after tuning: features as stages, numbers, tables."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from t2i.config import Config, compose
from t2i.context import Run, device_type
from t2i.errors import ConfigError
from t2i.models.clip_files import weights_digest
from t2i.stages.generated import prepared

if TYPE_CHECKING:
    import numpy as np

    from t2i.data.prepared import Split
    from t2i.evaluation.extractors.clip import ClipExtractor
    from t2i.evaluation.extractors.registry import Extractor
    from t2i.evaluation.metrics.contrast import Contrast, Features
    from t2i.evaluation.statistics.intervals import Interval

VERSION = 1
ALPHAS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Shares of the tuned weights in the sweep between base and tuned."""


@dataclass(frozen=True)
class Measured:
    """One CLIP on one set of held-out pictures."""

    features: "Features"
    contrast: "Contrast"
    classes: list[str]
    captions: list[str]
    """The distinct captions, in the order of the text features."""


def measure(config: Config, run: Run, folder: Path) -> Measured:
    """The CLIP in `folder` on the held-out pictures of the configured dataset; its features are kept in the store."""
    return _measured(config, run, {"clip": weights_digest(folder)}, lambda: _extractor(config, folder))


def blended(config: Config, run: Run, before: Path, after: Path, alpha: float) -> Measured:
    """As `measure`, for the weights between those in two folders; 0 is `before`, 1 `after`."""
    if alpha in (0.0, 1.0):
        return measure(config, run, after if alpha else before)
    inputs = {"clip": weights_digest(before), "tuned": weights_digest(after), "alpha": repr(alpha)}
    return _measured(config, run, inputs, lambda: _extractor(config, before).blended(_extractor(config, after), alpha))


def pictures(config: Config, run: Run) -> int:
    """How many held-out pictures are measured; ConfigError when they are too few."""
    there = len(prepared(config, run)[1].split("held_out"))
    count = there if config.clip.images is None else min(config.clip.images, there)
    if count < 2:
        raise ConfigError(
            f"{count} held-out pictures of dataset={config.dataset.name} are too few to measure a CLIP on; use more "
            "held-out pictures, such as dataset.held_out=100 or dataset.val=100, and clip.images=null"
        )
    return count


def other_data(config: Config) -> Config:
    """The configuration with the dataset that `clip.forgetting` names; ConfigError when it names something else."""
    overrides = list(config.clip.forgetting)
    if wrong := [text for text in overrides if not text.startswith(("dataset=", "dataset."))]:
        raise ConfigError(f"clip.forgetting holds {wrong[0]!r}: only a dataset, such as ['dataset=fashion_mnist']")
    return replace(config, dataset=compose(overrides).dataset)


def _extractor(config: Config, folder: Path) -> "ClipExtractor":
    from t2i.evaluation.extractors.clip import ClipExtractor

    return ClipExtractor(str(folder), folder.name, device_type(), exact=config.eval.exact)


def _measured(config: Config, run: Run, inputs: dict[str, str], extractor: Callable[[], "ClipExtractor"]) -> Measured:
    import numpy as np

    from t2i.evaluation.metrics.contrast import Features
    from t2i.evaluation.metrics.contrast import measure as contrast

    data_stage, data = prepared(config, run)
    held_out = data.split("held_out")
    count = pictures(config, run)
    chosen = range(count)
    captions = sorted({caption for i in chosen for caption in held_out.captions[i]})
    classes = sorted({name for split in (held_out, data.split("train")) for own in split.categories for name in own})

    def build(path: Path) -> None:
        found = extract(config, extractor(), held_out, count, captions, classes)
        np.savez(path / "features.npz", **found)  # type: ignore[arg-type]

    address = {"images": count, "prompts": list(config.eval.class_prompts), "device": device_type()}
    address |= {} if config.eval.exact else {"exact": False}
    stage = run.stage("clip_features", {**inputs, "data": data_stage.digest}, address, VERSION, build)
    with np.load(stage.path / "features.npz", allow_pickle=False) as arrays:
        found = {name: arrays[name] for name in arrays.files}
    row = {caption: number for number, caption in enumerate(captions)}
    said = [[row[caption] for caption in held_out.captions[i]] for i in chosen]
    place = {name: number for number, name in enumerate(classes)}
    accepted = [frozenset(place[name] for name in held_out.categories[i]) for i in chosen]
    labelled = bool(classes) and any(accepted)
    inputs_of = Features(
        found["images"], found["texts"], said, found["classes"] if labelled else None, accepted if labelled else None
    )
    return Measured(inputs_of, contrast(inputs_of, config.eval.seed, config.eval.replicates), classes, captions)


def extract(
    config: Config, extractor: "Extractor", held_out: "Split", count: int, captions: list[str], classes: list[str]
) -> dict[str, "np.ndarray"]:
    """Features of the first `count` pictures of a split, of captions, and of classes by `eval.class_prompts`."""
    import numpy as np

    from t2i.evaluation.extractors.registry import text_features
    from t2i.evaluation.metrics.zero_shot import class_features

    size = config.eval.batch_size
    side = config.dataset.resolution
    images = [
        extractor.images(held_out.squares(range(start, min(start + size, count)), side))
        for start in range(0, count, size)
    ]
    found = {"images": np.concatenate(images), "texts": text_features(extractor, captions, size)}
    if classes:
        found["classes"] = class_features(extractor.texts, classes, config.eval.class_prompts)
    return found


def compared(config: Config, states: dict[str, Measured]) -> dict[str, float]:
    """Every number of every state as `before/...` and `after/...`, and `difference/...` between those two."""
    from t2i.evaluation.metrics.contrast import differences

    metrics: dict[str, float] = {}

    def add(prefix: str, found: "dict[str, Interval]") -> None:
        for name, interval in found.items():
            metrics[f"{prefix}/{name}"] = interval.value
            metrics[f"{prefix}/{name}.low"], metrics[f"{prefix}/{name}.high"] = interval.low, interval.high

    for name, state in states.items():
        add(name.replace(" ", "_"), state.contrast.metrics)
    first = next(iter(states.values()))  # with fresh projections the CLIP as it came, not the one that knows nothing
    last = list(states.values())[-1]
    add("difference", differences(first.contrast, last.contrast))
    return metrics


def blends(
    config: Config, other: Optional[Config], run: Run, ends: dict[str, Path]
) -> "tuple[dict[str, np.ndarray], dict[str, float]]":
    """The headline number on the tuned set, and zero-shot accuracy on the other one, at each of `ALPHAS`.

    Gives curves, float (A, 3) of value, low and high in percent, and the same as flat numbers.
    """
    import numpy as np

    before, after = list(ends.values())[-2:]
    curves, numbers = {}, {}
    for key, where in (("here", config), ("elsewhere", other)):
        if where is None:
            continue
        found = [blended(where, run, before, after, alpha).contrast.metrics for alpha in ALPHAS]
        name = headline(found[0])
        values = np.array([[100 * getattr(one[name], end) for end in ("value", "low", "high")] for one in found])
        where_from = where.dataset.name if where is config else f"{where.dataset.name} (not tuned on)"
        curves[f"{where_from}: {spoken(name)}"] = values
        for alpha, row in zip(ALPHAS, values, strict=True):
            numbers[f"blend/{key}/{name}/{alpha:g}"] = float(row[0])
    return curves, numbers


def headline(found: "Mapping[str, Interval]") -> str:
    """The number that stands for a set: zero-shot accuracy where it has classes, otherwise recall of captions."""
    known = ("zero_shot_accuracy", "image_to_text_recall_1", "text_to_image_recall_1")
    return next(name for name in known if name in found)


def spoken(name: str) -> str:
    """A number's name for people: `image_to_text_recall_1` is `image to text, recall@1`."""
    return re.sub(r" recall (\d+)$", r", recall@\1", name.replace("_", " ")).replace("zero shot", "zero-shot")
