"""The noise schedule that is trained, which is the one that pictures are drawn with afterwards."""

from t2i.errors import ConfigError
from t2i.models.parts import Models
from t2i.training.config import Training
from t2i.training.objective import objective_of


def settle(config: Training, models: Models) -> None:
    """Write into `models` what the training makes of its noise schedule: it is sampled, and exported, as it was trained.

    Raises ConfigError where the model cannot be trained with it.
    """
    objective = objective_of(models, config)
    if reason := objective.refuses(models.name):
        raise ConfigError(reason)
    models.scheduler_config = models.scheduler_config | objective.settings()
