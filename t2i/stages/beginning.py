"""The picture that a run draws from: what `image=`, `mask=` and `strength=` name."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from t2i import identity
from t2i.config import Config

if TYPE_CHECKING:
    from t2i.sampling.given import Beginning


def beginning_of(config: Config, height: Optional[int] = None) -> "Optional[Beginning]":
    """None where nothing is given. height: of what is drawn, in pixels, where it is no square.

    Raises UserError for files that cannot be used, ConfigError for a model that cannot begin from a picture.
    """
    if config.image is None:
        return None
    from t2i.models import source
    from t2i.sampling import given

    source.family(config.model).require_beginning(config.mask is not None)
    side = config.model.resolution
    found = given.read(*_files(config), identity.strength(config), (side, height or side))
    found.skipped(config.scheduler.steps)
    return found


def told_of(config: Config, beginning: "Optional[Beginning]") -> dict[str, Any]:
    """What recipes say of it."""
    from t2i.sampling import given

    return given.told(beginning, *_files(config)) if beginning is not None else {}


def _files(config: Config) -> tuple[Path, Optional[Path]]:
    image, mask = (Path(name).expanduser().absolute() if name else None for name in (config.image, config.mask))
    assert image is not None  # asked before
    return image, mask
