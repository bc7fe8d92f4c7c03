"""A finished run as one archive, from which it can be repeated elsewhere."""

import io
import math
import tarfile
from importlib import metadata
from pathlib import Path

from t2i.errors import ConfigError

NEEDED = ("config.yaml", "environment.json", "metrics.json", "stages.json")
OPTIONAL = ("sections.json", "definition.json", "train_log.csv", "report.html")
LOCK = "requirements.txt"
EQUAL, CLOSE = 1e-9, 1e-3
"""Relative differences up to which two numbers are called equal, and close."""
TIMED = ("per_second", "seconds", "memory", "new_cells")
"""Parts of names whose numbers are of the machine, not of the result."""
LARGEST = 64 * 2**20
"""Bytes of the largest file that a bundle may hold: it carries numbers and digests, not pictures or weights."""


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


def agreement(before: dict[str, float], now: dict[str, float]) -> dict[str, str]:
    """For each number of the run, whether it is `equal`, `close` or `different` today."""
    found = {}
    for name, value in before.items():
        if any(part in name for part in TIMED):
            continue
        other = now.get(name, math.nan)
        same = value == other or (math.isnan(value) and math.isnan(other))
        if same or math.isclose(value, other, rel_tol=EQUAL):
            found[name] = "equal"
        else:
            found[name] = "close" if math.isclose(value, other, rel_tol=CLOSE) else "different"
    return found


def differing_packages(files: dict[str, bytes]) -> list[str]:
    """Packages of another version than the run had."""
    then, now = (
        dict(line.split("==") for line in text.splitlines() if "==" in line)
        for text in (files.get(LOCK, b"").decode(), lock())
    )
    return [
        f"{name} was {version} and is {now[name]}"
        for name, version in then.items()
        if now.get(name, version) != version
    ]
