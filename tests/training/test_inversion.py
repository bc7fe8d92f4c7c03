"""Words that a text encoder is taught: only their rows train, and plain diffusers draws with them what is drawn here."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from safetensors.torch import load_file, save_file
from torch import nn

from t2i.config import compose, strategy_from
from t2i.context import Run
from t2i.errors import ConfigError, UserError
from t2i.interruption import Interrupted
from t2i.models import learned_words
from t2i.models.config import Model
from t2i.models.load import Models
from t2i.models.text import tokenize
from t2i.models.weights import module_digest
from t2i.sampling.config import Guidance, Scheduler
from t2i.sampling.sampler import encode, sample
from t2i.stages.tuned import apply_tuned, find_tuned
from t2i.training import wiring
from t2i.training.config import CaptionRule, Optimizer, Prior
from t2i.training.fitting import refuse_prior
from t2i.training.inversion import EMBEDDING, Pivotal, TextualInversion, Words
from t2i.training.lora import Lora
from t2i.training.objective import draw, objective_of
from t2i.training.strategies import describe

from ..models.toy import write, write_sdxl
from .conftest import RATE, WORD, Start, log_of, pictures, training
from .processes import in_processes
from .test_loop import equal, interrupt_after, weights

Loader = Callable[[Model], Models]
INVERSION = TextualInversion(learning_rate=RATE, placeholders=[WORD], vectors=2)
PIVOTAL = Pivotal(learning_rate=RATE, word_learning_rate=RATE, placeholders=[WORD], word_share=0.5)
BOTH = [INVERSION, PIVOTAL]
PROMPT, SEED, STEPS = "a red cat", 11, 3


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return write(tmp_path_factory.mktemp("models") / "toy_words")


@pytest.fixture(scope="session")
def toy_sdxl(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return write_sdxl(tmp_path_factory.mktemp("models") / "toy_words_sdxl")


def taught(loaded: Loader, toy: Model, strategy: Words) -> Models:
    """As if it had trained for long."""
    models = loaded(toy)
    strategy.attach(models)
    with torch.no_grad():
        for number, (name, parameter) in enumerate(strategy.trainable(models).items()):
            size = 5.0 if name.endswith(".learned") else 0.3
            parameter.add_(size * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
    return models


def saved(loaded: Loader, toy: Model, strategy: Words, folder: Path) -> Path:
    folder.mkdir()
    strategy.save(taught(loaded, toy, strategy), folder)
    return folder


def ours(models: Models, prompt: str) -> np.ndarray:
    scheduler, guidance = Scheduler(name="s", type=type(models.scheduler()).__name__, steps=STEPS), Guidance(scale=7.5)
    return next(sample(models, encode(models, [prompt], guidance), [SEED], scheduler, guidance))[0].astype(int)


def plain(pipeline: DiffusionPipeline, prompt: str, side: int) -> np.ndarray:
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator("cpu").manual_seed(SEED)
    drawn = pipeline(
        prompt, num_inference_steps=STEPS, guidance_scale=7.5, height=side, width=side, generator=generator
    )
    return np.asarray(drawn.images[0]).astype(int)


# -- the rows -------------------------------------------------------------------------------------------------------------


def test_learned_rows_are_those_of_a_plain_embedding_and_the_only_ones_with_a_gradient() -> None:
    table = nn.Embedding(7, 3).requires_grad_(False)
    rows, whole = learned_words.LearnedRows(table, 4, 2), nn.Embedding(7, 3)
    with torch.no_grad():
        rows.learned.copy_(torch.arange(6.0).view(2, 3))
        whole.weight.copy_(table.weight)
        whole.weight[4:6] = rows.learned
    ids, weight = torch.tensor([[0, 3, 4, 5, 6, 4]]), torch.randn(1, 6, 3)
    for module in (rows, whole):
        (module(ids) * weight).sum().backward()
    assert torch.equal(rows(ids), whole(ids)) and torch.equal(rows.learned.grad, whole.weight.grad[4:6])
    assert rows.weight.grad is None and [n for n, p in rows.named_parameters() if p.requires_grad] == ["learned"]
    assert torch.equal(rows.state_dict()["weight"], whole.weight) and list(rows.state_dict()) == ["weight"]
    assert torch.equal(rows.plain().weight, whole.weight)


@pytest.mark.parametrize(("initial", "begins"), [(["cat"], "cat"), (["cat bus"], "cat bus"), ([], None)])
def test_words_begin_as_they_are_told_to(models: Models, initial: list[str], begins: str | None) -> None:
    table = models.text_encoder.get_input_embeddings().weight.detach().clone()
    replace(INVERSION, initializers=initial, vectors=3).attach(models)
    ids = models.tokenizer(begins, add_special_tokens=False).input_ids if begins else []
    expected = table[[ids[k % len(ids)] for k in range(3)]] if ids else table.mean(0).expand(3, -1)
    ((_, rows),) = learned_words.rows_of(models)
    assert torch.equal(rows.learned, expected) and rows.first == len(table)
    assert torch.equal(rows.whole()[: len(table)], table)


def test_a_gradient_is_that_of_a_loop_that_is_written_out(start: Start, toy: Model, loaded: Loader) -> None:
    """The whole vocabulary requires one there, as in diffusers' example; of it the new rows count."""
    trainer, split = start(INVERSION, training(caption_dropout=0.0)), pictures("train", 10)
    batch = next(iter(trainer.train_set.batches(0)))
    trainer._accumulate(0, batch, 4)
    base = loaded(toy)
    learned_words.begin(base, WORD, 2, "")
    table, total = base.text_encoder.get_input_embeddings().weight.requires_grad_(True), []
    from diffusers import DDPMScheduler

    schedule = DDPMScheduler.from_config(base.scheduler_config)
    from t2i.data.captions import caption_choice

    for epoch, i in batch:
        choice = draw(0, epoch, split.ids[i], (4, 8, 8), objective_of(base), 0.0)
        distribution = base.vae.encode(torch.from_numpy(split.pixels([i])).permute(0, 3, 1, 2) / 127.5 - 1).latent_dist
        latent = 0.5 * (distribution.mean + distribution.std * torch.from_numpy(choice.latent_noise))
        caption = caption_choice(0, epoch, split.ids[i], split.captions[i])
        assert f"{WORD} {WORD}_1" in caption.replace(WORD, f"{WORD} {WORD}_1")
        time, noise = torch.tensor([choice.timestep]), torch.from_numpy(choice.noise)[None]
        states = base.text_encoder(tokenize(base, [caption]))[0]
        predicted = base.unet(schedule.add_noise(latent, noise, time), time, encoder_hidden_states=states).sample
        total.append((predicted - noise).square().mean())
    torch.stack(total).mean().backward()
    ((_, learned),) = trainer.parameters.items()
    assert learned.grad is not None and table.grad is not None and float(learned.grad.abs().max()) > 0
    torch.testing.assert_close(learned.grad, table.grad[-2:], rtol=1e-4, atol=1e-8)


