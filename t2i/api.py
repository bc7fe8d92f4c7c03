"""From Python, what the command line says: `t2i.compare("folder_a", "folder_b", reference="real")`, `t2i.evaluate("folder")`.

Each call is a run of task=compare or task=evaluate, with the same keys, the same store and the same report; the command line
stays the main door. Nothing is sent to MLflow.
"""

import contextlib
import importlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    import pandas

    from t2i.config import Config

Paths = str | Path


@dataclass(frozen=True)
class Evaluation:
    """The numbers of one set of pictures."""

    metrics: dict[str, float]
    """`kid[clip]`, with the bounds of its 95 % interval as `kid[clip].low` and `.high`."""
    definition: dict[str, Any]
    """How they came to be."""
    folder: Path
    """Of the run: `report.html`, `definition.json`, `metrics.json`."""

    def table(self) -> "pandas.DataFrame":
        """One row a metric: value, low, high."""
        import pandas

        names = [name for name in self.metrics if not name.endswith((".low", ".high"))]
        rows = [[self.metrics[name], *(self.metrics.get(f"{name}.{end}") for end in ("low", "high"))] for name in names]
        return pandas.DataFrame(rows, index=pandas.Index(names, name="metric"), columns=["value", "low", "high"])

    def _repr_html_(self) -> str:
        return str(self.table().to_html(float_format="{:.4g}".format))


@dataclass(frozen=True)
class Verdict:
    """One set of pictures against the first."""

    name: str
    answer: str
    """`better`, `worse`, `mixed` or `cannot tell`."""
    sentence: str
    """`better by KID and FID, worse by CLIP score at N = 100`."""
    paired: bool
    samples: int
    rows: list[dict[str, Any]]

    def table(self) -> "pandas.DataFrame":
        """One row a metric: both values, the change with its interval, p (and by Holm's method), what could have been seen."""
        import pandas

        found = pandas.DataFrame(self.rows)
        change = pandas.DataFrame(list(found.pop("change")))
        found = found.assign(change=change["value"], low=change["low"], high=change["high"]).set_index("metric")
        columns = [
            "verdict",
            "first",
            "second",
            "change",
            "low",
            "high",
            "p",
            "adjusted",
            "smallest_detectable",
            "test",
        ]
        return found[columns]

    def __str__(self) -> str:
        return self.sentence

    def _repr_html_(self) -> str:
        from html import escape

        table = self.table().drop(columns=["test"]).to_html(float_format="{:.4g}".format)
        return f"<p><b>{escape(self.name)}: {escape(self.sentence)}</b></p>{table}"


@dataclass(frozen=True)
class Comparison:
    """Two or more sets of pictures, each against the first."""

    verdicts: list[Verdict]
    metrics: dict[str, float]
    folder: Path
    """Of the run."""

    @property
    def report(self) -> Path:
        """The page about it."""
        return self.folder / "report.html"

    @property
    def sentence(self) -> str:
        """That of each verdict."""
        return "; ".join(
            f"{own.name}: {own.sentence}" if len(self.verdicts) > 1 else own.sentence for own in self.verdicts
        )

    def table(self) -> "pandas.DataFrame":
        """As of a verdict; of several, one below the other, with the name of the set in front."""
        import pandas

        if len(self.verdicts) == 1:
            return self.verdicts[0].table()
        return pandas.concat({own.name: own.table() for own in self.verdicts}, names=["set"])

    def __str__(self) -> str:
        return self.sentence

    def _repr_html_(self) -> str:
        return "".join(own._repr_html_() for own in self.verdicts)


