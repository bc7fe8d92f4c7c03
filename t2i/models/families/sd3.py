"""Stable Diffusion 3 and 3.5 (Esser et al. 2024): a transformer over picture and text, trained by flow matching.

It reads the states before the last layer of two CLIP text encoders, side by side, the last states of T5 behind them, and the
pooled states of both CLIPs. T5 may be absent: zeros stand in its place.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from t2i.models.families.family import FLOW, Conditions, Family
from t2i.models.families.picture import Picture
from t2i.models.layout import LEVEL
from t2i.models.parts import Models

if TYPE_CHECKING:
    from diffusers import FlowMatchEulerDiscreteScheduler, StableDiffusion3Pipeline
    from torch import Tensor, nn

T5_TOKENS = 256
"""Of T5, or of the zeros in its place: what the pipeline of diffusers takes unless it is told otherwise."""
CLIPS = (("ids", "tokenizer", "text_encoder"), ("ids_2", "tokenizer_2", "text_encoder_2"))
T5 = ("tokenizer_3", "text_encoder_3")


class StableDiffusion3(Family):
    """Two CLIPs and perhaps T5, and the empty caption for none."""

    title: ClassVar[str] = "Stable Diffusion 3 and 3.5"
    pipelines: ClassVar[tuple[str, ...]] = ("StableDiffusion3Pipeline", "StableDiffusion3Img2ImgPipeline")
    networks: ClassVar[Mapping[str, str]] = {
        "text_encoder": "CLIPTextModelWithProjection",
        "text_encoder_2": "CLIPTextModelWithProjection",
        "text_encoder_3": "T5EncoderModel",
        "vae": "AutoencoderKL",
        "transformer": "SD3Transformer2DModel",
    }
    tokenizers: ClassVar[Mapping[str, str]] = {
        "tokenizer": "CLIPTokenizer",
        "tokenizer_2": "CLIPTokenizer",
        "tokenizer_3": "T5TokenizerFast",
    }
    denoiser: ClassVar[str] = "transformer"
    encoders: ClassVar[tuple[str, ...]] = ("text_encoder", "text_encoder_2", "text_encoder_3")
    objective: ClassVar[str] = "flow"
    schedulers: ClassVar[tuple[str, str]] = ("FlowMatchEulerDiscreteScheduler", "DPMSolverMultistepScheduler")
    targets: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "transformer": (
            *("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0"),
            *("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj", "attn.to_add_out"),
        ),
        "text_encoder": ("q_proj", "k_proj", "v_proj", "out_proj"),
        "text_encoder_2": ("q_proj", "k_proj", "v_proj", "out_proj"),
    }
    wider: ClassVar[tuple[str, ...]] = (
        *("attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0"),
        *("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2"),
    )
    text_projections: ClassVar[tuple[str, ...]] = ("context_embedder",)

    def of(self, present: Collection[str]) -> Family:
        return self if T5[1] in present else WITHOUT_T5

    def tokens(self, models: Models, captions: Sequence[str | None]) -> Conditions:
        """ids and ids_2 of the CLIPs, pieces of T5: int64 (n, tokens). No caption is the empty one, as the pipeline has it."""
        from t2i.models.text import tokenize

        lines = [caption or "" for caption in captions]
        found = {ids: tokenize(models, lines, tokenizer) for ids, tokenizer, _ in CLIPS}
        if T5[0] in self.tokenizers:
            found["pieces"] = tokenize(models, lines, T5[0], T5_TOKENS)
        return found

    def read(self, models: Models, tokens: Conditions) -> Conditions:
        """states: (n, tokens, width), of the CLIPs and then of T5, or one row of zeros that stands for `T5_TOKENS` alike;
        pooled: (n, width).
        """
        import torch
        import torch.nn.functional as F

        width = models.denoiser.config["joint_attention_dim"]
        told = [
            models.modules[encoder](tokens[ids].to(_device(models, encoder)), output_hidden_states=True)
            for ids, _, encoder in CLIPS
        ]
        clip = torch.cat([one.hidden_states[-2] for one in told], dim=-1)
        clip = F.pad(clip, (0, width - clip.shape[-1]))
        if "pieces" in tokens:
            rest = models.modules[T5[1]](tokens["pieces"].to(_device(models, T5[1])))[0].to(clip.dtype)
        else:
            rest = clip.new_zeros(clip.shape[0], 1, width)
        return {"states": torch.cat([clip, rest], dim=1), "pooled": torch.cat([one[0] for one in told], dim=-1)}

    def rows(self, models: Models) -> dict[str, tuple[int, ...]]:
        """Without T5 one row more than CLIP's."""
        config = models.denoiser.config
        rest = T5_TOKENS if T5[1] in self.networks else 1
        return {
            "states": (models.tokenizer.model_max_length + rest, config["joint_attention_dim"]),
            "pooled": (config["pooled_projection_dim"],),
        }

    def sides(self, settings: Mapping[str, Any]) -> tuple[int, int]:
        """A patch of latents, of which positions are known."""
        network, levels = settings["transformer"], len(settings["vae"]["block_out_channels"])
        patch = int(network["patch_size"]) * 2 ** (levels - 1)
        return patch, patch * int(network["pos_embed_max_size"])

    def predict(
        self, models: Models, x: "Tensor", time: "Tensor", conditions: Conditions, pictures: Sequence[Picture]
    ) -> "Tensor":
        """The predicted flow; time: 1000 times the share of noise. Sizes are not read."""
        from t2i.models.joint_attention import JointAttention, repeated_last

        network, states = models.denoiser, conditions["states"]
        options = {}
        if T5[1] not in self.networks:
            if not all(isinstance(one, JointAttention) for one in network.attn_processors.values()):
                network.set_attn_processor(JointAttention())
            patches = x.shape[-1] * x.shape[-2] // network.config["patch_size"] ** 2
            options = {"attention_mask": repeated_last(patches + states.shape[1], T5_TOKENS, x)}
        prediction: Tensor = network(
            x,
            encoder_hidden_states=states,
            pooled_projections=conditions["pooled"],
            timestep=time.expand(x.shape[0]),
            joint_attention_kwargs=options,
            return_dict=False,
        )[0]
        return prediction

    def schedule(self, models: Models, size: int) -> dict[str, Any]:
        """The shift is the same for every size; multistep solvers know it by another name."""
        return models.scheduler_config | {
            "prediction_type": FLOW,
            "flow_shift": models.scheduler_config.get("shift", 1.0),
        }

    def scheduler(self, models: Models) -> "FlowMatchEulerDiscreteScheduler":
        """Euler's method along the flow."""
        from diffusers import FlowMatchEulerDiscreteScheduler

        return FlowMatchEulerDiscreteScheduler.from_config(models.scheduler_config)

    def pipeline(self, models: Models) -> "StableDiffusion3Pipeline":
        """Without T5 where there is none."""
        from diffusers import StableDiffusion3Pipeline

        parts = dict.fromkeys(T5) | models.modules | models.tokenizers
        return StableDiffusion3Pipeline(**parts, scheduler=models.scheduler())

    def encoded(self, pipeline: Any, captions: Sequence[str]) -> tuple[Conditions, Conditions]:
        """Zeros in T5's place, all of them, become the one row that stands for them here."""
        given, none, pooled, no_pooled = pipeline.encode_prompt(list(captions), None, None, pipeline.device)
        keep = given.shape[1]
        if pipeline.text_encoder_3 is None:
            keep -= T5_TOKENS - 1
            if bool(given[:, keep - 1 :].any()):
                raise ValueError(f"{type(pipeline).__name__} puts something else than zeros in the place of T5")
        return {"states": given[:, :keep], "pooled": pooled}, {"states": none[:, :keep], "pooled": no_pooled}

    def spellings(self, network: str, layer: str, config: Any) -> set[str]:
        """The text encoders with and without the level that transformers had until 5.6."""
        plain = layer.removeprefix(LEVEL)
        return {layer} if network == self.denoiser else {layer, plain, LEVEL + plain}

    def reaches(self, models: Models, network: str, parameter: str) -> bool:
        """The last block hands no text on: what asks there has no say."""
        last = models.denoiser.config["num_layers"] - 1
        return network != self.denoiser or not re.search(rf"\.{last}\.attn\.(add_q_proj|norm_added_q)\b", parameter)

    def blocks(self, denoiser: "nn.Module") -> "dict[str, nn.Module]":
        """Transformer blocks."""
        return {f"block {number}": block for number, block in enumerate(denoiser.transformer_blocks)}  # type: ignore[arg-type]

    def text_width(self, settings: Mapping[str, Any]) -> int:
        """What picture and text share."""
        return int(settings["transformer"]["joint_attention_dim"])


class WithoutT5(StableDiffusion3):
    """Two CLIPs alone: T5 has 4.8 of the 8 thousand million parameters, and says little of short captions."""

    networks: ClassVar[Mapping[str, str]] = {
        name: kind for name, kind in StableDiffusion3.networks.items() if name != T5[1]
    }
    tokenizers: ClassVar[Mapping[str, str]] = {
        name: kind for name, kind in StableDiffusion3.tokenizers.items() if name != T5[0]
    }
    encoders: ClassVar[tuple[str, ...]] = StableDiffusion3.encoders[:-1]
    absent: ClassVar[tuple[str, ...]] = T5


WITHOUT_T5 = WithoutT5()


def _device(models: Models, encoder: str) -> "Any":
    return next(models.modules[encoder].parameters()).device
