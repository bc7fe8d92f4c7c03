"""Settings of the evaluation. Imports nothing heavy: the command line reads this module for `--help`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from t2i.errors import ConfigError, unknown

HELD_OUT = "held_out"
"""Value of `reference` that means the real held-out pictures of the dataset."""

NONE = "none"
"""Value of `reference` that means that there is none: for pictures that were given."""

BUNDLED = "bundled"
"""Value of `clip` that means the weights in `t2i/assets/tiny_clip`."""

EXTRACTORS = ("tiny_clip", "clip", "inception", "dinov2")
CLIPS = ("tiny_clip", "clip")
"""Extractors that read texts too."""

JUDGES = {"pickscore": ("pickscore",), "hpsv2": ("hpsv2",), "vqa_score": ("vlm",)}
"""Metrics that have a judge of their own, and the keys that name it."""

OF_SUBJECTS = ("clip_i", "dino_i", "clip_t", "drift", "subject_diversity", "subject_nearest")
"""Metrics of pictures of a subject, which are drawn for them."""

DEFAULT_RESIZE = {"tiny_clip": "clip", "clip": "clip", "inception": "torch_fidelity", "dinov2": "clean"}
"""Resize policy of each extractor: that with which its published numbers were made."""

READERS = ("clip", "vlm")
"""Who reads pictures of a prompt suite; the first unless `judge` says otherwise."""

PROMPTS = 40
"""Of each skill, unless `prompts` says otherwise."""


@dataclass
class Evaluation:
    """What is measured, on how many images, and how sure the numbers are made."""

    extractor: str = "tiny_clip"
    """Network that turns images into features: `tiny_clip` (bundled), `clip` (any CLIP, see `clip`), `inception` (FID of
    papers) or `dinov2`. Metrics that need texts take those of `clip` in any case."""

    clip: str = BUNDLED
    """Weights of the CLIP: `bundled`, a folder, or a hub id (`owner/name`, `owner/name@revision`)."""

    inception: Optional[str] = None
    """Path of `pt_inception-2015-12-05-6726825d.pth`; null: downloaded once, its sha256 checked either way."""

    dinov2: str = "facebook/dinov2-large"
    """Weights of DINOv2: a folder or a hub id; FD-DINOv2 is stated for the large one."""

    pickscore: str = "yuvalkirstain/PickScore_v1"
    """Weights of PickScore: a folder in transformers' CLIP layout or a hub id."""

    hpsv2: str = "xswu/HPSv2"
    """Weights of HPSv2.1: a file in open_clip's layout (`HPS_v2.1_compressed.pt`, or the same in safetensors), a folder with it
    or in transformers' CLIP layout, or a hub id. Numbers of v2.0 and v2.1 are not comparable."""

    vlm: str = "Qwen/Qwen3-VL-2B-Instruct"
    """Vision-language model that is asked questions about pictures: a folder or a hub id of Qwen3-VL or of BLIP-VQA
    (`Salesforce/blip-vqa-base`, the light one)."""

    reference: str = HELD_OUT
    """What pictures are held against: `held_out` (real pictures of the dataset); a folder of pictures; a run of task=prepare (its
    held-out pictures); a run of task=generate or task=evaluate, whose generated pictures are the reference (as a grid of
    schedulers against a slow solver); a file `reference.npz` of another evaluation, with features of the same networks; an
    `.npz` with an array `features` (N, D); or one with `mu` and `sigma`, as pytorch-fid and clean-fid write them, for FID
    alone. `none`, with `pictures`: metrics that need none."""

    resize: Optional[str] = None
    """How images get to the extractor's size: `torch_fidelity`, `clean`, `torch_antialias`, `clip` or `whole`
    (`t2i/evaluation/extractors/resize.py`); null: as its published numbers were made (inception torch_fidelity, dinov2 clean, a
    CLIP clip). Another policy is another number."""

    metrics: list[str] = field(default_factory=lambda: ["fid", "kid", "inception_score", "clip_score", "agreement"])
    """Metrics by name (`t2i/evaluation/metrics/registry.py`); one that the data cannot feed is reported as skipped."""

    class_prompts: list[str] = field(default_factory=lambda: ["a picture of a {}", "a drawing of a {}"])
    """Templates of the zero-shot classes, `{}` is the class name; their unit features are averaged. Worded as the
    bundled evaluator's captions: for a CLIP of photographs use `a photo of a {}`."""

    images: int = 100
    """Generated images. FID depends on it: compare only sets of equal size."""

    prompts: int = PROMPTS
    """Prompts of each skill that `composition` draws, each once: 40 of six skills are 240 pictures. A share that changes by 40
    points is seen from about 40, by 20 points from about 100 (docs/evaluation.md). `geneval_prompts` has 80 to 100 of each: from
    100 on all 553. And unrelated prompts that `drift` draws."""

    judge: str = "clip"
    """Who reads the pictures of `composition`: `clip`, which chooses among candidates that differ in one skill, so that chance is
    known, or `vlm`, which is asked questions. The numbers carry its name."""

    resolution: Optional[int] = None
    """Side in pixels that generated images are brought to before anything else (Pillow's bicubic, as published protocols
    go from 512 to 256); null: as they were generated."""

    batch_size: int = 64
    """Images the extractor sees at once, on a CPU sixteen a thread at least: changes memory and speed, not the numbers."""

    exact: bool = False
    """Features on a CPU in float64, which are also the same on another kind of processor; false: in float32, in a sixth of the
    time, where they differ from one to the other by about 1e-6. Neither depends on batch, threads or processes. A GPU
    computes in float32 either way."""

    replicates: int = 2000
    """Replicates behind the intervals of task=embed and task=clip; a costly metric takes fewer."""

    seed: int = 0
    """Seed of the resampling, and of the evaluated set: image i is generated with seed + i."""

    @property
    def resize_policy(self) -> str:
        """The resize policy of the extractor."""
        return self.resize or DEFAULT_RESIZE[self.extractor]

    def validate(self) -> None:
        """Raises ConfigError that names the key and its valid values."""
        from t2i.evaluation.extractors import resize
        from t2i.evaluation.metrics.registry import METRICS, NUMBERS_OF

        for name in self.metrics:
            if name in NUMBERS_OF:
                of = NUMBERS_OF[name]
                raise ConfigError(f"eval.metrics holds {name!r}, which is a number of the metric {of}; type {of}")
            if name not in METRICS:
                raise unknown(f"eval.metrics holds {name!r}, which is no metric", name, list(METRICS))
        if not self.metrics or len(set(self.metrics)) < len(self.metrics):
            raise ConfigError(f"eval.metrics={self.metrics} is empty or repeats a name; valid: {', '.join(METRICS)}")
        if self.extractor not in EXTRACTORS:
            raise ConfigError(f"eval.extractor={self.extractor}; valid extractors: {', '.join(EXTRACTORS)}")
        if self.reference not in (HELD_OUT, NONE) and not Path(self.reference).expanduser().exists():
            raise ConfigError(
                f"eval.reference={self.reference} does not exist; valid: {HELD_OUT}, a folder of pictures, a run folder, or "
                "an .npz of features or moments"
            )
        if self.judge not in READERS:
            raise ConfigError(f"eval.judge={self.judge}; valid judges: {', '.join(READERS)}")
        if self.resize is not None:
            resize.policy(self.resize)
        if self.extractor in CLIPS and (self.extractor == "tiny_clip") != (self.clip == BUNDLED):
            raise ConfigError(
                f"eval.extractor={self.extractor} with eval.clip={self.clip}: the bundled weights go with "
                "eval.extractor=tiny_clip; a folder or hub id with eval.extractor=clip"
            )
        if not self.class_prompts or any(prompt.count("{}") != 1 for prompt in self.class_prompts):
            raise ConfigError(f"eval.class_prompts={self.class_prompts}: each needs one {{}} for the class name")
        if self.resolution is not None and self.resolution < 8:
            raise ConfigError(f"eval.resolution={self.resolution}; expected at least 8 pixels, or null to leave it")
        for key, least in (("images", 2), ("prompts", 2), ("batch_size", 1), ("replicates", 100), ("seed", 0)):
            if getattr(self, key) < least:
                raise ConfigError(f"eval.{key}={getattr(self, key)}; expected an integer of at least {least}")
