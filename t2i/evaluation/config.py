"""Settings of the evaluation. Imports nothing heavy: the command line reads this module for `--help`."""

from dataclasses import dataclass, field

from t2i.errors import ConfigError

BUNDLED = "bundled"
"""Value of `clip` that means the weights in `t2i/assets/tiny_clip`."""

EXTRACTORS = ("tiny_clip", "clip")


@dataclass
class Evaluation:
    """What is measured, on how many images, and how sure the numbers are made."""

    extractor: str = "tiny_clip"
    """Network that turns images into features: `tiny_clip` (bundled) or `clip` (any CLIP, see `clip`)."""

    clip: str = BUNDLED
    """Weights of the extractor: `bundled`, a folder, or a hub id (`owner/name`, `owner/name@revision`)."""

    metrics: list[str] = field(default_factory=lambda: ["fid", "kid", "inception_score", "clip_score", "agreement"])
    """Metrics by name (`t2i/evaluation/registry.py`); one that the data cannot feed is reported as skipped."""

    class_prompts: list[str] = field(default_factory=lambda: ["a picture of a {}", "a drawing of a {}"])
    """Templates of the zero-shot classes, `{}` is the class name; their unit features are averaged. Worded as the
    bundled evaluator's captions: for a CLIP of photographs use `a photo of a {}`."""

    images: int = 100
    """Generated images. FID depends on it: compare only sets of equal size."""

    batch_size: int = 64
    """Images the extractor sees at once: changes memory and speed, not the numbers."""

    replicates: int = 2000
    """Bootstrap replicates behind each interval (FID takes at most 200)."""

    seed: int = 0
    """Seed of the resampling, and of the evaluated set: image i is generated with seed + i."""

    def validate(self) -> None:
        """Raises ConfigError that names the key and its valid values."""
        from t2i.evaluation.registry import METRICS

        for name in self.metrics:
            if name not in METRICS:
                raise ConfigError(f"eval.metrics holds {name!r}; valid metrics: {', '.join(METRICS)}")
        if not self.metrics or len(set(self.metrics)) < len(self.metrics):
            raise ConfigError(f"eval.metrics={self.metrics} is empty or repeats a name; valid: {', '.join(METRICS)}")
        if self.extractor not in EXTRACTORS:
            raise ConfigError(f"eval.extractor={self.extractor}; valid extractors: {', '.join(EXTRACTORS)}")
        if (self.extractor == "tiny_clip") != (self.clip == BUNDLED):
            raise ConfigError(
                f"eval.extractor={self.extractor} with eval.clip={self.clip}: the bundled weights go with "
                "eval.extractor=tiny_clip; a folder or hub id with eval.extractor=clip"
            )
        if not self.class_prompts or any(prompt.count("{}") != 1 for prompt in self.class_prompts):
            raise ConfigError(f"eval.class_prompts={self.class_prompts}: each needs one {{}} for the class name")
        for key, least in (("images", 2), ("batch_size", 1), ("replicates", 100), ("seed", 0)):
            if getattr(self, key) < least:
                raise ConfigError(f"eval.{key}={getattr(self, key)}; expected an integer of at least {least}")
