"""The training loop: the same global batches for any number of processes, resumable at any step."""

import contextlib
import csv
import math
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers import DDPMScheduler
from diffusers.optimization import get_scheduler
from tqdm import tqdm

from t2i.context import Interrupted, Run
from t2i.data.captions import batch_order
from t2i.errors import ConfigError, UserError
from t2i.models.blocks import compile_blocks
from t2i.models.load import Models
from t2i.randomness import integer
from t2i.store import digest_of
from t2i.training import checkpoints, optimizers, probe, resume
from t2i.training.config import NonFinite, Optimizer, Training
from t2i.training.dataset import LatentSet
from t2i.training.objective import Denoiser, losses
from t2i.training.optimizers import MovingAverage
from t2i.training.strategies import Strategy

MOST_SKIPPED = 10
"""Steps with a gradient that is not finite which `training.nonfinite=skip` lets pass in one training."""
LOG_COLUMNS = ("step", "epoch", "loss", "gradient_norm", "learning_rate", "images_per_second", "memory_mb", "samples")
ZERO_TERMINAL = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
"""Of a scheduler's configuration: Lin et al. 2023, algorithm 1, and the steps that then start at the last timestep."""


@dataclass
class Trainer:
    """One training: networks with their strategy attached, cached data, and the folder it may resume in."""

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
        self._latest: torch.Tensor | None = None  # what `held_out_losses` found last, picture by picture
        self.accelerator: Accelerator = self.run.accelerator
        self.device = self.accelerator.device
        self.dtype = next(self.models.vae.parameters()).dtype
        self.micro_batch = self.config.micro_batch
        self._communicating = False
        self._writer = checkpoints.Writer(background=self.device.type != "cpu")
        self.parameters = self.strategy.trainable(self.models)
        self.noise_schedule = self._noise_schedule()
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
            num_warmup_steps=self.config.warmup,
            num_training_steps=self.total,
        )

    def _noise_schedule(self) -> DDPMScheduler:
        settings = dict(self.models.scheduler_config)
        if self.config.zero_terminal_snr:
            if settings.get("prediction_type") != "v_prediction":
                raise ConfigError(
                    f"training.zero_terminal_snr=true with model={self.models.name}, which predicts noise: pure noise tells "
                    "nothing about itself; use a model that predicts velocity, or training.zero_terminal_snr=false"
                )
            settings |= ZERO_TERMINAL
            self.models.scheduler_config = settings  # what is exported is sampled as it was trained
        return DDPMScheduler.from_config(settings)

    # -- the loop ----------------------------------------------------------------------------------------------------

    def fit(self) -> dict[str, float]:
        """Train to the last step and return the numbers of the run; raises Interrupted with a checkpoint saved."""
        start, history = self._resume()
        if not history["held_out"]:
            self._measure(0, history)
            history["pictures"] = self._compared(self._latest)
        batches = batch_order(self.config.seed, self.train_set.sizes, self.config.batch_size, start)
        bar = tqdm(total=self.total, initial=start, desc="train", unit="step", disable=not self.run.main)
        clock, since = time.perf_counter(), 0
        with self.run.deferring(), open(self.folder / "train_log.csv", "a", newline="", encoding="utf-8") as file:
            log = csv.writer(file)
            for step in range(start, self.total):
                batch = next(batches)
                loss, norm = self._step(step, batch, history)
                since += len(batch)
                last = step + 1 == self.total
                if (step + 1) % self.config.log_every == 0 or last:
                    self._refuse_late(step, history)
                    value = self._mean(loss)
                    now = time.perf_counter()
                    rate, clock, since = since / (now - clock), now, 0
                    self._log(log, step + 1, batch, value, norm, rate)
                    file.flush()
                    memory = f"{memory_mb(self.device) / 1024:.1f} GiB"
                    bar.set_postfix(loss=f"{value:.4f}", images_s=f"{rate:.1f}", memory=memory)
                bar.update()
                stop = self._stop_requested()
                due = (step + 1) % self.config.save_every == 0 or step + 1 in self.config.milestones
                due = self.config.export_best or step + 1 in self.config.milestones if last else due
                if due:
                    self._measure(step + 1, history)
                if stop or due:
                    self._save(step + 1, history)
                    clock, since = time.perf_counter(), 0
                if stop:
                    bar.close()
                    self._writer.wait()
                    raise Interrupted(stop)
        bar.close()
        self._writer.wait()
        self._require_finite()
        if history["held_out"][-1][0] != self.total:
            self._measure(self.total, history)
        return self._summary(history)

    def _step(
        self, step: int, batch: list[tuple[int, int]], history: dict[str, Any]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One optimizer step over the global batch; the loss and the gradient's norm stay on the device."""
        mine = batch[self.accelerator.process_index :: self.accelerator.num_processes]
        while True:
            try:
                total = self._accumulate(step, mine, self.micro_batch or len(mine))
                break
            except torch.OutOfMemoryError as error:
                self._halve(len(mine), error)
        limit = math.inf if self.config.clip_norm is None else self.config.clip_norm
        norm: torch.Tensor = self.accelerator.clip_grad_norm_(list(self.parameters.values()), limit)
        # In fp16 the scaler expects overflows: it skips such a step itself and lowers its scale.
        known_bad = not self._decided_on_device and self.accelerator.scaler is None and not bool(norm.isfinite())
        if known_bad:
            self._refuse(step, history)
            self.schedule.step()
        else:
            if self._decided_on_device:
                refused = (~norm.isfinite()).float()
                self.optimizer.optimizer.found_inf = refused  # as a gradient scaler tells it
                self._refused += refused
            self.optimizer.step()
            if not self.accelerator.optimizer_step_was_skipped:
                self.schedule.step()
            if self.average is not None:
                self.average.update(step + 1)
        self.optimizer.zero_grad(set_to_none=True)
        return total, norm

    def _accumulate(self, step: int, mine: list[tuple[int, int]], size: int) -> torch.Tensor:
        """Gradients of this process's part of the batch, `size` pictures at a time; returns the mean loss."""
        # Dropout inside adapters is the one consumer of torch's global generator.
        torch.manual_seed(integer(self.config.seed, "dropout", step, self.accelerator.process_index) % 2**31)
        micros = [mine[i : i + size] for i in range(0, len(mine), size)]
        total = torch.zeros((), device=self.device)
        for number, micro in enumerate(micros):
            data = self.train_set.batch(micro, self.config.seed, self.config.caption_dropout, self.device, self.dtype)
            last = number + 1 == len(micros)
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.denoiser):
                each = losses(
                    self.denoiser, self.noise_schedule, data.latents, data.noise, data.timesteps, data.text,
                    self.config.min_snr_gamma, self.dtype,
                )  # fmt: skip
                loss = each.sum() / len(mine)
                self._communicating = last and self.accelerator.num_processes > 1
                self.accelerator.backward(loss)
                self._communicating = False
            total += loss.detach()
        return total

    def _halve(self, count: int, error: torch.OutOfMemoryError) -> None:
        """Half as many pictures at a time from now on; the batch and its gradient stay what they are."""
        size = self.micro_batch or count
        if size == 1 or self._communicating:  # the others already wait for this process's gradients
            raise UserError(
                f"out of memory with {size} pictures at a time; use training.micro_batch={max(1, size // 2)}, "
                "training.gradient_checkpointing=true or launch.mixed_precision=fp16"
            ) from error
        self.micro_batch = size // 2
        self.optimizer.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.run.say(f"out of memory: {self.micro_batch} pictures at a time from now on, in batches as large as before")

    def _refuse(self, step: int, history: dict[str, Any]) -> None:
        """A gradient that is not finite changes nothing: the training stops, or goes on without this step."""
        if self.config.nonfinite is NonFinite.stop:
            raise UserError(f"the gradient of step {step + 1} is not finite; {self._remedy()}")
        history["skipped"].append(step + 1)
        if len(history["skipped"]) > MOST_SKIPPED:
            raise UserError(
                f"the gradients of {len(history['skipped'])} steps were not finite, more than the {MOST_SKIPPED} that "
                f"training.nonfinite=skip lets pass; {self._remedy()}"
            )
        self.run.say(f"step {step + 1} skipped: its gradient is not finite")

    def _refuse_late(self, step: int, history: dict[str, Any]) -> None:
        """The steps since the last look that the device left out, if any."""
        count = int(self._refused) if self._decided_on_device else 0
        self._refused.zero_()
        for _ in range(count):
            self._refuse(step, history)

    def _measure(self, step: int, history: dict[str, Any]) -> None:
        """Add the held-out loss of this step to the history and the tracker."""
        values = {}
        with self.average.in_place() if self.average is not None else contextlib.nullcontext():
            history["held_out"].append([step, *self.held_out_losses()])
            if self.observe is not None:
                self.module.eval()
                values = self.observe(step)
                self.module.train()
        values = {f"validation/{name}": value for name, value in values.items()}
        if self.run.main:
            self.run.tracker.metrics({"train/held_out_loss": history["held_out"][-1][1], **values}, step)

    def held_out_losses(self) -> list[float]:
        """Mean loss over held-out pictures at fixed timesteps and noise, comparable between steps and between runs; then
        the same for each of the equal ranges of timesteps.
        """
        found = self._latest = self._picture_losses(self.held_out, probe.HELD_OUT_EPOCH)
        if not len(found):
            return [math.nan] * (1 + probe.TIMESTEPS)
        ranges = found.mean(dim=0)
        return [float(ranges.mean()), *ranges.tolist()]

    def _picture_losses(self, pictures: LatentSet, epoch: int) -> torch.Tensor:
        """float64 (pictures, timesteps)."""
        count = min(self.config.held_out_images, len(pictures))
        return probe.picture_losses(
            self.module, self.noise_schedule, pictures, count, epoch, self.accelerator, self.dtype
        )

    def _compared(self, held_out: torch.Tensor | None) -> dict[str, list[float]]:
        """The loss of each picture, held-out ones and as many that are trained on, in the same order each time.

        `held_out`: what is known of the former, with the same weights.
        """
        if held_out is None:
            held_out = self._picture_losses(self.held_out, probe.HELD_OUT_EPOCH)
        train = self._picture_losses(self.train_set, probe.TRAIN_EPOCH)
        return {"held_out": held_out.mean(dim=1).tolist(), "train": train.mean(dim=1).tolist()}

    # -- state -------------------------------------------------------------------------------------------------------

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
            self.run.say(f"checkpoint at step {step} of {self.total}")
        self.run.barrier()

    def _resume(self) -> tuple[int, dict[str, Any]]:
        """The step to start from and the facts kept in the checkpoint; train_log.csv is cut back to that step."""
        found = checkpoints.newest(self.folder / "checkpoints")
        if found is None and self.config.resume not in ("auto", "never"):
            place = checkpoints.named(Path(self.config.resume).expanduser())
            found = checkpoints.start_from(place, self.identity, self.config.resume_force)
            if found.step >= self.total:
                raise ConfigError(
                    f"training.resume={place} is at step {found.step} and the training has {self.total}: use more "
                    "training.steps, or an earlier checkpoint"
                )
        if found is not None:
            resume.restore(found, self.parameters, self.optimizer, self.schedule, self.accelerator.scaler)
            for name, tensor in self.average.values.items() if self.average is not None else ():
                tensor.copy_(found.average[name])
            self.run.say(f"resumed from the checkpoint of step {found.step}")
        self.run.barrier()  # everybody has read before the main process writes
        if self.run.main:
            resume.cut_log(self.folder / "train_log.csv", LOG_COLUMNS, found.step if found is not None else 0)
        self.run.barrier()
        history: dict[str, Any] = {"held_out": [], "skipped": [], "pictures": {}}
        if found is None:
            return 0, history
        return found.step, {key: found.facts[key] for key in history}

    # -- numbers -----------------------------------------------------------------------------------------------------

    def _mean(self, loss: torch.Tensor) -> float:
        value = float(self.accelerator.reduce(loss, "mean"))
        if not math.isfinite(value):
            raise UserError(f"the loss became {value}; {self._remedy()}")
        return value

    def _log(self, log, step: int, batch: list[tuple[int, int]], loss: float, norm: torch.Tensor, rate: float) -> None:  # type: ignore[no-untyped-def]
        if not self.run.main:
            return
        # The digest of the sample ids lets two logs be compared for the order of the data.
        samples = digest_of([[epoch, self.train_set.ids[i]] for epoch, i in batch])[:12]
        learning_rate = self.schedule.get_last_lr()[0]
        memory = memory_mb(self.device)
        log.writerow(
            [
                step,
                batch[-1][0],
                repr(loss),
                f"{float(norm):.6g}",
                f"{learning_rate:.6g}",
                f"{rate:.2f}",
                f"{memory:.0f}",
                samples,
            ]
        )
        values = {"loss": loss, "gradient_norm": float(norm), "learning_rate": learning_rate, "images_per_second": rate}
        self.run.tracker.metrics({f"train/{name}": value for name, value in values.items()}, step)

    def _stop_requested(self) -> int:
        """The signal that arrived at any process (all must leave the loop at the same step), or 0."""
        if self.accelerator.num_processes == 1:
            return self.run.pending_signal
        flag = torch.tensor(self.run.pending_signal, device=self.device)
        return int(self.accelerator.gather(flag.reshape(1)).max())

    def _choose(self, history: dict[str, Any]) -> int:
        """Leave in the parameters what is exported: the best step's, or the last one's; their average where there is one."""
        step = self.best_step(history) if self.config.export_best else self.total
        found = checkpoints.read(self.folder / "checkpoints" / f"step_{step:08d}") if step != self.total else None
        last = self.average.values if self.average is not None else {}
        chosen = (found.average or found.parameters) if found is not None else last
        with torch.no_grad():
            for name, tensor in chosen.items():
                self.parameters[name].copy_(tensor)
        return step

    def _summary(self, history: dict[str, Any]) -> dict[str, float]:
        with open(self.folder / "train_log.csv", newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
        tail = [float(line["loss"]) for line in lines[-max(1, len(lines) // 5) :]]
        rates = sorted(float(line["images_per_second"]) for line in lines)
        step = self._choose(history)
        known = self._latest if step == history["held_out"][-1][0] else None
        rows = [row[:2] for row in history["held_out"]]
        self.measured = probe.Losses(rows, history["pictures"], self._compared(known))
        before, after = history["held_out"][0], next(row for row in history["held_out"] if row[0] == step)
        top = self.noise_schedule.config["num_train_timesteps"] // probe.TIMESTEPS
        ranges = [f"{k * top}-{(k + 1) * top - 1}" for k in range(probe.TIMESTEPS)]
        return {
            "final_loss": sum(tail) / len(tail),
            "held_out_loss_before": before[1],
            "held_out_loss": after[1],
            **{f"held_out_loss/{name}": value for name, value in zip(ranges, after[2:], strict=True)},
            "exported_step": float(step),
            "skipped_steps": float(len(history["skipped"])),
            "images_per_second": rates[len(rates) // 2],
            "peak_memory_mb": memory_mb(self.device),
            "steps": float(self.total),
            "trainable_parameters": float(sum(p.numel() for p in self.parameters.values())),
        }


def memory_mb(device: torch.device) -> float:
    """Peak memory so far in MiB: of the GPU's allocator, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
