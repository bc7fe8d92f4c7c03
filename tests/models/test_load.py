"""Loading is strict: what does not fill the networks exactly is refused, and both key layouts of CLIP do fill them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel

from t2i.config import compose
from t2i.errors import UserError
from t2i.models.config import Init, Model
from t2i.models.load import Models, load
from t2i.models.weights import count, module_digest, strictly, text_layout
from t2i.store import Store

from .toy import states

KINDS = {"text_encoder": CLIPTextModel, "vae": AutoencoderKL, "unet": UNet2DConditionModel}


@pytest.fixture
def part(toy: Model, tmp_path: Path) -> Callable[..., Path]:
    """A copy of one part of the toy pipeline, with its tensors changed by a function."""

    def copy(name: str, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Path:
        folder = tmp_path / "part"
        shutil.copytree(Path(toy.source) / name, folder)
        (file,) = folder.glob("*.safetensors")
        save_file(change(load_file(file)), file, metadata={"format": "pt"})
        return folder

    return copy


def test_bundled_model_loads_frozen_and_matches_its_configuration(store: Store) -> None:
    config = compose(["model=tiny"]).model
    models = load(config, store)
    assert [type(module) for module in models.modules.values()] == [CLIPTextModel, AutoencoderKL, UNet2DConditionModel]
    assert models.unet.config["cross_attention_dim"] == models.text_encoder.config.hidden_size == config.width
    assert models.tokenizer.model_max_length == models.text_encoder.config.max_position_embeddings == config.tokens
    assert models.vae.config["latent_channels"] == models.unet.config["in_channels"]
    assert len([name for name, _ in models.unet.named_modules() if name.endswith("attn2")]) == 16
    for module in models.modules.values():
        assert not module.training
        assert not any(parameter.requires_grad for parameter in module.parameters())
        assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}


def test_bundled_model_fits_its_budget() -> None:
    assets = Path(compose(["model=tiny"]).model.source).parent
    assert sum(path.stat().st_size for path in assets.rglob("*") if path.is_file()) < 56e6


@pytest.mark.parametrize("name", KINDS)
def test_a_missing_tensor_is_refused_by_name(part: Callable[..., Path], name: str) -> None:
    removed: list[str] = []

    def remove(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        removed.append(sorted(tensors)[3])
        return {key: tensor for key, tensor in tensors.items() if key != removed[0]}

    folder = part(name, remove)
    with pytest.raises(UserError, match=r"1 missing keys, e\.g\. ") as caught:
        strictly(KINDS[name], folder)
    assert removed[0] in str(caught.value) and str(folder) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", KINDS)
def test_a_tensor_that_no_network_has_is_refused(part: Callable[..., Path], name: str) -> None:
    folder = part(name, lambda tensors: tensors | {"surplus.weight": torch.zeros(2)})
    with pytest.raises(UserError, match=r"1 unexpected keys, e\.g\. surplus\.weight"):
        strictly(KINDS[name], folder)


@pytest.mark.parametrize("name", KINDS)
def test_a_tensor_of_another_shape_is_refused_in_one_sentence(part: Callable[..., Path], name: str) -> None:
    def widen(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        key = max(tensors, key=lambda key: tensors[key].numel())
        return tensors | {key: torch.cat([tensors[key], tensors[key]])}

    folder = part(name, widen)
    with pytest.raises(UserError, match=r"1 mismatched keys, e\.g\. .* of shape \(\d.*\) in place of \(\d") as caught:
        strictly(KINDS[name], folder)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", KINDS)
def test_a_cut_weight_file_is_refused_in_one_sentence(part: Callable[..., Path], name: str) -> None:
    folder = part(name, lambda tensors: tensors)
    (file,) = folder.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError) as caught:
        strictly(KINDS[name], folder)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_without_weights_is_refused_in_one_sentence(part: Callable[..., Path]) -> None:
    folder = part("vae", lambda tensors: tensors)
    next(folder.glob("*.safetensors")).unlink()
    with pytest.raises(UserError, match="holds no weights; expected a file such as"):
        strictly(AutoencoderKL, folder)
    with pytest.raises(UserError, match="does not exist"):
        strictly(AutoencoderKL, folder / "nowhere")


@pytest.mark.parametrize("prefix", ["text_model.", ""], ids=["old", "flat"])
def test_both_key_layouts_of_clip_load_from_a_file(part: Callable[..., Path], models: Models, prefix: str) -> None:
    def layout(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {prefix + name.removeprefix("text_model."): tensor for name, tensor in tensors.items()}

    encoder = strictly(CLIPTextModel, part("text_encoder", layout))
    assert module_digest(encoder) == module_digest(models.text_encoder)


@pytest.mark.parametrize("prefix", ["text_model.", ""], ids=["old", "flat"])
def test_text_layout_fits_either_layout_to_the_network(
    toy: Model, loaded: Callable[[Model], Models], prefix: str
) -> None:
    models, blank = loaded(toy), loaded(toy)
    with torch.no_grad():
        for parameter in blank.text_encoder.parameters():
            parameter.zero_()
    state = {prefix + name.removeprefix("text_model."): t for name, t in models.text_encoder.state_dict().items()}
    captions = ["a red cat", "two buses beside a tree"]
    assert not torch.equal(states(models, captions), states(blank, captions))
    blank.text_encoder.load_state_dict(text_layout(state, blank.text_encoder.state_dict()), strict=True)
    assert torch.equal(states(models, captions), states(blank, captions))


def test_text_layout_serves_networks_of_either_layout() -> None:
    flat, old = {"encoder.weight": torch.ones(1)}, {"text_model.encoder.weight": torch.ones(1)}
    for state in (flat, old):
        assert list(text_layout(state, flat)) == list(flat)
        assert list(text_layout(state, old)) == list(old)


def test_random_weights_depend_on_the_seed_alone(store: Store, small_architecture: Model) -> None:
    state = torch.random.get_rng_state()
    first, again, other = (load(small_architecture, store, seed) for seed in (0, 0, 1))
    assert torch.equal(state, torch.random.get_rng_state()), "the global generator must not move"
    assert module_digest(first.unet) == module_digest(again.unet) != module_digest(other.unet)
    assert first.digest == again.digest != other.digest


def test_precision_goes_to_frozen_parameters_only(models: Models) -> None:
    chosen = models.unet.conv_in.weight.requires_grad_(True)
    models.to("cpu", torch.bfloat16)
    kinds = {p.dtype for module in models.modules.values() for p in module.parameters() if p is not chosen}
    assert chosen.dtype is torch.float32 and kinds == {torch.bfloat16}


def test_digest_of_a_module_sees_one_changed_scalar_and_its_precision(models: Models) -> None:
    before = module_digest(models.unet)
    assert before == module_digest(models.unet)
    with torch.no_grad():
        models.unet.conv_in.bias[0] += 1e-6
    changed = module_digest(models.unet)
    assert changed != before
    assert module_digest(models.unet.half()) not in (before, changed)


def test_pipeline_holds_the_same_modules(models: Models) -> None:
    pipeline = models.pipeline()
    assert all(getattr(pipeline, name) is module for name, module in models.modules.items())
    assert pipeline.safety_checker is None


def test_count_is_the_number_of_scalars() -> None:
    assert count(torch.nn.Linear(3, 4).parameters()) == 16


@pytest.fixture
def small_architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """An architecture file of toy size beside the bundled ones."""
    from .toy import RESOLUTION, SCHEDULE, UNET, VAE

    text = {"vocab_size": 20_000, "hidden_size": 24, "intermediate_size": 24, "num_hidden_layers": 1}
    text |= {"num_attention_heads": 2, "max_position_embeddings": 20}
    parts = {"unet": UNET, "vae": VAE, "text_encoder": text, "scheduler": SCHEDULE}
    (tmp_path / "small.json").write_text(json.dumps(parts))
    monkeypatch.setattr("t2i.models.source.ARCHITECTURES", tmp_path)
    return Model(name="small", init=Init.random, architecture="small", resolution=RESOLUTION, tokens=20, width=24)


def test_a_random_model_turns_captions_into_states_of_its_own_length(store: Store, small_architecture: Model) -> None:
    assert states(load(small_architecture, store), ["a cat"]).shape == (1, 20, 24)
