"""`task=evaluate`: numbers with intervals for the base or the tuned model, by their definition."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from t2i import identity
from t2i.config import Config
from t2i.context import Run, device_type
from t2i.evaluation.config import HELD_OUT
from t2i.stages.fitting import fit_images
from t2i.stages.reference import generated_pictures, reference_of, training_features
from t2i.stages.generated import captions_of, categories_of, generated_set, prepared, read_pictures, rows_of
from t2i.stages.tuned import Tuned, find_tuned
from t2i.store import Stage, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from t2i.data.prepared import Split
    from t2i.evaluation.evaluate import Result
    from t2i.evaluation.extractors.registry import Extractor, ImageExtractor
    from t2i.evaluation.statistics.terms import Units

VERSION = 5
TERMS = "terms.npz"
EVALUATED = "evaluated.json"
"""In a run folder: for each evaluated model the digests of its stages, by which task=compare finds them."""


@dataclass(frozen=True)
class Measured:
    """Numbers, and the pictures that they are about."""

    result: "Result"
    captions: list[str]
    folder: Path
    """Of the generated set."""
    numbers: Path
    """`result.json`, `per_sample.npz` and `terms.npz`."""
    data: Path
    """The prepared dataset that captions and reference are from."""

    def pictures(self, count: int) -> "np.ndarray":
        """The first `count` pictures, uint8 (count, H, W, 3)."""
        return read_pictures(self.folder, count)

    def picked(self, rows: "Sequence[int]") -> "np.ndarray":
        """The pictures of these captions, uint8 (len(rows), H, W, 3)."""
        import numpy as np

        return np.concatenate([read_pictures(self.folder, 1, row) for row in rows])


def evaluate(config: Config, run: Run) -> dict[str, float]:
    """Returns every metric with its interval; leaves `definition.json` and a table beside it."""
    fit_images(config, run)
    tuned = find_tuned(config, run)
    measured = measure(config, run, tuned)
    result = measured.result
    if run.main:
        note(run, {"tuned" if tuned else "base": measured})
        (run.folder / "definition.json").write_text(json.dumps(result.definition, indent=2), encoding="utf-8")
        run.section(
            "Evaluation",
            f"{'Tuned' if tuned else 'Base'} model, {result.definition['generated_count']} pictures against "
            f"{result.definition['reference_count']} {_of_reference(config)}.",
            [metrics_table({"value": result.metrics})],
        )
        for row in metrics_table({"value": result.metrics})["rows"]:
            run.say(f"{row[0]:<32} {row[1]}")
        for name, reason in result.skipped.items():
            run.say(f"{name:<32} not measured: {reason}")
    return result.metrics


def _of_reference(config: Config) -> str:
    return "real held-out ones" if config.eval.reference == HELD_OUT else f"generated ones of {config.eval.reference}"


def note(run: Run, models: "dict[str, Measured]") -> None:
    """Leave in the run folder which stages the numbers of which model are in, and what they are about."""
    found = {
        name: {"metrics": own.numbers.name, "generated": own.folder.name, "prepared": own.data.name}
        for name, own in models.items()
    }
    write_json(run.folder / EVALUATED, found)


def extractor_of(config: Config, run: Run) -> "Extractor":
    """The CLIP that reads images and texts, loaded once a run."""
    from t2i.evaluation.extractors import registry as extractors

    return run.kept("clip", identity.evaluators(config), lambda: extractors.build(config.eval, device_type()), most=2)


def extractors_of(config: Config, run: Run) -> "tuple[ImageExtractor, Extractor]":
    """The network that `eval.extractor` names, and the CLIP for metrics that need texts; loaded once a run."""
    from t2i.evaluation.config import CLIPS
    from t2i.evaluation.extractors import registry as extractors

    clip = extractor_of(config, run)
    if config.eval.extractor in CLIPS:
        return clip, clip

    def make() -> "ImageExtractor":
        return extractors.EXTRACTORS[config.eval.extractor](config.eval, device_type())

    return run.kept("extractor", identity.evaluators(config), make, most=2), clip


def measure(config: Config, run: Run, tuned: Optional[Tuned], earlier: Optional[Stage] = None) -> Measured:
    """Generate (or reuse) a set of pictures for held-out captions and measure it, as stages of the store.

    earlier: a set of the first of these pictures, which are not made again.
    """
    import numpy as np

    from t2i.evaluation.evaluate import result_of
    from t2i.evaluation.extractors import registry as extractors
    from t2i.evaluation.gather import Samples, gather
    from t2i.evaluation.statistics import terms_file

    data_stage, data = prepared(config, run)
    count = config.eval.images
    captions, categories = captions_of(data, count), categories_of(data, count)
    pictures = generated_set(config, run, captions, tuned, earlier)
    reference = reference_of(config, run, data_stage, data, lambda: extractors_of(config, run))
    known = [reference.known]
    if "memorisation" in config.eval.metrics:
        known.append(training_features(config, run, lambda: extractors_of(config, run)))

    def build(folder: Path) -> None:
        held_out = data.split("held_out")
        classes = sorted(
            {name for split in (held_out, data.split("train")) for names in split.categories for name in names}
        )
        labelled = bool(classes) and all(categories)
        samples = Samples(
            generated_pictures(pictures.path, count, config.eval.resolution),
            captions,
            categories if labelled else None,
            None,
            classes if labelled else None,
            reference_features=known[0].features,
            reference_facts=reference.facts,
            train_features=known[1].features if known[1:] else {},
            other_captions=_other_captions(held_out, count),
            units=units_of(config, held_out, count, reference.facts.count),
            generation={
                name: value
                for name, value in identity.pictures(config).items()
                if name in ("scheduler", "cfg", "seed", "resolution")
            },
        )
        networks = extractors_of(config, run)
        gathered = gather(config.eval, samples, *networks)
        if not run.main:
            return
        result = result_of(config.eval, samples, *networks, gathered)
        terms_file.save(folder / TERMS, result.terms, result.units)
        told = {name: getattr(result, name) for name in ("metrics", "definition", "skipped", "scopes")}
        (folder / "result.json").write_text(json.dumps(told, indent=2, allow_nan=False), encoding="utf-8")
        np.savez(folder / "per_sample.npz", **result.per_sample)  # type: ignore[arg-type]

    inputs = {
        "pictures": pictures.digest,
        "data": data_stage.digest,
        "reference": reference.stage.digest,
        "extractor": extractors.digests(config.eval),
    }
    if known[1:]:
        inputs["training_features"] = known[1].path.parent.name
    stage = run.stage("metrics", inputs, identity.numbers(config), VERSION, build, collective=True)
    return Measured(read_result(stage.path), captions, pictures.path, stage.path, data_stage.path)


def read_result(folder: Path) -> "Result":
    """What a stage of numbers holds."""
    import numpy as np

    from t2i.evaluation.evaluate import Result
    from t2i.evaluation.statistics import terms_file

    found = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    with np.load(folder / "per_sample.npz", allow_pickle=False) as arrays:
        per_sample = {name: arrays[name] for name in arrays.files}
    terms, units = terms_file.load(folder / TERMS)
    return Result(found["metrics"], per_sample, found["definition"], found["skipped"], terms, units, found["scopes"])


def units_of(config: Config, split: "Split", count: int, reference: int) -> "Units":
    """Which of the first `count` captions are of one picture, and which reference picture that is."""
    import numpy as np

    from t2i.evaluation.statistics.terms import Units

    real = np.arange(reference) if config.eval.reference == HELD_OUT else None
    return Units(np.array(rows_of(split)[:count]), real)


def _other_captions(split: "Split", count: int) -> list[list[str]]:
    """For each caption of `captions_of` the others of its picture."""
    rounds = max(map(len, split.captions), default=0)
    others = [group[:k] + group[k + 1 :] for k in range(rounds) for group in split.captions if k < len(group)]
    return others[:count]


def metrics_table(columns: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Metrics with intervals as a table: one row a metric, one column a model; of one model the world's intervals too."""
    from t2i.reporting.numbers import number

    first = next(iter(columns.values()))
    names = [name for name in first if not name.endswith((".low", ".high"))]
    alone = len(columns) == 1 and any(name.endswith(".world.low") for name in first)

    def shown(metrics: dict[str, float], name: str, end: str = "") -> str:
        low, high = metrics.get(f"{name}{end}.low"), metrics.get(f"{name}{end}.high")
        return "" if end and low is None else number(metrics[name], low, high)

    return {
        "columns": ["metric", *columns, *(["for the world"] if alone else [])],
        "rows": [
            [
                name,
                *(shown(metrics, name) for metrics in columns.values()),
                *([shown(first, name, ".world")] if alone else []),
            ]
            for name in names
        ],
        "caption": "Value and 95 % interval: for this reference (precision, recall, density and coverage: for the world that it "
        "is drawn from)"
        + ("; the last column for the world. " if alone else ". ")
        + "The bracket names the feature extractor: a number from another extractor (such as the Inception FID of papers) is "
        "another quantity.",
    }
