"""Networks that judge a picture with its prompt, loaded only where a metric asks for them, one after the other.

Each is large (CLIP-H, a vision-language model), so what a definition says of it is known without loading it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from t2i.data.pictures import Pictures
from t2i.evaluation.config import JUDGES, Evaluation
from t2i.evaluation.extractors import preference, vlm
from t2i.evaluation.extractors.precision import suffix
from t2i.models.clip_files import locate

if TYPE_CHECKING:
    from t2i.evaluation.extractors.vlm import Vlm

QUESTION = 'Does this figure show "{}"?'
"""Of VQAScore (Lin et al. 2024, arXiv:2404.01291, sec. 3); a network that follows instructions is told to answer yes or no."""
FORMULAS = {
    "pickscore": "exp(logit scale) * cos(picture, prompt)",
    "hpsv2": "100 * cos(picture, prompt)",
    "vqa_score": f"P(yes) / (P(yes) + P(no)) of the first word, asked {QUESTION.format('prompt')}",
}


@dataclass(frozen=True)
class Judge:
    """One of them, not loaded."""

    metric: str
    name: str
    """Goes into the metric's name: `pickscore[PickScore_v1]`."""
    digest: str
    resize: str
    load: Callable[[], Any]
    """A `ClipExtractor` or a `Vlm`."""

    @property
    def definition(self) -> dict[str, str]:
        """What decides its numbers besides the pictures."""
        return {
            "network": self.name,
            "sha256": self.digest,
            "resize": self.resize,
            "formula": FORMULAS[self.metric],
        }


def asked_for(config: Evaluation) -> list[str]:
    """The metrics of `eval.metrics` that have a judge of their own."""
    return [name for name in config.metrics if name in JUDGES]


def judge_files(metric: str, config: Evaluation) -> Path:
    """Where the weights of a metric's judge are; UserError when they are not here and cannot be fetched."""
    if metric == "vqa_score":
        return locate(config.vlm, vlm.KEY, vlm.WHAT)
    return preference.weights_of(metric, str(getattr(config, metric)))


def judges(config: Evaluation, device: str = "cpu") -> dict[str, Judge]:
    """By metric, those that `eval.metrics` asks for; UserError for weights that are not here and cannot be fetched."""
    return {name: _judge(name, config, device) for name in asked_for(config)}


def digests(config: Evaluation) -> dict[str, str]:
    """What identifies their numbers, without loading them: weights, and numbers if not exact; nothing where none is asked for."""
    return {name: f"{own.digest}{suffix(config.exact)}" for name, own in judges(config).items()}


def _judge(metric: str, config: Evaluation, device: str) -> Judge:
    if metric == "vqa_score":
        name, digest = vlm.identity(config)
        return Judge(metric, name, digest, vlm.SIZES, lambda: vlm.build(config, device))
    name, digest = preference.identity(metric, config)
    return Judge(metric, name, digest, preference.PIXELS[metric], lambda: preference.build(metric, config, device))


def shared_answers(network: "Vlm", pictures: np.ndarray | Pictures, questions: Sequence[str], batch: int) -> np.ndarray:
    """float64 (N, 2) of `Vlm.answers`: P(yes) of the two answers, and what both have of all words; processes share the work."""
    import torch

    def answers(rows: np.ndarray) -> np.ndarray:
        found = network.answers(pictures, [questions[row] for row in rows], batch, rows)
        return np.stack([found.yes, found.of_all], axis=1)

    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return answers(np.arange(len(pictures)))
    from t2i.evaluation.distributed import rows_of

    return rows_of(answers, len(pictures), batch, network.device, f"{network.name} answers")
