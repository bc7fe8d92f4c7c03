"""`training`: tuned weights, the log, and the exported pipeline; checkpoints while it runs."""

import contextlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from t2i import identity
from t2i.config import Config, as_dict
from t2i.context import Run, flat
from t2i.processes import device_type
from t2i.stages import extras, history, losses, model_card, validation, wiring
from t2i.stages.captions import OfClass
from t2i.stages.exported import export_pipeline
from t2i.stages.generated import Generated
from t2i.stages.latents import Latents
from t2i.stages.networks import dtype_of, model_digest
from t2i.stages.prepared import Prepared, training_split
from t2i.stages.stage import Address, Stage, is_there, made
from t2i.stages.text_states import TextStates
from t2i.stages.tuned import Tuned, tuned_digest
from t2i.stages.weights import Weights
from t2i.store import MANIFEST, damage, digest_of, sha256_file
from t2i.training.config import Prior
from t2i.training.fitting import regularisation_captions

if TYPE_CHECKING:
    from t2i.data.prepared import Split
    from t2i.models.parts import Models
    from t2i.training.dataset import LatentSet
    from t2i.training.loop import Trainer
    from t2i.training.prior import Pictures

SHAPES_VERSION = 2
"""Of the order in which pictures of several shapes are seen; trainings of one shape are not addressed by it."""
WEIGHTS = "weights"


