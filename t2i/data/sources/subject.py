"""`dataset=subject`: a few pictures of one subject - a pet, a person, a thing, a style - to teach a model by a rare word."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from t2i.data.sample import Sample
from t2i.data.sources.folder import REPEATED, Folder
from t2i.data.sources.templates import worded
from t2i.data.spool import Spool
from t2i.errors import ConfigError, UserError

if TYPE_CHECKING:
    import numpy as np

CLASS_PICTURES = "reg"
"""Where kohya's tools keep pictures of the class beside those of the subject, which lie in `img`."""
CLASS_TEMPLATES = (
    "a photo of {a label}",
    "a picture of {a label}",
    "a close-up photo of {a label}",
    "a drawing of {a label}",
    "{a label} outdoors",
    "{a label} indoors",
    "{a label} on the beach",
    "{a label} in the snow",
    "{a label} in a garden",
    "{a label} on a street",
    "{a label} on a table",
    "{a label} at night",
)
"""Regularisation captions of a class of which nobody gave any: the class alone, in different places."""


@dataclass
class Subject(Folder):
    """Instance pictures below `root`, as `dataset=folder` reads them; `caption` is the instance prompt of those without one.

    A folder named as kohya does, `10_sks dog`, holds pictures that an epoch sees ten times, with the identifier `sks` and the
    class `dog`; `reg/` beside `img/` holds pictures of the class, which are none of the subject.
    """

    kind: str = "subject"
    name: str = "subject"
    held_out_share: float = 0.4
    """Share of the pictures, by content and seed, that is kept for judging and never trained on: of five two, the fewest that
    numbers need. A count, rounded; of 100 pictures and more each is drawn for itself."""
    class_word: str = ""
    """What the subject is one of, such as dog; empty: what a folder named as in `10_sks dog` says."""
    templates: list[str] = field(default_factory=lambda: ["a photo of {label}"])
    """Captions where only the folder says what an image shows: {label} is its name, {a label} its name with the article."""

    def layout(self) -> str:
        return (
            "4 to 30 pictures of the subject, each with a .txt beside it (or dataset.caption='a photo of sks dog' for all), or "
            "in a folder such as '10_sks dog'"
        )

    def validate(self) -> None:
        super().validate()
        if self.class_word and not self.class_word.strip():
            raise ConfigError("dataset.class_word is blank: type dataset.class_word=dog, or leave it out.")

    def classes(self) -> list[str]:
        """The class words, that of the configuration or those of the folders' names, sorted."""
        if self.class_word:
            return [self.class_word.strip()]
        folders = (path.name for path in self.location().rglob("*") if path.is_dir() and not self._apart(path))
        labels = [found[2] for name in folders if (found := REPEATED.fullmatch(name))]
        return sorted({label.split(maxsplit=1)[1] for label in labels if len(label.split()) > 1})

    def regularised(self) -> list[str]:
        """Those of the configuration; otherwise the class in different places."""
        return super().regularised() or [text for word in self.classes() for text in worded(CLASS_TEMPLATES, word)]

    def everything(self) -> Iterator[tuple[str, Sample]]:
        passed = self._remarks.left_out["class"] = Spool[list[str]](pack=list)
        found = 0
        for split, sample in super().everything():
            if self._apart(sample.path):
                passed.append([self._file(sample), "a picture of the class, not of the subject"])
                continue
            found += 1
            yield split, sample
        if found == 1:
            raise UserError(
                f"dataset={self.name} has one picture in {self.location()}, and one is kept for judging: expected "
                f"{self.layout()}."
            )

    def _held_out(self, samples: Spool[Sample], draws: "np.ndarray") -> "np.ndarray":
        """Of each subject its share: several lie in a folder each. Pictures that are alone in theirs are split together."""
        import numpy as np

        folders = np.array([str(sample.path.parent) for sample in samples])
        held_out, alone = np.zeros(len(draws), bool), np.zeros(len(draws), bool)
        for folder in np.unique(folders):
            own = folders == folder
            if len(np.unique(draws[own])) > 1:
                held_out[own] = draws[own] < self._below(draws[own])
            else:
                alone |= own
        if len(np.unique(draws[alone])) > 1:
            held_out[alone] = draws[alone] < self._below(draws[alone])
        return held_out

    def _apart(self, path: Path) -> bool:
        root = self.location()
        return (root / "img").is_dir() and path.is_relative_to(root / CLASS_PICTURES)
