"""What may come in from outside, checked once at the border: afterwards the metrics only compute."""

from collections.abc import Collection, Sequence, Sized
from typing import TypeVar

import numpy as np

from t2i.data.pictures import Pictures
from t2i.errors import UserError

Images = TypeVar("Images", bound=np.ndarray | Pictures)


def features(name: str, array: np.ndarray, least: int = 2, exact: bool = True) -> np.ndarray:
    """`array` as float64 (N, D), without `exact` float32 as it is; UserError unless it is a finite matrix of at least `least`
    rows and one column.
    """
    if array.ndim != 2 or array.shape[1] < 1:
        raise UserError(f"the {name} features have shape {array.shape}; expected one row per sample: (N, D)")
    enough(name, len(array), least)
    finite = np.isfinite(array)
    if not finite.all():
        row = int(np.flatnonzero(~finite.all(axis=1))[0])
        raise UserError(
            f"the {name} features hold {int((~finite).sum())} non-finite value(s), the first in row {row}: "
            "expected finite numbers; check that image and the extractor's weights"
        )
    if array.dtype == np.float32:
        return np.asarray(array, dtype=np.float64) if exact else array
    values = np.asarray(array, dtype=np.float64)
    if values.size and max(float(values.max()), -float(values.min())) > float(np.finfo(np.float32).max):
        row = int(np.abs(values).max(axis=1).argmax())
        raise UserError(
            f"the {name} features hold {np.abs(values[row]).max():.3g} in row {row}, which float32 cannot: expected what a "
            "network gives; check that image and the extractor's weights"
        )
    return values


def enough(name: str, count: int, least: int = 2) -> None:
    """UserError when a set holds fewer than `least` samples."""
    if count < least:
        raise UserError(f"the {name} set holds {count} sample(s); this metric needs at least {least}: add images")


def feature_pair(
    generated: np.ndarray, reference: np.ndarray, least: int = 2, exact: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Both sets, as `features` has them; UserError also when their widths differ."""
    first, second = features("generated", generated, least, exact), features("reference", reference, least, exact)
    same_width("generated", first, "reference", second)
    return first, second


def same_width(first_name: str, first: np.ndarray, second_name: str, second: np.ndarray) -> None:
    """UserError when two feature matrices do not have the same number of columns."""
    if first.shape[1] != second.shape[1]:
        raise UserError(
            f"the {first_name} features are {first.shape[1]} wide and the {second_name} features {second.shape[1]}: "
            "expected one width; compute both with the same extractor"
        )


def same_length(first_name: str, first: Sized, second_name: str, second: Sized) -> None:
    """UserError when two paired sequences differ in length."""
    if len(first) != len(second):
        raise UserError(
            f"found {len(first)} {first_name} and {len(second)} {second_name}: expected one of each per sample"
        )


def images(name: str, array: Images) -> Images:
    """`array` itself; UserError unless it is uint8 (N, H, W, 3) with at least one image."""
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[-1] != 3 or 0 in array.shape:
        raise UserError(
            f"the {name} images have shape {array.shape} and type {array.dtype}; "
            "expected uint8 (N, H, W, 3): round and clamp to 0..255 first"
        )
    return array


def probabilities(array: np.ndarray) -> np.ndarray:
    """`array` as float64 (N, K); UserError unless each row is a distribution (sum within 1e-4 of 1, none negative)."""
    checked = features("class probability", array, least=1)
    if (checked < 0).any() or not np.allclose(checked.sum(axis=1), 1.0, rtol=0, atol=1e-4):
        raise UserError("the class probabilities do not sum to 1 in each row: expected the output of a softmax")
    return checked


def shares(name: str, array: np.ndarray) -> np.ndarray:
    """`array` itself; UserError unless it is a vector of numbers in [0, 1]."""
    if array.ndim != 1 or not ((array >= 0) & (array <= 1)).all():
        raise UserError(f"the {name} are {array.tolist()}; expected a list of numbers from 0 to 1")
    return array


def class_indices(accepted: Sequence[Collection[str]], classes: Sequence[str]) -> list[frozenset[int]]:
    """For each sample, the positions in `classes` of its accepted names; UserError names one that is not a class."""
    position = {name: index for index, name in enumerate(classes)}
    unknown = sorted({name for names in accepted for name in names} - position.keys())
    if unknown:
        raise UserError(f"accepted class {unknown[0]!r} is not among the {len(classes)} classes: {', '.join(classes)}")
    return [frozenset(position[name] for name in names) for names in accepted]
