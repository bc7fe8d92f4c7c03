"""What a configuration means for identity: which of its keys a result hangs on.

Stages take their address from here, caches of a run their key, and studies the name of a cell, so that a value which
changes a result cannot be missing in one of them. Files are not looked at: what lies behind a path or a hub id is told by
its digest, which is added where the files are read.
"""

from collections.abc import Iterable
from typing import Any, Optional

from t2i.config import Config, as_dict
from t2i.evaluation.config import CLIPS, DEFAULT_RESIZE, JUDGES, PROMPTS, READERS
from t2i.evaluation.extractors.precision import ROWS
from t2i.processes import device_type
from t2i.sampling.engine import Engine
from t2i.sampling.given import STRENGTH

OF_A_CELL = (
    "dataset", "model", "strategy", "training", "scheduler", "cfg", "eval", "sampling", "weights", "weights_scale", "seed",
    "batch_size",
)  # fmt: skip
"""Top keys that a cell of a sweep reads. The others belong to the sweep, or to other tasks."""

TRAINING = ("strategy", "training")
"""Top keys with which a cell has a training of its own."""

NO_RESULT: dict[str, str] = {
    "task": "which question is asked",
    "parts": "which parts of a pipeline are done",
    "elsewhere": "which further question is asked",
    "then": "what follows",
    "plan": "nothing is done",
    "debug": "what is printed",
    "outputs": "where results lie",
    "track": "where they are shown",
    "serve": "the web page",
    "store": "what is looked after",
    "runs": "finished results that are read",
    "pictures": "finished pictures that are judged",
    "run": "a finished run that is packed",
    "bundle": "a finished run that is repeated",
    "recipe": "a picture that is made again by what is written in it",
    "format": "how finished weights are written for others",
    "dtype": "in which numbers they are written",
    "fused": "whether as one with the model",
    "dataset.name": "what the data are called",
    "dataset.obtain": "part of a message",
    "dataset.quarantine": "when preparation stops",
    "charts.rows": "how much of it a figure shows",
    "launch.processes": "shares the work: the same samples, numbers equal to rounding",
    "launch.shard": "shares the weights: the same samples, numbers equal to rounding",
    "batch_size": "pictures drawn at once: equal to rounding",
    "sampling.keep_text": "speed: equal to rounding",
    "sampling.channels_last": "speed: equal to rounding",
    "sampling.compile": "speed: equal to rounding",
    "sampling.attention_slicing": "memory: equal to rounding",
    "sampling.vae_slicing": "memory: equal to rounding",
    "sampling.cpu_offload": "memory",
    "training.micro_batch": "memory: equal to rounding",
    "training.attention_slicing": "memory: equal to rounding",
    "training.channels_last": "speed: equal to rounding",
    "training.compile": "speed: equal to rounding",
    "training.cache_latents": "speed: the same latents",
    "training.cache_text": "speed: the same text states",
    "training.keep": "checkpoints while it runs",
    "training.log_every": "lines of the log",
    "training.save_every": "checkpoints while it runs",
    "training.milestones": "which checkpoints stay",
    "training.held_out_images": "how exactly the loss is told",
    "training.validation_images": "pictures while it runs",
    "training.validation_prompts": "pictures while it runs",
    "training.export_pipeline": "a further form of the weights",
    "training.resume": "where it goes on; a checkpoint that it names is an input of the training",
    "training.resume_force": "where it goes on",
    "clip.chunk": "memory: equal to rounding",
    "clip.keep": "checkpoints while it runs",
    "clip.resume": "where it goes on",
}
"""Keys that cannot change a result, each with what it decides. Every other key changes the address of some stage."""


def model(config: Config) -> dict[str, Any]:
    """Which model. Keys that came later are said where they act, so that what is finished has its address."""
    return {name: value for name, value in as_dict(config.model).items() if name != "without" or value}


def networks(config: Config) -> dict[str, Any]:
    """Behind a loaded model, beside its files and the tuned weights: sizes, arithmetic, and how it is set up."""
    return {
        "model": as_dict(config.model),
        "sampling": as_dict(config.sampling),
        "precision": config.launch.precision,
        "device": device_type(),
    }


def pictures(config: Config) -> dict[str, Any]:
    """Behind a generated set, beside model, weights and captions; picture i has the seed `seed` + i."""
    return {
        "scheduler": as_dict(config.scheduler),
        "cfg": guidance(config),
        "seed": config.seed,
        "resolution": config.model.resolution,
        "precision": config.launch.precision,
        "device": device_type(),
        **({"strength": strength(config)} if config.image is not None else {}),
        **({"vae_tiling": True} if config.sampling.vae_tiling else {}),  # the one switch that shows
        **engine(config),
    }


