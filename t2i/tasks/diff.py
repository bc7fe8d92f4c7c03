"""`task=diff runs=[a,b]`: what differs between two runs - configuration, environment, data, code, results - and nothing else."""

from pathlib import Path

from t2i.config import Config
from t2i.context import Run
from t2i.errors import ConfigError
from t2i.store import write_json
from t2i.stories.differences import compare, row_of


def diff(config: Config, run: Run) -> dict[str, float]:
    """Returns how many entries differ in each part; leaves `diff.json` and a table a part."""
    folders = [Path(name).expanduser() for name in config.runs]
    if len(folders) != 2:
        raise ConfigError(f"task=diff compares two runs and {len(folders)} are given; type runs=[<folder>,<folder>]")
    parts = compare(*folders)
    if run.main:
        from t2i.reporting.console import lines

        names = [folder.name for folder in folders]
        write_json(run.folder / "diff.json", {part: [list(row) for row in rows] for part, rows in parts.items()})
        tables = [
            {"columns": [part, *names, "difference"], "rows": [row_of(row) for row in rows], "caption": ""}
            for part, rows in parts.items()
            if rows
        ]
        same = [part for part, rows in parts.items() if not rows]
        text = f"Equal in both: {', '.join(same)}." if same else ""
        run.section("Differences", text, tables)
        for part, rows in parts.items():
            run.say(f"{part}: {'equal' if not rows else ''}")
            for line in lines(["", *names, "difference"], [row_of(row) for row in rows]) if rows else []:
                run.say(line)
    return {part: float(len(rows)) for part, rows in parts.items()}