def test_a_training_leaves_every_other_bit_of_the_model(start: Start, loaded: Loader, toy: Model) -> None:
    trainer = start(INVERSION, training(steps=3, weight_decay=0.5))
    before = trainer.models.text_encoder.get_input_embeddings().whole()
    trainer.fit()
    after = trainer.models.text_encoder.get_input_embeddings().whole()
    assert torch.equal(before[:-2], after[:-2]) and not torch.equal(before[-2:], after[-2:])
    base = loaded(toy)
    for name in ("unet", "vae"):
        assert module_digest(base.modules[name]) == module_digest(trainer.models.modules[name])


# -- what others read -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vectors", [1, 3])
@pytest.mark.parametrize("strategy", [TextualInversion(), Pivotal(rank=2)], ids=lambda one: one.kind)
def test_plain_diffusers_draws_with_the_files(
    loaded: Loader, toy: Model, tmp_path: Path, strategy: Words, vectors: int
) -> None:
    strategy = replace(strategy, placeholders=[WORD, "<place>"], vectors=vectors)
    folder = saved(loaded, toy, strategy, tmp_path / "weights")
    files = [folder / EMBEDDING, folder / "learned_embeds_1.safetensors"]
    assert [list(load_file(file)) for file in files] == [[WORD], ["<place>"]]
    pipeline = loaded(toy).pipeline()
    for file in files:
        pipeline.load_textual_inversion(file)
    if isinstance(strategy, Pivotal):
        pipeline.load_lora_weights(folder)
    models = loaded(toy)
    again = strategy_from(describe(folder)["strategy"])
    assert again == strategy
    again.load(models, folder)
    prompt = f"{PROMPT} {WORD} at <place>, {WORD}"
    drawn = ours(models, prompt)
    assert np.abs(drawn - plain(pipeline, prompt, 16)).max() == 0
    assert np.abs(drawn - ours(models, PROMPT)).max() > 0
    assert np.abs(ours(taught(loaded, toy, strategy), prompt) - drawn).max() == 0, "as it was in training"


