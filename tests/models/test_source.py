"""Where a model's files are, and that its digest follows their bytes."""

import shutil
from pathlib import Path

import pytest

from t2i.errors import ConfigError
from t2i.models import source
from t2i.models.config import Init, Model
from t2i.store import Store


def test_digest_follows_the_bytes_and_not_the_place(toy: Model, store: Store, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(toy.source, copy)
    same = Model(name="elsewhere", source=str(copy))
    assert source.digest(toy, store) == source.digest(same, store)
    config = copy / "unet" / "config.json"
    config.write_text(config.read_text() + " ")
    assert source.digest(toy, store) != source.digest(same, store)


def test_random_weights_are_identified_by_architecture_and_seed(store: Store) -> None:
    model = Model(name="sd15", init=Init.random, architecture="sd1")
    assert source.digest(model, store) == source.digest(model, store, 0) != source.digest(model, store, 1)


def test_a_folder_that_is_no_pipeline_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no model_index\.json"):
        source.locate(Model(source=str(tmp_path)))
    with pytest.raises(ConfigError, match="does not exist"):
        source.locate(Model(source=str(tmp_path / "nowhere")))


def test_an_unknown_architecture_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"model\.architecture=sd9 is unknown; use one of: .*sd1"):
        source.architecture(Model(architecture="sd9"))
