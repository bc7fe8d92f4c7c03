"""What generated pictures are held against: held-out pictures, another run's, or a file of features; all are kept."""

import json
import shutil
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from t2i.config import Config
from t2i.context import Run
from t2i.errors import ConfigError
from t2i.evaluation.config import HELD_OUT
from t2i.stages.generated import prepared, read_pictures, training_split
from t2i.store import Stage, require_sound, sha256_file

if TYPE_CHECKING:
    import numpy as np

    from t2i.data.pictures import Pictures
    from t2i.data.prepared import Prepared, Split
    from t2i.evaluation.extractors.registry import Extractor, ImageExtractor
    from t2i.evaluation.feature_file import Known
    from t2i.evaluation.gather import Facts

VERSION, TRAINING_VERSION = 2, 1
FILE = "reference.npz"
TRAINING = "training.npz"
ENDING = ".features"


@dataclass(frozen=True)
class Reference:
    """A reference set: what identifies its features, and what is known of its pictures."""

    stage: Stage
    """`reference.npz`: of each network `<name>.features` float32 (M, D); `mu` (D,) and `sigma` (D, D) of `eval.extractor`,
    under the names that pytorch-fid reads; `about`, JSON: what a definition says of the set and of the networks."""

    @property
    def known(self) -> "Known":
        """Its features."""
        from t2i.evaluation.feature_file import Known

        return Known.read(self.stage.path / FILE)

    @property
    def facts(self) -> "Facts":
        """Count, format and digest of its pictures."""
        from t2i.evaluation.gather import Facts

        return Facts(**_about(self.stage.path / FILE)["pictures"])


def reference_of(
    config: Config,
    run: Run,
    data_stage: Stage,
    data: "Prepared",
    networks: "Callable[[], tuple[ImageExtractor, Extractor]]",
) -> Reference:
    """The reference set that `eval.reference` names, as a stage of the store; every process has to call it.

    Raises ConfigError when `eval.reference` is no run with one set of generated pictures, nor a file of these networks.
    """
    import numpy as np

    from t2i.evaluation.extractors import registry as extractors

    path = Path(config.eval.reference).expanduser()
    if path.is_file():
        return _from_file(config, run, path)
    if config.eval.reference == HELD_OUT:
        source, resolution = data_stage.digest, config.dataset.resolution
        pictures = pictures_of(data.split("held_out"), resolution)
    else:
        folder = generated_by(path, run)
        source, resolution = folder.name, None
        pictures = generated_pictures(folder, sum(1 for _ in folder.glob("[0-9]*.png")))

    def build(target: Path) -> None:
        from t2i.evaluation.gather import Facts
        from t2i.evaluation.statistics.gaussian import DDOF

        extractor, clip = networks()
        features = {
            network.name: extractors.shared_image_features(network, "reference", pictures, config.eval.batch_size)
            for network in (extractor, clip)
        }
        if run.main:
            rows = features[extractor.name].astype(np.float64)
            about = {
                "pictures": asdict(Facts.of(pictures)),
                "networks": {network.name: network.digest for network in (extractor, clip)},
                "resize": {network.name: network.preprocessing for network in (extractor, clip)},
            }
            arrays = {f"{name}{ENDING}": values for name, values in features.items()}
            if len(rows) > 1:  # one picture has no covariance
                arrays |= {"mu": rows.mean(axis=0), "sigma": np.cov(rows, rowvar=False, ddof=DDOF)}
            np.savez(target / FILE, about=np.array(json.dumps(about)), **arrays)  # type: ignore[arg-type]

    inputs = {"pictures": source, "extractor": extractors.digests(config.eval)}
    slice_ = {**_networks(config), "resolution": resolution}
    return Reference(run.stage("reference", inputs, slice_, VERSION, build, collective=True))


def identity_of(config: Config, run: Run) -> str:
    """What `eval.reference` names, whatever the path: the bytes of a file, the set of a run, or the held-out pictures."""
    path = Path(config.eval.reference).expanduser()
    if path.is_file():
        return run.store.file_digest(path)
    return HELD_OUT if config.eval.reference == HELD_OUT else generated_by(path, run).name


