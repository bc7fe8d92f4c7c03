"""A pipeline of FLUX.2 klein's classes with random weights, small enough for a test."""

from pathlib import Path

import torch
from diffusers import AutoencoderKLFlux2, FlowMatchEulerDiscreteScheduler, Flux2KleinPipeline, Flux2Transformer2DModel
from transformers import Qwen2TokenizerFast, Qwen3Config, Qwen3ForCausalLM

from t2i.models.config import Model
from t2i.models.families.flux2 import LAYERS, TOKENS

WIDTH = 8
TRANSFORMER = {
    "in_channels": 16, "num_layers": 1, "num_single_layers": 2, "attention_head_dim": 16, "num_attention_heads": 2,
    "joint_attention_dim": len(LAYERS) * WIDTH, "timestep_guidance_channels": 32, "mlp_ratio": 1.0,
    "axes_dims_rope": [4, 4, 4, 4], "guidance_embeds": False,
}  # fmt: skip
VAE = {
    "sample_size": 16, "latent_channels": 4, "norm_num_groups": 4, "block_out_channels": [8, 8], "layers_per_block": 1,
    "down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2,
}  # fmt: skip
CLASSES: dict[str, type] = {
    "transformer": Flux2Transformer2DModel, "text_encoder": Qwen3ForCausalLM, "vae": AutoencoderKLFlux2,
}  # fmt: skip
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }} {{ message.content }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant {% if not enable_thinking %}<think></think>{% endif %}{% endif %}"
)
"""As Qwen's, shortened: who speaks, and an answer that begins without thinking."""
RESOLUTION = 32


def write(folder: Path) -> Model:
    """A pipeline's folder: latents (16, 8, 8) for pictures of 32 x 32, and statistics that differ by channel."""
    tokenizer = _letters()
    text = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=2 * WIDTH, num_hidden_layers=LAYERS[-1] + 1,
        num_attention_heads=2, num_key_value_heads=1, head_dim=4, max_position_embeddings=TOKENS,
        tie_word_embeddings=True,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder, transformer = Qwen3ForCausalLM(text), Flux2Transformer2DModel(**TRANSFORMER)
        vae = AutoencoderKLFlux2(**VAE)
        vae.bn.running_mean.normal_()
        vae.bn.running_var.uniform_(0.5, 2.0)
    Flux2KleinPipeline(
        transformer=transformer, vae=vae, text_encoder=encoder, tokenizer=tokenizer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
    ).save_pretrained(folder)  # fmt: skip
    return Model(
        name="toy_flux2", source=str(folder), resolution=RESOLUTION, tokens=TOKENS, width=len(LAYERS) * WIDTH,
        cross_attention_layers=0,
    )  # fmt: skip


def typed(folder: Path) -> list[str]:
    """The toy, written to a folder, behind model=flux2_klein_4b on a command line; at the smallest side that is served."""
    model = write(folder)
    keys = ("source", "width", "tokens")
    counts = {
        part: sum(value.numel() for value in network.from_pretrained(folder / part).parameters())
        for part, network in CLASSES.items()
    }
    return [
        *(f"model.{key}={getattr(model, key)}" for key in keys),
        *(f"model.parameters.{part}={count}" for part, count in counts.items()),
        "model.revision=null",
        "model.resolution=64",
    ]


def _letters() -> Qwen2TokenizerFast:
    """One piece a letter; a space is spelt as byte-level tokenizers spell it."""
    pieces = ["<|endoftext|>", *"abcdefghijklmnopqrstuvwxyz_<|>/", "\u0120"]
    return Qwen2TokenizerFast(
        vocab={piece: number for number, piece in enumerate(pieces)},
        merges=[],
        chat_template=TEMPLATE,
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
        model_max_length=4 * TOKENS,
    )
