"""`composition`: which prompts of the suite pictures show, read by an evaluator; of a model, or of the world itself."""

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
from t2i.processes import device_type
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
    from t2i.evaluation.suites import Item
    from t2i.evaluation.suites.scenes import Posed

METRIC, VLM = "composition", "vlm"
"""The metric that reads it."""
FILE = "composition.json"


def refusal(config: Config) -> str:
    """Why the suite's pictures cannot be judged; empty where they can."""
    if config.eval.judge == VLM or config.eval.clip != BUNDLED or isinstance(config.dataset, Scenes):
        return ""
    return (
        "needs dataset=scenes: the bundled evaluator knows pictures of no other world (eval.judge=vlm asks another one)"
    )


@dataclass(frozen=True, eq=False)
class Composition(Stage):
    """`composition.json`: of every prompt its skill and whether its picture shows it, in the order of the suite: 1 or 0 of a CLIP
    that chooses, the score of a vision-language model that is asked.
    """

    weights: Optional[Weights]
    """Those that draw; None: real pictures, which the world itself draws for the same prompts."""

    name = "composition"
    collective = True
    resources = ("eval", "numbers")

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
        found: dict[str, Any] = {"suite": ["scenes", VERSION], "prompts": own.prompts}
        if own.judge == VLM:
            found["vlm"] = own.vlm
        else:
            found |= {"clip": own.clip, **identity.resized(self.config), **identity.inexact(self.config)}
        return found if self.weights is not None else {**found, "size": self._size(), "dusk": self._dusk()}

    def _size(self) -> int:
        """Side of real pictures: as models draw them, as far as the world can be drawn."""
        return min(512, max(64, self.config.model.resolution))

    def _dusk(self) -> bool:
        """In the light of the data."""
        return isinstance(self.config.dataset, Scenes) and self.config.dataset.light is Light.dusk

    def address(self, run: Run) -> Address:
        return Address({"extractor": self._judge()[1]}, self._slice())

    def _judge(self) -> tuple[str, str]:
        """Its name, and the digest of its weights."""
        from t2i.evaluation.extractors import registry, vlm

        own = self.config.eval
        return vlm.identity(own) if own.judge == VLM else registry.identity(own)

    def build(self, run: Run, folder: Path) -> None:
        suite, drawn = self.suite(), self.pictures
        pictures = self._real(suite) if drawn is None else generated_pictures(made(drawn, run).path, len(suite))
        if self.config.eval.judge == VLM:
            hits = answered(self.config, run, [posed.item for posed in suite], pictures)
        else:
            hits = self._chosen(run, suite, pictures)
        if run.main:
            rows = [
                {"skill": own.item.skill, "prompt": own.item.prompt, "shown": hit}
                for own, hit in zip(suite, hits, strict=True)
            ]
            write_json(folder / FILE, {"judge": self._judge()[0], "prompts": rows})

    def _chosen(self, run: Run, suite: "Sequence[Posed]", pictures: "Pictures") -> list[float]:
        from t2i.evaluation.suites.choice import by_choice

        return by_choice(suite, pictures, extractor_of(self.config, run), self.config.eval.batch_size)

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
        """The judge, and by skill what it says of each prompt, float64 (n,) in [0, 1]."""
        import numpy as np

        found = json.loads((made(self, run).path / FILE).read_text(encoding="utf-8"))
        skills = dict.fromkeys(row["skill"] for row in found["prompts"])
        hits = {
            skill: np.array([row["shown"] for row in found["prompts"] if row["skill"] == skill], dtype=np.float64)
            for skill in skills
        }
        return found["judge"], hits

    def definition(self, run: Run) -> dict[str, Any]:
        """What decides the numbers beside the weights that draw, as JSON values."""
        from t2i.evaluation.suites.answered import PRODUCT

        judge, digest = self._judge()
        suite, asked = self.suite(), self.config.eval.judge == VLM
        return {
            **self._slice(),
            "prompts_sha256": digest_of([own.item.prompt for own in suite]),
            "readings_sha256": digest_of([own.item.questions if asked else repr(own.candidates) for own in suite]),
            "judge": judge,
            "judge_sha256": digest,
            "rule": PRODUCT
            if asked
            else "the best of candidates that differ in the skill, by the mean cosine over regions",
        }


def answered(config: Config, run: Run, items: "Sequence[Item]", pictures: "Pictures") -> list[float]:
    """What `eval.vlm` says of each item's picture, in [0, 1]; each process asks about its share."""
    import numpy as np
    import torch

    from t2i.evaluation.extractors import vlm
    from t2i.evaluation.suites.answered import scores

    own = config.eval
    model = run.kept("vlm", [own.vlm, device_type()], lambda: vlm.build(own, device_type()), most=1)

    def compute(rows: "np.ndarray") -> "np.ndarray":
        return scores([items[row] for row in rows], pictures[rows], model, own.batch_size)[:, None]

    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [float(score) for score in compute(np.arange(len(items)))[:, 0]]
    from t2i.evaluation.distributed import rows_of

    found = rows_of(compute, len(items), own.batch_size, model.device, f"{model.name} answers")
    return [float(score) for score in found[:, 0]]