@pytest.mark.parametrize("vectors", [1, 2])
def test_two_encoders_have_a_row_each(loaded: Loader, toy_sdxl: Model, tmp_path: Path, vectors: int) -> None:
    strategy = TextualInversion(placeholders=[WORD], vectors=vectors)
    folder = saved(loaded, toy_sdxl, strategy, tmp_path / "weights")
    tensors = load_file(folder / EMBEDDING)
    assert set(tensors) == {"clip_l", "clip_g"} and {len(rows) for rows in tensors.values()} == {vectors}
    pipeline = loaded(toy_sdxl).pipeline()
    for key, name in (("clip_l", ""), ("clip_g", "_2")):
        encoder, tokenizer = pipeline.components[f"text_encoder{name}"], pipeline.components[f"tokenizer{name}"]
        pipeline.load_textual_inversion(tensors[key], token=WORD, text_encoder=encoder, tokenizer=tokenizer)
    models, side = loaded(toy_sdxl), toy_sdxl.resolution
    strategy.load(models, folder)
    prompt = f"{PROMPT} {WORD}"
    told, theirs = models.family.conditions(models, [prompt]), models.family.encoded(pipeline, [prompt])[0]
    assert all(torch.equal(rows, theirs[name]) for name, rows in told.items()) and set(told) == {"states", "pooled"}
    drawn = ours(models, prompt)
    assert np.abs(drawn - plain(pipeline, prompt, side)).max() <= 1  # the guidance is added up in another order
    assert np.abs(drawn - ours(models, PROMPT)).max() > 1


def test_a_file_for_two_encoders_comes_in_from_anywhere(
    loaded: Loader, toy_sdxl: Model, tmp_path: Path, run: Run
) -> None:
    folder = saved(loaded, toy_sdxl, TextualInversion(placeholders=[WORD]), tmp_path / "weights")
    alone = tmp_path / "kitten.safetensors"
    alone.write_bytes((folder / EMBEDDING).read_bytes())
    nameless = tmp_path / "nameless.safetensors"
    save_file(load_file(alone), nameless)
    config = compose([f"model.source={toy_sdxl.source}", "model=tiny_sdxl", "model.init=pretrained"])
    for path, word in ((alone, WORD), (nameless, "nameless")):
        models = loaded(toy_sdxl)
        tuned = find_tuned(replace(config, weights=str(path)), run)
        assert tuned is not None
        apply_tuned(models, tuned)
        assert list(models.words) == [word]


def test_runs_go_together_with_each_other_and_with_a_scale(
    loaded: Loader, toy: Model, tmp_path: Path, run: Run
) -> None:
    """Words add up, and of what adapts the denoiser a part can be taken."""
    first = saved(loaded, toy, INVERSION, tmp_path / "words")
    second = saved(loaded, toy, replace(PIVOTAL, placeholders=["<place>"]), tmp_path / "pivotal")
    config = compose([f"model.source={toy.source}", f"model.width={toy.width}", f"model.resolution={toy.resolution}"])
    config.model.name = "toy"
    shown = []
    for scales in ([], [1.0, 0.5], [1.0, 0.0]):
        models = loaded(toy)
        tuned = find_tuned(replace(config, weights=[str(first), str(second)], weights_scale=scales), run)
        assert tuned is not None
        apply_tuned(models, tuned)
        assert models.words == {WORD: f"{WORD} {WORD}_1", "<place>": "<place>"}
        shown.append(ours(models, f"{PROMPT} {WORD} <place>"))
    assert all(np.abs(one - other).max() > 0 for one, other in itertools.combinations(shown, 2))
    with pytest.raises(
        ConfigError, match=r"weights_scale=0.5 has no meaning for .*words \(the weights of a run\): only"
    ):
        find_tuned(replace(config, weights=str(first), weights_scale=[0.5]), run)


# -- exactness ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", BOTH, ids=lambda one: one.kind)
@pytest.mark.parametrize("at", [1, 3])
def test_an_interrupted_training_is_bitwise_the_uninterrupted_one(
    start: Start, monkeypatch: pytest.MonkeyPatch, strategy: Words, at: int
) -> None:
    config = training(steps=5, caption_dropout=0.3, ema=0.9)
    if isinstance(strategy, Pivotal):
        config = replace(config, prior=Prior.base)
    whole = start(strategy, config, "whole")
    whole.fit()
    first = start(strategy, config, "parts")
    interrupt_after(first, at, monkeypatch)
    with pytest.raises(Interrupted):
        first.fit()
    first.run.pending_signal = 0
    again = start(strategy, config, "parts")
    again.fit()
    assert equal(weights(again), weights(whole))
    assert [row["loss"] for row in log_of(again)] == [row["loss"] for row in log_of(whole)]


