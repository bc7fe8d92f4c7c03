"""Stable Diffusion 3.5 medium and FLUX.2 klein at full size, on the meta device; and klein with a fault, each caught."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu

from t2i.config import compose
from t2i.errors import ConfigError, UserError
from t2i.models import source
from t2i.models.config import Model
from t2i.models.families.family import Conditions, Family
from t2i.models.families.flux2 import LAYERS, Flux2Klein, mu_of, packed, unpacked
from t2i.models.families.moments import drawn
from t2i.models.families.registry import FAMILIES
from t2i.models.load import load
from t2i.models.parts import Models
from t2i.models.weightless import weightless
from t2i.models.weights import count
from t2i.sampling import parity
from t2i.sampling.config import Guidance, Scheduler, shipped
from t2i.sampling.sampler import encode
from t2i.stages.painting import draws
from t2i.store import Store
from t2i.training import wiring
from t2i.training.attention import AttnAddV
from t2i.training.flow import Flow
from t2i.training.lora import Lora, presets_of
from t2i.training.objective import objective_of
from t2i.training.strategies import Strategy

from . import toy_flux2, toy_sd3

FULL = ("sd35_medium", "flux2_klein_4b")


@pytest.fixture(scope="module")
def full() -> dict[str, Models]:
    """Shapes without memory, as task=verify counts them."""
    found = {}
    for name in FULL:
        models = weightless(compose([f"model={name}", "model.init=random"]).model)
        assert models is not None
        found[name] = models
    return found


@pytest.fixture(scope="module")
def klein(tmp_path_factory: pytest.TempPathFactory) -> Models:
    folder = tmp_path_factory.mktemp("klein")
    return load(toy_flux2.write(folder / "model"), Store(folder / "store"))


# -- counts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FULL)
def test_every_network_has_as_many_parameters_as_its_file_says(full: dict[str, Models], name: str) -> None:
    said = compose([f"model={name}"]).model.parameters
    assert {part: count(network.parameters()) for part, network in full[name].modules.items()} == said
    assert said["transformer"] == {"sd35_medium": 2_243_171_520, "flux2_klein_4b": 3_875_544_576}[name]


@pytest.mark.parametrize("name", FULL)
def test_a_file_says_what_captions_become_and_how_to_draw(full: dict[str, Models], name: str) -> None:
    config = compose([f"model={name}"])
    models = full[name]
    assert models.family.rows(models)["states"][-1] == config.model.width
    assert models.longest == config.model.tokens
    assert config.scheduler.name == "flow_euler" and config.sweeps.name == "flow_quick"
    assert models.latent_shape(1) == {"sd35_medium": (1, 16, 128, 128), "flux2_klein_4b": (1, 128, 64, 64)}[name]


@dataclass
class Counted:
    model: str
    strategy: Strategy
    parameters: int
    tensors: int


COUNTS = {
    # 24 blocks of 8 projections; the last hands no text on: it has no to_add_out, and its add_q_proj has no say
    "sd35": Counted("sd35_medium", Lora(), 190 * 4 * 2 * 1536, 2 * 190),
    # 13 blocks ask the picture a second time; 24 feed the picture forward, 23 the text
    "sd35, all": Counted("sd35_medium", Lora(targets=["all"]), 5_861_376, 2 * (190 + 13 * 4 + 47 * 2)),
    "sd35, text values": Counted("sd35_medium", AttnAddV(), 24 * (1536 * 1536 + 1536), 48),
    "klein": Counted("flux2_klein_4b", Lora(), 4_177_920, 2 * 60),
    "klein, by the preset": Counted("flux2_klein_4b", Lora(targets=["attention"]), 4_177_920, 2 * 60),
    "klein, all": Counted("flux2_klein_4b", Lora(targets=["all"]), 6_021_120, 2 * 100),
    "klein, a suffix": Counted("flux2_klein_4b", Lora(targets=["attn.add_k_proj"]), 5 * 4 * 2 * 3072, 2 * 5),
    "klein, text values": Counted("flux2_klein_4b", AttnAddV(), 5 * 3072 * 3072, 5),
}


@pytest.mark.parametrize("counted", COUNTS.values(), ids=list(COUNTS))
def test_a_strategy_trains_as_many_as_counted(full: dict[str, Models], counted: Counted) -> None:
    models = full[counted.model]
    models = replace(models, modules={**models.modules, "transformer": _fresh(models.denoiser)}).freeze()
    with torch.device("meta"):
        counted.strategy.attach(models)
    trainable = counted.strategy.trainable(models)
    assert (count(trainable.values()), len(trainable)) == (counted.parameters, counted.tensors)
    assert counted.strategy.expected(models) == counted.parameters


def _fresh(network: torch.nn.Module) -> torch.nn.Module:
    from t2i.models.weights import rebuilt

    built: torch.nn.Module = rebuilt(network)
    return built


def test_by_suffix_alone_there_is_one_layer_more_than_has_a_say(full: dict[str, Models]) -> None:
    """The eight projections: 191 layers, 2,347,008 scalars at rank 4; public trainers adapt all of them."""
    models = full["sd35_medium"]
    ends = tuple(f".{target}" for target in models.family.targets["transformer"])
    layers = [name for name, _ in models.denoiser.named_modules() if name.endswith(ends)]
    assert len(layers) == 191 and 191 * 4 * 2 * 1536 == 2_347_008
    unread = [name for name in layers if not models.family.reaches(models, "transformer", f"{name}.weight")]
    assert unread == ["transformer_blocks.23.attn.add_q_proj"]


@pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
def test_every_family_has_presets_of_targets(family: Family) -> None:
    presets = presets_of(family)
    assert set(presets) == {"attention", "all"} and set(presets["attention"]) < set(presets["all"])


def test_a_target_that_names_no_layer_is_refused_beside_one_that_does(klein: Models) -> None:
    with pytest.raises(
        ConfigError, match=r"targets=\[to_nowhere\] matches no layer .*use e\.g\. .*preset: attention, all"
    ):
        Lora(targets=["all", "to_nowhere"]).expected(klein)


# -- what can be left out --------------------------------------------------------------------------------------------


def test_t5_can_be_left_out_and_nothing_of_it_is_read(tmp_path: Path) -> None:
    config = toy_sd3.write_t5(tmp_path / "model")
    whole = load(config, Store(tmp_path / "store"))
    for part in ("text_encoder_3", "tokenizer_3"):
        for path in (tmp_path / "model" / part).iterdir():
            path.unlink()  # an absent file would be missed
    with pytest.raises(UserError, match="text_encoder_3"):
        source.locate(config)
    models = load(replace(config, without=["text_encoder_3"]), Store(tmp_path / "store"))
    assert set(whole.modules) - set(models.modules) == {"text_encoder_3"}
    assert models.digest != whole.digest and list(models.tokenizers) == ["tokenizer", "tokenizer_2"]
    assert [check.name for check in (*parity.conditions(models), *parity.pictures(models)) if not check.ok] == []


def test_t5_is_not_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    config = toy_sd3.write(tmp_path / "model")
    asked: list[tuple[list[str], list[str] | None]] = []

    def fetch(source: str, revision: str, allow_patterns: list[str], ignore_patterns: list[str] | None) -> str:
        asked.append((allow_patterns, ignore_patterns))
        return str(tmp_path / "model")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    for without in ([], ["text_encoder_3"]):
        source.locate(replace(config, source="nobody/sd3", without=without))
    assert [ignored for _, ignored in asked] == [None, ["text_encoder_3/*", "tokenizer_3/*"]]


def test_full_size_models_without_t5_have_a_third_of_the_parameters() -> None:
    config = compose(["model=sd35_medium", "model.init=random", "model.without=[text_encoder_3]"]).model
    models = weightless(config)
    assert models is not None
    total = sum(count(network.parameters()) for network in models.modules.values())
    assert total == 2_243_171_520 + 123_650_304 + 694_659_840 + 83_819_683
    assert [check.name for check in wiring.structure(models, config) if not check.ok] == []


@pytest.mark.parametrize(
    ("model", "part", "said"),
    [
        ("sd35_medium", "vae", "it can do without: text_encoder_3"),
        ("sd35_medium", "text_encoder", "it can do without: text_encoder_3"),
        ("sd35_medium", "unet", "it can do without: text_encoder_3"),
        ("flux2_klein_4b", "text_encoder", r"use model\.without=\[\]"),
        ("sd15", "text_encoder_3", r"use model\.without=\[\]"),
    ],
)
def test_a_part_that_a_family_cannot_do_without_is_refused_by_name(model: str, part: str, said: str) -> None:
    config = compose([f"model={model}", f"model.without=[{part}]"])
    with pytest.raises(ConfigError, match=rf"model\.without=\[{part}\] is no part that .* can do without; {said}"):
        config.validate()


@pytest.mark.parametrize("name", FULL)
def test_a_model_that_is_not_here_is_told_with_what_to_do(name: str) -> None:
    with pytest.raises(UserError, match=r"model\.source=.* could not be fetched .*use model\.init=random"):
        source.locate(replace(compose([f"model={name}"]).model, revision="0" * 40))


# -- the grid of klein -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", [16, 256, 1024, 4096, 4300, 4301, 16384])
def test_mu_is_that_of_diffusers(tokens: int) -> None:
    for steps in (1, 4, 10, 28, 50, 200):
        assert mu_of(tokens, steps) == pytest.approx(compute_empirical_mu(tokens, steps), abs=1e-12)


def test_mu_counts_a_token_for_sixteen_pixels(full: dict[str, Models]) -> None:
    """Not four times fewer: 1024 pixels are 64 x 64 tokens."""
    models = full["flux2_klein_4b"]
    for size, tokens in ((1024, 4096), (512, 1024), (256, 256)):
        assert replace(models, resolution=size).grid(28)["mu"] == mu_of(tokens, 28) != mu_of(tokens // 4, 28)
    # 4096 tokens lie at 2.2562 for 10 steps, and at 1.1500 for 200
    assert mu_of(4096, 50) == pytest.approx(2.2562457 + 40 / 190 * (1.1499966 - 2.2562457), abs=1e-6)


@pytest.mark.parametrize(("size", "mu"), [(256, 0.5), (1024, 1.15)])
def test_training_draws_its_times_by_the_line_of_many_steps(full: dict[str, Models], size: int, mu: float) -> None:
    """The line that the scheduler's own configuration has: 0.5 at 256 tokens, 1.15 at 4096."""
    models = replace(full["flux2_klein_4b"], resolution=size)
    objective = objective_of(models)
    assert isinstance(objective, Flow) and objective.shift == pytest.approx(math.exp(mu), rel=1e-4)


