"""From images and captions to the features that metrics compute from: all of the networks' work, and nothing else."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from t2i.data.pictures import Pictures
from t2i.evaluation import checks
from t2i.evaluation.config import Evaluation
from t2i.evaluation.extractors import registry as extractors
from t2i.evaluation.extractors.judges import QUESTION, Judge, shared_answers
from t2i.evaluation.extractors.registry import Extractor, ImageExtractor
from t2i.evaluation.metrics.measurement import Features, Inputs, Suited
from t2i.evaluation.metrics.registry import METRICS
from t2i.evaluation.metrics.subject import Subjects
from t2i.evaluation.metrics.zero_shot import class_features
from t2i.evaluation.statistics.gaussian import Gaussian
from t2i.evaluation.statistics.terms import Units


@dataclass(frozen=True)
class Facts:
    """What a definition says of a set of images."""

    count: int
    format: str
    """Type and size, `uint8 RGB 64x64`."""
    sha256: str
    """Of shape, type and content."""

    @classmethod
    def of(cls, images: np.ndarray | Pictures) -> "Facts":
        """Of images uint8 (N, H, W, 3), of which 256 are read at a time."""
        if isinstance(images, Pictures) and images.sizes is not None:
            digest = hashlib.sha256(np.ascontiguousarray(images.sizes).data)
            for row in range(len(images)):
                digest.update(np.ascontiguousarray(images[row : row + 1]).data)
        else:
            digest = hashlib.sha256(f"{tuple(images.shape)} {images.dtype}".encode())
            for start in range(0, len(images), 256):
                digest.update(np.ascontiguousarray(images[start : start + 256]).data)
        return cls(len(images), image_format(images), digest.hexdigest())


def image_format(images: np.ndarray | Pictures) -> str:
    """`uint8 RGB 64x64` of an array (N, H, W, 3): height, then width; `uint8 RGB, mixed sizes` where they differ."""
    if isinstance(images, Pictures) and images.sizes is not None:
        return f"{images.dtype} RGB, mixed sizes"
    return f"{images.dtype} RGB {images.shape[1]}x{images.shape[2]}"


@dataclass(frozen=True)
class Samples:
    """What is evaluated. Without one of the optional parts, the metrics that need it are left out and named."""

    generated: np.ndarray | Pictures
    """uint8 (N, H, W, 3), image i made from captions[i]."""
    captions: list[str] | None
    """None where nobody knows them."""
    accepted: Sequence[Collection[str]] | None = None
    """For each image the class names that are right."""
    reference: np.ndarray | Pictures | None = None
    """uint8 (M, H, W, 3): real images, or a generated set that stands for them."""
    classes: list[str] | None = None
    reference_features: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Those of the reference that are known already, float32 (M, D) by the name of the network."""
    reference_moments: Gaussian | None = None
    """Of `eval.extractor`, where nothing else is known of a reference."""
    reference_facts: Facts | None = None
    """What is known of a reference whose images need not be here."""
    train_features: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Of the images that the model was trained on, float32 (T, D) by the name of the network, for `memorisation`."""
    other_captions: Sequence[Sequence[str]] | None = None
    """For each caption the others of the same picture."""
    units: Units = field(default_factory=Units)
    """Which images belong together because they are of one picture."""
    generation: Mapping[str, Any] = field(default_factory=dict)
    """How the images came to be (scheduler, steps, guidance, seed ...): goes into the definition."""
    held_out_losses: np.ndarray | None = None
    """Of the model that made the images: float64 (P, T), each held-out picture at each of the times."""
    suites: Mapping[str, Suited] = field(default_factory=dict)
    """What a judge read of the same model's pictures of a prompt suite, by the metric that tells of it."""
    subjects: Mapping[str, Subjects] = field(default_factory=dict)
    """Of the same model's pictures of a subject, by the name of the network."""
    own: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What defines the numbers of a metric that are of other things than these images, by the metric's name."""
    lacking: Mapping[str, str] = field(default_factory=dict)
    """Why a metric cannot be measured, where that is known already, by its name."""


