"""Settings of a training that do not go together with what trains, or with its data: told before anything is loaded."""

from t2i.data.base import Dataset
from t2i.errors import ConfigError
from t2i.training.config import Optimizer, Prior, Training
from t2i.training.strategies import Strategy


def refuse_shards(training: Training, strategy: Strategy, precision: str) -> None:
    """Raise ConfigError for what cannot train with `launch.shard=true`. precision: no, fp16 or bf16."""
    if not strategy.whole:
        raise ConfigError(
            f"launch.shard=true with strategy={strategy.kind}, which trains too little for it: use strategy=unet or both, or "
            "launch.shard=false, which is faster where each GPU can hold the model"
        )
    if training.optimizer not in (Optimizer.adamw, Optimizer.sgd):
        raise ConfigError(
            f"launch.shard=true with training.optimizer={training.optimizer.value}, whose rule looks at whole tensors: use adamw "
            "or sgd, whose state is spread over the processes too"
        )
    if precision == "fp16":
        raise ConfigError(
            "launch.shard=true with launch.mixed_precision=fp16, whose loss scale each process would choose for itself: use "
            "bf16"
        )
    if training.prior is Prior.base:
        raise ConfigError(
            "launch.shard=true with training.prior=base, which would keep a second copy of what is spread: use "
            "training.prior=pictures, or launch.shard=false"
        )
    if training.compile or training.channels_last:
        key = "compile" if training.compile else "channels_last"
        raise ConfigError(
            f"launch.shard=true with training.{key}=true, which shards do not take: use training.{key}=false"
        )


def refuse_prior(training: Training, strategy: Strategy, dataset: Dataset) -> None:
    """Raise ConfigError for a prior that could hold nothing back."""
    if training.prior is None:
        return
    if reason := strategy.refuses_prior(training.prior is Prior.base):
        raise ConfigError(f"training.prior={training.prior.value} with strategy={strategy.kind}, {reason}")
    dataset.validate_root()
    regularisation_captions(training, dataset)


def regularisation_captions(training: Training, dataset: Dataset) -> list[str]:
    """What the prior is of, once the data were acquired; ConfigError where nothing says it."""
    if training.prior is None:
        return []
    if found := list(dict.fromkeys(dataset.regularised())):
        return found
    raise ConfigError(
        f"training.prior={training.prior.value} needs captions of what is to stay as it is, and dataset={dataset.name} knows "
        "none; type dataset.regularisation=['a photo of a dog'], or dataset.class_word=dog with dataset=subject"
    )
