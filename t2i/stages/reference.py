"""`reference`: what generated pictures are held against - held-out pictures, another run's, or a file of features."""

import json
import shutil
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2i import identity
from t2i.config import Config
from t2i.context import Run
from t2i.errors import ConfigError
from t2i.evaluation.config import HELD_OUT
from t2i.stages.generated import Generated
from t2i.stages.networks import extractors_of
from t2i.stages.pictures import generated_pictures, pictures_of
from t2i.stages.prepared import Prepared
from t2i.stages.stage import Address, Stage, made
from t2i.store import require_sound, sha256_file

if TYPE_CHECKING:
    from t2i.data.pictures import Pictures
    from t2i.evaluation.feature_file import Known
    from t2i.evaluation.gather import Facts

FILE = "reference.npz"
ENDING = ".features"


@dataclass(frozen=True, eq=False)
class Reference(Stage):
    """`reference.npz`: of each network `<name>.features` float32 (M, D); `mu` (D,) and `sigma` (D, D) of `eval.extractor`,
    under the names that pytorch-fid reads; `about`, JSON: what a definition says of the set and of the networks.

    Of several kinds, by what `eval.reference` names: `reference_of`.
    """

    name = "reference"
    version = 2
    resources = ("eval", "numbers")

    def known(self, run: Run) -> "Known":
        """Its features."""
        from t2i.evaluation.feature_file import Known

        return Known.read(made(self, run).path / FILE)

    def facts(self, run: Run) -> "Facts":
        """Count, format and digest of its pictures."""
        from t2i.evaluation.gather import Facts

        return Facts(**_about(made(self, run).path / FILE)["pictures"])


@dataclass(frozen=True, eq=False)
class OfPictures(Reference):
    """Features of pictures, computed here."""

    collective = True

    def hangs_on(self) -> Any:
        return identity.evaluators(self.config)

    def pictures(self, run: Run) -> "Pictures":
        """What is held against."""
        raise NotImplementedError

    def build(self, run: Run, folder: Path) -> None:
        import numpy as np

        from t2i.evaluation.extractors import registry as extractors
        from t2i.evaluation.gather import Facts
        from t2i.evaluation.statistics.gaussian import DDOF

        pictures = self.pictures(run)
        extractor, clip = extractors_of(self.config, run)
        features = {
            network.name: extractors.shared_image_features(network, "reference", pictures, self.config.eval.batch_size)
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
            np.savez(folder / FILE, about=np.array(json.dumps(about)), **arrays)  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class OfHeldOut(OfPictures):
    """Of the real held-out pictures."""

    def inputs(self) -> dict[str, Stage]:
        return {"pictures": Prepared(self.config)}

    def address(self, run: Run) -> Address:
        return _address(self.config, {}, self.config.dataset.resolution)

    def pictures(self, run: Run) -> "Pictures":
        return pictures_of(Prepared(self.config).read(run).split("held_out"), self.config.dataset.resolution)


@dataclass(frozen=True, eq=False)
class OfStage(OfPictures):
    """Of a set of generated pictures that this run makes: the reference of a sweep."""

    drawn: Generated

    def inputs(self) -> dict[str, Stage]:
        return {"pictures": self.drawn}

    def address(self, run: Run) -> Address:
        return _address(self.config, {}, None)

    def pictures(self, run: Run) -> "Pictures":
        return _of_set(made(self.drawn, run).path)


@dataclass(frozen=True, eq=False)
class OfRun(OfPictures):
    """Of the one set of generated pictures of another run."""

    def hangs_on(self) -> Any:
        return [identity.evaluators(self.config), self.config.eval.reference]

    def address(self, run: Run) -> Address:
        return _address(self.config, {"pictures": generated_by(_path(self.config), run).name}, None)

    def pictures(self, run: Run) -> "Pictures":
        return _of_set(generated_by(_path(self.config), run))


@dataclass(frozen=True, eq=False)
class OfFile(Reference):
    """A file that another evaluation left, if its networks are those of this one."""

    def hangs_on(self) -> Any:
        return [identity.evaluators(self.config), self.config.eval.reference]

    def address(self, run: Run) -> Address:
        _refuse_others(self.config)
        return Address({"file": sha256_file(_path(self.config))}, {})

    def build(self, run: Run, folder: Path) -> None:
        shutil.copyfile(_path(self.config), folder / FILE)


def reference_of(config: Config) -> Reference:
    """The reference set that `eval.reference` names.

    Asked for its address it raises ConfigError when that is no run with one set of generated pictures, nor a file of these
    networks.
    """
    if _path(config).is_file():
        return OfFile(config)
    return OfHeldOut(config) if config.eval.reference == HELD_OUT else OfRun(config)


def identity_of(config: Config, run: Run) -> str:
    """What `eval.reference` names, whatever the path: the bytes of a file, the set of a run, or the held-out pictures."""
    path = _path(config)
    if path.is_file():
        return run.store.file_digest(path)
    return HELD_OUT if config.eval.reference == HELD_OUT else generated_by(path, run).name


def networks(config: Config) -> dict[str, Any]:
    """What reads the pictures, and how they are resized for it."""
    own = config.eval
    return {"extractor": own.extractor, "resize": own.resize_policy, "clip": own.clip}


def _path(config: Config) -> Path:
    return Path(config.eval.reference).expanduser()


def _address(config: Config, pictures: dict[str, str], resolution: int | None) -> Address:
    from t2i.evaluation.extractors import registry as extractors

    digests = {**pictures, "extractor": extractors.digests(config.eval)}
    return Address(digests, {**networks(config), "resolution": resolution})


def _of_set(folder: Path) -> "Pictures":
    return generated_pictures(folder, sum(1 for _ in folder.glob("[0-9]*.png")))


def _refuse_others(config: Config) -> None:
    """ConfigError for a file of other networks, or of pictures that were resized otherwise."""
    from t2i.evaluation.config import CLIPS
    from t2i.evaluation.extractors import registry as extractors

    path = _path(config)
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