@dataclass(frozen=True, eq=False)
class Training(Stage):
    """`weights/` (what changed), `training.json` (its numbers), `losses.json`, `train_log.csv`, `pipeline/`, and what was asked
    for beside: `checkpoints/`, `validation/`.
    """

    name = "training"
    version = 4
    collective = True
    resumable = True
    resources = ("model",)
    work = "training"

    # -- where it lies -------------------------------------------------------------------------------------------------

    def needs(self) -> list[Stage]:
        return [Prepared(self.config)]

    def inputs(self) -> dict[str, Stage]:
        drawn = {"class_pictures": class_pictures(self.config)} if self.config.training.prior is Prior.pictures else {}
        return {"data": Prepared(self.config), **drawn}

    def within(self) -> list[Stage]:
        """The caches that it reads, and the checks before its first step."""
        config = self.config
        caches: list[Stage] = []
        text = config.training.cache_text and not config.strategy.trains_text
        for split in ("train", "held_out"):
            caches += [Latents(config, split)] if config.training.cache_latents else []
            caches += [TextStates(config, split)] if text and not config.training.captions.shuffle_tags else []
        return [wiring.Wiring(config), *caches]

    def hangs_on(self) -> Any:
        own = self.config.training
        again = extras.digest(self.config) if own.resume == "never" else ""
        return [identity.trained(self.config), as_dict(self.config.model), own.resume, again]

    def split(self, run: Run) -> "Split":
        """The pictures that are trained on."""
        return training_split(self.config, Prepared(self.config).read(run))

    def total(self, run: Run) -> int:
        """Optimizer steps."""
        return self.config.training.total_steps(len(self.split(run)))

    def _slice(self, run: Run) -> dict[str, Any]:
        address = identity.trained(self.config, self.total(run))
        if len(set(map(tuple, self.split(run).sizes.tolist()))) > 1:
            address["order"] = SHAPES_VERSION
        return address

    def address(self, run: Run) -> Address:
        config, address = self.config, self._slice(run)
        digests = {"model": model_digest(config, run), **config.strategy.inputs(), **self._regularised()}
        if identity.start_of(config):
            digests["start"] = start_digest(config)
        extras.require(config.training, self.total(run))
        inputs = {name: made(stage, run).digest for name, stage in self.inputs().items()}
        folder = run.store.path(self.name, {**digests, **inputs}, address, self.version)
        lacking = run.tell(lambda: extras.lacking(config, run, folder))
        if lacking and config.training.resume == "never":
            digests["again"] = extras.digest(config)
            return Address(digests, address)
        if config.training.resume == "never" and run.tell(lambda: extras.finished(folder)):
            lacking = [
                *lacking,
                "training.resume=never: this training is finished and would come out the same; it is reused",
            ]
        _say_once(run, lacking)
        return Address(digests, address)

    def _regularised(self) -> dict[str, str]:
        """What identifies the captions that the model is held to; nothing without a prior."""
        captions = regularisation_captions(self.config.training, self.config.dataset)
        return {"regularisation": digest_of(captions)} if captions else {}

    # -- how it is made ------------------------------------------------------------------------------------------------

    def build(self, run: Run, folder: Path) -> None:
        from t2i.training.card import model_card as card_of

        config = self.config
        config.strategy.require_captions(self._worded(run))
        checks = wiring.Wiring(config).read(run)
        wiring.require(checks["rows"][checks["declared"] :])  # what cannot be trained, or not be exported
        if run.main and config.training.resume == "never":
            for left in folder.iterdir():
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        run.barrier()
        models, known = self._attached(run), self._identity(run)
        trainer = self._trainer(run, models, folder, known)
        metrics = trainer.fit()
        trainer.release()
        trainer.parallel.gather(models, config.strategy)
        assert trainer.measured is not None
        metrics |= losses.loss_gap(trainer.measured.before, trainer.measured.after)
        if run.main:
            (folder / losses.FILE).write_text(json.dumps(asdict(trainer.measured)), encoding="utf-8")
            weights = folder / WEIGHTS
            shutil.rmtree(weights, ignore_errors=True)
            weights.mkdir()
            config.strategy.save(models, weights)
            metrics["reload_max_difference"] = float("nan")
            if config.training.export_pipeline:
                difference = export_pipeline(config, run, models, weights, folder / "pipeline")
                metrics["reload_max_difference"] = difference
            card = card_of(model_card.provenance(config, run), known, metrics, model_card.usage(config))
            (weights / "README.md").write_text(card, encoding="utf-8")
            (folder / "training.json").write_text(json.dumps(metrics, indent=2), encoding="utf-8")
            _tidy(folder / "checkpoints", config.training.milestones)
        run.barrier()

    def _worded(self, run: Run) -> Iterator[str]:
        """Every caption in every wording that a step may see."""
        wording = self.config.training.captions
        for group in self.split(run).captions:
            yield from (text for caption in group for text in wording.variants(caption))

    def _identity(self, run: Run) -> dict[str, Any]:
        """What a checkpoint must be of to be gone on from."""
        config = self.config
        inputs = {name: made(stage, run).digest for name, stage in self.inputs().items()}
        return flat({"model": model_digest(config, run), **inputs, **self._regularised(), **self._slice(run)})

    def _attached(self, run: Run) -> "Models":
        """The model on the device, with what trains."""
        from t2i.models.load import load
        from t2i.training import noise
        from t2i.training.parallel import parallel_of

        config = self.config
        models = load(config.model, run.store)
        noise.settle(config.training, models)
        if validation.prompts_of(config, run):
            config.scheduler.start(models.schedule(), models.grid)
        config.strategy.attach(models)
        config.strategy.require_read(models, self._worded(run))
        return parallel_of(run).place(models, config.strategy, dtype_of(config))

    def _trainer(self, run: Run, models: "Models", folder: Path, known: dict[str, Any]) -> "Trainer":
        from t2i.training.dataset import latent_set
        from t2i.training.loop import Trainer

        config, device = self.config, run.accelerator.device
        text_trains = config.strategy.trains_text
        prepared, held_out = made(Prepared(config), run), Prepared(config).read(run).split("held_out")
        more = regularisation_captions(config.training, config.dataset)
        sets = [
            latent_set(run.store, prepared, split, models, config.training, text_trains, flip, device, captions)
            for split, flip, captions in ((self.split(run), config.training.flip, more), (held_out, False, ()))
        ]
        train_set = self._preserved(run, models, sets[0], more)
        watch = validation.Validation(config, run, models, folder) if validation.prompts_of(config, run) else None
        return Trainer(config.training, config.strategy, models, run, train_set, sets[1], folder, known, watch)

    def _preserved(self, run: Run, models: "Models", own: "LatentSet", captions: Sequence[str]) -> "Pictures":
        """The training pictures with what holds the model to what it was, where that is asked for."""
        from t2i.training.dataset import latent_set
        from t2i.training.prior import ClassPictures, Preserved, of_captions, of_pictures

        config = self.config.training
        if config.prior is None:
            return own
        if config.prior is Prior.base:
            return Preserved(own, of_captions(own, captions))
        stage = made(class_pictures(self.config), run)
        split = ClassPictures(stage.path, class_pictures(self.config).captions.texts(run), self.config.model.resolution)
        alone = replace(config, cache_text=False)  # their captions' states are kept with those of the data
        drawn = latent_set(run.store, stage, split, models, alone, own.text_trains, config.flip, run.accelerator.device)
        return Preserved(own, of_pictures(drawn, own))

    # -- what a plan tells of it ---------------------------------------------------------------------------------------

    def size(self, run: Run) -> Optional[int]:
        """As the newest one; otherwise the weights that change and the pipeline that holds them, in float32."""
        from t2i.models.weightless import weightless

        if (found := super().size(run)) is not None:
            return found
        config, models = self.config, weightless(self.config.model)
        if models is None:
            return None
        whole = sum(parameter.numel() for module in models.modules.values() for parameter in module.parameters())
        return 4 * (config.strategy.expected(models) + whole * config.training.export_pipeline)

    def seconds(self, run: Run) -> Optional[float]:
        """By the speed of the newest training of this kind, as large as this one, on such a device."""
        speed = next(self._speeds(run.store.root), None)
        if speed is None or not is_there(Prepared(self.config), run):
            return None
        return self.total(run) * self.config.training.batch_size / speed

    def _speeds(self, root: Path) -> Iterator[float]:
        """Pictures a second, the newest first."""
        for folder, found in history.manifests(root, self.name):
            path, address = folder / "training.json", found["config"]
            same = address.get("strategy", {}).get("kind") == self.config.strategy.kind
            if same and address.get("device") == device_type() and path.exists() and damage(folder) == []:
                facts = (folder / WEIGHTS / "README.md").read_text(encoding="utf-8")
                if f"# {self.config.model.name}, tuned on" in facts:
                    yield float(json.loads(path.read_text(encoding="utf-8"))["images_per_second"])


