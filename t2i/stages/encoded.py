"""Rows that a training encodes once and keeps - latents, text states, pixels - looked up without loading a network."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Optional

from t2i.config import as_dict
from t2i.context import Run
from t2i.data.rows import KEYS
from t2i.errors import UserError
from t2i.stages import history
from t2i.stages.networks import dtype_of, model_digest
from t2i.stages.prepared import Prepared, training_split
from t2i.stages.stage import Stage, is_there, made
from t2i.training.fitting import regularisation_captions

if TYPE_CHECKING:
    from t2i.data.prepared import Split


@dataclass(frozen=True, eq=False)
class Encoded(Stage):
    """A training asks for them itself, with what encodes them at hand; here they are only looked for."""

    split: str
    """train, held_out"""

    def needs(self) -> Sequence[Stage]:
        return [Prepared(self.config)]

    def part(self, run: Run) -> "Split":
        """The pictures."""
        data = Prepared(self.config).read(run)
        return training_split(self.config, data) if self.split == "train" else data.split(self.split)

    def rows(self, run: Run) -> Optional[int]:
        """How many rows there will be; None while the data is still to be prepared."""
        return len(self.part(run)) if is_there(Prepared(self.config), run) else None

    def _scaled(self, run: Run, cost: Callable[[dict[str, Any]], float]) -> Optional[float]:
        """What the newest stage of rows of the same model cost, by its number of rows and that of this one."""
        if (wanted := self.rows(run)) is None:
            return None
        for _, found in history.manifests(run.store.root, self.name):
            held = found["files"].get(KEYS, {}).get("bytes", 0)
            number = (held - 128) // 32  # an array of 32 bytes a key behind its header
            if number > 0 and found["inputs"].get("model", "") == self.encoder(run):
                return cost(found) * wanted / number
        return None

    def encoder(self, run: Run) -> Optional[str]:
        """What identifies the model whose network encodes; empty for rows of none, None where it is not on this machine."""
        return ""

    def size(self, run: Run) -> Optional[int]:
        found = self._scaled(run, history.held)
        return None if found is None else round(found)

    def seconds(self, run: Run) -> Optional[float]:
        return self._scaled(run, lambda found: float(found["seconds"]))


@dataclass(frozen=True, eq=False)
class ByModel(Encoded):
    """By a network of the model (`t2i.training.dataset`)."""

    resources = ("data", "model")
    off: ClassVar[Mapping[str, bool]]
    """The setting with which a training asks for these rows and no others."""

    def hangs_on(self) -> Any:
        config = self.config
        settings = {**as_dict(config.training), "trains text": config.strategy.trains_text}
        return [self.split, as_dict(config.model), settings, config.launch.precision]

    def encoder(self, run: Run) -> Optional[str]:
        try:
            return model_digest(self.config, run)
        except UserError:
            return None

    def ask(self, run: Run) -> None:
        """Without loading a network; for nothing where the model's architecture is not known here."""
        import torch

        from t2i.models.weightless import weightless
        from t2i.training.dataset import latent_set

        config = self.config
        models = run.kept("weightless", as_dict(config.model), lambda: weightless(config.model))
        if models is None:
            return
        models.to("meta", dtype_of(config)).digest = model_digest(config, run)
        text_trains = config.strategy.trains_text
        flip = config.training.flip and self.split == "train"
        settings = replace(config.training, **self.off)  # type: ignore[arg-type]
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        prepared = made(Prepared(config), run)
        more = regularisation_captions(config.training, config.dataset) if self.split == "train" else ()
        latent_set(run.store, prepared, self.part(run), models, settings, text_trains, flip, device, more)
