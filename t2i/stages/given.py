"""`metrics` of pictures that were given: of any origin, judged as generated ones are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from t2i import identity
from t2i.context import Run
from t2i.data.given.folder import Gallery
from t2i.evaluation.config import HELD_OUT, NONE, OF_SUBJECTS
from t2i.stages import composition, geneval_prompts, held_out_loss
from t2i.stages.metrics import Metrics, read_result, write_result
from t2i.stages.networks import extractors_of, judges_of
from t2i.stages.reference import Reference
from t2i.stages.references import reference_of
from t2i.stages.stage import Address, Stage, made
from t2i.store import digest_of

if TYPE_CHECKING:
    import numpy as np

    from t2i.config import Config
    from t2i.data.pictures import Pictures
    from t2i.evaluation.evaluate import Result
    from t2i.evaluation.gather import Samples
    from t2i.evaluation.statistics.terms import Units

WITHOUT = "vendi"
"""The metric that asks for no reference and no captions: measured where there is no reference."""


OF_MODELS, NO_MODEL = (
    (held_out_loss.METRIC, composition.METRIC, geneval_prompts.METRIC, *OF_SUBJECTS),
    "needs the model that drew the pictures (task=evaluate weights=...)",
)
"""Metrics that are of a model and not of given pictures, and why they are not measured."""


@dataclass(frozen=True)
class Judged:
    """Numbers, and the pictures that they are about."""

    result: "Result"
    given: Gallery
    numbers: Path
    """`result.json`, `per_sample.npz` and `terms.npz`."""

    def picked(self, rows: Sequence[int], side: int) -> "np.ndarray":
        """These pictures as they are shown: uint8 (len(rows), side, side, 3), whole, on white where they are not square."""
        import numpy as np
        from PIL import Image, ImageOps

        from t2i.data.given.folder import pixels

        shown = [Image.fromarray(pixels(self.given.paths[row])) for row in rows]
        return np.stack([np.asarray(ImageOps.pad(image, (side, side), color="white")) for image in shown])


@dataclass(frozen=True, eq=False)
class MetricsOfGiven(Stage):
    """As `Metrics`, of the pictures of a folder."""

    given: Gallery
    against: Optional[Reference]
    """None: metrics that need no reference."""

    name = Metrics.name
    version = Metrics.version
    collective = True
    resources = ("eval", "numbers")

    def inputs(self) -> dict[str, Stage]:
        return {} if self.against is None else {"reference": self.against}

    def hangs_on(self) -> Any:
        return [identity.numbers(self.config), str(self.given.root), self.given.names, self.given.captions]

    def address(self, run: Run) -> Address:
        from t2i.evaluation.extractors import judges
        from t2i.evaluation.extractors import registry as extractors

        digests = {
            "pictures": digest_of(run.store.file_digests(self.given.paths)),
            "captions": digest_of(self.given.captions),
            "extractor": extractors.digests(self.config.eval),
            **judges.digests(self.config.eval),
        }
        config = {name: value for name, value in identity.numbers(self.config).items() if name != "images"}
        return Address(digests, {**config, "metrics": self.metrics})

    @property
    def metrics(self) -> list[str]:
        """What is measured: of pictures without reference how varied they are, too."""
        own = self.config.eval.metrics
        return own if self.against is not None or WITHOUT in own else [*own, WITHOUT]

    def build(self, run: Run, folder: Path) -> None:
        from dataclasses import replace

        from t2i.evaluation.evaluate import result_of
        from t2i.evaluation.gather import gather

        settings, samples = replace(self.config.eval, metrics=self.metrics), self._samples(run)
        networks, judges = extractors_of(self.config, run), judges_of(settings)
        gathered = gather(settings, samples, *networks, judges)
        if run.main:
            write_result(folder, result_of(settings, samples, *networks, gathered, judges))

    def _samples(self, run: Run) -> "Samples":
        from t2i.evaluation.gather import Samples

        captions = None if self.given.captions is None else list(self.given.captions)
        pictures, lacking = (
            brought_to(self.given.pictures, self.config.eval.resolution),
            dict.fromkeys(OF_MODELS, NO_MODEL),
        )
        samples = Samples(pictures, captions, units=self._units(), lacking=lacking)
        return samples if self.against is None else self.against.known_to(samples, run)

    def _units(self) -> "Units":
        """Pictures of one caption are of one draw of captions."""
        import numpy as np

        from t2i.evaluation.statistics.terms import Units

        captions = self.given.captions
        if captions is None or len(set(captions)) == len(captions):
            return Units()
        return Units(np.unique(np.array(captions), return_inverse=True)[1])

    def read(self, run: Run) -> Judged:
        """The numbers, made unless the store has them."""
        folder = made(self, run).path
        return Judged(read_result(folder), self.given, folder)


def brought_to(pictures: "Pictures", side: Optional[int]) -> "Pictures":
    """As `eval.resolution` says: side x side pixels by Pillow's bicubic filter; None: as they are."""
    from t2i.data.pictures import Pictures
    from t2i.models.preprocess import pillow_bicubic

    if side is None:
        return pictures

    def read(rows: Sequence[int]) -> "np.ndarray":
        import numpy as np

        return np.concatenate([pillow_bicubic(pictures[row : row + 1], side) for row in rows])

    return Pictures((len(pictures), side, side, 3), read)


def against(config: "Config", run: Run) -> Optional[Reference]:
    """What given pictures are held against: what `eval.reference` names; the held-out pictures of a data set only where one
    was typed, since the default is of nobody's choice."""
    own = config.eval.reference
    typed = any(item.partition("=")[0].partition(".")[0] == "dataset" for item in run.overrides)
    if own == NONE or (own == HELD_OUT and not typed):
        return None
    return reference_of(config)