def test_two_processes_train_as_one(start: Start, tmp_path: Path) -> None:
    config = training(steps=4, batch_size=6, optimizer=Optimizer.sgd, caption_dropout=0.5)

    def finished(folder: str) -> None:
        trainer = start(PIVOTAL, config, folder)
        trainer.fit()
        if trainer.run.main:
            tensors = {key: value.detach().contiguous() for key, value in trainer.parameters.items()}
            save_file(tensors, trainer.folder / "end.safetensors")

    finished("one")
    assert in_processes(2, lambda: finished("two")) == [0, 0]
    one, two = (load_file(tmp_path / folder / "end.safetensors") for folder in ("one", "two"))
    for key, tensor in one.items():
        torch.testing.assert_close(two[key], tensor, rtol=1e-4, atol=1e-7)


def test_words_train_first_and_then_the_adapters_alone(start: Start) -> None:
    trainer = start(PIVOTAL, training(steps=4, weight_decay=0.5))
    seen, step = [weights(trainer)], trainer._step

    def stepping(*arguments: Any) -> Any:
        found = step(*arguments)
        seen.append(weights(trainer))
        return found

    trainer._step = stepping  # type: ignore[method-assign]
    trainer.fit()
    moved = [
        {name.endswith(".learned") for name in new if not torch.equal(old[name], new[name])}
        for old, new in itertools.pairwise(seen)
    ]
    assert moved == [{True}, {True}, {False}, {False}]
    assert [PIVOTAL.word_steps(total) for total in (1, 2, 3, 10)] == [1, 1, 2, 5]


# -- task=verify ----------------------------------------------------------------------------------------------------------


def rows_check(models: Models, strategy: Words) -> dict[str, bool]:
    return {check.name: check.ok for check in wiring.gradients(models, strategy)}


@pytest.mark.parametrize("strategy", BOTH, ids=lambda one: one.kind)
def test_verify_sees_that_new_rows_alone_change(models: Models, strategy: Words) -> None:
    strategy.attach(models)
    found = rows_check(models, strategy)
    assert all(found.values()) and "rows that a step changes in the words of the text_encoder" in found


def test_verify_sees_rows_of_others_that_would_train(models: Models) -> None:
    """Planted: the row before the new ones is learned too, the last one of them is not."""
    INVERSION.attach(models)
    ((_, rows),) = learned_words.rows_of(models)
    rows.first -= 1
    found = {check.name: check for check in wiring.gradients(models, INVERSION)}
    wrong = found["rows that a step changes in the words of the text_encoder"]
    assert not wrong.ok and f"row {rows.first}" in wrong.found


def test_verify_sees_a_vocabulary_that_trains_whole(models: Models) -> None:
    INVERSION.attach(models)
    ((_, rows),) = learned_words.rows_of(models)
    rows.weight.requires_grad_(True)
    found = rows_check(models, INVERSION)
    assert not found["trainable parameters (textual_inversion)"]


class Forgetful(TextualInversion):
    """Saves what was learned, and puts the beginning back."""

    def load(self, models: Models, folder: Path) -> None:
        for word in self.placeholders:
            learned_words.begin(models, word, self.vectors, "")
        models.freeze()


def test_verify_sees_words_that_are_not_in_use(models: Models, loaded: Loader, toy: Model) -> None:
    for strategy, fails in ((INVERSION, False), (Forgetful(placeholders=[WORD], vectors=2), True)):
        fresh = loaded(toy)
        strategy.attach(fresh)
        list(wiring.gradients(fresh, strategy))
        found = {check.name: check.ok for check in wiring.round_trip(fresh, strategy, lambda: loaded(toy))}
        assert found["prediction after save and load"] != fails
        assert found["text encoder in the pipeline (digest)"] != fails


