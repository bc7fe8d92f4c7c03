"""A model whose pictures OpenVINO computes in place of torch, on CPUs, in float32 or bfloat16.

Text to conditions, the denoiser, and latents to pictures are converted each as one function of tensors, by the methods with
which a family says them, so that a new family has nothing to add.
"""

import importlib
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from t2i.errors import ConfigError, UserError
from t2i.models.families.family import Conditions, Family
from t2i.models.families.picture import Picture
from t2i.models.parts import Models

READ, PREDICT, DECODE = "read", "predict", "decode"
PARTS = (READ, PREDICT, DECODE)
"""The methods of a family that are converted."""
EXAMPLES: tuple[str | None, ...] = ("a picture", None)
"""What a function is followed with; the size of a batch stays open."""
TORCH = "sampling.engine=torch"
"""What to type where a model cannot be had converted."""


def quietly() -> Any:
    """The package `openvino`: its import reports to its makers, unless the package that does so is not there."""
    reporter = "openvino_telemetry"
    before = sys.modules.get(reporter)
    sys.modules[reporter] = None  # type: ignore[assignment]  # an import of it fails, which openvino is ready for
    try:
        return importlib.import_module("openvino")
    finally:
        del sys.modules[reporter]
        if before is not None:
            sys.modules[reporter] = before


class _Followed(nn.Module):
    """One method of a family as a function of tensors. The networks stand below it, so that their weights are known as such."""

    def __init__(self, models: Models, part: str, names: Sequence[str]) -> None:
        super().__init__()
        self.networks = nn.ModuleDict(models.modules)
        self._models, self._part, self._names = models, part, names

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        models, family = self._models, self._models.family
        if self._part == READ:
            found = family.read(models, dict(zip(self._names, tensors, strict=True)))
            return tuple(found[name] for name in family.rows(models))
        if self._part == PREDICT:
            rows = dict(zip(self._names, tensors[2:], strict=True))
            whole = Picture.whole((models.resolution, models.resolution))
            return (family.predict(models, tensors[0], tensors[1], rows, [whole]),)
        return (family.decode(models, tensors[0]),)


def _example(models: Models, part: str) -> dict[str, torch.Tensor]:
    """By name, what the method is given: batch first, but for the time, which is one for all."""
    count = len(EXAMPLES)
    latents = torch.randn(models.latent_shape(count), generator=torch.Generator().manual_seed(0))
    if part == READ:
        return models.family.tokens(models, EXAMPLES)
    if part == DECODE:
        return {"latents": latents}
    rows = {name: torch.zeros(count, *shape) for name, shape in models.family.rows(models).items()}
    return {"latents": latents, "time": torch.tensor(500.0), **rows}


@torch.no_grad()
def convert(models: Models, part: str, folder: Path) -> None:
    """Write `<part>.xml` and `.bin` into `folder`: a method of the model's family, for pictures of its resolution and any batch.

    models: in float32 on the CPU, without adapters beside its layers. Raises UserError where OpenVINO cannot.
    """
    openvino = quietly()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    example = _example(models, part)
    names = list(example)[2:] if part == PREDICT else list(example)
    followed = _Followed(models, part, names).eval()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes that are the same in every call
            # Its own front end: `openvino.convert_model` reports as well.
            decoder = TorchScriptPythonDecoder(
                followed, example_input=tuple(example.values()), trace_kwargs={"check_trace": False}
            )
            frontend = FrontEndManager().load_by_framework("pytorch")
            graph = frontend.convert(frontend.load(decoder))
        graph.reshape({n: openvino.PartialShape(_open(tensor)) for n, tensor in enumerate(example.values())})
    except Exception as error:  # of almost any type, from three libraries
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1].lstrip("- ")[:200]
        raise UserError(
            f"{part} of model={models.name}, a {models.family.title}, cannot be converted ({reason}); type {TORCH}"
        ) from error
    openvino.save_model(graph, folder / f"{part}.xml", compress_to_fp16=False)


