"""Each strategy trains its own tensors and no other, and its weights come back from disk exactly or not at all."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from t2i.config import strategy_from
from t2i.errors import ConfigError, UserError
from t2i.models.adapters.kinds import LORA
from t2i.models.config import Model
from t2i.models.load import Models
from t2i.models.text import tokenize
from t2i.models.weights import count
from t2i.training.config import Optimizer
from t2i.training.inversion import Pivotal
from t2i.training.lora import Lora
from t2i.training.strategies import (
    WEIGHTS,
    Strategy,
    describe,
    read_tensors,
)

from ..models.toy import CROSS_ATTENTION_WIDTHS, WIDTH
from .conftest import RATE, STRATEGIES, Start, log_of, training

Loader = Callable[[Model], Models]
VARIANTS = STRATEGIES | {
    "lora with alpha": Lora(learning_rate=RATE, rank=2, alpha=6.0),
    "lora on attn2.to_v": Lora(learning_rate=RATE, rank=3, alpha=1.5, targets=["attn2.to_v"]),
    "lora with dropout": Lora(learning_rate=RATE, dropout=0.5),
    "lora on both networks": Lora(learning_rate=RATE, text_targets=["q_proj", "v_proj"]),
    "lora on the text encoder": Lora(learning_rate=RATE, targets=[], text_targets=["q_proj", "fc1"], alpha=6.0),
    "dora": Lora(learning_rate=RATE, use_dora=True),
    "pivotal": Pivotal(learning_rate=RATE, vectors=2),
    "rslora": Lora(learning_rate=RATE, rank=2, alpha=3.0, use_rslora=True),
}
CHOSEN = {
    "attn2_to_v": lambda name: name.startswith("unet.") and name.endswith("attn2.to_v.weight"),
    "attn2_kv": lambda name: name.startswith("unet.") and name.endswith(("attn2.to_k.weight", "attn2.to_v.weight")),
    "attn2": lambda name: name.startswith("unet.") and ".attn2." in name,
    "both": lambda name: not name.startswith("vae."),
    "lora": lambda name: name.startswith("unet.") and ".lora_" in name,
    "text_adapter": lambda name: name == "text_encoder.adapter.weight",
    "text_encoder": lambda name: name.startswith("text_encoder."),
    "textual_inversion": lambda name: name.startswith("text_encoder.") and name.endswith("token_embedding.learned"),
    "unet": lambda name: name.startswith("unet."),
}
"""Which parameters may change, said anew here."""


def snapshot(models: Models) -> dict[str, torch.Tensor]:
    return {
        f"{part}.{name}": parameter.detach().clone()
        for part, module in models.modules.items()
        for name, parameter in module.named_parameters()
    }


@torch.no_grad()
def prediction(models: Models) -> torch.Tensor:
    """What the networks make of two captions, with the words that they were taught, and fixed latents."""
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    captions = [" ".join([caption, *models.words]) for caption in ("a red cat", "two buses")]
    states = models.text_encoder(tokenize(models, captions))[0]
    output: torch.Tensor = models.unet(latents, torch.tensor([100, 900]), encoder_hidden_states=states).sample
    return output


def tuned(loaded: Loader, toy: Model, strategy: Strategy, size: float = 0.05) -> Models:
    """The toy model with noise on the chosen tensors: as if it had trained for long."""
    models = loaded(toy)
    strategy.attach(models)
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in strategy.trainable(models).values():
            parameter.add_(size * torch.randn(parameter.shape, generator=g))
    models.unet.eval()
    return models


@pytest.fixture
def saved(loaded: Loader, toy: Model, tmp_path: Path) -> Callable[[Strategy], Path]:
    """A folder of weights that the strategy saved."""

    def save(strategy: Strategy) -> Path:
        folder = tmp_path / "weights"
        folder.mkdir()
        strategy.save(tuned(loaded, toy, strategy), folder)
        return folder

    return save


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Path:
    """Replace the tensors of a saved folder by changed ones, keeping the file's metadata."""
    from safetensors import safe_open

    (file,) = folder.glob("*.safetensors")
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    save_file(change(load_file(file)), file, metadata=metadata)
    return file


@pytest.mark.parametrize("name", STRATEGIES)
def test_three_steps_change_the_chosen_tensors_and_no_other(start: Start, name: str) -> None:
    trainer = start(STRATEGIES[name], training(weight_decay=0.0))
    before = snapshot(trainer.models)
    trainer.fit()
    after = snapshot(trainer.models)
    assert before.keys() == after.keys()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed == {key for key in before if CHOSEN[name](key)}


