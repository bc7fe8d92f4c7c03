"""What a sum over eigenvalues loses when one sample is left out, exactly, for every sample from one eigen-decomposition.

K = sum_i c_i c_i' has eigenvalues l_k and eigenvectors v_k, and z_ik = c_i . v_k. Without sample i it is K - a c_i c_i' (a = 1,
or N / (N - 1) where the samples are centred on their own mean), and the determinant lemma gives

    log det(K + t) - log det(K_(i) + t) = -log h_i(t),    h_i(t) = 1 - a sum_k z_ik^2 / (l_k + t)

so that tr K (K + t)^-1 falls by e_i(t) = t h_i'(t) / h_i(t). Functions of a matrix are integrals of that trace:

    tr K^(1/2)    = 1/pi  int_0^inf  t^(-1/2) tr K (K + t)^-1  dt
    tr K log K    =       int_0^inf  [tr K / (1 + t) - tr K (K + t)^-1]  dt

On t = e^u both integrands are analytic in a strip of half-width pi (the poles lie on the negative axis), where the
trapezoid rule of step 1 errs by e^(-2 pi^2), 3e-9 (Trefethen & Weideman 2014, SIAM Review 56). So N eigenvalue problems
become one and a matrix product.
"""

import numpy as np

_ROWS = 4096
"""Samples looked at at once."""


def root_losses(eigenvalues: np.ndarray, squares: np.ndarray, factor: float) -> np.ndarray:
    """tr K^(1/2) - tr K_(i)^(1/2), float64 (N,), for eigenvalues (r,) > 0, squares z_ik^2 (N, r) and the factor a."""
    if not len(eigenvalues):  # one of the sets is constant
        return np.zeros(len(squares))
    nodes = np.exp(np.arange(np.log(eigenvalues.min()) - 16.0, np.log(eigenvalues.max()) + 37.0))
    found = []
    for start in range(0, len(squares), _ROWS):
        losses = _trace_losses(eigenvalues, squares[start : start + _ROWS], factor, nodes)
        # Below the first node the loss is 1 (a sample that spans a direction of its own) or vanishes with t.
        found.append((losses @ np.sqrt(nodes) + 1.5 * losses[:, 0] * np.sqrt(nodes[0])) / np.pi)
    return np.concatenate(found)


def entropy_losses(eigenvalues: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """tr K log K - tr K_(i) log K_(i), float64 (N,), for samples of unit length: arguments as in `root_losses`, a = 1."""
    reach = 25.0 + max(0.0, np.log(eigenvalues.max()))
    nodes = np.exp(np.arange(min(0.0, np.log(eigenvalues.min())) - 25.0, reach))
    found = []
    for start in range(0, len(squares), _ROWS):
        losses = _trace_losses(eigenvalues, squares[start : start + _ROWS], 1.0, nodes)
        found.append((1.0 / (1.0 + nodes) - losses) @ nodes)
    return np.concatenate(found)


def _trace_losses(eigenvalues: np.ndarray, squares: np.ndarray, factor: float, nodes: np.ndarray) -> np.ndarray:
    """e_i(t), float64 (n, nodes), between 0 and 1."""
    inverse = 1.0 / (eigenvalues[:, None] + nodes)
    rest = 1.0 - factor * (squares @ inverse)
    slope = factor * (squares @ np.square(inverse))
    # A direction that only this sample spans: rest falls to zero with t, and below rounding the loss is 1.
    losses: np.ndarray = np.clip(nodes * slope / np.maximum(rest, np.finfo(np.float64).tiny), 0.0, 1.0)
    return losses
