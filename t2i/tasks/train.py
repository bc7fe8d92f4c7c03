"""`task=train`: fine-tune the chosen parameters, and export what changed."""

import contextlib
import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from t2i import identity as slices
from t2i.config import Config
from t2i.context import Run, device_type, flat
from t2i.models.adapters.kinds import LORA
from t2i.models.layout import copy as copy_pipeline
from t2i.stages import extras, validation
from t2i.stages.shared import dtype_of, model_digest, precision_of, prepared, training_split
from t2i.stages.tuned import Tuned, apply_tuned, tuned_digest
from t2i.stages.tuned_files import copied
from t2i.store import MANIFEST, Stage, sha256_file, write_json
from t2i.stories import training as training_report
from t2i.tasks.export import hub_id
from t2i.tasks.verify import checked, require

if TYPE_CHECKING:
    from t2i.data.prepared import Prepared
    from t2i.models.load import Models
    from t2i.training.card import Provenance, Usage

VERSION = 4
SHAPES_VERSION = 2
"""Of the order in which pictures of several shapes are seen; trainings of one shape are not addressed by it."""
PIPELINE_VERSION = 1
ENDS = {"": "value", ".low": "low", ".high": "high"}
LOSSES = "losses.json"
"""In the training's folder: what was measured at fixed noise (`t2i.training.probe.Losses`)."""


def train(config: Config, run: Run) -> dict[str, float]:
    """Returns losses, speed and memory; leaves `weights/` (what changed) and `pipeline/` (the whole) in the run folder."""
    tuned, metrics = trained(config, run)
    if math.isnan(metrics["held_out_loss"]):  # without held-out pictures
        metrics = {name: value for name, value in metrics.items() if not name.startswith("held_out_loss")}
    pipeline, difference = exported(config, run, tuned)
    metrics |= difference
    if run.main:
        if pipeline is not None:
            copy_pipeline(pipeline, run.folder / "pipeline", linked)
        shutil.copy(tuned.folder.parent / "train_log.csv", run.folder / "train_log.csv")
        training_report.tell(
            config, run, metrics, json.loads((tuned.folder.parent / LOSSES).read_text(encoding="utf-8"))
        )
        if validation.prompts_of(config, run) and (pictures := tuned.folder.parent / validation.FOLDER).exists():
            shutil.copytree(pictures, run.folder / validation.FOLDER)
            validation.tell(run, pictures)
        copied(tuned.folder, run.folder / "weights")
        if (kept := tuned.folder.parent / "checkpoints").exists():
            shutil.copytree(kept, run.folder / "checkpoints", copy_function=linked)
        run.say(f"tuned weights: {run.folder / 'weights'}")
    return metrics


def trained(config: Config, run: Run) -> tuple[Tuned, dict[str, float]]:
    """The tuned weights of this configuration, trained unless the store has them; and the numbers of the training."""
    base = model_digest(config, run)  # first: a model that is not there is told before data is prepared
    data_stage, data = prepared(config, run)
    pictures = training_split(config, data)
    total = config.training.total_steps(len(pictures))
    inputs = {"model": base, "data": data_stage.digest, **config.strategy.inputs()}
    address = slices.trained(config, total)
    if len(set(map(tuple, pictures.sizes.tolist()))) > 1:
        address["order"] = SHAPES_VERSION
    identity = flat({"model": inputs["model"], "data": inputs["data"], **address})
    if slices.start_of(config):
        inputs["start"] = start_digest(config)
    extras.require(config.training, total)
    folder = run.store.path("training", inputs, address, VERSION)
    lacking = run.tell(lambda: extras.lacking(config, run, folder))
    if lacking and config.training.resume == "never":
        inputs["again"] = extras.digest(config)
    else:
        _say_once(run, lacking)
        if config.training.resume == "never" and run.tell(lambda: extras.finished(folder)):
            _say_once(
                run, ["training.resume=never: this training is finished and would come out the same; it is reused"]
            )

    def build(folder: Path) -> None:
        _train(config, run, data_stage, data, identity, folder)

    stage = run.stage("training", inputs, address, VERSION, build, collective=True, resumable=True)
    weights = stage.path / "weights"
    metrics, digest = run.tell(
        lambda: (json.loads((stage.path / "training.json").read_text(encoding="utf-8")), tuned_digest(weights, run))
    )
    return Tuned(weights, digest), metrics


