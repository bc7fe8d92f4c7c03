"""Symmetric InfoNCE between pictures and captions, where several captions may be right."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from t2i.training.contrastive.config import Targets


def positives(captions: Sequence[str], known: Sequence[Sequence[str]], kind: Targets) -> np.ndarray:
    """Which captions of a batch are right for which picture: bool (N, N), picture i in row i.

    captions: the one that was drawn for each picture. known: everything that is said about it. A caption is right
    for each picture that it is said about (ten label prompts make most pairs of a batch right); `diagonal`: for its
    own picture alone.
    """
    if kind is Targets.diagonal:
        return np.eye(len(captions), dtype=bool)
    columns: dict[str, list[int]] = {}
    for column, caption in enumerate(captions):
        columns.setdefault(caption, []).append(column)
    right = np.zeros((len(captions), len(captions)), dtype=bool)
    for row, group in enumerate(known):
        for caption in set(group) & columns.keys():
            right[row, columns[caption]] = True
    return right


def contrastive_loss(
    images: torch.Tensor, texts: torch.Tensor, logit_scale: torch.Tensor, right: torch.Tensor
) -> torch.Tensor:
    """The mean of two cross-entropies, over captions for each picture and over pictures for each caption, float32.

    images, texts: features (N, D), brought to length one here. logit_scale: factor of the cosines. right: bool
    (N, N), at least one true value in each row and column; the right ones share the target's mass equally. With a
    diagonal this is InfoNCE (van den Oord et al. 2018, arXiv:1807.03748, eq. 4) in CLIP's symmetric form (Radford et
    al. 2021, arXiv:2103.00020, fig. 3); with several it is the loss of UniCL (Yang et al. 2022, arXiv:2204.03610,
    eq. 2).
    """
    logits = logit_scale.float() * F.normalize(images.float(), dim=-1) @ F.normalize(texts.float(), dim=-1).T
    mass = right.to(logits.dtype)
    by_image = -(mass / mass.sum(1, keepdim=True) * logits.log_softmax(1)).sum(1).mean()
    by_text = -(mass / mass.sum(0, keepdim=True) * logits.log_softmax(0)).sum(0).mean()
    return (by_image + by_text) / 2
