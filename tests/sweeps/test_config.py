"""Every search space file can be searched, and one that cannot be is refused."""

import pytest

from t2i.config import PROJECT, compose
from t2i.errors import ConfigError
from t2i.sweeps.config import Sweep
from t2i.sweeps.driver import cells


@pytest.mark.parametrize("name", sorted(path.stem for path in (PROJECT / "sweeps").glob("*.yaml")))
def test_space_files_are_valid(name: str) -> None:
    config = compose([f"sweeps={name}"]).sweeps
    config.validate()
    assert config.name == name and len(cells(config.space)) > 1


def test_scheduler_cfg_is_three_schedulers_by_three_scales() -> None:
    space = compose(["sweeps=scheduler_cfg"]).sweeps.space
    assert space == {"scheduler": ["ddim", "pndm", "euler"], "cfg.scale": [5.0, 7.5, 10.0]}


@pytest.mark.parametrize("values", [5.0, [], "ddim"])
def test_a_space_without_lists_is_refused(values: object) -> None:
    with pytest.raises(ConfigError, match=r"sweeps\.space\.cfg\.scale is .* not a list"):
        Sweep(space={"cfg.scale": values}).validate()
    with pytest.raises(ConfigError, match=r"sweeps\.space is empty"):
        Sweep().validate()
