"""The training loop: the same global batches for any number of processes, resumable at any step."""

import contextlib
import csv
import math
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers.optimization import get_scheduler
from tqdm import tqdm

from t2i.context import Interrupted, Run
from t2i.data.captions import batch_order
from t2i.errors import ConfigError, UserError
from t2i.models.blocks import compile_blocks
from t2i.models.load import Models
from t2i.randomness import integer
from t2i.store import digest_of
from t2i.training import checkpoints, noise, optimizers, probe, resume
from t2i.training.config import NonFinite, Optimizer, Training
from t2i.training.dataset import LatentSet, of_one_size
from t2i.training.memory import Portion
from t2i.training.objective import Denoiser, losses
from t2i.training.optimizers import MovingAverage
from t2i.training.stopping import StopFlag, warn_of_long_steps
from t2i.training.strategies import Strategy

MOST_SKIPPED = 10
"""Steps with a gradient that is not finite which `training.nonfinite=skip` lets pass in one training."""
LOG_COLUMNS = ("step", "epoch", "loss", "gradient_norm", "learning_rate", "images_per_second", "memory_mb", "samples")


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

    # -- the loop ----------------------------------------------------------------------------------------------------

    def fit(self) -> dict[str, float]:
        """Train to the last step and return the numbers of the run; raises Interrupted with a checkpoint saved."""
        start, history = self._resume()
        if not history["held_out"]:
            self._measure(start, history)
            history["pictures"] = self._compared(self._latest)
        batches = batch_order(self.config.seed, self.train_set.sizes, self.config.batch_size, start)
        bar = tqdm(total=self.total, initial=start, desc="train", unit="step", disable=not self.run.main)
        clock, since, warned = time.perf_counter(), 0, False
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
                    seconds, rate = (now - clock) * len(batch) / since, since / (now - clock)
                    warned = warned or warn_of_long_steps(self.run, seconds)
                    clock, since = now, 0
                    self._log(log, step + 1, batch, value, norm, rate)
                    file.flush()
                    memory = f"{memory_mb(self.device) / 1024:.1f} GiB"
                    bar.set_postfix(loss=f"{value:.4f}", images_s=f"{rate:.1f}", memory=memory)
                bar.update()
                # The last step is saved too: whatever goes wrong with measuring and exporting, the training is not lost.
                due = (step + 1) % self.config.save_every == 0 or step + 1 in self.config.milestones or last
                stop = self.stop.look(at_once=due)
                if due:
                    self._measure(step + 1, history)
                if stop or due:
                    self._save(step + 1, history)
                    clock, since = time.perf_counter(), 0
                if stop:
                    bar.close()
                    self._writer.wait()
                    self.run.barrier()  # nobody leaves before the checkpoint is on the disk: the others would be ended
                    raise Interrupted(stop)
        bar.close()
        self._writer.wait()
        return self._summary(history)

    def _step(
        self, step: int, batch: list[tuple[int, int]], history: dict[str, Any]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One optimizer step over the global batch; the loss and the gradient's norm stay on the device."""
        mine = batch[self.accelerator.process_index :: self.accelerator.num_processes]
        try:
            total = self.portion.run(lambda size: self._accumulate(step, mine, size))
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"out of memory with {self.portion.size} pictures at a time; use "
                f"training.micro_batch={max(1, self.portion.size // 2)}, training.gradient_checkpointing=true or "
                "launch.mixed_precision=fp16"
            ) from error
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
            self._update()
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
        micros = list(of_one_size(self.train_set.sizes, mine, size))
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
                self._backward(loss, communicating=last and self.accelerator.num_processes > 1)
            total += loss.detach()
        return total

    def _backward(self, loss: torch.Tensor, communicating: bool) -> None:
        try:
            self.accelerator.backward(loss)
        except torch.OutOfMemoryError as error:
            if not communicating:
                raise
            raise UserError(  # the others already wait for this process's gradients: it cannot begin again
                f"out of memory with {self.portion.size} pictures at a time, while processes add up their gradients; use "
                f"training.micro_batch={max(1, self.portion.size // 2)}, training.gradient_checkpointing=true or "
                "launch.mixed_precision=fp16"
            ) from error

    def _fewer(self, size: int) -> None:
        """`size` pictures at a time from now on; the batch and its gradient stay what they are."""
        self.optimizer.zero_grad(set_to_none=True)
        self.run.say(f"out of memory: {size} pictures at a time from now on, in batches as large as before")

    def _update(self) -> None:
        """The optimizer's step; its first one makes the moments, as large as the parameters or twice that."""
        try:
            self.optimizer.step()
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"out of memory in the step of training.optimizer={self.config.optimizer.value}, whose state does not fit; use "
                "training.optimizer=adafactor, adamw_8bit or sgd, or strategy=lora"
            ) from error

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
        count = min(self._measured, len(pictures))
        return probe.picture_losses(
            self.module, self.noise_schedule, pictures, count, epoch, self.accelerator, self.dtype, self._probe
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
        step = self.run.tell(self._newest(folder) if self.run.main else None)
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
        if missed:
            self.run.say(
                f"training.milestones={missed} are past and their checkpoints were not kept; training.resume=never starts "
                "afresh"
            )

    def _keeps(self, step: int) -> bool:
        return (self.folder / "checkpoints" / f"step_{step:08d}").exists()

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

    def _choose(self, history: dict[str, Any]) -> int:
        """Leave in the parameters what is exported: the best step's, or the last one's; their average where there is one."""
        step = self.best_step(history) if self.config.export_best else self.total
        last = self.average.values if self.average is not None else {}
        chosen = self._best(step) if step != self.total else last
        with torch.no_grad():
            for name, tensor in chosen.items():
                self.parameters[name].copy_(tensor)
        if bits_of(self.parameters) == self._untrained:
            raise UserError(
                f"the training changed no weight in {self.total} steps: there is nothing that could be called tuned; "
                f"use a larger strategy.learning_rate (now {self.strategy.learning_rate}) or more training.steps"
            )
        return step

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
        """Free the optimizer's state and the gradients: what follows the last step needs the room."""
        self.optimizer.zero_grad(set_to_none=True)
        self.optimizer.optimizer.state.clear()
        if self.average is not None:
            self.average.values.clear()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

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


def bits_of(parameters: Mapping[str, torch.Tensor]) -> list[int]:
    """The sum of every tensor's bits: differs wherever anything was trained."""
    return [int(tensor.detach().view(torch.int32).sum(dtype=torch.int64)) for tensor in parameters.values()]


def memory_mb(device: torch.device) -> float:
    """Peak memory so far in MiB: of the GPU's allocator, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
