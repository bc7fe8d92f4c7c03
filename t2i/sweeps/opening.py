"""Opening the study of a sweep: its database, its name, and what its cells are known by."""

import os
import socket
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from t2i.config import Config
from t2i.context import Run
from t2i.sweeps import workers
from t2i.sweeps.cells import Identities, study_name
from t2i.sweeps.showing import ARTIFACTS, about, grid, title_of

if TYPE_CHECKING:
    from t2i.sweeps.study import Study


def study_of(config: Config, run: Run) -> "Study":
    """The study of this sweep, opened or created."""
    import optuna

    from t2i.sweeps.storage import open_storage
    from t2i.sweeps.study import Shown, Study

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = config.sweeps.storage or f"sqlite:///{Path(config.outputs) / 'sweeps.db'}"
    seed = config.seed + int(os.environ.get(workers.NUMBER, "0"))
    if not storage.startswith("sqlite"):  # machines that share a study shall not suggest the same cells
        seed += zlib.crc32(socket.gethostname().encode())
    known = Identities(config, run)
    name = config.sweeps.study or study_name(config, run, known)
    shown = Shown(title_of(config), about(config, run, known), Path(config.outputs) / ARTIFACTS, grid)
    return Study(config.sweeps, open_storage(storage, config.sweeps.heartbeat), name, seed, known, shown)
