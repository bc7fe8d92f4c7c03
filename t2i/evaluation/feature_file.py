"""The features that an evaluation computed from, as one `.npz` file: what a later comparison needs, without a network."""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from t2i.evaluation.measurement import Inputs

ARRAYS = ("generated", "reference", "texts", "classes", "logits", "train")


def save(path: Path, gathered: Mapping[str, Inputs]) -> None:
    """Write what `gather` gave; metrics that share their features share them in the file too."""
    distinct = list({id(inputs): inputs for inputs in gathered.values()}.values())
    of = {name: next(i for i, other in enumerate(distinct) if other is inputs) for name, inputs in gathered.items()}
    arrays: dict[str, np.ndarray] = {}
    rest: list[dict[str, Any]] = []
    for i, inputs in enumerate(distinct):
        arrays |= {f"{i}.{name}": getattr(inputs, name) for name in ARRAYS if getattr(inputs, name) is not None}
        if inputs.other_texts is not None:
            arrays[f"{i}.other_texts"] = np.concatenate(inputs.other_texts)
        rest.append(
            {
                "seed": inputs.seed,
                "replicates": inputs.replicates,
                "logit_scale": inputs.logit_scale,
                "accepted": None if inputs.accepted is None else [sorted(own) for own in inputs.accepted],
                "other_texts": None if inputs.other_texts is None else [len(own) for own in inputs.other_texts],
            }
        )
    np.savez(path, about=np.array(json.dumps({"metrics": of, "inputs": rest})), **arrays)  # type: ignore[arg-type]


def load(path: Path) -> dict[str, Inputs]:
    """What `save` wrote, by the metrics' names."""
    with np.load(path, allow_pickle=False) as file:
        about = json.loads(str(file["about"]))
        distinct = []
        for i, rest in enumerate(about["inputs"]):
            given = {name: file[f"{i}.{name}"] for name in ARRAYS if f"{i}.{name}" in file.files}
            if rest["other_texts"] is not None:
                rest["other_texts"] = np.split(file[f"{i}.other_texts"], np.cumsum(rest["other_texts"])[:-1])
            if rest["accepted"] is not None:
                rest["accepted"] = [frozenset(own) for own in rest["accepted"]]
            distinct.append(Inputs(**given, **rest))
    return {name: distinct[i] for name, i in about["metrics"].items()}


assert {*ARRAYS, "seed", "replicates", "logit_scale", "accepted", "other_texts"} == {f.name for f in fields(Inputs)}
