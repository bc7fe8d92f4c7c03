"""The toy model's fixtures."""

from ..models.toy import loaded, models, run, store, toy, wider_toy

__all__ = ["loaded", "models", "run", "store", "toy", "wider_toy"]
