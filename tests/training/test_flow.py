"""Flow matching: the objective against its formulas, and a training against a loop that is written out here."""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.models.attention_processor import JointAttnProcessor2_0

from t2i.config import SCHEMAS
from t2i.errors import ConfigError
from t2i.interruption import Interrupted
from t2i.models.config import Model
from t2i.models.families.sd3 import T5_TOKENS
from t2i.models.load import Models
from t2i.randomness import generator
from t2i.training import wiring
from t2i.training.attention import Attn2, Attn2KV, Attn2ToV, AttnAddV
from t2i.training.config import LearningRate, Timesteps, Training
from t2i.training.flow import Flow
from t2i.training.inversion import Pivotal, TextualInversion
from t2i.training.lora import Lora
from t2i.training.objective import Batch, losses
from t2i.training.strategies import Both, Strategy, TextEncoder, UNet
from t2i.training.text_adapter import TextAdapter

from ..models.toy_sd3 import write
from .conftest import RATE, Start, training
from .test_loop import equal, interrupt_after, weights

SHAPE = (4, 8, 8)
TIMES = torch.tensor([1.0, 300.0, 999.5])
TAKEN: dict[str, Strategy] = {
    "attn_add_v": AttnAddV(learning_rate=RATE),
    "both": Both(learning_rate=RATE),
    "lora": Lora(learning_rate=RATE),
    "text_encoder": TextEncoder(learning_rate=RATE),
    "unet": UNet(learning_rate=RATE),
}
REFUSED: dict[str, tuple[Strategy, str]] = {
    "attn2": (Attn2(), "strategy=attn2 trains cross-attention layers, .* use strategy=attn_add_v"),
    "attn2_kv": (Attn2KV(), "strategy=attn2_kv trains cross-attention layers, .* use strategy=attn_add_v"),
    "attn2_to_v": (Attn2ToV(), "strategy=attn2_to_v trains cross-attention layers, .* use strategy=attn_add_v"),
    "pivotal": (Pivotal(), "strategy=pivotal teaches words .* reads text with .* and knows none; use strategy=lora"),
    "textual_inversion": (TextualInversion(), "strategy=textual_inversion teaches words .*; use strategy=lora"),
    "text_adapter": (TextAdapter(), "strategy=text_adapter .* use strategy=text_encoder or strategy=lora"),
}


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Stable Diffusion 3's classes: what the fixtures of this file train."""
    return write(tmp_path_factory.mktemp("models") / "toy_sd3")


def draws(shift: float, config: Training | None = None, count: int = 4000) -> np.ndarray:
    """Times of so many samples, sorted."""
    flow = Flow({"shift": shift}, config)
    found = []
    for number in range(count):
        g = generator(0, number)
        found.append(flow.finish(g, flow.draw(g), np.zeros(SHAPE, np.float32)))
    return np.sort(found)


def test_loss_is_that_of_the_paper() -> None:
    """x_s = (1 - s) x + s e, target e - x, every time alike; the time that the denoiser is told is 1000 s."""
    g = torch.Generator().manual_seed(0)
    x, noise = torch.randn(3, *SHAPE, generator=g), torch.randn(3, *SHAPE, generator=g)
    told: list[torch.Tensor] = []

    def halves(latents: torch.Tensor, times: torch.Tensor, text: object, picture: object) -> torch.Tensor:
        told.append(times)
        return 0.5 * latents

    s = TIMES.double().view(-1, 1, 1, 1) / 1000
    noisy = (1 - s) * x + s * noise
    expected = ((0.5 * noisy - (noise - x)) ** 2).mean(dim=(1, 2, 3))
    found = losses(halves, Flow({"shift": 3.0}), Batch(x, noise, TIMES, {}))  # type: ignore[arg-type]
    assert found.dtype is torch.float32 and torch.equal(told[0], TIMES)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize("timesteps", list(Timesteps))
def test_times_have_the_density_that_is_asked_for(shift: float, timesteps: Timesteps) -> None:
    """Quantiles: of the uniform or the logit-normal distribution, shifted by s' = k s / (1 + (k - 1) s)."""
    times = draws(shift, Training(timesteps=timesteps)) / 1000
    for share, normal in ((0.1, -1.28155), (0.5, 0.0), (0.9, 1.28155)):
        s = share if timesteps is Timesteps.uniform else 1 / (1 + np.exp(-normal))
        assert np.quantile(times, share) == pytest.approx(shift * s / (1 + (shift - 1) * s), abs=0.02)


@pytest.mark.parametrize("timesteps", list(Timesteps))
def test_a_range_holds_after_the_shift(timesteps: Timesteps) -> None:
    times = draws(3.0, Training(timesteps=timesteps, timestep_range=[200, 700]))
    assert 200 <= times[0] < 215 or timesteps is Timesteps.logit_normal
    assert 200 <= times[0] and times[-1] <= 700 and times[-1] - times[0] > 300


def test_what_is_compared_has_the_same_times_whatever_is_trained() -> None:
    plain = Flow({"shift": 3.0}, Training(timestep_range=[0, 100], timesteps=Timesteps.logit_normal)).plain
    assert plain.times(4) == [125.0, 375.0, 625.0, 875.0]
    assert plain.ranges(4) == ["0-0.25", "0.25-0.5", "0.5-0.75", "0.75-1"]


