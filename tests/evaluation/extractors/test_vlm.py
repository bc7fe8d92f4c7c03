"""P(yes) of vision-language models of the real classes at toy size."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from t2i.data.pictures import Pictures
from t2i.errors import UserError
from t2i.evaluation.extractors import vlm_networks
from t2i.evaluation.extractors.vlm import Vlm
from t2i.randomness import generator

from .. import toy_judges

QUESTIONS = [
    "Is there a dog?",
    'Does this figure show "a red kite and a blue dog to the left of a bench"?',
    "Are there exactly three kite?",
    "red?",
    "Does this figure show the left?",
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("vlm")
    return {"qwen": toy_judges.qwen(root / "qwen"), "blip": toy_judges.blip(root / "blip")}


@pytest.fixture(scope="module")
def networks(folders: dict[str, Path]) -> dict[str, Vlm]:
    return {kind: Vlm(str(folder)) for kind, folder in folders.items()}


@pytest.fixture
def pictures() -> Pictures:
    """Five of four sizes."""
    sizes = [(48, 64), (64, 64), (100, 40), (64, 64), (33, 120)]
    drawn = [generator("vlm", i).integers(0, 256, (*size, 3), dtype=np.uint8) for i, size in enumerate(sizes)]
    return Pictures.of_sizes(sizes, lambda rows: [drawn[row] for row in rows])


@pytest.mark.parametrize("kind", ["qwen", "blip"])
def test_an_answer_does_not_depend_on_the_others_of_its_batch(
    kind: str, networks: dict[str, Vlm], pictures: Pictures
) -> None:
    alone, together = (networks[kind].yes(pictures, QUESTIONS, batch_size=size) for size in (1, 5))
    assert alone.dtype == np.float64 and alone.std() > 0.02  # pictures and questions move it: 1e-5 says something
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)
    back = networks[kind].yes(Pictures.of_sizes(pictures.sizes[::-1].tolist(), lambda rows: [
        pictures[np.array([4 - row])][0] for row in rows]), QUESTIONS[::-1], 3)  # fmt: skip
    np.testing.assert_allclose(back[::-1], alone, rtol=0, atol=1e-5)


def test_padding_on_the_wrong_side_would_be_found(networks: dict[str, Vlm], pictures: Pictures) -> None:
    network: Any = networks["qwen"]._network
    right = networks["qwen"].yes(pictures, QUESTIONS, 5)
    network._processor.tokenizer.padding_side = "right"
    try:
        wrong = networks["qwen"].yes(pictures, QUESTIONS, 5)
    finally:
        network._processor.tokenizer.padding_side = "left"
    assert np.abs(wrong - right).max() > 0.01


def test_a_decoder_that_reads_padding_would_be_found(folders: dict[str, Path], pictures: Pictures) -> None:
    """The mask that transformers' BLIP takes for its decoder is not heard."""
    network = Vlm(str(folders["blip"]))
    right = network.yes(pictures, QUESTIONS, 1)
    own: Any = network._network
    tokens = own._processor.tokenizer(list(QUESTIONS), padding=True, return_tensors="pt")
    pixels = own._processor.image_processor(
        [Image.fromarray(pictures[row : row + 1][0]) for row in range(5)], return_tensors="pt"
    ).pixel_values
    with torch.inference_mode():
        seen = own._model.vision_model(pixel_values=pixels).last_hidden_state
        asked = own._model.text_encoder(
            input_ids=tokens.input_ids, attention_mask=tokens.attention_mask, encoder_hidden_states=seen
        ).last_hidden_state
        logits = own._model.text_decoder(
            input_ids=torch.full((5, 1), own._start), encoder_hidden_states=asked,
            encoder_attention_mask=tokens.attention_mask,
        ).logits[:, -1].double().softmax(1)  # fmt: skip
    padded = logits[:, network._yes].sum(1) / logits[:, [*network._yes, *network._no]].sum(1)
    assert np.abs(padded.numpy() - right).max() > 0.01


def test_a_chat_is_answered_as_transformers_generates(networks: dict[str, Vlm], pictures: Pictures) -> None:
    network: Any = networks["qwen"]._network
    for row, question in enumerate(QUESTIONS):
        image = Image.fromarray(pictures[row : row + 1][0])
        content = [{"type": "image", "image": image}, {"type": "text", "text": f"{question} Please answer yes or no."}]
        inputs = network._processor.apply_chat_template(
            [{"role": "user", "content": content}],
            tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt",
        )  # fmt: skip
        made = network._model.generate(
            **inputs, max_new_tokens=1, do_sample=False, output_logits=True, return_dict_in_generate=True
        )
        _same(networks["qwen"], made.logits[0], pictures, row)


