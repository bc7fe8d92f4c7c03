"""What makes the benches fast, counted instead of timed: no load on the machine changes these numbers."""

import itertools
import math
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from t2i.config import compose
from t2i.evaluation.metrics.kid import kernel_distance
from t2i.evaluation.metrics.memorisation import nearest_training
from t2i.evaluation.metrics.prdc import precision_recall_density_coverage
from t2i.evaluation.statistics.gaussian import Gaussian
from t2i.models.load import Models, load
from t2i.models.source import architecture
from t2i.sampling.config import Guidance, Scheduler
from t2i.sampling.sampler import encode, sample
from t2i.store import Store
from t2i.training import optimizers
from t2i.training.attention import Attn2ToV
from t2i.training.objective import Batch, Denoiser, losses, objective_of
from t2i.training.resuming import checkpoints
from t2i.training.strategies import Strategy, UNet

from .conftest import PROJECT, SCENES, TOY, Ended, Lab
from .models.toy import loaded, run, states, store, toy
from .training.conftest import STRATEGIES, Start, start, training

__all__ = ["loaded", "run", "start", "store", "toy"]


@pytest.fixture
def models(tmp_path: Path) -> Models:
    return load(compose([]).model, Store(tmp_path))


def flops(models: Models, strategy: Strategy) -> int:
    """Of one training step of two pictures whose latents and text states are cached."""
    strategy.attach(models)
    noise = torch.randn(models.latent_shape(2), generator=torch.Generator().manual_seed(0))
    text = states(models, ["a cat", "a bus"])
    with FlopCounterMode(display=False) as counter:
        batch = Batch(noise, noise, torch.tensor([5, 900]), {"states": text})
        losses(Denoiser(models, False), objective_of(models), batch).mean().backward()
    return counter.get_total_flops()


def test_a_cached_step_of_to_v_computes_at_most_three_fifths_of_the_usual_one() -> None:
    """Stable Diffusion 1.x at 512 pixels, counted without memory on the meta device."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    parts = architecture(compose(["model=sd15", "model.init=random"]).model)
    with torch.device("meta"):
        unet, vae = UNet2DConditionModel(**parts["unet"]), AutoencoderKL(**parts["vae"])
        encoder = CLIPTextModel(CLIPTextConfig(**parts["text_encoder"]))
        latents, states = torch.zeros(1, 4, 64, 64), torch.zeros(1, 77, 768)
        pixels, tokens = torch.zeros(1, 3, 512, 512), torch.zeros(1, 77, dtype=torch.long)
    for name, parameter in unet.named_parameters():
        parameter.requires_grad_(Attn2ToV().chooses(name))
    with FlopCounterMode(display=False) as step:
        unet(latents, torch.zeros(1, device="meta"), encoder_hidden_states=states).sample.pow(2).mean().backward()
    with FlopCounterMode(display=False) as encoders, torch.no_grad():
        vae.encode(pixels)
        encoder(tokens)
    ours, usual = step.get_total_flops(), step.get_total_flops() + encoders.get_total_flops()
    assert ours / usual <= 0.60
    assert ours / 1e12 == pytest.approx(1.666, rel=0.02)  # counted independently: 1.666 TFLOP


def test_frozen_weights_cost_no_gradients(models: Models) -> None:
    """A whole step is forward, gradients of the data and of the weights: three parts. Of the last, to_v needs 1 %."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        text = states(models, ["a cat", "a bus"])
        models.unet(torch.zeros(models.latent_shape(2)), 5, encoder_hidden_states=text)
    forward = counter.get_total_flops() - _text_flops(models)
    assert flops(models, UNet()) / forward == pytest.approx(3.0, abs=0.1)
    assert flops(models, Attn2ToV()) / forward < 2.1


def _text_flops(models: Models) -> int:
    with FlopCounterMode(display=False) as counter:
        states(models, ["a cat", "a bus"])
    return counter.get_total_flops()


