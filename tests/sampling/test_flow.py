"""Schedulers along the flow at equal steps: their grids differ, and recipes and definitions say so."""

from dataclasses import replace
from pathlib import Path

import pytest

from t2i.config import compose
from t2i.evaluation.definition import differences
from t2i.models.load import Models, load
from t2i.sampling import grid
from t2i.sampling.config import Scheduler, shipped
from t2i.store import Store
from t2i.web.preview import noise_levels

from ..models import toy_flux2

GRIDS = {
    "flow_euler": (1.0, 0.278, 0.0089, 0.0),
    "flow_heun": (1.0, 0.278, 0.0089, 0.0),
    "flow_dpmpp_2m": (0.9997, 0.4283, 0.2498, 0.0),
    "flow_unipc": (1.0, 0.4298, 0.2519, 0.0),
}
"""10 steps at a shift of 3: the first noise level and the last three, each once.

FlowMatchEuler and Heun share the range from 1 to the shifted 1/1000 into 10 and shift again: 3 t / (1 + 2 t) of 0.002994 is
0.00893. DPM++ has 1 - a for the 10 first of 11 equal a from 1/1000 to 1, UniPC the 10 first of 11 equal levels from 1 to 1/1000.
"""


def ten(name: str) -> Scheduler:
    return compose([f"scheduler={name}", "scheduler.steps=10"]).scheduler


def test_every_scheduler_along_the_flow_has_a_pinned_grid() -> None:
    assert set(GRIDS) == {name for name, one in shipped().items() if one.flows}


@pytest.mark.parametrize("name", GRIDS)
def test_the_grid_of_ten_steps(flowing: Models, name: str) -> None:
    levels = list(dict.fromkeys(ten(name).start(flowing.schedule(), flowing.grid).sigmas.tolist()))
    assert len(levels) == 11
    assert [levels[0], *levels[-3:]] == pytest.approx(GRIDS[name], abs=5e-5)


@pytest.mark.parametrize("name", GRIDS)
def test_what_is_told_of_a_grid(flowing: Models, name: str) -> None:
    first, _, last, _ = GRIDS[name]
    said = grid.told(flowing, ten(name))["grid"]
    assert said == pytest.approx({"first": first, "last": last, "shift": 3.0}, abs=5e-5)


def test_of_diffusion_nothing_more_is_told(models: Models) -> None:
    assert grid.told(models, ten("ddim")) == {}


def test_the_grid_tells_schedulers_apart_at_equal_steps(flowing: Models) -> None:
    euler, other = (grid.told(flowing, ten(name)) for name in ("flow_euler", "flow_dpmpp_2m"))
    assert differences(euler, other) == ["grid.first", "grid.last"]


def test_the_shift_of_a_size_and_a_number_of_steps_is_told(tmp_path: Path) -> None:
    models = load(toy_flux2.write(tmp_path / "model"), Store(tmp_path / "store"))
    told = {n: grid.told(models, replace(ten("flow_euler"), steps=n))["grid"]["shift"] for n in (10, 50)}
    larger = grid.told(replace(models, resolution=64), ten("flow_euler"))["grid"]["shift"]
    # 64 tokens lie at exp(8.73809524e-05 * 64 + 1.89833333) for 10 steps
    assert told[10] == pytest.approx(6.7124, abs=1e-3) and told[50] < told[10] < larger


@pytest.mark.parametrize("name", GRIDS)
def test_previews_know_the_noise_along_the_flow(flowing: Models, name: str) -> None:
    """After a step to the level s, latents are (1 - s) pictures and s noise."""
    scheduler = ten(name).start(flowing.schedule(), flowing.grid)
    levels = noise_levels(scheduler)
    assert len(levels) == len(scheduler.timesteps) and levels[-1] == (1.0, 0.0)
    scale, noise = levels[-2] if name != "flow_heun" else levels[-3]
    assert (scale, scale * noise) == pytest.approx((1 - GRIDS[name][-2], GRIDS[name][-2]), abs=5e-5)
