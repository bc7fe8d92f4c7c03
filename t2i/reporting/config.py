"""Which comparison charts a pipeline draws: the structured configuration of the `charts` key."""

from dataclasses import dataclass, field

from t2i.errors import ConfigError


@dataclass
class Charts:
    """Side-by-side charts of the pipeline's model: the same prompts and seeds in every column, each column scored."""

    guidance: list[float] = field(default_factory=list)
    """Guidance scales that are columns of guidance_comparison.png, e.g. [1,3,5,7.5,10]; []: no such chart."""
    steps: list[int] = field(default_factory=list)
    """Numbers of denoising steps that are columns of inference_steps_comparison.png, e.g. [10,20,30,50]; []: none."""
    schedulers: list[str] = field(default_factory=list)
    """Schedulers that are columns of scheduler_comparison.png, e.g. [ddim,euler,dpmpp_2m]; []: none."""
    prompts: list[str] = field(default_factory=list)
    """What the rows show; []: held-out captions."""
    rows: int = 4
    """Prompts that are shown, at most."""
    images: int = 16
    """Pictures of each column that are scored, where the prompts are held-out captions."""

    def validate(self) -> None:
        """Raise ConfigError for charts that cannot be drawn; guidance and steps are looked at as cfg and scheduler are."""
        for key in ("guidance", "steps", "schedulers"):
            values = getattr(self, key)
            if len(values) == 1 or len(set(values)) < len(values):
                raise ConfigError(f"charts.{key}={values} is no comparison; give two different values or more, or []")
        if min(self.rows, self.images) < 1:
            raise ConfigError(f"charts.rows={self.rows} and charts.images={self.images} must be positive; use 4 and 16")

    @property
    def kinds(self) -> list[str]:
        """The charts that are asked for, by the key of what their columns differ in."""
        return [key for key in ("guidance", "steps", "schedulers") if getattr(self, key)]