def test_sampling_evaluates_the_network_once_a_step_and_batch_and_each_prompt_once(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = {"unet": 0, "texts": 0, "decoded": 0}

    def counted(name: str, function: Callable[..., Any], size: Callable[..., int]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **options: Any) -> Any:
            calls[name] += size(*arguments)
            return function(*arguments, **options)

        return wrapper

    monkeypatch.setattr(models.unet, "forward", counted("unet", models.unet.forward, lambda *_: 1))
    monkeypatch.setattr(
        models.text_encoder, "forward", counted("texts", models.text_encoder.forward, lambda ids: len(ids))
    )
    monkeypatch.setattr(models.vae, "decode", counted("decoded", models.vae.decode, lambda latents: len(latents)))
    prompts = ["a cat", "a bus", "a cat", "a dog", "a cat"]
    scheduler, guidance = Scheduler(name="ddim", type="DDIMScheduler", steps=3), Guidance()
    list(sample(models, encode(models, prompts, guidance), range(5), scheduler, guidance, 2))
    assert calls == {"unet": math.ceil(5 / 2) * 3, "texts": 3 + 1, "decoded": 5}


def test_a_sweep_encodes_each_prompt_once_for_all_its_cells(
    lab: Lab, main_job: Ended, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import CLIPTextModel

    encoded: list[tuple[int, ...]] = []
    original = CLIPTextModel.forward

    def forward(self: Any, input_ids: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        if self.config.num_hidden_layers == 4:  # the conditioner's; the evaluator, which reads texts too, has 3
            encoded.extend(map(tuple, input_ids.tolist()))
        return original(self, input_ids, *arguments, **options)

    monkeypatch.setattr(CLIPTextModel, "forward", forward)
    space = "sweeps.space={scheduler:[ddim,euler],cfg.scale:[3.25,4.25]}"
    ended = lab.here("task=sweep", *SCENES, *TOY, "sweeps.fixed={scheduler.steps:2,eval.images:6}", space)
    assert ended.status == 0 and ended.metrics["new_cells"] == 4
    # Once more than that: the wiring check of this process asks for two texts of its own.
    assert len(encoded) - 2 == 6 + 1, "captions and the empty prompt"


def test_a_training_asks_neither_encoder_nor_the_device_between_two_lines_of_its_log(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, whose fused update decides there whether it happens. Reading a number would wait for the device."""
    from t2i.training import optimizers

    def fused(config: Any, strategy: Any, parameters: Any, device: Any) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters.values(), lr=1e-3, fused=True)

    monkeypatch.setattr(optimizers, "build", fused)
    trainer = start(STRATEGIES["attn2_to_v"], training(steps=9, log_every=3, held_out_images=0), "waits")
    trainer.recovery.decided_on_device = True
    reads: list[int] = []
    steps = itertools.count(1)
    current = 0
    original_step = trainer._step

    def step(*arguments: Any) -> Any:
        nonlocal current
        current = next(steps)
        return original_step(*arguments)

    def watched(name: str) -> Callable[..., Any]:
        original = getattr(torch.Tensor, name)

        def wrapper(*arguments: Any, **options: Any) -> Any:
            if "/t2i/" in sys._getframe(1).f_code.co_filename and current:
                reads.append(current)
            return original(*arguments, **options)

        return wrapper

    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("an encoder was asked although its output is kept")

    monkeypatch.setattr(trainer, "_step", step)
    for name in ("item", "__bool__", "__float__", "__int__", "tolist", "cpu", "numpy"):
        monkeypatch.setattr(torch.Tensor, name, watched(name))
    monkeypatch.setattr(trainer.models.vae, "encode", refuse)
    monkeypatch.setattr(trainer.models.text_encoder, "forward", refuse)
    trainer.fit()
    assert set(reads) == {3, 6, 9}


def test_a_checkpoint_of_to_v_is_a_small_part_of_the_network(models: Models, tmp_path: Path) -> None:
    strategy = Attn2ToV()
    strategy.attach(models)
    parameters = strategy.trainable(models)
    optimizer = torch.optim.AdamW(parameters.values())
    sum((p**2).sum() for p in parameters.values()).backward()  # type: ignore[union-attr]
    optimizer.step()
    path = checkpoints.save(tmp_path, 1, parameters, {"optimizer": optimizer.state_dict()}, {}, 2)
    kept = sum(file.stat().st_size for file in path.iterdir())
    network = sum(p.numel() * p.element_size() for p in models.unet.parameters())
    assert kept < 1.1 * 3 * 4 * strategy.expected(models) + 20_000, "values and two moments in float32"
    assert network / kept > 10


def test_adamw_updates_all_parameters_of_a_network_in_one_operation(models: Models) -> None:
    """Its loop over parameters took a third of a step of the bundled U-Net on a CPU; the results are the loop's."""
    strategy = UNet()
    strategy.attach(models)
    parameters = strategy.trainable(models)
    for number, parameter in enumerate(parameters.values()):
        parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)) / 100
    twins = [parameter.detach().clone().requires_grad_() for parameter in parameters.values()]
    for twin, parameter in zip(twins, parameters.values(), strict=True):
        assert parameter.grad is not None
        twin.grad = parameter.grad.clone()
    config = compose(["strategy=unet"]).training
    optimizer = optimizers.build(config, strategy, parameters, torch.device("cpu"))
    peer = torch.optim.AdamW(twins, lr=strategy.rate("unet"), weight_decay=config.weight_decay, foreach=False)
    optimizer.step()  # the moments
    peer.step()
    with Counted() as counted:
        optimizer.step()
    peer.step()
    assert counted.operations < len(parameters) / 10
    for parameter, twin in zip(parameters.values(), twins, strict=True):
        torch.testing.assert_close(parameter, twin, rtol=1e-5, atol=1e-8)


class Counted(TorchDispatchMode):
    """Counts the operations inside of it that are asked for on tensors of two numbers or more."""

    operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        first = args[0] if args else None
        self.operations += isinstance(first, list) or (isinstance(first, torch.Tensor) and first.numel() > 1)
        return func(*args, **(kwargs or {}))


def test_help_loads_no_heavy_library() -> None:
    command = [sys.executable, "-X", "importtime", str(PROJECT / "run.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=PROJECT)
    loaded = {line.rsplit("|", 1)[1].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    heavy = {
        "torch",
        "diffusers",
        "transformers",
        "datasets",
        "mlflow",
        "optuna",
        "matplotlib",
        "scipy",
        "gradio",
        "pandas",
    }
    assert not loaded & heavy


def peak(work: Callable[[], object]) -> int:
    """Bytes that numpy holds at most while it works."""
    tracemalloc.start()
    work()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


@pytest.mark.parametrize(
    "work",
    [
        lambda x, y: precision_recall_density_coverage(x, y),
        lambda x, y: kernel_distance(x, y),
        lambda x, y: nearest_training(x, y),
    ],
)
def test_all_pairs_are_looked_at_tile_by_tile(work: Callable[[np.ndarray, np.ndarray], object]) -> None:
    """12,000 samples a side: a matrix of all pairs would take 1,099 MiB, 1,024 rows of it 94; a tile takes 8."""
    x, y = (np.random.default_rng(key).standard_normal((12_000, 2)) for key in (0, 1))
    assert peak(lambda: work(x, y)) < 6 * 1024**2 * 8


def test_a_covariance_takes_half_the_products_and_no_copy_of_the_features(monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy.linalg import blas

    products: list[tuple[int, ...]] = []
    whole = blas.dsyrk
    monkeypatch.setattr(
        blas, "dsyrk", lambda scale, rows, **more: (products.append(rows.shape), whole(scale, rows, **more))[1]
    )
    features = np.random.default_rng(0).standard_normal((20_000, 600))
    assert peak(lambda: Gaussian.of(features)) < 3 * 8 * 600**2 + 8 * 520 * 600 < features.nbytes / 8
    assert sum(samples for _, samples in products) == 20_000 and {width for width, _ in products} == {600}


@pytest.mark.parametrize(("samples", "reference", "largest"), [(60, 100, 60), (150, 40, 39)])
def test_fid_infinity_takes_eigenvalues_of_the_smaller_matrix_once_a_point(
    samples: int, reference: int, largest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from t2i.evaluation.metrics import fid_infinity, fid_pool

    sizes: list[int] = []
    whole = fid_pool.eigenvalues
    monkeypatch.setattr(fid_pool, "eigenvalues", lambda square: (sizes.append(len(square)), whole(square))[1])
    x, y = (np.random.default_rng(key).standard_normal((count, 200)) for key, count in ((0, samples), (1, reference)))
    points, _ = fid_infinity.fid_points(x, y)
    assert sizes == [min(int(size), reference - 1) for size in points] and len(sizes) == 15
    assert sizes[0] == samples // 10 and sizes[-1] == largest
