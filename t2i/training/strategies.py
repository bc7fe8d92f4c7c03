"""Which parameters train. A strategy is one dataclass with `attach / trainable / expected / save / load`.

A new one is a dataclass here, a `store` line in t2i/config/options.py, a YAML in conf/strategy, and a test parameter.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Optional

from t2i.errors import ConfigError, UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from t2i.models.families.family import Family
    from t2i.models.parts import Models
    from t2i.training.before import Untrained

WEIGHTS = "weights.safetensors"
DESCRIPTION = "strategy.json"


@dataclass
class Strategy:
    """Base of all strategies: trains the parameters of `modules()` that `chooses` picks."""

    kind: str = "???"
    """Name of the strategy's class in t2i/config/options.py."""
    learning_rate: float = 1e-5
    """Peak learning rate of the optimizer."""
    whole: ClassVar[bool] = False
    """Whether every parameter of the denoiser trains: then it is worth spreading over processes (`launch.shard`)."""

    switched: ClassVar[bool] = False
    """Whether what it trains can be passed by: then `training.prior=base` needs no copy of it."""

    def validate(self) -> None:
        """Raise ConfigError for values that no run could use."""
        validate_rate("learning_rate", self.learning_rate)

    def refuses(self, family: "Family") -> Optional[str]:
        """A sentence about why it has no meaning for a family; None where it has."""
        return None

    def refuses_prior(self, base: bool) -> Optional[str]:
        """Why nothing can be held to what it was (`training.prior`), as the end of a sentence; None where it can. base: by the
        base model's own prediction.
        """
        return None

    @property
    def trains_text(self) -> bool:
        """Whether a text encoder holds trainable parameters: then its states cannot be cached."""
        return False

    def modules(self, family: "Family") -> tuple[str, ...]:
        """Names of the networks that hold trainable parameters: among the family's denoiser and text encoders."""
        return (family.denoiser,)

    def rate(self, module: str) -> float:
        """Peak learning rate of a network's parameters."""
        return self.learning_rate

    def chooses(self, name: str) -> bool:
        """Whether the parameter of this name (as in the module's `named_parameters`) trains."""
        raise NotImplementedError

    def rests(self, name: str, step: int, total: int) -> bool:
        """Whether a trainable parameter of this name is left as it is in a step (from 0) of so many."""
        return False

    def require_read(self, models: "Models", captions: Iterable[str]) -> None:
        """Raises ConfigError where the attached models do not read what is to be learned from these captions."""

    def require_captions(self, captions: Iterable[str]) -> None:
        """UserError where training captions, as they are worded, lack what is to be learned."""

    def untrained(self, models: "Models") -> "Untrained":
        """Asked before the first step: the way back to what the networks are now, for a moment."""
        from t2i.training.before import copies

        return copies(self.trainable(models).values())

    def inputs(self) -> dict[str, str]:
        """Digests of files beside the model that the trained weights depend on."""
        return {}

    def plain(self, models: "Models") -> None:
        """Change loaded networks into those of a plain pipeline that gives the same pictures."""

    def attach(self, models: "Models") -> None:
        """Freeze everything, then let the chosen parameters require gradients, in float32."""
        if reason := self.refuses(models.family):
            raise ConfigError(reason)
        models.freeze()
        for module in self.modules(models.family):
            for name, parameter in models.modules[module].named_parameters():
                if self.chooses(name) and models.family.reaches(models, module, name):
                    parameter.requires_grad_(True)
                    parameter.data = parameter.data.float()
        if not self.trainable(models):
            raise ConfigError(
                f"strategy={self.kind} matches no layer of model={models.name}, of the family {models.family.title}; use "
                "strategy=lora"
            )

    def trainable(self, models: "Models") -> "dict[str, nn.Parameter]":
        """The chosen parameters by `module.name`, in a fixed order."""
        return {
            f"{module}.{name}": parameter
            for module in self.modules(models.family)
            for name, parameter in models.modules[module].named_parameters()
            if parameter.requires_grad
        }

    def expected(self, models: "Models") -> int:
        """How many scalars must train, counted from the architecture's configuration, not from what was attached."""
        raise NotImplementedError

    def save(self, models: "Models", folder: Path) -> None:
        """Write only the changed weights (float32 safetensors) and what is needed to load them."""
        from safetensors.torch import save_file

        tensors = {name: value.detach().cpu().contiguous() for name, value in self.trainable(models).items()}
        save_file(tensors, folder / WEIGHTS)
        self.write_description(models, folder)

    def load(self, models: "Models", folder: Path) -> None:
        """Put weights written by `save` into `models`; UserError when a name or a shape does not fit."""
        own: dict[str, dict[str, Tensor]] = {module: {} for module in self.modules(models.family)}
        for name, tensor in read_tensors(folder / WEIGHTS).items():
            module, _, inner = name.partition(".")
            own.setdefault(module, {})[inner] = tensor
        for module in set(models.family.encoders) & set(own):
            from t2i.models.weights import text_layout

            own[module] = text_layout(own[module], models.modules[module].state_dict())
        wanted = {
            f"{module}.{name}": tuple(parameter.shape)
            for module in self.modules(models.family)
            for name, parameter in models.modules[module].named_parameters()
            if self.chooses(name) and models.family.reaches(models, module, name)
        }
        found = {f"{module}.{name}": tuple(t.shape) for module, part in own.items() for name, t in part.items()}
        require_fit(folder / WEIGHTS, models, wanted, found)
        for module, part in own.items():
            models.modules[module].load_state_dict(part, strict=False)  # names and shapes were checked above

    def write_description(self, models: "Models", folder: Path) -> None:
        """`strategy.json`: with it, `load` needs nothing but the folder."""
        from dataclasses import asdict

        from t2i.store import write_json

        facts = {"model": models.name, "base_digest": models.digest, "scheduler": models.scheduler_config}
        write_json(folder / DESCRIPTION, {"strategy": asdict(self), **facts})


