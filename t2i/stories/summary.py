"""One page about a pipeline run - what was trained, on what, what came out - as summary.md and summary.html."""

import csv
import re
import shlex
from pathlib import Path

from t2i.config import Config
from t2i.context import Run
from t2i.places import COMMAND
from t2i.stories.subject import prompt_of

NO_VERDICT = "Nothing was tuned in this run, so there is no before and after."
TOLD = (
    "Data",
    "Training",
    "CLIP tuning",
    "Base against tuned",
    "The subject in places",
    "When to stop",
    "CLIP before and after",
    "What the CLIP forgot",
    "Generation with base and tuned text encoder",
    "Captions and pictures paired",
    "Guidance scales",
    "Numbers of denoising steps",
    "Schedulers",
    "Sweep",
)
"""Sections of the report whose text is told again."""
TABLES = ("Training", "CLIP tuning", "Base against tuned", "CLIP before and after")
FIGURES = (
    *("loss_and_samples", "subject_0", "metrics_over_steps", "base_versus_tuned"),
    *("generated_samples_grid", "real_versus_generated"),
    *("guidance_comparison", "inference_steps_comparison", "scheduler_comparison", "heat_map_clip_score"),
    *("clip_loss", "clip_before_after", "clip_generation"),
)
"""The figures that a page of one or two screens has room for, in this order."""


def summary(config: Config, run: Run, metrics: dict[str, float]) -> list[Path]:
    """Writes `summary.md`, `summary.html` and `metrics.csv` into the run folder, from what the run has told so far."""
    from t2i.reporting.markdown import write_markdown
    from t2i.reporting.report import Figure, Section, Table, write_report

    told = {part["title"]: part for part in run.sections}
    figures = {Path(f["path"]).stem: f for part in run.sections for f in part["figures"]}
    facts = {"Model": config.model.name, "Data": config.dataset.name, "Run": run.folder.name}
    verdict = NO_VERDICT
    for part in run.sections:
        verdict = part["facts"].get("verdict", verdict)
        facts |= part["facts"].get("facts", {})
    sections = [
        Section(
            title,
            told[title]["text"],
            [Table(**table) for table in told[title]["tables"]] if title in TABLES else [],
        )
        for title in TOLD
        if title in told
    ]
    shown = [
        Figure(run.folder / figures[name]["path"], figures[name]["caption"]) for name in FIGURES if name in figures
    ]
    sections.append(Section("Pictures", figures=shown))
    sections.append(
        Section("Go on", "\n".join(f"- {what}: `{line}`" for what, line in next_commands(config, run).items()))
    )
    title = f"{name_of(run)}: {facts['Model']} on {facts['Data']}"
    command = shlex.join([*COMMAND.split(), *run.overrides])
    paths = [
        write_markdown(run.folder / "summary.md", title, verdict, facts, sections, command),
        write_report(
            run.folder / "summary.html",
            title,
            "One page; report.html beside it tells everything.",
            verdict,
            facts,
            sections,
            command,
            (run.folder / "config.yaml").read_text(encoding="utf-8"),
        ),
        write_metrics(metrics, run.folder / "metrics.csv"),
    ]
    for path in paths:
        run.tracker.artifact(path)
    return paths


def write_metrics(metrics: dict[str, float], path: Path) -> Path:
    """Every number with its interval: columns part, metric, value, low, high; empty where there is no interval."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["part", "metric", "value", "low", "high"])
        for name, value in metrics.items():
            if not name.endswith((".low", ".high")):
                part, _, metric = name.partition("/")
                rows.writerow([part, metric, value, *(metrics.get(f"{name}.{end}", "") for end in ("low", "high"))])
    return path


def name_of(run: Run) -> str:
    """The experiment that was asked for, or `pipeline`."""
    return next((text.partition("=")[2] for text in run.overrides if text.startswith("experiment=")), "pipeline")


def next_commands(config: Config, run: Run) -> dict[str, str]:
    """What to type next with what this run made; empty where it tuned nothing."""
    if not (run.folder / "weights").exists() and not (config.clip.generate and (run.folder / "clip").exists()):
        return {}
    groups = ("experiment=", "model", "scheduler", "cfg", "eval", "launch.mixed_precision=", "outputs=", "track.")
    kept = [text for text in run.overrides if text.startswith(groups)]
    start = " ".join([COMMAND, *map(_quoted, kept)])
    prompt = prompt_of(config, run) or "a cat on a road"
    found = {
        "type prompts, get pictures": f"{start} task=prompt weights={run.folder}",
        "a page in the browser": f"{start} task=serve weights={run.folder}",
        "pictures of a prompt": f"{start} task=generate weights={run.folder} prompts='[\"{prompt}\"]'",
    }
    if prompt_of(config, run):
        data = [_quoted(text) for text in run.overrides if text.startswith(("dataset", "training.captions"))]
        found["the subject judged with other seeds"] = (
            f"{' '.join([start, *data])} task=evaluate eval=subject seed={config.seed + 1000} weights={run.folder}"
        )
    return found


def _quoted(text: str) -> str:
    return f"'{text}'" if re.search(r"[\s\[\]{}\"$*?;&|<>()]", text) else text
