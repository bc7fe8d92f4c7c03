"""Which reference `eval.reference` names: held-out pictures, a folder, a run, or a file of features or of moments."""

import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from t2i import identity
from t2i.config import Config
from t2i.context import Run
from t2i.data.given.folder import Gallery, gallery
from t2i.errors import ConfigError
from t2i.evaluation.config import CLIPS, HELD_OUT
from t2i.stages.reference import (
    FILE,
    OfFile,
    OfHeldOut,
    OfPictures,
    OfRun,
    Reference,
    address_of,
    generated_by,
    kept_by,
    named,
    stages_of,
)
from t2i.stages.stage import Address, made
from t2i.store import MANIFEST, digest_of, read_manifest, require_sound, sha256_file

if TYPE_CHECKING:
    import numpy as np

    from t2i.data.pictures import Pictures
    from t2i.evaluation.feature_file import Known
    from t2i.evaluation.gather import Facts, Samples

FEATURES = ("features", "feats", "arr_0")
"""Names under which tools keep features (N, D)."""


@dataclass(frozen=True, eq=False)
class OfFolder(OfPictures):
    """Of the pictures in a folder, whoever made them."""

    folder: Path
    chosen: Optional[Gallery] = None
    """Some of its pictures; None: all."""

    @cached_property
    def found(self) -> Gallery:
        """Its pictures."""
        return self.chosen or gallery(self.folder, "eval.reference")

    def hangs_on(self) -> Any:
        return [identity.evaluators(self.config), str(self.folder), self.chosen.names if self.chosen else None]

    def address(self, run: Run) -> Address:
        files = digest_of(run.store.file_digests(self.found.paths))
        return address_of(self.config, {"pictures": files}, None)

    def pictures(self, run: Run) -> "Pictures":
        return self.found.pictures


@dataclass(frozen=True, eq=False)
class OfPrepared(OfPictures):
    """Of the held-out pictures of a prepared data set."""

    folder: Path
    """Of its run, or of the stage."""

    def hangs_on(self) -> Any:
        return [identity.evaluators(self.config), str(self.folder)]

    def place(self, run: Run) -> Path:
        """The stage."""
        if (self.folder / MANIFEST).exists():
            require_sound(self.folder)
            return self.folder
        return kept_by(self.folder, "prepared", stages_of(self.folder, "prepared")[0], run)

    def address(self, run: Run) -> Address:
        return address_of(self.config, {"pictures": self.place(run).name}, None)

    def pictures(self, run: Run) -> "Pictures":
        from t2i.data.prepared import Prepared
        from t2i.stages.pictures import pictures_of

        split = Prepared(self.place(run)).split("held_out")
        if len(split) == 0:
            raise ConfigError(
                f"eval.reference={self.folder} has no held-out pictures; prepare it with dataset.held_out_share=0.2, or give a "
                "folder of pictures"
            )
        return pictures_of(split, int(split.sizes.min()))


@dataclass(frozen=True, eq=False)
class OfArrays(Reference):
    """Of an `.npz` that another tool wrote: it does not say by which network, and is taken at its word."""

    def hangs_on(self) -> Any:
        return [identity.evaluators(self.config), self.config.eval.reference]

    def address(self, run: Run) -> Address:
        return Address({"file": sha256_file(named(self.config))}, {})

    def build(self, run: Run, folder: Path) -> None:
        shutil.copyfile(named(self.config), folder / FILE)

    def arrays(self, run: Run) -> "dict[str, np.ndarray]":
        """What the file holds, checked."""
        import numpy as np

        with np.load(made(self, run).path / FILE, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}

    def facts(self, run: Run) -> "Facts":
        from t2i.evaluation.gather import Facts

        rows = self.known(run).features
        count = len(next(iter(rows.values()))) if rows else 0
        return Facts(count, "features alone" if rows else "mean and covariance alone", sha256_file(named(self.config)))


@dataclass(frozen=True, eq=False)
class OfFeatures(OfArrays):
    """Features (N, D) of `eval.extractor`."""

    key: str

    def known(self, run: Run) -> "Known":
        from t2i.evaluation import checks
        from t2i.evaluation.extractors import registry as extractors
        from t2i.evaluation.feature_file import Known

        rows = checks.features("reference", self.arrays(run)[self.key]).astype("float32")
        own = self.config.eval
        name = extractors.source(own)[0] if own.extractor in CLIPS else own.extractor
        return Known(made(self, run).path / FILE, {name: rows})


@dataclass(frozen=True, eq=False)
class OfMoments(OfArrays):
    """Mean and covariance, `mu` (D,) and `sigma` (D, D): FID can be told, and nothing else."""

    def known(self, run: Run) -> "Known":
        from t2i.evaluation.feature_file import Known

        return Known(made(self, run).path / FILE, {})

    def known_to(self, samples: "Samples", run: Run) -> "Samples":
        import numpy as np

        from t2i.evaluation import checks
        from t2i.evaluation.statistics.gaussian import Gaussian

        arrays = self.arrays(run)
        mean, covariance = (np.asarray(arrays[name], np.float64) for name in ("mu", "sigma"))
        if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
            raise ConfigError(
                f"eval.reference={named(self.config)} has mu of shape {mean.shape} and sigma of {covariance.shape}; expected "
                "(D,) and (D, D)"
            )
        checks.features("reference's covariance", covariance, least=1)
        checks.features("reference's mean", mean[None], least=1)
        return replace(
            samples, reference_moments=Gaussian.from_moments(mean, covariance), reference_facts=self.facts(run)
        )


def reference_of(config: Config) -> Reference:
    """The reference that `eval.reference` names.

    Raises ConfigError for a path that is none of those; asked for its address, for a run with several sets of generated
    pictures, and for a file of other networks.
    """
    path = named(config)
    if config.eval.reference == HELD_OUT:
        return OfHeldOut(config)
    if path.is_file():
        return _of_file(config, path)
    if stages_of(path, "generated"):
        return OfRun(config)
    if stages_of(path, "prepared") or (read_manifest(path) or {}).get("name") == "prepared":
        return OfPrepared(config, path)
    of_runs = (path / "stages.json").exists() or (path / "store").is_dir()
    return OfRun(config) if of_runs else OfFolder(config, path)


def _of_file(config: Config, path: Path) -> Reference:
    held = _held(path)
    if "about" not in held:
        if key := next((key for key in FEATURES if len(held.get(key, ())) == 2), None):
            return OfFeatures(config, key)
        if {"mu", "sigma"} <= held.keys():
            return OfMoments(config)
    return OfFile(config)


def _held(path: Path) -> Mapping[str, tuple[int, ...]]:
    """Shapes of the arrays of an `.npz`, from their headers; empty for a file of another kind."""
    from numpy.lib import format as npy

    found: dict[str, tuple[int, ...]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                with archive.open(name) as file:
                    version = npy.read_magic(file)
                    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
                    found[name.removesuffix(".npy")] = read(file)[0]
    except (OSError, ValueError, zipfile.BadZipFile):
        return {}
    return found


def identity_of(config: Config, run: Run) -> str:
    """What `eval.reference` names, whatever the path: the bytes of a file, pictures of a run or folder, or the held-out ones."""
    found = reference_of(config)
    if isinstance(found, OfHeldOut):
        return HELD_OUT
    if isinstance(found, OfRun):
        return generated_by(named(config), run).name
    if isinstance(found, OfFolder | OfPrepared):
        return found.address(run).digests["pictures"]
    return run.store.file_digest(named(config))
