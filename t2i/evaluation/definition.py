"""How a number came to be: two numbers may be compared when their definitions are equal."""

import hashlib
import importlib.metadata
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

LIBRARIES = ("numpy", "scipy", "pillow", "torch", "transformers")


@dataclass(frozen=True)
class Definition:
    """Everything besides the images themselves that decides the value of a metric."""

    extractor: str
    weights_sha256: str
    preprocessing: str
    image_format: str
    """Type and size of the generated images before preprocessing."""
    reference_format: str
    generated_count: int
    reference_count: int
    reference_sha256: str
    prompts_sha256: str
    """Of the captions in their order: sample i of two runs has the same one."""
    classes_sha256: str
    """Of class names, templates and the accepted classes of each sample."""
    covariance_ddof: int
    kid_kernel: str
    inception_score_splits: int
    interval: str
    versions: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


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


def image_format(images: np.ndarray) -> str:
    """`uint8 RGB 64x64` of an array (N, H, W, 3): height, then width."""
    return f"{images.dtype} RGB {images.shape[1]}x{images.shape[2]}"


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
