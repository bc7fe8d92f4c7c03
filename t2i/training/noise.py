"""The noise schedule that is trained, which is the one that pictures are drawn with afterwards."""

from diffusers import DDPMScheduler

from t2i.errors import ConfigError
from t2i.models.load import Models
from t2i.training.config import Training

ZERO_TERMINAL = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "clip_sample": False}
"""Of a scheduler's configuration: Lin et al. 2023, algorithm 1, and the steps that then start at the last timestep. DDIM
would clip samples at 1, which is for pixels."""


def settle(config: Training, models: Models) -> None:
    """Write into `models` what the training makes of its noise schedule: it is sampled, and exported, as it was trained.

    Raises ConfigError where the model cannot be trained with it.
    """
    if not config.zero_terminal_snr:
        return
    if models.scheduler_config.get("prediction_type") != "v_prediction":
        raise ConfigError(
            f"training.zero_terminal_snr=true with model={models.name}, which predicts noise: pure noise tells "
            "nothing about itself; use a model that predicts velocity, or training.zero_terminal_snr=false"
        )
    models.scheduler_config = models.scheduler_config | ZERO_TERMINAL


def schedule(models: Models) -> DDPMScheduler:
    """The noise that is added while training."""
    return DDPMScheduler.from_config(models.scheduler_config)
