"""Which method teaches a model a subject, and what does it take: of the rest of the model, of time, of bytes?

    python -m bench personalisation                                     ten drawn characters, the bundled model, one seed
    python -m bench personalisation --subjects=mia,rex --methods=lora_4,unet --seeds=3 --steps=60
    python -m bench personalisation --model=sd15 --root=dreambench/dataset     DreamBench's folder, or any with one per subject

A cell is a subject, a method and a seed: a training, and the numbers of `eval=subject`. Both stay in the store of `--outputs`,
and what a cell found beside it in `cells/`, so the same command goes on where it was stopped; `--minutes=60` begins no cell after
an hour. Subjects are the sample: means, intervals and tests are over those of which every cell is there, seeds averaged.
"""

import json
import re
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench._measure import load, rounded, timed
from bench._options import chosen
from bench._signs import adjusted
from t2i.errors import ConfigError

WORD = "<new>"
METRICS = ("clip_i", "dino_i", "clip_t", "drift", "subject_diversity", "subject_nearest")
COSINES = ("clip_i", "dino_i", "clip_t")
"""Of these; the others are 1 - cosine."""


@dataclass(frozen=True)
class Method:
    """What is typed for it, and at which rate it learns: the bundled model, and a full-size one."""

    keys: tuple[str, ...]
    tiny: float
    full: float


METHODS = {
    "lora_4": Method(("strategy=lora", "strategy.rank=4"), 3e-3, 1e-4),
    "lora_16": Method(("strategy=lora", "strategy.rank=16"), 3e-3, 1e-4),
    "lora_64": Method(("strategy=lora", "strategy.rank=64"), 3e-3, 1e-4),
    "dora_16": Method(("strategy=lora", "strategy.rank=16", "strategy.use_dora=true"), 3e-3, 1e-4),
    "attn2_kv": Method(("strategy=attn2_kv",), 3e-3, 1e-5),
    "text_encoder": Method(("strategy=text_encoder",), 1e-3, 2e-6),
    "textual_inversion": Method(("strategy=textual_inversion",), 5e-3, 5e-4),
    "unet": Method(("strategy=unet",), 3e-4, 5e-6),
}
"""Rates of the bundled model: those of docs/strategies.md, for LoRA of every rank the same, for words the default; of a full-size
one those of papers and examples. No rate was chosen by what is measured here."""


def run(
    model: str = "tiny",
    root: str = "",
    subjects: str = "",
    methods: str = "",
    seeds: int = 1,
    steps: int = 0,
    batch: int = 4,
    prompts: int = 40,
    minutes: int = 0,
    outputs: str = "outputs/personalisation",
    keys: str = "",
) -> dict[str, Any]:
    """Numbers of every cell, and of the methods over subjects. steps: 0 for 100 of the bundled model, 800 of another; prompts:
    unrelated ones, for drift; keys: more of the configuration, with spaces between them.
    """
    names, who = chosen("methods", methods, list(METHODS)), dict(_subjects(root))
    own = chosen("subjects", subjects, list(who))
    steps = steps or (100 if model == "tiny" else 800)
    shared = _shared(model, steps, batch, prompts, outputs) + keys.split()
    start, cells = time.monotonic(), dict[str, dict[str, Any]]()
    for subject, seed, name in ((s, k, n) for s in own for k in range(seeds) for n in names):
        if minutes and time.monotonic() - start > 60 * minutes:
            break
        data, method = who[subject], METHODS[name]
        rate = method.tiny if model == "tiny" else method.full
        typed = [
            *shared,
            *data.typed(name, model),
            *method.keys,
            f"strategy.learning_rate={rate}",
            f"training.seed={seed}",
        ]
        cells[f"{subject}/{name}/{seed}"] = found = _cell(typed, Path(outputs).expanduser().absolute())
        told = ", ".join(f"{key} {found[key]:.3g}" for key in (*METRICS, "train_s") if key in found)
        print(f"{subject} {name} seed {seed}: {told}", flush=True)
    whole = [each for each in own if all(f"{each}/{name}/{k}" in cells for name in names for k in range(seeds))]
    if not whole:
        raise SystemExit(f"{len(cells)} cells are there, and of no subject all of them: the same command goes on")
    return {
        "what": f"{len(whole)} subjects x {len(names)} methods x {seeds} seed{'s' * (seeds > 1)}, "
        f"{steps} steps of {batch} pictures, {model}",
        "model": model,
        "device": _device(),
        "subjects": whole,
        "unfinished": [each for each in own if each not in whole],
        "methods": {name: {"keys": list(METHODS[name].keys)} for name in names},
        "load": load(),
        "cells": cells,
        **summary(cells, whole, names, seeds),
        "results_equal": all(cell["drift_of_base"] == 0 for cell in cells.values()),
    }


