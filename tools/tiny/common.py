"""What the training scripts of the bundled tiny model share: scenes as arrays, optimiser, time budget, checkpoints.

Index ranges of the procedural world (all with `WORLD_SEED`), so that no network is measured on what it learned from:
`GENERATOR` teaches tokenizer, text encoder, VAE and UNet; `EVALUATOR` the tiny CLIP that measures; `HELD_OUT` nobody.
"""

import math
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.distributed
from torch import Tensor, nn

from t2i.data.sources.scenes import captions, describe, render
from t2i.randomness import generator, integer

WORLD_SEED = 64
SIZE = 64
GENERATOR = range(40_000)
EVALUATOR = range(100_000, 130_000)
HELD_OUT = range(200_000, 200_300)
WORK = Path("build/tiny")


def images(work: Path, indices: range) -> np.ndarray:
    """Rendered scenes, uint8 (N, 64, 64, 3), memory-mapped from a cache in `work`."""
    path = work / f"scenes_{WORLD_SEED}_{indices.start}_{indices.stop}.npy"
    if not path.exists():
        work.mkdir(parents=True, exist_ok=True)
        array = np.stack([np.asarray(render(describe(WORLD_SEED, index), SIZE)) for index in indices])
        partial = path.with_suffix(f".{os.getpid()}.npy")
        np.save(partial, array)
        partial.rename(path)
    return np.load(path, mmap_mode="r")


def texts(indices: range) -> list[list[str]]:
    """The five captions of every scene."""
    return [captions(describe(WORLD_SEED, index)) for index in indices]


def to_tensor(pixels: np.ndarray) -> Tensor:
    """uint8 (N, H, W, 3) -> float32 (N, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1


def batches(count: int, size: int, seed: int, name: str, start: int = 0) -> Iterator[tuple[int, np.ndarray]]:
    """(step, indices) from step `start` on, epoch after epoch; a function of (seed, name, step) alone."""
    per_epoch = count // size
    step = start
    while True:
        epoch, first = divmod(step, per_epoch)
        order = generator(seed, name, "order", epoch).permutation(count)
        for position in range(first, per_epoch):
            yield step, order[position * size : (position + 1) * size]
            step += 1


def step_generator(seed: int, name: str, step: int) -> torch.Generator:
    """The torch generator for the noise of one step, the same after a resume."""
    return torch.Generator().manual_seed(integer(seed, name, step) % 2**63)


class Budget:
    """Minutes of training, spent over any number of starts; the learning rate follows the share already spent."""

    def __init__(self, minutes: float, warmup: float = 0.02) -> None:
        self.minutes, self.warmup = minutes, warmup
        self.spent = 0.0
        self._last = time.monotonic()

    def tick(self) -> float:
        """Adds the time since the last tick; returns the share of the budget that is spent, 0..1."""
        now = time.monotonic()
        self.spent += min(now - self._last, 60.0)
        self._last = now
        return min(1.0, self.spent / (60 * self.minutes))

    def rate(self, share: float) -> float:
        """Warm-up, then cosine to 1 % of the peak."""
        if share < self.warmup:
            return max(share / self.warmup, 0.02)
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (share - self.warmup) / (1 - self.warmup)))


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised by five Newton-Schulz steps (Jordan 2024), for matrices and flattened convolutions.

    Updates are scaled to AdamW's usual root mean square, 0.2 (Liu et al. 2025, "Muon is scalable for LLM training"),
    so that both optimisers take the same learning rate. Per image seen it reaches AdamW's loss in far fewer steps.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.95, decay: float = 0.0):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every parameter."""
        for group in self.param_groups:
            lr, momentum, decay = group["lr"], group["momentum"], group["weight_decay"]
            for parameter in group["params"]:
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                state["momentum"].lerp_(parameter.grad, 1 - momentum)
                update = orthogonalise(parameter.grad.lerp(state["momentum"], momentum).flatten(1))
                parameter.mul_(1 - lr * decay)
                parameter.add_(update.view_as(parameter), alpha=-lr * 0.2 * math.sqrt(max(update.shape)))


def rank() -> int:
    """This process's number, 0 when there is only one."""
    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0


def world_size() -> int:
    """How many processes train together."""
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


@torch.no_grad()
def average_weights(parameters: Sequence[nn.Parameter], share: float) -> float:
    """Replaces every weight, and the share of the time budget, by its mean over the processes."""
    flat = torch.cat([parameter.flatten() for parameter in parameters] + [torch.tensor([share])])
    torch.distributed.all_reduce(flat)
    flat /= world_size()
    for parameter, part in zip(parameters, flat[:-1].split([p.numel() for p in parameters]), strict=True):
        parameter.copy_(part.view_as(parameter))
    return flat[-1].item()


def orthogonalise(matrix: Tensor) -> Tensor:
    """The nearest semi-orthogonal matrix, roughly: singular values end in about 0.7..1.2."""
    wide = matrix.shape[0] <= matrix.shape[1]
    x = matrix if wide else matrix.T
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return x if wide else x.T


class Optimisers:
    """Muon for what is a matrix, AdamW for the rest (norms, biases, embeddings, first and last convolution)."""

    def __init__(
        self, module: nn.Module, lr: float, adam_names: tuple[str, ...], decay: float = 0.0, muon: bool = True
    ):
        matrices, rest = [], []
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                is_matrix = muon and parameter.ndim >= 2 and not any(part in name for part in adam_names)
                (matrices if is_matrix else rest).append(parameter)
        self.lr = lr
        self.parts: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.99), weight_decay=0.0 if muon else decay, fused=True)
        ]
        if matrices:
            self.parts.append(Muon(matrices, lr=lr, decay=decay))

    def step(self, rate: float) -> None:
        """Steps both at `rate` times the peak learning rate and clears the gradients."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = self.lr * rate
            part.step()
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict]:
        """The state of both."""
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states: list[dict]) -> None:
        """Restores what `state_dict` gave."""
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)


class Average:
    """Exponential moving average of the weights, with the usual warm-up (1 + n) / (10 + n)."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.count = decay, 0
        self.live = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self.values = [parameter.detach().clone() for parameter in self.live]

    @torch.no_grad()
    def update(self) -> None:
        """Moves the average towards the live weights."""
        self.count += 1
        decay = min(self.decay, (1 + self.count) / (10 + self.count))
        torch._foreach_lerp_(self.values, [parameter.detach() for parameter in self.live], 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchanges live and average weights; calling it twice restores both."""
        for parameter, value in zip(self.live, self.values, strict=True):
            keep = parameter.detach().clone()
            parameter.copy_(value)
            value.copy_(keep)


def save_checkpoint(
    path: Path, step: int, module: nn.Module, optimisers: Optimisers, average: Average, budget: Budget
) -> None:
    """Everything that training needs to go on as if it had not stopped; written whole or not at all."""
    partial = path.with_suffix(".partial")
    torch.save(
        {
            "step": step,
            "model": module.state_dict(),
            "optimisers": optimisers.state_dict(),
            "average": average.values,
            "count": average.count,
            "spent": budget.spent,
        },
        partial,
    )
    os.replace(partial, path)


def load_checkpoint(path: Path, module: nn.Module, optimisers: Optimisers, average: Average, budget: Budget) -> int:
    """Restores what `save_checkpoint` wrote, if it exists; returns the next step."""
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    module.load_state_dict(state["model"])
    optimisers.load_state_dict(state["optimisers"])
    for value, saved in zip(average.values, state["average"], strict=True):
        value.copy_(saved)
    average.count, budget.spent = state["count"], state["spent"]
    return state["step"]