@dataclass(frozen=True)
class Trained(Weights):
    """What a training tunes."""

    training: Training

    def needs(self) -> list[Stage]:
        return [self.training]

    def hangs_on(self) -> Any:
        return "trained"

    def find(self, run: Run) -> Tuned:
        """The main process reads the files once and tells; later it may ask alone."""
        folder = made(self.training, run).path / WEIGHTS
        return run.kept("tuned", str(folder), lambda: Tuned(folder, run.tell(lambda: tuned_digest(folder, run))))


def trained(config: Config, run: Run) -> tuple[Tuned, dict[str, float]]:
    """The tuned weights of this configuration, trained unless the store has them; and the numbers of the training."""
    model_digest(config, run)  # first: a model that is not there is told before data is prepared
    training = Training(config)
    path = made(training, run).path / "training.json"
    metrics: dict[str, float] = run.tell(lambda: json.loads(path.read_text(encoding="utf-8")))
    return Trained(training).find(run), metrics


def class_pictures(config: Config) -> Generated:
    """Pictures of the class, drawn once by the base model."""
    return Generated(config, OfClass(config, config.training.prior_images))


def start_digest(config: Config) -> str:
    """What identifies the checkpoint that the training starts from: its files' digests."""
    from t2i.training.resuming.checkpoints import named

    return sha256_file(named(Path(config.training.resume).expanduser()) / MANIFEST)


def _say_once(run: Run, sentences: Sequence[str]) -> None:
    """The cells of a sweep may have the same ones."""
    said: set[str] = run.kept("said", "training", set)
    for sentence in [sentence for sentence in sentences if sentence not in said]:
        run.say(sentence)
        said.add(sentence)


def _tidy(checkpoints: Path, milestones: list[int]) -> None:
    """The training is finished: nothing is left to resume, only milestones stay."""
    for path in checkpoints.glob("*"):
        if path.name not in {f"step_{step:08d}" for step in milestones}:
            shutil.rmtree(path)
    with contextlib.suppress(OSError):
        checkpoints.rmdir()
