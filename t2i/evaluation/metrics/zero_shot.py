"""Classes read from images by text features alone (Radford et al. 2021, arXiv:2103.00020, sec. 3.1)."""

from collections.abc import Callable, Sequence

import numpy as np

from t2i.errors import UserError
from t2i.evaluation import checks


def unit(name: str, features: np.ndarray) -> np.ndarray:
    """Rows of `features` (N, D) at length 1, in float64; UserError for a row of length zero, which has no direction."""
    checked = checks.features(name, features, least=1)
    length = np.linalg.norm(checked, axis=1, keepdims=True)
    if (length == 0).any():
        row = int(np.flatnonzero(length[:, 0] == 0)[0])
        raise UserError(
            f"row {row} of the {name} features is all zeros and has no angle: check the extractor's weights"
        )
    return checked / length


def class_features(
    texts: Callable[[list[str]], np.ndarray], classes: Sequence[str], prompts: Sequence[str]
) -> np.ndarray:
    """Unit features (K, D) of class names: the mean over templates (`"a photo of a {}"`) of unit text features."""
    per_prompt = [unit("class text", texts([prompt.format(name) for name in classes])) for prompt in prompts]
    return unit("class text", np.mean(per_prompt, axis=0))


def cosines(image_features: np.ndarray, class_text_features: np.ndarray) -> np.ndarray:
    """float64 (N, K): cosine of each image (N, D) with each class (K, D)."""
    images, classes = unit("image", image_features), unit("class text", class_text_features)
    checks.same_width("image", images, "class text", classes)
    return images @ classes.T


def zero_shot_probabilities(
    image_features: np.ndarray, class_text_features: np.ndarray, logit_scale: float
) -> np.ndarray:
    """float64 (N, K): softmax over classes of logit_scale * cosine."""
    from scipy.special import softmax

    return softmax(logit_scale * cosines(image_features, class_text_features), axis=1)
