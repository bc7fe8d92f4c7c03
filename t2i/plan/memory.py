"""How much memory a training and a drawing will take, counted on networks without weights."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from t2i.config import Config
from t2i.errors import ConfigError, UserError
from t2i.stages.networks import precision_of
from t2i.training.config import Optimizer, Prior

if TYPE_CHECKING:
    from torch import Tensor, nn

    from t2i.models.parts import Models

STATES = {
    Optimizer.sgd: 4,
    Optimizer.adamw: 8,
    Optimizer.adafactor: 0,
    Optimizer.adamw_8bit: 2,
    Optimizer.prodigy: 16,
}
"""Bytes that an optimizer keeps for each trained parameter (adafactor: a row and a column of each matrix)."""
METHOD = (
    "weights, gradients and optimizer are counted; activations are what a forward pass without weights would save for the "
    "backward pass (with gradient checkpointing: of the largest block), and for drawing twice what the largest layer reads and "
    "writes. With launch.shard a process gathers blocks while they compute: two of the largest, and what lies outside of them. "
    "Networks that judge are loaded one by one when nothing draws, and are not in it: docs/evaluation.md has their sizes. "
    "The libraries themselves (about 0.5 GB on a CPU, 0.5 to 1 GB on a GPU) come on top, and so does fragmentation."
)


@dataclass(frozen=True)
class Memory:
    """Bytes, by what takes them."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    gathered: int = 0
    """What a process gathers of the others' shards at once."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.gathered


def training_memory(config: Config, models: "Models") -> Optional[Memory]:
    """Of one process; None for a strategy that cannot be attached to networks without weights. Changes `models`."""
    import torch

    size = 4 if precision_of(config) == "no" else 2
    with _unknown(), torch.device("meta"):
        config.strategy.attach(models)
        trained = sum(parameter.numel() for parameter in config.strategy.trainable(models).values())
        every, kept_whole = _scalars(models), _scalars(models, models.family.float32)
        gathered = _gathered(config, models) * size if in_shards(config) else 0
        share = -(-trained // config.launch.processes) if in_shards(config) else trained
        before = config.training.prior is Prior.base and not config.strategy.switched
        kept = 4 * share * ((config.training.ema is not None) + before)
        batch = config.training.micro_batch or max(1, config.training.batch_size // config.launch.processes)
        saved, largest = _saved(models, batch, config)
        activations = (largest if config.training.gradient_checkpointing else saved) * size // 4
        return Memory(
            weights=(every - trained) * size + kept_whole * (4 - size) + 4 * share + kept,
            gradients=4 * share,
            optimizer=STATES[config.training.optimizer] * share,
            activations=activations,
            gathered=gathered,
        )
    return None


@contextmanager
def _unknown() -> Iterator[None]:
    """Ends quietly what cannot be counted: the adapter between two widths reads files of a CLIP that may not be here. A mistake
    on the command line is told.
    """
    try:
        yield
    except ConfigError:
        raise
    except (UserError, OSError, NotImplementedError):
        return


def _scalars(models: "Models", names: Optional[Collection[str]] = None) -> int:
    """Of all networks, or of these."""
    chosen = models.modules if names is None else {name: models.modules[name] for name in names}
    return sum(parameter.numel() for module in chosen.values() for parameter in module.parameters())


def in_shards(config: Config) -> bool:
    """Whether the processes of a run share one copy of what trains."""
    return config.launch.shard and config.launch.processes > 1


def _gathered(config: Config, models: "Models") -> int:
    """Scalars: the block that computes, the one that is fetched meanwhile, and what lies outside of blocks."""
    from t2i.models.weights import count
    from t2i.training.parallel import blocks_of

    outside, largest = 0, 0
    for name in config.strategy.modules(models.family):
        blocks = [count(block.parameters()) for block in blocks_of(models, name).values()]
        outside += count(models.modules[name].parameters()) - sum(blocks)
        largest = max(largest, *blocks)
    return outside + 2 * largest


def drawing_memory(config: Config, models: "Models") -> Memory:
    """Of one process that draws `batch_size` pictures at once."""
    import torch

    size = 4 if precision_of(config) == "no" else 2
    weights = _scalars(models) * size + _scalars(models, models.family.float32) * (4 - size)
    largest = 0

    def note(module: "nn.Module", inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal largest
        tensors = [tensor for tensor in (*inputs, output) if isinstance(tensor, torch.Tensor)]
        largest = max(largest, sum(tensor.numel() for tensor in tensors))

    leaves = [m for part in (models.denoiser, models.vae) for m in part.modules() if not list(m.children())]
    hooks = [module.register_forward_hook(note) for module in leaves]
    with torch.no_grad(), torch.device("meta"):
        _predict(models, config.batch_size * (2 if config.cfg.active else 1))
        denoiser, largest = largest, 0
        count = 1 if config.sampling.vae_slicing else config.batch_size
        models.family.decode(models, torch.empty(models.latent_shape(count)))
    for hook in hooks:
        hook.remove()
    return Memory(weights, 0, 0, 2 * max(denoiser, largest) * size)


def _saved(models: "Models", batch: int, config: Config) -> tuple[int, int]:
    """Bytes in float32 that a forward pass saves for the backward pass: of all blocks, and of the largest with what is kept
    of the others under gradient checkpointing, their inputs.
    """
    import torch

    total, sizes, inputs = 0, dict[str, int](), 0
    seen: set[int] = set()
    weights = {id(p) for module in models.modules.values() for p in module.parameters()}
    alive: list[Tensor] = []

    def pack(tensor: "Tensor") -> "Tensor":
        nonlocal total
        base = tensor._base if tensor._base is not None else tensor
        if id(base) not in seen and id(base) not in weights:
            seen.add(id(base))
            alive.append(base)  # an id may be given again once its tensor is gone
            total += base.numel() * base.element_size()
        return tensor

    def measured(name: str) -> tuple[Callable[..., None], Callable[..., None]]:
        def before(module: "nn.Module", args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            nonlocal inputs
            sizes[name] = -total
            shown = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)]
            inputs += sum(value.numel() * 4 for value in shown)

        def after(module: "nn.Module", args: Any, output: Any) -> None:
            sizes[name] += total

        return before, after

    hooks = []
    for name, module in models.family.blocks(models.denoiser).items():
        before, after = measured(name)
        hooks += [module.register_forward_pre_hook(before, with_kwargs=True), module.register_forward_hook(after)]
    models.denoiser.train()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), torch.enable_grad():
        _predict(models, batch, config.strategy.trains_text)
    for hook in hooks:
        hook.remove()
    models.denoiser.eval()
    return total, inputs + max(sizes.values(), default=0)


def _predict(models: "Models", batch: int, through_text: bool = False) -> None:
    """One forward pass of the denoiser for a batch, of the text encoders too where they train."""
    import torch

    from t2i.models.families.picture import Picture

    family, size = models.family, (models.resolution, models.resolution)
    if through_text:
        tokens = {name: values.to("meta") for name, values in family.tokens(models, [""] * batch).items()}
        text = family.read(models, tokens)
    else:
        text = {name: torch.empty((batch, *shape)) for name, shape in family.rows(models).items()}
    latents, time = torch.empty(models.latent_shape(batch)), torch.zeros(batch, dtype=torch.long)
    family.predict(models, latents, time, text, [Picture.whole(size)])