@pytest.mark.parametrize(("key", "value"), [("min_snr_gamma", 5.0), ("noise_offset", 0.1), ("zero_terminal_snr", True)])
def test_keys_without_a_meaning_are_refused_by_name(start: Start, key: str, value: float) -> None:
    said = (
        rf"training\.{key} has no meaning for model=\w+.* flow matching.*use training\.{key}=(null|0|false) .*timesteps"
    )
    with pytest.raises(ConfigError, match=said):
        start(TAKEN["lora"], training(**{key: value}))


# -- a training ------------------------------------------------------------------------------------------------------


@pytest.fixture
def recorded(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Strategy, Training], tuple[object, list[Batch]]]:
    """A training that has ended, and the batches it saw."""

    def run(strategy: Strategy, config: Training) -> tuple[object, list[Batch]]:
        trainer = start(strategy, config)
        seen: list[Batch] = []
        original = trainer.train_set.batch

        def batch(*arguments: object, **options: object) -> Batch:
            found = original(*arguments, **options)  # type: ignore[arg-type]
            if "timesteps" not in options:
                seen.append(copy.deepcopy(found))
            return found

        monkeypatch.setattr(trainer.train_set, "batch", batch)
        trainer.fit()
        return trainer, seen

    return run


def test_a_training_is_the_loop_that_is_written_out(
    models: Models, recorded: Callable[[Strategy, Training], tuple[object, list[Batch]]]
) -> None:
    """Plain transformer, plain attention, all zeros in T5's place, AdamW: the losses and the weights."""
    config = training(steps=4, clip_norm=None, schedule=LearningRate.constant, timesteps=Timesteps.logit_normal)
    trainer, seen = recorded(UNet(learning_rate=RATE), config)
    network = models.denoiser.requires_grad_(True)
    network.set_attn_processor(JointAttnProcessor2_0())
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=config.weight_decay)
    expected = []
    for batch in seen:
        s = (batch.timesteps / 1000).view(-1, 1, 1, 1)
        zeros = torch.zeros(len(s), T5_TOKENS - 1, batch.text["states"].shape[-1])
        predicted = network(
            hidden_states=(1 - s) * batch.latents + s * batch.noise,
            encoder_hidden_states=torch.cat([batch.text["states"], zeros], dim=1),
            pooled_projections=batch.text["pooled"],
            timestep=batch.timesteps,
        ).sample
        loss = (predicted - (batch.noise - batch.latents)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        expected.append(loss.item())
    with open(trainer.folder / "train_log.csv", encoding="utf-8") as file:  # type: ignore[attr-defined]
        header, *rows = (line.strip().split(",") for line in file)
    found = [float(row[header.index("loss")]) for row in rows]
    assert len(found) == 4 and found == pytest.approx(expected, abs=1e-6)
    assert len({round(value, 4) for value in found}) == 4


@pytest.mark.parametrize("name", TAKEN)
def test_a_resumed_training_is_bitwise_the_uninterrupted_one(
    start: Start, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = training(steps=6, batch_size=3, save_every=2, caption_dropout=0.3, timesteps=Timesteps.logit_normal)
    straight = start(TAKEN[name], config, "straight")
    straight.fit()
    broken = start(TAKEN[name], config, "broken")
    interrupt_after(broken, 4, monkeypatch)
    with pytest.raises(Interrupted):
        broken.fit()
    broken.run.pending_signal = 0
    resumed = start(TAKEN[name], config, "broken")
    resumed.fit()
    assert equal(weights(straight), weights(resumed))


@pytest.mark.parametrize("name", TAKEN)
def test_what_trains_is_counted_reached_and_comes_back(
    models: Models, loaded: Callable[[Model], Models], toy: Model, name: str
) -> None:
    strategy = TAKEN[name]
    strategy.attach(models)
    checks = list(wiring.gradients(models, strategy))
    checks += wiring.round_trip(models, strategy, lambda: loaded(toy))
    assert [check for check in checks if not check.ok] == [] and len(checks) >= 6


def test_attn_add_v_is_the_value_projection_of_the_text(models: Models) -> None:
    """Three blocks of width 16: 3 x (16 x 16 + 16)."""
    strategy = AttnAddV()
    strategy.attach(models)
    assert sum(p.numel() for p in strategy.trainable(models).values()) == strategy.expected(models) == 816


def test_the_usual_lora_adapts_every_projection_of_joint_attention(models: Models) -> None:
    """Eight a block; the last one hands no text on, so that neither what leaves for the text nor what the text asks is there."""
    strategy = Lora(rank=2)
    strategy.attach(models)
    layers = {name.split(".lora_")[0] for name in strategy.trainable(models)}
    assert len(layers) == 3 * 8 - 2 and not any(".attn2." in name for name in layers)
    assert strategy.expected(models) == 22 * 2 * (16 + 16)


@pytest.mark.parametrize("name", REFUSED)
def test_strategies_of_a_u_net_are_refused_with_their_counterpart(models: Models, name: str) -> None:
    strategy, said = REFUSED[name]
    with pytest.raises(ConfigError, match=said):
        strategy.attach(models)


def test_every_strategy_is_taken_or_refused() -> None:
    assert set(TAKEN) | set(REFUSED) == set(SCHEMAS["strategy"])


def test_its_weights_are_in_no_layout_of_kohyas(models: Models, tmp_path: Path) -> None:
    strategy = Lora()
    strategy.attach(models)
    strategy.save(models, tmp_path)
    assert not (tmp_path / "kohya").exists() and (tmp_path / "pytorch_lora_weights.safetensors").exists()