def validate_rate(key: str, rate: Optional[float]) -> None:
    """ConfigError for a learning rate that cannot be meant; null is left to the strategy."""
    if rate is not None and not 0 < rate < 10:
        raise ConfigError(f"strategy.{key}={rate} is not between 0 and 10; use e.g. 1e-5")


def require_fit(
    path: Path, models: "Models", wanted: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]]
) -> None:
    """UserError unless a file holds exactly the wanted names, each with its shape."""
    wrong = sorted({name for name, _ in wanted.items() ^ found.items()})
    if wrong:
        raise UserError(
            f"{path} does not fit model={models.name}: {len(wrong)} tensors are missing, too many or of another shape, "
            f"e.g. {wrong[0]}; use the model that it was trained from"
        )


def read_tensors(path: Path) -> "dict[str, Tensor]":
    """A safetensors file; UserError when it is missing, broken, or holds a value that is not finite."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{path} cannot be read as safetensors ({error}); give a run folder or a file made by task=train"
        ) from error
    for name, tensor in tensors.items():
        if not bool(tensor.isfinite().all()):
            raise UserError(f"{path} holds a value that is not finite in {name}; it would spoil every picture")
    return tensors


@dataclass
class UNet(Strategy):
    """Every parameter of the U-Net."""

    kind: str = "unet"
    learning_rate: float = 1e-5
    whole = True

    def chooses(self, name: str) -> bool:
        return True

    def expected(self, models: "Models") -> int:
        return _whole(models, self.modules(models.family))


@dataclass
class TextEncoder(Strategy):
    """Every parameter of the text encoder, or of the chosen ones, through the frozen denoiser."""

    kind: str = "text_encoder"
    learning_rate: float = 1e-5
    encoders: list[str] = field(default_factory=list)
    """Which, where a model has several, e.g. [text_encoder_2]; [] for all."""

    def refuses(self, family: "Family") -> Optional[str]:
        unknown = [name for name in self.encoders if name not in family.encoders]
        if not unknown:
            return None
        return (
            f"strategy.encoders={self.encoders} names {unknown[0]}, and {family.title} reads {', '.join(family.encoders)}; use "
            "some of these, or [] for all"
        )

    @property
    def trains_text(self) -> bool:
        return True

    def modules(self, family: "Family") -> tuple[str, ...]:
        return tuple(name for name in family.encoders if not self.encoders or name in self.encoders)

    def chooses(self, name: str) -> bool:
        return True

    def expected(self, models: "Models") -> int:
        return _whole(models, self.modules(models.family))


@dataclass
class Both(Strategy):
    """Every parameter of the U-Net and of the text encoder."""

    kind: str = "both"
    learning_rate: float = 1e-5
    text_encoder_learning_rate: Optional[float] = None
    """Peak learning rate of the text encoder; null: the same."""
    whole = True

    def validate(self) -> None:
        super().validate()
        validate_rate("text_encoder_learning_rate", self.text_encoder_learning_rate)

    @property
    def trains_text(self) -> bool:
        return True

    def modules(self, family: "Family") -> tuple[str, ...]:
        return family.trained

    def rate(self, module: str) -> float:
        own = self.text_encoder_learning_rate if module.startswith("text_encoder") else None
        return self.learning_rate if own is None else own

    def chooses(self, name: str) -> bool:
        return True

    def expected(self, models: "Models") -> int:
        return _whole(models, self.modules(models.family))


def _whole(models: "Models", names: Iterable[str]) -> int:
    """Scalars of whole networks, from their configuration alone."""
    return counted(models, names, lambda name: True)


def counted(models: "Models", names: Iterable[str], chooses: Callable[[str], bool]) -> int:
    """Scalars of the chosen parameters, from the networks' configuration alone."""
    from t2i.models.weights import rebuilt

    return sum(
        parameter.numel()
        for network in names
        for name, parameter in rebuilt(models.modules[network]).named_parameters()
        if chooses(name) and models.family.reaches(models, network, name)
    )


def describe(folder: Path) -> dict[str, Any]:
    """What `save` wrote beside the weights; UserError when `folder` holds no tuned weights."""
    path = folder / DESCRIPTION
    if not path.exists():
        raise UserError(f"{folder} holds no tuned weights ({DESCRIPTION} is missing); give a run folder of task=train")
    description: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return description
