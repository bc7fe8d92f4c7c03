"""Weights of words in prompts are compel's, and a prompt without any is what it was, whatever brackets it holds."""

import numpy as np
import pytest
import torch
from compel import Compel

from t2i.errors import ConfigError, UserError
from t2i.models import prompt_weights
from t2i.models.families.registry import FAMILIES
from t2i.models.parts import Models
from t2i.models.prompt_weights import fragments, plain
from t2i.sampling.config import Guidance, Scheduler
from t2i.sampling.sampler import encode, sample

PROMPTS = [
    "a (red)1.3 cat",
    "a red++ cat",
    "a red- cat",
    "a (red)0.4 cat on a (blue mat)1.2",
    "a (big (red)1.2 cat)1.1",
]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_weighted_prompt_has_compels_states(models: Models, prompt: str) -> None:
    theirs = Compel(models.tokenizer, models.text_encoder)(prompt)
    ours = models.family.conditions(models, [prompt, "a cat"], weights=True)["states"]
    assert (ours[:1] - theirs).abs().max() == 0
    plainly = models.family.conditions(models, [plain(prompt), "a cat"])["states"]
    assert (ours[0] - plainly[0]).abs().max() > 1e-3, "weights move the states"
    assert torch.equal(ours[1], plainly[1]), "of its neighbour in the batch nothing is moved"


@pytest.mark.parametrize(
    "prompt", ["a red cat", "a sci-fi cat, red-brown", "a cat (", "+++", "1.5 cats", 'it\'s a "cat"', "", None]
)
def test_a_prompt_without_weights_is_what_it_was(models: Models, prompt: str | None) -> None:
    both = [models.family.conditions(models, [prompt], weights=weights)["states"] for weights in (False, True)]
    assert (both[0] - both[1]).abs().max() < 1e-6


def test_brackets_are_letters_unless_weights_are_asked_for(models: Models) -> None:
    """The pipeline of diffusers knows no weights."""
    for prompt in PROMPTS:
        theirs, _ = models.family.encoded(models.pipeline(), [prompt])
        assert torch.equal(models.family.conditions(models, [prompt])["states"], theirs["states"])


def test_weights_reach_the_picture_and_the_negative_prompt(models: Models) -> None:
    def drawn(prompt: str, negative: str | None, weights: bool) -> np.ndarray:
        guidance = Guidance(scale=7.5, negative_prompt=negative, prompt_weights=weights)
        prompts = encode(models, [prompt], guidance)
        return next(sample(models, prompts, [3], Scheduler("ddim", "DDIMScheduler", 4), guidance))

    same = drawn("a red cat", "dark", False)
    assert np.array_equal(same, drawn("a red cat", "dark", True))
    assert not np.array_equal(same, drawn("a (red)1.5 cat", "dark", True))
    assert not np.array_equal(same, drawn("a red cat", "(dark)1.5", True))


def test_every_token_of_a_textual_inversion_is_weighted(models: Models) -> None:
    models.words["<pip>"] = "red blue"
    try:
        short = models.family.conditions(models, ["a <pip>++ cat"], weights=True)["states"]
    finally:
        models.words.clear()
    long = models.family.conditions(models, ["a (red blue)++ cat"], weights=True)["states"]
    assert torch.equal(short, long)


@pytest.mark.parametrize("words", [1, 80, 200])
@pytest.mark.parametrize("weight", [0.5, 1.3])
def test_a_weight_behind_the_end_of_what_is_read_does_nothing(models: Models, words: int, weight: float) -> None:
    start = "cat " * words
    states = models.family.conditions(models, [f"{start}(red)0.7 ({start})1.2 (blue)0.5"], weights=True)["states"]
    assert states.shape == models.family.conditions(models, ["a"])["states"].shape and bool(states.isfinite().all())


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ("a (red:1.3) cat", r"write \(red\)1\.3"),
        ("a (red)9 cat", r"the weight of 'red' in a prompt is 9; use 0 to 5"),
        ("a red" + 30 * "+", "use 0 to 5"),
        ('("a", "b").and()', "reads weights alone"),
        ('("a", "b").blend(0.3, 0.7)', "reads weights alone"),
        ("a cat.swap(dog)", "reads weights alone"),
        ("a withLora(x, 0.5) cat", "reads weights alone"),
    ],
)
def test_what_is_no_weight_is_refused_with_what_to_write(prompt: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        fragments(prompt)


def test_a_family_without_weights_is_refused_by_name() -> None:
    refused = [family for family in FAMILIES.values() if not family.reads_weights]
    assert len(refused) == len(FAMILIES) - 1
    for family in refused:
        with pytest.raises(ConfigError, match=rf"this one is of {family.title}; type cfg\.prompt_weights=false"):
            family.require_weights()


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r"needs compel; type: pip install -c constraints\.txt -e '\.\[prompt-weights\]'"
    ):
        Guidance(prompt_weights=True).validate()
    Guidance().validate()
    assert prompt_weights.KEY == "cfg.prompt_weights"
