"""What can be checked of a data set's configuration without reading data."""

from pathlib import Path
from typing import TYPE_CHECKING

from t2i.errors import ConfigError

if TYPE_CHECKING:
    from t2i.data.base import Dataset


def check(dataset: "Dataset") -> None:
    """Raises ConfigError that names the key of a value that no preparation could use."""
    if dataset.resolution % 8 or not 64 <= dataset.resolution <= 1024:
        raise ConfigError(
            f"dataset.resolution={dataset.resolution} is not a multiple of 8 from 64 to 1024, such as 64 or 256."
        )
    if dataset.near_bits is not None and not 0 <= dataset.near_bits <= 32:
        raise ConfigError(
            f"dataset.near_bits={dataset.near_bits} is not a number of bits from 0 to 32: type dataset.near_bits=12, or "
            "null to compare nothing."
        )
    if dataset.near_bits is None and dataset.near_duplicates.value != "keep":
        raise ConfigError(
            f"dataset.near_duplicates={dataset.near_duplicates.value} needs images to be compared: type "
            "dataset.near_bits=12."
        )
    if dataset.background != "auto" and not colour(dataset.background):
        raise ConfigError(
            f"dataset.background={dataset.background} is no colour: type auto, white, black, grey or a value such as "
            "'dataset.background=\"#808080\"'."
        )
    if not 0 <= dataset.quarantine <= 1:
        raise ConfigError(
            f"dataset.quarantine={dataset.quarantine} is not a share from 0 to 1: type dataset.quarantine=0.01."
        )
    if not 0 < dataset.fraction <= 1:
        raise ConfigError(
            f"dataset.fraction={dataset.fraction} is not a share above 0 and at most 1: type dataset.fraction=0.05."
        )
    if dataset.limit is not None and dataset.limit < 1:
        raise ConfigError(
            f"dataset.limit={dataset.limit} leaves nothing to train on: type a number from 1, or null for all."
        )
    if dataset.held_out is not None and dataset.held_out < 0:
        raise ConfigError(f"dataset.held_out={dataset.held_out} is negative: type a number from 0, or null for all.")
    for key in ("caption", *(["subset"] if dataset.subset is not None else [])):
        if getattr(dataset, key) and not getattr(dataset, key).strip():
            raise ConfigError(f"dataset.{key} is blank: give it a value, or leave it out.")
    if not all(text.strip() for text in dataset.regularisation):
        raise ConfigError("dataset.regularisation holds a blank caption: give it words, or leave it out.")
    for folder in dataset.links:
        if not Path(folder).expanduser().is_dir():
            raise ConfigError(f"dataset.links names {folder}, which is no folder: type dataset.links=[<folder>].")
    if dataset.subset is not None and not Path(dataset.subset).expanduser().is_file():
        raise ConfigError(
            f"dataset.subset={dataset.subset} is no file: type the captions_subset.json of a prepared set or a run."
        )


def colour(name: str) -> tuple[int, int, int] | None:
    """Red, green and blue (0 to 255) of a colour as CSS names it; None for what is none."""
    from PIL import ImageColor

    try:
        red, green, blue, *_ = ImageColor.getrgb(name)
    except ValueError:
        return None
    return red, green, blue