def engine(config: Config) -> dict[str, Any]:
    """What computed a picture, where it was not torch: it sums in another order, to two grey levels."""
    own = config.sampling.engine
    return {} if own is Engine.torch else {"engine": own.value}


def converted(config: Config) -> dict[str, Any]:
    """Behind a converted model, beside its files and the tuned weights: sizes and numbers."""
    return {"resolution": config.model.resolution, "precision": "float32"}


def strength(config: Config) -> float:
    """How much of `image` is drawn anew."""
    return STRENGTH if config.strength is None else config.strength


def guidance(config: Config) -> dict[str, Any]:
    """Of `cfg` what acts: addresses of before there were weights of words are those of prompts without."""
    found = as_dict(config.cfg)
    return found if config.cfg.prompt_weights else {k: v for k, v in found.items() if k != "prompt_weights"}


def trained(config: Config, total: Optional[int] = None) -> dict[str, Any]:
    """Behind tuned weights, beside model and data. total: optimizer steps, where known: a warm-up has at most those."""
    return {
        "training": config.training.result_slice(total),
        "strategy": strategy(config),
        "precision": config.launch.precision,
        "device": device_type(),
    }


def strategy(config: Config) -> dict[str, Any]:
    """What trains. Keys that came later are said where they act, so that finished trainings have their address."""
    return {name: value for name, value in as_dict(config.strategy).items() if name != "encoders" or value}


def evaluators(config: Config) -> dict[str, Any]:
    """Behind the loaded networks that read pictures and texts, beside their files."""
    own = config.eval
    names = ("extractor", "clip", "inception", "dinov2", "exact")
    return {**{name: getattr(own, name) for name in names}, "resize": own.resize_policy, "device": device_type()}


def inexact(config: Config) -> dict[str, Any]:
    """Behind features beside their network: said only where they are not in float64, so that those have their address. How many
    rows are computed at once and by how many threads decides their last digits, so it is part of it.
    """
    return {} if config.eval.exact else {"exact": False, "rows": ROWS, "threads": 1}


def resized(config: Config) -> dict[str, Any]:
    """Behind features of the CLIP, where it does not resize pictures in its own way."""
    own = config.eval.resize_policy
    return {} if config.eval.extractor not in CLIPS or own == DEFAULT_RESIZE["clip"] else {"resize": own}


def numbers(config: Config) -> dict[str, Any]:
    """Behind the numbers of a set of pictures, beside the digests of what they are held against. Keys that came later are said
    where they act, so that finished numbers have their address: of the judges those that are asked.
    """
    own = config.eval
    asked = {key for name, keys in JUDGES.items() if name in own.metrics for key in keys}
    composed, published = "composition" in own.metrics, "geneval_prompts" in own.metrics
    if published or (composed and own.judge == "vlm"):
        asked.add("vlm")
    idle = {"reference", *(key for keys in JUDGES.values() for key in keys)} - asked
    if not composed:
        idle |= {key for key, value in {"prompts": PROMPTS, "judge": READERS[0]}.items() if getattr(own, key) == value}
    return {name: value for name, value in as_dict(own).items() if name not in idle}


def held_out_loss(config: Config) -> dict[str, Any]:
    """Behind the loss of held-out pictures, beside data, model and weights."""
    return {
        "seed": config.eval.seed,
        "resolution": config.model.resolution,
        "precision": config.launch.precision,
        "device": device_type(),
    }


def cell(config: Config, trains: bool) -> dict[str, Any]:
    """All that the numbers of a cell of a sweep hang on. trains: whether it has a training of its own."""
    return {
        "dataset": _dataset(config),
        "model": model(config),
        "pictures": pictures(config),
        "numbers": numbers(config),
        "reference": config.eval.reference,
        "trained on": config.training.images,  # the pictures that memorisation is told by
        **(
            {"trained": trained(config), "start": start_of(config)}
            if trains
            else {"weights": config.weights_given, "scales": list(config.weights_scale)}
        ),
    }


def start_of(config: Config) -> Optional[str]:
    """The checkpoint that a training starts from by its name; None where it starts from the model."""
    return None if config.training.resume in ("auto", "never") else config.training.resume


def _dataset(config: Config) -> dict[str, Any]:
    """Which data. Regularisation captions came later and are said where there are any."""
    found = _acting("dataset", as_dict(config.dataset))
    return {name: value for name, value in found.items() if name != "regularisation" or value}


def _acting(group: str, values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if f"{group}.{name}" not in NO_RESULT}


def trains(keys: Iterable[str]) -> bool:
    """Whether cells with values for these keys have trainings of their own."""
    return any(top(key) in TRAINING for key in keys)


def top(key: str) -> str:
    """`scheduler` of `scheduler.steps` and of `+scheduler.options.x`."""
    return key.lstrip("+").split(".")[0]
