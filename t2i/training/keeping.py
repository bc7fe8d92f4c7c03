"""The checkpoints of a diffusion training: the best one, milestones, and those of other configurations."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import torch

from t2i.errors import ConfigError, UserError
from t2i.training import shards
from t2i.training.config import Training
from t2i.training.history import History
from t2i.training.optimizers import MovingAverage
from t2i.training.resuming import checkpoints, restoring
from t2i.training.resuming.checkpoints import Checkpoint
from t2i.training.resuming.keeper import Keeper


@dataclass(kw_only=True)
class TrainingKeeper(Keeper):
    """What `training.resume`, `export_best`, `milestones` and `keep` ask for."""

    config: Training
    average: MovingAverage | None

    def keep(self, step: int, history: History, identity: Mapping[str, Any]) -> None:
        """The checkpoint of a step, with what was measured up to it."""
        average = self.average.values if self.average is not None else None
        protect = {*self.config.milestones, history.best_step()}
        self.save(step, {**history.facts(), "identity": identity}, self.config.keep, average, protect)

    def newest(self) -> Optional[int]:
        """The step of the newest intact checkpoint. Where the best one is exported and is damaged, that of one before it:
        the same steps are done again.
        """
        found = checkpoints.newest(self.folder)
        while found is not None and self.config.export_best:
            best = History.of(found.facts).best_step()
            if best in (0, found.step) or checkpoints.intact(self.at(best)):
                break
            self.run.say(f"the best checkpoint, of step {best}, is damaged: the training goes back to one before it")
            found = checkpoints.newest(self.folder, before=best)
        return found.step if found is not None else None

    def chosen(self, identity: Mapping[str, Any]) -> tuple[Checkpoint | None, bool]:
        """The checkpoint to go on from, the same one in every process; and whether it is one of another configuration."""
        found = self.find()
        if found is not None or self.config.resume in ("auto", "never"):
            return found, False
        place = checkpoints.named(Path(self.config.resume).expanduser())
        found = checkpoints.start_from(place, identity, self.config.resume_force)
        if found.step >= self.total:
            raise ConfigError(
                f"training.resume={place} is at step {found.step} and the training has {self.total}: use more "
                "training.steps, or an earlier checkpoint"
            )
        return found, bool(checkpoints.differences(found.facts["identity"], identity))

    def take(self, found: Checkpoint, forced: bool, identity: Mapping[str, Any]) -> History:
        """Put a checkpoint's state into this training; `forced`: it is one of another configuration."""
        history = History.of(found.facts)
        if forced:
            state = self.parameters, self.optimizer, self.schedule, self.scaler
            for sentence in restoring.adopt(found, identity, *state):
                self.run.say(sentence)
            changed = checkpoints.differences(found.facts["identity"], identity)
            if {"model", "data"} & set(changed):  # what was measured before is of something else
                history.held_out, history.pictures = [], {}
        else:
            self.restore(found)
        for name, tensor in self.average.values.items() if self.average is not None else ():
            begun = (found.average or self.parameters)[name]  # where none was kept, it begins here
            tensor.copy_(shards.like(begun, tensor))
        return history

    def tell_missed(self, step: int) -> None:
        """Say which milestones before `step` have no checkpoint."""
        missed = [past for past in self.config.milestones if past <= step and not self.at(past).exists()]
        if missed and self.config.resume == "auto":  # a checkpoint that was named keeps its own company
            self.run.say(
                f"training.milestones={missed} are past and their checkpoints were not kept; training.resume=never starts "
                "afresh"
            )

    def best(self, step: int) -> dict[str, torch.Tensor]:
        """The weights of a step that was the best one; UserError where its checkpoint is damaged."""
        path = self.at(step)
        try:
            found = checkpoints.read(path)
        except Exception as error:  # whatever is wrong with it
            raise UserError(
                f"the best checkpoint {path} is damaged ({checkpoints.reason(error)}); repeat the command: the training "
                "goes on from the one before it"
            ) from error
        return found.average or found.parameters
