"""A model in memory: its family, and its networks loaded strictly or built at random, frozen."""

import json

import torch

from t2i.models import single_file, source
from t2i.models.config import Init, Model
from t2i.models.families.family import Family
from t2i.models.parts import Models
from t2i.models.weightless import tokenizers_for
from t2i.models.weights import class_of, networks_of, strictly
from t2i.store import Store

__all__ = ["Models", "load"]


def load(config: Model, store: Store, seed: int = 0) -> Models:
    """The model in float32 on the CPU, frozen.

    Raises UserError when the source cannot be found or a weight file does not fill the network exactly.
    """
    digest = source.digest(config, store, seed)
    family = source.family(config)
    models = (
        _random(config, family, digest, seed) if config.init is Init.random else _pretrained(config, family, digest)
    )
    models.options = source.options(family, source.settings(config))
    return models.freeze()


def _random(config: Model, family: Family, digest: str, seed: int) -> Models:
    parts = source.architecture(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        networks = networks_of(family, parts)
    tokenizers = tokenizers_for(family, parts)
    return Models(config.name, family, networks, tokenizers, parts["scheduler"], config.resolution, digest)


def _pretrained(config: Model, family: Family, digest: str) -> Models:
    place = source.locate(config)
    if place.is_file():
        networks, tokenizers, schedule = single_file.read(config, family, place)
    else:
        networks = {name: strictly(class_of(kind), place / name) for name, kind in family.networks.items()}
        tokenizers = {name: class_of(kind).from_pretrained(place / name) for name, kind in family.tokenizers.items()}
        schedule = json.loads((place / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    return Models(config.name, family, networks, tokenizers, schedule, config.resolution, digest)