def _open(tensor: torch.Tensor) -> list[int]:
    """Its shape, for any number of rows."""
    return [-1, *tensor.shape[1:]] if tensor.ndim else []


class Graph:
    """A converted function on this machine's processors; its tensors are float32.

    precision: no computes in float32, whatever quicker numbers the processors know; bf16 in bfloat16.
    """

    def __init__(self, folder: Path, part: str, precision: str = "no") -> None:
        openvino = quietly()
        core = openvino.Core()
        settings = {
            # With AMX or avx512_bf16 it would take bfloat16 by itself.
            "INFERENCE_PRECISION_HINT": {"no": "f32", "bf16": "bf16"}[precision],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "ENABLE_CPU_PINNING": False,  # others may be at work on these cores
            "PERFORMANCE_HINT": "LATENCY",
        }
        self._request = core.compile_model(
            core.read_model(folder / f"{part}.xml"), "CPU", settings
        ).create_infer_request()

    def __call__(self, *tensors: torch.Tensor) -> list[torch.Tensor]:
        """What torch would give; results are the caller's own."""
        given = [tensor.contiguous().numpy() for tensor in tensors]
        found = self._request.infer(given, share_inputs=True, share_outputs=False)
        return [torch.from_numpy(values) for values in found.values()]


class _Computed(nn.Module):
    """In a denoiser's place: its settings, and what computes. Hooks see its evaluations as they see the network's."""

    def __init__(self, config: Any, graph: Graph | None = None, shape: tuple[int, ...] = (), factor: int = 1) -> None:
        super().__init__()
        self.config, self._graph, self._shape, self._factor = config, graph, shape, factor
        self.anchor = nn.Parameter(torch.zeros(1), requires_grad=False)  # tells device and kind of numbers

    def forward(self, x: torch.Tensor, time: torch.Tensor, *rows: torch.Tensor) -> torch.Tensor:
        assert self._graph is not None
        if x.shape[1:] != self._shape:
            found, own = (
                " x ".join(str(side * self._factor) for side in reversed(shape[-2:]))
                for shape in (x.shape, self._shape)
            )
            raise ConfigError(
                f"sampling.engine=openvino draws the size that its networks were converted for, {own} pixels, and {found} are "
                f"asked for; type model.resolution=<that size>, or {TORCH}"
            )
        return self._graph(x, time.to(torch.float32), *rows)[0]


def computed(models: Models, graphs: Mapping[str, Graph]) -> Models:
    """The same model with these functions in place of its networks, which are let go; the autoencoder stays, which pictures to
    begin from need, and a text encoder whose words may have weights.
    """
    family = models.family
    names = list(family.rows(models))
    gone = {} if family.reads_weights else dict.fromkeys(family.encoders)
    shape = models.latent_shape(1)[1:]
    stand_ins: dict[str, nn.Module] = {name: _Computed(models.modules[name].config) for name in gone}
    stand_ins[family.denoiser] = _Computed(models.denoiser.config, graphs[PREDICT], shape, family.factor(models))

    class Converted(type(family)):  # type: ignore[misc]
        """Of these graphs."""

        def read(self, models: Models, tokens: Conditions) -> Conditions:
            return dict(zip(names, graphs[READ](*tokens.values()), strict=True))

        def predict(
            self,
            models: Models,
            x: torch.Tensor,
            time: torch.Tensor,
            conditions: Conditions,
            pictures: Sequence[Picture],
        ) -> torch.Tensor:
            prediction: torch.Tensor = models.denoiser(x, time, *(conditions[name] for name in names))
            return prediction

        def decode(self, models: Models, latents: torch.Tensor) -> torch.Tensor:
            return graphs[DECODE](latents)[0]

    own: Family = Converted()
    return replace(models, family=own, modules={**models.modules, **stand_ins})
