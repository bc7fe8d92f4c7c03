"""A picture's features are the same bits whatever stands beside it, wherever it stands, and however many threads compute."""

import json
import os
import subprocess
import sys
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
import sys, torch
from tests.evaluation.extractors.test_precision import digests
torch.set_num_threads(int(sys.argv[1]))
print(digests())
"""


def dino(folder: Path) -> Dinov2Extractor:
    config = Dinov2Config(hidden_size=24, num_hidden_layers=2, num_attention_heads=2, image_size=224, patch_size=14)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        Dinov2Model(config).save_pretrained(folder)
    return Dinov2Extractor(str(folder), "clean")


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
    torch.manual_seed(0)
    network = InceptionV3().eval().requires_grad_(False)
    extractor = object.__new__(InceptionExtractor)
    extractor._set_up(network, "torch_fidelity", "cpu", False)
    given = pictures(3, 64)
    whole = extractor.images(given)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        np.testing.assert_array_equal(extractor.images(given[1:2]), whole[1:2])
        np.testing.assert_array_equal(extractor.logits(whole[1:2]), extractor.logits(whole)[1:2])
    finally:
        torch.set_num_threads(before)


def digests() -> str:
    import hashlib
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        both = (
            (ClipExtractor(str(TINY_CLIP), "tiny_clip"), pictures(ROWS + 3, 64)),
            (dino(Path(folder)), pictures(3, 64)),
        )
        found = [hashlib.sha256(extractor.images(given).tobytes()).hexdigest() for extractor, given in both]
        texts = both[0][0].texts(["a cat", "three blue kites"])
    return json.dumps([*found, hashlib.sha256(texts.tobytes()).hexdigest()])


def test_threads_do_not_change_a_bit() -> None:
    said = {
        subprocess.run(
            [sys.executable, "-c", THREADS, str(threads)], env=os.environ | {"PYTHONPATH": "."}, capture_output=True,
            text=True, check=True, cwd=Path(__file__).parents[3],
        ).stdout
        for threads in (1, 2, 4)
    }  # fmt: skip
    assert len(said) == 1 and len(json.loads(said.pop())) == 3


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
