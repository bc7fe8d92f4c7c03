"""The tuning of a CLIP: the same global batches for any number of processes, saved after every epoch, resumable."""

import copy
import csv
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers.optimization import get_scheduler
from tqdm import tqdm

from t2i.context import Run
from t2i.errors import UserError
from t2i.interruption import Interrupted
from t2i.store import write_json
from t2i.training import checkpoints, resume
from t2i.training.contrastive.config import ClipTuning
from t2i.training.contrastive.gathering import average_gradients, gather
from t2i.training.contrastive.gradient_cache import loss_and_gradients
from t2i.training.contrastive.loss import contrastive_loss, positives
from t2i.training.contrastive.pairs import Pairs, batches, shares, steps_per_epoch
from t2i.training.contrastive.towers import Clip, attach, groups
from t2i.training.stopping import StopFlag

CLIP_NORM = 1.0
"""Largest norm of the whole gradient."""
LOG_EVERY = 10
"""Steps between two lines of the log: reading a loss makes the host wait for the device."""
LOG = "clip_log.csv"
HISTORY = "history.json"
EPOCHS = "epochs"
"""Of a tuning's folder: the CLIP of every epoch, where that is asked for."""
COLUMNS = ("step", "epoch", "loss", "logit_scale", "gradient_norm", "learning_rate", "pairs_per_second")


