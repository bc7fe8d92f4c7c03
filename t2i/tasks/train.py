"""`task=train`: fine-tune the chosen parameters, and export what changed."""

import contextlib
import csv
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2i.config import Config, as_dict
from t2i.context import Run, device_type, flat
from t2i.models.adapters.kinds import LORA
from t2i.models.layout import copy as copy_pipeline
from t2i.store import MANIFEST, Stage, sha256_file
from t2i.tasks import validation
from t2i.tasks.export import hub_id
from t2i.tasks.shared import dtype_of, model_digest, precision_of, prepared, training_split
from t2i.tasks.tuned import Tuned, tuned_digest

if TYPE_CHECKING:
    from t2i.data.prepared import Prepared
    from t2i.training.card import Provenance, Usage

VERSION = 4
ENDS = {"": "value", ".low": "low", ".high": "high"}
LOSSES = "losses.json"
"""In the training's folder: what was measured at fixed noise (`t2i.training.probe.Losses`)."""


def train(config: Config, run: Run) -> dict[str, float]:
    """Returns losses, speed and memory; leaves `weights/` (what changed) and `pipeline/` (the whole) in the run folder."""
    tuned, metrics = trained(config, run)
    if run.main:
        shutil.copy(tuned.folder.parent / "train_log.csv", run.folder / "train_log.csv")
        _tell(config, run, metrics, json.loads((tuned.folder.parent / LOSSES).read_text(encoding="utf-8")))
        if (pictures := tuned.folder.parent / validation.FOLDER).exists():
            shutil.copytree(pictures, run.folder / validation.FOLDER)
            validation.tell(run, pictures)
        shutil.copytree(tuned.folder, run.folder / "weights")
        pipeline = tuned.folder.parent / "pipeline"
        if pipeline.exists():
            copy_pipeline(pipeline, run.folder / "pipeline", linked)
        if (kept := tuned.folder.parent / "checkpoints").exists():
            shutil.copytree(kept, run.folder / "checkpoints", copy_function=linked)
        run.say(f"tuned weights: {run.folder / 'weights'}")
    return metrics


def trained(config: Config, run: Run) -> tuple[Tuned, dict[str, float]]:
    """The tuned weights of this configuration, trained unless the store has them; and the numbers of the training."""
    data_stage, data = prepared(config, run)
    inputs = {"model": model_digest(config, run), "data": data_stage.digest, **config.strategy.inputs()}
    address = {
        "training": config.training.result_slice(),
        "strategy": as_dict(config.strategy),
        "precision": precision_of(config),
        "device": device_type(),
    }

    identity = flat({"model": inputs["model"], "data": inputs["data"], **address})
    if config.training.resume not in ("auto", "never"):
        inputs["start"] = _start(config)

    def build(folder: Path) -> None:
        from t2i.models.load import load
        from t2i.training.card import model_card
        from t2i.training.dataset import latent_set
        from t2i.training.loop import Trainer

        if run.main and config.training.resume == "never":
            for left in folder.iterdir():
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        run.barrier()
        device = run.accelerator.device
        models = load(config.model, run.store)
        config.strategy.attach(models)
        models.to(device, dtype_of(config))
        text_trains = "text_encoder" in config.strategy.modules()
        flips = {"train": config.training.flip, "held_out": False}
        splits = {"train": training_split(config, data), "held_out": data.split("held_out")}
        sets = [
            latent_set(run.store, data_stage, splits[name], models, config.training, text_trains, flip, device)
            for name, flip in flips.items()
        ]
        watch = validation.Validation(config, run, models, folder) if config.training.validation_images else None
        trainer = Trainer(config.training, config.strategy, models, run, sets[0], sets[1], folder, identity, watch)
        metrics = trainer.fit()
        assert trainer.measured is not None
        metrics |= _gap(trainer.measured.before, trainer.measured.after)
        if run.main:
            (folder / LOSSES).write_text(json.dumps(asdict(trainer.measured)), encoding="utf-8")
            weights = folder / "weights"
            shutil.rmtree(weights, ignore_errors=True)
            weights.mkdir()
            config.strategy.save(models, weights)
            metrics["reload_max_difference"] = _export(config, run, models, folder)
            provenance = _provenance(config, models.digest, data_stage, data)
            card = model_card(provenance, identity, metrics, _usage(config))
            (weights / "README.md").write_text(card, encoding="utf-8")
            (folder / "training.json").write_text(json.dumps(metrics, indent=2), encoding="utf-8")
            _tidy(folder / "checkpoints", config.training.milestones)
        run.barrier()

    stage = run.stage("training", inputs, address, VERSION, build, collective=True, resumable=True)
    metrics = json.loads((stage.path / "training.json").read_text(encoding="utf-8"))
    weights = stage.path / "weights"
    return Tuned(weights, tuned_digest(weights, run)), metrics


def _gap(before: dict[str, list[float]], after: dict[str, list[float]]) -> dict[str, float]:
    """`loss_gap`: held-out loss minus that of training pictures, at the same timesteps, with Welch's 95 % interval; and
    `loss_gap_change`: what tuning added to it, each picture against itself, so that harder pictures do not count. Empty
    without two pictures on each side.
    """
    import numpy as np

    from t2i.evaluation.intervals import difference_of_means

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


def _export(config: Config, run: Run, models, folder: Path) -> float:  # type: ignore[no-untyped-def]
    """Write the whole pipeline from reloaded weights and return the largest difference, in grey levels of 255, between
    a picture of the trained networks in memory and of plain diffusers with the exported folder, same prompt and seed.
    """
    from diffusers import StableDiffusionPipeline

    from t2i.models.adapters.attach import fuse
    from t2i.models.load import load
    from t2i.tasks.read_back import by_diffusers, difference, drawn, save_pipeline

    if not config.training.export_pipeline:
        return float("nan")
    fresh = load(config.model, run.store)
    fresh.scheduler_config = models.scheduler_config
    config.strategy.load(fresh, folder / "weights")
    config.strategy.plain(fresh)
    fuse(fresh)
    save_pipeline(fresh, folder / "pipeline")
    models.unet.eval()
    with run.accelerator.autocast():
        ours = drawn(models)
    plain = StableDiffusionPipeline.from_pretrained(folder / "pipeline", dtype=dtype_of(config), safety_checker=None)
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


def _start(config: Config) -> str:
    """What identifies the checkpoint that the training starts from: its files' digests."""
    from t2i.training.checkpoints import named

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


def _tell(config: Config, run: Run, metrics: dict[str, float], measured: dict[str, Any]) -> None:
    from t2i.reporting.figures import loss_curve
    from t2i.reporting.numbers import number

    with open(run.folder / "train_log.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    steps, losses = [int(row["step"]) for row in rows], [float(row["loss"]) for row in rows]
    held_out = [(int(step), loss) for step, loss in measured["held_out"]]
    figure = loss_curve(
        steps,
        losses,
        run.figures() / "training_loss.png",
        f"Training {config.strategy.kind} on {config.dataset.name}",
        held_out,
    )
    gaps = [
        [label, number(metrics[key], metrics[f"{key}.low"], metrics[f"{key}.high"])]
        for label, key in (
            ("held-out loss minus that of training pictures", "loss_gap"),
            ("of that, added by the training", "loss_gap_change"),
        )
        if key in metrics
    ]
    table = {
        "columns": ["quantity", "value"],
        "rows": [
            ["strategy", config.strategy.kind],
            ["trainable parameters", int(metrics["trainable_parameters"])],
            ["optimizer steps", int(metrics["steps"])],
            ["pictures a step", config.training.batch_size],
            ["final training loss", metrics["final_loss"]],
            ["held-out loss before", metrics["held_out_loss_before"]],
            ["held-out loss after", metrics["held_out_loss"]],
            *gaps,
            ["images per second", metrics["images_per_second"]],
            ["peak memory (MiB)", round(metrics["peak_memory_mb"])],
            ["largest pixel difference after reload (of 255)", metrics["reload_max_difference"]],
        ],
        "caption": "The held-out loss uses fixed noise and timesteps, so before and after are comparable; its difference to "
        "training pictures is of the same timesteps, with a 95 % interval: well above zero, the training set is being learnt "
        "by heart.",
    }
    text = (
        f"Held-out loss {metrics['held_out_loss_before']:.4f} before, {metrics['held_out_loss']:.4f} after "
        f"{metrics['steps']:.0f} steps; {metrics['images_per_second']:.1f} images/s."
    )
    run.section(
        "Training", text, [table], [(figure, "Mean squared error of the predicted noise over the optimizer steps.")]
    )
    run.say(text)
