"""Is everything connected as it must be? Each check compares a number or a fact with what it has to be."""

import copy
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch

from t2i.errors import UserError
from t2i.models.check import Check, same
from t2i.models.config import Model
from t2i.models.families.family import Conditions
from t2i.models.families.picture import Picture
from t2i.models.latents import decode, encode_moments
from t2i.models.learned_words import rows_of
from t2i.models.parts import Models
from t2i.models.text_adapter import AdaptedTextEncoder
from t2i.models.weights import count, module_digest, text_layout
from t2i.training.objective import objective_of
from t2i.training.strategies import Strategy

LARGEST_SIDE = 32
"""Latent height of the trial forward passes: smaller than SD 1.x's 64, since the wiring does not depend on it."""
SMALLEST_SIDE = 16
"""The least where gradients are asked for: of 8, four levels leave one place, whose attention to itself moves nothing."""


class Probe:
    """Trial passes through the networks with one fixed latent."""

    def __init__(self, models: Models, least: int = 0) -> None:
        self.models, self.family = models, models.family
        factor = self.family.factor(models)
        side = max(least * factor, min(models.resolution, LARGEST_SIDE * factor))
        self.small = replace(models, resolution=side)
        generator = torch.Generator("cpu").manual_seed(0)
        self.dtype = models.dtype
        self.latents = torch.randn(self.small.latent_shape(1), generator=generator).to(models.device, self.dtype)
        self.time = objective_of(models).tensor(objective_of(models).times(1)).to(models.device)

    def tokens(self, caption: str) -> Conditions:
        """Of one caption, where the networks compute."""
        found = self.family.tokens(self.models, [caption])
        return {name: values.to(self.models.device) for name, values in found.items()}

    def predict(self, caption: str) -> torch.Tensor:
        """The denoiser's output for one caption, through the text encoders, with gradients; in the precision of training."""
        with torch.autocast(self.models.device.type, self.dtype, enabled=self.dtype != torch.float32):
            return self.given(self.family.read(self.models, self.tokens(caption)))

    def given(self, conditions: Conditions, original: int | None = None) -> torch.Tensor:
        """The denoiser's output for these conditions. original: side of the picture before it was made smaller."""
        side = self.small.resolution
        pictures = [Picture((original or side,) * 2, (0, 0), (side, side))]
        with torch.autocast(self.models.device.type, self.dtype, enabled=self.dtype != torch.float32):
            return self.family.predict(self.models, self.latents, self.time, conditions, pictures)


def structure(models: Models, config: Model) -> Iterator[Check]:
    """Counts that follow from the architecture alone."""
    for name, expected in config.parameters.items():
        if name in config.without:
            continue
        yield same(f"parameters of the {name}", expected, count(models.modules[name].parameters()))
    family = models.family
    if family.cross_attention_widths(models):
        layers = {
            n.rpartition(".")[0] for n, _ in models.denoiser.named_modules() if n.endswith(family.text_projections)
        }
        yield same(f"cross-attention layers in the {family.spoken}", config.cross_attention_layers, len(layers))
        reads = int(models.denoiser.config["cross_attention_dim"])
        yield same("width that the cross-attention reads", config.width, reads)


@torch.no_grad()
def hand_overs(models: Models, config: Model) -> Iterator[Check]:
    """Shapes and dtypes wherever one network hands over to the next."""
    probe, family = Probe(models), models.family
    ids = probe.tokens("a picture of a cat")
    for name in (name for name in ids if name.startswith("ids")):  # of each tokenizer
        yield same(f"captions to token {name}", f"(1, {config.tokens}) int64", _shape(ids[name]))
    # encoders that train are in float32, and frozen ones beside them in the compute dtype
    kinds = sorted({str(next(models.modules[name].parameters()).dtype)[6:] for name in family.encoders})
    for name, rows in family.conditions(models, ["a picture of a cat"]).items():
        (*outer, width) = family.rows(models)[name]
        shape = (1, *outer, config.width if name == "states" else width)
        fits = _shape(rows) in [f"{shape} {kind}" for kind in kinds]
        yield Check(f"text {name} handed to the {family.spoken}", f"{shape} {' or '.join(kinds)}", _shape(rows), fits)
    _, channels, side, _ = probe.small.latent_shape(1)
    kind = str(probe.dtype).removeprefix("torch.")
    yield same("latents to prediction", f"(1, {channels}, {side}, {side}) {kind}", _shape(probe.predict("a cat")))
    pixels = decode(models, probe.latents)
    edge = side * family.factor(models)
    yield same("latents to picture", f"(1, {edge}, {edge}, 3) uint8", f"{pixels.shape} {pixels.dtype}")
    moments = encode_moments(models, pixels)
    kind = str(next(models.vae.parameters()).dtype).removeprefix("torch.")
    yield same("picture to latent moments", f"(1, {2 * channels}, {side}, {side}) {kind}", _shape(moments))
    change = float((probe.predict("a red bus on a street") - probe.predict("two cats")).abs().max())
    yield Check("a changed caption changes the prediction", "> 0", f"{change:.3g}", change > 0)


