"""Sums and rows over processes, as `torchmetrics.Metric` states that are reduced when they are computed.

A sampler that deals N images to P processes pads the last round with copies, which would count twice. Here process r takes
the rows r, r + P, r + 2 P ... that exist, and a row carries its number: the same features, in the same order, for any
number of processes and any batch size.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torchmetrics import Metric

from t2i.data.pictures import Pictures
from t2i.evaluation.statistics.gaussian import DDOF
from t2i.progress import progress

if TYPE_CHECKING:
    from t2i.evaluation.extractors.registry import ImageExtractor


class Rows(Metric):
    """Features by the number of their image, gathered from all processes."""

    full_state_update = False
    numbers: Any
    features: Any

    def __init__(self) -> None:
        super().__init__()
        self.add_state("numbers", [], dist_reduce_fx="cat")
        self.add_state("features", [], dist_reduce_fx="cat")

    def update(self, numbers: torch.Tensor, features: torch.Tensor) -> None:
        """numbers int64 (n,), features (n, D)."""
        self.numbers.append(numbers)
        self.features.append(features)

    def compute(self) -> np.ndarray:
        """(N, D): each image once, in the order of numbers."""
        numbers, features = (
            (torch.cat(state) if isinstance(state, list) else state).cpu().numpy()
            for state in (self.numbers, self.features)
        )
        return np.asarray(features[np.unique(numbers, return_index=True)[1]])


class MomentSums(Metric):
    """Mean and covariance of more features than memory holds: sums in float64, reduced by addition."""

    full_state_update = False
    count: torch.Tensor
    total: torch.Tensor
    outer: torch.Tensor

    def __init__(self, origin: np.ndarray) -> None:
        """`origin` (D,): a point near the features, the same in every process; sums of squares around it keep digits."""
        super().__init__()
        self.origin = torch.from_numpy(np.asarray(origin, np.float64))
        width = len(origin)
        self.add_state("count", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros(width, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("outer", torch.zeros(width, width, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, features: torch.Tensor) -> None:
        """features (n, D); n may be 0."""
        rows = features.double() - self.origin.to(features.device)
        self.count += len(rows)
        self.total += rows.sum(0)
        self.outer += rows.T @ rows

    def compute(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean (D,) and covariance (D, D) with ddof = 1: what `fid.frechet_from_moments` takes."""
        count, mean = float(self.count), (self.total / self.count).cpu().numpy()
        scatter = self.outer.cpu().numpy() - count * np.outer(mean, mean)
        return mean + self.origin.numpy(), scatter / (count - DDOF)


def features_of(extractor: "ImageExtractor", images: np.ndarray | Pictures, batch_size: int) -> np.ndarray:
    """float32 (N, D) of uint8 (N, H, W, 3), each process computing its share; every process gets all of them.

    Each process of an initialised `torch.distributed` group has to call this, with the same images.
    """

    def features(rows: np.ndarray) -> np.ndarray:
        return extractor.images(images[rows])

    at_once = max(batch_size, extractor.at_once)
    return rows_of(features, len(images), at_once, extractor.device, f"{extractor.name} features")


def rows_of(
    compute: Callable[[np.ndarray], np.ndarray], count: int, batch_size: int, device: torch.device, named: str
) -> np.ndarray:
    """(count, D): what `compute` gives for the rows int (n,) that it is told, each process computing its share."""
    world, first = torch.distributed.get_world_size(), torch.distributed.get_rank()
    # With fewer images than processes some compute another's image again; its number drops the copy.
    share = np.arange(first, count, world) if first < count else np.array([first % count])
    rows = Rows().to(device)
    for start in progress(range(0, len(share), batch_size), named, "batch"):
        numbers = share[start : start + batch_size]
        rows.update(*(torch.from_numpy(part).to(device) for part in (numbers, compute(numbers))))
    return rows.compute()
