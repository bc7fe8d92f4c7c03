"""Studies by what they are, whatever they are called: a name is for people, the identity decides which cells are known."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import optuna
from optuna.storages import BaseStorage

from t2i.digests import digest_of

KNOWN_AS = "known as"
"""User attribute: the identity of a study. One that was written without it is called by it."""


def opened(storage: BaseStorage, identity: str, title: str, **options: Any) -> optuna.Study:
    """The study with this identity, however it is called, or a new one called `title`.

    options: of `optuna.create_study`. However many create it at once, all work on the first: what tells a study from others
    stands in its name too, and is there as soon as the study is.
    """
    if not (names := _found(storage, identity)):
        title = title.strip() or identity.rpartition("-")[0]
        options = {**options, "study_name": f"{title} {_mark(identity)}", "load_if_exists": True}
        optuna.create_study(storage=storage, **options).set_user_attr(KNOWN_AS, identity)
        names = _found(storage, identity)
    study = optuna.load_study(
        study_name=names[0], storage=storage, sampler=options.get("sampler"), pruner=options.get("pruner")
    )
    if KNOWN_AS not in study.user_attrs:
        study.set_user_attr(KNOWN_AS, identity)
    return study


def _found(storage: BaseStorage, identity: str) -> list[str]:
    """The names of studies with an identity, the oldest first."""
    every = sorted(storage.get_all_studies(), key=lambda study: study._study_id)
    return [
        each.study_name for each in every if identity == each.study_name or each.study_name.endswith(_mark(identity))
    ]


def _mark(identity: str) -> str:
    return f"[{digest_of(identity)[:8]}]"


def related(storage: BaseStorage, name: str, own: str) -> Iterator[optuna.Study]:
    """The studies whose identity begins with `name`, that of the sweep, and ends with another digest of eight digits."""
    of_sweep = re.compile(re.escape(name) + "-[0-9a-f]{8}")
    for other in storage.get_all_studies():
        identity = str(other.user_attrs.get(KNOWN_AS, other.study_name))
        if identity != own and of_sweep.fullmatch(identity):
            yield optuna.load_study(study_name=other.study_name, storage=storage)


def name_objectives(study: optuna.Study, metrics: Sequence[str]) -> None:
    """Values of trials are called by their metric, also in tables and plots of Optuna."""
    if study.metric_names != list(metrics):
        study.set_metric_names(list(metrics))
