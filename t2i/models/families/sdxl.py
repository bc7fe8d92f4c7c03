"""Stable Diffusion XL (Podell et al. 2023): a U-Net that reads two CLIP text encoders side by side, and sizes of the picture.

States are those before the last layer of both, 77 x (768 + 1280); the second one's pooled vector and six numbers - the size of
the file, where the crop begins, the size of the picture - go into the time embedding.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from t2i.models.families.family import Conditions
from t2i.models.families.picture import Picture
from t2i.models.families.sd1 import StableDiffusion1
from t2i.models.original import OPEN_CLIP, UNET, VAE, unet_name
from t2i.models.parts import Models

if TYPE_CHECKING:
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
    from torch import Tensor

FIRST, SECOND = "text_encoder", "text_encoder_2"
ZEROS = "force_zeros_for_empty_prompt"
SIZES = 6
"""Numbers that `predict` says of a picture's sizes."""


class StableDiffusionXL(StableDiffusion1):
    """Two text encoders, one U-Net, and zeros for no caption."""

    title: ClassVar[str] = "Stable Diffusion XL"
    pipelines: ClassVar[tuple[str, ...]] = ("StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline")
    networks: ClassVar[Mapping[str, str]] = {
        FIRST: "CLIPTextModel",
        SECOND: "CLIPTextModelWithProjection",
        "vae": "AutoencoderKL",
        "unet": "UNet2DConditionModel",
    }
    tokenizers: ClassVar[Mapping[str, str]] = {"tokenizer": "CLIPTokenizer", "tokenizer_2": "CLIPTokenizer"}
    encoders: ClassVar[tuple[str, ...]] = (FIRST, SECOND)
    reads_sizes: ClassVar[bool] = True
    reads_weights: ClassVar[bool] = False
    begins: ClassVar[Mapping[str, str]] = {
        "image": "StableDiffusionXLImg2ImgPipeline",
        "mask": "StableDiffusionXLInpaintPipeline",
    }
    schedulers: ClassVar[tuple[str, str]] = ("EulerDiscreteScheduler", "DPMSolverMultistepScheduler")
    float32: ClassVar[tuple[str, ...]] = ("vae",)
    targets: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **StableDiffusion1.targets,
        SECOND: StableDiffusion1.targets[FIRST],
    }
    kohya: ClassVar[Mapping[str, str]] = {
        "unet": "lora_unet_",
        FIRST: "lora_te1_text_model_",
        SECOND: "lora_te2_text_model_",
    }
    kohya_base: ClassVar[str] = "sdxl_base_v1-0"
    options: ClassVar[Mapping[str, Any]] = {ZEROS: True}

    def tokens(self, models: Models, captions: Sequence[str | None]) -> Conditions:
        """ids, ids_2: int64 (n, tokens); given, where the pipeline has zeros for no caption: bool (n,)."""
        import torch

        from t2i.models.text import tokenize

        lines = [caption or "" for caption in captions]
        found = {"ids": tokenize(models, lines), "ids_2": tokenize(models, lines, "tokenizer_2")}
        if models.options[ZEROS]:
            found["given"] = torch.tensor([caption is not None for caption in captions])
        return found

    def read(self, models: Models, tokens: Conditions) -> Conditions:
        """states: (n, tokens, width), of both side by side; pooled: (n, width), of the second."""
        import torch

        told = []
        for name, ids in ((FIRST, tokens["ids"]), (SECOND, tokens["ids_2"])):
            encoder = models.modules[name]
            told.append(encoder(ids.to(next(encoder.parameters()).device), output_hidden_states=True))
        rows = {"states": torch.cat([one.hidden_states[-2] for one in told], dim=-1), "pooled": told[1].text_embeds}
        if "given" not in tokens:
            return rows
        return {name: _where_given(tokens["given"], values) for name, values in rows.items()}

    def rows(self, models: Models) -> dict[str, tuple[int, ...]]:
        """One row of each."""
        config = models.unet.config
        pooled = config["projection_class_embeddings_input_dim"] - SIZES * config["addition_time_embed_dim"]
        return {**super().rows(models), "pooled": (pooled,)}

    def predict(
        self, models: Models, x: "Tensor", time: "Tensor", conditions: Conditions, pictures: Sequence[Picture]
    ) -> "Tensor":
        """The predicted noise or velocity."""
        import torch

        sizes = torch.tensor([[*one.original, *one.crop, *one.size] for one in pictures], dtype=torch.float32)
        prediction: Tensor = models.unet(
            x,
            time,
            encoder_hidden_states=conditions["states"],
            added_cond_kwargs={
                "text_embeds": conditions["pooled"],
                "time_ids": sizes.to(x.device, non_blocking=True).expand(x.shape[0], -1),
            },
        ).sample
        return prediction

    def scheduler(self, models: Models) -> "EulerDiscreteScheduler":
        """Euler's method."""
        from diffusers import EulerDiscreteScheduler

        return EulerDiscreteScheduler.from_config(models.scheduler_config)

    def pipeline(self, models: Models) -> "StableDiffusionXLPipeline":
        """Without a watermark: a picture is what the model drew."""
        from diffusers import StableDiffusionXLPipeline

        parts = {**models.modules, **models.tokenizers, **models.options}
        return StableDiffusionXLPipeline(**parts, scheduler=models.scheduler(), add_watermarker=False)

    def encoded(self, pipeline: Any, captions: Sequence[str]) -> tuple[Conditions, Conditions]:
        """States of both encoders, and the pooled vector."""
        given, none, pooled, no_pooled = pipeline.encode_prompt(list(captions), None, pipeline.device, 1, True)
        return {"states": given, "pooled": pooled}, {"states": none, "pooled": no_pooled}

    def told(self, picture: Picture) -> dict[str, Any]:
        """By three names."""
        return {
            "original_size": picture.original,
            "crops_coords_top_left": picture.crop,
            "target_size": picture.size,
        }

    def kohya_path(self, network: str, layer: str, config: Any) -> str:
        """The U-Net as its makers number it, which is how sd-scripts builds it."""
        return unet_name(layer, config) if network == "unet" else super().kohya_path(network, layer, config)

    def prefixes(self, settings: Mapping[str, Any]) -> dict[str, str]:
        """The first text encoder is CLIP's, the second OpenCLIP's."""
        first, second = "conditioner.embedders.0.transformer.", f"conditioner.embedders.1{OPEN_CLIP}"
        return {"unet": UNET, "vae": VAE, FIRST: first, SECOND: second}

    def reaches(self, models: Models, network: str, parameter: str) -> bool:
        """Of the first text encoder nothing behind the states that are read; the second's pooled vector reads all of it."""
        if network != FIRST:
            return True
        last = models.text_encoder.config.num_hidden_layers - 1
        return not re.search(rf"\blayers\.{last}\.|\bfinal_layer_norm\b", parameter)


def _where_given(given: "Tensor", rows: "Tensor") -> "Tensor":
    """Zeros in the rows of no caption."""
    return rows.masked_fill(~given.to(rows.device).view(-1, *[1] * (rows.ndim - 1)), 0.0)
