"""FLUX.2 klein (Black Forest Labs 2026): a transformer over picture and text, trained by flow matching.

It reads the states behind three layers of Qwen3 side by side, of the caption inside the chat template, and nothing pooled. Four
neighbouring latents are one token, normalised by the statistics of a batch normalisation in place of a scale.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from t2i.models.families.family import FLOW, Conditions, Family
from t2i.models.families.moments import drawn
from t2i.models.families.picture import Picture
from t2i.models.parts import Models

if TYPE_CHECKING:
    from diffusers import FlowMatchEulerDiscreteScheduler, Flux2KleinPipeline
    from torch import Tensor, nn

TOKENS = 512
"""Of a caption with its template, padded: what the pipeline of diffusers takes unless it is told otherwise."""
LAYERS = (9, 18, 27)
"""Of the text encoder, those whose states are read; 0 is the embedding."""
MANY = 200
"""Steps of a grid so fine that it is the line which training follows: exp(0.5) at 256 tokens, exp(1.15) at 4096."""


class Flux2Klein(Family):
    """One language model, and the empty caption for none."""

    title: ClassVar[str] = "FLUX.2 klein"
    pipelines: ClassVar[tuple[str, ...]] = ("Flux2KleinPipeline",)
    networks: ClassVar[Mapping[str, str]] = {
        "text_encoder": "Qwen3ForCausalLM",
        "vae": "AutoencoderKLFlux2",
        "transformer": "Flux2Transformer2DModel",
    }
    tokenizers: ClassVar[Mapping[str, str]] = {"tokenizer": "Qwen2TokenizerFast"}
    denoiser: ClassVar[str] = "transformer"
    encoders: ClassVar[tuple[str, ...]] = ("text_encoder",)
    objective: ClassVar[str] = "flow"
    schedulers: ClassVar[tuple[str, str]] = ("FlowMatchEulerDiscreteScheduler", "DPMSolverMultistepScheduler")
    targets: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "transformer": ("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0", "attn.to_qkv_mlp_proj", "attn.to_out"),
    }
    wider: ClassVar[tuple[str, ...]] = (
        *("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj", "attn.to_add_out"),
        *("ff.linear_in", "ff.linear_out", "ff_context.linear_in", "ff_context.linear_out"),
    )
    text_projections: ClassVar[tuple[str, ...]] = ("context_embedder",)
    options: ClassVar[Mapping[str, Any]] = {"is_distilled": False}
    longest: ClassVar[int | None] = TOKENS
    at_once: ClassVar[int] = 8

    def prompt(self, tokenizer: Any, caption: str) -> str:
        """As what a user says, and the model is to answer without thinking aloud."""
        said = [{"role": "user", "content": caption}]
        text: str = tokenizer.apply_chat_template(
            said, tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        return text

    def tokens(self, models: Models, captions: Sequence[str | None]) -> Conditions:
        """ids and mask (1 where a token stands): int64 (n, tokens). No caption is the empty one, as the pipeline has it."""
        tokenizer = models.tokenizer
        encoded = tokenizer(
            [self.prompt(tokenizer, caption or "") for caption in captions],
            padding="max_length",
            max_length=TOKENS,
            truncation=True,
            return_tensors="pt",
        )
        return {"ids": encoded.input_ids, "mask": encoded.attention_mask}

    def read(self, models: Models, tokens: Conditions) -> Conditions:
        """states: (n, tokens, width); those of the padding are among them, and the denoiser reads them too."""
        import torch

        # Without the head: half a megabyte of scores for every token would be thrown away.
        network = models.text_encoder.model
        device = next(network.parameters()).device
        told = network(
            tokens["ids"].to(device),
            attention_mask=tokens["mask"].to(device),
            output_hidden_states=True,
            use_cache=False,
        ).hidden_states
        return {"states": torch.cat([told[layer] for layer in LAYERS], dim=-1)}

    def rows(self, models: Models) -> dict[str, tuple[int, ...]]:
        """Padded to the same length."""
        return {"states": (TOKENS, models.denoiser.config["joint_attention_dim"])}

    # -- pictures -----------------------------------------------------------------------------------------------------

    def encode(self, models: Models, images: "Tensor") -> "Tensor":
        """Packed as the latents are: (n, 2 * 128, h / 16, w / 16)."""
        import torch

        return torch.cat([packed(part) for part in super().encode(models, images).chunk(2, dim=1)], dim=1)

    def latents(self, models: Models, moments: "Tensor", noise: "Tensor") -> "Tensor":
        """Normalised by the statistics that the autoencoder was trained with."""
        latents = drawn(moments, noise)
        mean, deviation = _statistics(models, latents)
        return (latents - mean) / deviation

    def decode(self, models: Models, latents: "Tensor") -> "Tensor":
        latents = latents.to(next(models.vae.parameters()).dtype)
        mean, deviation = _statistics(models, latents)
        images: Tensor = models.vae.decode(unpacked(latents * deviation + mean), return_dict=False)[0]
        return images

    def factor(self, models: Models) -> int:
        return 2 * super().factor(models)

    def sides(self, settings: Mapping[str, Any]) -> tuple[int, None]:
        """Four latents, which are one token."""
        return 2 ** len(settings["vae"]["block_out_channels"]), None

    # -- the denoiser -------------------------------------------------------------------------------------------------

    def predict(
        self, models: Models, x: "Tensor", time: "Tensor", conditions: Conditions, pictures: Sequence[Picture]
    ) -> "Tensor":
        """The predicted flow; time: 1000 times the share of noise. Sizes are not read."""
        import torch

        states, (height, width) = conditions["states"], x.shape[-2:]
        one, places = torch.zeros(1, dtype=torch.long), torch.arange

        def every(*ranges: "Tensor") -> "Tensor":  # torch.cartesian_prod, which converters do not know
            return torch.stack(torch.meshgrid(*ranges, indexing="ij"), dim=-1).flatten(0, -2)

        # Four numbers a token: which picture, row, column, which word.
        picture = every(one, places(height), places(width), one)
        text = every(one, one, one, places(states.shape[1]))
        prediction: Tensor = models.denoiser(
            x.flatten(2).transpose(1, 2),
            encoder_hidden_states=states,
            timestep=time.expand(x.shape[0]).to(x.dtype) / 1000,
            img_ids=picture.to(x.device, non_blocking=True),
            txt_ids=text.to(x.device, non_blocking=True),
            guidance=None,
            return_dict=False,
        )[0]
        return prediction.transpose(1, 2).unflatten(2, (height, width))

    def schedule(self, models: Models, size: int) -> dict[str, Any]:
        """With the shift of training, exp(mu) of this size and `MANY` steps.

        Drawing takes its mu from `grid`, by the steps; training draws its times from no grid of few steps, so it takes the end
        of that rule, which is the line of this scheduler's own configuration (Esser et al. 2024, and FLUX.1). diffusers' own
        script trains this model without any shift.
        """
        import math

        shift = math.exp(mu_of((size // self.factor(models)) ** 2, MANY))
        return models.scheduler_config | {"prediction_type": FLOW, "shift": shift, "flow_shift": shift}

    def grid(self, models: Models, steps: int) -> dict[str, Any]:
        """Equal steps from 1 to 1 / steps, moved towards noise by mu."""
        import numpy as np

        height, width = models.latent_shape(1)[-2:]
        return {"sigmas": np.linspace(1.0, 1 / steps, steps), "mu": mu_of(height * width, steps)}

    def scheduler(self, models: Models) -> "FlowMatchEulerDiscreteScheduler":
        """Euler's method along the flow."""
        from diffusers import FlowMatchEulerDiscreteScheduler

        return FlowMatchEulerDiscreteScheduler.from_config(models.scheduler_config)

    def pipeline(self, models: Models) -> "Flux2KleinPipeline":
        from diffusers import Flux2KleinPipeline

        parts = {**models.modules, **models.tokenizers, **models.options}
        return Flux2KleinPipeline(**parts, scheduler=models.scheduler())

    def encoded(self, pipeline: Any, captions: Sequence[str]) -> tuple[Conditions, Conditions]:
        """States alone: the pipeline numbers the words itself."""
        given, none = (pipeline.encode_prompt(lines)[0] for lines in (list(captions), [""] * len(captions)))
        return {"states": given}, {"states": none}

    def spread(self, models: Models, latents: "Tensor") -> "Tensor":
        """Tokens in rows."""
        side = models.resolution // self.factor(models)
        return latents.transpose(1, 2).unflatten(2, (side, side))

    def blocks(self, denoiser: "nn.Module") -> "dict[str, nn.Module]":
        """Those of two streams, and those of one."""
        return {
            f"{kind} block {number}": block
            for kind, blocks in (
                ("double", denoiser.transformer_blocks),
                ("single", denoiser.single_transformer_blocks),
            )
            for number, block in enumerate(blocks)  # type: ignore[arg-type]
        }

    def text_width(self, settings: Mapping[str, Any]) -> int:
        """Of the three layers together."""
        return int(settings["transformer"]["joint_attention_dim"])

    def reaches(self, models: Models, network: str, parameter: str) -> bool:
        """Of the text encoder nothing behind the last layer that is read."""
        if network not in self.encoders:
            return True
        layer = re.search(r"\blayers\.(\d+)\.", parameter)
        return int(layer[1]) < LAYERS[-1] if layer else not re.match(r"model\.norm\b|lm_head\b", parameter)


