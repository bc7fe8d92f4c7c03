"""Shards of a model in several processes train as one process with the whole of it, and are stopped and gone on with alike."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from t2i.context import Run
from t2i.errors import ConfigError, UserError
from t2i.interruption import Interrupted
from t2i.models.families.picture import Picture
from t2i.models.load import load
from t2i.processes import Processes
from t2i.randomness import generator
from t2i.store import Store
from t2i.training import shards
from t2i.training.config import LearningRate, NonFinite, Optimizer, Training
from t2i.training.loop import Trainer
from t2i.training.memory import Portion
from t2i.training.objective import Denoiser, objective_of
from t2i.training.parallel import parallel_of
from t2i.training.resuming import checkpoints

from ..models.test_families import MORE, TOYS
from .conftest import STRATEGIES, Start, log_of, training
from .processes import in_processes

CONFIG = training(
    steps=4, batch_size=6, micro_batch=2, ema=0.9, clip_norm=0.5, caption_dropout=0.2, schedule=LearningRate.cosine,
    save_every=2, held_out_images=2,
)  # fmt: skip
SAME = ("step", "epoch", "loss", "gradient_norm", "learning_rate", "samples")


def rank() -> int:
    return int(os.environ["RANK"])


def begun(start: Start, config: Training, folder: str, strategy: str = "unet", precision: str = "no") -> Trainer:
    """In shards, where there are several processes; some pictures are of another shape, and so in a pass of their own."""
    trainer = start(STRATEGIES[strategy], config, folder, precision, shard=True)
    trainer.train_set.sizes = [(1, 2) if i in (2, 7) else size for i, size in enumerate(trainer.train_set.sizes)]
    return trainer


def kept(trainer: Trainer) -> dict[str, torch.Tensor]:
    """Parameters and their average, whole, in the main process. Every process has to ask."""
    average = trainer.average.values if trainer.average is not None else {}
    found = {**trainer.parameters, **{f"average {name}": value for name, value in average.items()}}
    whole: dict[str, Any] = shards.whole(found, keep=trainer.run.main)
    return {name: value.detach() for name, value in whole.items()} if trainer.run.main else {}


def finished(trainer: Trainer, name: str) -> None:
    """Train to the end, and leave what came out in a file of the training's folder."""
    numbers = trainer.fit()
    tensors = kept(trainer)
    if trainer.run.main:
        save_file(tensors, trainer.folder / f"{name}.safetensors")
        (trainer.folder / f"{name}.json").write_text(json.dumps(numbers))


def stopped_after(trainer: Trainer, step: int) -> None:
    """A signal reaches the last process only, in this step (from 1); the training ends with its checkpoint."""
    original, steps = trainer._step, iter(range(1, 1000))
    first = trainer.keeper.newest() or 0

    def stepping(*arguments: Any) -> Any:
        if first + next(steps) == step and rank() == int(os.environ["WORLD_SIZE"]) - 1:
            trainer.run.pending_signal = 15
        return original(*arguments)

    trainer._step = stepping  # type: ignore[method-assign]
    with pytest.raises(Interrupted):
        trainer.fit()
    trainer.run.pending_signal = 0


def together(count: int, work: Callable[[], object]) -> None:
    assert in_processes(count, work) == [0] * count


def losses(path: Path) -> list[float]:
    lines = [line.split(",") for line in (path / "train_log.csv").read_text().splitlines()[1:]]
    return [float(line[2]) for line in lines]


# -- as one process ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "count", "optimizer"), [("unet", 3, Optimizer.sgd), ("both", 2, Optimizer.adamw)], ids=["unet", "both"]
)
def test_shards_train_as_one_process(
    start: Start, tmp_path: Path, strategy: str, count: int, optimizer: Optimizer
) -> None:
    config = replace(CONFIG, optimizer=optimizer, gradient_checkpointing=strategy == "unet")
    finished(begun(start, config, "one", strategy), "end")
    together(count, lambda: finished(begun(start, config, "shards", strategy), "end"))
    one, two = (load_file(tmp_path / folder / "end.safetensors") for folder in ("one", "shards"))
    assert list(one) == list(two) and any(name.startswith("average ") for name in one)
    for name, tensor in one.items():
        # AdamW divides a gradient by its own size: of one that is nearly nothing, the rounding is left
        atol = 1e-4 if optimizer is Optimizer.adamw else 1e-6
        torch.testing.assert_close(two[name], tensor, rtol=1e-5, atol=atol, msg=lambda m, n=name: f"{n}: {m}")
    assert losses(tmp_path / "shards") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    numbers = [json.loads((tmp_path / folder / "end.json").read_text()) for folder in ("one", "shards")]
    for key in ("held_out_loss_before", "held_out_loss", "trainable_parameters", "exported_step"):
        assert numbers[1][key] == pytest.approx(numbers[0][key], rel=1e-5), key


