"""What a prepared set holds: pictures, captions, words; what was set aside, and why."""

from typing import TYPE_CHECKING, Any

from t2i.config import Config
from t2i.context import Run
from t2i.data.base import NearDuplicates
from t2i.data.preparation.census import census
from t2i.data.reading import audit_head
from t2i.stages.long_captions import LongCaptions
from t2i.stages.prepared import Prepared
from t2i.stages.stage import made
from t2i.stages.survey import Survey
from t2i.store import Stage as Finished
from t2i.stories import set_aside
from t2i.stories.exploration import exploration

if TYPE_CHECKING:
    from t2i.data.preparation.census import Census
    from t2i.data.survey import Survey as Found

CAPTIONS = ("empty_caption", "duplicate_caption")
"""Kinds of what is set aside that are captions; the others are pictures."""
Table = dict[str, Any]


def tell(config: Config, run: Run) -> dict[str, float]:
    """Returns how many pictures, captions and words there are, how many captions are cut, and what was set aside."""
    stage, long = made(Prepared(config), run), LongCaptions(config)
    if long.wanted(run):
        made(long, run)
    found = Survey(config).read(run)
    files = census(config.dataset, stage.path) if run.main else None
    if run.main:
        _section(config, run, stage, found, files)
    return counts(found, audit_head(stage.path)["counts"]) | (files.metrics() if files else {})


def counts(found: "Found", head: dict[str, dict[str, int]]) -> dict[str, float]:
    """The numbers of metrics.json; `domain/<name>/<split>` are pictures, `set_aside/<kind>` pictures or captions.

    head: the counts at the beginning of audit.json.
    """
    aside = head["set_aside"]
    metrics = {
        "train_images": found.images["train"],
        "held_out_images": found.images["held_out"],
        "captions": sum(found.captions.values()),
        "distinct_words": found.distinct_words,
        "quarantined": aside["unusable"],
        "flat_images": head["kept"]["flat"],
        "merged_captions": head["kept"]["merged_captions"],
    }
    if found.tokens:
        metrics["captions_cut"], metrics["tokens_cut"] = found.cut
        metrics["longest_caption_tokens"] = max(found.tokens)
    metrics |= {f"set_aside/{kind}": n for kind, n in aside.items() if kind != "near_duplicates"}
    metrics["near_duplicate_pairs"] = aside["near_duplicates"]
    for split, domains in found.domains.items():
        metrics |= {f"domain/{name}/{split}": n for name, n in domains.items()}
    return {name: float(value) for name, value in metrics.items()}


def sentence(config: Config, found: "Found", head: dict[str, dict[str, int]]) -> str:
    """What the prepared set holds, and what it does not."""
    data, aside, kept = config.dataset, head["set_aside"], head["kept"]
    text = (
        f"{found.images['train']:,} training and {found.images['held_out']:,} held-out pictures at {data.resolution} x "
        f"{data.resolution} pixels, {sum(found.captions.values()):,} captions with {found.distinct_words:,} different "
        f"words. Pictures set aside: {aside['unusable']:,} unusable, {aside['duplicate']:,} duplicates, {aside['leak']:,} "
        f"that repeat a held-out one"
    )
    if data.near_duplicates is NearDuplicates.keep:
        text += f". Pairs that look alike and stay: {aside['near_duplicates']:,}"
        text += " (dataset.near_duplicates=drop or merge keeps the largest)." if aside["near_duplicates"] else "."
    else:
        fate = "dropped" if data.near_duplicates is NearDuplicates.drop else "merged"
        text += f", {aside['look_alike']:,} that look like a larger one ({fate})."
    if kept["merged_captions"]:
        text += f" Captions that equal or alike pictures gave to the one that stays: {kept['merged_captions']:,}."
    if kept["flat"]:
        text += f" Pictures of one colour, which stay and are listed in audit.json: {kept['flat']:,}."
    if found.tokens:
        cut, lost = found.cut
        text += f" Captions beyond the {found.token_limit} tokens that model={config.model.name} reads: {cut:,}" + (
            f", with {lost:,} tokens that are lost at their ends." if cut else "."
        )
    return text + "".join(f" {note[0].upper()}{note[1:]}." for note in data.remarks.notes)


def _section(config: Config, run: Run, stage: Finished, found: "Found", files: "Census | None") -> None:
    head = audit_head(stage.path)["counts"]
    aside = head["set_aside"]
    text = sentence(config, found, head)
    if files is not None:
        text += f" {files.sentence()}"
        files.write(run.folder / "files.json")
        if files.listed:
            text += " Pictures that were not looked at are listed in files.json."
    tables = [
        *_groups(found),
        *set_aside.tables(stage.path, {name: aside[name] for name in CAPTIONS}),
        *_licenses(found),
    ]
    figures = [*exploration(config, run, stage, found), *set_aside.figure(run, stage, config.dataset.name)]
    run.section("Data", text, tables, figures)
    run.detail(text)


def _groups(found: "Found") -> list[Table]:
    names = sorted(found.domains["train"].keys() | found.domains["held_out"].keys())
    if not names:
        return []
    rows = [[name, *(found.domains[split].get(name, 0) for split in ("train", "held_out"))] for name in names]
    caption = "Pictures by domain; a picture with two domains counts in both."
    return [{"columns": ["domain", "training pictures", "held-out pictures"], "rows": rows, "caption": caption}]


def _licenses(found: "Found") -> list[Table]:
    if not found.licenses:
        return []
    rows = sorted(found.licenses.items(), key=lambda item: -item[1])
    caption = "Pictures by licence, as the source names it."
    return [{"columns": ["licence", "pictures"], "rows": [list(row) for row in rows], "caption": caption}]
