"""One process or two, batches of 1, 7 or 64: the same features and the same metrics, no image counted twice."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from t2i.evaluation.config import Evaluation
from t2i.evaluation.distributed import MomentSums, Rows
from t2i.evaluation.evaluate import evaluate
from t2i.evaluation.extractors.clip import ClipExtractor
from t2i.evaluation.extractors.registry import shared_image_features
from t2i.randomness import generator

WORKER = """
import sys, numpy as np, torch, json
from t2i.evaluation.extractors.clip import ClipExtractor
from t2i.evaluation.distributed import MomentSums, features_of
torch.distributed.init_process_group("gloo")
rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
images = np.load(sys.argv[1])
extractor = ClipExtractor(sys.argv[2], "toy")
arrays = {str(size): features_of(extractor, images, size) for size in (1, 7, 64)}
arrays["one"] = features_of(extractor, images[:1], 4)
sums = MomentSums(np.zeros(12))
sums.update(torch.from_numpy(arrays["7"][rank::world]))
mean, cov = sums.compute()
np.savez(f"{sys.argv[3]}_{rank}.npz", mean=mean, cov=cov, **arrays)
torch.distributed.barrier()
torch.distributed.destroy_process_group()  # its threads would abort an interpreter that ends, now and then
"""


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """Eleven images: an odd number for two processes."""
    return generator("distributed").integers(0, 256, (11, 40, 40, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def extractor(toy_clip: Path) -> ClipExtractor:
    return ClipExtractor(str(toy_clip), "toy")


def test_two_processes_have_the_features_of_one(
    pictures: np.ndarray, extractor: ClipExtractor, toy_clip: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "images.npy", pictures)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", WORKER, str(tmp_path / "images.npy"), str(toy_clip), str(tmp_path / "found")]
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    workers = [
        subprocess.Popen(command, env={**os.environ, **address, "RANK": str(rank)}, stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    for worker in workers:
        _, said = worker.communicate(timeout=200)
        assert worker.returncode == 0, said
    alone = shared_image_features(extractor, "given", pictures, 64)
    for rank in range(2):
        with np.load(tmp_path / f"found_{rank}.npz") as found:
            for size in ("1", "7", "64"):
                np.testing.assert_array_equal(found[size], alone)
            np.testing.assert_array_equal(found["one"], alone[:1])
            np.testing.assert_allclose(found["mean"], alone.astype(np.float64).mean(0), rtol=1e-9)
            np.testing.assert_allclose(
                found["cov"], np.cov(alone.astype(np.float64), rowvar=False), rtol=1e-9, atol=1e-12
            )


def test_batch_sizes_give_the_same_metrics(pictures: np.ndarray, extractor: ClipExtractor) -> None:
    captions = [f"a cat number {i % 4}" for i in range(11)]
    metrics = ["fid", "kid", "inception_score", "clip_score", "prdc", "cmmd", "vendi"]
    found = [
        evaluate(
            Evaluation(batch_size=size, replicates=100, metrics=metrics),
            pictures,
            captions,
            None,
            255 - pictures,
            ["cat", "bus"],
            extractor,
        ).metrics
        for size in (1, 7, 64)
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-9)
    assert found[0] == pytest.approx(found[2], rel=1e-9)


def test_a_copied_row_counts_once_and_order_does_not_matter() -> None:
    rows = Rows()
    rows.update(torch.tensor([4, 0]), torch.tensor([[4.0], [0.0]]))
    rows.update(torch.tensor([2, 0]), torch.tensor([[2.0], [0.0]]))
    assert rows.compute().ravel().tolist() == [0.0, 2.0, 4.0]


def test_summed_moments_are_those_of_the_whole_set() -> None:
    features = generator("sums").normal(50.0, 1.0, (90, 6))
    sums = MomentSums(features[0])
    for part in np.split(features, [7, 7, 50]):
        sums.update(torch.from_numpy(part))
    mean, cov = sums.compute()
    np.testing.assert_allclose(mean, features.mean(0), rtol=1e-12)
    np.testing.assert_allclose(cov, np.cov(features, rowvar=False), rtol=1e-9, atol=1e-12)
