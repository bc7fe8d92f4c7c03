"""Stable Diffusion 1 and 2 (Rombach et al. 2022): a U-Net that reads the last states of one CLIP text encoder.

SD 1.x reads CLIP-L, 77 x 768, and predicts noise; SD 2.x reads OpenCLIP-H, 77 x 1024, and predicts noise or velocity, as the
configuration of its scheduler says.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from t2i.models.families.family import Conditions, Family
from t2i.models.families.picture import Picture
from t2i.models.original import OPEN_CLIP, TEXT, UNET, VAE, places, unet_name
from t2i.models.parts import Models

if TYPE_CHECKING:
    from diffusers import DDIMScheduler, PNDMScheduler, StableDiffusionPipeline
    from torch import Tensor, nn

    from t2i.models.safetensors_file import Header

LEVEL = "text_model."
OPEN_CLIP_H = 1024
"""Width of the text encoder of SD 2.x."""


class StableDiffusion1(Family):
    """One text encoder, one U-Net, and the empty caption for none."""

    title: ClassVar[str] = "Stable Diffusion 1 and 2"
    pipelines: ClassVar[tuple[str, ...]] = ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline")
    networks: ClassVar[Mapping[str, str]] = {
        "text_encoder": "CLIPTextModel",
        "vae": "AutoencoderKL",
        "unet": "UNet2DConditionModel",
    }
    tokenizers: ClassVar[Mapping[str, str]] = {"tokenizer": "CLIPTokenizer"}
    denoiser: ClassVar[str] = "unet"
    encoders: ClassVar[tuple[str, ...]] = ("text_encoder",)
    objective: ClassVar[str] = "diffusion"
    schedulers: ClassVar[tuple[str, str]] = ("DDIMScheduler", "DPMSolverMultistepScheduler")
    targets: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "unet": ("to_q", "to_k", "to_v", "to_out.0"),
        "text_encoder": ("q_proj", "k_proj", "v_proj", "out_proj"),
    }
    wider: ClassVar[tuple[str, ...]] = ("ff.net.0.proj", "ff.net.2", "proj_in", "proj_out")
    text_projections: ClassVar[tuple[str, ...]] = ("attn2.to_k", "attn2.to_v")
    kohya: ClassVar[Mapping[str, str]] = {"unet": "lora_unet_", "text_encoder": "lora_te_text_model_"}
    kohya_base: ClassVar[str] = "sd_v1"

    def tokens(self, models: Models, captions: Sequence[str | None]) -> Conditions:
        """ids: int64 (n, tokens). No caption is the empty one, as the pipeline has it."""
        from t2i.models.text import tokenize

        return {"ids": tokenize(models, [caption or "" for caption in captions])}

    def read(self, models: Models, tokens: Conditions) -> Conditions:
        """states: (n, tokens, width), the last hidden states."""
        encoder = models.text_encoder
        return {"states": encoder(tokens["ids"].to(next(encoder.parameters()).device))[0]}

    begins: ClassVar[Mapping[str, str]] = {
        "image": "StableDiffusionImg2ImgPipeline",
        "mask": "StableDiffusionInpaintPipeline",
    }
    learns_words: ClassVar[bool] = True
    reads_weights: ClassVar[bool] = True

    def weighted(self, models: Models, prompts: Sequence[str | None]) -> Conditions:
        """By compel, which weighs the last states."""
        from t2i.models.prompt_weights import states

        return {"states": states(models, prompts, lambda some: self.read(models, self.tokens(models, some))["states"])}

    def rows(self, models: Models) -> dict[str, tuple[int, ...]]:
        """One row of states."""
        return {"states": (models.tokenizer.model_max_length, models.unet.config["cross_attention_dim"])}

    def predict(
        self, models: Models, x: "Tensor", time: "Tensor", conditions: Conditions, pictures: Sequence[Picture]
    ) -> "Tensor":
        """The predicted noise or velocity; sizes are not read."""
        prediction: Tensor = models.unet(x, time, encoder_hidden_states=conditions["states"]).sample
        return prediction

    def scheduler(self, models: Models) -> "DDIMScheduler | PNDMScheduler":
        """PNDM; it ignores a terminal SNR of zero, and then DDIM."""
        from diffusers import DDIMScheduler, PNDMScheduler

        zero_terminal = models.scheduler_config.get("rescale_betas_zero_snr", False)
        return (DDIMScheduler if zero_terminal else PNDMScheduler).from_config(models.scheduler_config)

    def pipeline(self, models: Models) -> "StableDiffusionPipeline":
        """Without a safety checker: nothing here is shown unasked."""
        from diffusers import StableDiffusionPipeline

        return StableDiffusionPipeline(
            **models.modules,
            tokenizer=models.tokenizer,
            scheduler=models.scheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )

    def encoded(self, pipeline: Any, captions: Sequence[str]) -> tuple[Conditions, Conditions]:
        """Of one text encoder, states alone."""
        given, none = pipeline.encode_prompt(list(captions), pipeline.device, 1, True)
        return {"states": given}, {"states": none}

    def blocks(self, denoiser: "nn.Module") -> "dict[str, nn.Module]":
        """Residual blocks and transformers, those in the middle too."""
        return {
            name: module
            for name, module in denoiser.named_modules()
            if name.split(".")[-2:-1] in (["resnets"], ["attentions"])
        }

    def text_width(self, settings: Mapping[str, Any]) -> int:
        """What the cross-attention reads."""
        return int(settings["unet"]["cross_attention_dim"])

    def cross_attention_widths(self, models: Models) -> list[int]:
        """SD 1.x: 320 x5, 640 x5, 1280 x6."""
        return cross_attention_widths(models.unet.config)

    def spellings(self, network: str, layer: str, config: Any) -> set[str]:
        """The text encoder with and without the level that transformers had until 5.6; the U-Net as CompVis numbers it."""
        if network == "unet":
            return {layer, unet_name(layer, config)}
        plain = layer.removeprefix(LEVEL)
        return {layer, plain, LEVEL + plain}

    def prefixes(self, settings: Mapping[str, Any]) -> dict[str, str]:
        """SD 2.x keeps its text encoder in OpenCLIP's layout."""
        text = f"cond_stage_model{OPEN_CLIP}" if self.text_width(settings) == OPEN_CLIP_H else TEXT
        return {"unet": UNET, "vae": VAE, "text_encoder": text}

    def padding(self, tokenizer: str, settings: Mapping[str, Any]) -> str | None:
        """OpenCLIP fills up with the first token of the vocabulary."""
        text = self.prefixes(settings)[tokenizer.replace("tokenizer", "text_encoder")]
        return "!" if text.endswith(OPEN_CLIP) else None

    def fits(self, settings: Mapping[str, Any], header: "Header") -> bool:
        """By the tensors that tell architectures apart; all are compared on loading."""
        unet, vae, prefixes = settings["unet"], settings["vae"], self.prefixes(settings)
        widths = unet["block_out_channels"]
        per = int(unet["layers_per_block"]) + 1
        decoder = max((i for i in range(9) if f"{VAE}decoder.up.{i}.block.0.conv1.weight" in header.shapes), default=-1)
        outputs = max(
            (i for i in range(99) if f"{UNET}output_blocks.{i}.0.in_layers.2.weight" in header.shapes), default=-1
        )
        wanted = {
            f"{UNET}input_blocks.0.0.weight": (widths[0], unet["in_channels"], 3, 3),
            f"{UNET}middle_block.0.in_layers.2.weight": (widths[-1], widths[-1], 3, 3),
            f"{UNET}middle_block.1.transformer_blocks.0.attn2.to_k.weight": (widths[-1], unet["cross_attention_dim"]),
            f"{VAE}decoder.conv_in.weight": (vae["block_out_channels"][-1], vae["latent_channels"], 3, 3),
        }
        for encoder in self.encoders:
            text = settings[encoder]
            sizes = {"token": text["vocab_size"], "position": text["max_position_embeddings"]}
            for kind, size in sizes.items():
                own = f"text_model.embeddings.{kind}_embedding.weight"
                name = places(encoder, [own], text, prefixes[encoder])[own].name
                # transformers 5.6 and newer leave a level out
                name = name if name in header.shapes else name.replace(LEVEL, "")
                wanted[name] = (size, text["hidden_size"])
        levels = len(vae["block_out_channels"]) == decoder + 1 and per * len(widths) == outputs + 1
        return levels and all(header.shapes.get(name) == shape for name, shape in wanted.items())


