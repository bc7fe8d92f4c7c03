"""`task=bundle run=<run>`: one archive from which the run can be repeated elsewhere."""

import io
import json
import tarfile
from importlib import metadata
from pathlib import Path

from t2i.config import Config
from t2i.context import COMMAND, Run
from t2i.errors import ConfigError
from t2i.store import MANIFEST, digest_of

NEEDED = ("config.yaml", "environment.json", "metrics.json", "stages.json")
OPTIONAL = ("sections.json", "definition.json", "train_log.csv", "report.html")
LOCK = "requirements.txt"
LARGEST = 64 * 2**20
"""Bytes of the largest file that a bundle may hold: it carries numbers and digests, not pictures or weights."""


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


def lock() -> str:
    """Every installed package with its version, as pip writes it."""
    found = {(d.metadata["Name"] or "").lower(): d.version for d in metadata.distributions()}
    return "".join(f"{name}=={version}\n" for name, version in sorted(found.items()) if name)


def pack(files: dict[str, bytes], path: Path) -> None:
    """The same files are the same archive: names in order, no times, no owners."""
    import gzip

    with (
        open(path, "wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def unpack(path: Path) -> dict[str, bytes]:
    """The files of a bundle, in memory: nothing of it is written anywhere. Raises ConfigError when it is none."""
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(path, mode="r:gz") as archive:
            for entry in archive:
                if not entry.isfile() or entry.size > LARGEST or len(files) > 10_000:
                    raise ConfigError(
                        f"bundle={path} holds {entry.name}, which no bundle of t2i holds; give another one"
                    )
                content = archive.extractfile(entry)
                files[entry.name] = content.read() if content else b""
    except (OSError, tarfile.TarError, EOFError) as error:
        raise ConfigError(f"bundle={path} cannot be read ({error}); give an archive that task=bundle made") from error
    for name in NEEDED:
        if name not in files:
            raise ConfigError(f"bundle={path} holds no {name}; give an archive that task=bundle made")
    return files
