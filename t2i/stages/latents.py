"""`latents`: VAE moments of the pictures of a split, made on the way to a training."""

from dataclasses import dataclass

from t2i.stages.encoded import ByModel


@dataclass(frozen=True, eq=False)
class Latents(ByModel):
    """Of every picture, keyed by its content; mirrored ones too, where a training mirrors."""

    name = "latents"
    off = {"cache_text": False}  # noqa: RUF012

    @property
    def title(self) -> str:
        return f"latents, {self.split}"