def evaluate(
    pictures: Paths, reference: Optional[Paths] = None, overrides: Sequence[str] = (), quiet: bool = True
) -> Evaluation:
    """Numbers with intervals of the pictures in a folder, `python run.py task=evaluate pictures=<folder>`.

    reference: what they are held against, as `eval.reference`; None: metrics that need none. overrides: further keys, e.g.
    `["eval.extractor=inception", "eval.metrics=[fid,kid]"]`. quiet: nothing is printed. Raises `t2i.errors.UserError` with one
    sentence for what cannot be done.
    """
    folder, metrics = _run("evaluate", [_path(pictures)], reference, overrides, quiet)
    definition = json.loads((folder / "definition.json").read_text(encoding="utf-8"))
    return Evaluation(metrics, definition, folder)


def compare(
    first: Paths,
    *others: Paths,
    reference: Optional[Paths] = None,
    overrides: Sequence[str] = (),
    quiet: bool = True,
) -> Comparison:
    """Verdicts about the pictures of two or more folders, each against the first; arguments as of `evaluate`.

    Of run folders (which hold `evaluated.json`) instead of folders of pictures, their evaluations are compared:
    `python run.py task=compare runs=[a,b]`.
    """
    folder, metrics = _run("compare", [_path(own) for own in (first, *others)], reference, overrides, quiet)
    found = json.loads((folder / "verdicts.json").read_text(encoding="utf-8"))
    return Comparison([Verdict(**own) for own in found], metrics, folder)


def _path(given: Paths) -> Path:
    return Path(given).expanduser().absolute()


def _run(
    name: str, given: list[Path], reference: Optional[Paths], overrides: Sequence[str], quiet: bool
) -> tuple[Path, dict[str, float]]:
    """The run folder and the numbers of a task that was run in this process."""
    from t2i.config import as_override, compose
    from t2i.context import Run, write_results
    from t2i.errors import UserError
    from t2i.messages import explain
    from t2i.store import Store

    runs = name == "compare" and all((own / "evaluated.json").exists() for own in given)
    many = [str(own) for own in given] if name == "compare" else str(given[0])
    typed = [f"task={name}", as_override("runs" if runs else "pictures", many)]
    if not runs:
        typed.append(as_override("eval.reference", "none" if reference is None else str(_named(reference))))
    typed += overrides
    try:
        config = compose(typed)
        config.outputs = str(Path(config.outputs).expanduser().absolute())
        config.validate()
        folder = _folder(config, typed)
        store = Store(Path(config.outputs) / "store")
        run = Run(folder, store, overrides=typed)
        store.announce, store.asked = run.say, run.asked
        with _told(quiet):
            task: Callable[[Config, Run], dict[str, float]] = getattr(
                importlib.import_module(f"t2i.tasks.{name}"), name
            )
            metrics = task(config, run)
        write_results(folder, metrics, run.stages)
        return folder, metrics
    except UserError:
        raise
    except Exception as error:  # of Hydra and OmegaConf, as the command line tells it
        raise explain(error, typed) from error


def _named(reference: Paths) -> Paths:
    """A word of `eval.reference`, or a path."""
    from t2i.evaluation.config import HELD_OUT, NONE

    return reference if str(reference) in (HELD_OUT, NONE) else _path(reference)


def _folder(config: "Config", typed: list[str]) -> Path:
    """A new run folder, named as those of the command line, with what a report asks for."""
    import secrets

    from omegaconf import OmegaConf

    from t2i.config import as_dict
    from t2i.record import environment
    from t2i.store import write_json

    now = datetime.now()
    name = f"{now:%H-%M-%S}_{config.task.value}_{secrets.token_hex(3)}"
    folder = Path(config.outputs) / f"{now:%Y-%m-%d}" / name
    folder.mkdir(parents=True)
    write_json(folder / "environment.json", {**environment(), "overrides": typed})
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(as_dict(config))), encoding="utf-8")
    return folder


@contextlib.contextmanager
def _told(quiet: bool) -> Iterator[None]:
    """Lines of the run on standard output, or nowhere."""
    import logging
    import sys

    log = logging.getLogger("t2i")
    handler = logging.NullHandler() if quiet else logging.StreamHandler(sys.stdout)
    level, propagate = log.level, log.propagate
    log.addHandler(handler)
    log.propagate = False
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagate
