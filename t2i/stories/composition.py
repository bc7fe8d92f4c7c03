"""Composition by skill: models beside real pictures of the same prompts and beside chance, and which skills the judge can see."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    from t2i.evaluation.verdict import Verdict


def skills_table(
    columns: Mapping[str, Mapping[str, float]], verdict: "Optional[Verdict]" = None
) -> Optional[dict[str, Any]]:
    """One row a skill: chance, real pictures, each model, and with a verdict the change. None where it was not measured.

    columns: the numbers of each model by its name.
    """
    from t2i.evaluation.metrics.composition import NAMES
    from t2i.reporting.numbers import number

    first = next(iter(columns.values()))
    skills = {
        key: skill
        for skill, name in NAMES.items()
        for key in first
        if key.partition("[")[0] == name and key.endswith("]")
    }
    if not skills:
        return None

    def shown(metrics: Mapping[str, float], key: str) -> str:
        if key not in metrics:
            return ""
        return number(metrics[key], metrics.get(f"{key}.low"), metrics.get(f"{key}.high"))

    changes = {row.metric: row for row in verdict.rows} if verdict else {}

    def change(key: str) -> str:
        row = changes.get(key)
        return f"{number(row.change.value, row.change.low, row.change.high)}, {row.verdict}" if row else ""

    judge = next(iter(skills)).partition("[")[2].rstrip("]")
    return {
        "columns": ["skill", "chance", "real pictures", *columns, *(["change"] if verdict else [])],
        "rows": [
            [
                skill,
                shown(first, f"{key}.chance"),
                shown(first, f"{key}.real"),
                *(shown(metrics, key) for metrics in columns.values()),
                *([change(key)] if verdict else []),
            ]
            for key, skill in skills.items()
        ],
        "caption": f"Share of prompts whose picture shows what they ask for, read by {judge}, with 95 % intervals over prompts. "
        "Real pictures are drawn by the world itself for the same prompts: what is missing of 1 there is the judge's own "
        f"error, and no model can be seen above it.{_blind(first, skills)}",
    }


def _blind(metrics: Mapping[str, float], skills: Mapping[str, str]) -> str:
    """A sentence about skills that the judge cannot see even in real pictures."""
    names = [
        skill
        for key, skill in skills.items()
        if metrics.get(f"{key}.real.low", 1.0) <= metrics.get(f"{key}.chance", 0.0)
    ]
    if not names:
        return ""
    return f" This judge cannot tell {' or '.join(names)} from chance even in real pictures: those rows say nothing."
