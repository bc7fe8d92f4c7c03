"""What computes the networks while pictures are drawn: torch, or OpenVINO on CPUs. Light: neither is imported."""

from enum import Enum
from importlib.util import find_spec
from typing import TYPE_CHECKING

from t2i.errors import ConfigError
from t2i.processes import bf16_instruction, device_type

if TYPE_CHECKING:
    from t2i.sampling.config import Sampling

NETWORK_SWITCHES = ("channels_last", "compile", "attention_slicing", "vae_slicing", "vae_tiling", "cpu_offload")
"""Of `Sampling`, those that set networks of torch up."""
INSTALL = "pip install -c constraints.txt -e '.[openvino]'"
LARGE = 100_000_000
"""Parameters of a denoiser from which an evaluation on a CPU takes seconds."""


class Engine(Enum):
    """What computes the networks while pictures are drawn."""

    torch = "torch"
    openvino = "openvino"


def refuse(sampling: "Sampling", precision: str, processes: int) -> None:
    """Raise ConfigError for what the engine cannot compute, and without its package. precision: no, fp16 or bf16."""
    if sampling.engine is Engine.torch:
        return
    own, instead = f"sampling.engine={sampling.engine.value}", "or sampling.engine=torch"
    if find_spec("openvino") is None:
        raise ConfigError(f"{own} needs openvino; type: {INSTALL}, {instead}")
    if device_type() != "cpu":
        raise ConfigError(f"{own} computes on CPUs, and a GPU draws here; type sampling.engine=torch")
    if precision == "fp16" or (precision == "bf16" and not bf16_instruction()):
        other = "or bf16 where the processor has it" if precision == "fp16" else "as this processor has no bf16"
        raise ConfigError(
            f"{own} computes in float32, {other}, and launch.mixed_precision={precision}; type launch.mixed_precision=no, "
            f"{instead}"
        )
    if processes > 1:
        raise ConfigError(f"{own} takes all cores in one process, and there are {processes}; type launch.processes=1")
    switches = [name for name in NETWORK_SWITCHES if getattr(sampling, name)]
    if switches:
        raise ConfigError(
            f"sampling.{switches[0]}=true sets networks of torch up, and {own} computes without them; type "
            f"sampling.{switches[0]}=false, {instead}"
        )


def gain() -> str:
    """What OpenVINO was measured to bring, with one thread at 256 pixels: whole pictures of Stable Diffusion 1's size on an Intel
    Xeon with AMX (`bench/results`), the U-Net alone on an AMD Zen 5; `python -m bench engines` measures on the machine at hand.
    """
    half = ", with launch.mixed_precision=bf16 5 times (torch so 3.6 times)" if bf16_instruction() else ""
    return (
        f"1.2 times as fast with Stable Diffusion 1 on an Intel Xeon{half} (its U-Net alone 2.4 times on an AMD Zen 5), "
        "no faster with small models"
    )


def slower(engine: Engine, parameters: int) -> str:
    """One line on what another engine would bring; empty where it would bring little. parameters: of the denoiser."""
    if engine is not Engine.torch or parameters < LARGE or device_type() != "cpu":
        return ""
    there = "" if find_spec("openvino") else f", after {INSTALL}"
    return f"torch draws on this CPU; sampling.engine=openvino{there} is {gain()}; pictures in float32 equal to two grey levels"
