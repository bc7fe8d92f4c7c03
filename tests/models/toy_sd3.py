"""Pipelines of Stable Diffusion 3's classes with random weights, with and without T5, small enough for a test."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from tokenizers import Tokenizer
from tokenizers.models import Unigram
from tokenizers.processors import TemplateProcessing
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

from t2i.models.config import Model
from t2i.models.source import BUNDLED

WIDTHS = (24, 16)
JOINT = 48
TRANSFORMER = {
    "sample_size": 8, "patch_size": 2, "in_channels": 4, "out_channels": 4, "num_layers": 3, "attention_head_dim": 8,
    "num_attention_heads": 2, "joint_attention_dim": JOINT, "caption_projection_dim": 16,
    "pooled_projection_dim": sum(WIDTHS), "pos_embed_max_size": 8, "qk_norm": "rms_norm", "dual_attention_layers": (0,),
}  # fmt: skip
VAE = {
    "sample_size": 16, "in_channels": 3, "out_channels": 3, "latent_channels": 4, "norm_num_groups": 4,
    "block_out_channels": [8, 8], "scaling_factor": 1.5, "shift_factor": 0.06, "use_quant_conv": False,
    "use_post_quant_conv": False, "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
}  # fmt: skip
SHIFT = 3.0
RESOLUTION = 16


def write(folder: Path, t5: bool = False) -> Model:
    """A pipeline's folder: latents (4, 8, 8) for pictures of 16 x 16."""
    tokenizer = CLIPTokenizer.from_pretrained(BUNDLED / "tokenizer")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first, second = (CLIPTextModelWithProjection(_clip(tokenizer, width)) for width in WIDTHS)
        third = T5EncoderModel(_t5()) if t5 else None
        transformer, vae = SD3Transformer2DModel(**TRANSFORMER), AutoencoderKL(**VAE)
    StableDiffusion3Pipeline(
        transformer=transformer, vae=vae, text_encoder=first, text_encoder_2=second, text_encoder_3=third,
        tokenizer=tokenizer, tokenizer_2=tokenizer, tokenizer_3=_pieces() if t5 else None,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=SHIFT),
    ).save_pretrained(folder)  # fmt: skip
    tokens = tokenizer.model_max_length
    return Model(
        name="toy_sd3", source=str(folder), resolution=RESOLUTION, tokens=tokens, width=JOINT, cross_attention_layers=0
    )


def write_t5(folder: Path) -> Model:
    """With T5."""
    return write(folder, t5=True)


def _clip(tokenizer: CLIPTokenizer, width: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=tokenizer.model_max_length, projection_dim=width,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip


def _t5() -> T5Config:
    return T5Config(vocab_size=64, d_model=JOINT, d_kv=8, d_ff=32, num_layers=1, num_heads=2)


def _pieces() -> T5TokenizerFast:
    """One piece a letter."""
    letters = [
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", -9.0),
        *((letter, -3.0) for letter in "abcdefghijklmnopqrstuvwxyz "),
    ]
    found = Tokenizer(Unigram(letters, unk_id=2))
    found.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return T5TokenizerFast(tokenizer_object=found, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", extra_ids=0)