def test_a_scheduler_that_cannot_be_told_mu_is_refused_by_name(klein: Models) -> None:
    said = r"scheduler=flow_heun .*use one of: flow_dpmpp_2m, flow_euler, flow_unipc"
    with pytest.raises(ConfigError, match=said):
        replace(shipped()["flow_heun"], steps=4).start(klein.schedule(), klein.grid)


def test_packing_is_that_of_the_pipeline(klein: Models) -> None:
    plain = torch.randn(2, 4, 6, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(packed(plain), type(klein.pipeline())._patchify_latents(plain))
    assert torch.equal(unpacked(packed(plain)), plain)


# -- klein with a fault ----------------------------------------------------------------------------------------------


class OtherLayers(Flux2Klein):
    """Counts layers from the first block in place of the embedding."""

    def read(self, models: Models, tokens: Conditions) -> Conditions:
        told = models.text_encoder.model(tokens["ids"], attention_mask=tokens["mask"], output_hidden_states=True)
        return {"states": torch.cat([told.hidden_states[layer + 1] for layer in LAYERS], dim=-1)}


class OtherOrder(Flux2Klein):
    """Lays the layers side by side in another order."""

    def read(self, models: Models, tokens: Conditions) -> Conditions:
        parts = super().read(models, tokens)["states"].chunk(len(LAYERS), dim=-1)
        return {"states": torch.cat(parts[::-1], dim=-1)}


class Unmasked(Flux2Klein):
    """Lets the text encoder read its padding."""

    def tokens(self, models: Models, captions: Sequence[str | None]) -> Conditions:
        found = super().tokens(models, captions)
        return found | {"mask": torch.ones_like(found["mask"])}


class WithoutTemplate(Flux2Klein):
    """Hands the caption over as it is."""

    def prompt(self, tokenizer: object, caption: str) -> str:
        return caption


class FewTokens(Flux2Klein):
    """Counts a token for 32 pixels."""

    def grid(self, models: Models, steps: int) -> dict[str, object]:
        return super().grid(replace(models, resolution=models.resolution // 2), steps)


class Unnormalised(Flux2Klein):
    """Trains on latents without the statistics."""

    def latents(self, models: Models, moments: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return drawn(moments, noise)


class OtherPacking(Flux2Klein):
    """Packs neighbours in another order than it unpacks them."""

    def encode(self, models: Models, images: torch.Tensor) -> torch.Tensor:
        found = super().encode(models, images)
        return found.unflatten(1, (-1, 4)).flip(2).flatten(1, 2)


CAPTIONS, NONE = "conditions of captions, as the pipeline has them", "unconditional, as without a negative prompt"
TRAINED = "latents that are trained on, decoded as drawn ones"
EULER = "latents of 3 steps of FlowMatchEulerDiscrete, as the pipeline's"
FAULTS: dict[type[Flux2Klein], set[str]] = {
    OtherLayers: {CAPTIONS, NONE},
    OtherOrder: {CAPTIONS, NONE},
    Unmasked: {CAPTIONS, NONE},
    WithoutTemplate: {CAPTIONS, NONE},
    FewTokens: {EULER},
    Unnormalised: {TRAINED},
    OtherPacking: {TRAINED},
}


@pytest.mark.parametrize("kind", FAULTS, ids=lambda kind: kind.__name__)
def test_a_fault_is_caught(klein: Models, kind: type[Flux2Klein]) -> None:
    faulty = replace(klein, family=kind())
    checks = [*parity.conditions(faulty), *parity.autoencoder(faulty), *parity.pictures(faulty)]
    found = {check.name for check in checks if not check.ok}
    assert found >= FAULTS[kind]
    assert (TRAINED in found) == (TRAINED in FAULTS[kind]) and (CAPTIONS in found) == (CAPTIONS in FAULTS[kind])


def test_only_the_layers_that_are_read_train(klein: Models) -> None:
    names = [
        name for name, _ in klein.text_encoder.named_parameters() if klein.family.reaches(klein, "text_encoder", name)
    ]
    assert {int(name.split(".")[2]) for name in names if ".layers." in name} == set(range(LAYERS[-1]))
    assert not any(name.startswith(("model.norm.", "lm_head.")) for name in names)


def test_adapters_of_a_language_model_are_refused_since_nobody_reads_them(klein: Models) -> None:
    said = Lora(text_targets=["q_proj"]).refuses(klein.family)
    assert said is not None and "use strategy.text_targets=[], or strategy=text_encoder" in said
    assert Lora().refuses(klein.family) is None


def test_counting_tokens_counts_the_template(tmp_path: Path) -> None:
    from t2i.models.tokenizer import TokenCounter

    config: Model = toy_flux2.write(tmp_path / "model")
    counter, models = TokenCounter(config), load(config, Store(tmp_path / "store"))
    ours = models.family.tokens(models, ["a cat", "two cats on a mat"])["mask"].sum(dim=1).tolist()
    assert counter(["a cat", "two cats on a mat"]) == ours and counter.limit == models.longest == 512


def test_a_distilled_model_refuses_the_guidance_that_it_would_not_read(klein: Models) -> None:
    distilled = replace(klein, options={"is_distilled": True})
    with pytest.raises(ConfigError, match=r"cfg\.scale=4 would not be read: .*type cfg\.scale=1"):
        encode(distilled, ["a cat"], Guidance(scale=4.0))
    encode(distilled, ["a cat"], Guidance(scale=1.0))


def test_the_page_offers_the_schedulers_that_the_model_can_be_drawn_with(klein: Models) -> None:
    offered = {name for name, scheduler in shipped().items() if draws(scheduler, klein)}
    assert offered == {"flow_euler", "flow_dpmpp_2m", "flow_unipc"}


def test_scheduler_of_another_objective_is_refused(klein: Models) -> None:
    with pytest.raises(ConfigError, match="undoes diffusion"):
        Scheduler(name="ddim", type="DDIMScheduler").build(klein.schedule())
