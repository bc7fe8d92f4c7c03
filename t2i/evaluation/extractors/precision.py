"""In which numbers extractors compute."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def dtype_of(device: "torch.device", exact: bool) -> "torch.dtype":
    """float64 on a CPU where features shall be `exact`, otherwise float32.

    Rounded to float32, features computed in float64 do not depend on batch size, threads or processes. In float32 they do, by
    about 1e-5 relative, and take a third of the time; on a GPU, where float64 is slow, they always are (without TF32).
    """
    import torch

    return torch.float64 if exact and device.type == "cpu" else torch.float32
