"""`composition`: which prompts of the suite a picture shows, read by the evaluator; of a model, or of the world itself."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from t2i import identity
from t2i.config import Config
from t2i.context import Run
from t2i.data.sources.scenes_dataset import Light, Scenes
from t2i.evaluation.config import BUNDLED
from t2i.stages.captions import Texts
from t2i.stages.generated import Generated
from t2i.stages.networks import extractor_of
from t2i.stages.pictures import generated_pictures
from t2i.stages.stage import Address, Stage, made
from t2i.stages.weights import Weights
from t2i.store import digest_of, write_json

if TYPE_CHECKING:
    import numpy as np

    from t2i.data.pictures import Pictures
    from t2i.evaluation.suites.scenes import Posed

METRIC = "composition"
"""The metric that reads it."""
FILE = "composition.json"


def refusal(config: Config) -> str:
    """Why the suite's pictures cannot be judged; empty where they can."""
    if config.eval.clip != BUNDLED or isinstance(config.dataset, Scenes):
        return ""
    return "needs dataset=scenes: the bundled evaluator knows pictures of no other world (eval.clip names another one)"


@dataclass(frozen=True, eq=False)
class Composition(Stage):
    """`composition.json`: of every prompt its skill and whether its picture shows it, in the order of the suite."""

    weights: Optional[Weights]
    """Those that draw; None: real pictures, which the world itself draws for the same prompts."""

    name = "composition"
    collective = True
    resources = ("eval",)

    @property
    def pictures(self) -> Optional[Generated]:
        """What is judged; None: real pictures."""
        if self.weights is None:
            return None
        prompts = [posed.item.prompt for posed in self.suite()]
        return Generated(self.config, Texts(prompts), self.weights)

    def suite(self) -> "list[Posed]":
        """Its prompts."""
        from t2i.evaluation.suites.scenes import suite

        return suite(self.config.eval.prompts)

    def inputs(self) -> dict[str, Stage]:
        return {} if (pictures := self.pictures) is None else {"pictures": pictures}

    def hangs_on(self) -> Any:
        return [identity.evaluators(self.config), self._slice()]

    def _slice(self) -> dict[str, Any]:
        """Of real pictures, too, how they are drawn."""
        from t2i.evaluation.suites.scenes import VERSION

        own = self.config.eval
        found = {"suite": ["scenes", VERSION], "prompts": own.prompts, "clip": own.clip}
        found |= {**identity.resized(self.config), **identity.inexact(self.config)}
        return found if self.weights is not None else {**found, "size": self._size(), "dusk": self._dusk()}

    def _size(self) -> int:
        """Side of real pictures: as models draw them, as far as the world can be drawn."""
        return min(512, max(64, self.config.model.resolution))

    def _dusk(self) -> bool:
        """In the light of the data."""
        return isinstance(self.config.dataset, Scenes) and self.config.dataset.light is Light.dusk

    def address(self, run: Run) -> Address:
        from t2i.evaluation.extractors import registry as extractors

        return Address({"extractor": extractors.identity(self.config.eval)[1]}, self._slice())

    def build(self, run: Run, folder: Path) -> None:
        from t2i.evaluation.suites.judges import by_choice

        suite, clip = self.suite(), extractor_of(self.config, run)
        pictures = self._real(suite) if (drawn := self.pictures) is None else None
        if pictures is None:
            assert drawn is not None
            pictures = generated_pictures(made(drawn, run).path, len(suite))
        hits = by_choice(suite, pictures, clip, self.config.eval.batch_size)
        if run.main:
            rows = [
                {"skill": own.item.skill, "prompt": own.item.prompt, "right": hit}
                for own, hit in zip(suite, hits, strict=True)
            ]
            write_json(folder / FILE, {"judge": clip.name, "prompts": rows})

    def _real(self, suite: "Sequence[Posed]") -> "Pictures":
        import numpy as np

        from t2i.data.pictures import Pictures
        from t2i.data.sources.scenes.coco import at_dusk
        from t2i.data.sources.scenes.world import render

        size, dusk = self._size(), self._dusk()

        def read(rows: Sequence[int]) -> "np.ndarray":
            drawn = [render(suite[row].scene, size) for row in rows]
            return np.stack([np.asarray(at_dusk(picture) if dusk else picture) for picture in drawn])

        return Pictures((len(suite), size, size, 3), read)

    def read(self, run: Run) -> "tuple[str, dict[str, np.ndarray]]":
        """The judge, and by skill 1 or 0 for each prompt, float64 (n,)."""
        import numpy as np

        found = json.loads((made(self, run).path / FILE).read_text(encoding="utf-8"))
        skills = dict.fromkeys(row["skill"] for row in found["prompts"])
        hits = {
            skill: np.array([row["right"] for row in found["prompts"] if row["skill"] == skill], dtype=np.float64)
            for skill in skills
        }
        return found["judge"], hits

    def definition(self, run: Run) -> dict[str, Any]:
        """What decides the numbers beside the weights that draw, as JSON values."""
        from t2i.evaluation.extractors import registry as extractors

        judge, digest = extractors.identity(self.config.eval)
        suite = self.suite()
        return {
            **self._slice(),
            "prompts_sha256": digest_of([own.item.prompt for own in suite]),
            "candidates_sha256": digest_of([repr(own.candidates) for own in suite]),
            "judge": judge,
            "judge_sha256": digest,
            "rule": "the best of candidates that differ in the skill, by the mean cosine over regions",
        }
