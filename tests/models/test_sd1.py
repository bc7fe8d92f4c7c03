"""Stable Diffusion 1.x at full size, on the meta device: no weights, no memory, exact numbers.

The numbers were counted on the published checkpoints' architecture, not by this code.
"""

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from t2i.config import compose
from t2i.models.config import Init, Model
from t2i.models.families.sd1 import cross_attention_widths
from t2i.models.load import Models
from t2i.models.weightless import weightless as weightless_networks
from t2i.models.weights import count
from t2i.places import PROJECT
from t2i.training.attention import Attn2, Attn2KV, Attn2ToV
from t2i.training.lora import Lora
from t2i.training.strategies import Both, Strategy, TextEncoder, UNet


@pytest.fixture(scope="session")
def weightless() -> Models:
    """The networks of the bundled architecture file without storage."""
    models = weightless_networks(Model(name="sd1", init=Init.random, architecture="sd1"))
    assert models is not None
    return models


@pytest.fixture
def sd1(weightless: Models) -> Iterator[Models]:
    """The same, without what the test before attached."""
    yield weightless.freeze()
    if hasattr(weightless.unet, "peft_config"):
        weightless.unet.unload_lora()


def test_structure(sd1: Models) -> None:
    assert count(sd1.unet.parameters()) == 859_520_964
    assert count(sd1.text_encoder.parameters()) == 123_060_480
    assert count(sd1.vae.parameters()) == 83_653_863
    widths = [module.to_v.out_features for name, module in sd1.unet.named_modules() if name.endswith("attn2")]
    assert sorted(widths) == [320] * 5 + [640] * 5 + [1280] * 6
    assert sorted(cross_attention_widths(sd1.unet.config)) == sorted(widths)
    assert {m.to_v.in_features for name, m in sd1.unet.named_modules() if name.endswith("attn2")} == {768}


@pytest.mark.parametrize("model", ["sd14", "sd15"])
def test_configuration_expects_the_published_counts(model: str) -> None:
    config = compose([f"model={model}"]).model
    assert config.parameters == {"unet": 859_520_964, "text_encoder": 123_060_480}
    assert (config.tokens, config.width, config.cross_attention_layers) == (77, 768, 16)


@dataclass
class Counted:
    strategy: Strategy
    parameters: int
    tensors: int


ALL_TO_K_AND_V = ["attn2.to_k", "attn2.to_v"]
COUNTS = {
    "attn2_to_v": Counted(Attn2ToV(), 9_584_640, 16),
    "attn2_kv": Counted(Attn2KV(), 19_169_280, 32),
    "attn2": Counted(Attn2(), 43_962_560, 5 * 16),
    "both": Counted(Both(), 859_520_964 + 123_060_480, 686 + 196),
    "lora, rank 4": Counted(Lora(), 797_184, 2 * 4 * 32),
    "lora, rank 8": Counted(Lora(rank=8), 1_594_368, 2 * 4 * 32),
    "lora on attn2.to_v": Counted(Lora(targets=["attn2.to_v"]), 99_072, 2 * 16),
    # rank 1 on to_k and to_v: twice the sum of (768 + width); 4 ranks of one of them are 99,072
    "lora on two projections": Counted(Lora(rank=1, targets=ALL_TO_K_AND_V), 99_072 // 2, 2 * 32),
    # 16 layers of (8 + 4) widths: Linear(w, 8 w) before the gate; rank 2 of (w + 8 w), 5 x 320, 5 x 640, 6 x 1280
    "lora outside the attention": Counted(Lora(rank=2, targets=["ff.net.0.proj"]), 2 * 9 * 12_480, 2 * 16),
    "unet": Counted(UNet(), 859_520_964, 686),
    "text_encoder": Counted(TextEncoder(), 123_060_480, 196),
}


@pytest.mark.parametrize("counted", COUNTS.values(), ids=list(COUNTS))
def test_strategy_trains_exactly_as_many_parameters_as_its_formula_says(sd1: Models, counted: Counted) -> None:
    assert counted.strategy.expected(sd1) == counted.parameters
    with torch.device("meta"):
        counted.strategy.attach(sd1)
    trainable = counted.strategy.trainable(sd1)
    assert count(trainable.values()) == counted.parameters
    assert len(trainable) == counted.tensors
    assert counted.strategy.expected(sd1) == counted.parameters, "the formula must not see what was attached"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_full_size_network_verifies_in_the_memory_of_one_model(tmp_path: Path) -> None:
    """`python run.py model=sd15 model.init=random task=verify`: a minute and a half of one core."""
    options = ["model=sd15", "model.init=random", "task=verify", f"outputs={tmp_path}", "track.enabled=false"]
    done = subprocess.run(
        [sys.executable, str(PROJECT / "run.py"), *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (metrics,) = tmp_path.glob("*/*_verify_*/metrics.json")
    numbers = json.loads(metrics.read_text())
    assert numbers["parameters.unet"] == 859_520_964 and numbers["parameters.text_encoder"] == 123_060_480
    assert numbers["trainable_parameters"] == 797_184
    for expected in ("859,520,964", "123,060,480", "797,184 (0.093 % of the U-Net)", "(1, 77, 768) float32"):
        assert expected in done.stdout
    # 1,066,235,307 parameters of 4 bytes are 4.0 GiB; the largest child of this process so far was this run
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 6 * 2**20
