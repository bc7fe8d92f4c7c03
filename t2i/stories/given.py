"""What is told of pictures that were given: how they were read and paired, and the verdict about them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from t2i.config import Config
from t2i.context import Run
from t2i.data.given.pairs import Together
from t2i.evaluation.config import HELD_OUT
from t2i.stages.given import Judged
from t2i.stories.evaluation import metrics_table
from t2i.stories.verdict import answer_of, changes_figure, untested_table, verdict_table

if TYPE_CHECKING:
    from t2i.evaluation.verdict import Verdict

SHOWN, SIDE = 12, 192
RULE = (
    "Pictures are read whole, upright, in sRGB, transparency on its ground, grey as equal red, green and blue; each is resized "
    "from its own size as eval.resize says."
)


def tell_numbers(config: Config, run: Run, judged: Judged) -> None:
    """The section of one set."""
    own = judged.given
    (run.folder / "definition.json").write_text(json.dumps(judged.result.definition, indent=2), encoding="utf-8")
    captions = f"captions from {own.source}" if own.captions else "no captions"
    text = f"{len(own):,} pictures of `{own.root}`, {captions}; {reference_words(config, judged)}. {RULE}"
    run.section(
        "Evaluation", _with(text, own.notes), [metrics_table({"value": judged.result.metrics}), *_skipped(judged)]
    )
    for row in metrics_table({"value": judged.result.metrics})["rows"]:
        run.say(f"{row[0]:<32} {row[1]}")
    for name, reason in judged.result.skipped.items():
        run.say(f"{name:<32} not measured: {reason}")
    for note in own.notes:
        run.say(f"note: {note}")


def tell_verdict(
    config: Config,
    run: Run,
    verdict: "Verdict",
    judged: tuple[Judged, Judged],
    names: tuple[str, str],
    found: Together,
    apart: Mapping[str, float],
    mark: str = "",
) -> None:
    """The section of two sets: table, changes beside what could be seen, and pictures of both.

    apart: numbers of the second set against the first, where there is no reference. mark: as of `verdict.tell`.
    """
    from t2i.reporting.console import lines

    sentence = verdict.told(names[1])
    how = how_paired(found)
    text = (
        f"{sentence[0].upper()}{sentence[1:]}. {verdict.samples:,} pictures each, {how}; "
        f"{reference_words(config, judged[0])}. {RULE}"
    )
    if apart:
        text += f" The two sets lie apart by {_listed(apart)} (0: as two sets of one model)."
    if verdict.disagreement:
        text += f" {verdict.disagreement}."
    tables = [verdict_table(verdict, *judged, names)]
    tables.append(untested_table(verdict, *judged, names))
    run.section(
        f"{names[1]} against {names[0]}",
        _with(text, [*found.notes, *(note for own in judged for note in own.given.notes)]),
        [*(table for table in tables if table["rows"]), *_skipped(judged[0])],
        [*changes_figure(run, verdict, mark), *_pictures(run, judged, names, found, mark)],
        question="Which pictures are better?",
        facts={names[0]: str(judged[0].given.root), names[1]: str(judged[1].given.root), "Compared": how},
        **answer_of(verdict, names, mark),
    )
    for line in lines(tables[0]["columns"], tables[0]["rows"]):
        run.detail(line)
    run.say(f"{names[1]} against {names[0]}: {sentence} ({how})")
    if verdict.disagreement:
        run.say(verdict.disagreement)


def how_paired(found: Together) -> str:
    """`paired by file name`, or that they are not."""
    return f"paired by {found.by}" if found.paired else "independent of each other (no pairs: Welch's test)"


def reference_words(config: Config, judged: Judged) -> str:
    """What the pictures were held against."""
    definition = judged.result.definition
    if definition["reference_sha256"] == "none":
        return "no reference (type eval.reference=<folder of real pictures> for FID and KID)"
    if definition["reference_count"] == 0:
        return f"mean and covariance of {config.eval.reference} as reference, which FID alone can be held against"
    what = "real held-out ones" if config.eval.reference == HELD_OUT else f"of {config.eval.reference}"
    return f"{definition['reference_count']:,} pictures {what} as reference"


def _with(text: str, notes: Sequence[str]) -> str:
    return " ".join([text, *(f"{note[0].upper()}{note[1:]}." for note in dict.fromkeys(notes))])


def _listed(apart: Mapping[str, float]) -> str:
    from t2i.reporting.numbers import number

    def shown(name: str) -> str:
        low, high = (apart.get(f"{name}.world.{end}", apart.get(f"{name}.{end}")) for end in ("low", "high"))
        return f"{name} {number(apart[name], low, high)}"

    return ", ".join(shown(name) for name in apart if not name.endswith((".low", ".high")))


def _skipped(judged: Judged) -> list[dict[str, Any]]:
    rows = [list(item) for item in judged.result.skipped.items()]
    return [{"columns": ["not measured", "why"], "rows": rows, "caption": ""}] if rows else []


def _pictures(
    run: Run, judged: tuple[Judged, Judged], names: tuple[str, str], found: Together, mark: str
) -> list[tuple[Path, str]]:
    from t2i.reporting.figures import rows_of_pictures

    count = len(judged[0].given)
    picked = [round(k * (count - 1) / max(1, min(SHOWN, count) - 1)) for k in range(min(SHOWN, count))]
    captions = judged[0].given.captions if found.paired else None
    labels = [captions[k] if captions else judged[0].given.names[k] if found.paired else "" for k in picked]
    path = rows_of_pictures(
        {name: own.picked(picked, SIDE) for name, own in zip(names, judged, strict=True)},
        labels,
        run.figures() / f"pictures{mark}.png",
        f"{names[0]} and {names[1]}",
        "Each column: one pair." if found.paired else "Not paired: pictures at equal places of both folders.",
    )
    return [(path, f"{len(picked)} of {count:,} pictures of each.")]
