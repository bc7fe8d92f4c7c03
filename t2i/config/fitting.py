"""Settings that mean nothing to the model's family: told before anything is loaded."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from t2i.errors import ConfigError, UserError
from t2i.models import source
from t2i.models.adapters import kinds
from t2i.models.adapters.kinds import FAMILIES, NETWORKS, Found, Kind, identify
from t2i.models.config import Init, Model
from t2i.models.families.family import Family
from t2i.sampling.config import Scheduler
from t2i.training.config import Training
from t2i.training.inversion import Words
from t2i.training.strategies import Strategy


def family_here(config: Model) -> Family | None:
    """The family of a model, asking this machine alone; None where nothing here tells it."""
    here = source.is_file(config) or Path(config.source).expanduser().is_dir()
    try:
        if config.init is Init.pretrained and here:
            return source.family(config)
        return source.family_of_settings(source.architecture(config)) if config.architecture else None
    except UserError:
        return None  # told where the model is loaded, with what to do


def refuse(
    config: Model, schedulers: Iterable[Scheduler], training: Training | None, strategy: Strategy | None = None
) -> None:
    """ConfigError for a scheduler, and for keys of a training, that mean nothing to what the model was trained to predict; and
    for a strategy that means nothing to its networks.
    """
    family = family_here(replace(config, without=[]))
    if family is None:
        return
    family = source.without(family, config.without)
    _refuse_size(config, family)
    if strategy is not None and (reason := strategy.refuses(family)):
        raise ConfigError(reason)
    if strategy is not None and (reason := _refused_words(config, strategy)):
        raise ConfigError(reason)
    flow = family.objective == "flow"
    for scheduler in schedulers:
        scheduler.refuse_unlike(flow, config.name)
    if flow and training is not None and (reason := training.flow_refusal(config.name)):
        raise ConfigError(reason)


def _refused_words(config: Model, strategy: Strategy) -> str | None:
    """Why the model's tokenizer, where this machine has it, cannot be taught the strategy's words."""
    from t2i.models.tokenizer import TokenCounter

    if not isinstance(strategy, Words) or not source.tokenizer_here(config):
        return None
    with suppress(UserError):  # told where the model is loaded
        return strategy.refuses_words(TokenCounter(config).tokenizer, config.name)
    return None


def refuse_weights(config: Model, names: Iterable[str], scales: Sequence[float]) -> None:
    """ConfigError for `weights=` and `weights_scale=` that no run could use, and for files made for another family of models."""
    names = list(names)
    kinds.refuse_weights(names, scales)
    if not names or family_here(config) is None:
        return
    try:
        source.settings(config)
    except UserError:
        return  # as in `family_here`
    for found in (identify(Path(name).expanduser()) for name in names):
        if found.kind is not Kind.run:
            refuse_family(config, found)


def refuse_family(config: Model, found: Found) -> None:
    """ConfigError when the file was made for models of another width of text states."""
    family, settings = source.family(config), source.settings(config)
    reads = family.text_width(settings)
    if found.kind in NETWORKS and found.kind.name not in family.trained:
        raise ConfigError(
            f"weights={found.path} is a {found.kind.value}, and model={config.name} has {', '.join(family.trained)}; use "
            "the model that it was made for"
        )
    if found.kind.name in family.encoders:
        reads = settings[found.kind.name]["hidden_size"]
    if (found.width and found.width != reads) or (
        # names of layers tell transformers from U-Nets, and not from each other: their layers are compared on loading
        found.family
        and not found.width
        and family.denoiser == "unet"
        and found.family not in (FAMILIES.get(reads), family.title)
    ):
        width = f" (text states {found.width} wide)" if found.width else ""
        raise ConfigError(
            f"weights={found.path} seems to be {found.spoken}{width}, and model={config.name} reads text states {reads} wide; "
            "use the model that it was made for"
        )


def refuse_drawing(config: Model, begins: bool, masked: bool, weighted: bool) -> None:
    """ConfigError for a picture to begin from, and for weights of words, that mean nothing to the model's family."""
    if not (begins or weighted) or (family := family_here(config)) is None:
        return
    if begins:
        family.require_beginning(masked)
    if weighted:
        family.require_weights()


def refuse_format(config: Model, format: str) -> None:
    """ConfigError for a format of files that the model's family does not have. format: of task=export."""
    if (family := family_here(config)) is None:
        return
    if format == "kohya" and not family.kohya:
        raise ConfigError(
            f"format=kohya has no names for the layers of {family.title}; use format=diffusers with fused=false, or format=peft"
        )
    with suppress(UserError):  # as in `_refuse_size`
        if format == "single_file" and not family.prefixes(source.settings(config)):
            raise ConfigError(f"{family.title} has no single file that is written here; use format=diffusers")


def _refuse_size(config: Model, family: Family) -> None:
    """ConfigError for a resolution that the family's latents cannot have."""
    try:
        settings = source.settings(config)
    except UserError:
        return  # as above
    grain, most = family.sides(settings)
    if config.resolution % grain == 0 and config.resolution <= (most or config.resolution):
        return
    nearest = max(1, round(config.resolution / grain)) * grain
    limit = f" of at most {most}" if most else ""
    raise ConfigError(
        f"model.resolution={config.resolution} is not a multiple of {grain}{limit}, which the latents of "
        f"model={config.name} need; use e.g. model.resolution={min(nearest, most or nearest)}"
    )