def test_each_process_holds_its_share_and_the_main_one_gathers_the_whole(start: Start, tmp_path: Path) -> None:
    def work() -> None:
        trainer = begun(start, training(steps=1), "shards", "both")
        total = sum(parameter.numel() for parameter in trainer.parameters.values())
        trainer.fit()
        own = [parameter.to_local().numel() for parameter in trainer.parameters.values()]  # type: ignore[attr-defined]
        state = trainer.optimizer.state_dict()["state"].values()
        moments = [entry["exp_avg"].to_local().numel() for entry in state]
        assert sum(own) == sum(moments) < 0.6 * total
        expected, names = kept(trainer), list(trainer.parameters)
        trainer.release()
        trainer.parallel.gather(trainer.models, trainer.strategy)
        if trainer.run.main:
            plain = trainer.strategy.trainable(trainer.models)
            assert list(plain) == names and all(torch.equal(plain[name], expected[name]) for name in names)
            states = trainer.models.family.conditions(trainer.models, ["a red cat"])
            x, time = torch.ones(trainer.models.latent_shape(1)), torch.tensor([3])
            prediction = trainer.models.family.predict(trainer.models, x, time, states, [])
            assert bool(prediction.isfinite().all()), "nothing waits for the others"

    together(2, work)


def test_bfloat16_computes_as_one_process_does(start: Start, tmp_path: Path) -> None:
    config = training(steps=1)

    def work() -> None:
        trainer = begun(start, config, "shards", "both", "bf16")
        trainer.fit()
        assert {parameter.dtype for parameter in trainer.parameters.values()} == {torch.float32}

    begun(start, config, "one", "both", "bf16").fit()
    together(2, work)
    # one rounding of bfloat16 is 0.4 %, and a loss is a mean of thousands
    assert losses(tmp_path / "shards") == pytest.approx(losses(tmp_path / "one"), rel=2e-3)


@pytest.mark.parametrize("family", [*TOYS, *MORE])
def test_every_family_computes_and_learns_alike_in_shards(family: str, tmp_path: Path) -> None:
    """The same batch in two processes and in one: prediction and gradients through the text encoders, and the prediction of
    the networks that the main process gathers.
    """
    config = (TOYS | MORE)[family](tmp_path / "model")

    def work() -> None:
        run = Run(tmp_path, Store(tmp_path / "store"), processes=Processes(shard=True))
        models, strategy = load(config, run.store), STRATEGIES["both"]
        strategy.attach(models)
        parallel = parallel_of(run)
        if models.family.title == "FLUX.2 klein":  # reads its language model without the head
            if run.accelerator.num_processes > 1:
                with pytest.raises(
                    ConfigError, match="strategy=both: the text encoder of FLUX.2 klein .* strategy=unet"
                ):
                    parallel.place(models, strategy, torch.float32)
            strategy = STRATEGIES["unet"]
            strategy.attach(models)
        parallel.place(models, strategy, torch.float32)
        module = parallel.prepare(Denoiser(models, text_trains=True))
        objective = objective_of(models)
        x = torch.from_numpy(generator("shards").standard_normal(models.latent_shape(2)))
        pictures = [Picture.whole((models.resolution, models.resolution))] * 2
        tokens = models.family.tokens(models, ["a red cat", "two buses"])
        output = module(x.float(), objective.tensor(objective.times(2)), tokens, pictures)
        output.pow(2).mean().backward()
        gradients = {name: p.grad for name, p in strategy.trainable(models).items()}
        found = shards.whole({**gradients, "output": output.detach().contiguous()}, keep=run.main)
        parallel.gather(models, strategy)
        if run.main:
            plain = Denoiser(models, text_trains=True)
            again = plain(x.float(), objective.tensor(objective.times(2)), tokens, pictures)
            torch.testing.assert_close(again, output, rtol=1e-5, atol=1e-6)
            save_file(found, tmp_path / f"{run.accelerator.num_processes}.safetensors")

    for count in (1, 2):
        together(count, work)
    one, two = (load_file(tmp_path / f"{count}.safetensors") for count in (1, 2))
    assert list(one) == list(two)
    torch.testing.assert_close(two.pop("output"), one.pop("output"), rtol=1e-5, atol=1e-6)
    atol = 1e-6 * max(float(gradient.abs().max()) for gradient in one.values())
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=atol, msg=lambda m, n=name: f"{n}: {m}")


# -- stopped and gone on with -----------------------------------------------------------------------------------------


