"""`task=clip`: tune a CLIP on pictures and captions, measure it before and after, hand its text tower to generation."""

import shutil
from pathlib import Path

from t2i.config import Config
from t2i.context import Run, device_type, flat
from t2i.models import source
from t2i.models.clip_files import TINY_CLIP, locate, weights_digest
from t2i.stages.shared import precision_of, prepared
from t2i.stages.tuned_files import copied
from t2i.store import Stage
from t2i.tasks.train import linked
from t2i.training.contrastive.config import BUNDLED, RANDOM

VERSION = 1
START, TUNED, EPOCHS = "start", "clip", "epochs"
"""Folders of a tuning: the CLIP before, after, and after every epoch; plain transformers loads each."""
CAME, BEFORE, AFTER = "as it came", "before", "after"


def clip(config: Config, run: Run) -> dict[str, float]:
    """Returns every number before and after with the difference; leaves `clip/` (the tuned CLIP) in the run folder."""
    from t2i.stages.clip_features import blends, compared, measure, other_data, pictures
    from t2i.stories import clip as clip_figures
    from t2i.stories import clip_generation

    config.eval.validate()
    other = other_data(config) if config.clip.forgetting else None
    for where in (config, other):  # before anything is tuned
        if where is not None:
            pictures(where, run)
    stage = tuned(config, run)
    if run.main:
        copied(stage.path / TUNED, run.folder / TUNED)
        if (epochs := stage.path / EPOCHS).exists():
            shutil.copytree(epochs, run.folder / EPOCHS, copy_function=linked)
        shutil.copy(stage.path / "clip_log.csv", run.folder / "clip_log.csv")
        run.say(f"tuned CLIP: {run.folder / TUNED}")
        clip_figures.tell_training(config, run, stage.path)
    states = {name: measure(config, run, folder) for name, folder in folders(config, stage).items()}
    metrics = compared(config, states)
    if run.main:
        clip_figures.tell_numbers(config, run, states, metrics)
    if other is not None:
        elsewhere = {name: measure(other, run, folder) for name, folder in folders(config, stage).items()}
        metrics |= {f"elsewhere/{name}": value for name, value in compared(config, elsewhere).items()}
        if run.main:
            clip_figures.tell_forgetting(other, run, elsewhere, metrics)
    if CAME not in states and config.clip.source != RANDOM and not config.clip.fresh:
        curves, numbers = blends(config, other, run, folders(config, stage))
        metrics |= numbers
        if run.main:
            clip_figures.tell_blends(config, other, run, curves)
    if config.clip.generate:
        metrics |= clip_generation.compare(config, run, stage.path / TUNED, source_folder(config))
    return metrics


def source_folder(config: Config) -> Path:
    """The folder of the CLIP that the tuning starts from, fetched from the hub where it must be."""
    if config.clip.source in (BUNDLED, RANDOM):
        return TINY_CLIP
    return locate(config.clip.source, "clip.source")


def folders(config: Config, stage: Stage) -> dict[str, Path]:
    """The CLIPs that are compared, by state. With fresh projections `before` knows nothing, so the one that they were
    put on is measured too, where there is one.
    """
    found = {BEFORE: stage.path / START, AFTER: stage.path / TUNED}
    whole = config.clip.source != RANDOM and not config.clip.text_from_model
    return {CAME: source_folder(config), **found} if whole and config.clip.fresh else found


def tuned(config: Config, run: Run) -> Stage:
    """The tuning of this configuration, run unless the store has it."""
    data_stage, data = prepared(config, run)
    folder = source_folder(config)
    pipeline = source.locate(config.model) if config.clip.text_from_model else None
    inputs = {"clip": weights_digest(folder), "data": data_stage.digest}
    if pipeline is not None:
        inputs["model"] = source.digest(config.model, run.store)
    settings = {**config.clip.result_slice(), "random": config.clip.source == RANDOM}
    address = {"clip": settings, "precision": precision_of(config), "device": device_type()}

    def build(path: Path) -> None:
        from t2i.models.text_tower import describe
        from t2i.models.weights import module_digest
        from t2i.training.contrastive.card import clip_card
        from t2i.training.contrastive.loop import Tuner
        from t2i.training.contrastive.pairs import pairs_of
        from t2i.training.contrastive.towers import start

        if run.main and config.clip.resume == "never":
            for left in path.iterdir():
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        run.barrier()
        towers = start(config.clip, folder, pipeline)
        if run.main:
            shutil.rmtree(path / START, ignore_errors=True)
            towers.save(path / START)
        origin = module_digest(towers.model.text_model)
        train, held_out = (
            pairs_of(run.store, data_stage, data.split(name), towers.size, config.dataset.resolution)
            for name in ("train", "held_out")
        )
        history = Tuner(config.clip, towers, run, train, held_out, path).fit()
        if run.main:
            shutil.rmtree(path / TUNED, ignore_errors=True)
            towers.save(path / TUNED)
            describe(path / TUNED, origin, {"source": config.clip.source, "inputs": inputs, **address})
            began = Path(config.clip.source).name if config.clip.source.startswith("/") else config.clip.source
            card = clip_card(
                began, config.dataset.name, len(train), data.licenses("train"), flat({**address, "inputs": inputs}),
                history["held_out"],
            )  # fmt: skip
            (path / TUNED / "README.md").write_text(card, encoding="utf-8")
            shutil.rmtree(path / "checkpoints")
        run.barrier()

    return run.stage("clip", inputs, address, VERSION, build, collective=True, resumable=True)
