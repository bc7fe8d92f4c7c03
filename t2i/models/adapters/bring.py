"""Puts what `weights=` found into a model in memory."""

from t2i.models.adapters import attach, inversion, low_rank, networks
from t2i.models.adapters.kinds import Found, Kind
from t2i.models.parts import Models


def bring(models: Models, found: Found, name: str, scale: float = 1.0) -> None:
    """Change `models`; `name` tells an adapter from others. UserError when it does not fit."""
    if found.kind is Kind.low_rank:
        attach.place(models, low_rank.read(found, models), name, scale)
    elif found.kind is Kind.inversion:
        inversion.place(models, found)
    else:
        networks.place(models, found)
    models.freeze()
