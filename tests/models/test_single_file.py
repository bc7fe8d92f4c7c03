"""Models as others keep them: one file in the original layout, shards, variants, pickles."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from diffusers.loaders.single_file_utils import (
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from t2i.config import compose
from t2i.errors import ConfigError, UserError
from t2i.models import original, single_file, source
from t2i.models.config import Model
from t2i.models.families.registry import DEFAULT, FAMILIES
from t2i.models.load import Models, load
from t2i.models.safetensors_file import Header, header_of
from t2i.models.tokenizer import TokenCounter
from t2i.models.weightless import weightless
from t2i.models.weights import module_digest, networks_of
from t2i.store import Store

from . import toy as toys
from .test_adapters import ours, plain

Loader = Callable[[Model], Models]


@pytest.fixture
def tiny(store: Store) -> Models:
    return load(compose([]).model, store)


def of(path: Path, **changes: object) -> Model:
    return Model(name="given", source=str(path), resolution=16, **changes)  # type: ignore[arg-type]


def original_file(pipeline: Path, path: Path, half: bool = False) -> Path:
    """As diffusers' script convert_diffusers_to_original_stable_diffusion.py writes it: its replacements, one after another,
    on the files of a pipeline of four levels.
    """
    resnet = [("in_layers.0", "norm1"), ("in_layers.2", "conv1"), ("out_layers.0", "norm2"), ("out_layers.3", "conv2"),
              ("emb_layers.1", "time_emb_proj"), ("skip_connection", "conv_shortcut")]  # fmt: skip
    ends = [("time_embed.0", "time_embedding.linear_1"), ("time_embed.2", "time_embedding.linear_2"),
            ("input_blocks.0.0", "conv_in"), ("out.0", "conv_norm_out"), ("out.2", "conv_out")]  # fmt: skip
    blocks = []
    for i in range(4):
        for j in range(2):
            blocks.append((f"input_blocks.{3 * i + j + 1}.0.", f"down_blocks.{i}.resnets.{j}."))
            blocks.append((f"input_blocks.{3 * i + j + 1}.1.", f"down_blocks.{i}.attentions.{j}."))
        for j in range(3):
            blocks.append((f"output_blocks.{3 * i + j}.0.", f"up_blocks.{i}.resnets.{j}."))
            blocks.append((f"output_blocks.{3 * i + j}.1.", f"up_blocks.{i}.attentions.{j}."))
        blocks.append((f"input_blocks.{3 * (i + 1)}.0.op.", f"down_blocks.{i}.downsamplers.0.conv."))
        blocks.append((f"output_blocks.{3 * i + 2}.{1 if i == 0 else 2}.", f"up_blocks.{i}.upsamplers.0."))
    blocks += [("middle_block.1.", "mid_block.attentions.0."), ("middle_block.0.", "mid_block.resnets.0."),
               ("middle_block.2.", "mid_block.resnets.1.")]  # fmt: skip
    tensors: dict[str, Tensor] = {}
    for name, tensor in load_file(pipeline / "unet" / "diffusion_pytorch_model.safetensors").items():
        new = name
        for theirs, our in ends:
            new = new.replace(our, theirs) if new.startswith(our) else new
        if "resnets" in name:
            for theirs, our in resnet:
                new = new.replace(our, theirs)
        for theirs, our in blocks:
            new = new.replace(our, theirs)
        tensors[f"model.diffusion_model.{new}"] = tensor
    for name, tensor in load_file(pipeline / "vae" / "diffusion_pytorch_model.safetensors").items():
        new = name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
        new = new.replace("mid_block.attentions.0.", "mid.attn_1.")
        for i in range(4):
            for j in range(3):
                new = new.replace(f"encoder.down_blocks.{i}.resnets.{j}.", f"encoder.down.{i}.block.{j}.")
                new = new.replace(f"decoder.up_blocks.{i}.resnets.{j}.", f"decoder.up.{3 - i}.block.{j}.")
            new = new.replace(f"down_blocks.{i}.downsamplers.0.", f"down.{i}.downsample.")
            new = new.replace(f"up_blocks.{i}.upsamplers.0.", f"up.{3 - i}.upsample.")
        for i in range(2):
            new = new.replace(f"mid_block.resnets.{i}.", f"mid.block_{i + 1}.")
        if "attentions" in name:
            for theirs, our in (("norm.", "group_norm."), ("q.", "to_q."), ("k.", "to_k."), ("v.", "to_v."),
                                ("proj_out.", "to_out.0.")):  # fmt: skip
                new = new.replace(our, theirs)
            if new.endswith(("q.weight", "k.weight", "v.weight", "proj_out.weight")):
                tensor = tensor.reshape(*tensor.shape, 1, 1)
        tensors[f"first_stage_model.{new}"] = tensor
    for name, tensor in load_file(pipeline / "text_encoder" / "model.safetensors").items():
        tensors[f"cond_stage_model.transformer.{name}"] = tensor
    tensors |= {"model_ema.decay": torch.tensor(0.9999), "alphas_cumprod": torch.linspace(1, 0, 1000)}
    save_file({n: t.half() if half else t for n, t in tensors.items()}, path)
    return path


def test_a_checkpoint_of_diffusers_own_script_is_the_model_bit_for_bit(
    tiny: Models, store: Store, tmp_path: Path
) -> None:
    path = original_file(source.BUNDLED, tmp_path / "tiny.safetensors")
    config = compose([f"model.source={path}"]).model
    models = load(config, store)
    for part, network in models.modules.items():
        assert module_digest(network) == module_digest(tiny.modules[part]), part
    # No such file holds a noise schedule: that of the settings which its shapes fit.
    assert models.scheduler_config["prediction_type"] == "v_prediction"
    assert TokenCounter(config)(["a red cat"]) == TokenCounter(compose([]).model)(["a red cat"])
    shapes = weightless(config)
    assert shapes is not None and shapes.unet.config["cross_attention_dim"] == 128
    assert models.digest != tiny.digest and models.digest == source.digest(config, store)
    models.resolution = tiny.resolution = 16
    pipeline = StableDiffusionPipeline.from_pretrained(source.BUNDLED)
    assert np.abs(ours(models) - plain(pipeline)).max() == 0


def test_what_is_written_is_read_by_diffusers_and_by_us(tiny: Models, store: Store, tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    schedule = {**tiny.scheduler_config, "rescale_betas_zero_snr": True}
    single_file.write(replace(tiny, scheduler_config=schedule), path)
    again = load(compose([f"model.source={path}"]).model, store)
    assert again.scheduler_config["rescale_betas_zero_snr"] is True
    pipeline = StableDiffusionPipeline.from_single_file(str(path), config=str(source.BUNDLED), local_files_only=True)
    for part, network in tiny.modules.items():
        assert module_digest(network) == module_digest(again.modules[part]) == module_digest(getattr(pipeline, part))


def test_settings_of_ones_own_serve_shapes_that_are_not_bundled(
    models: Models, toy: Model, store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "toy.safetensors"
    single_file.write(models, path)
    with pytest.raises(
        ConfigError,
        match=r"states are 24 wide, and fits none of: sd1, sd21, sdxl, tiny_sdxl, tiny; give .*architecture=<folder",
    ):
        load(of(path), store)
    given = load(of(path, architecture=toy.source), store)
    assert np.abs(ours(given) - ours(models)).max() == 0


@pytest.mark.parametrize("layers_per_block", [1, 2, 3])
def test_names_are_the_inverse_of_diffusers_converters(layers_per_block: int) -> None:
    parts = source.architecture(Model(architecture="sd1"))
    parts["unet"] = {**parts["unet"], "layers_per_block": layers_per_block}
    parts["vae"] = {**parts["vae"], "layers_per_block": layers_per_block}
    with torch.device("meta"):
        networks = networks_of(DEFAULT, parts)
    converters = {"unet": convert_ldm_unet_checkpoint, "vae": convert_ldm_vae_checkpoint}
    for part, convert in converters.items():
        state = networks[part].state_dict()
        names = {n: p.name for n, p in original.places(part, state, parts[part], DEFAULT.prefixes(parts)[part]).items()}
        assert len(set(names.values())) == len(names)
        file = {theirs: state[name] for name, theirs in names.items()}
        back = convert(dict(file), {**networks[part].config})
        assert {
            name: tensor.data_ptr() == state[name].data_ptr() for name, tensor in back.items()
        }.keys() == state.keys()
        assert all(back[name] is state[name] for name in state)


def test_a_file_that_lacks_a_tensor_is_refused_by_name(tiny: Models, store: Store, tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    single_file.write(tiny, path)
    tensors = load_file(path)
    lost = "model.diffusion_model.output_blocks.5.0.in_layers.0.weight"
    save_file({name: tensor for name, tensor in tensors.items() if name != lost}, path)
    with pytest.raises(UserError, match=r"does not fill the unet: 1 of 684 tensors are missing, .*output_blocks\.5\."):
        load(compose([f"model.source={path}"]).model, store)


def test_every_sd1_file_has_clips_vocabulary(tmp_path: Path) -> None:
    from transformers import CLIPTokenizer

    words = CLIPTokenizer.from_pretrained(source.VOCABULARY)
    assert len(words) == 49408 and words.model_max_length == 77
    assert words("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    with torch.device("meta"):
        parts = source.architecture(Model(architecture="sd1"))
        sd1, prefixes = networks_of(DEFAULT, parts), DEFAULT.prefixes(parts)
    tensors = {
        theirs: torch.zeros(state.shape, dtype=torch.float16).expand(state.shape)
        for part, network in sd1.items()
        for name, state in network.state_dict().items()
        for theirs, _, _ in original.places(part, [name], network.config, prefixes[part]).values()
        if any(key in theirs for key in ("input_blocks.0.0", "middle_block", "embeddings", "decoder.conv_in", "conv1.weight",
                                         "in_layers.2.weight"))
    }  # fmt: skip
    kept = {n: t for n, t in tensors.items() if t.numel() < 4e7 and ("embeddings" in n or "weight" in n)}
    save_file({name: tensor.contiguous() for name, tensor in kept.items()}, tmp_path / "sd1.safetensors")
    config = of(tmp_path / "sd1.safetensors")
    assert source.tokenizer(config) == source.VOCABULARY
    assert source.settings(config) == source.architecture(Model(architecture="sd1"))
    assert TokenCounter(config)(["a photo of a cat"]) == [7]


FORMS = {
    "shards": {"max_shard_size": "60KB"},
    "fp16 variant": {"variant": "fp16"},
    "shards of a variant": {"variant": "fp16", "max_shard_size": "60KB"},
}


@pytest.mark.parametrize("form", FORMS)
def test_folders_of_shards_and_variants_are_the_same_model(
    models: Models, toy: Model, store: Store, tmp_path: Path, form: str
) -> None:
    with torch.no_grad():
        for network in models.modules.values():
            for parameter in network.parameters():
                parameter.copy_(parameter.half().float())
    models.pipeline().save_pretrained(tmp_path / "plain")
    models.pipeline().save_pretrained(tmp_path / "given", **FORMS[form])
    names = {path.name for path in (tmp_path / "given").rglob("*.safetensors")}
    assert not names & {"diffusion_pytorch_model.safetensors", "model.safetensors"} or form == "shards"
    assert np.abs(ours(load(of(tmp_path / "given"), store)) - ours(load(of(tmp_path / "plain"), store))).max() == 0


def test_a_folder_of_pickles_is_refused_and_converted_in_one_command(
    models: Models, toy: Model, store: Store, tmp_path: Path
) -> None:
    from t2i.models.pickles import main

    folder = tmp_path / "bins"
    shutil.copytree(toy.source, folder)
    for path in list(folder.rglob("*.safetensors")):
        name = "pytorch_model.bin" if path.parent.name == "text_encoder" else path.with_suffix(".bin").name
        torch.save(load_file(path), path.with_name(name))
        path.unlink()
    with pytest.raises(ConfigError, match="is a pickle, .* convert it safely: ") as caught:
        source.digest(of(folder), store)
    assert "-m t2i.models.pickles" in str(caught.value)
    assert main([str(folder)]) == 0
    assert np.abs(ours(load(of(folder), store)) - ours(models)).max() == 0


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("model.ckpt", "is a pickle"),
        ("nowhere.safetensors", "does not exist; give a single-file checkpoint"),
        ("notes.txt", r"is no \.safetensors file"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, name: str, sentence: str) -> None:
    if not name.startswith("nowhere"):
        (tmp_path / name).write_text("x")
    with pytest.raises(ConfigError, match=sentence):
        source.locate(of(tmp_path / name))


def test_a_checkpoint_of_another_family_is_named(tmp_path: Path, store: Store) -> None:
    zero = torch.zeros(4, 4)
    for name, family in (
        ("model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight", "Stable Diffusion 3"),
        ("model.diffusion_model.double_blocks.0.img_attn.qkv.weight", "FLUX"),
    ):
        save_file({name: zero}, tmp_path / "other.safetensors")
        with pytest.raises(ConfigError, match=f"seems to be a checkpoint of {family}"):
            source.digest(of(tmp_path / "other.safetensors"), store)
    save_file({"lora_unet_mid.lora_down.weight": zero}, tmp_path / "lora.safetensors")
    with pytest.raises(ConfigError, match="seems to be no checkpoint in the original layout"):
        source.digest(of(tmp_path / "lora.safetensors"), store)


# -- OpenCLIP's layout: the text encoder of Stable Diffusion 2, the second one of XL -------------------------------------


def test_open_clips_names_are_the_inverse_of_diffusers_converter() -> None:
    settings = CLIPTextConfig(
        vocab_size=11, hidden_size=64, intermediate_size=16, num_hidden_layers=2, num_attention_heads=1, projection_dim=64
    )  # fmt: skip
    encoder = CLIPTextModelWithProjection(settings)
    state, prefix = encoder.state_dict(), f"conditioner.embedders.1{original.OPEN_CLIP}"
    tensors: dict[str, Tensor] = {}
    for ours_, (theirs, third, turned) in original.places("text_encoder_2", state, {}, prefix).items():
        if third is None:
            tensors[theirs] = state[ours_].T.contiguous() if turned else state[ours_]
        else:
            whole = tensors.setdefault(theirs, torch.zeros(3 * 64, *state[ours_].shape[1:]))
            whole[third * 64 : (third + 1) * 64] = state[ours_]
    back = convert_open_clip_checkpoint(encoder, tensors, prefix=prefix)
    assert {name.removeprefix("text_model.") for name in state} == {name.removeprefix("text_model.") for name in back}
    for name, tensor in back.items():
        own = state[name] if name in state else state[f"text_model.{name}"]
        assert torch.equal(tensor, own), name


def test_stable_diffusion_xl_in_a_single_file_is_the_model_and_diffusers_reads_it(store: Store, tmp_path: Path) -> None:
    given = toys.write_sdxl(tmp_path / "sdxl")
    models, path = load(given, store), tmp_path / "own.safetensors"
    single_file.write(models, path)
    names = header_of(path).shapes
    assert names["conditioner.embedders.1.model.transformer.resblocks.0.attn.in_proj_weight"] == (3 * 24, 24)
    assert "conditioner.embedders.0.transformer.text_model.encoder.layers.2.mlp.fc1.weight" in names
    assert "model.diffusion_model.label_emb.0.0.weight" in names
    again = load(of(path, architecture=given.source), store)
    assert again.family is FAMILIES["sdxl"] and again.options == models.options
    theirs = StableDiffusionXLPipeline.from_single_file(str(path), config=given.source, local_files_only=True)
    for part, network in models.modules.items():
        assert module_digest(network) == module_digest(again.modules[part]) == module_digest(getattr(theirs, part)), (
            part
        )
    assert again.tokenizers["tokenizer_2"].pad_token == models.tokenizers["tokenizer_2"].pad_token


@pytest.mark.parametrize(("name", "second"), [("sdxl", "tokenizer_2"), ("sd21", "tokenizer")])
def test_a_published_shape_is_told_by_its_tensors_and_filled_up_as_open_clip_does(
    tmp_path: Path, name: str, second: str
) -> None:
    """By the tensors that tell architectures apart, of full size, without their bytes: a header of zeros in one block."""
    parts = source.architecture(Model(architecture=name))
    family = source.family_of_settings(parts)
    with torch.device("meta"):
        networks = networks_of(family, parts)
    prefixes = family.prefixes(parts)
    shapes: dict[str, tuple[int, ...]] = {}
    for part, network in networks.items():
        state = network.state_dict()
        for own, (theirs, third, turned) in original.places(part, state, parts[part], prefixes[part]).items():
            shape = tuple(state[own].shape)
            shapes[theirs] = (3 * shape[0], *shape[1:]) if third is not None else shape[::-1] if turned else shape
    fitting = [
        known
        for known in ("sd1", "sd21", "sdxl", "tiny_sdxl")
        for own in [source.architecture(Model(architecture=known))]
        if source.family_of_settings(own).fits(own, Header(shapes, {}, {}))
    ]
    assert fitting == [name]
    found = single_file._tokenizers(family, parts, source.VOCABULARY)
    assert found[second].pad_token == "!" and found[second](["a cat"], padding="max_length").input_ids[0][-1] == 0
    assert name != "sdxl" or found["tokenizer"].pad_token == "<|endoftext|>"
