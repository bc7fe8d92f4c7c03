"""Trains the tiny `UNet2DConditionModel` on the latents and text states of what `export.py` wrote.

python tools/tiny/unet.py --minutes 60                                       # resumes from build/tiny/unet.pt
torchrun --nproc_per_node 2 tools/tiny/unet.py --minutes 60                  # two processes, weights averaged

Processes train apart for `SYNC` steps and then average their weights ("local SGD"): on shared cores that keeps both
busy, where averaging every gradient makes each wait for the other (about 45 instead of 33 pictures per second).

Velocity prediction (Salimans & Ho 2022) instead of SD 1.x's epsilon: a network that predicts epsilon has to copy the
noise to one part in a hundred before the picture in the noisiest steps is right. Measured, as one weighted error: the
same weights of step 1,800 reach 0.279 in 100 steps of epsilon and 0.274 in 100 of velocity, which began at 0.455 and
was at 0.250 another 100 steps later. min-SNR weighting for velocity (Hang et al. 2023, gamma 5), one caption of five
at random, caption dropout.
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np
import torch
import torch.distributed
import torch.nn.functional as F
from clip import encode
from common import (
    GENERATOR,
    WORK,
    Average,
    Budget,
    Optimisers,
    average_weights,
    batches,
    images,
    load_checkpoint,
    rank,
    save_checkpoint,
    step_generator,
    texts,
    to_tensor,
    world_size,
)
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from diffusers.training_utils import compute_snr
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from t2i.randomness import generator

PREDICTION = "v_prediction"
GAMMA = 5.0
SYNC = 10
CAPTION_DROPOUT = 0.1


def build() -> UNet2DConditionModel:
    """Four levels and 16 cross-attention layers as in SD 1.x; about 8.7 M parameters."""
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=16,
        out_channels=16,
        block_out_channels=(96, 96, 96, 64),
        layers_per_block=2,
        cross_attention_dim=128,
        # diffusers' name for the number of heads.
        attention_head_dim=4,
        norm_num_groups=16,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    )


def cached_moments(work: Path, tiny: Path, count: int) -> np.ndarray:
    """Scaled mean and standard deviation of every scene's latents, float16 (N, 32, 8, 8)."""
    path = work / f"moments_{GENERATOR.start}_{GENERATOR.start + count}.npy"
    if not path.exists():
        vae = AutoencoderKL.from_pretrained(tiny / "vae", torch_dtype=torch.float32)
        pixels = images(work, GENERATOR)
        moments = np.empty((count, 2 * vae.config.latent_channels, 8, 8), np.float16)
        with torch.no_grad():
            for start in range(0, count, 50):
                posterior = vae.encode(to_tensor(pixels[start : min(start + 50, count)])).latent_dist
                both = torch.cat([posterior.mean, posterior.std], 1) * vae.config.scaling_factor
                moments[start : start + len(both)] = both.half().numpy()
        partial = path.with_suffix(f".{os.getpid()}.npy")
        np.save(partial, moments)
        partial.rename(path)
    return np.load(path, mmap_mode="r")


def cached_tokens(work: Path, tokenizer: CLIPTokenizer, count: int) -> np.ndarray:
    """Token numbers of every scene's five captions, int16 (N, 5, 32)."""
    path = work / f"tokens_{GENERATOR.start}_{GENERATOR.start + count}.npy"
    if not path.exists():
        lines = [line for five in texts(range(GENERATOR.start, GENERATOR.start + count)) for line in five]
        partial = path.with_suffix(f".{os.getpid()}.npy")
        np.save(partial, encode(tokenizer, lines).view(count, 5, -1).short().numpy())
        partial.rename(path)
    return np.load(path, mmap_mode="r")


