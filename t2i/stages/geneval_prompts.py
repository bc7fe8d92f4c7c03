"""`geneval_prompts`: what a vision-language model says of a model's pictures of GenEval's prompts."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2i.context import Run
from t2i.stages.captions import Texts
from t2i.stages.composition import answered
from t2i.stages.generated import Generated
from t2i.stages.pictures import generated_pictures
from t2i.stages.stage import Address, Stage, made
from t2i.stages.weights import Weights
from t2i.store import digest_of, write_json

if TYPE_CHECKING:
    from t2i.evaluation.metrics.measurement import Suited
    from t2i.evaluation.suites import Item

METRIC = "geneval_prompts"
"""The metric that reads it."""
FILE = "answers.json"


@dataclass(frozen=True, eq=False)
class GenevalPrompts(Stage):
    """`answers.json`: of every prompt its skill and the score of its picture, in the order of the suite."""

    weights: Weights

    name = "geneval_prompts"
    collective = True
    resources = ("eval", "numbers")

    def items(self) -> "list[Item]":
        """The first `eval.prompts` of each skill."""
        from t2i.evaluation.suites.geneval import items

        return items(self.config.eval.prompts)

    @property
    def pictures(self) -> Generated:
        """What is judged: one of each prompt."""
        return Generated(self.config, Texts([item.prompt for item in self.items()]), self.weights)

    def inputs(self) -> dict[str, Stage]:
        return {"pictures": self.pictures}

    def hangs_on(self) -> Any:
        return self._slice()

    def _slice(self) -> dict[str, Any]:
        from t2i.evaluation.suites.geneval import VERSION

        return {"suite": ["geneval", VERSION], "prompts": self.config.eval.prompts, "vlm": self.config.eval.vlm}

    def address(self, run: Run) -> Address:
        from t2i.evaluation.extractors import vlm

        return Address({"extractor": vlm.identity(self.config.eval)[1]}, self._slice())

    def build(self, run: Run, folder: Path) -> None:
        items = self.items()
        pictures = generated_pictures(made(self.pictures, run).path, len(items))
        scores = answered(self.config, run, items, pictures)
        if run.main:
            rows = [
                {"skill": item.skill, "prompt": item.prompt, "score": score}
                for item, score in zip(items, scores, strict=True)
            ]
            write_json(folder / FILE, rows)

    def read(self, run: Run) -> "Suited":
        """By skill the score of each prompt; one that is published twice is one, with the mean of its pictures."""
        import numpy as np

        from t2i.evaluation.extractors import vlm
        from t2i.evaluation.metrics.measurement import Suited

        found: dict[str, dict[str, list[float]]] = {}
        for row in json.loads((made(self, run).path / FILE).read_text(encoding="utf-8")):
            found.setdefault(row["skill"], {}).setdefault(row["prompt"], []).append(row["score"])
        means = {skill: np.array([np.mean(own) for own in prompts.values()]) for skill, prompts in found.items()}
        return Suited(vlm.identity(self.config.eval)[0], means, {}, {}, scored=True)

    def definition(self, run: Run) -> dict[str, Any]:
        """What decides the numbers beside the weights that draw, as JSON values."""
        from t2i.evaluation.extractors import vlm
        from t2i.evaluation.suites.answered import PRODUCT

        judge, digest = vlm.identity(self.config.eval)
        items = self.items()
        return {
            **self._slice(),
            "prompts_sha256": digest_of([item.prompt for item in items]),
            "questions_sha256": digest_of([item.questions for item in items]),
            "judge": judge,
            "judge_sha256": digest,
            "rule": f"{PRODUCT}; the mean of the skills' means",
        }
