"""`metrics`: numbers with intervals of a set of generated pictures, by their definition."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from t2i import identity
from t2i.config import Config
from t2i.context import Run
from t2i.stages import composition, geneval_prompts, held_out_loss, subject
from t2i.stages.captions import HeldOut, captions_of, categories_of, other_captions, rows_of
from t2i.stages.composition import Composition
from t2i.stages.generated import Generated
from t2i.stages.geneval_prompts import GenevalPrompts
from t2i.stages.held_out_loss import HeldOutLoss
from t2i.stages.networks import extractors_of, judges_of
from t2i.stages.pictures import generated_pictures, read_pictures
from t2i.stages.prepared import Prepared
from t2i.stages.reference import OfHeldOut, Reference
from t2i.stages.references import reference_of
from t2i.stages.stage import Address, Stage, made
from t2i.stages.training_features import TrainingFeatures
from t2i.stages.weights import Base, Weights

if TYPE_CHECKING:
    import numpy as np

    from t2i.data.prepared import Prepared as Data
    from t2i.evaluation.evaluate import Result
    from t2i.evaluation.gather import Facts, Samples
    from t2i.evaluation.statistics.terms import Units

TERMS = "terms.npz"


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

    def picked(self, rows: Sequence[int]) -> "np.ndarray":
        """The pictures of these captions, uint8 (len(rows), H, W, 3)."""
        import numpy as np

        return np.concatenate([read_pictures(self.folder, 1, row) for row in rows])


@dataclass(frozen=True, eq=False)
class Metrics(Stage):
    """`result.json` (numbers and definition), `per_sample.npz`, and `terms.npz`: what each picture contributes."""

    weights: Weights = field(default_factory=Base)
    against: Optional[Reference] = None
    """None: what `eval.reference` names."""
    earlier: Optional[Generated] = None
    """A finished set of the first pictures, which are not made again."""

    name = "metrics"
    version = 6
    collective = True
    resources = ("eval", "numbers")

    @property
    def pictures(self) -> Generated:
        """What is measured."""
        captions = HeldOut(self.config, self.config.eval.images)
        return Generated(self.config, captions, self.weights, self.earlier)

    @property
    def reference(self) -> Reference:
        """What it is held against."""
        return self.against or reference_of(self.config)

    def inputs(self) -> dict[str, Stage]:
        known: dict[str, Stage] = {
            "data": Prepared(self.config),
            "pictures": self.pictures,
            "reference": self.reference,
        }
        if "memorisation" in self.config.eval.metrics:
            known["training_features"] = TrainingFeatures(self.config)
        if held_out_loss.METRIC in self.config.eval.metrics:
            known["held_out_loss"] = HeldOutLoss(self.config, self.weights)
        if composition.METRIC in self.config.eval.metrics and not composition.refusal(self.config):
            known["composition"] = Composition(self.config, self.weights)
            known["composition of real pictures"] = Composition(self.config, None)
        if geneval_prompts.METRIC in self.config.eval.metrics:
            known["geneval_prompts"] = GenevalPrompts(self.config, self.weights)
        return known | subject.inputs(self.config, self.weights)

    def hangs_on(self) -> Any:
        return identity.numbers(self.config)

    def address(self, run: Run) -> Address:
        from t2i.evaluation.extractors import judges
        from t2i.evaluation.extractors import registry as extractors

        digests = {"extractor": extractors.digests(self.config.eval), **judges.digests(self.config.eval)}
        return Address(digests, identity.numbers(self.config))

    def build(self, run: Run, folder: Path) -> None:
        from t2i.evaluation.evaluate import result_of
        from t2i.evaluation.gather import gather

        samples = self._samples(run)
        networks, judges = extractors_of(self.config, run), judges_of(self.config.eval)
        gathered = gather(self.config.eval, samples, *networks, judges)
        if not run.main:
            return
        write_result(folder, result_of(self.config.eval, samples, *networks, gathered, judges))

    def _samples(self, run: Run) -> "Samples":
        from t2i.evaluation.gather import Samples

        config, data, facts = self.config, Prepared(self.config).read(run), self.reference.facts(run)
        count, held_out = config.eval.images, data.split("held_out")
        names = [own for split in (held_out, data.split("train")) for own in split.categories]
        classes, categories = sorted({name for own in names for name in own}), categories_of(data, count)
        labelled = bool(classes) and all(categories)
        trained = self.inputs().get("training_features")
        samples = Samples(
            generated_pictures(made(self.pictures, run).path, count, config.eval.resolution),
            captions_of(data, count),
            categories if labelled else None,
            None,
            classes if labelled else None,
            train_features=trained.known(run).features if isinstance(trained, TrainingFeatures) else {},
            other_captions=other_captions(held_out, count),
            units=self._units(data, facts),
            generation=_generation(config, made(self.pictures, run).path),
        )
        return self.reference.known_to(self._with_others(samples, run), run)

    def _with_others(self, samples: "Samples", run: Run) -> "Samples":
        """With what is measured beside these pictures: losses, and pictures of a suite."""
        from t2i.evaluation.metrics.measurement import Suited
        from t2i.evaluation.suites.scenes import chance

        stages, own, suites = self.inputs(), dict[str, Any](), dict[str, Suited]()
        if isinstance(losses := stages.get("held_out_loss"), HeldOutLoss):
            found, own[held_out_loss.METRIC] = losses.read(run)
            samples = replace(samples, held_out_losses=found)
        composed, real = stages.get("composition"), stages.get("composition of real pictures")
        if isinstance(composed, Composition) and isinstance(real, Composition):
            judge, hits = composed.read(run)
            asked = self.config.eval.judge == composition.VLM
            suited = Suited(judge, hits, real.read(run)[1], {} if asked else chance(composed.suite()), asked)
            suites[composition.METRIC], own[composition.METRIC] = suited, composed.definition(run)
        if isinstance(asked_of := stages.get("geneval_prompts"), GenevalPrompts):
            suites[geneval_prompts.METRIC] = asked_of.read(run)
            own[geneval_prompts.METRIC] = asked_of.definition(run)
        lacking = {composition.METRIC: composition.refusal(self.config)}
        if "subject" in stages:
            known, about = subject.read(self.config, self.weights, run)
            samples, own = replace(samples, subjects=known), own | dict.fromkeys(subject.asked(self.config), about)
        else:
            lacking |= dict.fromkeys(subject.asked(self.config), subject.refusal(self.config))
        return replace(
            samples, suites=suites, own=own, lacking={name: reason for name, reason in lacking.items() if reason}
        )

    def _units(self, data: "Data", facts: "Facts") -> "Units":
        """Which captions are of one picture, and which reference picture that is."""
        import numpy as np

        from t2i.evaluation.statistics.terms import Units

        real = np.arange(facts.count) if isinstance(self.reference, OfHeldOut) else None
        return Units(np.array(rows_of(data.split("held_out"))[: self.config.eval.images]), real)

    def read(self, run: Run) -> Measured:
        """The numbers, made unless the store has them."""
        folder, pictures, data = (made(stage, run).path for stage in (self, self.pictures, Prepared(self.config)))
        captions = self.pictures.captions.texts(run)
        return Measured(read_result(folder), captions, pictures, folder, data)


def _generation(config: Config, pictures: Path) -> Mapping[str, Any]:
    """By the configuration, and by the recipe of the first picture what only the loaded model could tell."""
    from t2i.sampling.recipe import read_recipe

    told = ("scheduler", "cfg", "seed", "resolution", "engine")
    recipe = read_recipe(pictures / "000000.json")
    grid = {"grid": recipe["grid"]} if "grid" in recipe else {}
    return {**{name: value for name, value in identity.pictures(config).items() if name in told}, **grid}


def write_result(folder: Path, result: "Result") -> None:
    """What a stage of numbers holds: `result.json` (numbers and definition), `per_sample.npz`, and `terms.npz`."""
    import numpy as np

    from t2i.evaluation.statistics import terms_file

    terms_file.save(folder / TERMS, result.terms, result.units)
    told = {name: getattr(result, name) for name in ("metrics", "definition", "skipped", "scopes")}
    (folder / "result.json").write_text(json.dumps(told, indent=2, allow_nan=False), encoding="utf-8")
    np.savez(folder / "per_sample.npz", **result.per_sample)  # type: ignore[arg-type]


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
