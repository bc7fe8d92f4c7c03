"""Features of DINOv2 through transformers: the class token of the last layer, after its layer norm (Oquab et al. 2023,
arXiv:2304.07193), as FD-DINOv2 takes them (Stein et al. 2023, arXiv:2306.04675, app. B).
"""

from typing import Any

import numpy as np
import torch
import transformers
from safetensors import SafetensorError
from transformers import Dinov2Model

from t2i.errors import UserError
from t2i.evaluation import checks
from t2i.evaluation.extractors import resize
from t2i.evaluation.extractors.precision import Precision
from t2i.models.clip_files import locate, weights_digest

transformers.utils.logging.set_verbosity_error()

SIZE = 224
MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
STD = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
"""Of ImageNet, as the network was trained with."""


class Dinov2Extractor:
    """A frozen DINOv2: float32 (N, width of the network), not normalised.

    It computes in the numbers of `t2i.evaluation.extractors.precision`.
    """

    kind = "dinov2"
    name = "dinov2"

    def __init__(self, source: str, policy: str, device: str = "cpu", exact: bool = False) -> None:
        """Loads folder or hub id (`owner/name[@revision]`); UserError when weights or settings are missing in it."""
        folder = locate(source, "eval.dinov2", "DINOv2")
        self.digest = weights_digest(folder)
        self.preprocessing = policy
        self._resize = resize.policy(policy).apply
        self.device = torch.device(device)
        self._precision = Precision(self.device, exact)
        self.dtype = self._precision.dtype
        try:
            loaded: Any = Dinov2Model.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise UserError(
                f"the DINOv2 model in {folder} cannot be loaded ({str(error).splitlines()[0]}): "
                "expected weights that fit its config.json; copy it again from its source"
            ) from error
        model, report = loaded
        if absent := sorted(report["missing_keys"]):
            raise UserError(
                f"{folder} lacks {len(absent)} of the tensors of a DINOv2 model, {absent[0]} among them: "
                "expected weights saved from Dinov2Model"
            )
        self._model = model.eval().requires_grad_(False)
        torch.nn.Module.to(self._model, self.device, self.dtype)

    @property
    def at_once(self) -> int:
        """Pictures that keep all its threads busy."""
        return self._precision.at_once

    @torch.inference_mode()
    def images(self, batch: np.ndarray) -> np.ndarray:
        """uint8 (N, H, W, 3) -> float32 (N, D)."""
        pixels = (self._resize(checks.images("given", batch), SIZE) / 255.0 - MEAN) / STD
        with torch.backends.cudnn.flags(allow_tf32=False):
            features = self._precision.run(self._features, pixels.to(self.device, self.dtype))
        return np.asarray(features.float().cpu().numpy())

    def _features(self, pixels: torch.Tensor) -> torch.Tensor:
        states: torch.Tensor = self._model(pixel_values=pixels).last_hidden_state
        return states[:, 0]

    def logits(self, features: np.ndarray) -> None:
        """DINOv2 has no classes."""
        return
