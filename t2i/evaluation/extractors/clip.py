"""Features of any CLIP through transformers: images and texts in one space."""

import copy
from typing import Any

import numpy as np
import torch
from transformers import CLIPModel, CLIPTokenizer

from t2i.evaluation import checks
from t2i.evaluation.extractors import resize
from t2i.evaluation.extractors.precision import Precision
from t2i.models.clip import load_clip, mean_and_std
from t2i.models.clip_files import locate, weights_digest
from t2i.models.preprocess import normalise

OPENAI = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
"""Mean and standard deviation of each channel that OpenAI's CLIP, and those of LAION, were trained with."""


class ClipExtractor:
    """A frozen CLIP: projected features, not normalised.

    It computes in the numbers of `t2i.evaluation.extractors.precision`.
    """

    kind = "clip"

    def __init__(self, source: str, name: str, device: str = "cpu", policy: str = "clip", exact: bool = False) -> None:
        """Loads folder or hub id (`owner/name[@revision]`); UserError when weights or settings are missing in it.

        `policy`: how images are resized (`t2i/evaluation/extractors/resize.py`); CLIP's own is `clip`.
        """
        folder = locate(source)
        self.name, self.digest = name, weights_digest(folder)
        self._set_up(
            load_clip(folder), CLIPTokenizer.from_pretrained(folder), mean_and_std(folder), device, policy, exact
        )

    @classmethod
    def of(
        cls,
        model: CLIPModel,
        tokenizer: CLIPTokenizer,
        name: str,
        digest: str,
        device: str = "cpu",
        policy: str = "clip",
        exact: bool = False,
    ) -> "ClipExtractor":
        """Of a loaded model that sees pixels as OpenAI's CLIP does; `digest`: what identifies its weights."""
        made = cls.__new__(cls)
        made.name, made.digest = name, digest
        made._set_up(model, tokenizer, OPENAI, device, policy, exact)
        return made

    def _set_up(
        self,
        model: CLIPModel,
        tokenizer: CLIPTokenizer,
        pixels: tuple[np.ndarray, np.ndarray],
        device: str,
        policy: str,
        exact: bool,
    ) -> None:
        self.preprocessing = policy
        self._resize = resize.policy(policy).apply
        self.device = torch.device(device)
        self._precision = Precision(self.device, exact)
        self.dtype = self._precision.dtype
        self._model: Any = model
        torch.nn.Module.to(self._model, self.device, self.dtype)
        self._tokenizer = tokenizer
        self._size = int(self._model.vision_model.config.image_size)
        self._tokens = min(self._tokenizer.model_max_length, self._model.text_model.config.max_position_embeddings)
        self._mean, self._std = pixels

    @property
    def logit_scale(self) -> float:
        """The learned factor of the cosine: exp of the stored parameter."""
        return float(self._model.logit_scale.exp())

    def blended(self, other: "ClipExtractor", share: float) -> "ClipExtractor":
        """A CLIP whose weights are (1 - share) of this one's and share of the other's (WiSE-FT: Wortsman et al. 2021,
        arXiv:2109.01903, eq. 1). Both have one architecture.
        """
        made = copy.copy(self)
        made._model = copy.deepcopy(self._model)
        own, theirs = made._model.state_dict(), other._model.state_dict()
        with torch.no_grad():
            for name, tensor in own.items():
                if tensor.is_floating_point():
                    tensor.lerp_(theirs[name], share)
        made.name, made.digest = f"{self.name} blended", f"{self.digest}/{other.digest}/{share}"
        return made

    @property
    def at_once(self) -> int:
        """Pictures that keep all its threads busy."""
        return self._precision.at_once

    @torch.inference_mode()
    def images(self, batch: np.ndarray) -> np.ndarray:
        """uint8 (N, H, W, 3) -> float32 (N, D)."""
        resized = np.moveaxis(self._resize(checks.images("given", batch), self._size).numpy(), 1, -1)
        pixels = normalise(resized.astype(np.float64), self._mean, self._std)
        with torch.backends.cudnn.flags(allow_tf32=False):
            given = torch.from_numpy(pixels).to(self.device, self.dtype)
            return self._precision.run(self._features, given).float().cpu().numpy()

    def _features(self, pixels: torch.Tensor) -> torch.Tensor:
        states = self._model.vision_model(pixel_values=pixels)
        # The projection is applied here: what `get_image_features` returns changed in transformers 5.
        projected: torch.Tensor = self._model.visual_projection(states.pooler_output)
        return projected

    def logits(self, features: np.ndarray) -> None:
        """CLIP has no classes of its own."""
        return

    def texts(self, batch: list[str]) -> np.ndarray:
        """N captions -> float32 (N, D); a caption beyond the tokenizer's length is cut and keeps its end token."""
        return self.text_vectors(batch)[0]

    @torch.inference_mode()
    def text_vectors(self, batch: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """As `texts`, and float32 (N, width): the mean of the last hidden states over a caption's own tokens."""
        # Attention is causal, so what follows a caption's end changes nothing but the shape: where that has a say, it is one
        # for all captions, otherwise the longest of the batch.
        padding = "max_length" if self._precision.in_rows else True
        tokens = self._tokenizer(
            batch, padding=padding, truncation=True, max_length=self._tokens, return_tensors="pt"
        ).to(self.device)
        both = self._precision.run(self._text_features, tokens.input_ids, tokens.attention_mask).float().cpu().numpy()
        projected, pooled = np.split(both, [self._model.text_projection.out_features], axis=1)
        return np.ascontiguousarray(projected), np.ascontiguousarray(pooled)

    def _text_features(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Both kinds side by side, (N, D + width)."""
        states = self._model.text_model(input_ids=ids, attention_mask=mask)
        weights = mask.to(self.dtype)[..., None]
        pooled = (states.last_hidden_state * weights).sum(1) / weights.sum(1)
        return torch.cat([self._model.text_projection(states.pooler_output), pooled], dim=1)
