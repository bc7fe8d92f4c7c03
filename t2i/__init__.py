"""Fine-tune text-to-image diffusion models and know whether it worked.

From Python: `t2i.compare("folder_a", "folder_b", reference="real")` and `t2i.evaluate("folder")` (see `t2i/api.py`).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from t2i.api import compare, evaluate

__all__ = ["compare", "evaluate"]


def __getattr__(name: str) -> Any:
    """Loaded when it is asked for: the command line imports this package for `--help` too."""
    if name in __all__:
        from t2i import api

        return getattr(api, name)
    raise AttributeError(f"module 't2i' has no attribute {name!r}")
