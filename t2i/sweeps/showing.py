"""What a dashboard tells of a sweep: what it is about, what its numbers hang on, and the pictures of its cells."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from t2i import identity
from t2i.config import Config
from t2i.context import Run
from t2i.errors import UserError
from t2i.stages.pictures import read_pictures
from t2i.stages.tuned import find_tuned
from t2i.store import damage
from t2i.sweeps.cells import Identities
from t2i.sweeps.measuring import PICTURES

ARTIFACTS = "sweeps_artifacts"
"""The folder of Optuna's file store, in the output folder: `optuna-dashboard --artifact-dir`."""
MOST = 20
"""Pictures of a cell that are shown."""


def title_of(config: Config) -> str:
    """`tiny with run_3 on scenes: scheduler x cfg.scale`; of a study that was given a name, that."""
    if config.sweeps.study is not None:
        return config.sweeps.study
    model = " and ".join(Path(name).name for name in config.weights_given)
    data = config.dataset.name + "".join(f":{domain}" for domain in config.dataset.domains[:1])
    about = f"{config.model.name}{f' with {model}' if model else ''} on {data}"
    return f"{about}: {' x '.join(key.lstrip('+') for key in config.sweeps.space)}"


def about(config: Config, run: Run, known: Identities) -> dict[str, str]:
    """Model, data and weights, each `name (digest)`; of what the cells differ in, the keys."""
    sweeps = config.sweeps
    trains = identity.trains({**sweeps.fixed, **sweeps.space})
    told = {"model": config.model.name, "data": config.dataset.name, "weights": _weights(config, trains)}
    varies = {name: [key for key in sweeps.space if identity.top(key).startswith(part)] for name, part in PARTS.items()}
    told |= {name: f"by {', '.join(keys)}" for name, keys in varies.items() if keys}
    try:
        facts = known.facts({})
    except UserError:  # a fixed setting may need the values of a cell
        return told
    tuned = None if trains or varies["weights"] else find_tuned(config, run)
    digests = {"model": facts["model"], "data": facts["data"], "weights": tuned.digest if tuned else None}
    return told | {name: f"{told[name]} ({own})" for name, own in digests.items() if own and not varies[name]}


PARTS = {"model": "model", "data": "dataset", "weights": "weights"}
"""What is told of a sweep, and how the keys begin that decide it."""


def _weights(config: Config, trains: bool) -> str:
    if trains:
        return "each cell trains its own"
    return ", ".join(config.weights_given) or "of the base model"


def grid(numbers: Mapping[str, Any], folder: Path) -> Optional[Path]:
    """The first pictures of a cell beside each other, as `pictures.png` in `folder`; None where they are on no disk here."""
    from t2i.reporting.figures import contact_sheet

    pictures = Path(numbers.get(PICTURES, "/nowhere"))
    if damage(pictures) != []:
        return None
    shown = min(MOST, int(numbers.get("images", MOST)))
    return contact_sheet({"": list(read_pictures(pictures, shown))}, folder / "pictures.png", f"{shown} pictures")