def _from_file(config: Config, run: Run, path: Path) -> Reference:
    """A file that another evaluation left, if its networks are those of this one."""
    from t2i.evaluation.config import CLIPS
    from t2i.evaluation.extractors import registry as extractors

    about = _about(path)
    clip, digest = extractors.identity(config.eval)
    measured = clip if config.eval.extractor in CLIPS else config.eval.extractor
    own = {clip: digest, measured: extractors.digests(config.eval).split()[0]}
    for name, expected in own.items():
        if about["networks"].get(name) != expected:
            found = ", ".join(f"{name} {digest[:8]}" for name, digest in about["networks"].items())
            raise ConfigError(
                f"eval.reference={path} has features of {found} and none of {name} {expected[:8]}; evaluate with the networks "
                "it was made with, or eval.reference=held_out"
            )
    policies = about["resize"]
    if policies[measured] != config.eval.resize_policy:
        raise ConfigError(
            f"eval.reference={path} was made with eval.resize={policies[measured]} and this evaluation has "
            f"{config.eval.resize_policy}; type eval.resize={policies[measured]}"
        )
    inputs = {"file": sha256_file(path)}
    return Reference(run.stage("reference", inputs, {}, VERSION, lambda target: _copy(path, target / FILE)))


def _copy(path: Path, target: Path) -> None:
    shutil.copyfile(path, target)


def _about(path: Path) -> dict[str, Any]:
    """What a reference file says of itself; ConfigError for a file of another kind."""
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as file:
            if "about" in file.files:
                found: dict[str, Any] = json.loads(str(file["about"]))
                return found
            held = ", ".join(file.files)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ConfigError(
            f"eval.reference={path} is no .npz file ({error}); give one that task=evaluate left"
        ) from None
    raise ConfigError(
        f"eval.reference={path} holds {held} and no features: moments alone have no intervals; give the {FILE} of an "
        "evaluation (outputs/store/reference/), or the pictures as a dataset"
    )


def training_features(config: Config, run: Run, networks: "Callable[[], tuple[ImageExtractor, Extractor]]") -> "Known":
    """Features of the pictures that are trained on, by `eval.extractor`: a stage; every process has to call it."""
    import numpy as np

    from t2i.evaluation.extractors import registry as extractors
    from t2i.evaluation.feature_file import Known

    data_stage, data = prepared(config, run)
    split = training_split(config, data)

    def build(target: Path) -> None:
        network = networks()[0]
        pictures = pictures_of(split, config.dataset.resolution)
        found = extractors.shared_image_features(network, "training", pictures, config.eval.batch_size)
        if run.main:
            np.savez(target / TRAINING, **{f"{network.name}{ENDING}": found})  # type: ignore[arg-type]

    inputs = {"data": data_stage.digest, "extractor": extractors.digests(config.eval)}
    slice_ = {**_networks(config), "resolution": config.dataset.resolution, "pictures": len(split)}
    stage = run.stage("training_features", inputs, slice_, TRAINING_VERSION, build, collective=True)
    return Known.read(stage.path / TRAINING)


def _networks(config: Config) -> dict[str, Any]:
    own = config.eval
    return {"extractor": own.extractor, "resize": own.resize_policy, "clip": own.clip}


def pictures_of(split: "Split", side: int) -> "Pictures":
    """A split as side x side pixels, read when it is asked for."""
    from t2i.data.pictures import Pictures

    return Pictures((len(split), side, side, 3), lambda rows: split.squares(rows, side))


def generated_pictures(folder: Path, count: int, side: Optional[int] = None) -> "Pictures":
    """The first `count` pictures of a generated set, read when they are asked for and brought to `side`."""
    import numpy as np

    from t2i.data.pictures import Pictures
    from t2i.models.preprocess import pillow_bicubic

    def read(rows: "Sequence[int]") -> "np.ndarray":
        found = np.concatenate([read_pictures(folder, 1, row) for row in rows])
        return found if side is None else pillow_bicubic(found, side)

    height, width = read_pictures(folder, 1).shape[1:3]
    return Pictures((count, side or height, side or width, 3), read)


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
    require_sound(found)
    return found