# -- subjects ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Data:
    """Pictures of a subject: a drawn character's, or those of a folder."""

    name: str
    kind: str
    folder: Path | None = None

    def typed(self, method: str, model: str = "tiny") -> list[str]:
        """Its keys and the prior's; a method that teaches a word needs it in the captions."""
        from t2i.config import as_override

        teaches = method == "textual_inversion"
        words = ["training.prior=base"]
        if teaches:  # which changes nothing else, so that nothing has to be held
            words = [f"strategy.placeholders=['{WORD}']", f"strategy.initializers={_begins(self.kind, model)}"]
        if self.folder is None:
            prefix = [as_override("training.captions.prefix", f"{WORD} ")] * teaches
            return ["dataset=mascot", f"dataset.character={self.name}", *prefix, *words]
        caption = f"a photo of {WORD if teaches else 'sks'} {self.kind}"
        told = {"dataset.root": str(self.folder), "dataset.caption": caption, "dataset.class_word": self.kind}
        own = [as_override(key, value) for key, value in told.items()]
        return ["dataset=subject", "dataset.held_out_share=0.4", *own, *words]


def _begins(kind: str, model: str) -> str:
    """The class, where the model has one token for it; otherwise a new word begins as the mean of all."""
    from t2i.config import compose
    from t2i.models.tokenizer import TokenCounter

    word = kind.split()[-1]
    tokens = TokenCounter(compose([f"model={model}"]).model).tokenizer.tokenize(word)
    return f"[{word}]" if len(tokens) == 1 else "[]"


def _subjects(root: str) -> Iterator[tuple[str, Data]]:
    """The ten characters; of `root` each folder with pictures, of the class that DreamBench's list says, or its own name."""
    if not root:
        from t2i.data.sources.scenes.mascots import MASCOTS

        yield from ((name, Data(name, kind)) for name, (kind, _, _) in MASCOTS.items())
        return
    above = Path(root).expanduser().absolute()
    if not above.is_dir() or not any(path.is_dir() for path in above.iterdir()):
        raise ConfigError(f"--root={root} holds no subjects; give a folder that has one with pictures for each of them")
    lists = [path for path in (above, above.parent) if (path / "prompts_and_classes.txt").is_file()]
    lines = (lists[0] / "prompts_and_classes.txt").read_text(encoding="utf-8").splitlines() if lists else []
    classes = dict(line.split(",", 1) for line in lines if re.fullmatch(r"\w+,[\w ]+", line))
    for folder in sorted(path for path in above.iterdir() if path.is_dir()):
        kind = classes.get(folder.name, re.sub(r"[\d_]+", " ", folder.name).strip())
        yield folder.name, Data(folder.name, kind, folder)


# -- a cell -----------------------------------------------------------------------------------------------------------


FULL = (
    *("eval.clip=openai/clip-vit-base-patch32", "eval.extractor=dinov2"),
    *("launch.mixed_precision=fp16", "training.gradient_checkpointing=true"),
)
"""Of a full-size model: as experiment=dreambooth measures and trains it."""


def _shared(model: str, steps: int, batch: int, prompts: int, outputs: str) -> list[str]:
    tiny = model == "tiny"
    wanted = ",".join(name for name in METRICS if not (tiny and name == "dino_i"))
    return [
        *(f"model={model}", "eval=subject", f"eval.metrics=[{wanted}]", "eval.images=2", f"eval.prompts={prompts}"),
        *(f"training.steps={steps}", f"training.save_every={steps}", f"training.batch_size={batch}"),
        *("training.schedule=constant", "training.validation_images=0", "training.held_out_images=2"),
        *("training.export_pipeline=false", f"outputs={outputs}", *(("scheduler.steps=12",) if tiny else FULL)),
    ]


def _cell(typed: list[str], outputs: Path) -> dict[str, Any]:
    """What it found, from `cells/` where it was finished before."""
    from t2i.store import digest_of, write_json

    kept = outputs / "cells" / f"{digest_of(sorted(typed))[:16]}.json"
    if kept.is_file():
        found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return found
    found = _measured(typed, outputs)
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_json(kept, found)
    return found


