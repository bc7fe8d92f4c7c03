"""Trains the tiny `AutoencoderKL` (f8, 16 latent channels) on scenes.

python tools/tiny/vae.py --minutes 35              # resumes from build/tiny/vae.pt when it exists
python tools/tiny/vae.py --minutes 30 --decoder    # then: only the decoder, so that cached latents stay valid
"""

import argparse
import json
from pathlib import Path

import torch
from common import (
    GENERATOR,
    HELD_OUT,
    WORK,
    Average,
    Budget,
    Optimisers,
    batches,
    images,
    load_checkpoint,
    save_checkpoint,
    step_generator,
    to_tensor,
)
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor

CHANNELS = 16


def build() -> AutoencoderKL:
    """The network, about 1.7 M parameters."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 64, 96),
        layers_per_block=1,
        latent_channels=CHANNELS,
        norm_num_groups=8,
        sample_size=64,
    )


def reconstruction_loss(output: Tensor, target: Tensor) -> Tensor:
    """L1 + squared error + L1 of the differences to the right and lower neighbour (sharp outlines)."""
    error = output - target
    edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    return error.abs().mean() + error.square().mean() + 0.5 * edges


@torch.no_grad()
def held_out(vae: AutoencoderKL, pixels: Tensor) -> dict[str, float]:
    """Mean squared error on [-1, 1], its PSNR in dB, and the latents' statistics."""
    latents = torch.cat([vae.encode(part).latent_dist.mode() for part in pixels.split(50)])
    output = torch.cat([vae.decode(part).sample for part in latents.split(50)]).clamp(-1, 1)
    mse = (output - pixels).square().mean().item()
    return {
        "mse": mse,
        "psnr_db": 10 * torch.log10(torch.tensor(4 / mse)).item(),
        "latent_std": latents.std().item(),
        "largest_channel_mean": latents.mean((0, 2, 3)).abs().max().item(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=WORK, help="folder for caches and checkpoints")
    parser.add_argument("--minutes", type=float, default=35)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--optimiser", choices=("muon", "adamw"), default="muon")
    parser.add_argument(
        "--decoder", action="store_true", help="train only the decoder, from vae.pt into vae_decoder.pt"
    )
    parser.add_argument("--name", default="vae", help="checkpoint's name")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    pixels, test = images(args.work, GENERATOR), to_tensor(images(args.work, HELD_OUT)[:100])
    vae = build()
    path = args.work / f"{args.name}.pt"
    if args.decoder:
        path = args.work / f"{args.name}_decoder.pt"
        start_from = torch.load(args.work / f"{args.name}.pt", weights_only=True)
        vae.load_state_dict(start_from["model"])
        for parameter, value in zip(vae.parameters(), start_from["average"], strict=True):
            parameter.data.copy_(value)
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
    optimisers = Optimisers(vae, args.lr, ("conv_in", "conv_out", "quant_conv"), muon=args.optimiser == "muon")
    average, budget = Average(vae, 0.998), Budget(args.minutes)
    start = load_checkpoint(path, vae, optimisers, average, budget)
    name = path.stem
    for step, rows in batches(len(pixels), args.batch, args.seed, name, start):
        share = budget.tick()
        target = to_tensor(pixels[rows])
        if args.decoder:
            with torch.no_grad():
                posterior = vae.encode(target).latent_dist
        else:
            posterior = vae.encode(target).latent_dist
        assert isinstance(posterior, DiagonalGaussianDistribution)
        output = vae.decode(posterior.sample(step_generator(args.seed, name, step))).sample
        loss = reconstruction_loss(output, target)
        if not args.decoder:
            centre = posterior.mean.mean((0, 2, 3)).square().mean()
            kl = 0.5 * (posterior.mean.square() + posterior.var - 1 - posterior.logvar).mean()
            loss = loss + 3e-4 * kl + 1e-2 * centre
        loss.backward()
        torch.nn.utils.clip_grad_norm_(average.live, 1.0)
        optimisers.step(budget.rate(share))
        average.update()
        if step % 100 == 0:
            print(json.dumps({"step": step, "minutes": round(budget.spent / 60, 2), "loss": round(loss.item(), 5)}))
        if (step and step % 500 == 0) or share >= 1:
            average.swap()
            print(json.dumps({"step": step, "minutes": round(budget.spent / 60, 2), **held_out(vae, test)}), flush=True)
            average.swap()
            save_checkpoint(path, step + 1, vae, optimisers, average, budget)
        if share >= 1:
            break


if __name__ == "__main__":
    main()
