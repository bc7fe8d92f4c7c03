"""P(yes): how sure a vision-language model is that a question about a picture is answered with yes.

VQAScore (Lin et al. 2024, arXiv:2404.01291, eq. 1) reads the probability of the first word of an answer. There it is P("Yes")
among all words; here it is of the two answers alone, P(yes) / (P(yes) + P(no)), each in its spellings (`Yes`, `yes`): the same
where a model says nothing else, and no less certain of a picture because the model likes to begin otherwise. What the two have
of all words is told beside it (`Answers.of_all`): near 1 for a model that answers such questions, near 0 for one that does not.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from t2i.data.pictures import Pictures
from t2i.errors import UserError
from t2i.evaluation import checks
from t2i.models.clip_files import locate, weights_digest
from t2i.progress import progress

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from t2i.evaluation.config import Evaluation

KEY, WHAT = "eval.vlm", "vision-language"
SETTINGS = ("*.json", "*.txt", "*.jinja")
"""Files beside the weights that decide what a network is asked: tokenizer, template of the chat, sizes of pictures."""
SIZES = "the model's own processor"
"""How pictures get to the sizes that it sees; its settings are part of the digest."""
AT_ONCE = 8
"""Pictures at most in one batch: each is hundreds of tokens to the network."""
SHAPE = 200
"""Longest side over shortest above which the processors refuse a picture."""


@dataclass(frozen=True)
class Answers:
    """What a network says to N questions."""

    yes: np.ndarray
    """float64 (N,) in [0, 1]: P(yes) of the two answers."""
    of_all: np.ndarray
    """float64 (N,) in [0, 1]: P(yes) + P(no) of all words."""


class Network(Protocol):
    """A vision-language model that gives the first word of an answer."""

    def first_word(self, images: "list[Image]", questions: Sequence[str]) -> "torch.Tensor":
        """n pictures in RGB and a question each -> float32 (n, words): log probabilities of the first word of the answer."""
        ...

    def words(self, spellings: Sequence[str]) -> list[int]:
        """The words of its vocabulary that these spellings are, those left out that it would write in several pieces."""
        ...


class Vlm:
    """A frozen vision-language model, float32 on any device, asked questions about pictures."""

    kind = "vlm"

    def __init__(self, source: str, device: str = "cpu") -> None:
        """Loads folder or hub id (`owner/name[@revision]`); UserError when weights are missing in it, when it is no model of a
        family that is known here, or when `yes` and `no` are no words of its vocabulary.
        """
        import torch

        from t2i.evaluation.extractors.vlm_networks import load

        folder = locate(source, KEY, WHAT)
        self.name = name_of(source)
        self.digest = digest(folder)
        self.device = torch.device(device)
        self._network: Network = load(folder, self.device)
        self.preprocessing = SIZES
        self._yes, self._no = (self._network.words((word.capitalize(), word)) for word in ("yes", "no"))
        if not self._yes or not self._no or set(self._yes) & set(self._no):
            raise UserError(
                f"the vocabulary in {folder} does not hold yes and no as words of their own: expected a model that answers in "
                f"English; set {KEY}"
            )

    def yes(self, pictures: np.ndarray | Pictures, questions: Sequence[str], batch_size: int = AT_ONCE) -> np.ndarray:
        """float64 (N,) in [0, 1]: P(yes) of questions[i] about picture i, uint8 (N, H, W, 3) or `Pictures` of several sizes.

        A question is put as it is written ("Is there a dog?"); a network that follows instructions is told to answer with yes
        or no. A row does not depend on the others of its batch (float32: to 1e-5). Raises UserError for mismatched lengths.
        """
        return self.answers(pictures, questions, batch_size).yes

    def answers(
        self,
        pictures: np.ndarray | Pictures,
        questions: Sequence[str],
        batch_size: int = AT_ONCE,
        rows: np.ndarray | None = None,
    ) -> Answers:
        """As `yes`, and what both answers have of all words. rows: int (N,), of which of the pictures; None: all in order."""
        import torch
        from PIL import Image

        checks.images("given", pictures)
        places = np.arange(len(pictures)) if rows is None else rows
        checks.same_length("pictures", places, "questions", questions)
        found = []
        step = max(1, min(batch_size, AT_ONCE))
        with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
            for start in progress(range(0, len(places), step), f"{self.name} answers", "batch"):
                some = places[start : start + step]
                images = [Image.fromarray(pictures[row : row + 1][0]) for row in some]  # one by one: of any size each
                require_shapes(images)
                logs = self._network.first_word(images, questions[start : start + step]).double().cpu()
                found.append(torch.stack([logs[:, words].logsumexp(1) for words in (self._yes, self._no)], 1).numpy())
        both = np.concatenate(found)
        if not np.isfinite(both).all():
            raise UserError(f"{self.name} gives no finite probability of yes and no: check the weights of {KEY}")
        return Answers(1.0 / (1.0 + np.exp(both[:, 1] - both[:, 0])), np.exp(both).sum(axis=1).clip(0.0, 1.0))


def build(config: "Evaluation", device: str = "cpu") -> Vlm:
    """The model that the configuration names (`eval.vlm`), its weights loaded onto `device`."""
    return Vlm(config.vlm, device)


def name_of(source: str) -> str:
    """The last part of a folder or hub id, without revision: goes into a metric's name."""
    return Path(source.partition("@")[0]).name.replace(".", "_")


def asked(config: "Evaluation") -> bool:
    """Whether a number asks for it."""
    judged = "composition" in config.metrics and config.judge == "vlm"
    return judged or bool({"vqa_score", "geneval_prompts"} & {*config.metrics})


def identity(config: "Evaluation") -> tuple[str, str]:
    """Name and digest of the model that `build` would load, without loading it."""
    return name_of(config.vlm), digest(locate(config.vlm, KEY, WHAT))


def digest(folder: Path) -> str:
    """sha256 of the weights and of every file beside them that decides what is asked."""
    found: Any = hashlib.sha256(weights_digest(folder).encode())
    for path in sorted({path for pattern in SETTINGS for path in folder.glob(pattern)}):
        found.update(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}".encode())
    return str(found.hexdigest())


def require_shapes(images: "Sequence[Image]") -> None:
    """UserError for a picture that is a strip."""
    for image in images:
        if max(image.size) > SHAPE * min(image.size):
            raise UserError(
                f"a picture of {image.width} x {image.height} pixels is a strip: expected one side at most {SHAPE} times the "
                "other; leave it out"
            )
