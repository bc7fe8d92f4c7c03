"""Gradients of a large batch that is encoded in small pieces (GradCache: Gao et al. 2021, arXiv:2101.06983)."""

from collections.abc import Callable

import torch

Encode = Callable[[slice], tuple[torch.Tensor, torch.Tensor]]


def loss_and_gradients(
    encode: Encode,
    count: int,
    chunk: int | None,
    objective: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    backward: Callable[[torch.Tensor], None],
) -> torch.Tensor:
    """The loss of `count` pairs, its gradients left in the parameters; returns it detached.

    encode: features (n, D) of the pictures and of the captions in a slice. objective: the loss of all features.
    backward: runs a loss backwards. With `chunk` every pair is encoded twice: once without gradients, for the loss
    and its gradients with respect to the features, once for the gradients of the parameters; the sum is that of the
    whole batch, since the loss depends on the parameters of the encoders through the features alone.
    """
    if chunk is None or chunk >= count:
        loss = objective(*encode(slice(0, count)))
        backward(loss)
        return loss.detach()
    parts = [slice(start, min(start + chunk, count)) for start in range(0, count, chunk)]
    with torch.no_grad():
        images, texts = (torch.cat(features) for features in zip(*map(encode, parts), strict=True))
    leaves = images.requires_grad_(), texts.requires_grad_()
    loss = objective(*leaves)
    backward(loss)
    for part in parts:
        trained = [
            (features, leaf.grad[part])
            for features, leaf in zip(encode(part), leaves, strict=True)
            if features.requires_grad and leaf.grad is not None
        ]
        torch.autograd.backward([features for features, _ in trained], [gradient for _, gradient in trained])
    return loss.detach()