@dataclass
class Tuner:
    """One tuning: the towers, the pairs, and the folder it may resume in."""

    config: ClipTuning
    clip: Clip
    run: Run
    train: Pairs
    held_out: Pairs
    folder: Path

    def __post_init__(self) -> None:
        self.accelerator: Accelerator = self.run.accelerator
        self.device = self.accelerator.device
        self.stop = StopFlag(self.run, self.accelerator)
        self.per_epoch = steps_per_epoch(len(self.train), self.config.batch_size)
        self.total = self.config.epochs * self.per_epoch
        self.parameters = attach(self.clip, self.config)
        self.clip.model.to(self.device)
        # Decays are the groups' own: the default of AdamW would decay gains too.
        optimizer = torch.optim.AdamW(groups(self.clip, self.config, self.parameters), weight_decay=0.0)
        self.schedule = get_scheduler(
            "cosine", optimizer, num_warmup_steps=self.config.warmup, num_training_steps=self.total
        )
        self.optimizer = self.accelerator.prepare(optimizer)

    def fit(self) -> dict[str, Any]:
        """Tune to the last epoch and return the history; raises Interrupted with a checkpoint saved."""
        start, history = self._resume()
        if not history["held_out"]:
            history["held_out"].append([0, self.held_out_loss()])
        stream = batches(self.config.seed, len(self.train), self.config.batch_size, start)
        bar = tqdm(total=self.total, initial=start, desc="clip", unit="step", disable=not self.run.main)
        clock, since = time.perf_counter(), start
        with self.run.deferring(), open(self.folder / LOG, "a", newline="", encoding="utf-8") as file:
            log = csv.writer(file)
            for step in range(start + 1, self.total + 1):
                epoch, batch = next(stream)
                loss, norm = self.step(epoch, batch)
                bar.update()
                if step % LOG_EVERY == 0 or step % self.per_epoch == 0:
                    rate = (step - since) * len(batch) / (time.perf_counter() - clock)
                    clock, since = time.perf_counter(), step
                    self._log(log, step, epoch, float(loss), float(norm), rate)
                    file.flush()
                stop = self.stop.look(at_once=step % self.per_epoch == 0)
                if step % self.per_epoch == 0:
                    history["held_out"].append([step, self.held_out_loss()])
                if stop or step % self.per_epoch == 0:
                    self._save(step, history)
                    if self.config.every_epoch and self.run.main and step % self.per_epoch == 0:
                        # Of a copy: saving merges the adapters, which go on training.
                        copy.deepcopy(self.clip).save(self.folder / EPOCHS / f"epoch_{step // self.per_epoch:02d}")
                    clock, since = time.perf_counter(), step
                if stop:
                    bar.close()
                    raise Interrupted(stop)
        bar.close()
        if self.run.main:
            write_json(self.folder / HISTORY, history)
        return history

    def step(self, epoch: int, batch: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """One optimizer step over the global batch of positions; returns the loss and the gradient's norm."""
        loss = self.gradients(epoch, batch)
        average_gradients(list(self.parameters.values()))
        norm: torch.Tensor = self.accelerator.clip_grad_norm_(list(self.parameters.values()), CLIP_NORM)
        # In fp16 the scaler expects overflows: it skips such a step itself and lowers its scale.
        if self.accelerator.scaler is None and not bool(norm.isfinite()):
            raise UserError(f"the gradient is not finite (loss {float(loss)}); {self._remedy()}")
        self.optimizer.step()
        if not self.accelerator.optimizer_step_was_skipped:
            self.schedule.step()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            self.clip.model.logit_scale.clamp_(0.0, math.log(self.config.max_logit_scale))
        return loss, norm

    def gradients(self, epoch: int, batch: list[int]) -> torch.Tensor:
        """The loss of the global batch, with this process's gradients left in the parameters."""
        parts = shares(batch, self.accelerator.num_processes)
        together = [position for part in parts for position in part]  # in the order in which features are gathered
        captions = {position: self.train.caption(self.config.seed, epoch, position) for position in batch}
        known = [self.train.captions[position] for position in together]
        right = torch.from_numpy(positives([captions[i] for i in together], known, self.config.targets))
        right = right.to(self.device)
        mine = parts[self.accelerator.process_index]

        def encode(part: slice) -> tuple[torch.Tensor, torch.Tensor]:
            return self._features(self.train, mine[part], [captions[i] for i in mine[part]])

        def objective(images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
            return contrastive_loss(gather(images), gather(texts), self.clip.model.logit_scale.exp(), right)

        return loss_and_gradients(encode, len(mine), self.config.chunk, objective, self.accelerator.backward)

    def _features(self, pairs: Pairs, positions: list[int], captions: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        with self.accelerator.autocast():
            images = self.clip.image_features(pairs.pixels[positions], self.device)
            texts = self.clip.text_features(captions, self.device)
        return images.float(), texts.float()

    @torch.no_grad()
    def held_out_loss(self) -> float:
        """Mean loss of the held-out pictures with their first captions, in batches of the training's size, at most 16:
        every process computes all of it.
        """
        size = min(self.config.batch_size, len(self.held_out))
        losses = []
        for start in range(0, min(len(self.held_out) - size + 1, 16 * size), max(size, 1)):
            positions = list(range(start, start + size))
            known = [self.held_out.captions[i] for i in positions]
            captions = [group[0] for group in known]
            right = torch.from_numpy(positives(captions, known, self.config.targets)).to(self.device)
            features = self._features(self.held_out, positions, captions)
            losses.append(float(contrastive_loss(*features, self.clip.model.logit_scale.exp(), right)))
        return sum(losses) / len(losses) if size else math.nan

    # -- state -------------------------------------------------------------------------------------------------------

    def _save(self, step: int, history: dict[str, Any]) -> None:
        for name, parameter in self.parameters.items():
            if not bool(parameter.isfinite().all()):
                raise UserError(f"{name} is no longer finite; {self._remedy()}")
        if self.run.main:
            scaler = self.accelerator.scaler
            optimizer = {
                "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule.state_dict(),
                "scaler": scaler.state_dict() if scaler is not None else {},
            }
            folder = self.folder / "checkpoints"
            checkpoints.save(folder, step, self.parameters, optimizer, history, self.config.keep)
            self.run.say(f"checkpoint at step {step} of {self.total} (epoch {step / self.per_epoch:.3g})")
        self.run.barrier()

    def _resume(self) -> tuple[int, dict[str, Any]]:
        """The step to start from and the history kept with it; the log is cut back to that step."""
        folder = self.folder / "checkpoints"
        step = self.run.tell(lambda: newest.step if (newest := checkpoints.newest(folder)) is not None else None)
        found = checkpoints.read(folder / f"step_{step:08d}") if step is not None else None
        if found is not None:
            resume.restore(found, self.parameters, self.optimizer, self.schedule, self.accelerator.scaler)
            self.run.say(f"resumed from the checkpoint of step {found.step}")
        self.run.barrier()  # everybody has read before the main process writes
        if self.run.main:
            resume.cut_log(self.folder / LOG, COLUMNS, found.step if found is not None else 0)
        self.run.barrier()
        if found is None:
            return 0, {"held_out": []}
        return found.step, {"held_out": found.facts["held_out"]}

    def _log(self, log: Any, step: int, epoch: int, loss: float, norm: float, rate: float) -> None:
        if not math.isfinite(loss):
            raise UserError(f"the loss became {loss}; {self._remedy()}")
        if not self.run.main:
            return
        scale, learning_rate = float(self.clip.model.logit_scale.detach().exp()), max(self.schedule.get_last_lr())
        log.writerow([step, epoch, repr(loss), f"{scale:.4f}", f"{norm:.6g}", f"{learning_rate:.6g}", f"{rate:.2f}"])
        values = {"loss": loss, "logit_scale": scale, "gradient_norm": norm, "learning_rate": learning_rate}
        self.run.tracker.metrics({f"clip/{name}": value for name, value in values.items()}, step)

    def _remedy(self) -> str:
        return f"use a smaller clip.learning_rate (now {self.config.learning_rate}) or launch.mixed_precision=no"
