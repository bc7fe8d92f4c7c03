"""The training loop: the same global batches for any number of processes, resumable at any step."""

import contextlib
import csv
import math
import resource
import sys
import time
from typing import Any

import torch
from tqdm import tqdm

from t2i.data.captions import batch_order
from t2i.errors import UserError
from t2i.interruption import Interrupted
from t2i.randomness import integer
from t2i.store import digest_of
from t2i.training import probe
from t2i.training.config import NonFinite
from t2i.training.dataset import LatentSet, of_one_size
from t2i.training.objective import losses
from t2i.training.state import State, bits_of
from t2i.training.stopping import warn_of_long_steps

MOST_SKIPPED = 10
"""Steps with a gradient that is not finite which `training.nonfinite=skip` lets pass in one training."""


class Trainer(State):
    """One training, from its first step or a checkpoint to its last."""

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
