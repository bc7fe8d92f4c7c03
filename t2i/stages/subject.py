"""`subject`: features of a model's pictures of a subject in many places, and of anything else; and of real pictures of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from t2i import identity
from t2i.config import Config, Task, as_override
from t2i.context import Run
from t2i.data.sources.scenes_dataset import Scenes
from t2i.data.sources.subject import Subject as SubjectData
from t2i.errors import ConfigError
from t2i.evaluation.config import OF_SUBJECTS
from t2i.stages.captions import Captions
from t2i.stages.generated import Generated
from t2i.stages.networks import extractors_of
from t2i.stages.pictures import generated_pictures, pictures_of
from t2i.stages.prepared import Prepared, training_split
from t2i.stages.stage import Address, Stage, made
from t2i.stages.tuned import taught
from t2i.stages.weights import Base, Weights
from t2i.store import digest_of

if TYPE_CHECKING:
    import numpy as np

    from t2i.evaluation.metrics.subject import Subjects
    from t2i.evaluation.suites.subjects import Subject

FILE = "features.npz"
FEWEST = 2
"""Held-out pictures that a number needs."""
MOST = 16
"""Prompts of one subject, for what a plan says."""


def asked(config: Config) -> list[str]:
    """Which of the metrics that are asked for are of a subject."""
    return [name for name in config.eval.metrics if name in OF_SUBJECTS]


def refusal(config: Config) -> str:
    """Why nothing of it can be measured; empty where something can."""
    data = config.dataset
    if isinstance(data, SubjectData) or (isinstance(data, Scenes) and data.character is not None):
        return ""
    return "needs pictures of a subject: dataset=subject dataset.root=... dataset.class_word=dog, or dataset=mascot"


def subjects_of(config: Config, run: Run) -> "list[Subject]":
    """What there is to draw, once the data are prepared."""
    from t2i.evaluation.suites.subjects import Subject, of_character, of_pictures

    data = Prepared(config).read(run)
    trained, held_out, own = training_split(config, data), data.split("held_out"), config.dataset
    if isinstance(own, Scenes) and own.character is not None:
        name = own.character.value
        prompts, plain = of_character(name, config.training.captions.prefix)
        return [Subject(name, prompts, plain, list(range(len(trained))), list(range(len(held_out))))]
    sides = [(split.ids, split.captions) for split in (trained, held_out)]
    return of_pictures(sides[0], sides[1], own.classes(), config.training.captions.prefix)


def require(config: Config, run: Run) -> None:
    """Before anything is drawn: there are subjects, two held-out pictures, and prompts with a word that `weights=` teach.

    Raises UserError or ConfigError with what to type.
    """
    if not asked(config) or refusal(config):
        return
    subjects = subjects_of(config, run)
    if (count := len(Prepared(config).read(run).split("held_out"))) < FEWEST and config.task is not Task.pipeline:
        raise ConfigError(
            f"{', '.join(asked(config))} need {FEWEST} held-out pictures and {count} is there: give more pictures, or a "
            "larger dataset.held_out_share, and train with it"
        )
    words = taught(config)
    if words and not any(word in text for own in subjects for text in own.prompts for word in words):
        raise ConfigError(
            f"no prompt of {subjects[0].name} has {words[0]}, which weights= teaches: type "
            f"{as_override('training.captions.prefix', f'{words[0]} ')} as in its training, or captions with the word, such as "
            f"dataset.caption='a photo of {words[0]}'"
        )


@dataclass(frozen=True)
class OfSubjects(Captions):
    """Every prompt of every subject, in its turn as often as it is drawn."""

    config: Config
    most: int = MOST * 2

    def needs(self) -> list[Stage]:
        return [Prepared(self.config)]

    def hangs_on(self) -> Any:
        return ["subjects", self.config.training.images, self.config.training.captions.prefix]

    def texts(self, run: Run) -> list[str]:
        from t2i.evaluation.suites.subjects import EACH

        return [text for own in subjects_of(self.config, run) for text in own.prompts for _ in range(EACH)]


@dataclass(frozen=True)
class Unrelated(Captions):
    """Captions that name nothing of the subject's class."""

    config: Config
    most: int

    def needs(self) -> list[Stage]:
        return [Prepared(self.config)]  # its source says the classes

    def hangs_on(self) -> Any:
        return ["unrelated", self.most]

    def texts(self, run: Run) -> list[str]:
        from t2i.evaluation.suites.subjects import unrelated

        return unrelated(self.most, self.config.dataset.classes())


