"""What generated pictures are held against: held-out pictures, or the pictures of another run; their features are kept."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from t2i.config import Config
from t2i.context import Run
from t2i.errors import ConfigError
from t2i.evaluation.config import HELD_OUT
from t2i.store import Stage
from t2i.tasks.shared import read_pictures

if TYPE_CHECKING:
    import numpy as np

    from t2i.data.prepared import Prepared
    from t2i.evaluation.extractors import Extractor, ImageExtractor

VERSION = 1
FILE = "reference.npz"


@dataclass(frozen=True)
class Reference:
    """A reference set: where its features lie, and its pictures."""

    stage: Stage
    """`reference.npz`: of each network `<name>.features` float32 (M, D); `mu` (D,) and `sigma` (D, D) of
    `eval.extractor`, under the names that pytorch-fid reads."""
    pictures: "Callable[[], np.ndarray]"
    """uint8 (M, H, W, 3)."""

    def features(self) -> "dict[str, np.ndarray]":
        """float32 (M, D) by the name of the network."""
        import numpy as np

        with np.load(self.stage.path / FILE, allow_pickle=False) as file:
            ends = ".features"
            return {name.removesuffix(ends): file[name] for name in file.files if name.endswith(ends)}


def reference_of(
    config: Config,
    run: Run,
    data_stage: Stage,
    data: "Prepared",
    networks: "Callable[[], tuple[ImageExtractor, Extractor]]",
) -> Reference:
    """The reference set that `eval.reference` names, as a stage of the store; every process has to call it.

    Raises ConfigError when `eval.reference` is no run with one set of generated pictures.
    """
    import numpy as np

    from t2i.evaluation import extractors

    if config.eval.reference == HELD_OUT:
        source = data_stage.digest
        held_out = data.split("held_out")

        def pictures() -> "np.ndarray":
            return held_out.squares(range(len(held_out)), config.dataset.resolution)
    else:
        folder = generated_by(Path(config.eval.reference).expanduser(), run)
        source = folder.name

        def pictures() -> "np.ndarray":
            return read_pictures(folder, sum(1 for _ in folder.glob("[0-9]*.png")))

    def build(target: Path) -> None:
        from t2i.evaluation.gaussian import DDOF

        images, (extractor, clip) = pictures(), networks()
        features = {
            network.name: extractors.shared_image_features(network, "reference", images, config.eval.batch_size)
            for network in (extractor, clip)
        }
        if run.main:
            rows = features[extractor.name].astype(np.float64)
            arrays = {f"{name}.features": values for name, values in features.items()}
            arrays |= {"mu": rows.mean(axis=0), "sigma": np.cov(rows, rowvar=False, ddof=DDOF)}
            np.savez(target / FILE, **arrays)  # type: ignore[arg-type]

    inputs = {"pictures": source, "extractor": extractors.digests(config.eval)}
    resolution = config.dataset.resolution if config.eval.reference == HELD_OUT else None
    slice_ = {
        "extractor": config.eval.extractor,
        "resize": config.eval.resize_policy,
        "clip": config.eval.clip,
        "resolution": resolution,
    }
    return Reference(run.stage("reference", inputs, slice_, VERSION, build, collective=True), pictures)


def generated_by(folder: Path, run: Run) -> Path:
    """The one set of generated pictures that a run made; ConfigError when there is none, or several."""
    path = folder / "stages.json"
    stages = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    digests = [stage["digest"] for name, stage in stages.items() if name.startswith("generated/")]
    if len(digests) != 1:
        raise ConfigError(
            f"eval.reference={folder} has {len(digests)} sets of generated pictures and one is expected; give a run folder "
            "of task=generate or task=evaluate, or eval.reference=held_out"
        )
    roots = [run.store.root, folder.absolute().parent.parent / "store"]
    places = [root / "generated" / digests[0] for root in roots]
    found = next((place for place in places if place.exists()), None)
    if found is None:
        raise ConfigError(f"eval.reference={folder}: its pictures are no longer in {places[0].parent}; run it again")
    return found
