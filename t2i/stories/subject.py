"""Is the subject there, is the prompt still followed, what else changed: the answers, their table, and the grid of pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from t2i.config import Config
from t2i.context import Run
from t2i.stages import subject
from t2i.stages.stage import made
from t2i.stages.weights import Base, Weights

if TYPE_CHECKING:
    from t2i.evaluation.verdict import Verdict

QUESTIONS = {
    "dino_i": "Is the subject there?",
    "clip_i": "Is the subject there?",
    "clip_t": "Is the prompt still followed?",
    "drift": "What else changed?",
    "subject_diversity": "Does one prompt give different pictures?",
    "subject_nearest": "Are they the training pictures?",
}
"""What each number answers, in the order in which it is asked."""
AGAINST = {
    "dino_i": "real pictures of it among each other",
    "clip_i": "real pictures of it among each other",
    "clip_t": "the same pictures with other prompts",
    "drift": "pictures of different prompts",
    "subject_diversity": "",
    "subject_nearest": "held-out pictures",
}
"""What a number is read against."""
SHOWN, SUBJECTS = 6, 3
"""Prompts and subjects of the grid."""
TITLE = "The subject in places"


def _keys(metrics: Mapping[str, float]) -> list[str]:
    """The numbers of a subject, in the order of the questions."""
    found = [key for key in metrics if key.endswith("]") and key.partition("[")[0] in QUESTIONS]
    return sorted(found, key=lambda key: list(QUESTIONS).index(key.partition("[")[0]))


def subject_table(
    columns: Mapping[str, Mapping[str, float]], verdict: "Optional[Verdict]" = None
) -> Optional[dict[str, Any]]:
    """One row a question: each model, what it is read against, and with a verdict the change. None where it was not measured.

    columns: the numbers of each model by its name.
    """
    from t2i.reporting.numbers import number

    last = list(columns.values())[-1]
    if not (keys := _keys(last)):
        return None
    changes = {row.metric: row for row in verdict.rows} if verdict else {}

    def change(key: str) -> list[str]:
        if not verdict:
            return []
        row = changes.get(key)
        return [f"{number(row.change.value, row.change.low, row.change.high)}, {row.verdict}" if row else ""]

    return {
        "columns": ["question", "metric", *columns, "read against", *(["change"] if verdict else [])],
        "rows": [
            [
                QUESTIONS[key.partition("[")[0]],
                key,
                *(_shown(metrics, key) for metrics in columns.values()),
                _read_against(last, key),
                *change(key),
            ]
            for key in keys
        ],
        "caption": "Means of cosines with 95 % intervals: over subjects where there are several, otherwise over prompts of "
        "the one. CLIP-I and DINO-I: to held-out pictures of the subject. CLIP-T: to the prompt with the class word in place. "
        "Drift: 1 - cosine of the base model's and this one's picture of unrelated prompts, same seed.",
        "keys": 2,
    }


def _shown(metrics: Mapping[str, float], key: str) -> str:
    from t2i.reporting.numbers import number

    return number(metrics[key], metrics.get(f"{key}.low"), metrics.get(f"{key}.high")) if key in metrics else ""


def _read_against(metrics: Mapping[str, float], key: str) -> str:
    from t2i.reporting.numbers import number

    told = AGAINST[key.partition("[")[0]]
    value = metrics.get(f"{key}.real", metrics.get(f"{key}.chance"))
    return "" if value is None else f"{number(value)}: {told}"


def answer(columns: Mapping[str, Mapping[str, float]], verdict: "Optional[Verdict]" = None) -> str:
    """The three answers in sentences; empty where nothing of a subject was measured."""
    return " ".join(f"{question} {told}" for question, told in answers(columns, verdict).items())


def listed(columns: Mapping[str, Mapping[str, float]], verdict: "Optional[Verdict]" = None) -> str:
    """The same as a list, a question a line."""
    return "\n".join(f"- **{question}** {told}" for question, told in answers(columns, verdict).items())


def answers(columns: Mapping[str, Mapping[str, float]], verdict: "Optional[Verdict]" = None) -> dict[str, str]:
    """By question: its number, what that is read against, and the verdict."""
    from t2i.reporting.names import readable

    names, last = list(columns), list(columns.values())[-1]
    verdicts = {row.metric: row.verdict for row in verdict.rows} if verdict else {}
    told = dict[str, str]()
    for key in _keys(last):
        question = QUESTIONS[key.partition("[")[0]]
        if question in told or question not in list(QUESTIONS.values())[:4]:
            continue
        others = [f"{name} {_shown(columns[name], key)}" for name in names[:-1] if key in columns[name]]
        if against := _read_against(last, key):
            value, _, what = against.partition(": ")
            others.append(f"{what} {value}")
        beside = f" ({'; '.join(others)})" if others else ""
        change = f": {verdicts[key]}" if key in verdicts else ""
        told[question] = f"{readable(key)} {_shown(last, key)}{beside}{change}."
    return told


def prompt_of(config: Config, run: Run) -> str:
    """A prompt of the first subject of the data; empty where there is none, or nothing asks for it."""
    return subject.subjects_of(config, run)[0].prompts[0] if subject.inputs(config, Base()) else ""


def grid(config: Config, run: Run, weights: Mapping[str, Weights]) -> None:
    """The section with a figure a subject: prompts in columns, models in rows, below pictures that it was learned from.

    weights: what draws, by its name. Nothing where no metric of a subject was measured.
    """
    if not subject.inputs(config, next(iter(weights.values()))):
        return
    figures = [
        _figure(config, run, weights, row) for row in range(min(SUBJECTS, len(subject.subjects_of(config, run))))
    ]
    run.section(
        TITLE,
        "The same prompts and seeds in every row of a model; what it should look like is in the last row.",
        [],
        figures,
    )


def _figure(config: Config, run: Run, weights: Mapping[str, Weights], row: int) -> tuple[Path, str]:
    import numpy as np

    from t2i.evaluation.suites.subjects import EACH
    from t2i.reporting.figures import rows_of_pictures
    from t2i.stages.pictures import read_pictures
    from t2i.stages.prepared import data_of, training_split

    subjects = subject.subjects_of(config, run)
    own = subjects[row]
    first, count = sum(len(other.prompts) for other in subjects[:row]), min(SHOWN, len(own.prompts))
    rows = {}
    for name, drawing in weights.items():
        folder = made(subject.SubjectFeatures(config, drawing).sets()["drawn"], run).path
        rows[name] = np.concatenate([read_pictures(folder, 1, (first + k) * EACH) for k in range(count)])
    real = [own.trained[k % len(own.trained)] for k in range(count)]
    learned = training_split(config, data_of(config, run)).squares(real, next(iter(rows.values())).shape[1])
    path = rows_of_pictures(
        {**rows, "learned from": learned},
        own.prompts[:count],
        run.figures() / f"subject_{row}.png",
        f"{own.name} as its prompts draw it",
        "Each column: one prompt and one seed. The last row shows pictures that it was learned from, whatever the prompt above.",
    )
    return path, f"{own.name}: {count} of {len(own.prompts)} prompts, the first of {EACH} pictures each."
