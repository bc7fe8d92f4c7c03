"""`clip_features`: what a CLIP makes of captioned pictures, before and after tuning, and what follows of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2i import identity
from t2i.config import Config, compose
from t2i.context import Run
from t2i.errors import ConfigError
from t2i.models.clip_files import weights_digest
from t2i.processes import device_type
from t2i.stages.clip import AFTER, BEFORE, Clip
from t2i.stages.prepared import Prepared, data_of
from t2i.stages.stage import Address, Stage, is_there, made

if TYPE_CHECKING:
    import numpy as np

    from t2i.data.prepared import Split
    from t2i.evaluation.extractors.clip import ClipExtractor
    from t2i.evaluation.extractors.registry import Extractor
    from t2i.evaluation.metrics.contrast import Contrast, Features


ALPHAS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Shares of the tuned weights between base and tuned."""


@dataclass(frozen=True)
class Measured:
    """One CLIP on one set of held-out pictures."""

    features: "Features"
    contrast: "Contrast"
    classes: list[str]
    captions: list[str]
    """The distinct captions, in the order of the text features."""


@dataclass(frozen=True, eq=False)
class ClipFeatures(Stage):
    """`features.npz`: `images`, `texts`, and `classes` of labelled data, on held-out pictures of the configured dataset."""

    name = "clip_features"
    resources = ("clip",)

    def needs(self) -> Sequence[Stage]:
        return [Prepared(self.config)]

    def inputs(self) -> dict[str, Stage]:
        return {"data": Prepared(self.config)}

    def hangs_on(self) -> Any:
        own = self.config.eval
        return [self.config.clip.images, list(own.class_prompts), own.exact, device_type(), self.source()]

    def source(self) -> Any:
        """All of the configuration that the weights hang on, beside `needs`."""
        raise NotImplementedError

    def weights(self, run: Run) -> dict[str, str]:
        """What identifies them."""
        raise NotImplementedError

    def extractor(self, run: Run) -> "ClipExtractor":
        """The loaded CLIP."""
        raise NotImplementedError

    def address(self, run: Run) -> Address:
        own = self.config.eval
        slice_ = {"images": pictures(self.config, run), "prompts": list(own.class_prompts), "device": device_type()}
        return Address(self.weights(run), slice_ | identity.inexact(self.config))

    def build(self, run: Run, folder: Path) -> None:
        import numpy as np

        held_out = data_of(self.config, run).split("held_out")
        found = extract(
            self.config,
            self.extractor(run),
            held_out,
            pictures(self.config, run),
            self._captions(run),
            self._classes(run),
        )
        np.savez(folder / "features.npz", **found)  # type: ignore[arg-type]

    def _captions(self, run: Run) -> list[str]:
        held_out = data_of(self.config, run).split("held_out")
        return sorted({text for i in range(pictures(self.config, run)) for text in held_out.captions[i]})

    def _classes(self, run: Run) -> list[str]:
        data = data_of(self.config, run)
        splits = (data.split(name) for name in ("held_out", "train"))
        return sorted({name for split in splits for own in split.categories for name in own})

    def read(self, run: Run) -> Measured:
        """The features, made unless the store has them, and the numbers of them."""
        import numpy as np

        from t2i.evaluation.metrics.contrast import Features
        from t2i.evaluation.metrics.contrast import measure as contrast

        with np.load(made(self, run).path / "features.npz", allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
        held_out, chosen = data_of(self.config, run).split("held_out"), range(pictures(self.config, run))
        captions, classes = self._captions(run), self._classes(run)
        row = {caption: number for number, caption in enumerate(captions)}
        said = [[row[caption] for caption in held_out.captions[i]] for i in chosen]
        place = {name: number for number, name in enumerate(classes)}
        accepted = [frozenset(place[name] for name in held_out.categories[i]) for i in chosen]
        labelled = bool(classes) and any(accepted)
        features = Features(
            found["images"],
            found["texts"],
            said,
            found["classes"] if labelled else None,
            accepted if labelled else None,
        )
        numbers = contrast(features, self.config.eval.seed, self.config.eval.replicates)
        return Measured(features, numbers, classes, captions)


@dataclass(frozen=True, eq=False)
class OfFolder(ClipFeatures):
    """Of a CLIP that is there."""

    folder: Path

    def source(self) -> Any:
        return str(self.folder)

    def weights(self, run: Run) -> dict[str, str]:
        return {"clip": weights_digest(self.folder)}

    def extractor(self, run: Run) -> "ClipExtractor":
        return _extractor(self.config, self.folder)


@dataclass(frozen=True, eq=False)
class OfEvaluator(ClipFeatures):
    """Of the CLIP that `eval.clip` names, where there are pictures to pair."""

    resources = ("eval",)

    def wanted(self, run: Run) -> bool:
        return not is_there(Prepared(self.config), run) or len(data_of(self.config, run).split("held_out")) > 1

    def source(self) -> Any:
        return self.config.eval.clip

    def _folder(self) -> Path:
        from t2i.evaluation.extractors import registry as extractors
        from t2i.models.clip_files import locate

        return locate(extractors.source(self.config.eval)[1])

    def weights(self, run: Run) -> dict[str, str]:
        return {"clip": weights_digest(self._folder())}

    def extractor(self, run: Run) -> "ClipExtractor":
        return _extractor(self.config, self._folder())


@dataclass(frozen=True, eq=False)
class OfState(ClipFeatures):
    """Of a tuned CLIP in one of its states."""

    clip: Clip
    state: str

    def needs(self) -> Sequence[Stage]:
        return [self.clip, Prepared(self.config)]

    def source(self) -> Any:
        return self.state

    def weights(self, run: Run) -> dict[str, str]:
        return {"clip": weights_digest(self.clip.folder(run, self.state))}

    def extractor(self, run: Run) -> "ClipExtractor":
        return _extractor(self.config, self.clip.folder(run, self.state))


@dataclass(frozen=True, eq=False)
class OfBlend(ClipFeatures):
    """Of the weights between `before` (0) and `after` (1)."""

    clip: Clip
    alpha: float

    def needs(self) -> Sequence[Stage]:
        return [self.clip, Prepared(self.config)]

    def source(self) -> Any:
        return self.alpha

    def weights(self, run: Run) -> dict[str, str]:
        before, after = (weights_digest(self.clip.folder(run, state)) for state in (BEFORE, AFTER))
        return {"clip": before, "tuned": after, "alpha": repr(self.alpha)}

    def extractor(self, run: Run) -> "ClipExtractor":
        before, after = (_extractor(self.config, self.clip.folder(run, state)) for state in (BEFORE, AFTER))
        return before.blended(after, self.alpha)


def blend(config: Config, clip: Clip, alpha: float) -> ClipFeatures:
    """Of the weights at a share of the tuned ones; 0 is `before`, 1 `after`."""
    if alpha in (0.0, 1.0):
        return OfState(config, clip, AFTER if alpha else BEFORE)
    return OfBlend(config, clip, alpha)


def other_data(config: Config) -> Config:
    """The configuration with the dataset that `clip.forgetting` names; ConfigError when it names something else."""
    overrides = list(config.clip.forgetting)
    if wrong := [text for text in overrides if not text.startswith(("dataset=", "dataset."))]:
        raise ConfigError(f"clip.forgetting holds {wrong[0]!r}: only a dataset, such as ['dataset=fashion_mnist']")
    return replace(config, dataset=compose(overrides).dataset)


def pictures(config: Config, run: Run) -> int:
    """How many held-out pictures are measured; ConfigError when they are too few."""
    there = len(data_of(config, run).split("held_out"))
    count = there if config.clip.images is None else min(config.clip.images, there)
    if count < 2:
        raise ConfigError(
            f"{count} held-out pictures of dataset={config.dataset.name} are too few to measure a CLIP on; use more "
            "held-out pictures, such as dataset.held_out=100 or dataset.val=100, and clip.images=null"
        )
    return count


def _extractor(config: Config, folder: Path) -> "ClipExtractor":
    from t2i.evaluation.extractors.clip import ClipExtractor

    return ClipExtractor(str(folder), folder.name, device_type(), exact=config.eval.exact)


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
