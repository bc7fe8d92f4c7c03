"""From drawn pictures to FID, KID and Inception Score, against a folder of PNG files and torchmetrics.

    python -m bench images                      32 pictures on this machine
    python -m bench images --images=1000        the size that is meant, on a GPU

Both sides start from the same uint8 tensors, use the same Inception network (random weights, which is as much work) and keep
the reference. Ours takes one pass and no file. The peer writes PNG files and reads them again, then: `default`, three
metrics of torchmetrics as documented, each with the network inside; `tuned`, one pass whose features are handed to all three.
On a CPU with `eval.exact=true`, in float64 on both sides; then, under `float32`, as it is unless told otherwise: ours in float32
with channels last and sixteen at once, the peer in float32.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench._measure import in_turns, profile, ratio, rounded

BATCH = 16
SIDE = 256


def run(images: int = 32, rounds: int = 2) -> dict[str, Any]:
    """Ratios of both forms of the peer to ours, and the largest relative difference of the three numbers; on a CPU in both of
    our precisions (`eval.exact`).
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (images, 8, 8, 3), dtype=np.uint8)
    noise = rng.integers(-20, 21, (images, SIDE, SIDE, 3))
    pictures = np.clip(small.repeat(SIDE // 8, 1).repeat(SIDE // 8, 2) + noise, 0, 255).astype(np.uint8)
    tensor = torch.from_numpy(pictures).permute(0, 3, 1, 2).to(device)
    ours = _extractor(device, exact=True)
    ours.calibrate(pictures[:BATCH])
    # Like the generated features and yet others: a second pass would only take time.
    own = ours.images(pictures[:BATCH])
    real = (own.mean(0) + own.std(0) * rng.standard_normal((images, own.shape[1]))).astype(np.float32)
    first = _compared(ours, ours, tensor, real, rounds, device)
    result = {
        "what": f"{images} pictures of {SIDE} pixels to FID, KID and Inception Score",
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        **first,
        "float32": first,  # all that a GPU has
    }
    if device == "cpu":
        single, plain = (_extractor(device, exact=False) for _ in range(2))
        for other in (single, plain):
            other._model.load_state_dict(ours._model.state_dict())
        # As torchmetrics has it, and as one gets it by calling `.to(device)`.
        plain._model.to(memory_format=torch.contiguous_format)
        result["float32"] = _compared(single, plain, tensor, real, rounds, device)
        result["results_equal"] &= result["float32"]["results_equal"]
    return result


def _compared(ours: Any, theirs: Any, tensor: Any, real: np.ndarray, rounds: int, device: str) -> dict[str, Any]:
    """Ours with one network and both forms of the peer with another of the same weights."""
    found: dict[str, list[float]] = {}

    def keep(name: str, work: Callable[[], list[float]]) -> Callable[[], None]:
        def measured() -> None:
            found[name] = work()

        return measured

    work = _ours(ours, tensor, real)
    peers = {
        name: _peer(theirs, tensor, real, shared) for name, shared in (("peer tuned", True), ("peer default", False))
    }
    candidates = {name: keep(name, candidate) for name, candidate in {"ours": work, **peers}.items()}
    seconds = in_turns(candidates, rounds, device, warm_up=0)
    differences = {
        name: float(np.max(np.abs(np.subtract(values, found["ours"])) / np.abs(found["ours"])))
        for name, values in found.items()
        if name != "ours"
    }
    return {
        "numbers": str(ours.dtype),
        "seconds": {name: [rounded(value) for value in values] for name, values in seconds.items()},
        "tuned": ratio(seconds["peer tuned"], seconds["ours"]),
        "default": ratio(seconds["peer default"], seconds["ours"]),
        "fid_kid_is": [rounded(value) for value in found["ours"]],
        "largest_relative_difference": {name: float(f"{value:.2g}") for name, value in differences.items()},
        # In float32 the layout of a convolution's input changes its last digits.
        "results_equal": max(differences.values()) < (1e-6 if ours is theirs else 1e-3),
        "profile": profile(work),
    }


def _extractor(device: str, exact: bool) -> Any:
    import torch

    from t2i.evaluation.extractors.inception import InceptionExtractor
    from t2i.evaluation.extractors.inception_network import InceptionV3

    class Random(InceptionExtractor):
        """The network without its file."""

        def __init__(self) -> None:
            torch.manual_seed(0)
            self._set_up(InceptionV3().eval().requires_grad_(False), "torch_fidelity", device, exact)

        def calibrate(self, pictures: np.ndarray) -> None:
            """Normalise by what these pictures bring: signals through random weights would fade to nothing."""
            for layer in self._model.modules():
                if isinstance(layer, torch.nn.BatchNorm2d):
                    layer.momentum = 1.0
            self._model.train()
            self.images(pictures)
            self._model.eval()

    return Random()


def _features(extractor: Any, pictures: np.ndarray) -> np.ndarray:
    step = max(BATCH, extractor.at_once)
    return np.concatenate([extractor.images(pictures[i : i + step]) for i in range(0, len(pictures), step)])


def _ours(extractor: Any, tensor: Any, real: np.ndarray) -> Callable[[], list[float]]:
    from scipy.special import softmax

    from t2i.evaluation.metrics.inception_score import inception_score
    from t2i.evaluation.metrics.kid import kernel_distance
    from t2i.evaluation.statistics.gaussian import Gaussian, distance

    reference = Gaussian.of(real.astype(np.float64))

    def work() -> list[float]:
        features = _features(extractor, tensor.permute(0, 2, 3, 1).cpu().numpy())
        probabilities = softmax(extractor.logits(features).astype(np.float64), axis=1)
        return [
            distance(Gaussian.of(features.astype(np.float64)), reference),
            kernel_distance(features, real),
            inception_score(probabilities),
        ]

    return work


def _peer(extractor: Any, tensor: Any, real: np.ndarray, shared: bool) -> Callable[[], list[float]]:
    import torch
    from PIL import Image
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.inception import InceptionScore
    from torchmetrics.image.kid import KernelInceptionDistance

    class Network(torch.nn.Module):
        """Pictures to features or logits; what comes as features stays what it is."""

        num_features = real.shape[1]

        def __init__(self, logits: bool) -> None:
            super().__init__()
            self.logits = logits

        def forward(self, given: torch.Tensor) -> torch.Tensor:
            if given.ndim == 2:
                return given
            features = extractor.images(given.permute(0, 2, 3, 1).numpy())
            return torch.from_numpy(extractor.logits(features) if self.logits else features).double()

    count = len(tensor)
    fid = FrechetInceptionDistance(feature=Network(False), reset_real_features=False).set_dtype(torch.float64)
    kid = KernelInceptionDistance(
        feature=Network(False), subsets=1, subset_size=count, reset_real_features=False
    ).set_dtype(torch.float64)
    score = InceptionScore(feature=Network(True), splits=1).set_dtype(torch.float64)
    for metric in (fid, kid):
        metric.update(torch.from_numpy(real).double(), real=True)

    def work() -> list[float]:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            for number, picture in enumerate(tensor.permute(0, 2, 3, 1).cpu().numpy()):
                Image.fromarray(picture).save(folder / f"{number:06d}.png")
            paths = sorted(folder.glob("*.png"))
            for metric in (fid, kid, score):
                metric.reset()
            for start in range(0, count, BATCH):
                read = np.stack([np.asarray(Image.open(path)) for path in paths[start : start + BATCH]])
                batch = torch.from_numpy(read).permute(0, 3, 1, 2)
                if shared:
                    features = extractor.images(read)
                    logits = torch.from_numpy(extractor.logits(features)).double()
                    given = torch.from_numpy(features).double()
                else:
                    given = logits = batch
                fid.update(given, real=False)
                kid.update(given, real=False)
                score.update(logits)
        return [float(fid.compute()), float(kid.compute()[0]), float(score.compute()[0])]

    return work