def gather(
    config: Evaluation,
    samples: Samples,
    extractor: ImageExtractor,
    clip: Extractor,
    judges: Mapping[str, Judge] = MappingProxyType({}),
) -> dict[str, Inputs]:
    """What each metric of `config` computes from, by the metric's name; equal ones share their features. `judges`: those of
    the metrics that have one of their own, by name; each is loaded, asked and let go before the next.

    A metric that is defined for another network than `extractor` (and `clip`) is missing. With several processes all
    call this, and share the images. Raises UserError for mismatched lengths, unknown class names and non-finite features.
    """
    if samples.captions is not None:
        checks.same_length("generated images", samples.generated, "captions", samples.captions)
    wanted = {METRICS[name].features for name in config.metrics} - {Features.MODEL, Features.SUITE, Features.JUDGE}
    made: dict[Features, Inputs] = {}
    if extractor is not clip and wanted - {Features.CLIP}:
        made[Features.ANY] = _of_images(config, samples, extractor)
    if wanted and (extractor is clip or Features.CLIP in wanted):
        rest = samples if extractor is clip else replace(samples, train_features={}, reference_moments=None)
        made[Features.CLIP] = _of_texts_too(config, rest, clip)
        made.setdefault(Features.ANY, made[Features.CLIP])
    if extractor.kind == Features.DINOV2.value and Features.ANY in made:
        made[Features.DINOV2] = made[Features.ANY]
    nothing = np.empty((len(samples.generated), 0), np.float32)
    bare = Inputs(nothing, config.seed, held_out_losses=samples.held_out_losses)
    made[Features.MODEL] = bare
    found = {name: made[METRICS[name].features] for name in config.metrics if METRICS[name].features in made}
    suites = [name for name in config.metrics if METRICS[name].features is Features.SUITE]
    found |= {name: replace(bare, suite=samples.suites.get(name)) for name in suites}
    return found | {name: _judged(config, samples, judge) for name, judge in judges.items()}


def _judged(config: Evaluation, samples: Samples, judge: Judge) -> Inputs:
    """Features of a CLIP that was taught preferences, or a vision-language model's answers; without captions none is loaded."""
    plain = replace(samples, reference=None, reference_features={}, reference_moments=None, train_features={})
    plain = replace(plain, classes=None, accepted=None, other_captions=None)
    if samples.captions is None:
        return Inputs(np.empty((len(samples.generated), 0)), config.seed, units=samples.units)
    network = judge.load()
    if network.kind == "clip":
        return _of_texts_too(config, plain, network)
    questions = [QUESTION.format(caption) for caption in samples.captions]
    answers = shared_answers(network, samples.generated, questions, config.batch_size)
    return Inputs(answers, config.seed, units=samples.units, answers=answers)


def _of_images(config: Evaluation, samples: Samples, extractor: ImageExtractor) -> Inputs:
    def features(name: str, images: np.ndarray | Pictures) -> np.ndarray:
        return extractors.shared_image_features(extractor, name, images, config.batch_size)

    generated = features("generated", samples.generated)
    reference = samples.reference_features.get(extractor.name)
    if reference is None and samples.reference is not None:
        reference = features("reference", samples.reference)
    return Inputs(
        generated=generated,
        seed=config.seed,
        reference=reference,
        logits=extractor.logits(generated),
        train=samples.train_features.get(extractor.name),
        units=samples.units,
        moments=samples.reference_moments,
        subject=samples.subjects.get(extractor.name),
    )


def _of_texts_too(config: Evaluation, samples: Samples, clip: Extractor) -> Inputs:
    images = _of_images(config, samples, clip)
    accepted = None
    if samples.classes is not None and samples.accepted is not None:
        checks.same_length("generated images", samples.generated, "sets of accepted classes", samples.accepted)
        accepted = checks.class_indices(samples.accepted, samples.classes)
    classes = None if samples.classes is None else class_features(clip.texts, samples.classes, config.class_prompts)
    return replace(
        images,
        texts=None if samples.captions is None else extractors.text_features(clip, samples.captions, config.batch_size),
        classes=classes,
        accepted=accepted,
        logit_scale=clip.logit_scale,
        other_texts=_others(config, samples, clip),
    )


def _others(config: Evaluation, samples: Samples, clip: Extractor) -> list[np.ndarray] | None:
    """None unless some picture has another caption."""
    groups = samples.other_captions
    if groups is None or samples.captions is None or not any(map(len, groups)):
        return None
    checks.same_length("captions", samples.captions, "sets of other captions", groups)
    vectors = extractors.text_features(clip, [text for group in groups for text in group], config.batch_size)
    return np.split(vectors, np.cumsum([len(group) for group in groups])[:-1])