def _measured(typed: list[str], outputs: Path) -> dict[str, Any]:
    from t2i.config import compose
    from t2i.context import Run
    from t2i.processes import Processes
    from t2i.stages.copies import identifying
    from t2i.stages.metrics import Metrics
    from t2i.stages.prepared import Prepared
    from t2i.stages.stage import made
    from t2i.stages.training import Trained, Training
    from t2i.stages.wiring import Wiring
    from t2i.store import Store

    config = compose(typed)
    config.outputs = str(outputs)
    config.validate()
    folder = outputs / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    processes = Processes(config.launch.precision, config.launch.shard)
    run = Run(folder, Store(outputs / "store"), overrides=typed, processes=processes)
    training = Training(config)
    made(Prepared(config), run)
    Wiring(config).read(run)  # neither data nor checks are a method's time
    seconds, weights = timed(lambda: Trained(training).find(run), run.accelerator.device.type)
    after, before = Metrics(config, Trained(training)).read(run).result, Metrics(config).read(run).result
    numbers = {name: _one(after.metrics, name) for name in METRICS if _one(after.metrics, name) is not None}
    base = {f"{name}_of_base": _one(before.metrics, name) for name in numbers}
    size = sum(path.stat().st_size for path in identifying(weights.folder) if path.suffix == ".safetensors")
    real = {key.partition("[")[0] + "_of_real": value for key, value in after.metrics.items() if key.endswith("].real")}
    return {**numbers, **base, **real, "train_s": rounded(seconds), "bytes": size}


def _one(metrics: dict[str, float], name: str) -> float | None:
    return next((value for key, value in metrics.items() if re.fullmatch(rf"{name}\[[^]]+\]", key)), None)


def _device() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


# -- over subjects ----------------------------------------------------------------------------------------------------


def summary(cells: dict[str, dict[str, Any]], subjects: list[str], methods: list[str], seeds: int) -> dict[str, Any]:
    """`methods_over_subjects`: means with intervals; `pairs`: every two methods, paired over subjects, with p values adjusted for
    all pairs by signs that are exchanged; `not_told_apart`; `fewest_subjects` with which a pair could be told apart at all.
    """
    from t2i.evaluation.statistics.paired import fewest_pairs
    from t2i.evaluation.statistics.simultaneous import pairwise
    from t2i.evaluation.statistics.terms import Units, interval, of_mean

    metrics = [name for name in METRICS if name in next(iter(cells.values()))]
    over, pairs, alike = dict[str, Any](), dict[str, Any](), dict[str, list[list[str]]]()
    for metric in (*metrics, "train_s", "bytes"):
        values = {
            name: np.array([statistics.fmean(cells[f"{s}/{name}/{k}"][metric] for k in range(seeds)) for s in subjects])
            for name in methods
        }
        ends = (-1.0, 1.0) if metric in COSINES else (0.0, 2.0 if metric in metrics else np.inf)
        terms = [of_mean(values[name], *ends) for name in methods]
        for name, own in zip(methods, terms, strict=True):
            found = interval(own, Units(), world=False)
            ends_of = (found.low, found.high) if metric != "bytes" else (np.nan, np.nan)  # which no subject changes
            bounded = [rounded(end) if np.isfinite(end) else None for end in ends_of]
            over.setdefault(name, {})[metric] = [rounded(own.value), *bounded]
        if metric not in metrics:
            continue
        compared = pairwise(terms, Units())
        differences = [values[methods[j]] - values[methods[i]] for i, j in compared]
        corrected = adjusted(np.stack(differences, axis=1)) if differences else np.empty(0)
        pairs[metric] = [
            {
                "methods": [methods[i], methods[j]],
                "difference": [rounded(end) for end in (own.difference.value, own.difference.low, own.difference.high)],
                "p": rounded(own.p),
                "adjusted": rounded(float(p)),
            }
            for p, ((i, j), own) in zip(corrected, compared.items(), strict=True)
        ]
        alike[metric] = [own["methods"] for own in pairs[metric] if own["adjusted"] > 0.05]
    return {
        "methods_over_subjects": over,
        "pairs": pairs,
        "not_told_apart": alike,
        "fewest_subjects": fewest_pairs(),
    }
