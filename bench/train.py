"""How fast a training step is, against the step that diffusers' text_to_image examples take.

    python -m bench train                                        the bundled model, one thread
    python -m bench train --model=sd15 --batch=16 --micro=16     the full-size network at random, on a GPU in bf16

The peer encodes pictures and captions in every step, as `train_text_to_image.py` does (its loop body written out here: VAE,
text encoder, noise, U-Net, mean squared error, backward, clipping, AdamW); only what trains requires gradients. Ours takes
latents and text states from the cache. Both start from the same weights and see the same latents, noise, timesteps and
captions: their losses are compared step by step.
"""

from functools import partial
from typing import Any

import numpy as np

from bench._measure import in_turns, ratio

RATE = 1e-4
STEPS = 4
"""Steps of one turn."""


def run(model: str = "tiny", batch: int = 16, rounds: int = 5, compile: int = 0) -> dict[str, Any]:
    """Ratios of the peer's step to ours for attn2_to_v, LoRA and the whole U-Net."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    result: dict[str, Any] = {
        "what": f"a step of {batch} pictures, model={model}, {dtype}",
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "clock": "wall" if device == "cuda" else "process",
        "strategies": {},
    }
    for name in ("attn2_to_v", "lora", "unet"):
        ours, peer = (_Trainer(model, name, device, dtype, batch, cached, bool(compile)) for cached in (True, False))
        turns = {"ours": partial(_turn, ours), "peer": partial(_turn, peer)}
        seconds = in_turns(turns, rounds, device)
        difference = max(abs(a - b) / abs(b) for a, b in zip(ours.losses, peer.losses, strict=True))
        result["strategies"][name] = {
            **ratio(seconds["peer"], seconds["ours"]),
            "images_per_second": round(STEPS * batch / min(seconds["ours"]), 1),
            "peer_images_per_second": round(STEPS * batch / min(seconds["peer"]), 1),
            "largest_relative_difference_of_losses": difference,
            "losses_equal": difference < (1e-4 if dtype is torch.float32 else 0.05),
        }
    return result


def _turn(trainer: "_Trainer") -> None:
    for _ in range(STEPS):
        trainer.step()


class _Trainer:
    """The same step, with the cache or with both encoders inside."""

    def __init__(
        self, model: str, strategy: str, device: str, dtype: Any, batch: int, cached: bool, compile: bool
    ) -> None:
        import torch
        from diffusers import DDPMScheduler

        from bench.sampling import _models
        from t2i.config import compose
        from t2i.sampling.config import Sampling

        self.models = _models(model, "cpu", torch.float32, Sampling(keep_text=False))
        chosen = compose([f"strategy={strategy}"]).strategy
        chosen.attach(self.models)
        self.models.to(device, dtype)
        self.cached, self.device, self.dtype = cached, device, dtype
        self.parameters = list(chosen.trainable(self.models).values())
        self.optimizer = torch.optim.AdamW(self.parameters, lr=RATE, fused=device == "cuda")
        self.schedule = DDPMScheduler.from_config(self.models.scheduler_config)
        if compile:
            self.models.unet.compile_repeated_blocks()
        self.models.unet.train()
        g = np.random.default_rng(0)
        side = self.models.resolution
        self.pixels = g.integers(0, 256, (batch, side, side, 3), dtype=np.uint8)
        self.captions = [f"a picture of thing {i}" for i in range(batch)]
        self.noises = g.standard_normal((STEPS, 2, *self.models.latent_shape(batch))).astype(np.float32)
        self.timesteps = g.integers(0, 1000, (STEPS, batch))
        self.losses: list[float] = []
        self.number = 0
        if cached:
            from t2i.models.latents import encode_moments
            from t2i.models.text import text_states

            self.moments = encode_moments(self.models, self.pixels).float().cpu().numpy()
            self.states = text_states(self.models, self.captions).float().cpu().numpy()

    def step(self) -> None:
        import torch

        from t2i.models.latents import draw_latents, encode_moments
        from t2i.models.text import text_states
        from t2i.training.objective import Denoiser, losses

        noise, latent_noise = (torch.from_numpy(part).to(self.device) for part in self.noises[self.number % STEPS])
        timesteps = torch.from_numpy(self.timesteps[self.number % STEPS]).to(self.device)
        if self.cached:
            moments = torch.from_numpy(self.moments).to(self.device)
            text = torch.from_numpy(self.states).to(self.device, self.dtype)
        else:
            moments = encode_moments(self.models, self.pixels).float()
            text = text_states(self.models, self.captions)
        latents = draw_latents(self.models, moments, latent_noise)
        with torch.autocast(self.device, self.dtype, enabled=self.dtype is not torch.float32):
            each = losses(
                Denoiser(self.models.unet, None), self.schedule, latents, noise, timesteps, text, None, self.dtype
            )
        loss = each.mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.number += 1
        if not self.cached or self.number % STEPS == 0:  # the example reads its loss in every step
            value = float(loss.detach())
        if self.number % STEPS == 0:
            self.losses.append(value)
