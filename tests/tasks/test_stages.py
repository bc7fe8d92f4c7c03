"""Stages as values: the map has each of them, and what a plan says is what a run does."""

import importlib
import re
from pathlib import Path

import pytest

from t2i.config import compose
from t2i.context import Run
from t2i.plan.looking import LookingStore
from t2i.stages.comparison import Comparison, Elsewhere
from t2i.stages.metrics import Metrics
from t2i.stages.prepared import Prepared
from t2i.stages.stage import NotMade, Stage, made, walk
from t2i.stages.training import Trained, Training
from t2i.store import Store

from ..conftest import PROJECT, SCENES, TOY, Ended, Lab
from .test_plan import table

KEPT_BY_SOURCES = {"scenes", "unpacked", "coco_index", "chosen", "extracted"}
"""Rows of the map that data sources keep for themselves (t2i/data/sources)."""


def classes() -> list[type[Stage]]:
    """Every stage of t2i/stages."""
    for path in (PROJECT / "t2i" / "stages").glob("[!_]*.py"):
        importlib.import_module(f"t2i.stages.{path.stem}")
    found, todo = [], [Stage]
    while todo:
        todo += (own := todo.pop().__subclasses__())
        found += [each for each in own if hasattr(each, "name") and each is not Elsewhere]
    return found


def mapped() -> set[str]:
    text = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[^|]*) \|", text.partition("| stage | inputs |")[2].partition("\n\n")[0], re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def test_the_map_has_a_row_for_every_stage_and_none_besides() -> None:
    assert len(classes()) > 20
    assert mapped() == {own.name for own in classes()} | KEPT_BY_SOURCES


FURTHER = {"references": "reference", "given": "metrics"}
"""Files with further kinds of a stage that has its own."""


def test_a_stage_lies_in_the_file_of_its_name() -> None:
    for own in classes():
        file = own.__module__.removeprefix("t2i.stages.")
        assert FURTHER.get(file, file) == own.name, own


def test_a_walk_gives_each_stage_once_after_what_it_stands_on() -> None:
    config = compose([])
    base, tuned = Metrics(config), Metrics(config, Trained(Training(config)))
    order = [stage.name for stage in walk(Comparison(config, base, (tuned,)))]
    assert order == ["prepared", "generated", "reference", "metrics", "training", "generated", "metrics", "comparison"]
    passed = {Prepared(config).key, base.key}
    assert [stage.name for stage in walk(tuned, passed)] == ["training", "generated", "reference", "metrics"]


def test_what_is_not_made_is_known_by_its_digest_and_not_read(tmp_path: Path) -> None:
    looking, making = (Run(tmp_path, kind(tmp_path / "store")) for kind in (LookingStore, Store))
    config = compose(["task=verify"])
    stage = next(own for own in walk(Training(config)) if own.name == "prepared")
    with pytest.raises(NotMade):
        made(stage, looking)
    assert not list((tmp_path / "store").glob("*/[0-9a-f]*"))
    assert making.store.root == looking.store.root


@pytest.mark.parametrize(
    "arguments",
    [
        ["task=prepare"],
        ["task=embed"],
        ["task=verify"],
        ["task=evaluate"],
        ["task=generate", "prompts=[a cat]"],
        ["task=train", "training.flip=true", "strategy=attn2_to_v"],
        ["task=train", "training.cache_latents=false", "strategy=text_encoder", "training.export_pipeline=false"],
        ["task=clip", "clip.epochs=1", "clip.batch_size=8", "clip.images=6"],
    ],
    ids=lambda arguments: " ".join(arguments),
)
def test_a_run_makes_what_its_plan_says_and_nothing_else(arguments: list[str], lab: Lab, tmp_path: Path) -> None:
    """From data that are there and nothing besides: the kinds of stages that are made are those that are listed.

    Figures are no work that a plan prices: each is drawn, and kept, by the page that shows it.
    """
    own = Lab(tmp_path)
    first: Ended = own.here(*SCENES, "task=prepare")
    assert first.status == 0, first.err
    said = {name for (_, name), state in table(planned_in(own, *arguments)).items() if "to be made" in state}
    before = set(own.root.glob("store/*/[0-9a-f]*"))
    done = own.here(*SCENES, *TOY, *arguments)
    assert done.status == 0, done.err
    new = {path.parent.name for path in set(own.root.glob("store/*/[0-9a-f]*")) - before}
    assert new - {"figure"} == said
    assert not {state for state in table(planned_in(own, *arguments)).values() if "to be made" in state}


def planned_in(lab: Lab, *arguments: str) -> Ended:
    before = lab.folders()
    ended = lab.here(*SCENES, *TOY, *arguments, "plan=true")
    assert ended.status == 0, ended.err
    assert lab.folders() == before
    return ended