# -- what is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"placeholders": []}, "is empty or repeats a word"),
    ({"placeholders": ["<a>", "<a>"]}, "is empty or repeats a word"),
    ({"placeholders": ["my cat"]}, "holds 'my cat', which is no single word"),
    ({"placeholders": ["<a>", "<b>", "<c>"], "initializers": ["cat", "dog"]}, "has 2 words for 3 placeholders"),
    ({"placeholders": ["oa"]}, "holds 'oa', which would be read inside of longer words too, .* brackets: .'<oa>'."),
    ({"placeholders": ["<a>", "<b"]}, "holds '<b', which would be read inside"),
    ({"initializers": [""]}, r"strategy.initializers=\[''\] holds an empty word; use e.g. \[dog\]"),
    ({"placeholders": ["<a>", "<b>"], "initializers": ["cat", " "]}, "holds an empty word"),
    ({"vectors": 0}, "strategy.vectors=0 is not a number from 1 to 32"),
])  # fmt: skip
@pytest.mark.parametrize("strategy", BOTH, ids=lambda one: one.kind)
def test_values_that_no_run_could_use_are_refused(strategy: Words, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        replace(strategy, **changes).validate()


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"word_share": 1.0}, "strategy.word_share=1.0 is not between 0 and 1"),
    ({"word_learning_rate": 0.0}, "strategy.word_learning_rate=0.0 is not between"),
    ({"text_targets": ["q_proj"]}, "leave strategy.text_targets="),
    ({"targets": [], "text_targets": ["q_proj"]}, "strategy=pivotal adapts the denoiser"),
    ({"rank": 0}, "strategy.rank=0 is not a positive number"),
])  # fmt: skip
def test_pivotal_has_refusals_of_its_own(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        replace(PIVOTAL, **changes).validate()


def test_words_that_cannot_be_taught_are_named(models: Models) -> None:
    for strategy, sentence in (
        (
            {"placeholders": ["cat"]},
            "names 'cat', which is in the vocabulary already; use a word .* such as <subject>$",
        ),
        ({"initializers": ["cat"], "vectors": 1, "placeholders": ["<a>", "bus"]}, "names 'bus'"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            replace(INVERSION, **strategy).attach(models)


def test_a_word_begins_as_all_that_it_is_told_to(models: Models) -> None:
    sentence = (
        r"\['cat dog'\] is 2 tokens of model=\w+ \(cat, dog\), and with strategy.vectors=1 .* use strategy.vectors=2"
    )
    with pytest.raises(ConfigError, match=sentence):
        replace(INVERSION, initializers=["cat dog"], vectors=1).attach(models)


@pytest.mark.parametrize("key", ["strategy.placeholders=['!']", "strategy.initializers=['dog cat']"])
@pytest.mark.parametrize("model", ["tiny", "tiny_sdxl model.init=random"])
@pytest.mark.parametrize("kind", ["textual_inversion", "pivotal"])
def test_words_that_a_tokenizer_here_cannot_be_taught_are_told_before_data_is_prepared(
    kind: str, model: str, key: str
) -> None:
    config = compose(["task=train", *f"model={model}".split(), f"strategy={kind}", key])
    with pytest.raises(ConfigError, match="in the vocabulary already|is 2 tokens of model=tiny"):
        config.validate()


def test_two_things_that_teach_one_word_are_told_from_their_headers(
    loaded: Loader, toy: Model, tmp_path: Path, run: Run
) -> None:
    config = compose([])
    config.model = toy
    config.weights = [str(saved(loaded, toy, strategy, tmp_path / strategy.kind)) for strategy in BOTH]
    with pytest.raises(ConfigError, match="textual_inversion and .*pivotal, and both teach <.*>; give one of them$"):
        find_tuned(config, run)


def test_a_vector_that_no_caption_has_room_for_is_told(models: Models) -> None:
    """The toy reads 16 tokens and more: of a word of 30 vectors the last ones would be cut off."""
    long = replace(INVERSION, vectors=30)
    long.attach(models)
    with pytest.raises(ConfigError, match="strategy.vectors=30: no training caption has all of them within"):
        long.require_read(
            models, [f"{'a very long caption ' * 20} {WORD}", f"a photo of a red cat beside a dog and {WORD}" * 3]
        )


def test_vectors_that_a_caption_holds_are_no_fault(loaded: Loader, toy: Model, toy_sdxl: Model) -> None:
    for model in (toy, toy_sdxl):
        models = loaded(model)
        INVERSION.attach(models)
        INVERSION.require_read(models, ["no word", f"a {WORD} on a beach"])


def test_captions_have_to_have_the_words() -> None:
    rule, two = CaptionRule(prefix="<a> "), replace(INVERSION, placeholders=["<a>", "<b>"])
    with pytest.raises(UserError, match="no training caption has <b>, .*; type e.g. dataset.caption='a photo of <b>'"):
        two.require_captions(rule.variants("a cat"))
    two.require_captions(["a cat", *rule.variants("a <b>")])


def test_words_have_no_prior_to_keep_and_pivotal_has() -> None:
    from .test_prior import Nothing

    config = training(prior=Prior.base)
    for caption in ("a cat", f"a drawing of {WORD}"):  # what the sentence says is so with both
        told = Nothing("k", "d", regularisation=[caption])
        with pytest.raises(
            ConfigError, match="prior=base with strategy=textual_inversion, .*: whatever is said without"
        ):
            refuse_prior(config, INVERSION, told)
    refuse_prior(config, PIVOTAL, told)
    assert isinstance(PIVOTAL.adapters(), Lora)
