"""The toy models, loaded once: sampling changes nothing in them."""

import pytest

from t2i.models.config import Model
from t2i.models.load import Models, load
from t2i.store import Store

from ..models import toy_sd3
from ..models.toy import loaded, store, toy

__all__ = ["loaded", "store", "toy"]


@pytest.fixture(scope="session")
def models(toy: Model, tmp_path_factory: pytest.TempPathFactory) -> Models:
    return load(toy, Store(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="session")
def flowing(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """One that was trained by flow matching."""
    folder = tmp_path_factory.mktemp("flowing")
    return load(toy_sd3.write(folder / "model"), Store(folder / "store"))