def snr_weight(scheduler: DDPMScheduler, timesteps: Tensor) -> Tensor:
    """The weight of velocity's squared error: min(SNR + 1, gamma) / (SNR + 1)."""
    snr = compute_snr(scheduler, timesteps) + 1
    return snr.clamp(max=GAMMA) / snr


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=WORK, help="folder for caches and checkpoints")
    parser.add_argument("--tiny", type=Path, default=Path("t2i/assets/tiny"), help="exported VAE and text encoder")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--batch", type=int, default=32, help="pictures a process")
    parser.add_argument("--scenes", type=int, default=32_000)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=3)
    args = parser.parse_args()

    if "WORLD_SIZE" in os.environ:
        torch.distributed.init_process_group("gloo")
    torch.manual_seed(args.seed)
    if rank() == 0:
        cached_moments(args.work, args.tiny, args.scenes)
        cached_tokens(args.work, CLIPTokenizer.from_pretrained(args.tiny / "tokenizer"), args.scenes)
    if world_size() > 1:
        torch.distributed.barrier()
    moments = torch.from_numpy(np.array(cached_moments(args.work, args.tiny, args.scenes)))
    tokenizer = CLIPTokenizer.from_pretrained(args.tiny / "tokenizer")
    text_encoder = CLIPTextModel.from_pretrained(args.tiny / "text_encoder", dtype=torch.float32).eval()
    tokens = torch.from_numpy(np.array(cached_tokens(args.work, tokenizer, args.scenes)))
    empty = encode(tokenizer, [""])
    scheduler = DDPMScheduler.from_pretrained(args.tiny / "scheduler")
    unet = build()
    optimisers = Optimisers(unet, args.lr, ("conv_in", "conv_out", "time_embedding"), decay=0.01)
    average, budget = Average(unet, 0.998), Budget(args.minutes)
    path = args.work / "unet.pt"
    start = load_checkpoint(path, unet, optimisers, average, budget)
    recent: list[float] = []
    agreed = 0.0
    for step, rows in batches(args.scenes, args.batch * world_size(), args.seed, "unet", start):
        share = budget.tick()
        if world_size() == 1:
            agreed = share
        rows = rows[rank() :: world_size()]
        rng = generator(args.seed, "unet", step, rank())
        noise_rng = step_generator(args.seed, f"unet noise {rank()}", step)
        mean, std = moments[rows].float().chunk(2, 1)
        latents = mean + std * torch.randn(mean.shape, generator=noise_rng)
        ids = tokens[rows, torch.from_numpy(rng.integers(0, 5, len(rows)))].long()
        ids[torch.from_numpy(rng.random(len(rows)) < CAPTION_DROPOUT)] = empty
        with torch.no_grad():
            states = text_encoder(ids).last_hidden_state
        noise = torch.randn(latents.shape, generator=noise_rng)
        # One timestep from each of `batch` equal intervals: uniform, with less variance between batches.
        timesteps = torch.from_numpy(
            ((np.arange(len(rows)) + rng.random(len(rows))) / len(rows) * 1000).astype(np.int64)
        )
        noisy = scheduler.add_noise(latents, noise, timesteps)
        target = scheduler.get_velocity(latents, noise, timesteps)
        error = F.mse_loss(unet(noisy, timesteps, states).sample, target, reduction="none").mean((1, 2, 3))
        loss = (error * snr_weight(scheduler, timesteps)).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(average.live, 1.0)
        optimisers.step(budget.rate(share))
        if world_size() > 1 and step % SYNC == SYNC - 1:
            agreed = average_weights(average.live, share)
        average.update()
        recent.append(loss.item())
        if rank() == 0:
            if step % 50 == 49:
                minutes = round(budget.spent / 60, 2)
                print(
                    json.dumps({"step": step, "minutes": minutes, "loss": round(float(np.mean(recent)), 5)}), flush=True
                )
                recent.clear()
            if step % 200 == 199 or agreed >= 1:
                save_checkpoint(path, step + 1, unet, optimisers, average, budget)
        if agreed >= 1:
            break


if __name__ == "__main__":
    main()
