"""What other tools made comes in and draws what plain diffusers draws with it, to the bit; what cannot come in is told."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from t2i.config import Config, compose
from t2i.context import Run
from t2i.errors import ConfigError, UserError
from t2i.models.adapters import attach, low_rank
from t2i.models.adapters.kinds import Kind, identify
from t2i.models.adapters.names import kohya, parse
from t2i.models.adapters.write import write_diffusers, write_kohya, write_peft
from t2i.models.config import Init, Model
from t2i.models.families.registry import DEFAULT
from t2i.models.load import Models
from t2i.models.weightless import weightless
from t2i.sampling.config import Guidance, Scheduler
from t2i.sampling.sampler import encode, sample
from t2i.stages.tuned import apply_tuned, find_tuned

from .toy import states

PROMPT, SEED, STEPS = "a red cat", 11, 3
Loader = Callable[[Model], Models]


def ours(models: Models, prompt: str = PROMPT) -> np.ndarray:
    scheduler, guidance = Scheduler(name="pndm", type="PNDMScheduler", steps=STEPS), Guidance(scale=7.5)
    return next(sample(models, encode(models, [prompt], guidance), [SEED], scheduler, guidance))[0].astype(int)


def plain(pipeline: StableDiffusionPipeline, prompt: str = PROMPT) -> np.ndarray:
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator("cpu").manual_seed(SEED)
    image = pipeline(
        prompt, num_inference_steps=STEPS, guidance_scale=7.5, height=16, width=16, generator=generator
    ).images[0]
    return np.asarray(image).astype(int)


@pytest.fixture
def config(toy: Model) -> Config:
    composed = compose([f"model.source={toy.source}", f"model.resolution={toy.resolution}", f"model.width={toy.width}"])
    composed.model.name = "toy"
    return composed


@pytest.fixture
def with_weights(config: Config, run: Run, loaded: Loader) -> Callable[..., Models]:
    """The toy model with what `weights=` and `weights_scale=` name."""

    def build(*paths: Path, scale: list[float] | None = None) -> Models:
        config.weights, config.weights_scale = [str(path) for path in paths], scale or []
        config.validate()
        tuned = find_tuned(config, run)
        assert tuned is not None
        models = loaded(config.model)
        apply_tuned(models, tuned)
        return models

    return build


@pytest.fixture
def pipeline(toy: Model) -> StableDiffusionPipeline:
    return StableDiffusionPipeline.from_pretrained(toy.source, safety_checker=None)


def noise(*shape: int, seed: int = 0, size: float = 0.3) -> Tensor:
    return size * torch.randn(shape, generator=torch.Generator().manual_seed(hash(shape) % 1000 + seed))


def layers(network: nn.Module) -> dict[str, nn.Module]:
    """Every linear layer and convolution, written here again from the network alone."""
    kinds = (nn.Linear, nn.Conv2d)
    return {name: module for name, module in network.named_modules() if isinstance(module, kinds)}


def kohya_file(models: Models, path: Path, seed: int = 0, rank: int = 4, alpha: float | None = 1.0) -> Path:
    """A LoRA written by hand after sd-scripts' rule: attention, an MLP, convolutions, the text encoder's attention."""
    tensors: dict[str, Tensor] = {}
    for module, prefix in ((models.unet, "lora_unet_"), (models.text_encoder, "lora_te_text_model_")):
        for name, layer in layers(module).items():
            name = name.removeprefix("text_model.")
            if not any(part in name for part in ("to_", "ff.net", "conv1", "conv_shortcut", "self_attn")):
                continue
            key, weight = prefix + name.replace(".", "_"), layer.weight
            tensors[f"{key}.lora_down.weight"] = noise(rank, *weight.shape[1:], seed=seed)
            tensors[f"{key}.lora_up.weight"] = noise(weight.shape[0], rank, *[1] * (weight.ndim - 2), seed=seed)
            if alpha is not None:
                tensors[f"{key}.alpha"] = torch.tensor(alpha)
    save_file(tensors, path)
    return path


def test_a_kohya_lora_with_convolutions_and_alpha_draws_plain_diffusers_picture(
    models: Models, pipeline: StableDiffusionPipeline, with_weights: Callable[..., Models], tmp_path: Path
) -> None:
    path = kohya_file(models, tmp_path / "style.safetensors")
    base = plain(pipeline)
    pipeline.load_lora_weights(load_file(path))
    picture = ours(with_weights(path))
    assert np.abs(picture - base).max() > 10
    assert np.abs(picture - plain(pipeline)).max() == 0


def test_two_at_once_with_scales_draw_plain_diffusers_picture(
    models: Models, pipeline: StableDiffusionPipeline, with_weights: Callable[..., Models], tmp_path: Path
) -> None:
    first = kohya_file(models, tmp_path / "first.safetensors")
    second = kohya_file(models, tmp_path / "second.safetensors", seed=5, rank=2, alpha=3.0)
    for name, path in (("first", first), ("second", second)):
        pipeline.load_lora_weights(load_file(path), adapter_name=name)
    pipeline.set_adapters(["first", "second"], [0.8, -0.4])
    theirs = plain(pipeline)
    assert np.abs(ours(with_weights(first, second, scale=[0.8, -0.4])) - theirs).max() == 0
    assert np.abs(ours(with_weights(first, second)) - theirs).max() > 0


def test_each_thing_that_comes_in_has_a_digest_that_follows_bytes_and_scale(
    models: Models, config: Config, run: Run, tmp_path: Path
) -> None:
    one = kohya_file(models, tmp_path / "one.safetensors")
    other = kohya_file(models, tmp_path / "other.safetensors", seed=1)
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(one.read_bytes())

    def digest(weights: list[Path], scale: list[float]) -> str:
        config.weights, config.weights_scale = [str(path) for path in weights], scale
        found = find_tuned(config, run)
        assert found is not None
        return found.digest

    assert digest([one], []) == digest([copy], []) == digest([one], [1.0])
    every = [
        ([one], [0.5]),
        ([other], []),
        ([one, other], []),
        ([one, other], [1, 0.5]),
        ([one, other], [0.5, 1]),
        ([one], []),
    ]
    assert len({digest(*each) for each in every}) == len(every)


def adapter(models: Models, dora: bool = False, ranks: tuple[int, ...] = (3,), alpha: float = 5.0) -> low_rank.Adapter:
    """Changes of attention in both networks and of a convolution, ranks in turn."""
    found = low_rank.Adapter(DEFAULT)
    for module in ("unet", "text_encoder"):
        turn = itertools.cycle(ranks)
        for name, layer in layers(models.modules[module]).items():
            if name.endswith(("to_q", "to_out.0", "conv1", "q_proj", "out_proj")):
                rank, weight = next(turn), layer.weight
                down = noise(rank, *weight.shape[1:])
                up = noise(weight.shape[0], rank, *[1] * (weight.ndim - 2))
                magnitude = weight.detach().flatten(1).norm(dim=1) * 1.2 if dora else None
                found.layers.setdefault(module, {})[name] = low_rank.LowRank(down, up, alpha, False, magnitude)
    return found


@pytest.mark.parametrize("dora", [False, True], ids=["LoRA", "DoRA"])
def test_every_layout_that_is_written_is_read_again(
    models: Models, loaded: Loader, toy: Model, with_weights: Callable[..., Models], tmp_path: Path, dora: bool
) -> None:
    own = adapter(models, dora, ranks=(3, 5))
    placed = loaded(toy)
    attach.place(placed, own, "own")
    wanted = ours(placed)
    write_diffusers(own, tmp_path / "diffusers.safetensors")
    write_peft(own, tmp_path / "peft")
    found = [tmp_path / "diffusers.safetensors", tmp_path / "peft"]
    if dora:
        with pytest.raises(UserError, match="a DoRA has no place for its magnitudes in the kohya layout"):
            write_kohya(own, tmp_path / "kohya.safetensors")
    else:
        write_kohya(own, tmp_path / "kohya.safetensors")
        found.append(tmp_path / "kohya.safetensors")
    for path in found:
        assert identify(path).kind is Kind.low_rank and identify(path).dora == dora
        assert np.abs(ours(with_weights(path)) - wanted).max() <= 1, path  # the scaling is multiplied in


def test_a_dora_of_diffusers_draws_plain_diffusers_picture(
    models: Models, pipeline: StableDiffusionPipeline, with_weights: Callable[..., Models], tmp_path: Path
) -> None:
    own = adapter(models, dora=True)
    del own.layers["text_encoder"]
    write_diffusers(own, tmp_path / "dora.safetensors")
    pipeline.load_lora_weights(tmp_path, weight_name="dora.safetensors")
    assert np.abs(ours(with_weights(tmp_path / "dora.safetensors")) - plain(pipeline)).max() == 0


def test_a_kohya_dora_has_one_magnitude_an_output(
    models: Models, loaded: Loader, toy: Model, with_weights: Callable[..., Models], tmp_path: Path
) -> None:
    own = adapter(models, dora=True)
    del own.layers["text_encoder"]
    bare = low_rank.Adapter(
        DEFAULT, {"unet": {n: low_rank.LowRank(c.down, c.up, c.alpha) for n, c in own.layers["unet"].items()}}
    )
    write_kohya(bare, tmp_path / "bare.safetensors")
    tensors = load_file(tmp_path / "bare.safetensors")
    for name, change in own.layers["unet"].items():
        assert change.magnitude is not None
        tensors[f"{kohya('lora_unet_', name)}.dora_scale"] = change.magnitude[:, None].contiguous()
    save_file(tensors, tmp_path / "dora.safetensors")
    placed = loaded(toy)
    attach.place(placed, own, "own")
    assert np.abs(ours(with_weights(tmp_path / "dora.safetensors")) - ours(placed)).max() <= 1


def test_a_convolution_in_three_parts_is_their_product(
    models: Models, with_weights: Callable[..., Models], tmp_path: Path
) -> None:
    name = "down_blocks.0.resnets.0.conv1"
    weight = models.unet.get_submodule(name).weight
    down, mid, up = noise(4, weight.shape[1], 1, 1), noise(4, 4, 3, 3), noise(weight.shape[0], 4, 1, 1)
    key = f"lora_unet_{name.replace('.', '_')}"
    parts = {"lora_down.weight": down, "lora_mid.weight": mid, "lora_up.weight": up, "alpha": torch.tensor(2.0)}
    save_file({f"{key}.{part}": tensor for part, tensor in parts.items()}, tmp_path / "cp.safetensors")
    tuned = with_weights(tmp_path / "cp.safetensors")
    attach.fuse(tuned)
    product = torch.einsum("or,rskl,si->oikl", up[:, :, 0, 0], mid, down[:, :, 0, 0]) * 2.0 / 4
    torch.testing.assert_close(tuned.unet.get_submodule(name).weight, weight + product, rtol=0, atol=1e-5)


def old_diffusers(own: low_rank.Adapter, processor: str = ".processor") -> dict[str, Tensor]:
    """The spelling of diffusers until 0.20: processors of attention, `to_q_lora.down`."""
    tensors = {}
    for name, change in own.layers["unet"].items():
        if name.endswith(("to_q", "to_out.0")):
            attention, _, layer = name.removesuffix(".0").rpartition(".")
            tensors[f"unet.{attention}{processor}.{layer}_lora.down.weight"] = change.down
            tensors[f"unet.{attention}{processor}.{layer}_lora.up.weight"] = change.up
    for name, change in own.layers["text_encoder"].items():
        tensors[f"text_encoder.text_model.{name}.lora_linear_layer.down.weight"] = change.down
        tensors[f"text_encoder.text_model.{name}.lora_linear_layer.up.weight"] = change.up
    return tensors


def test_a_lora_of_older_diffusers_is_read(
    models: Models, pipeline: StableDiffusionPipeline, with_weights: Callable[..., Models], tmp_path: Path
) -> None:
    path = tmp_path / "old.safetensors"
    save_file(old_diffusers(adapter(models)), path)
    pipeline.load_lora_weights(path)
    assert np.abs(ours(with_weights(path)) - plain(pipeline)).max() == 0


def test_layers_by_their_original_names_are_the_same(
    models: Models, loaded: Loader, toy: Model, tmp_path: Path
) -> None:
    own = adapter(models)
    del own.layers["text_encoder"]
    names = {
        "down_blocks.0.resnets.0.conv1": "input_blocks_1_0_in_layers_2",
        "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q": "input_blocks_1_1_transformer_blocks_0_attn1_to_q",
        "mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0": "middle_block_1_transformer_blocks_0_attn2_to_out_0",
        "up_blocks.1.attentions.1.transformer_blocks.0.attn2.to_q": "output_blocks_3_1_transformer_blocks_0_attn2_to_q",
    }
    tensors = {}
    for ours_, theirs in names.items():
        change = own.layers["unet"][ours_]
        tensors[f"lora_unet_{theirs}.lora_down.weight"] = change.down
        tensors[f"lora_unet_{theirs}.lora_up.weight"] = change.up
    save_file(tensors, tmp_path / "sgm.safetensors")
    read = low_rank.read(identify(tmp_path / "sgm.safetensors"), loaded(toy))
    assert set(read.layers["unet"]) == set(names)


@pytest.mark.parametrize(
    "targets",
    [
        list(chosen)
        for count in (1, 2, 3)
        for chosen in itertools.combinations(["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"], count)
    ],
    ids="+".join,
)
def test_kohya_files_of_any_text_layers_are_read_by_plain_diffusers(
    models: Models, toy: Model, pipeline: StableDiffusionPipeline, targets: list[str], tmp_path: Path
) -> None:
    found = low_rank.Adapter(DEFAULT, {"text_encoder": {}})
    for name, layer in layers(models.text_encoder).items():
        if name.endswith(tuple(targets)):
            change = low_rank.LowRank(
                noise(2, layer.weight.shape[1], size=1.0), noise(layer.weight.shape[0], 2, size=1.0), 3.0
            )
            found.layers["text_encoder"][name] = change
    write_kohya(found, tmp_path / "text.safetensors")
    pipeline.load_lora_weights(load_file(tmp_path / "text.safetensors"))
    attach.place(models, found, "own")
    theirs = pipeline.encode_prompt(PROMPT, "cpu", 1, False)[0]
    torch.testing.assert_close(theirs, states(models, [PROMPT]), rtol=0, atol=1e-5)


def test_names_are_those_of_sd_scripts_for_every_module_of_sd1() -> None:
    """sd-scripts: `lora_unet` or `lora_te`, and the module's path in diffusers' (transformers') tree, dots as underscores."""
    sd1 = weightless(Model(name="sd15", init=Init.random, architecture="sd1"))
    assert sd1 is not None
    written = {kohya("lora_unet_", name) for name in layers(sd1.unet)}
    assert written == {f"lora_unet_{name}".replace(".", "_") for name in layers(sd1.unet)}
    assert len(written) == len(layers(sd1.unet)) == 282, "the rule must not make two layers one"
    for name in (
        "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q",
        "lora_unet_mid_block_attentions_0_transformer_blocks_0_ff_net_0_proj",
        "lora_unet_up_blocks_3_resnets_2_conv_shortcut",
        "lora_unet_time_embedding_linear_1",
    ):
        assert name in written
    text = {kohya("lora_te_text_model_", name) for name in layers(sd1.text_encoder)}
    assert len(text) == 12 * 6 and "lora_te_text_model_encoder_layers_11_self_attn_out_proj" in text
    for name in (*written, *text):  # and each is found again
        key = parse(f"{name}.lora_down.weight")
        assert key is not None and key.network == ("unet" if "unet" in name else "text_encoder")


# -- textual inversion -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vectors", [1, 3])
def test_a_textual_inversion_draws_plain_diffusers_picture(
    toy: Model, pipeline: StableDiffusionPipeline, with_weights: Callable[..., Models], tmp_path: Path, vectors: int
) -> None:
    path = tmp_path / "teapot-style.safetensors"
    tensor = noise(vectors, toy.width, size=2.0)
    save_file({"emb_params": tensor}, path)
    pipeline.load_textual_inversion({"teapot-style": tensor if vectors > 1 else tensor[0]}, token="teapot-style")
    prompt = "a red cat in teapot-style, teapot-style"
    models = with_weights(path)
    assert np.abs(ours(models, prompt) - plain(pipeline, prompt)).max() == 0
    assert np.abs(ours(models, prompt) - ours(models, "a red cat in a style, a style")).max() > 0


def test_a_word_of_the_vocabulary_cannot_be_taught_again(
    toy: Model, with_weights: Callable[..., Models], tmp_path: Path
) -> None:
    save_file({"emb_params": noise(1, toy.width)}, tmp_path / "cat.safetensors")
    with pytest.raises(
        UserError,
        match=r"teaches 'cat', which is in the vocabulary already; rename .*, e.g. my-style.safe",
    ):
        with_weights(tmp_path / "cat.safetensors")
    save_file({"cat": noise(1, toy.width)}, tmp_path / "mine.safetensors")
    with pytest.raises(
        UserError, match=r"teaches 'cat', which is in .*; the model has it without this file: leave the"
    ):
        with_weights(tmp_path / "mine.safetensors")


def test_an_inversion_has_no_scale(toy: Model, with_weights: Callable[..., Models], tmp_path: Path) -> None:
    save_file({"<blob>": noise(2, toy.width)}, tmp_path / "blob.safetensors")
    assert with_weights(tmp_path / "blob.safetensors").words == {"<blob>": "<blob> <blob>_1"}
    with pytest.raises(ConfigError, match=r"weights_scale=0\.5 has no meaning for .*blob.*textual inversion"):
        with_weights(tmp_path / "blob.safetensors", scale=[0.5])


# -- networks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
@pytest.mark.parametrize("form", ["folder", "shards", "fp16 variant", "file", "flat file"])
def test_a_tuned_network_takes_the_place_of_the_models_own(
    loaded: Loader, toy: Model, with_weights: Callable[..., Models], tmp_path: Path, part: str, form: str
) -> None:
    other = loaded(toy)
    network = other.modules[part]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.1).copy_(parameter.half().float())  # half precision loses nothing
    path = tmp_path / "network"
    if form.endswith("file"):
        state = {k: v.contiguous() for k, v in network.state_dict().items()}
        if form == "file" and part == "text_encoder":
            state = {f"text_model.{name.removeprefix('text_model.')}": tensor for name, tensor in state.items()}
        path = tmp_path / "network.safetensors"
        save_file(state, path)
    else:
        options = {"shards": {"max_shard_size": "60KB"}, "fp16 variant": {"variant": "fp16"}}.get(form, {})
        (network.half() if "fp16" in form else network).save_pretrained(path, **options)
        network.float()
    assert identify(path).kind.name == part
    assert np.abs(ours(with_weights(path)) - ours(other)).max() == 0


