"""Is everything connected as it must be? Each check compares a number or a fact with what it has to be."""

import copy
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from t2i.errors import UserError
from t2i.models.config import Model
from t2i.models.latents import decode, encode_moments
from t2i.models.load import Models, count, module_digest, text_layout
from t2i.models.text import text_states, tokenize
from t2i.models.text_adapter import AdaptedTextEncoder
from t2i.training.strategies import Strategy

LARGEST_SIDE = 32
"""Latent height of the trial forward passes: smaller than SD 1.x's 64, since the wiring does not depend on it."""


@dataclass(frozen=True)
class Check:
    """One line of the table: what was looked at, what it must be, what it is."""

    name: str
    expected: str
    found: str
    ok: bool


def same(name: str, expected: object, found: object) -> Check:
    """A check for equality."""
    return Check(name, str(expected), str(found), expected == found)


class Probe:
    """Trial passes through the networks with two captions and one fixed latent."""

    def __init__(self, models: Models) -> None:
        self.models = models
        self.side = min(models.resolution // 2 ** (len(models.vae.config["block_out_channels"]) - 1), LARGEST_SIDE)
        generator = torch.Generator("cpu").manual_seed(0)
        shape = (1, models.unet.config["in_channels"], self.side, self.side)
        self.dtype = next(models.vae.parameters()).dtype
        self.latents = torch.randn(shape, generator=generator).to(models.device, self.dtype)
        self.timestep = torch.tensor([500], device=models.device)

    def predict(self, caption: str) -> torch.Tensor:
        """The U-Net's output for one caption, through the text encoder, with gradients; in the precision of training."""
        ids = tokenize(self.models, [caption]).to(self.models.device)
        with torch.autocast(self.models.device.type, self.dtype, enabled=self.dtype != torch.float32):
            states = self.models.text_encoder(ids)[0]
            prediction: torch.Tensor = self.models.unet(
                self.latents, self.timestep, encoder_hidden_states=states
            ).sample
        return prediction


def structure(models: Models, config: Model) -> Iterator[Check]:
    """Counts that follow from the architecture alone."""
    for name, expected in config.parameters.items():
        yield same(f"parameters of the {name}", expected, count(models.modules[name].parameters()))
    layers = [name for name, _ in models.unet.named_modules() if name.endswith("attn2")]
    yield same("cross-attention layers in the U-Net", config.cross_attention_layers, len(layers))
    yield same("width that the cross-attention reads", config.width, models.unet.config["cross_attention_dim"])


@torch.no_grad()
def hand_overs(models: Models, config: Model) -> Iterator[Check]:
    """Shapes and dtypes wherever one network hands over to the next."""
    probe = Probe(models)
    ids = tokenize(models, ["a picture of a cat"])
    yield same("captions to token ids", f"(1, {config.tokens}) int64", _shape(ids))
    states = text_states(models, ["a picture of a cat"])
    kind = str(next(models.text_encoder.parameters()).dtype).removeprefix("torch.")
    yield same("text states handed to the U-Net", f"(1, {config.tokens}, {config.width}) {kind}", _shape(states))
    channels, side = models.unet.config["in_channels"], probe.side
    kind = str(probe.dtype).removeprefix("torch.")
    yield same("latents to prediction", f"(1, {channels}, {side}, {side}) {kind}", _shape(probe.predict("a cat")))
    pixels = decode(models, probe.latents)
    edge = side * 2 ** (len(models.vae.config["block_out_channels"]) - 1)
    yield same("latents to picture", f"(1, {edge}, {edge}, 3) uint8", f"{pixels.shape} {pixels.dtype}")
    moments = encode_moments(models, pixels)
    yield same("picture to latent moments", f"(1, {2 * channels}, {side}, {side}) {kind}", _shape(moments))
    change = float((probe.predict("a red bus on a street") - probe.predict("two cats")).abs().max())
    yield Check("a changed caption changes the prediction", "> 0", f"{change:.3g}", change > 0)


def _shape(tensor: torch.Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def text_key_layouts(models: Models) -> Iterator[Check]:
    """Weights in transformers' old and new key layouts must both fill the text encoder, by name and strictly."""
    target = models.text_encoder.state_dict()
    plain = {name.removeprefix("text_model."): tensor for name, tensor in target.items()}
    for label, prefix in (("old (text_model.*)", "text_model."), ("flat", "")):
        state = text_layout({prefix + name: tensor for name, tensor in plain.items()}, target)
        fits = set(state) == set(target)
        yield Check(
            f"text-encoder keys, {label} layout", f"{len(target)} fit", f"{len(set(state) & set(target))} fit", fits
        )


def gradients(models: Models, strategy: Strategy) -> Iterator[Check]:
    """The strategy is attached: its size, and which tensors one backward pass reaches."""
    chosen = strategy.trainable(models)
    yield same(f"trainable parameters ({strategy.kind})", strategy.expected(models), count(chosen.values()))
    dtypes = {str(parameter.dtype).removeprefix("torch.") for parameter in chosen.values()}
    yield same("dtype of trainable parameters", "float32", ", ".join(sorted(dtypes)))
    _disturb(chosen)
    Probe(models).predict("a picture of a cat").float().pow(2).mean().backward()
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
    for parameter in chosen.values():
        parameter.grad = None


@torch.no_grad()
def adapter(models: Models, strategy: Strategy) -> Iterator[Check]:
    """A text tower of another width: what the adapter hands over, and that folded into a copy of the U-Net, as it is
    exported, it predicts the same.
    """
    if not isinstance(models.text_encoder, AdaptedTextEncoder):
        return
    layer = models.text_encoder.adapter
    widths = f"{models.text_encoder.config.hidden_size} to {models.unet.config['cross_attention_dim']}"
    yield same("widths that the adapter joins", widths, f"{layer.in_features} to {layer.out_features}")
    expected = Probe(models).predict("a cat")
    folded = replace(models, unet=copy.deepcopy(models.unet))
    strategy.plain(folded)
    yield same("text encoder when exported", "CLIPTextModel", type(folded.text_encoder).__name__)
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
        models.freeze().to(models.device, next(models.vae.parameters()).dtype)
        tuned = module_digest(models.text_encoder)
        adapted = any("lora_" in name for name in models.text_encoder.state_dict())
        with torch.no_grad():
            expected, states = Probe(models).predict("a cat"), text_states(models, ["a cat"])
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
    placed = module_digest(fresh.pipeline().text_encoder)
    if adapted:  # files hold an adapter with its scale multiplied in: the same change by other numbers
        change = float((text_states(fresh, ["a cat"]) - states).abs().max())
        yield Check("text encoder in the pipeline (a caption)", "difference <= 1e-5", f"{change:.2g}", change <= 1e-5)
    else:
        yield same("text encoder in the pipeline (digest)", tuned[:12], placed[:12])
    with torch.no_grad():
        difference = float((Probe(fresh).predict("a cat") - expected).abs().max())
    yield Check("prediction after save and load", "difference <= 1e-5", f"{difference:.2g}", difference <= 1e-5)


@torch.no_grad()
def placed(models: Models, place: Callable[[Models], None]) -> Iterator[Check]:
    """Tuned weights are in use: which network they changed, by digest, and what a caption becomes; `place` puts them in."""
    before = {name: module_digest(network) for name, network in models.modules.items()}
    states, prediction = text_states(models, ["a picture of a cat"]), Probe(models).predict("a picture of a cat")
    place(models)
    # A learned word changes no other caption: it is asked for.
    caption = " ".join(["a picture of a cat", *models.words])
    after = {name: module_digest(network) for name, network in models.pipeline().components.items() if name in before}
    changed = [name for name in before if before[name] != after[name]]
    yield Check("networks that the weights change", "at least one", ", ".join(changed) or "none", bool(changed))
    if "text_encoder" in changed:
        digests = f"{before['text_encoder'][:12]}, now {after['text_encoder'][:12]}"
        yield Check("text encoder of the pipeline (digest)", "another than the base's", f"was {digests}", True)
        change = float((text_states(models, [caption]) - states).norm() / states.norm())
        yield Check("change of a caption's embedding", "> 0 %", f"{100 * change:.3g} %", change > 0)
    change = float((Probe(models).predict(caption) - prediction).norm() / prediction.norm())
    yield Check("change of the prediction", "> 0 %", f"{100 * change:.3g} %", change > 0)


def _disturb(chosen: dict[str, torch.nn.Parameter]) -> None:
    """Adapters start at zero, where half of their gradients vanish and a lost file would not be noticed."""
    generator = torch.Generator("cpu").manual_seed(1)
    with torch.no_grad():
        for parameter in chosen.values():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=generator).to(parameter.device))


def _example(names: list[str]) -> str:
    return f" (not as expected: {names[0]})" if names else ""
