"""The one way in which stages and tasks draw: the configured model, scheduler and guidance, a batch at a time."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Optional

from t2i.config import Config, as_dict
from t2i.context import Run
from t2i.stages.converted import drawing_models
from t2i.stages.networks import loaded_from, model_digest
from t2i.stages.tuned import Tuned

if TYPE_CHECKING:
    import numpy as np

    from t2i.sampling.given import Beginning


def origin_of(config: Config, run: Run, tuned: Optional[Tuned]) -> dict[str, Any]:
    """Which model and weights a picture comes from, as its recipe tells it."""
    weights = tuned.origin if tuned else None
    return {"model": {**as_dict(config.model), "digest": model_digest(config, run)}, "weights": weights}


def draw(
    config: Config,
    run: Run,
    tuned: Optional[Tuned],
    prompts: Sequence[str],
    seeds: Sequence[int],
    on_batch: Callable[[int], object] = lambda done: None,
    beginning: "Optional[Beginning]" = None,
) -> "Iterator[np.ndarray]":
    """Batches of pictures, uint8 (n, H, W, 3), of the configured model, scheduler and guidance; one prompt and seed each.

    beginning: the picture that all are drawn from.
    """
    from t2i.sampling.sampler import encode, sample

    models = drawing_models(config, run, tuned)
    # The cells of a sweep share their prompts: the last ones stay encoded.
    made_from = [loaded_from(config, run, tuned), config.cfg.negative_prompt, config.cfg.prompt_weights, list(prompts)]
    conditions = run.kept("conditions", made_from, lambda: encode(models, prompts, config.cfg), most=1)
    return sample(
        models,
        conditions,
        seeds,
        config.scheduler,
        config.cfg,
        config.batch_size,
        on_batch,
        keep_text=config.sampling.keeps_text,
        beginning=beginning,
    )