@torch.no_grad()
def conditions(models: Models) -> Iterator[Check]:
    """Every condition moves the prediction when it alone is another one: nothing is handed over that nobody reads."""
    probe = Probe(models)
    own = models.family.conditions(models, ["a picture of a cat"])
    before = probe.given(own)
    for name, rows in own.items():
        noise = torch.randn(rows.shape, generator=torch.Generator("cpu").manual_seed(1)).to(rows.device)
        other = rows + noise.to(rows.dtype) if rows.is_floating_point() else 1 - rows.clamp(0, 1)  # a mask, turned over
        change = float((probe.given(own | {name: other}) - before).abs().max())
        yield Check(f"the prediction reads the {name} of a caption", "> 0", f"{change:.3g}", change > 0)
    change = float((probe.given(own, original=2 * probe.small.resolution) - before).abs().max())
    reads = models.family.reads_sizes
    expected = "> 0" if reads else "0"
    yield Check(
        "what another original size changes in the prediction", expected, f"{change:.3g}", (change > 0) == reads
    )


def _shape(tensor: torch.Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def text_key_layouts(models: Models) -> Iterator[Check]:
    """Weights in transformers' old and new key layouts must both fill a CLIP's text encoder, by name and strictly."""
    family = models.family
    for encoder in family.clips:
        target = models.modules[encoder].state_dict()
        plain = {name.removeprefix("text_model."): tensor for name, tensor in target.items()}
        for label, prefix in (("old (text_model.*)", "text_model."), ("flat", "")):
            state = text_layout({prefix + name: tensor for name, tensor in plain.items()}, target)
            fit = len(set(state) & set(target))
            name = f"{encoder.replace('_', '-')} keys, {label} layout"
            yield Check(name, f"{len(target)} fit", f"{fit} fit", set(state) == set(target))


def gradients(models: Models, strategy: Strategy) -> Iterator[Check]:
    """The strategy is attached: its size, and which tensors one backward pass reaches."""
    chosen = strategy.trainable(models)
    yield same(f"trainable parameters ({strategy.kind})", strategy.expected(models), count(chosen.values()))
    dtypes = {str(parameter.dtype).removeprefix("torch.") for parameter in chosen.values()}
    yield same("dtype of trainable parameters", "float32", ", ".join(sorted(dtypes)))
    _disturb(chosen)
    _pass_back(models)
    reached = {
        f"{name}.{inner}"
        for name, module in models.modules.items()
        for inner, parameter in module.named_parameters()
        if parameter.grad is not None and bool((parameter.grad != 0).any())
    }
    missed, stray = sorted(set(chosen) - reached), sorted(reached - set(chosen))
    yield Check(
        "chosen tensors that a gradient reaches",
        str(len(chosen)),
        f"{len(chosen) - len(missed)}{_example(missed)}",
        not missed,
    )
    yield Check("other tensors that a gradient reaches", "0", f"{len(stray)}{_example(stray)}", not stray)
    yield from vocabulary(models)
    for parameter in chosen.values():
        parameter.grad = None


def _pass_back(models: Models) -> None:
    """One backward pass for a caption that has all words that are learned."""
    caption = asked("a picture of a cat", models)
    Probe(models, SMALLEST_SIDE).predict(caption).float().pow(2).mean().backward()


def vocabulary(models: Models) -> Iterator[Check]:
    """Where words are learned: a step of an optimizer with weight decay changes their rows, and no bit of another one."""
    for name, table in rows_of(models):
        before, own = table.whole(), table.learned.detach().clone()
        if table.learned.grad is None:
            _pass_back(models)
        torch.optim.AdamW([table.learned], lr=1e-2, weight_decay=0.5).step()
        changed = (table.whole() != before).any(dim=1).nonzero().flatten().tolist()
        tokenizer = models.tokenizers[name.replace("text_encoder", "tokenizer")]
        new = [tokenizer.convert_tokens_to_ids(token) for word in models.words.values() for token in word.split()]
        other = sorted(set(changed) ^ set(new))
        found = f"{len(changed)} of {len(before)}{_example([f'row {row}' for row in other])}"
        expected = f"{len(new)}, none but new"
        yield Check(f"rows that a step changes in the words of the {name}", expected, found, not other)
        with torch.no_grad():
            table.learned.copy_(own)


@torch.no_grad()
def adapter(models: Models, strategy: Strategy) -> Iterator[Check]:
    """A text tower of another width: what the adapter hands over, and that folded into a copy of the U-Net, as it is
    exported, it predicts the same.
    """
    if not isinstance(models.text_encoder, AdaptedTextEncoder):
        return
    layer = models.text_encoder.adapter
    widths = f"{models.text_encoder.config.hidden_size} to {models.denoiser.config['cross_attention_dim']}"
    yield same("widths that the adapter joins", widths, f"{layer.in_features} to {layer.out_features}")
    expected = Probe(models).predict("a cat")
    name = models.family.denoiser
    folded = replace(models, modules=models.modules | {name: copy.deepcopy(models.denoiser)})
    strategy.plain(folded)
    exported = models.family.networks["text_encoder"]
    yield same("text encoder when exported", exported, type(folded.text_encoder).__name__)
    difference = float((Probe(folded).predict("a cat") - expected).norm() / expected.norm())
    tolerance = 1e-4 if expected.dtype == torch.float32 else 2e-2
    yield Check(
        "prediction with the adapter folded in", f"within {tolerance:g}", f"{difference:.2g}", difference <= tolerance
    )


def round_trip(models: Models, strategy: Strategy, load: Callable[[], Models]) -> Iterator[Check]:
    """Tuned weights are saved, put into freshly loaded networks, and must be in use there: same digests, same output.

    Both are compared as tuned weights are used, with every parameter in the compute dtype. Afterwards `models` has no
    weights: a full-size model has 4 GB of them, and the fresh one takes their place.
    """
    name = "tuned weights, saved and loaded again"
    with tempfile.TemporaryDirectory() as folder:
        try:
            strategy.save(models, Path(folder))
        except UserError as error:
            yield Check(name, "as they were", str(error).partition(";")[0], False)
            return
        models.freeze().to(models.device, models.dtype)
        encoders = models.family.encoders
        tuned = {name: module_digest(models.modules[name]) for name in encoders}
        adapted = any("lora_" in key for name in encoders for key in models.modules[name].state_dict())
        with torch.no_grad():
            caption = asked("a cat", models)
            expected, states = Probe(models).predict(caption), told(models, caption)
        dtype = expected.dtype
        for module in models.modules.values():
            module.to("meta")
        fresh = load()
        try:
            strategy.load(fresh, Path(folder))
        except UserError as error:
            reason = str(error).removeprefix(folder).partition(": ")[2] or str(error)
            yield Check(name, "as they were", reason.partition(";")[0], False)
            return
    fresh.freeze().to(fresh.device, dtype)
    if adapted:  # files hold an adapter with its scale multiplied in: the same change by other numbers
        change = float((told(fresh, caption) - states).abs().max())
        yield Check("text encoder in the pipeline (a caption)", "difference <= 1e-5", f"{change:.2g}", change <= 1e-5)
    else:
        pipeline = fresh.pipeline()
        for name, digest in tuned.items():
            placed = module_digest(pipeline.components[name])
            yield same(f"{name.replace('_', ' ')} in the pipeline (digest)", digest[:12], placed[:12])
    with torch.no_grad():
        difference = float((Probe(fresh).predict(caption) - expected).abs().max())
    yield Check("prediction after save and load", "difference <= 1e-5", f"{difference:.2g}", difference <= 1e-5)


@torch.no_grad()
def placed(models: Models, place: Callable[[Models], None]) -> Iterator[Check]:
    """Tuned weights are in use: which network they changed, by digest, and what a caption becomes; `place` puts them in."""
    before = {name: module_digest(network) for name, network in models.modules.items()}
    states, prediction = told(models, "a picture of a cat"), Probe(models).predict("a picture of a cat")
    place(models)
    caption = asked("a picture of a cat", models)
    after = {name: module_digest(network) for name, network in models.pipeline().components.items() if name in before}
    changed = [name for name in before if before[name] != after[name]]
    yield Check("networks that the weights change", "at least one", ", ".join(changed) or "none", bool(changed))
    for name in (name for name in models.family.encoders if name in changed):
        digests = f"{before[name][:12]}, now {after[name][:12]}"
        spoken = f"{name.replace('_', ' ')} of the pipeline (digest)"
        yield Check(spoken, "another than the base's", f"was {digests}", True)
    if set(models.family.encoders) & set(changed):
        change = float((told(models, caption) - states).norm() / states.norm())
        yield Check("change of a caption's embedding", "> 0 %", f"{100 * change:.3g} %", change > 0)
    change = float((Probe(models).predict(caption) - prediction).norm() / prediction.norm())
    yield Check("change of the prediction", "> 0 %", f"{100 * change:.3g} %", change > 0)


def asked(caption: str, models: Models) -> str:
    """The caption with every word that was learned, as it changes no other one."""
    return " ".join([caption, *models.words])


def told(models: Models, caption: str) -> torch.Tensor:
    """All that the denoiser reads of a caption, as one vector."""
    return torch.cat([rows.flatten().float() for rows in models.family.conditions(models, [caption]).values()])


def _disturb(chosen: dict[str, torch.nn.Parameter]) -> None:
    """Adapters start at zero, where half of their gradients vanish and a lost file would not be noticed."""
    generator = torch.Generator("cpu").manual_seed(1)
    with torch.no_grad():
        for parameter in chosen.values():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=generator).to(parameter.device))


def _example(names: list[str]) -> str:
    return f" (not as expected: {names[0]})" if names else ""