def test_blip_is_answered_as_transformers_generates(networks: dict[str, Vlm], pictures: Pictures) -> None:
    network: Any = networks["blip"]._network
    for row, question in enumerate(QUESTIONS):
        image = Image.fromarray(pictures[row : row + 1][0])
        inputs = network._processor(images=image, text=question, return_tensors="pt", truncation=True)
        made = network._model.generate(
            **inputs, max_new_tokens=1, do_sample=False, output_logits=True, return_dict_in_generate=True
        )
        _same(networks["blip"], made.logits[0], pictures, row)


def _same(network: Vlm, logits: torch.Tensor, pictures: Pictures, row: int) -> None:
    words = logits[0].double().softmax(0).numpy()
    yes, no = words[network._yes].sum(), words[network._no].sum()
    found = network.answers(pictures[row : row + 1], [QUESTIONS[row]])
    assert found.yes[0] == pytest.approx(yes / (yes + no), abs=1e-6)
    assert found.of_all[0] == pytest.approx(yes + no, abs=1e-6)


def test_a_network_that_has_learnt_red_says_where_it_is(folders: dict[str, Path]) -> None:
    network = Vlm(str(folders["qwen"]))
    model: Any = network._network._model.requires_grad_(True)
    rng = generator("vlm", "red")

    def drawn(count: int) -> tuple[np.ndarray, np.ndarray]:
        red = np.arange(count) % 2 == 0
        pictures = rng.integers(0, 60, (count, 32, 32, 3), dtype=np.uint8)
        pictures[red, ..., 0] += 180
        pictures[~red, ..., 2] += 180
        return pictures, red

    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    yes, no = network._yes[0], network._no[0]
    for _ in range(30):
        pictures, red = drawn(8)
        logs = network._network.first_word([Image.fromarray(own) for own in pictures], ["Is there a red kite?"] * 8)
        loss = torch.nn.functional.nll_loss(logs, torch.tensor([yes if own else no for own in red]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    pictures, red = drawn(16)
    found = network.answers(pictures, ["Is there a red kite?"] * 16)
    assert (found.yes[red] > 0.9).all() and (found.yes[~red] < 0.1).all()
    assert (found.of_all > 0.9).all()  # it has learnt to answer so


def test_what_cannot_be_asked_is_one_sentence(
    folders: dict[str, Path], networks: dict[str, Vlm], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="eval.vlm=/no/where is neither"):
        Vlm("/no/where")
    with pytest.raises(UserError, match="found 2 pictures and 1 questions"):
        networks["blip"].yes(np.zeros((2, 32, 32, 3), np.uint8), ["Is there a dog?"])
    with pytest.raises(UserError, match="401 x 2 pixels is a strip"):
        networks["qwen"].yes(np.zeros((1, 2, 401, 3), np.uint8), ["Is there a dog?"])
    broken = shutil.copytree(folders["blip"], tmp_path / "broken")
    state = load_file(broken / "model.safetensors")
    del state["text_decoder.cls.predictions.transform.dense.weight"]
    save_file(state, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="lacks 1 of the tensors of BlipForQuestionAnswering, text_decoder.cls"):
        Vlm(str(broken))
    other = shutil.copytree(folders["blip"], tmp_path / "other")
    (other / "config.json").write_text(json.dumps({"model_type": "dinov2"}))
    with pytest.raises(UserError, match="type 'dinov2'; expected one of qwen3_vl, blip"):
        Vlm(str(other))


def test_a_vocabulary_without_yes_is_refused(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vlm_networks.Blip, "words", lambda self, spellings: [])
    with pytest.raises(UserError, match="does not hold yes and no as words of their own"):
        Vlm(str(folders["blip"]))


def test_what_is_asked_is_part_of_the_digest(folders: dict[str, Path], tmp_path: Path) -> None:
    from t2i.evaluation.extractors.vlm import digest

    other = shutil.copytree(folders["qwen"], tmp_path / "other")
    assert digest(other) == digest(folders["qwen"])
    (other / "chat_template.jinja").write_text(toy_judges.TEMPLATE.replace("assistant", "user"))
    assert digest(other) != digest(folders["qwen"])
