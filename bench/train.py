"""How fast a training step is, against the step that diffusers' text_to_image examples take.

    python -m bench train                                        the bundled model, one thread
    python -m bench train --model=sd15 --batch=16 --compile=1 --channels_last=1    full size, random weights, a GPU, bf16
    python -m bench train --script=/path/to/train_text_to_image.py --lora_script=/path/to/train_text_to_image_lora.py

The peer encodes pictures and captions in every step, as `train_text_to_image.py` does (its loop body written out here: VAE,
text encoder, noise, U-Net, mean squared error, backward, clipping, AdamW): `default`, one picture at a time and, but for LoRA,
with gradient checkpointing, as its documentation shows; `tuned`, the whole batch at once, without. Only what trains requires
gradients. Ours takes latents and text states from the cache. All start from the same weights and see the same latents, noise,
timesteps and captions: their losses are compared step by step. With the paths of the example scripts, whole programs are
measured as well (`bench/_script.py`).
"""

from functools import partial
from typing import Any

import numpy as np

from bench._measure import Ceilings, counted_flops, in_turns, operators, ratio
from bench._options import chosen

RATE = 1e-4
STEPS = 4
"""Steps of one turn."""
PARTS = {"attn2_to_v": True, "lora": False, "unet": True}
"""Strategies, and whether the example's documentation checkpoints gradients."""


def run(
    model: str = "tiny",
    batch: int = 16,
    rounds: int = 5,
    compile: int = 0,
    channels_last: int = 0,
    only: str = "",
    script: str = "",
    lora_script: str = "",
) -> dict[str, Any]:
    """Ratios of the peer's step to ours for attn2_to_v, LoRA and the whole U-Net, and ours' share of the machine's limit."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    ceilings = Ceilings(device, dtype)
    result: dict[str, Any] = {
        "what": f"a step of {batch} pictures, model={model}, {dtype}",
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "clock": "wall" if device == "cuda" else "process",
        "strategies": {},
    }
    for name in chosen("only", only, list(PARTS)):
        trainers = {
            form: Trainer(model, name, device, dtype, batch, form, bool(compile), bool(channels_last))
            for form in ("ours", "tuned", "default")
        }
        flops = {form: STEPS * counted_flops(trainers[form].gradients) for form in ("ours", "tuned")}
        turns = {form: partial(_turn, trainer) for form, trainer in trainers.items()}
        seconds = in_turns({**turns, **ceilings.turns()}, rounds, device)
        ours = trainers["ours"].losses
        difference = max(
            abs(a - b) / abs(b)
            for peer in ("tuned", "default")
            for a, b in zip(ours, trainers[peer].losses, strict=True)
        )
        result["strategies"][name] = {
            **ratio(seconds["tuned"], seconds["ours"]),
            "default": ratio(seconds["default"], seconds["ours"]),
            "counted_flops_tuned_over_ours": round(flops["tuned"] / flops["ours"], 3),
            "share_of_the_limit": ceilings.share(seconds, "ours", flops["ours"]),
            "images_per_second": round(STEPS * batch / min(seconds["ours"]), 1),
            "peer_images_per_second": round(STEPS * batch / min(seconds["tuned"]), 1),
            "largest_relative_difference_of_losses": difference,
            "losses_equal": difference < (1e-4 if dtype is torch.float32 else 0.05),
            "profile": operators(trainers["ours"].step, device),
        }
    result["results_equal"] = all(found["losses_equal"] for found in result["strategies"].values())
    if script or lora_script:
        from bench._script import programs

        result["programs"] = programs(model, {"unet": script, "lora": lora_script}, batch, device)
    return result


def _turn(trainer: "Trainer") -> None:
    for _ in range(STEPS):
        trainer.step()


class Trainer:
    """The same step, with the cache or with both encoders inside, at once or picture by picture."""

    def __init__(
        self,
        model: str,
        strategy: str,
        device: str,
        dtype: Any,
        batch: int,
        form: str,
        compile: bool = False,
        channels_last: bool = False,
        pixels: int | None = None,
    ) -> None:
        import torch

        from bench.sampling import BARE, _models
        from t2i.config import compose
        from t2i.models.blocks import compile_blocks
        from t2i.training.objective import objective_of

        self.models = _models(model, "cpu", torch.float32, BARE)
        self.models.resolution = pixels or self.models.resolution
        trained = compose([f"strategy={strategy}"]).strategy
        trained.attach(self.models)
        self.models.to(device, dtype)
        self.cached, self.device, self.dtype = form == "ours", device, dtype
        self.micro = 1 if form == "default" else batch
        if form == "default" and PARTS[strategy]:
            self.models.unet.enable_gradient_checkpointing()
        self.parameters = list(trained.trainable(self.models).values())
        self.optimizer = torch.optim.AdamW(self.parameters, lr=RATE, fused=self.cached)
        self.objective = objective_of(self.models)
        if channels_last and self.cached:
            self.models.unet.to(memory_format=torch.channels_last)
        if compile and self.cached:
            compile_blocks(self.models.unet)
        self.models.unet.train()
        g = np.random.default_rng(0)
        side = self.models.resolution
        self.pixels = g.integers(0, 256, (batch, side, side, 3), dtype=np.uint8)
        self.captions = [f"a picture of thing {i}" for i in range(batch)]
        self.noises = g.standard_normal((STEPS, 2, *self.models.latent_shape(batch))).astype(np.float32)
        self.timesteps = g.integers(0, 1000, (STEPS, batch))
        self.losses: list[float] = []
        self.number = 0
        if self.cached:
            from t2i.models.latents import encode_moments

            self.moments = encode_moments(self.models, self.pixels).float().cpu().numpy()
            conditions = self.models.family.conditions(self.models, self.captions)
            self.text = {name: value.float().cpu().numpy() for name, value in conditions.items()}

    def gradients(self) -> None:
        """Of a whole batch, for nobody."""
        self._loss(slice(None)).mean().backward()
        self.optimizer.zero_grad(set_to_none=True)

    def step(self) -> None:
        """One step of the optimiser over the batch."""
        import torch

        total = 0.0
        count = len(self.pixels)
        for first in range(0, count, self.micro):
            loss = self._loss(slice(first, first + self.micro)).sum() / count
            loss.backward()
            if not self.cached:  # the example reads its loss in every step
                total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.number += 1
        if self.number % STEPS == 0:
            self.losses.append(float(loss.detach()) if self.cached else total)

    def _loss(self, rows: slice) -> Any:
        import torch

        from t2i.models.families.picture import Picture
        from t2i.models.latents import draw_latents, encode_moments
        from t2i.training.objective import Batch, Denoiser, losses

        noise, latent_noise = (
            torch.from_numpy(part[rows]).to(self.device) for part in self.noises[self.number % STEPS]
        )
        timesteps = torch.from_numpy(self.timesteps[self.number % STEPS][rows]).to(self.device)
        if self.cached:
            moments = torch.from_numpy(self.moments[rows]).to(self.device)
            text = {
                name: torch.from_numpy(value[rows]).to(self.device, self.dtype) for name, value in self.text.items()
            }
        else:
            moments = encode_moments(self.models, self.pixels[rows]).float()
            text = self.models.family.conditions(self.models, self.captions[rows])
        latents = draw_latents(self.models, moments, latent_noise)
        with torch.autocast(self.device, self.dtype, enabled=self.dtype is not torch.float32):
            data = Batch(latents, noise, timesteps, text, [Picture.whole((self.models.resolution,) * 2)])
            return losses(Denoiser(self.models, False), self.objective, data, self.dtype)
