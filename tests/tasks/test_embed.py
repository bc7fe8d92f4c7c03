"""`task=embed` as users type it: vectors under their names, the check, the nearest captions, and going on after a kill."""

import json
from pathlib import Path

import numpy as np
import pytest

from ..conftest import SCENES, Ended, Lab
from ..evaluation.conftest import toy_clip  # noqa: F401  (a fixture)

PROMPT = 'prompts=["a red cat, asleep"]'


@pytest.fixture(scope="module")
def own_lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("embed"))


@pytest.fixture(scope="module")
def ended(own_lab: Lab) -> Ended:
    return own_lab.here(*SCENES, "task=embed", PROMPT, "eval.replicates=200")


def test_the_vectors_lie_under_their_names(ended: Ended) -> None:
    numbers, index = ended.metrics, ended.json("text_index.json")
    projected = np.load(ended.folder / "text_embeddings.npy", mmap_mode="r")
    pooled = np.load(ended.folder / "text_embeddings_pooled.npy", mmap_mode="r")
    assert isinstance(projected, np.memmap) and projected.dtype == pooled.dtype == np.float32
    assert projected.shape == (numbers["captions"], numbers["width"]) == (len(index), 128)
    assert pooled.shape == (numbers["captions"], numbers["pooled_width"])
    assert {entry["split"] for entry in index} == {"train", "held_out"}
    assert len({(entry["split"], entry["image"]) for entry in index}) == 24 + 12


def test_the_check_is_a_number_with_an_interval(ended: Ended) -> None:
    numbers = ended.metrics
    assert 0.8 < numbers["separation.low"] <= numbers["separation"] <= numbers["separation.high"] <= 1
    assert numbers["cosine_matched"] > numbers["cosine_random"] + 0.3  # the bundled network knows these captions


def test_prompts_find_their_nearest_captions(ended: Ended) -> None:
    section, _ = ended.json("sections.json")
    (table,) = section["tables"]
    assert [row[0] for row in table["rows"]] == ["a red cat, asleep"] * 5
    cosines = [row[1] for row in table["rows"]]
    assert cosines == sorted(cosines, reverse=True)
    said = {entry["caption"]: entry["image"] for entry in reversed(ended.json("text_index.json"))}
    assert [said[row[2]] for row in table["rows"]] == [row[3] for row in table["rows"]]
    figures = {Path(figure["path"]).stem for figure in section["figures"]}
    assert figures == {"caption_similarity", "caption_projection"}


def test_pictures_and_captions_are_paired(ended: Ended) -> None:
    """Of each held-out picture the nearest caption; the bundled network finds most of them."""
    numbers = ended.metrics
    low, value, high = (numbers[f"image_to_text_recall_1{end}"] for end in (".low", "", ".high"))
    assert low <= value <= high and value > 0.8
    _, section = ended.json("sections.json")
    assert section["title"] == "Captions and pictures paired"
    assert f"of {round(12 * value)} of 12 held-out pictures is one of their own" in section["text"]
    assert {Path(figure["path"]).stem for figure in section["figures"]} == {"best_captions", "caption_confusion"}


def test_any_clip_embeds(own_lab: Lab, toy_clip: Path, tmp_path: Path) -> None:  # noqa: F811
    """Both vectors of every caption are those that transformers computes for it alone."""
    import torch
    from transformers import CLIPModel, CLIPTokenizer

    ended = own_lab.here(*SCENES, "task=embed", "eval.extractor=clip", f"eval.clip={toy_clip}", "eval.replicates=100")
    model, tokenizer = CLIPModel.from_pretrained(toy_clip).double().eval(), CLIPTokenizer.from_pretrained(toy_clip)
    assert (ended.metrics["width"], ended.metrics["pooled_width"]) == (12, 16)
    projected, pooled = (
        np.load(ended.folder / f"text_embeddings{which}.npy", mmap_mode="r") for which in ("", "_pooled")
    )
    for entry in ended.json("text_index.json")[::17]:
        tokens = tokenizer(entry["caption"], truncation=True, max_length=16, return_tensors="pt")
        with torch.inference_mode():
            states = model.text_model(**tokens)
            vector = model.text_projection(states.pooler_output)[0]
        np.testing.assert_allclose(projected[entry["row"]], vector.numpy(), rtol=1e-5, atol=1e-6)
        mean = states.last_hidden_state[0].mean(0).numpy()
        np.testing.assert_allclose(pooled[entry["row"]], mean, rtol=1e-5, atol=1e-6)


def test_an_interrupted_embedding_goes_on(
    ended: Ended, own_lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from t2i.evaluation import embeddings
    from t2i.evaluation.extractors.clip import ClipExtractor

    monkeypatch.setattr(embeddings, "BLOCK", 32)
    computed: list[str] = []
    whole = ClipExtractor.text_vectors

    def counting(self: ClipExtractor, batch: list[str]) -> tuple[np.ndarray, np.ndarray]:
        if len(computed) > 60 and stop:
            raise KeyboardInterrupt
        computed.extend(batch)
        return whole(self, batch)

    monkeypatch.setattr(ClipExtractor, "text_vectors", counting)
    other, stop = own_lab.sharing(tmp_path / "other", without="text_embeddings"), True
    arguments = [*SCENES, "task=embed", "eval.batch_size=8", "eval.replicates=200"]
    assert other.here(*arguments).status == 130
    first, stop = len(computed), False
    again = other.here(*arguments)
    assert again.metrics == ended.metrics
    assert len(computed) - first < ended.metrics["distinct_captions"] - 28  # the finished blocks are kept
    for name in ("text_embeddings.npy", "text_embeddings_pooled.npy", "text_index.json"):
        assert (again.folder / name).read_bytes() == (ended.folder / name).read_bytes()


def test_pictures_with_one_caption_cannot_be_compared(own_lab: Lab, folder_data: Path) -> None:
    ended = own_lab.here("task=embed", "dataset=folder", f"dataset.root={folder_data}", "dataset.resolution=64")
    assert "separation" not in ended.metrics and "cosine_random" in ended.metrics
    assert "No picture has two captions" in json.loads((ended.folder / "sections.json").read_text())[0]["text"]
