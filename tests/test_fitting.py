"""What means nothing to a model's family is refused while composing: every scheduler, keys of a training, sizes."""

import sys
from subprocess import run

import pytest

from t2i.config import compose
from t2i.errors import ConfigError
from t2i.places import PROJECT
from t2i.sampling.config import shipped

FLOWS = {"tiny": False, "tiny_sdxl": False, "tiny_flow": True}
RANDOM = "model.init=random"


@pytest.mark.parametrize("scheduler", sorted(shipped()))
@pytest.mark.parametrize("model", FLOWS)
def test_schedulers_fit_or_are_refused_with_those_that_do(model: str, scheduler: str) -> None:
    config = compose([f"model={model}", f"scheduler={scheduler}"])
    if shipped()[scheduler].flows is FLOWS[model]:
        config.validate()
        return
    with pytest.raises(ConfigError) as caught:
        config.validate()
    said = str(caught.value)
    fitting = {name for name, one in shipped().items() if one.flows is FLOWS[model]}
    assert said.startswith(f"scheduler={scheduler} ") and f"model={model}" in said
    assert set(said.rpartition("one of: ")[2].split(", ")) == fitting


@pytest.mark.parametrize(
    "key", ["training.min_snr_gamma=5", "training.noise_offset=0.1", "training.zero_terminal_snr=true"]
)
@pytest.mark.parametrize("task", ["pipeline", "train"])
def test_keys_of_a_training_that_mean_nothing_along_a_flow(task: str, key: str) -> None:
    name = key.partition("=")[0]
    with pytest.raises(ConfigError, match=rf"^{name} has no meaning for model=tiny_flow, .* use {name}="):
        compose([f"task={task}", "model=tiny_flow", key]).validate()
    compose(["task=generate", "model=tiny_flow", key]).validate()  # which trains nothing


@pytest.mark.parametrize(
    ("model", "grain"),
    [("sd15", 8), ("sdxl", 8), ("sd35_medium", 16), ("flux2_klein_4b", 16), ("tiny_flow", 8)],
)
def test_a_size_that_latents_cannot_have(model: str, grain: int) -> None:
    if model == "tiny_flow":
        compose(["model=tiny_flow", "model.resolution=72"]).validate()
        return
    compose([f"model={model}", RANDOM, "model.resolution=528"]).validate()
    config = compose([f"model={model}", RANDOM, "model.resolution=520"])
    if grain == 8:
        config.validate()
        return
    with pytest.raises(
        ConfigError, match=r"model.resolution=520 is not a multiple of 16\b.*, .*use e.g. model.resolution=(512|528)"
    ):
        config.validate()


def test_a_picture_larger_than_the_positions_that_are_known() -> None:
    """Sixteen latents of eight pixels."""
    compose(["model=tiny_flow", "model.resolution=128"]).validate()
    said = r"resolution=200 is not a multiple of 8 of at most 128, .*use e.g. model.resolution=128"
    with pytest.raises(ConfigError, match=said):
        compose(["model=tiny_flow", "model.resolution=200"]).validate()


def test_refusing_imports_no_network() -> None:
    """In a process of its own: what is told within two seconds needs no torch."""
    code = (
        "import sys\nfrom t2i.config import compose\n"
        "try:\n    compose(['model=tiny_flow', 'scheduler=ddim']).validate()\n"
        "except Exception as error:\n    print(type(error).__name__, 'torch' in sys.modules, 'diffusers' in sys.modules)\n"
    )
    found = run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, check=True)
    assert found.stdout.split() == ["ConfigError", "False", "False"]
