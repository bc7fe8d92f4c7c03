"""Values that no run could use are refused before anything is loaded."""

import pytest

from t2i.errors import ConfigError
from t2i.models.config import Init, Model


def test_random_weights_need_an_architecture() -> None:
    with pytest.raises(ConfigError, match="needs model.architecture"):
        Model(name="mine", init=Init.random).validate()


def test_resolution_is_a_multiple_of_8() -> None:
    with pytest.raises(ConfigError, match=r"model\.resolution=100 is not a multiple of 8"):
        Model(resolution=100).validate()
    Model(resolution=104).validate()
