"""The toy model, loaded once: sampling changes nothing in it."""

import pytest

from t2i.models.config import Model
from t2i.models.load import Models, load
from t2i.store import Store

from ..models.toy import loaded, store, toy

__all__ = ["loaded", "store", "toy"]


@pytest.fixture(scope="session")
def models(toy: Model, tmp_path_factory: pytest.TempPathFactory) -> Models:
    return load(toy, Store(tmp_path_factory.mktemp("store")))
