"""The training loop: the same global batches for any number of processes, resumable at any step."""

import contextlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from tqdm import tqdm

from t2i.errors import UserError
from t2i.randomness import integer
from t2i.store import digest_of
from t2i.training import probe, shards
from t2i.training.history import History, by_range
from t2i.training.memory import Portion, memory_mb
from t2i.training.objective import Batch, losses
from t2i.training.prior import Pictures
from t2i.training.resuming.lines import Pace
from t2i.training.resuming.stopping import warn_of_long_steps
from t2i.training.state import PRIOR_LOSS, State


class Trainer(State):
    """One training, from its first step or a checkpoint to its last."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._untrained = shards.bits_of(self.parameters)
        self.history = History()
        self.measured: probe.Losses | None = None  # after `fit`
        self._measured = self.config.held_out_images
        self._held = torch.zeros(())  # the prior's part of the last step's loss, in this process, times their number
        self._latest: torch.Tensor | None = None  # what `held_out_losses` found last, picture by picture
        self._probe = Portion(probe.AT_ONCE, halves=not self.parallel.in_step)
        self._warned = False

    # -- the loop ----------------------------------------------------------------------------------------------------

    def fit(self) -> dict[str, float]:
        """Train to the last step and return the numbers of the run; raises Interrupted with a checkpoint saved."""
        start = self._resume()
        if not self.history.held_out:
            self._measure(start)
            self.history.pictures = self._compared(self._latest)
        batches = self.train_set.batches(start)
        bar = tqdm(total=self.total, initial=start, desc="train", unit="step", disable=not self.run.main)
        pace = Pace()
        with self.run.deferring(), self.keeper.lines.adding() as add:
            for step, batch in zip(range(start, self.total), batches, strict=False):
                loss, norm = self._step(step, batch)
                pace.count(len(batch))
                last = step + 1 == self.total
                if (step + 1) % self.config.log_every == 0 or last:
                    self.recovery.late(step, self.history)
                    self._log(step + 1, batch, self._mean(loss), norm, pace, add, bar)
                bar.update()
                # The last step is saved too: whatever goes wrong with measuring and exporting, the training is not lost.
                due = (step + 1) % self.config.save_every == 0 or step + 1 in self.config.milestones or last
                stop = self.stop.look(at_once=due)
                if due:
                    self._measure(step + 1)
                if stop or due:
                    self.keeper.keep(step + 1, self.history, self.identity)
                    pace.restart()
                if stop:
                    bar.close()
                    self.keeper.leave(stop)
        bar.close()
        self.keeper.wait()
        return self._summary()

    def _resume(self) -> int:
        """The step to start from, with everything as its checkpoint has it; train_log.csv is cut back to that step."""
        found, forced = self.keeper.chosen(self.identity)
        if found is not None:
            self.history = self.keeper.take(found, forced, self.identity)
            self._measure_as_many()
            self.keeper.tell_missed(found.step)
        return self.keeper.begin(found)

    def _step(self, step: int, batch: list[tuple[int, int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """One optimizer step over the global batch; the loss and the gradient's norm stay on the device."""
        total = self.recovery.in_portions(lambda size: self._accumulate(step, batch, size))
        for name, parameter in self.parameters.items():
            if self.strategy.rests(name, step, self.total):
                parameter.grad = (
                    None  # the optimizer passes it by: no decay, and no moments of steps that are not taken
                )
        limit = math.inf if self.config.clip_norm is None else self.config.clip_norm
        norm: torch.Tensor = self.accelerator.clip_grad_norm_(list(self.parameters.values()), limit)
        if self.recovery.refuses(norm, step, self.history):
            self.schedule.step()
        else:
            self.recovery.update()
            if not self.accelerator.optimizer_step_was_skipped:
                self.schedule.step()
            if self.average is not None:
                self.average.update(step + 1)
        self.optimizer.zero_grad(set_to_none=True)
        return total, norm

    def _accumulate(self, step: int, batch: list[tuple[int, int]], size: int) -> torch.Tensor:
        """Gradients of this process's part of the batch, `size` pictures at a time; returns its mean loss."""
        # Dropout inside adapters is the one consumer of torch's global generator.
        torch.manual_seed(integer(self.config.seed, "dropout", step, self.accelerator.process_index) % 2**31)
        micros = list(self.parallel.portions(self.train_set.sizes, batch, size))
        share = len(batch) // self.accelerator.num_processes
        total = torch.zeros((), device=self.device)
        self._held = torch.zeros((), device=self.device)
        for number, (micro, counts) in enumerate(micros):
            data = self.train_set.batch(micro, self.config.seed, self.config.caption_dropout, self.device, self.dtype)
            last = number + 1 == len(micros)
            with self.parallel.accumulating(self.denoiser, last):
                each = losses(self.denoiser, self.objective, data, self.dtype, self._targets)
                loss = data.counted(each).sum() * counts / share
                self.recovery.backward(loss, communicating=last and self.accelerator.num_processes > 1)
            total += loss.detach()
            self._held += each[: data.prior].detach().sum() * counts * self.accelerator.num_processes
        return total

    def _targets(self, noisy: torch.Tensor, batch: Batch, target: torch.Tensor) -> torch.Tensor:
        return target if self.base is None else self.base(noisy, batch, target)

    # -- what is measured --------------------------------------------------------------------------------------------

    def _measure(self, step: int) -> None:
        """Add the held-out loss of this step to the history and the tracker."""
        values = {}
        with self.average.in_place() if self.average is not None else contextlib.nullcontext():
            self.history.held_out.append([step, *self.held_out_losses()])
            if self.observe is not None:
                self.module.eval()
                values = self.observe(step)
                self.module.train()
        values = {f"validation/{name}": value for name, value in values.items()}
        if self.run.main:
            self.run.tracker.metrics({"train/held_out_loss": self.history.held_out[-1][1], **values}, step)

    def held_out_losses(self) -> list[float]:
        """Mean loss over held-out pictures at fixed timesteps and noise, comparable between steps and between runs; then
        the same for each of the equal ranges of timesteps.
        """
        self._latest = self._picture_losses(self.held_out, probe.HELD_OUT_EPOCH)
        return by_range(self._latest)

    def _measure_as_many(self) -> None:
        """The pictures of a held-out loss stay those that the training began with: its numbers are compared."""
        measured = len(self.history.pictures.get("held_out", ()))
        if measured and measured != min(self._measured, len(self.held_out)):
            self.run.say(
                f"training.held_out_images={self._measured}: the training began with {measured} and goes on with them, as "
                "its numbers are compared"
            )
            self._measured = measured

    def _picture_losses(self, pictures: Pictures, epoch: int) -> torch.Tensor:
        """float64 (pictures, timesteps)."""
        count = min(self._measured, len(pictures))
        return probe.picture_losses(
            self.module, self.objective, pictures, count, epoch, self.parallel, self.dtype, self._probe
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

    def _log(
        self,
        step: int,
        batch: list[tuple[int, int]],
        loss: float,
        norm: torch.Tensor,
        pace: Pace,
        add: Callable[[Sequence[Any]], None],
        bar: Any,
    ) -> None:
        """A line of train_log.csv, the same for the tracker, and what the bar shows."""
        seconds, rate = pace.look(len(batch))
        self._warned = self._warned or warn_of_long_steps(self.run, seconds)
        memory = memory_mb(self.device)
        held = {PRIOR_LOSS: self._mean(self._held / self.config.prior_count)} if self.config.prior else {}
        bar.set_postfix(loss=f"{loss:.4f}", images_s=f"{rate:.1f}", memory=f"{memory / 1024:.1f} GiB")
        if not self.run.main:
            return
        # The digest of the sample ids lets two logs be compared for the order of the data.
        samples = digest_of([[epoch, self.train_set.ids[i]] for epoch, i in batch])[:12]
        values = {
            "loss": loss,
            "gradient_norm": float(norm),
            "learning_rate": self.schedule.get_last_lr()[0],
            "images_per_second": rate,
            **held,
        }
        shown = f"{values['gradient_norm']:.6g}", f"{values['learning_rate']:.6g}", f"{rate:.2f}", f"{memory:.0f}"
        add([step, batch[-1][0], repr(loss), *shown, samples, *map(repr, held.values())])
        self.run.tracker.metrics({f"train/{name}": value for name, value in values.items()}, step)

    def _choose(self) -> int:
        """Leave in the parameters what is exported: the best step's, or the last one's; their average where there is one."""
        step = self.history.best_step() if self.config.export_best else self.total
        last = self.average.values if self.average is not None else {}
        chosen = self.keeper.best(step) if step != self.total else last
        with torch.no_grad():
            for name, tensor in chosen.items():
                self.parameters[name].copy_(shards.like(tensor, self.parameters[name]))
        if shards.bits_of(self.parameters) == self._untrained:
            raise UserError(
                f"the training changed no weight in {self.total} steps: there is nothing that could be called tuned; "
                f"use a larger strategy.learning_rate (now {self.strategy.learning_rate}) or more training.steps"
            )
        return step

    def _summary(self) -> dict[str, float]:
        step = self._choose()
        known = self._latest if step == self.history.held_out[-1][0] else None
        rows = [row[:2] for row in self.history.held_out]
        self.measured = probe.Losses(rows, self.history.pictures, self._compared(known))
        ranges = self.objective.ranges(probe.TIMESTEPS)
        return {
            **self.history.summary(self.keeper.lines.read(), step, ranges),
            "peak_memory_mb": memory_mb(self.device),
            "steps": float(self.total),
            "trainable_parameters": float(sum(p.numel() for p in self.parameters.values())),
        }
