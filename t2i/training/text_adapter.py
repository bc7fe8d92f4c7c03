"""A CLIP's text tower of another width in front of the U-Net, through one trained linear layer."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from t2i.errors import ConfigError
from t2i.models.clip_files import TINY_CLIP, locate, weights_digest
from t2i.training.strategies import Strategy

if TYPE_CHECKING:
    from t2i.models.families.family import Family
    from t2i.models.parts import Models

BUNDLED = "bundled"


@dataclass
class TextAdapter(Strategy):
    """Only a linear layer from a CLIP's text states to the width that the U-Net reads; tower and U-Net are frozen."""

    kind: str = "text_adapter"
    learning_rate: float = 1e-3
    clip: str = BUNDLED
    """The CLIP whose text tower it is: `bundled` (tiny_clip), a folder such as <run of task=clip>/clip, or a hub id."""

    @property
    def trains_text(self) -> bool:
        return True

    def refuses(self, family: "Family") -> Optional[str]:
        if not family.unlike_clip:
            return None
        return (
            f"strategy=text_adapter puts one text tower in front of the denoiser, and {family.title} reads "
            f"{family.unlike_clip}; use strategy=text_encoder or strategy=lora"
        )

    def refuses_prior(self, base: bool) -> Optional[str]:
        if not base:
            return None
        return (
            "which puts another text tower in the place of the base model's: there is no prediction of before to keep to; use "
            "training.prior=pictures or null"
        )

    def modules(self, family: "Family") -> tuple[str, ...]:
        return family.encoders[:1]

    def chooses(self, name: str) -> bool:
        return name == "adapter.weight"

    def inputs(self) -> dict[str, str]:
        return {"tower": weights_digest(self._folder())}

    def attach(self, models: "Models") -> None:
        from t2i.models.text_adapter import place

        if reason := self.refuses(models.family):
            raise ConfigError(reason)
        place(models, self._folder())
        super().attach(models)

    def expected(self, models: "Models") -> int:
        from transformers import CLIPConfig

        width = CLIPConfig.from_pretrained(self._folder()).text_config.hidden_size
        return int(width * models.denoiser.config["cross_attention_dim"])

    def save(self, models: "Models", folder: Path) -> None:
        from t2i.models.text_adapter import keep

        super().save(models, folder)
        keep(models, folder)

    def load(self, models: "Models", folder: Path) -> None:
        from t2i.models.text_adapter import place

        place(models, folder)
        super().load(models, folder)

    def plain(self, models: "Models") -> None:
        from t2i.models.text_adapter import fold

        fold(models)

    def _folder(self) -> Path:
        return TINY_CLIP if self.clip == BUNDLED else locate(self.clip, "strategy.clip")
