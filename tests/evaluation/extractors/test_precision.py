"""A picture's features are the same bits whatever stands beside it, wherever it stands, and however many threads compute."""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Dinov2Config, Dinov2Model

from t2i import identity
from t2i.config import compose
from t2i.evaluation.extractors.clip import ClipExtractor
from t2i.evaluation.extractors.dinov2 import Dinov2Extractor
from t2i.evaluation.extractors.inception import InceptionExtractor
from t2i.evaluation.extractors.inception_network import InceptionV3
from t2i.evaluation.extractors.precision import ROWS, Precision
from t2i.evaluation.extractors.registry import ImageExtractor
from t2i.models.clip_files import TINY_CLIP

CPU = torch.device("cpu")
COUNT = 2 * ROWS + 5
"""Pictures: more than fill two batches."""
THREADS = """
import torch
from tests.evaluation.extractors.test_precision import digests
for threads in (1, 2, 4):
    torch.set_num_threads(threads)
    print(digests(alone=threads == 1), flush=True)
"""
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
SSE = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}
"""What torch, oneDNN and MKL may use of the processor: other kernels, with other sums."""


def dino(folder: Path) -> Dinov2Extractor:
    config = Dinov2Config(hidden_size=24, num_hidden_layers=2, num_attention_heads=2, image_size=224, patch_size=14)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        Dinov2Model(config).save_pretrained(folder)
    return Dinov2Extractor(str(folder), "clean")


def inception() -> InceptionExtractor:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = InceptionV3().eval().requires_grad_(False)
    extractor = object.__new__(InceptionExtractor)
    extractor._set_up(network, "torch_fidelity", "cpu", False)
    return extractor


def pictures(count: int, side: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def same_bits(extractor: ImageExtractor, given: np.ndarray) -> None:
    whole = extractor.images(given)
    for size in (1, 7, ROWS + 1):
        parts = [extractor.images(given[start : start + size]) for start in range(0, len(given), size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_array_equal(extractor.images(given[::-1])[::-1], whole)
    assert len(np.unique(whole, axis=0)) == len(given), "features that differ"


@pytest.mark.parametrize("exact", [False, True])
def test_pictures_and_captions_of_a_clip(exact: bool) -> None:
    extractor = ClipExtractor(str(TINY_CLIP), "tiny_clip", exact=exact)
    same_bits(extractor, pictures(COUNT, 64))
    captions = ["a cat", *(f"a {colour} bus and {number} dogs" for colour in ("red", "blue") for number in range(9))]
    together = extractor.text_vectors(captions)
    alone = [np.concatenate(both) for both in zip(*(extractor.text_vectors([one]) for one in captions), strict=True)]
    assert all(np.array_equal(one, other) for one, other in zip(together, alone, strict=True))


def test_pictures_of_dinov2(tmp_path: Path) -> None:
    same_bits(dino(tmp_path), pictures(ROWS + 2, 64))


def test_pictures_of_an_inception() -> None:
    """Its whole width: convolutions are what threads share."""
    extractor, given = inception(), pictures(3, 64)
    whole = extractor.images(given)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        np.testing.assert_array_equal(extractor.images(given[1:2]), whole[1:2])
        np.testing.assert_array_equal(extractor.logits(whole[1:2]), extractor.logits(whole)[1:2])
    finally:
        torch.set_num_threads(before)


def digests(alone: bool) -> str:
    """Of features by each network at its bundled or whole width; `alone`: with neighbours and without, equal to the bit."""
    with tempfile.TemporaryDirectory() as folder:
        clip, three = ClipExtractor(str(TINY_CLIP), "tiny_clip"), pictures(3, 64)
        found = [clip.texts(["a cat", "three blue kites"]), clip.images(pictures(ROWS + 3, 64))]
        for extractor in (clip, dino(Path(folder)), inception()):
            together = extractor.images(three)
            if alone:
                np.testing.assert_array_equal(extractor.images(three[1:2]), together[1:2])
            found.append(together)
    return json.dumps([hashlib.sha256(features.tobytes()).hexdigest() for features in found])


@pytest.mark.parametrize("all_that_it_has", [True, False])
def test_threads_do_not_change_a_bit(all_that_it_has: bool) -> None:
    """With the instructions of the processor, and with the next older ones."""
    older = SSE if torch.backends.cpu.get_cpu_capability() == "AVX2" else AVX2
    ended = subprocess.run(
        [sys.executable, "-c", THREADS], env=os.environ | {"PYTHONPATH": "."} | ({} if all_that_it_has else older),
        capture_output=True, text=True, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    said = ended.stdout.splitlines()
    assert len(said) == 3 and len(set(said)) == 1 and len(set(json.loads(said[0]))) == 5


def test_a_network_reads_one_shape_and_nothing_of_the_filling_comes_out() -> None:
    shapes = []

    def network(rows: torch.Tensor) -> torch.Tensor:
        shapes.append(tuple(rows.shape))
        return rows.sum(1, keepdim=True)

    given = torch.arange(2 * COUNT, dtype=torch.float32).reshape(COUNT, 2)
    np.testing.assert_array_equal(Precision(CPU, False).run(network, given), given.sum(1, keepdim=True))
    assert set(shapes) == {(ROWS, 2)} and len(shapes) == 3
    Precision(CPU, True).run(network, given)
    assert shapes[-1] == (COUNT, 2)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_read_a_batch_each_and_are_as_many_as_before(threads: int) -> None:
    """All of them have something to do with as many rows as the extractor asks for."""
    seen, together, before = set[tuple[int, int]](), threading.Barrier(threads, timeout=20), torch.get_num_threads()

    def network(rows: torch.Tensor) -> torch.Tensor:
        together.wait()  # for as many as read side by side
        seen.add((threading.get_ident(), torch.get_num_threads()))
        assert torch.is_inference_mode_enabled()
        return rows

    torch.set_num_threads(threads)
    try:
        precision = Precision(CPU, False)
        given = torch.arange(precision.at_once, dtype=torch.float32)[:, None]
        assert torch.equal(precision.run(network, given), given)
        assert len(seen) == threads and {count for _, count in seen} == {1} and torch.get_num_threads() == threads
        with pytest.raises(ZeroDivisionError):
            precision.run(lambda rows: 1 // 0, given)  # type: ignore[arg-type, return-value]
        assert torch.get_num_threads() == threads
        assert Precision(CPU, True).at_once == Precision(torch.device("cuda"), False).at_once == 1
    finally:
        torch.set_num_threads(before)


def test_addresses_of_features_hang_on_the_rows_that_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    config = compose([])
    now = identity.inexact(config)
    monkeypatch.setattr(identity, "ROWS", ROWS + 1)
    assert identity.inexact(config) != now
    assert identity.inexact(compose(["eval.exact=true"])) == {}, "where the shape decides nothing"


def test_a_definition_says_in_which_numbers() -> None:
    assert [Precision(CPU, exact).told for exact in (False, True)] == [
        f"float32 on cpu, {ROWS} at once",
        "float64 on cpu",
    ]
    assert (
        Precision(torch.device("cuda"), False).told == Precision(torch.device("cuda"), True).told == "float32 on cuda"
    )
