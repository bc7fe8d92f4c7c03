"""Trains the tiny `SD3Transformer2DModel` and its second text encoder on the latents of the bundled autoencoder.

python tools/tiny/flow.py --minutes 180                     # resumes from build/tiny/flow.pt
python tools/tiny/flow.py --export                          # the averaged weights so far, to t2i/assets/tiny_flow
python tools/tiny/measure.py --model tiny_flow              # numbers into its model card

Autoencoder and first text encoder are those of `tiny`; the second text encoder, of two layers, learns with the transformer.
Flow matching (Lipman et al. 2023) with logit-normal times (Esser et al. 2024), caption dropout, one caption of five at random.
The text is read by the model family itself (`t2i/models/families/sd3.py`), so that training and drawing cannot differ.
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import torch
from clip import TOKENS
from common import (
    WORK,
    Average,
    Budget,
    Optimisers,
    batches,
    load_checkpoint,
    save_checkpoint,
    step_generator,
)
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel
from export import load_average
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer
from unet import CAPTION_DROPOUT, cached_moments, cached_tokens

from t2i.models.families.picture import Picture
from t2i.models.families.sd3 import WITHOUT_T5
from t2i.models.layout import settle
from t2i.models.parts import Models
from t2i.randomness import generator

TARGET = Path("t2i/assets/tiny_flow")
WIDTHS = (128, 64)
"""Of the two text encoders; side by side they are narrower than what the transformer reads, as in Stable Diffusion 3."""
SHIFT = 1.0
"""Of the times: 8 x 8 latents need no more noise to hide a picture than noise of their own size."""


def build_transformer() -> SD3Transformer2DModel:
    """Seven blocks of width 192; every block starts as the identity (Peebles and Xie 2023)."""
    transformer = SD3Transformer2DModel(
        sample_size=8,
        patch_size=1,
        in_channels=16,
        out_channels=16,
        num_layers=7,
        attention_head_dim=32,
        num_attention_heads=6,
        joint_attention_dim=224,
        caption_projection_dim=192,
        pooled_projection_dim=sum(WIDTHS),
        pos_embed_max_size=16,
        qk_norm="rms_norm",
    )
    for block in transformer.transformer_blocks:
        for norm in (block.norm1, block.norm1_context):
            _zero(norm.linear)
    _zero(transformer.norm_out.linear)
    _zero(transformer.proj_out)
    return transformer


def _zero(layer: nn.Linear) -> None:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)


def text_config(tokenizer: CLIPTokenizer, width: int, layers: int) -> CLIPTextConfig:
    """Heads of width 32, as the first text encoder has them."""
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        num_attention_heads=width // 32,
        num_hidden_layers=layers,
        max_position_embeddings=TOKENS,
        projection_dim=width,
        hidden_act="gelu",
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )


def projected(tower: CLIPTextModel, tokenizer: CLIPTokenizer) -> CLIPTextModelWithProjection:
    """The bundled text tower as this class; what it pools stays as it is."""
    model = CLIPTextModelWithProjection(text_config(tokenizer, WIDTHS[0], tower.config.num_hidden_layers))
    model.text_model.load_state_dict(tower.state_dict())
    with torch.no_grad():
        model.text_projection.weight.copy_(torch.eye(WIDTHS[0]))
    return model


def build(tiny: Path, seed: int) -> Models:
    """All parts, the transformer and the second text encoder at their random start."""
    torch.manual_seed(seed)
    tokenizer = CLIPTokenizer.from_pretrained(tiny / "tokenizer")
    tower = CLIPTextModel.from_pretrained(tiny / "text_encoder", dtype=torch.float32)
    networks = {
        "text_encoder": projected(tower, tokenizer).requires_grad_(False).eval(),
        "text_encoder_2": CLIPTextModelWithProjection(text_config(tokenizer, WIDTHS[1], 2)),
        "vae": AutoencoderKL.from_pretrained(tiny / "vae", torch_dtype=torch.float32).requires_grad_(False).eval(),
        "transformer": build_transformer(),
    }
    tokenizers = {"tokenizer": tokenizer, "tokenizer_2": tokenizer}
    return Models("tiny_flow", WITHOUT_T5, networks, tokenizers, {}, 64, "")


def statistics(moments: Tensor) -> tuple[float, float]:
    """Mean and standard deviation of the latents that `unet.cached_moments` holds, both in its scale."""
    mean = moments[:2000, :16].float()
    return mean.mean().item(), mean.std().item()


def times(count: int, rng: np.random.Generator, noise_rng: torch.Generator) -> Tensor:
    """Logit-normal shares of noise, one from each of `count` intervals of equal probability: less variance between batches."""
    uniform = torch.from_numpy((np.arange(count) + rng.random(count)) / count).float().clamp(1e-4, 1 - 1e-4)
    share = torch.sigmoid(torch.erfinv(2 * uniform - 1) * 2**0.5)
    return SHIFT * share / (1 + (SHIFT - 1) * share)


def train(args: argparse.Namespace) -> None:
    """Until the budget is spent."""
    models = build(args.tiny, args.seed)
    moments = torch.from_numpy(np.array(cached_moments(args.work, args.tiny, args.scenes)))
    tokens = torch.from_numpy(np.array(cached_tokens(args.work, models.tokenizer, args.scenes)))
    empty = WITHOUT_T5.tokens(models, [None])["ids"][0]
    centre, spread = statistics(moments)
    learning = nn.ModuleDict({name: models.modules[name] for name in ("transformer", "text_encoder_2")})
    plain = ("pos_embed", "time_text_embed", "context_embedder", "norm_out", "proj_out", "embeddings", "norm1")
    optimisers = Optimisers(learning, args.lr, plain, decay=0.01)
    average, budget = Average(learning, 0.9985), Budget(args.minutes)
    path, recent = args.work / "flow.pt", []
    start = load_checkpoint(path, learning, optimisers, average, budget)
    learning.train()
    for step, rows in batches(args.scenes, args.batch, args.seed, "flow", start):
        share = budget.tick()
        rng, noise_rng = generator(args.seed, "flow", step), step_generator(args.seed, "flow noise", step)
        mean, std = moments[rows].float().chunk(2, 1)
        latents = (mean + std * torch.randn(mean.shape, generator=noise_rng) - centre) / spread
        ids = tokens[rows, torch.from_numpy(rng.integers(0, 5, len(rows)))].long()
        ids[torch.from_numpy(rng.random(len(rows)) < CAPTION_DROPOUT)] = empty
        noise, sigma = torch.randn(latents.shape, generator=noise_rng), times(len(rows), rng, noise_rng)
        level = sigma.view(-1, 1, 1, 1)
        text = WITHOUT_T5.read(models, {"ids": ids, "ids_2": ids})
        predicted = WITHOUT_T5.predict(
            models, (1 - level) * latents + level * noise, 1000 * sigma, text, [Picture.whole((64, 64))]
        )
        loss = (predicted - (noise - latents)).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(average.live, 1.0)
        optimisers.step(budget.rate(share))
        average.update()
        recent.append(loss.item())
        if step % 50 == 49:
            spent = round(budget.spent / 60, 2)
            print(json.dumps({"step": step, "minutes": spent, "loss": round(float(np.mean(recent)), 5)}), flush=True)
            recent.clear()
        if step % 200 == 199 or share >= 1:
            save_checkpoint(path, step + 1, learning, optimisers, average, budget)
        if share >= 1:
            break


def export(args: argparse.Namespace) -> None:
    """The averaged weights in fp16, as a folder that plain diffusers opens."""
    models = build(args.tiny, args.seed)
    learning = nn.ModuleDict({name: models.modules[name] for name in ("transformer", "text_encoder_2")})
    load_average(learning, args.work / "flow.pt")
    centre, spread = statistics(torch.from_numpy(np.array(cached_moments(args.work, args.tiny, args.scenes))))
    scale = models.vae.config["scaling_factor"]
    models.vae.register_to_config(shift_factor=round(centre / scale, 5), scaling_factor=round(scale / spread, 5))
    models.scheduler_config = dict(FlowMatchEulerDiscreteScheduler(shift=SHIFT).config)
    for network in models.modules.values():
        network.half()
    models.pipeline().save_pretrained(args.target)
    shutil.rmtree(args.target / "tokenizer")
    for name in ("tokenizer", "tokenizer_2"):
        shutil.copytree(args.tiny / "tokenizer", args.target / name, dirs_exist_ok=True)
    settle(args.target)
    size = sum(path.stat().st_size for path in args.target.rglob("*") if path.is_file())
    print(json.dumps({"megabytes": round(size / 1e6, 2)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=WORK, help="folder for caches and checkpoints")
    parser.add_argument("--tiny", type=Path, default=Path("t2i/assets/tiny"), help="autoencoder and text encoder")
    parser.add_argument("--target", type=Path, default=TARGET, help="folder that --export writes")
    parser.add_argument("--minutes", type=float, default=180)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--scenes", type=int, default=32_000)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--export", action="store_true", help="write the averaged weights and end")
    args = parser.parse_args()
    (export if args.export else train)(args)


if __name__ == "__main__":
    main()