@pytest.mark.parametrize("strategy", VARIANTS.values(), ids=list(VARIANTS))
def test_number_of_trainable_parameters_is_the_expected_one(models: Models, strategy: Strategy) -> None:
    strategy.attach(models)
    assert count(strategy.trainable(models).values()) == strategy.expected(models)


def test_expected_numbers_of_the_toy(models: Models) -> None:
    assert models.family.cross_attention_widths(models) == CROSS_ATTENTION_WIDTHS
    values = sum(CROSS_ATTENTION_WIDTHS) * WIDTH
    assert STRATEGIES["attn2_to_v"].expected(models) == values
    one_rank = sum(width + WIDTH for width in CROSS_ATTENTION_WIDTHS)
    assert Lora(rank=3, targets=["attn2.to_v"]).expected(models) == 3 * one_rank


@pytest.mark.parametrize("name", STRATEGIES)
def test_gradients_are_really_clipped(start: Start, name: str) -> None:
    # One step of plain gradient descent with learning rate 1 moves the weights by the clipped gradient.
    strategy, limit = replace(STRATEGIES[name], learning_rate=1.0), 1e-3
    moved, norms = [], []
    for clip_norm in (None, limit):
        config = training(steps=1, optimizer=Optimizer.sgd, weight_decay=0.0, clip_norm=clip_norm)
        trainer = start(strategy, config, f"clipped at {clip_norm}")
        before = {key: parameter.detach().clone() for key, parameter in trainer.parameters.items()}
        trainer.fit()
        steps = [(parameter.detach() - before[key]).norm() for key, parameter in trainer.parameters.items()]
        moved.append(float(torch.stack(steps).norm()))
        norms.append(float(log_of(trainer)[0]["gradient_norm"]))
    assert moved[0] > 5 * limit
    assert norms[1] == pytest.approx(moved[0], rel=1e-3), "the norm in the log is the one before clipping"
    assert moved[1] == pytest.approx(limit, rel=1e-2)


@pytest.mark.parametrize("strategy", VARIANTS.values(), ids=list(VARIANTS))
def test_saved_weights_predict_the_same_when_loaded(
    loaded: Loader, toy: Model, tmp_path: Path, strategy: Strategy
) -> None:
    models, fresh = tuned(loaded, toy, strategy), loaded(toy)
    base = prediction(fresh)
    strategy.save(models, tmp_path)
    again = strategy_from(describe(tmp_path)["strategy"])
    assert again == strategy
    again.load(fresh, tmp_path)
    assert torch.allclose(prediction(fresh), prediction(models), atol=1e-6)
    assert float((prediction(fresh) - base).abs().max()) > 1e-3
    for module in fresh.modules.values():
        assert not module.training and not any(p.requires_grad for p in module.parameters())


def test_alpha_scales_the_update(loaded: Loader, toy: Model) -> None:
    base, change = loaded(toy), {}
    for alpha in (0.1, 0.01):
        # an update this small acts linearly: a tenth of alpha is a tenth of the change
        models = tuned(loaded, toy, Lora(rank=2, alpha=alpha, targets=["attn2.to_v"]))
        change[alpha] = prediction(models) - prediction(base)
    largest = float(change[0.1].abs().max())
    assert largest > 1e-4
    assert torch.allclose(change[0.1], 10 * change[0.01], atol=0.05 * largest)


def test_adapters_begin_alike_in_every_run(loaded: Loader, toy: Model) -> None:
    strategy, begun = Lora(), []
    for seed in (1, 2):
        torch.manual_seed(seed)
        models = loaded(toy)
        strategy.attach(models)
        begun.append(torch.cat([parameter.flatten() for parameter in strategy.trainable(models).values()]))
        assert torch.random.initial_seed() == seed
    assert torch.equal(*begun) and begun[0].std() > 0
    assert torch.allclose(prediction(models), prediction(loaded(toy)), atol=1e-6), "an update begins at zero"


@pytest.mark.parametrize("name", STRATEGIES)
def test_only_what_changed_is_saved_in_float32(saved: Callable[[Strategy], Path], models: Models, name: str) -> None:
    strategy = STRATEGIES[name]
    tensors = read_tensors(next(saved(strategy).glob("*.safetensors")))
    assert count(tensors.values()) == strategy.expected(models)  # type: ignore[arg-type]
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}


