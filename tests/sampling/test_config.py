"""Schedulers keep the model's noise schedule, and values that no run could use are refused."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from t2i.config import CONF, compose
from t2i.errors import ConfigError
from t2i.models.load import Models
from t2i.sampling.config import Guidance, Scheduler, Spacing, shipped

from ..models.toy_sd3 import SHIFT

FLOWING = sorted(name for name, one in shipped().items() if one.flows)
SCHEDULERS = sorted(shipped().keys() - FLOWING)
MOST = {"flow_euler": 1000, "flow_heun": 1000, "flow_dpmpp_2m": 350, "flow_unipc": 333}
"""Steps along the flow at a shift of 3: multistep solvers round times down, and the first ones lie 3 times closer than the
others.
"""


def test_every_file_is_one_of_the_two_kinds() -> None:
    assert {*FLOWING, *SCHEDULERS} == {path.stem for path in (CONF / "scheduler").glob("*.yaml")}
    assert len(FLOWING) >= 4 and all(name.startswith("flow_") == (name in FLOWING) for name in shipped())


@pytest.mark.parametrize("name", FLOWING)
def test_a_scheduler_along_the_flow_keeps_the_models_shift(flowing: Models, name: str) -> None:
    config = compose([f"scheduler={name}"]).scheduler
    config.validate()
    built = config.build(flowing.schedule()).config
    assert config.name == name and built["num_train_timesteps"] == 1000
    assert built["shift" if config.type.startswith("FlowMatch") else "flow_shift"] == SHIFT
    assert all(built[key] == value for key, value in config.options.items())


@pytest.mark.parametrize("name", FLOWING)
def test_any_number_of_steps_along_the_flow_is_taken(flowing: Models, name: str) -> None:
    """From pure noise on, every time once and each nearer to the picture; where whole times come twice, the number is refused
    with the largest that is taken.
    """
    config = compose([f"scheduler={name}"]).scheduler
    most = MOST[name]
    for steps in (1, 2, 3, 10, 25, 50, 100, 333, 334, 350, 351, 500, 1000):
        own = replace(config, steps=steps)
        if steps > most:
            said = rf"scheduler\.steps={steps} is too many for .* use at most scheduler\.steps={most}$"
            with pytest.raises(ConfigError, match=said):
                own.start(flowing.schedule(), flowing.grid)
            continue
        timesteps = own.start(flowing.schedule(), flowing.grid).timesteps
        assert 0 <= timesteps.min() and 998 < timesteps.max() <= 1000
        assert len(timesteps.unique()) == steps and bool((timesteps.diff() <= 0).all())


@pytest.mark.parametrize("name", [*SCHEDULERS, *FLOWING])
def test_a_scheduler_of_the_other_objective_is_refused_with_those_that_fit(
    models: Models, flowing: Models, name: str
) -> None:
    config = compose([f"scheduler={name}"]).scheduler
    other, fit = (models, SCHEDULERS) if config.flows else (flowing, FLOWING)
    with pytest.raises(ConfigError, match=rf"scheduler={name} .* use one of: {', '.join(fit)}"):
        config.start(other.schedule(), other.grid)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_scheduler_keeps_the_models_noise_schedule(models: Models, name: str) -> None:
    config = compose([f"scheduler={name}"]).scheduler
    config.validate()
    assert config.name == name
    built = config.build(models.scheduler_config).config
    for key in ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule"):
        assert built[key] == models.scheduler_config[key]
    assert all(built[key] == value for key, value in config.options.items())


def test_options_override_the_models_schedule(models: Models) -> None:
    scheduler = Scheduler(type="DDIMScheduler", options={"timestep_spacing": "trailing"})
    assert scheduler.build(models.scheduler_config).config["timestep_spacing"] == "trailing"


def test_a_misspelt_option_is_refused_and_not_ignored(models: Models) -> None:
    scheduler = Scheduler(type="DDIMScheduler", options={"timestep_spacin": "trailing"})
    with pytest.raises(
        ConfigError, match=r"scheduler\.options\.timestep_spacin is no option of DDIMScheduler.*timestep_spacing"
    ):
        scheduler.build(models.scheduler_config)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_any_number_of_steps_stays_in_the_trained_range_or_is_refused(models: Models, name: str) -> None:
    config = compose([f"scheduler={name}"]).scheduler
    most = 50 if name == "lcm" else 500  # a distilled model knows the 50 timesteps that it was distilled on
    for steps in (1, 2, 3, 10, 25, 50, 100, 333, 500):
        if steps > most:
            said = rf"scheduler\.steps={steps} is too many for scheduler=lcm .*at most scheduler\.steps=50"
            with pytest.raises(ConfigError, match=said):
                replace(config, steps=steps).start(models.scheduler_config)
            continue
        timesteps = replace(config, steps=steps).start(models.scheduler_config).timesteps
        assert 0 <= timesteps.min() and timesteps.max() <= 999
        assert len(timesteps.unique()) == steps or config.options.get("use_karras_sigmas")
    if name == "lcm" or config.options.get("use_karras_sigmas"):
        return
    # every step of the training, shifted by one as SD 1.x shifts them, begins after the last
    with pytest.raises(ConfigError, match=r"scheduler\.steps=1000 is too many for .* use at most scheduler\.steps=500"):
        replace(config, steps=1000).start(models.scheduler_config)


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"steps": 1001}, {"eta": -0.1}, {"eta": float("nan")}], ids=lambda value: str(value)
)
def test_impossible_scheduler_settings(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"scheduler.{next(iter(wrong))}="):
        Scheduler(type="DDIMScheduler", **wrong).validate()


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), -1.0, 101.0])
def test_impossible_guidance(scale: float) -> None:
    with pytest.raises(ConfigError, match=r"cfg\.scale="):
        Guidance(scale=scale).validate()


@pytest.mark.parametrize(("name", "scale"), [("off", 1.0), ("low", 5.0), ("default", 7.5), ("high", 10.0)])
def test_named_guidance(name: str, scale: float) -> None:
    guidance = compose([f"cfg={name}"]).cfg
    guidance.validate()
    assert guidance.scale == scale and guidance.active is (scale > 1)


def test_spacing_chooses_the_timesteps(models: Models) -> None:
    firsts = {
        spacing: Scheduler(type="DDIMScheduler", steps=10, spacing=spacing).start(models.scheduler_config).timesteps[0]
        for spacing in Spacing
    }
    assert {spacing.value: int(first) for spacing, first in firsts.items()} == {
        "leading": 901,  # 9 * 100, and one more by SD 1.x's steps_offset
        "linspace": 999,
        "trailing": 999,
    }
    with pytest.raises(ConfigError, match=r"scheduler\.spacing=trailing is unknown to"):
        Scheduler(type="RePaintScheduler", spacing=Spacing.trailing).build(models.scheduler_config)


@pytest.mark.parametrize(
    "wrong", [{"rescale": 1.1}, {"rescale": -0.1}, {"interval": [5.0]}, {"interval": [800.0, 200.0]}]
)
def test_impossible_rescale_and_interval(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"cfg\.{next(iter(wrong))}="):
        Guidance(**wrong).validate()


def test_rescaled_guidance_has_the_spread_of_the_conditional_half() -> None:
    g = torch.Generator().manual_seed(0)
    unconditional, conditional = torch.randn(2, 3, 4, 8, 8, generator=g)
    plain, whole, half = (Guidance(7.5, rescale=r).combine(unconditional, conditional) for r in (0.0, 1.0, 0.5))
    assert torch.equal(plain, unconditional + 7.5 * (conditional - unconditional))
    for k in range(3):
        assert whole[k].std() == pytest.approx(float(conditional[k].std()), rel=1e-5)
    assert torch.allclose(half, (plain + whole) / 2, atol=1e-5)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_terminal_snr_of_zero_is_honoured_or_refused_by_name(models: Models, name: str) -> None:
    """What the scheduler starts from is pure noise: its largest noise level is as good as infinite."""
    trained = models.scheduler_config | {
        "rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "prediction_type": "v_prediction",
    }  # fmt: skip
    config = compose([f"scheduler={name}"]).scheduler
    if name in ("deis", "heun", "lms", "pndm"):
        with pytest.raises(ConfigError, match=rf"scheduler={name} ignores .* use one of: ddim, ddpm, .*euler"):
            config.start(trained)
        return
    scheduler = config.start(trained)
    assert float(scheduler.alphas_cumprod[-1]) < 1e-6
    # told otherwise, by whoever knows better
    assert replace(config, options={**config.options, "rescale_betas_zero_snr": False}).build(trained) is not None
