"""Strategies that train some projections of the attention: where the text enters the picture."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

from t2i.training.strategies import Strategy, counted

if TYPE_CHECKING:
    from t2i.models.families.family import Family
    from t2i.models.parts import Models


@dataclass
class CrossAttention(Strategy):
    """What trains in the cross-attention layers of a U-Net."""

    def refuses(self, family: "Family") -> Optional[str]:
        if family.denoiser == "unet":
            return None
        return (
            f"strategy={self.kind} trains cross-attention layers, and the {family.spoken} of {family.title} has none: "
            "picture and text share one attention; use strategy=attn_add_v"
        )


@dataclass
class Attn2ToV(CrossAttention):
    """Only the value projections of the cross-attention layers (`attn2.to_v`): what a word puts into the picture."""

    kind: str = "attn2_to_v"
    learning_rate: float = 1e-4

    def chooses(self, name: str) -> bool:
        return name.endswith("attn2.to_v.weight")

    def expected(self, models: "Models") -> int:
        text = int(models.denoiser.config["cross_attention_dim"])
        return sum(width * text for width in models.family.cross_attention_widths(models))


@dataclass
class AttnAddV(Strategy):
    """Only the value projections of the text in joint attention (`attn.add_v_proj`): what `attn2_to_v` is for a U-Net."""

    kind: str = "attn_add_v"
    learning_rate: float = 1e-4

    def refuses(self, family: "Family") -> Optional[str]:
        if family.denoiser != "unet":
            return None
        return (
            f"strategy={self.kind} trains what reads the text in joint attention, and the U-Net of {family.title} has none; use "
            "strategy=attn2_to_v"
        )

    def chooses(self, name: str) -> bool:
        return ".attn.add_v_proj." in name

    def expected(self, models: "Models") -> int:
        return counted(models, self.modules(models.family), self.chooses)


@dataclass
class Attn2KV(CrossAttention):
    """Key and value projections of the cross-attention layers: all that reads the text states."""

    kind: str = "attn2_kv"
    learning_rate: float = 1e-4

    def chooses(self, name: str) -> bool:
        return name.endswith(("attn2.to_k.weight", "attn2.to_v.weight"))

    def expected(self, models: "Models") -> int:
        return 2 * Attn2ToV().expected(models)


@dataclass
class Attn2(CrossAttention):
    """The cross-attention layers whole: query, key, value and output projections."""

    kind: str = "attn2"
    learning_rate: float = 1e-5

    def chooses(self, name: str) -> bool:
        return ".attn2." in name

    def expected(self, models: "Models") -> int:
        widths, text = models.family.cross_attention_widths(models), int(models.denoiser.config["cross_attention_dim"])
        # query and output are square, key and value read the text; only the output has a bias
        return sum(2 * width * width + 2 * width * text + width for width in widths)