def mu_of(tokens: int, steps: int) -> float:
    """The logarithm of the shift that pictures of so many tokens need in so many steps.

    Two lines in the number of tokens, for 10 steps and for 200, and between them a third in the number of steps; from 4300
    tokens on, the second alone (the authors' rule, as `compute_empirical_mu` of diffusers has it).
    """
    few, many = 8.73809524e-05 * tokens + 1.89833333, 0.00016927 * tokens + 0.45666666
    return many if tokens > 4300 else many + (many - few) / 190 * (steps - MANY)


def packed(latents: "Tensor") -> "Tensor":
    """(n, c, 2 h, 2 w) to (n, 4 c, h, w): four neighbours become channels."""
    import torch.nn.functional as F

    return F.pixel_unshuffle(latents, 2)


def unpacked(latents: "Tensor") -> "Tensor":
    """The inverse of `packed`."""
    import torch.nn.functional as F

    return F.pixel_shuffle(latents, 2)


def _statistics(models: Models, like: "Tensor") -> "tuple[Tensor, Tensor]":
    """Mean and standard deviation of each channel of packed latents, (1, channels, 1, 1)."""
    norm = models.vae.bn
    deviation = (norm.running_var + models.vae.config["batch_norm_eps"]).sqrt()
    mean, deviation = (values.view(1, -1, 1, 1).to(like) for values in (norm.running_mean, deviation))
    return mean, deviation
