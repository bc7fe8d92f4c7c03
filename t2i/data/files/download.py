"""Data sets that are fetched instead of read from a folder of one's own; each failure is one sentence."""

from pathlib import Path
from typing import Any, Optional

from t2i.errors import UserError


def from_kaggle(handle: str) -> Path:
    """The folder that kagglehub keeps of the data set `owner/name`, downloaded unless it is there; raises UserError."""
    try:
        import kagglehub
    except ImportError as error:
        raise UserError(
            f"dataset.kaggle={handle} needs the package kagglehub, which is not installed: type "
            "`pip install kagglehub`, or type dataset.root=<folder> with the data unpacked."
        ) from error
    try:
        return Path(kagglehub.dataset_download(handle))
    except Exception as error:  # requests', kagglehub's own and the operating system's errors alike
        raise UserError(
            f"dataset.kaggle={handle} could not be downloaded ({_short(error)}): check the name and the network, or "
            "type dataset.root=<folder> with the data unpacked."
        ) from error


def from_hub(name: str, subset: Optional[str], revision: Optional[str]) -> dict[str, Any]:
    """The splits of a data set on the Hugging Face hub as `datasets` has them; raises UserError."""
    try:
        import datasets
    except ImportError as error:
        raise UserError(
            f"dataset.hub={name} needs the package datasets, which is not installed: type `pip install datasets`, or "
            "type dataset.root=<folder> with its Parquet files."
        ) from error
    try:
        return dict(datasets.load_dataset(name, subset, revision=revision))
    except Exception as error:  # the hub's, requests' and the builders' own errors alike
        raise UserError(
            f"dataset.hub={name} could not be loaded ({_short(error)}): check the name and the network, or type "
            "dataset.root=<folder> with its Parquet files."
        ) from error


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