def _say_once(run: Run, sentences: Sequence[str]) -> None:
    """A pipeline comes by here for every part that needs the weights."""
    said: set[str] = run.kept("said", "training", set)
    for sentence in [sentence for sentence in sentences if sentence not in said]:
        run.say(sentence)
        said.add(sentence)


def _train(
    config: Config, run: Run, data_stage: Stage, data: "Prepared", identity: dict[str, Any], folder: Path
) -> None:
    """The training itself, in every process; what it leaves lies in `folder`."""
    from t2i.models.load import load
    from t2i.training import noise
    from t2i.training.card import model_card
    from t2i.training.dataset import latent_set
    from t2i.training.loop import Trainer

    wiring = checked(config, run)  # what cannot be trained, or not be exported, is told before the first step
    require(wiring["rows"][wiring["declared"] :])
    if run.main and config.training.resume == "never":
        for left in folder.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    run.barrier()
    device = run.accelerator.device
    models = load(config.model, run.store)
    noise.settle(config.training, models)
    if validation.prompts_of(config, run):
        config.scheduler.start(models.scheduler_config)
    config.strategy.attach(models)
    models.to(device, dtype_of(config))
    text_trains = "text_encoder" in config.strategy.modules()
    flips = {"train": config.training.flip, "held_out": False}
    splits = {"train": training_split(config, data), "held_out": data.split("held_out")}
    sets = [
        latent_set(run.store, data_stage, splits[name], models, config.training, text_trains, flip, device)
        for name, flip in flips.items()
    ]
    watch = validation.Validation(config, run, models, folder) if validation.prompts_of(config, run) else None
    trainer = Trainer(config.training, config.strategy, models, run, sets[0], sets[1], folder, identity, watch)
    metrics = trainer.fit()
    trainer.release()
    assert trainer.measured is not None
    metrics |= _gap(trainer.measured.before, trainer.measured.after)
    if run.main:
        (folder / LOSSES).write_text(json.dumps(asdict(trainer.measured)), encoding="utf-8")
        weights = folder / "weights"
        shutil.rmtree(weights, ignore_errors=True)
        weights.mkdir()
        config.strategy.save(models, weights)
        metrics["reload_max_difference"] = float("nan")
        if config.training.export_pipeline:
            metrics["reload_max_difference"] = _export(config, run, models, weights, folder / "pipeline")
        card = model_card(_provenance(config, models.digest, data_stage, data), identity, metrics, _usage(config))
        (weights / "README.md").write_text(card, encoding="utf-8")
        (folder / "training.json").write_text(json.dumps(metrics, indent=2), encoding="utf-8")
        _tidy(folder / "checkpoints", config.training.milestones)
    run.barrier()


def exported(config: Config, run: Run, tuned: Tuned) -> tuple[Optional[Path], dict[str, float]]:
    """The folder of the whole pipeline, where `training.export_pipeline` asks for it, and how far a picture of it is from
    one of the networks in memory. Made now from the weights of a training that was finished without.
    """
    if not config.training.export_pipeline:
        return None, {}
    if (made := tuned.folder.parent / "pipeline").exists():
        return made, {}

    def build(folder: Path) -> None:
        from t2i.models.load import load

        models = load(config.model, run.store)
        apply_tuned(models, tuned)
        models.to(run.accelerator.device, dtype_of(config))
        difference = _export(config, run, models, tuned.folder, folder / "pipeline")
        write_json(folder / "reload.json", {"reload_max_difference": difference})

    inputs = {"model": model_digest(config, run), "weights": tuned.digest}
    address = {"precision": precision_of(config), "device": device_type()}
    stage = run.stage("pipeline", inputs, address, PIPELINE_VERSION, build)
    return stage.path / "pipeline", json.loads((stage.path / "reload.json").read_text(encoding="utf-8"))