def test_two_networks_for_one_place_are_refused(
    models: Models, with_weights: Callable[..., Models], tmp_path: Path
) -> None:
    models.unet.save_pretrained(tmp_path / "first")
    models.unet.save_pretrained(tmp_path / "second")
    with pytest.raises(ConfigError, match=r"both put weights of their own into the unet; give one of them"):
        with_weights(tmp_path / "first", tmp_path / "second")


def test_a_network_built_with_other_settings_is_refused(
    models: Models, with_weights: Callable[..., Models], tmp_path: Path
) -> None:
    UNet2DConditionModel.from_config({**models.unet.config, "attention_head_dim": 4}).save_pretrained(tmp_path / "unet")
    with pytest.raises(UserError, match="was built with attention_head_dim=4 and the unet of model=toy with 2"):
        with_weights(tmp_path / "unet")


# -- refusals --------------------------------------------------------------------------------------------------------

ZERO = torch.zeros(4, 4)
DOWN = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight"
UP = DOWN.replace("down.weight", "up.weight")
REFUSED = {
    "LoHa": ({"lora_unet_mid_block.hada_w1_a": ZERO}, "seems to be a LoHa adapter"),
    "LoKr": ({"lora_unet_mid_block.lokr_w1": ZERO}, "seems to be a LoKr adapter"),
    "norms": ({"lora_unet_mid_block.w_norm": ZERO}, "seems to be a LyCORIS with tuned norms adapter"),
    "SDXL": (
        {DOWN: torch.zeros(8, 2048), UP: torch.zeros(8, 8)},
        r"LoRA of rank 8 for Stable Diffusion XL \(text states 2048",
    ),
    "SDXL text": (
        {"lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": ZERO},
        "LoRA of rank 4 for Stable Diffusion XL, and model=toy reads text states 24 wide",
    ),
    "SD 1.x": ({DOWN: torch.zeros(16, 768), UP: torch.zeros(8, 16)}, "a LoRA of rank 16 for Stable Diffusion 1.x"),
    "FLUX": ({"transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight": ZERO}, "a LoRA of rank 4 for FLUX"),
    "checkpoint": (
        {"model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": torch.zeros(8, 1024)},
        "a whole checkpoint of Stable Diffusion 2.x; type model.source=",
    ),
    "ControlNet": ({"controlnet_cond_embedding.conv_in.weight": ZERO}, "seems to be a ControlNet"),
    "VAE": ({"decoder.up_blocks.0.resnets.0.conv1.weight": ZERO}, "seems to be a VAE"),
    "IP-Adapter": ({"image_proj.proj.weight": ZERO}, "seems to be an IP-Adapter"),
    "anything": ({"layer.weight": ZERO}, r"none of what is read here \(its tensors are layer.weight\)"),
    "nothing": ({}, "none of what is read here"),
    "wide inversion": ({"emb_params": torch.zeros(2, 768)}, "a textual inversion for Stable Diffusion 1.x"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_come_in_is_told_with_what_it_seems_to_be(
    with_weights: Callable[..., Models], tmp_path: Path, name: str
) -> None:
    tensors, sentence = REFUSED[name]
    save_file(tensors, tmp_path / "given.safetensors")
    with pytest.raises(ConfigError, match=sentence) as caught:
        with_weights(tmp_path / "given.safetensors")
    assert "given.safetensors" in str(caught.value) and "\n" not in str(caught.value)


def test_tensors_that_belong_to_no_layer_are_named(
    models: Models, with_weights: Callable[..., Models], tmp_path: Path
) -> None:
    path = kohya_file(models, tmp_path / "lora.safetensors")
    tensors = load_file(path)
    save_file({**tensors, "lora_unet_down_blocks_9_conv.lora_down.weight": ZERO}, path)
    with pytest.raises(UserError, match=rf"1 of its {len(tensors) + 1} tensors belong to no layer, .*down_blocks_9"):
        with_weights(path)
    (lost,) = [name for name in tensors if name.endswith("mid_block_resnets_0_conv1.lora_up.weight")]
    save_file({name: tensor for name, tensor in tensors.items() if name != lost}, path)
    with pytest.raises(UserError, match=r"a layer has alpha and down alone, e\.g\. unet\.mid_block\.resnets\.0\.conv1"):
        with_weights(path)
    save_file({**tensors, lost: tensors[lost] * float("nan")}, path)
    with pytest.raises(UserError, match="holds a value that is not finite in"):
        with_weights(path)


def test_a_whole_pipeline_is_no_weights(toy: Model, with_weights: Callable[..., Models]) -> None:
    with pytest.raises(ConfigError, match=r"is a whole pipeline; type model\.source="):
        with_weights(Path(toy.source))


@pytest.mark.parametrize("suffix", [".ckpt", ".pt", ".bin", ".pth"])
def test_a_pickle_is_refused_with_the_command_that_converts_it(
    with_weights: Callable[..., Models], tmp_path: Path, suffix: str
) -> None:
    from t2i.models.pickles import main

    path = tmp_path / f"teapot{suffix}"
    torch.save({"string_to_param": {"*": noise(2, 24)}, "name": "teapot", "step": 3}, path)
    with pytest.raises(ConfigError, match="is a pickle, which can run any program when it is opened") as caught:
        with_weights(path)
    command = str(caught.value).partition("convert it safely: ")[2].split()
    assert command[1:3] == ["-m", "t2i.models.pickles"]
    assert main(command[3:]) == 0
    assert with_weights(path.with_suffix(".safetensors")).words == {"teapot": "teapot teapot_1"}


class Trap:
    """What a pickle can do."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("trapped"),))  # type: ignore[return-value]


def test_a_pickle_that_acts_is_not_converted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from t2i.models.pickles import main

    torch.save({"a": Trap()}, tmp_path / "trap.ckpt")
    assert main([str(tmp_path / "trap.ckpt")]) == 1
    assert "it holds more than tensors" in capsys.readouterr().err
    assert not (tmp_path / "trap.safetensors").exists() and not Path("trapped").exists()


def test_scales_are_one_for_each_and_finite(
    models: Models, with_weights: Callable[..., Models], tmp_path: Path
) -> None:
    path = kohya_file(models, tmp_path / "lora.safetensors")
    with pytest.raises(ConfigError, match="has 2 numbers for 1 weights; give one for each"):
        with_weights(path, scale=[0.5, 0.5])
    with pytest.raises(ConfigError, match="use finite numbers"):
        with_weights(path, scale=[float("nan")])
