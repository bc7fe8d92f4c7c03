"""`task=bundle run=<run>`: one archive from which the run can be repeated elsewhere."""

import json
from pathlib import Path

from t2i.bundles import LOCK, NEEDED, OPTIONAL, lock, pack
from t2i.config import Config
from t2i.context import Run
from t2i.errors import ConfigError
from t2i.places import COMMAND
from t2i.store import MANIFEST, digest_of


def bundle(config: Config, run: Run) -> dict[str, float]:
    """Leaves `<run>.tar.gz` in the run folder: configuration, lock, manifests of every stage, seeds, digests, results."""
    if config.run is None:
        raise ConfigError("task=bundle needs a run to pack; type run=<run folder>")
    folder = Path(config.run).expanduser()
    missing = [name for name in NEEDED if not (folder / name).exists()]
    if missing:
        raise ConfigError(f"run={folder} is no finished run ({missing[0]} is missing); give a run folder")
    files = {name: (folder / name).read_bytes() for name in (*NEEDED, *OPTIONAL) if (folder / name).exists()}
    files[LOCK] = lock().encode()
    stages = json.loads(files["stages.json"])
    for key, stage in stages.items():
        manifest = Path(config.outputs) / "store" / key.split("/")[0] / stage["digest"] / MANIFEST
        if manifest.exists():
            files[f"manifests/{key.replace('/', '_')}.json"] = manifest.read_bytes()
    path = run.folder / f"{folder.name}.tar.gz"
    if run.main:
        pack(files, path)
        run.say(
            f"{len(files)} files, {path.stat().st_size / 1000:.0f} kB, digest {digest_of(sorted(map(str, files)))[:12]}"
        )
        run.say(f"repeat it with: {COMMAND} task=rerun bundle={path}")
    return {"files": float(len(files)), "stages": float(len(stages))}