def _gap(before: dict[str, list[float]], after: dict[str, list[float]]) -> dict[str, float]:
    """`loss_gap`: held-out loss minus that of training pictures, at the same timesteps, with Welch's 95 % interval; and
    `loss_gap_change`: what tuning added to it, each picture against itself, so that harder pictures do not count. Empty
    without two pictures on each side.
    """
    import numpy as np

    from t2i.evaluation.statistics.intervals import difference_of_means

    sides = [np.array(after[name]) for name in ("held_out", "train")]
    if min(map(len, sides)) < 2:
        return {}
    changes = [side - np.array(before[name]) for name, side in zip(("held_out", "train"), sides, strict=True)]
    found = {
        "loss_gap": difference_of_means(sides[0], sides[1]),
        "loss_gap_change": difference_of_means(changes[0], changes[1]),
    }
    return {
        "train_loss": float(sides[1].mean()),
        **{f"{name}{end}": getattr(gap, key) for name, gap in found.items() for end, key in ENDS.items()},
    }


def _export(config: Config, run: Run, models: "Models", weights: Path, target: Path) -> float:
    """Write the whole pipeline from reloaded weights to `target` and return the largest difference, in grey levels of 255,
    between a picture of the trained networks in memory and of plain diffusers with the exported folder, same prompt, seed
    and noise schedule.
    """
    from diffusers import StableDiffusionPipeline

    from t2i.models.adapters.attach import fuse
    from t2i.models.load import load
    from t2i.stages.read_back import by_diffusers, difference, drawn, save_pipeline

    fresh = load(config.model, run.store)
    fresh.scheduler_config = models.scheduler_config
    config.strategy.load(fresh, weights)
    config.strategy.plain(fresh)
    fuse(fresh)
    shutil.rmtree(target, ignore_errors=True)
    save_pipeline(fresh, target)
    models.unet.eval()
    with run.accelerator.autocast():
        ours = drawn(models)
    plain = StableDiffusionPipeline.from_pretrained(target, dtype=dtype_of(config), safety_checker=None)
    return difference(ours, by_diffusers(plain.to(run.accelerator.device), config.model.resolution))


def _provenance(config: Config, model_digest: str, stage: Stage, data: "Prepared") -> "Provenance":
    from t2i.training.card import COCO_LICENSES, Provenance

    licenses = data.licenses("train")
    if config.dataset.kind == "coco":
        licenses = {COCO_LICENSES.get(name, name): count for name, count in licenses.items()}
    return Provenance(
        model=config.model.name,
        source=hub_id(config),
        license=config.model.license,
        model_digest=model_digest,
        dataset=config.dataset.name,
        data_digest=stage.digest,
        pictures=len(training_split(config, data)),
        licenses=licenses,
    )


def _usage(config: Config) -> "Usage | None":
    """The code that uses a run's weights as they lie in its folder; None where only a pipeline reads them."""
    from t2i.training.card import Usage

    size, steps = config.model.resolution, config.scheduler.steps
    if config.strategy.kind == "lora":
        return Usage("kohya", hub_id(config), LORA, resolution=size, steps=steps)
    if not config.training.export_pipeline:
        return None
    return Usage("diffusers", hub_id(config), "../pipeline", resolution=size, steps=steps)


def start_digest(config: Config) -> str:
    """What identifies the checkpoint that the training starts from: its files' digests."""
    from t2i.training.resuming.checkpoints import named

    return sha256_file(named(Path(config.training.resume).expanduser()) / MANIFEST)


def _tidy(checkpoints: Path, milestones: list[int]) -> None:
    """The training is finished: nothing is left to resume, only milestones stay."""
    for path in checkpoints.glob("*"):
        if path.name not in {f"step_{step:08d}" for step in milestones}:
            shutil.rmtree(path)
    with contextlib.suppress(OSError):
        checkpoints.rmdir()


def linked(source_file: str, target: str) -> None:
    """A hard link where the file system can, otherwise a copy: a pipeline may weigh gigabytes."""
    import os

    try:
        os.link(source_file, target)
    except OSError:
        shutil.copy2(source_file, target)
