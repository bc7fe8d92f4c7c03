"""What a training consists of between two steps: made, saved, and brought back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers.optimization import get_scheduler

from t2i.context import Run
from t2i.errors import ConfigError, UserError
from t2i.models.blocks import compile_blocks
from t2i.models.load import Models
from t2i.training import checkpoints, noise, optimizers, probe, resume
from t2i.training.config import Optimizer, Training
from t2i.training.dataset import LatentSet
from t2i.training.memory import Portion
from t2i.training.objective import Denoiser
from t2i.training.optimizers import MovingAverage
from t2i.training.stopping import StopFlag
from t2i.training.strategies import Strategy

LOG_COLUMNS = ("step", "epoch", "loss", "gradient_norm", "learning_rate", "images_per_second", "memory_mb", "samples")


@dataclass
class State:
    """Networks with their strategy attached, cached data, optimizer and schedule, and the folder they may resume in."""

    config: Training
    strategy: Strategy
    models: Models
    run: Run
    train_set: LatentSet
    held_out: LatentSet
    folder: Path
    identity: dict[str, Any] = field(default_factory=dict)
    """What the weights are a function of, as flat JSON values: a checkpoint of another identity is refused."""
    observe: Callable[[int], dict[str, float]] | None = None
    """Called by every process at step 0, at every checkpoint and at the end, with the weights that would be exported in
    place; the numbers it returns in the main process are recorded."""

    def __post_init__(self) -> None:
        self.measured: probe.Losses | None = None  # after `fit`
        self._measured = self.config.held_out_images
        self._latest: torch.Tensor | None = None  # what `held_out_losses` found last, picture by picture
        self.accelerator: Accelerator = self.run.accelerator
        self.device = self.accelerator.device
        self.dtype = next(self.models.vae.parameters()).dtype
        share = self.config.batch_size // self.accelerator.num_processes
        self.portion = Portion(self.config.micro_batch or share, self._fewer)
        self._probe = Portion(probe.AT_ONCE)
        self.stop = StopFlag(self.run, self.accelerator)
        self._writer = checkpoints.Writer(background=self.device.type != "cpu")
        self.parameters = self.strategy.trainable(self.models)
        self._untrained = bits_of(self.parameters)
        noise.settle(self.config, self.models)
        self.noise_schedule = noise.schedule(self.models)
        self.total = self.config.total_steps(len(self.train_set))
        text_trains = "text_encoder" in self.strategy.modules()
        # nn.Module keeps a frozen text encoder out of the wrapper: its states come from the cache.
        self.module = Denoiser(self.models.unet, self.models.text_encoder if text_trains else None).train()
        if self.config.gradient_checkpointing:
            self.models.unet.enable_gradient_checkpointing()
        if self.config.attention_slicing:
            self.models.unet.set_attention_slice("auto")
        if self.config.channels_last:
            self.models.unet.to(memory_format=torch.channels_last)
        if self.config.compile:
            compile_blocks(self.models.unet)
        self.average = MovingAverage(self.parameters, self.config.ema) if self.config.ema is not None else None
        self.denoiser = self.accelerator.prepare(self.module)
        self.optimizer = self.accelerator.prepare(
            optimizers.build(self.config, self.strategy, self.parameters, self.device)
        )
        # The fused update reads on the device whether it shall happen: asking here would wait for the device in every step.
        self._decided_on_device = (
            self.device.type == "cuda"
            and self.accelerator.scaler is None
            and (self.config.optimizer is Optimizer.adamw)
        )
        self._refused = torch.zeros((), device=self.device)
        self.schedule = get_scheduler(
            self.config.schedule.value if self.config.schedule.value != "constant" else "constant_with_warmup",
            self.optimizer.optimizer if hasattr(self.optimizer, "optimizer") else self.optimizer,
            num_warmup_steps=self.config.warmup_steps(self.total),
            num_training_steps=self.total,
        )

    def _fewer(self, size: int) -> None:
        """`size` pictures at a time from now on; the batch and its gradient stay what they are."""
        self.optimizer.zero_grad(set_to_none=True)
        self.run.say(f"out of memory: {size} pictures at a time from now on, in batches as large as before")

    def _require_finite(self) -> None:
        """Weights that are not finite are worth nothing: they may not replace a checkpoint, nor be exported."""
        for name, parameter in self.parameters.items():
            if not bool(parameter.isfinite().all()):
                raise UserError(f"{name} is no longer finite; {self._remedy()}")

    def _remedy(self) -> str:
        rate = self.strategy.learning_rate
        return f"use a smaller strategy.learning_rate (now {rate}) or launch.mixed_precision=no"

    def best_step(self, history: dict[str, Any]) -> int:
        """The measured step with the lowest held-out loss."""
        return int(min(history["held_out"][1:] or [[0, 0.0]], key=lambda row: row[1])[0])

    def _save(self, step: int, history: dict[str, Any]) -> None:
        self._require_finite()
        if self.run.main:
            optimizer = {
                "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule.state_dict(),
                "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler is not None else {},
            }
            average = self.average.values if self.average is not None else None
            protect = {*self.config.milestones, self.best_step(history)}
            folder, keep = self.folder / "checkpoints", self.config.keep
            facts = {**history, "identity": self.identity}
            self._writer.save(folder, step, self.parameters, optimizer, facts, keep, average, protect)
            self.run.detail(f"checkpoint at step {step} of {self.total}")
        self.run.barrier()

    def _resume(self) -> tuple[int, dict[str, Any]]:
        """The step to start from and the facts kept in the checkpoint; train_log.csv is cut back to that step."""
        found, forced = self._found()
        history: dict[str, Any] = {"held_out": [], "skipped": [], "pictures": {}}
        if found is not None:
            history |= {key: found.facts[key] for key in history}
            self._take(found, forced, history)
            self.run.say(f"resumed from the checkpoint of step {found.step}")
        self.run.barrier()  # everybody has read before the main process writes
        if self.run.main:
            resume.cut_log(self.folder / "train_log.csv", LOG_COLUMNS, found.step if found is not None else 0)
        self.run.barrier()
        return found.step if found is not None else 0, history

    def _found(self) -> tuple[checkpoints.Checkpoint | None, bool]:
        """The checkpoint to go on from, the same one in every process; and whether it is one of another configuration."""
        folder = self.folder / "checkpoints"
        step = self.run.tell(lambda: self._newest(folder))
        if step is not None:
            return checkpoints.read(folder / f"step_{step:08d}"), False
        if self.config.resume in ("auto", "never"):
            return None, False
        place = checkpoints.named(Path(self.config.resume).expanduser())
        found = checkpoints.start_from(place, self.identity, self.config.resume_force)
        if found.step >= self.total:
            raise ConfigError(
                f"training.resume={place} is at step {found.step} and the training has {self.total}: use more "
                "training.steps, or an earlier checkpoint"
            )
        return found, bool(checkpoints.differences(found.facts["identity"], self.identity))

    def _newest(self, folder: Path) -> int | None:
        """The step of the newest intact checkpoint. Where the best one is exported and is damaged, that of one before it:
        the same steps are done again.
        """
        found = checkpoints.newest(folder)
        while found is not None and self.config.export_best:
            best = self.best_step(found.facts)
            if best in (0, found.step) or checkpoints.intact(folder / f"step_{best:08d}"):
                break
            self.run.say(f"the best checkpoint, of step {best}, is damaged: the training goes back to one before it")
            found = checkpoints.newest(folder, before=best)
        return found.step if found is not None else None

    def _take(self, found: checkpoints.Checkpoint, forced: bool, history: dict[str, Any]) -> None:
        """Put a checkpoint's state and history into this training."""
        state = self.parameters, self.optimizer, self.schedule, self.accelerator.scaler
        if forced:
            for sentence in resume.adopt(found, self.identity, *state):
                self.run.say(sentence)
            changed = checkpoints.differences(found.facts["identity"], self.identity)
            if {"model", "data"} & set(changed):  # what was measured before is of something else
                history |= {"held_out": [], "pictures": {}}
        else:
            resume.restore(found, *state)
        for name, tensor in self.average.values.items() if self.average is not None else ():
            tensor.copy_((found.average or self.parameters)[name])  # where none was kept, it begins here
        measured = len(history["pictures"].get("held_out", ()))
        if measured and measured != min(self._measured, len(self.held_out)):
            self.run.say(
                f"training.held_out_images={self._measured}: the training began with {measured} and goes on with them, as "
                "its numbers are compared"
            )
            self._measured = measured
        missed = [step for step in self.config.milestones if step <= found.step and not self._keeps(step)]
        if missed and self.config.resume == "auto":  # a checkpoint that was named keeps its own company
            self.run.say(
                f"training.milestones={missed} are past and their checkpoints were not kept; training.resume=never starts "
                "afresh"
            )

    def _keeps(self, step: int) -> bool:
        return (self.folder / "checkpoints" / f"step_{step:08d}").exists()

    def _best(self, step: int) -> dict[str, torch.Tensor]:
        path = self.folder / "checkpoints" / f"step_{step:08d}"
        try:
            found = checkpoints.read(path)
        except Exception as error:  # whatever is wrong with it
            raise UserError(
                f"the best checkpoint {path} is damaged ({checkpoints.reason(error)}); repeat the command: the training "
                "goes on from the one before it"
            ) from error
        return found.average or found.parameters

    def release(self) -> None:
        """Free the optimizer's state, the gradients and what processes exchange them through: what follows the last step
        needs the room.
        """
        self.optimizer.zero_grad(set_to_none=True)
        self.optimizer.optimizer.state.clear()
        if self.average is not None:
            self.average.values.clear()
        self.denoiser = self.module
        self.accelerator.free_memory()


def bits_of(parameters: Mapping[str, torch.Tensor]) -> list[int]:
    """The sum of every tensor's bits: differs wherever anything was trained."""
    return [int(tensor.detach().view(torch.int32).sum(dtype=torch.int64)) for tensor in parameters.values()]
