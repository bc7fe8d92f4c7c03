"""The features that an evaluation computed from, as one `.npz` file: what a later comparison needs, without a network.

Features that many evaluations share (of the reference, of the training pictures) are in files of their own, named here.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from t2i.evaluation.measurement import Inputs
from t2i.store import require_sound

ARRAYS = ("generated", "reference", "texts", "classes", "logits", "train")


ENDING = ".features"
"""An array `<network>.features` of a file of known features, float32 (M, D)."""


@dataclass(frozen=True)
class Known:
    """A file of features that lies below the store's root."""

    path: Path
    features: dict[str, np.ndarray]
    """float32 (M, D) by the name of the network."""

    @classmethod
    def read(cls, path: Path) -> "Known":
        """The features in the file at `path`."""
        with np.load(path, allow_pickle=False) as file:
            names = [name for name in file.files if name.endswith(ENDING)]
            return cls(path, {name.removesuffix(ENDING): file[name] for name in names})


def save(path: Path, gathered: Mapping[str, Inputs], root: Path, known: Sequence[Known] = ()) -> None:
    """Write what `gather` gave; metrics that share their features share them in the file too, and those that are `known`
    below `root` are only named."""
    distinct = list({id(inputs): inputs for inputs in gathered.values()}.values())
    of = {name: next(i for i, other in enumerate(distinct) if other is inputs) for name, inputs in gathered.items()}
    arrays: dict[str, np.ndarray] = {}
    rest: list[dict[str, Any]] = []
    for i, inputs in enumerate(distinct):
        elsewhere: dict[str, list[str]] = {}
        for name in ARRAYS:
            value = getattr(inputs, name)
            places = [(file, own) for file in known for own, array in file.features.items() if array is value]
            if places:
                elsewhere[name] = [places[0][0].path.relative_to(root).as_posix(), places[0][1]]
            elif value is not None:
                arrays[f"{i}.{name}"] = value
        if inputs.other_texts is not None:
            arrays[f"{i}.other_texts"] = np.concatenate(inputs.other_texts)
        rest.append(
            {
                "seed": inputs.seed,
                "replicates": inputs.replicates,
                "logit_scale": inputs.logit_scale,
                "accepted": None if inputs.accepted is None else [sorted(own) for own in inputs.accepted],
                "other_texts": None if inputs.other_texts is None else [len(own) for own in inputs.other_texts],
                "elsewhere": elsewhere,
            }
        )
    np.savez(path, about=np.array(json.dumps({"metrics": of, "inputs": rest})), **arrays)  # type: ignore[arg-type]


def load(path: Path, root: Path) -> dict[str, Inputs]:
    """What `save` wrote, by the metrics' names."""
    with np.load(path, allow_pickle=False) as file:
        about = json.loads(str(file["about"]))
        distinct = []
        for i, rest in enumerate(about["inputs"]):
            given = {name: file[f"{i}.{name}"] for name in ARRAYS if f"{i}.{name}" in file.files}
            for name, (place, network) in rest.pop("elsewhere").items():
                require_sound((root / place).parent)
                given[name] = Known.read(root / place).features[network]
            if rest["other_texts"] is not None:
                rest["other_texts"] = np.split(file[f"{i}.other_texts"], np.cumsum(rest["other_texts"])[:-1])
            if rest["accepted"] is not None:
                rest["accepted"] = [frozenset(own) for own in rest["accepted"]]
            distinct.append(Inputs(**given, **rest))
    return {name: distinct[i] for name, i in about["metrics"].items()}


assert {*ARRAYS, "seed", "replicates", "logit_scale", "accepted", "other_texts"} == {f.name for f in fields(Inputs)}
