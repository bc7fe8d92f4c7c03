"""The page about a run or several, from the sections that they left."""

import json
import shlex
from pathlib import Path
from typing import Any

from t2i.errors import ConfigError
from t2i.places import COMMAND

REPEATED = ("loss_and_samples",)
"""Figures that say again what others of the page say; summary.html, which has room for few, shows them."""


def newest(outputs: Path) -> Path:
    """The newest pipeline run below the output folder."""
    found = sorted(path.parent for path in outputs.glob("*/*_pipeline_*/sections.json"))
    if not found:
        raise ConfigError(f"no pipeline run below {outputs}; give run folders with runs=[<folder>]")
    return found[-1]


def sections_of(folder: Path) -> list[dict[str, Any]]:
    """What a run told of itself."""
    sections: list[dict[str, Any]] = json.loads((folder / "sections.json").read_text(encoding="utf-8"))
    return sections


def write(folders: list[Path], path: Path) -> Path:
    """The page about the runs in `folders`, from their sections, figures and configurations."""
    from t2i.reporting.report import Figure, Section, Table, write_report

    sections: list[Section] = []
    verdict, question, facts = "", "Did fine-tuning work?", dict[str, Any]()
    for folder in folders:
        for part in sections_of(folder):
            verdict = part["facts"].get("verdict", verdict)
            question = part["facts"].get("question", question)
            facts |= part["facts"].get("facts", {})
            sections.append(
                Section(
                    part["title"] if len(folders) == 1 else f"{part['title']} ({folder.name})",
                    part["text"],
                    [Table(**table) for table in part["tables"]],
                    [
                        Figure(folder / figure["path"], figure["caption"])
                        for figure in part["figures"]
                        if Path(figure["path"]).stem not in REPEATED
                    ],
                )
            )
    state = json.loads((folders[0] / "environment.json").read_text(encoding="utf-8"))
    packages = ", ".join(
        f"{name} {state['packages'][name]}"
        for name in ("torch", "diffusers", "transformers")
        if name in state["packages"]
    )
    facts["Run"] = ", ".join(folder.name for folder in folders)
    surroundings = {
        "Code": state["git"].get("commit", "")[:12]
        + (" with local changes" if state["git"].get("dirty") == "true" else "")
        or "no git checkout",
        "Machine": f"{state['platform']}, {state.get('device', 'cpu')}, {state['cpus']} CPU cores",
        "Packages": packages,
    }
    return write_report(
        path,
        title=question if verdict else "t2i run",
        subtitle=", ".join(folder.name for folder in folders),
        verdict=verdict or "No comparison of a base and a tuned model is part of these runs.",
        facts=facts,
        sections=sections,
        command=shlex.join([*COMMAND.split(), *state["overrides"]]),
        configuration="\n".join((folder / "config.yaml").read_text(encoding="utf-8") for folder in folders),
        surroundings=surroundings,
    )
