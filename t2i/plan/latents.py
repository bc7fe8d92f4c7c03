"""Which caches a training would read, looked up without loading a network."""

import json
from dataclasses import replace

from t2i.config import Config, as_dict
from t2i.context import Run
from t2i.stages.shared import dtype_of, model_digest, prepared, training_split


def latents(config: Config, run: Run, name: str) -> None:
    """Ask the store for the latents of a split (train, held_out)."""
    _asked(config, run, name, cache_text=False)


def text_states(config: Config, run: Run, name: str) -> None:
    """Ask the store for the text states of a split."""
    _asked(config, run, name, cache_latents=False)


def _asked(config: Config, run: Run, name: str, **off: bool) -> None:
    import torch

    from t2i.models.weightless import weightless
    from t2i.training.dataset import latent_set

    stage, data = prepared(config, run)
    split = training_split(config, data) if name == "train" else data.split(name)
    models = run.kept("weightless", as_dict(config.model), lambda: weightless(config.model))
    if models is None:
        return
    models.to("meta", dtype_of(config)).digest = model_digest(config, run)
    text_trains = config.strategy.trains_text
    flip = config.training.flip and name == "train"
    settings = replace(config.training, **off)  # type: ignore[arg-type]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    latent_set(run.store, stage, split, models, settings, text_trains, flip, device)


def clip_pixels(config: Config, run: Run, name: str) -> None:
    """Ask the store for the pictures of a split at the size of the CLIP that is tuned."""
    from t2i.tasks.clip import source_folder
    from t2i.training.contrastive.pairs import pairs_of

    stage, data = prepared(config, run)
    settings = json.loads((source_folder(config) / "config.json").read_text(encoding="utf-8"))
    size = int(settings["vision_config"]["image_size"])
    pairs_of(run.store, stage, data.split(name), size, config.dataset.resolution)
