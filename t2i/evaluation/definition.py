"""How a number came to be: two numbers may be compared when their definitions are equal."""

import hashlib
import importlib.metadata
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from t2i.evaluation.config import Evaluation
from t2i.evaluation.extractors import resize
from t2i.evaluation.extractors.judges import Judge
from t2i.evaluation.extractors.precision import Precision
from t2i.evaluation.extractors.registry import Extractor, ImageExtractor
from t2i.evaluation.gather import Facts, Samples, image_format
from t2i.evaluation.metrics.prdc import K
from t2i.evaluation.statistics.gaussian import DDOF
from t2i.evaluation.statistics.intervals import LEVEL

LIBRARIES = ("numpy", "scipy", "pillow", "torch", "transformers", "diffusers")

FORMULAS = 2
"""Raised when a metric gives another number for the same features: numbers of two versions are not compared.
2: unbiased CMMD, open balls for density and coverage, MIFID of copies, intervals from contributions."""


@dataclass(frozen=True)
class Definition:
    """Everything besides the images themselves that decides the value of a metric."""

    extractor: str
    weights_sha256: str
    precision: str
    """In which numbers the networks compute features, and on which kind of device: `float64 on cpu`."""
    resize: str
    """Policy that brings images to the extractor's size (`t2i/evaluation/extractors/resize.py`)."""
    antialias: bool
    crop: str
    clip: str
    """Network of the metrics that need texts."""
    clip_sha256: str
    image_format: str
    """Type and size of the generated images before they are resized."""
    reference_format: str
    generated_count: int
    reference_count: int
    reference_sha256: str
    prompts_sha256: str
    """Of the captions in their order: sample i of two runs has the same one."""
    classes_sha256: str
    """Of class names, templates and the accepted classes of each sample."""
    train_sha256: str
    """Of the features of the training images; `none` where no metric reads them."""
    covariance_ddof: int
    kid_kernel: str
    inception_score_splits: int
    neighbours: int
    """k of precision, recall, density and coverage."""
    balls: str
    formulas: int
    """Version of the formulas."""
    interval: str
    generation: dict[str, Any]
    """How the images came to be: scheduler, steps, guidance, seed ..."""
    versions: dict[str, str]
    judges: dict[str, dict[str, str]] = field(default_factory=dict)
    """By metric, of those that have a judge of their own: network, sha256 of weights and tokenizer, resizing, formula."""
    numbers: dict[str, Any] = field(default_factory=dict)
    """Of each metric that is of other things than these images, by its name: what defines it besides. Two results in which one
    differs are compared by their other metrics."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


NUMBERS = "numbers"
"""The field of a definition that is of single metrics."""


def define(
    config: Evaluation,
    samples: Samples,
    extractor: ImageExtractor,
    clip: Extractor,
    train: np.ndarray | None = None,
    judges: Mapping[str, Judge] = MappingProxyType({}),
) -> Definition:
    """The definition of what `evaluate` finds on `samples`; `train`: features of the training images."""
    reference = samples.reference_facts
    if reference is None and samples.reference is not None:
        reference = Facts.of(samples.reference)
    right = [" | ".join(sorted(names)) for names in samples.accepted or []]
    policy = resize.policy(extractor.preprocessing)
    return Definition(
        extractor=extractor.name,
        weights_sha256=extractor.digest,
        precision=Precision(extractor.device, config.exact).told,
        resize=extractor.preprocessing,
        antialias=policy.antialias,
        crop=policy.crop,
        clip=clip.name,
        clip_sha256=clip.digest,
        image_format=image_format(samples.generated),
        reference_format="none" if reference is None else reference.format,
        generated_count=len(samples.generated),
        reference_count=0 if reference is None else reference.count,
        reference_sha256="none" if reference is None else reference.sha256,
        prompts_sha256="none" if samples.captions is None else text_digest(samples.captions),
        classes_sha256=text_digest([*(samples.classes or []), "", *config.class_prompts, "", *right]),
        train_sha256="none" if train is None else array_digest(train),
        covariance_ddof=DDOF,
        kid_kernel="(x.y/D + 1)^3, unbiased, all pairs",
        inception_score_splits=1,
        neighbours=K,
        balls="closed for precision and recall, open for density and coverage",
        formulas=FORMULAS,
        interval=f"{LEVEL:.0%}, from contributions; seed {config.seed}",
        generation=dict(samples.generation),
        versions=versions(),
        judges={name: own.definition for name, own in judges.items()},
        numbers={name: dict(own) for name, own in samples.own.items()},
    )


def versions() -> dict[str, str]:
    """Installed versions of the libraries that compute the numbers."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


def array_digest(array: np.ndarray) -> str:
    """sha256 of shape, type and content."""
    digest = hashlib.sha256(f"{array.shape} {array.dtype}".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def text_digest(texts: Iterable[str]) -> str:
    """sha256 of texts in their order, each preceded by its length so that no two lists collide."""
    digest = hashlib.sha256()
    for text in texts:
        encoded = text.encode()
        digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Names of the fields in which two definitions differ, nested ones with dots (`versions.torch`), sorted."""
    first, second = _flat(a), _flat(b)
    absent = object()
    return sorted(key for key in first.keys() | second.keys() if first.get(key, absent) != second.get(key, absent))


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
