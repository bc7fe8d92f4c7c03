"""The networks that a run loads: the base or the tuned model, and the evaluators; each loaded once."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Optional

from t2i import identity
from t2i.config import Config, as_dict
from t2i.context import Run
from t2i.errors import ConfigError
from t2i.models import source
from t2i.processes import device_type
from t2i.sampling.engine import Engine
from t2i.stages.tuned import Tuned, apply_tuned

if TYPE_CHECKING:
    from t2i.evaluation.config import Evaluation
    from t2i.evaluation.extractors.judges import Judge
    from t2i.evaluation.extractors.registry import Extractor, ImageExtractor
    from t2i.models.parts import Models


def model_digest(config: Config, run: Run) -> str:
    """What identifies the base model of this configuration; that of the first one asked for is recorded with the run."""
    found = run.kept("model digest", as_dict(config.model), lambda: source.digest(config.model, run.store))
    run.tags.setdefault("digest.model", found)
    return found


def require_one_encoder(config: Config) -> None:
    """ConfigError for a model whose text encoder is not one that a CLIP can start from and go back to."""
    family = source.family(config.model)
    if family.unlike_clip:
        raise ConfigError(
            f"clip.text_from_model=true with model={config.model.name}: {family.title} reads {family.unlike_clip}, "
            "and a CLIP has one text tower; use task=train strategy=text_encoder, or clip.text_from_model=false"
        )


def precision_of(config: Config) -> str:
    """no, fp16 or bf16."""
    return config.launch.precision


def dtype_of(config: Config) -> Any:
    """The compute dtype of frozen networks."""
    import torch

    return {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision_of(config)]


def load_models(config: Config, run: Run, tuned: Optional[Tuned] = None) -> "Models":
    """The base or the tuned model in torch on this process's device, in its compute dtype; the last two are kept."""
    from t2i.models.load import load

    config = replace(config, sampling=replace(config.sampling, engine=Engine.torch))

    def make() -> "Models":
        if config.cfg.prompt_weights:
            source.family(config.model).require_weights()
        models = load(config.model, run.store)
        if tuned is not None:
            apply_tuned(models, tuned)
        device = run.accelerator.device
        if config.sampling.cpu_offload and device.type != "cpu":
            models.to("cpu", dtype_of(config)).offloaded_from = device
        else:
            models.to(device, dtype_of(config))
        config.sampling.apply(models)
        return models

    return run.kept("models", loaded_from(config, run, tuned), make, most=2)


def loaded_from(config: Config, run: Run, tuned: Optional[Tuned]) -> list[Any]:
    """All that loaded networks are made from."""
    return [identity.networks(config), model_digest(config, run), tuned.digest if tuned else None]


def extractor_of(config: Config, run: Run) -> "Extractor":
    """The CLIP that reads images and texts, loaded once a run."""
    from t2i.evaluation.extractors import registry as extractors

    return run.kept("clip", identity.evaluators(config), lambda: extractors.build(config.eval, device_type()), most=2)


def extractors_of(config: Config, run: Run) -> "tuple[ImageExtractor, Extractor]":
    """The network that `eval.extractor` names, and the CLIP for metrics that need texts; loaded once a run."""
    from t2i.evaluation.config import CLIPS
    from t2i.evaluation.extractors import registry as extractors

    clip = extractor_of(config, run)
    if config.eval.extractor in CLIPS:
        return clip, clip

    def make() -> "ImageExtractor":
        return extractors.EXTRACTORS[config.eval.extractor](config.eval, device_type())

    return run.kept("extractor", identity.evaluators(config), make, most=2), clip


def judges_of(evaluation: "Evaluation") -> "dict[str, Judge]":
    """Networks that only one metric asks for, by its name; loaded when they are asked, and not kept."""
    from t2i.evaluation.extractors import judges

    return judges.judges(evaluation, device_type())