def test_a_stopped_training_ends_with_the_same_bits(start: Start, tmp_path: Path) -> None:
    def work() -> None:
        finished(begun(start, CONFIG, "straight"), "end")
        stopped_after(begun(start, CONFIG, "stopped"), 3)
        resumed = begun(start, CONFIG, "stopped")
        assert resumed.keeper.newest() == 3
        finished(resumed, "end")

    together(2, work)
    one, two = (load_file(tmp_path / folder / "end.safetensors") for folder in ("straight", "stopped"))
    assert all(torch.equal(two[name], tensor) for name, tensor in one.items())
    rows = [
        [
            tuple(row.split(",")[:5]) + (row.split(",")[-1],)
            for row in (tmp_path / f / "train_log.csv").read_text().split()
        ]
        for f in ("straight", "stopped")
    ]
    assert rows[0] == rows[1] and len(rows[0]) == 1 + CONFIG.steps


def test_any_number_of_processes_goes_on(start: Start, tmp_path: Path) -> None:
    """2, then 1, then 2, then 3: what is kept is whole, and the same whoever wrote it."""
    config = replace(CONFIG, steps=8, save_every=100, optimizer=Optimizer.sgd)
    straight = begun(start, config, "straight")
    finished(straight, "end")
    together(2, lambda: stopped_after(begun(start, config, "chain"), 2))
    os.environ |= {"RANK": "0", "WORLD_SIZE": "1"}
    try:
        stopped_after(begun(start, config, "chain"), 4)
    finally:
        del os.environ["RANK"], os.environ["WORLD_SIZE"]
    together(2, lambda: stopped_after(begun(start, config, "chain"), 6))
    names = {path.name for path in (tmp_path / "chain" / "checkpoints" / "step_00000006").iterdir()}
    assert names == {*checkpoints.FILES, checkpoints.AVERAGE, "manifest.json"}, "the files of any other training"
    together(3, lambda: finished(begun(start, config, "chain"), "end"))
    one, two = (load_file(tmp_path / folder / "end.safetensors") for folder in ("straight", "chain"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-5, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")
    assert losses(tmp_path / "chain") == pytest.approx([float(row["loss"]) for row in log_of(straight)], rel=1e-5)


def test_the_best_checkpoint_of_shards_is_exported(start: Start, tmp_path: Path) -> None:
    config = replace(CONFIG, steps=6, save_every=2, export_best=True)

    def work() -> None:
        trainer = begun(start, config, "shards")
        values = iter([1.0, 0.5, 0.7, 0.8])
        trainer.held_out_losses = lambda: [next(values)] * 5  # type: ignore[method-assign]
        assert trainer.fit()["exported_step"] == 2
        exported = kept(trainer)
        if trainer.run.main:
            best = checkpoints.read(trainer.keeper.at(2))
            assert all(torch.equal(exported[name], tensor) for name, tensor in best.average.items())

    together(2, work)


# -- what is not finite, or does not fit ------------------------------------------------------------------------------


def test_what_is_not_finite_in_one_process_is_known_to_all(start: Start, tmp_path: Path) -> None:
    def poisoned(config: Training, folder: str) -> Trainer:
        """The pictures of the second process have no finite gradient in the second step."""
        trainer = begun(start, config, folder)
        original, steps = trainer._step, iter(range(1, 100))
        batch, now = trainer.train_set.batch, [0]

        def stepping(*arguments: Any) -> Any:
            now[0] = next(steps)
            return original(*arguments)

        def spoilt(*arguments: Any, **options: Any) -> Any:
            data = batch(*arguments, **options)
            if now[0] == 2 and rank() == 1 and "timesteps" not in options:
                data.latents[0, 0, 0, 0] = float("nan")
            return data

        trainer._step, trainer.train_set.batch = stepping, spoilt  # type: ignore[assignment, method-assign]
        return trainer

    def work() -> None:
        config = training(steps=3, log_every=100)
        with pytest.raises(UserError, match="the gradient of step 2 is not finite"):
            poisoned(config, "stop").fit()
        skipping = poisoned(replace(config, nonfinite=NonFinite.skip), "skip")
        assert skipping.fit()["skipped_steps"] == 1
        broken = begun(start, config, "broken")
        name = next(iter(broken.parameters))
        if rank() == 1:
            with torch.no_grad():
                broken.parameters[name].to_local()[0] = float("inf")  # type: ignore[attr-defined]
        with pytest.raises(UserError, match=f"{name} is no longer finite"):
            broken.keeper.keep(1, broken.history, broken.identity)

    together(2, work)


def test_a_size_that_others_share_is_not_halved() -> None:
    def work(size: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    portion = Portion(16, halves=False)
    with pytest.raises(torch.OutOfMemoryError):
        portion.run(work)
    assert portion.size == 16