def cross_attention_widths(unet_config: Any) -> list[int]:
    """Width of every cross-attention layer of a U-Net, derived from its configuration: on the way down, in the middle, and up.

    `transformer_layers_per_block` transformers stand in each place (1 in Stable Diffusion 1; SDXL has 70 in all).
    """
    widths = list(unet_config["block_out_channels"])
    layers = _by_block(unet_config["layers_per_block"], len(widths))
    depth = _by_block(unet_config.get("transformer_layers_per_block") or 1, len(widths))
    reverse = unet_config.get("reverse_transformer_layers_per_block") or depth[::-1]
    down = [
        w
        for w, kind, n, d in zip(widths, unet_config["down_block_types"], layers, depth, strict=True)
        if "CrossAttn" in kind
        for _ in range(n * d)
    ]
    up = [
        w
        for w, kind, n, d in zip(
            widths[::-1], unet_config["up_block_types"], layers[::-1], _by_block(reverse, len(widths)), strict=True
        )
        if "CrossAttn" in kind
        for _ in range((n + 1) * d)
    ]
    middle = unet_config.get("mid_block_type", "UNetMidBlock2DCrossAttn") == "UNetMidBlock2DCrossAttn"
    return [*down, *[widths[-1]] * (depth[-1] if middle else 0), *up]


def _by_block(value: Any, blocks: int) -> list[int]:
    return [value] * blocks if isinstance(value, int) else list(value)
