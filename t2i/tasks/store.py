"""`task=store`: how large the store is by stage and by run, what no run needs; `store.verify`, `store.prune`."""

import time

from t2i import spoken
from t2i.config import Config
from t2i.context import Run
from t2i.errors import ConfigError
from t2i.stories import store as story
from t2i.upkeep import State, freed, held, needed, runs, size


def store(config: Config, run: Run) -> dict[str, float]:
    """Returns stages and bytes, of all and of what no run needs, and what was found damaged or removed.

    Nothing is removed without store.prune=true and a yes: typed at a terminal, or as store.yes=true.
    """
    if config.store.yes and not config.store.prune:
        raise ConfigError("store.yes=true answers the question of store.prune=true; type that too")
    if not run.main:
        return {}
    root, began = run.store.root, time.time()
    entries, folders = held(root), runs(root)
    needs = needed(entries, folders)
    everything = set().union(*needs.values())
    spare = [entry for entry in entries if entry.digest not in everything or entry.state is State.damaged]
    metrics = {
        "stages": float(len(entries)),
        "bytes": float(size(entries)),
        "runs": float(len(folders)),
        "unneeded": float(len(spare)),
        "unneeded_bytes": float(freed(spare)),
    }
    tables = [story.by_stage(entries, spare), story.by_run(entries, needs)]
    text = (
        f"{root} holds {len(entries):,} stages in {spoken.size(size(entries))}, of which {len(folders):,} runs need "
        f"{len(entries) - len(spare):,}. What no run needs: {len(spare):,} in {spoken.size(freed(spare))}."
    )
    for table in tables:
        story.show(run, table)
    run.say(text)
    if config.store.verify:
        metrics["damaged"] = float(story.verified(run, entries))
    if config.store.prune:
        metrics |= story.pruned(config, run, spare, began)
    elif spare:
        run.say("store.prune=true removes that, after asking")
    run.section("Store", text, tables)
    return metrics