@pytest.mark.parametrize("name", STRATEGIES)
def test_weights_of_another_model_are_refused(
    saved: Callable[[Strategy], Path], loaded: Loader, wider_toy: Model, name: str
) -> None:
    folder = saved(STRATEGIES[name])
    with pytest.raises(UserError, match="does not fit model=toy.*use the model that it was trained from") as caught:
        STRATEGIES[name].load(loaded(wider_toy), folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_file_that_lacks_a_tensor_is_refused(saved: Callable[[Strategy], Path], models: Models, name: str) -> None:
    folder = saved(STRATEGIES[name])
    rewrite(folder, lambda tensors: dict(sorted(tensors.items())[:-2]))
    with pytest.raises(UserError, match="does not fit model=toy"):
        STRATEGIES[name].load(models, folder)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_file_with_a_tensor_too_many_is_refused(saved: Callable[[Strategy], Path], models: Models, name: str) -> None:
    folder = saved(STRATEGIES[name])
    rewrite(folder, lambda tensors: tensors | {"vae.decoder.conv_in.weight": torch.zeros(3)})
    with pytest.raises(UserError, match="does not fit model=toy"):
        STRATEGIES[name].load(models, folder)


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(
    saved: Callable[[Strategy], Path], models: Models, name: str, value: float
) -> None:
    folder = saved(STRATEGIES[name])
    planted: list[str] = []

    def plant(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        planted.append(sorted(tensors)[:2][-1])
        tensors[planted[0]].view(-1)[-1] = value
        return tensors

    rewrite(folder, plant)
    with pytest.raises(UserError, match="not finite") as caught:
        STRATEGIES[name].load(models, folder)
    assert planted[0] in str(caught.value)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_damaged_or_missing_file_is_refused(saved: Callable[[Strategy], Path], models: Models, name: str) -> None:
    folder = saved(STRATEGIES[name])
    (file,) = folder.glob("*.safetensors")
    whole = file.read_bytes()
    for damaged in (whole[:-7], b"", b"not safetensors at all"):
        file.write_bytes(damaged)
        with pytest.raises(UserError, match="cannot be read as safetensors"):
            STRATEGIES[name].load(models, folder)
    file.unlink()
    with pytest.raises(UserError, match="cannot be read as safetensors"):
        STRATEGIES[name].load(models, folder)


def test_text_encoder_weights_of_either_key_layout_are_loaded(
    saved: Callable[[Strategy], Path], loaded: Loader, toy: Model
) -> None:
    strategy = STRATEGIES["text_encoder"]
    folder = saved(strategy)
    flat, old = loaded(toy), loaded(toy)
    strategy.load(flat, folder)
    head = "text_encoder."
    rewrite(
        folder,
        lambda tensors: {head + "text_model." + name.removeprefix(head): tensor for name, tensor in tensors.items()},
    )
    strategy.load(old, folder)
    assert torch.equal(prediction(flat), prediction(old))
    assert not torch.equal(prediction(flat), prediction(loaded(toy)))


def test_targets_that_match_nothing_are_refused(models: Models) -> None:
    with pytest.raises(ConfigError, match="matches no layer"):
        Lora(targets=["to_nowhere"]).attach(models)


def test_description_says_what_the_weights_were_made_from(
    saved: Callable[[Strategy], Path], models: Models, tmp_path: Path
) -> None:
    folder = saved(Lora(rank=2, alpha=6.0))
    description = describe(folder)
    assert description["base_digest"] == models.digest and description["model"] == "toy"
    assert description["strategy"] == json.loads(json.dumps(vars(Lora(rank=2, alpha=6.0))))
    with pytest.raises(UserError, match="holds no tuned weights"):
        describe(tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["kohya", LORA, "strategy.json"]
    assert WEIGHTS != LORA


def test_equal_adapters_are_equal_files(loaded: Loader, toy: Model, tmp_path: Path) -> None:
    models = tuned(loaded, toy, Lora(rank=2))
    files = set()
    for number in range(8):
        folder = tmp_path / str(number)
        folder.mkdir()
        Lora(rank=2).save(models, folder)
        files.add(tuple(path.read_bytes() for path in sorted(folder.rglob("*.safetensors"))))
    assert len(files) == 1