@dataclass(frozen=True, eq=False)
class SubjectFeatures(Stage):
    """`features.npz`: by network `<name>.drawn` and `<name>.elsewhere`, float32 (N, D), of a model's pictures; of real ones
    `<name>.trained`, `<name>.held_out`, and `<name>.texts` of the prompts' twins.
    """

    weights: Optional[Weights]
    """Those that draw; None: real pictures, and texts."""

    name = "subject"
    collective = True
    resources = ("eval", "numbers")

    def sets(self) -> dict[str, Generated]:
        """What is drawn; of real pictures nothing."""
        if self.weights is None:
            return {}
        return {
            "drawn": Generated(self.config, OfSubjects(self.config), self.weights),
            "elsewhere": Generated(self.config, Unrelated(self.config, self.config.eval.prompts), self.weights),
        }

    def needs(self) -> list[Stage]:
        return [Prepared(self.config)]

    def inputs(self) -> dict[str, Stage]:
        return {**self.sets()} if self.weights is not None else {"data": Prepared(self.config)}

    def hangs_on(self) -> Any:
        own = self.config
        real = [own.training.images, own.training.captions.prefix, own.dataset.resolution]
        return [identity.evaluators(own), own.eval.resolution, real if self.weights is None else own.eval.prompts]

    def address(self, run: Run) -> Address:
        from t2i.evaluation.extractors import registry as extractors
        from t2i.stages.reference import networks

        own = {**networks(self.config), **identity.inexact(self.config), "resolution": self._side()}
        digests = {"extractor": extractors.digests(self.config.eval)}
        if self.weights is None:
            digests["subjects"] = digest_of([vars(found) for found in subjects_of(self.config, run)])
        return Address(digests, own)

    def _side(self) -> Optional[int]:
        return self.config.dataset.resolution if self.weights is None else self.config.eval.resolution

    def build(self, run: Run, folder: Path) -> None:
        import numpy as np

        from t2i.evaluation.extractors.registry import shared_image_features, text_features

        networks = extractors_of(self.config, run)
        size, found = self.config.eval.batch_size, dict[str, "np.ndarray"]()
        for network in dict.fromkeys(networks):
            for name, pictures in self._pictures(run).items():
                found[f"{network.name}.{name}"] = shared_image_features(network, name, pictures, size)
        if self.weights is None:
            twins = [text for own in subjects_of(self.config, run) for text in own.plain]
            found[f"{networks[1].name}.texts"] = text_features(networks[1], twins, size)
        if run.main:
            np.savez(folder / FILE, **found)  # type: ignore[arg-type]

    def _pictures(self, run: Run) -> dict[str, Any]:
        if self.weights is None:
            data = Prepared(self.config).read(run)
            splits = {"trained": training_split(self.config, data), "held_out": data.split("held_out")}
            return {name: pictures_of(split, self.config.dataset.resolution) for name, split in splits.items()}
        return {
            name: generated_pictures(made(own, run).path, len(own.captions.texts(run)), self.config.eval.resolution)
            for name, own in self.sets().items()
        }

    def features(self, run: Run) -> "dict[str, np.ndarray]":
        """Its arrays by name."""
        import numpy as np

        with np.load(made(self, run).path / FILE, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}


def inputs(config: Config, weights: Weights) -> dict[str, SubjectFeatures]:
    """What the metrics of a subject are computed from, by name; nothing where none is asked for, or can be measured."""
    if not asked(config) or refusal(config):
        return {}
    return {
        "subject": SubjectFeatures(config, weights),
        "subject by the base": SubjectFeatures(config, Base()),
        "real subject": SubjectFeatures(config, None),
    }


def read(config: Config, weights: Weights, run: Run) -> "tuple[dict[str, Subjects], dict[str, Any]]":
    """By network what the metrics are computed from, and what defines them."""
    import numpy as np

    from t2i.evaluation.metrics.subject import Subjects
    from t2i.evaluation.suites.subjects import EACH, VERSION

    stages, subjects = inputs(config, weights), subjects_of(config, run)
    own, before, real = (stage.features(run) for stage in stages.values())
    counts = [len(found.prompts) for found in subjects]
    prompts = np.repeat(np.arange(sum(counts)), EACH)
    owners = np.repeat(np.arange(len(subjects)), np.array(counts) * EACH)
    rows = {side: [getattr(found, side) for found in subjects] for side in ("trained", "held_out")}
    labels = {side: np.repeat(np.arange(len(subjects)), list(map(len, own))) for side, own in rows.items()}
    places = {side: np.concatenate([np.array(own, np.int64) for own in found]) for side, found in rows.items()}
    known = {}
    for name in {key.rpartition(".")[0] for key in own}:
        texts = real.get(f"{name}.texts")
        known[name] = Subjects(
            own[f"{name}.drawn"],
            prompts,
            owners,
            real[f"{name}.held_out"][places["held_out"]],
            labels["held_out"],
            real[f"{name}.trained"][places["trained"]],
            labels["trained"],
            own[f"{name}.elsewhere"],
            before[f"{name}.elsewhere"],
            None if texts is None else np.repeat(texts, EACH, axis=0),
            weights.find(run) is None,
        )
    about = {
        "version": VERSION,
        "subjects": [found.name for found in subjects],
        "prompts_sha256": digest_of([[found.prompts, found.plain] for found in subjects]),
        "pictures_of_each_prompt": EACH,
        "unrelated_prompts": config.eval.prompts,
        "trained": list(map(len, rows["trained"])),
        "held_out": list(map(len, rows["held_out"])),
        "data": made(Prepared(config), run).digest,
        "sample": "subjects" if len(subjects) > 1 else "prompts of the one subject",
    }
    return known, about
