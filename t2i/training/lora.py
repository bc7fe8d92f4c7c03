"""Low-rank adapters through peft, in the file layout that plain diffusers loads."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from t2i.errors import ConfigError
from t2i.models.adapters.kinds import LORA
from t2i.training.strategies import Strategy, read_tensors, require_fit, validate_rate

if TYPE_CHECKING:
    from t2i.models.families.family import Family
    from t2i.models.parts import Models
    from t2i.training.before import Untrained

USUAL = ("to_q", "to_k", "to_v", "to_out.0")
"""Of a U-Net. Where nobody chose, another family's own take their place."""
KOHYA = Path("kohya") / "lora.safetensors"
"""Below the folder of the weights, for programs that do not read diffusers' layout."""


@dataclass
class Lora(Strategy):
    """Low-rank adapters (Hu et al. 2021) on the attention projections of the U-Net, the text encoder, or both."""

    kind: str = "lora"
    switched = True
    learning_rate: float = 1e-4
    rank: int = 4
    """Rank of the update matrices."""
    alpha: Optional[float] = None
    """Scale of the update is alpha / rank; null: alpha = rank."""
    dropout: float = 0.0
    """Dropout on the adapters' input while training."""
    targets: list[str] = field(default_factory=lambda: list(USUAL))
    """Suffixes of the denoiser's linear layers that get an adapter, e.g. [attn2.to_v], or a preset of the model's family:
    [attention], which is the default, every projection of the attention by whatever names the model has for them; [all], the
    other layers of its blocks too; [] for none."""
    text_targets: list[str] = field(default_factory=list)
    """The same for each text encoder that is a CLIP's, e.g. [q_proj,v_proj]; [] leaves them frozen."""
    text_encoder_learning_rate: Optional[float] = None
    """Peak learning rate of the text encoder's adapters; null: the same."""
    use_dora: bool = False
    """Train the magnitude of each weight beside its direction (DoRA, Liu et al. 2024)."""
    use_rslora: bool = False
    """Scale by alpha / sqrt(rank) instead of alpha / rank (rsLoRA, Kalajdzievski 2023)."""

    def validate(self) -> None:
        super().validate()
        validate_rate("text_encoder_learning_rate", self.text_encoder_learning_rate)
        if self.rank < 1:
            raise ConfigError(f"strategy.rank={self.rank} is not a positive number; use e.g. strategy.rank=4")
        if self.alpha is not None and not 0 < self.alpha < math.inf:
            raise ConfigError(
                f"strategy.alpha={self.alpha} is not a positive number; use e.g. strategy.alpha={self.rank}"
            )
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"strategy.dropout={self.dropout} is not in [0, 1); use e.g. strategy.dropout=0.1")
        if not self.targets and not self.text_targets:
            raise ConfigError(
                "strategy.targets=[] and strategy.text_targets=[] leave nothing to train; use e.g. [to_q,to_v]"
            )

    def refuses(self, family: "Family") -> Optional[str]:
        if family.clips or not self.text_targets:
            return None
        return (
            f"strategy.text_targets=[{','.join(self.text_targets)}] adapts a CLIP's text tower, and {family.title} reads "
            f"{family.unlike_clip}, of which diffusers reads no adapter; use strategy.text_targets=[], or strategy=text_encoder"
        )

    @property
    def trains_text(self) -> bool:
        return bool(self.text_targets)

    def modules(self, family: "Family") -> tuple[str, ...]:
        return tuple(name for name, targets in self._targets(family).items() if targets)

    def rate(self, module: str) -> float:
        own = self.text_encoder_learning_rate if module.startswith("text_encoder") else None
        return self.learning_rate if own is None else own

    def _targets(self, family: "Family") -> dict[str, list[str]]:
        own = ["attention"] if tuple(self.targets) == USUAL else list(self.targets)
        return {family.denoiser: own} | {name: list(self.text_targets) for name in family.clips}

    def _chosen(self, models: "Models", module: str) -> dict[str, tuple[int, ...]]:
        """The layers that get an adapter, with the shapes of their weights; ConfigError for a target that names none."""
        family, layers = models.family, _layers(models, module)
        presets = presets_of(family) if module == family.denoiser else {}
        ends: list[str] = []
        for target in self._targets(family)[module]:
            suffixes = [f".{suffix}" for suffix in presets.get(target, (target,))]
            if not any(f".{name}".endswith(tuple(suffixes)) for name, _ in layers):
                key, usual = "targets" if presets else "text_targets", family.targets[module]
                more = f", or a preset: {', '.join(presets)}" if presets else ""
                raise ConfigError(
                    f"strategy.{key}=[{target}] matches no layer of the {module}; use e.g. [{usual[0]},{usual[2]}]{more}"
                )
            ends += suffixes
        return {
            name: shape
            for name, shape in layers
            if f".{name}".endswith(tuple(ends)) and family.reaches(models, module, f"{name}.weight")
        }

    def chooses(self, name: str) -> bool:
        return "lora_" in name

    def untrained(self, models: "Models") -> "Untrained":
        from t2i.training.before import adapters_off

        return adapters_off(models.modules[name] for name in self.modules(models.family))

    def attach(self, models: "Models") -> None:
        models.freeze()
        for module in self.modules(models.family):
            self._adapt(module, models)

    def _adapt(self, module: str, models: "Models") -> None:
        import torch
        from peft import LoraConfig

        network: Any = models.modules[module]
        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha if self.alpha is not None else self.rank,
            lora_dropout=self.dropout,
            target_modules=list(self._chosen(models, module)),
            init_lora_weights="gaussian",
            use_dora=self.use_dora,
            use_rslora=self.use_rslora,
        )
        with torch.random.fork_rng(devices=[]):  # adapters begin alike in every run and every process
            torch.manual_seed(0)
            network.add_adapter(config)
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()

    def expected(self, models: "Models") -> int:
        return sum(math.prod(shape) for shape in self._shapes(models).values())

    def _shapes(self, models: "Models") -> dict[str, tuple[int, ...]]:
        """Name in the saved file to shape: for layers with weights (out, in, ...), (rank, in, ...) and (out, rank, ...)."""
        shapes: dict[str, tuple[int, ...]] = {}
        for module in self.modules(models.family):
            for name, (out, *inputs) in self._chosen(models, module).items():
                shapes[f"{module}.{name}.lora_A.weight"] = (self.rank, *inputs)
                shapes[f"{module}.{name}.lora_B.weight"] = (out, self.rank, *(1 for _ in inputs[1:]))
                if self.use_dora:
                    shapes[f"{module}.{name}.lora_magnitude_vector"] = (out,)
        return shapes

    def save(self, models: "Models", folder: Path) -> None:
        from t2i.models.adapters.attach import adapter_of
        from t2i.models.adapters.write import write_diffusers, write_kohya

        adapter = adapter_of(models)
        write_diffusers(adapter, folder / LORA)
        if models.family.kohya and not self.use_dora:  # the layout has no common place for magnitudes
            write_kohya(adapter, folder / KOHYA)
        self.write_description(models, folder)

    def load(self, models: "Models", folder: Path) -> None:
        from t2i.models.adapters.attach import place
        from t2i.models.adapters.low_rank import read_file

        path = folder / LORA
        # Text encoders' layers were written without their first level until it was found that few readers know it.
        found = {name.replace(".text_model.", "."): tuple(t.shape) for name, t in read_tensors(path).items()}
        wanted = {name.replace(".text_model.", "."): shape for name, shape in self._shapes(models).items()}
        require_fit(path, models, wanted, found)
        place(models, read_file(path, models), "default")


def presets_of(family: "Family") -> dict[str, tuple[str, ...]]:
    """Suffixes of the denoiser's layers by the name that `strategy.targets` may say for them."""
    attention = family.targets[family.denoiser]
    return {"attention": attention, "all": (*attention, *family.wider)}


def _layers(models: "Models", module: str) -> list[tuple[str, tuple[int, ...]]]:
    """Name and weight shape of every layer with a weight, from the architecture alone."""
    from t2i.models.weights import rebuilt

    fresh = rebuilt(models.modules[module])
    weights = {name: getattr(layer, "weight", None) for name, layer in fresh.named_modules()}  # some norms have none
    return [(name, tuple(weight.shape)) for name, weight in weights.items() if weight is not None]
