"""`task=rerun bundle=<file>`: the run of a bundle once more, from nothing, and which of its numbers agree."""

import json
import math
from pathlib import Path
from typing import Any

from t2i.bundles import CLOSE, EQUAL, agreement, differing_packages, unpack
from t2i.config import Config, as_dict, restore
from t2i.context import Run
from t2i.errors import ConfigError
from t2i.store import write_json
from t2i.tasks import function


def rerun(config: Config, run: Run) -> dict[str, float]:
    """Returns how many numbers are equal, close and different; leaves `rerun.json` and a table.

    Nothing of an earlier run is reused: the stages are built in a store of this run's own.
    """
    import yaml

    if config.bundle is None:
        raise ConfigError("task=rerun needs a bundle; type bundle=<file made by task=bundle>")
    files = unpack(Path(config.bundle).expanduser())
    frozen: dict[str, Any] = yaml.safe_load(files["config.yaml"])
    if frozen["task"] in ("rerun", "bundle", "diff", "doctor", "serve", "prompt", "report"):
        raise ConfigError(f"bundle={config.bundle} is of task={frozen['task']}, which computes nothing to repeat")
    base = as_dict(config)
    # Of an older version a key may be missing: it has its default then. Where things are is decided here.
    merged = {**base, **{key: value for key, value in frozen.items() if key in base}}
    merged |= {"outputs": str(run.folder / "again"), "track": base["track"], "launch": base["launch"], "bundle": None}
    if merged["launch"]["mixed_precision"] != frozen["launch"]["mixed_precision"]:
        wanted = frozen["launch"]["mixed_precision"]
        raise ConfigError(f"the bundle was made with launch.mixed_precision={wanted}; type that too")
    again = restore(merged)
    again.validate()
    for line in differing_packages(files):
        run.say(line)
    store, overrides = run.store, run.overrides
    run.store = store.elsewhere(run.folder / "again" / "store")
    run.overrides = json.loads(files["environment.json"]).get("overrides", [])
    try:
        now = function(again.task)(again, run)
    finally:
        run.store, run.overrides = store, overrides
    before: dict[str, float] = json.loads(files["metrics.json"])
    verdicts = agreement(before, now)
    if run.main:
        rows = [[name, before[name], now.get(name, math.nan), verdict] for name, verdict in verdicts.items()]
        write_json(run.folder / "rerun.json", {"numbers": rows})
        caption = f"equal: within {EQUAL:g} relative; close: within {CLOSE:g}. Times and memory are not compared."
        columns = ["number", "then", "now", ""]
        run.section("Repeated", "", [{"columns": columns, "rows": rows, "caption": caption}])
        for name, verdict in verdicts.items():
            if verdict != "equal":
                run.say(f"  {name:<44} {before[name]:.6g}  ->  {now.get(name, math.nan):.6g}  {verdict}")
    counts = {
        kind: float(sum(verdict == kind for verdict in verdicts.values())) for kind in ("equal", "close", "different")
    }
    run.say(", ".join(f"{count:.0f} numbers {kind}" for kind, count in counts.items()))
    return counts
