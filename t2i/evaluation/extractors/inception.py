"""Features and class logits of the FID variant of Inception-v3, with the published weights."""

import pickle
from pathlib import Path

import numpy as np
import torch

from t2i.errors import UserError
from t2i.evaluation import checks
from t2i.evaluation.extractors import resize
from t2i.evaluation.extractors.inception_network import SIZE, InceptionV3
from t2i.evaluation.extractors.inception_weights import SHA256, inception_file
from t2i.evaluation.extractors.precision import Precision


class InceptionExtractor:
    """A frozen Inception-v3: features before the classes, float32 (N, 2048), and logits without bias, (N, 1008).

    It computes in the numbers of `t2i.evaluation.extractors.precision`.
    """

    kind = "inception"
    name = "inception"
    digest = SHA256

    def __init__(self, source: str | None, policy: str, device: str = "cpu", exact: bool = False) -> None:
        """Loads the published file from the path `source`, or downloads it; UserError where neither can be had."""
        self._set_up(_load(inception_file(source)), policy, device, exact)

    def _set_up(self, model: InceptionV3, policy: str, device: str, exact: bool) -> None:
        self.preprocessing = policy
        self._resize = resize.policy(policy).apply
        self.device = torch.device(device)
        self._precision = Precision(self.device, exact)
        self.dtype = self._precision.dtype
        self._model = model.to(self.device, self.dtype)
        if self._precision.in_rows:
            self._model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a third less time

    @property
    def at_once(self) -> int:
        """Pictures that keep all its threads busy."""
        return self._precision.at_once

    @torch.inference_mode()
    def images(self, batch: np.ndarray) -> np.ndarray:
        """uint8 (N, H, W, 3) -> float32 (N, 2048)."""
        pixels = self._resize(checks.images("given", batch), SIZE).to(self.device, self.dtype)
        with torch.backends.cudnn.flags(allow_tf32=False):
            return np.asarray(self._precision.run(self._model, pixels).float().cpu().numpy())

    @torch.inference_mode()
    def logits(self, features: np.ndarray) -> np.ndarray:
        """float32 (N, 2048) -> float32 (N, 1008)."""
        given = torch.from_numpy(features).to(self.device, self.dtype)
        return np.asarray(self._precision.run(self._model.logits, given).float().cpu().numpy())


def _load(path: Path) -> InceptionV3:
    model = InceptionV3()
    try:
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (RuntimeError, pickle.UnpicklingError, AttributeError, TypeError) as error:
        raise UserError(
            f"{path} does not hold the 566 tensors of the FID Inception ({str(error).splitlines()[0]}): expected "
            "pt_inception-2015-12-05-6726825d.pth of pytorch-fid; type eval.inception=<that file>"
        ) from error
    return model.eval().requires_grad_(False)
