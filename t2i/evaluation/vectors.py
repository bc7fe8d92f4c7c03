"""Directions of vectors."""

import numpy as np


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of length one, float64."""
    exact = np.asarray(vectors, np.float64)
    return exact / np.maximum(np.linalg.norm(exact, axis=1, keepdims=True), np.finfo(np.float64).tiny)
