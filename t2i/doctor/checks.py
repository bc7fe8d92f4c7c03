"""The checks of `task=doctor`, each from the configuration to its findings."""

import contextlib
import os
import re
import shutil
import sqlite3
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

from t2i.config import Config, as_dict, restore
from t2i.context import Run
from t2i.doctor.engines import engines
from t2i.doctor.findings import Finding, State
from t2i.errors import UserError
from t2i.models.size import SMALL
from t2i.places import CONFIGURATION
from t2i.processes import bf16_instruction, device_type

LEAST, COMFORTABLE = 1e9, 20e9
"""Bytes of free disk space."""
HUB = "https://huggingface.co"
TRIED = CONFIGURATION / "constraints.txt"


def versions(config: Config, run: Run) -> Iterator[Finding]:
    """Packages against those that were tried together."""
    pins = (
        dict(re.findall(r"^([\w.-]+)==(\S+)$", TRIED.read_text(encoding="utf-8"), re.MULTILINE))
        if TRIED.exists()
        else {}
    )
    wanted = ("torch", "diffusers", "transformers", "accelerate", "peft", "torchmetrics", "mlflow", "optuna")
    for name in wanted:
        found = metadata.version(name)
        plain, tried = found.split("+")[0], pins.get(name, "")
        if name == "torch" and _number(plain) < (2, 10):
            yield Finding(
                name, State.fail, found, "older ones have holes in loading weights: pip install 'torch>=2.10'"
            )
        elif tried and _number(plain)[:2] != _number(tried)[:2]:
            yield Finding(
                name, State.warn, f"{found}, tried was {tried}", f"if something fails: pip install {name}=={tried}"
            )
        else:
            yield Finding(name, State.ok, found)
    with contextlib.suppress(metadata.PackageNotFoundError):
        vision = metadata.version("torchvision")
        fine = ("+cpu" in vision) == ("+cpu" in metadata.version("torch"))
        remedy = "" if fine else "it is built for another torch and breaks imports: pip uninstall torchvision"
        yield Finding("torchvision", State.ok if fine else State.fail, vision, remedy)


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def devices(config: Config, run: Run) -> Iterator[Finding]:
    """What computes, and whether it can compute in the precision that is asked for."""
    import torch

    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(number)
            name = torch.cuda.get_device_name(number)
            yield Finding(f"GPU {number}", State.ok, f"{name}, {free / 1e9:.0f} of {total / 1e9:.0f} GB free")
    else:
        visible = "GPUs are there and torch cannot use them" if any(Path("/dev").glob("nvidia[0-9]*")) else "no GPU"
        state = State.ok if visible == "no GPU" else State.fail
        remedy = "" if state is State.ok else "install a torch built for CUDA, and check nvidia-smi"
        yield Finding("device", state, f"CPU, {torch.get_num_threads()} threads; {visible}", remedy)
    asked = config.launch.mixed_precision.value if config.launch.mixed_precision else "no"
    if asked == "fp16" and device_type() == "cpu":
        yield Finding("precision", State.fail, "fp16 on a CPU", "use launch.mixed_precision=no, or bf16")
        return
    works = []
    known = {"fp16": torch.float16, "bf16": torch.bfloat16}
    if device_type() == "cpu":
        del known["fp16"]  # it computes, hundreds of times as slowly
    for name, dtype in known.items():
        with contextlib.suppress(RuntimeError):
            matrix = torch.ones(8, 8, dtype=dtype, device=device_type())
            works += [name] if bool((matrix @ matrix).isfinite().all()) else []
    if device_type() == "cpu" and bf16_instruction() and "bf16" in works:
        works[works.index("bf16")] += (
            f" ({bf16_instruction()}, quicker for models from {SMALL // 10**6} M scalars, and for drawing)"
        )
    state = State.ok if asked == "no" or any(name.startswith(asked) for name in works) else State.fail
    remedy = "" if state is State.ok else "use launch.mixed_precision=no"
    yield Finding("precision", state, f"{asked} asked for; {', '.join(works)} work", remedy)


def memory(config: Config, run: Run) -> Iterator[Finding]:
    """Main memory against what loading the model takes."""
    import psutil

    free = psutil.virtual_memory().available
    needed, count = _bytes_of_model(config), config.launch.processes
    state = State.ok if free > 1.5 * needed * count else State.warn
    remedy = "" if state is State.ok else "close other programs, or use a smaller model"
    each = f" in each of {count} processes" if count > 1 else ""
    yield Finding("memory", state, f"{free / 1e9:.1f} GB free, the model is {needed / 1e9:.1f} GB{each}", remedy)


def _bytes_of_model(config: Config) -> float:
    folder = Path(config.model.source).expanduser()
    if folder.is_dir():
        return float(sum(path.stat().st_size for path in folder.rglob("*.safetensors")))
    return 4.3e9  # Stable Diffusion 1.x in float32


def disk(config: Config, run: Run) -> Iterator[Finding]:
    """Space, and folders that can be written."""
    outputs = Path(config.outputs)
    free = shutil.disk_usage(outputs if outputs.exists() else outputs.parent).free
    state = State.fail if free < LEAST else State.warn if free < COMFORTABLE else State.ok
    remedy = "" if state is State.ok else f"free space below {outputs}, or use outputs=<a larger disk>"
    yield Finding("disk", state, f"{free / 1e9:.1f} GB free below {outputs}", remedy)
    places = {"outputs": outputs}
    if config.track.enabled and config.track.uri.startswith("sqlite:///"):
        places["track.uri"] = Path(config.track.uri.removeprefix("sqlite:///")).parent
    for key, folder in places.items():
        problem = _unwritable(folder)
        remedy = f"change its owner, or use {key}=<a folder of yours>" if problem else ""
        yield Finding(f"folder of {key}", State.fail if problem else State.ok, problem or str(folder), remedy)


def _unwritable(folder: Path) -> str:
    """Why nothing can be written into a folder; empty when it can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return f"{folder} cannot be written ({error.strerror})"


def leftovers(config: Config, run: Run) -> Iterator[Finding]:
    """Stages of the store that nobody finishes any more."""
    from filelock import FileLock, Timeout

    left, busy = [], []
    for partial in sorted((Path(config.outputs) / "store").glob("*/.*.partial")):
        lock = FileLock(partial.with_suffix(".lock"), timeout=0)
        try:
            with lock:
                left.append(partial)
        except Timeout:
            busy.append(partial)
    if left:
        names = ", ".join(f"{path.parent.name}/{path.name}" for path in left[:3])
        remedy = "repeat the command that was stopped to continue it, or delete these folders"
        yield Finding("store", State.warn, f"{len(left)} unfinished stage(s) of stopped runs: {names}", remedy)
    else:
        yield Finding("store", State.ok, f"{len(busy)} stage(s) under construction" if busy else "no leftovers")


def hub(config: Config, run: Run) -> Iterator[Finding]:
    """The proxy, the hub, and whether the weights are here already."""
    proxy = next(
        (os.environ[n] for n in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy") if os.environ.get(n)), ""
    )
    if proxy:
        parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")
        try:
            broken = parts.hostname is None or (
                parts.scheme and parts.scheme not in ("http", "https", "socks5", "socks5h")
            )
            _ = parts.port
        except ValueError:
            broken = True
        if broken:
            yield Finding(
                "proxy", State.fail, f"HTTPS_PROXY={proxy} is no address", "use HTTPS_PROXY=http://<host>:<port>"
            )
            return
    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes")
    if offline:
        yield Finding("hub", State.ok, "not asked (HF_HUB_OFFLINE is set)")
    else:
        try:
            urllib.request.urlopen(urllib.request.Request(HUB, method="HEAD"), timeout=5).close()
            yield Finding("hub", State.ok, f"{HUB} answers")
        except (urllib.error.URLError, OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            through = f" through the proxy {proxy}" if proxy else ""
            remedy = "check the network and HTTPS_PROXY; what is in the cache works with HF_HUB_OFFLINE=1"
            yield Finding(
                "hub", State.fail if proxy else State.warn, f"no answer from {HUB}{through} ({reason})", remedy
            )
            offline = True
    yield from _weights(config, offline)


def _weights(config: Config, offline: bool) -> Iterator[Finding]:
    from t2i.evaluation.extractors import registry as extractors
    from t2i.models import source
    from t2i.models.config import Init

    if config.model.init is not Init.random:
        yield _fetched("model", config.model.source, offline, lambda: source.locate(config.model), "model.source")
    yield _fetched("evaluator", config.eval.clip, offline, lambda: extractors.identity(config.eval), "eval.clip")


def _fetched(name: str, where: str, offline: bool, find: Callable[[], object], key: str) -> Finding:
    """Whether weights are here; from the hub they are only fetched by the task that needs them."""
    local = where == "bundled" or Path(where).expanduser().is_absolute()
    try:
        import huggingface_hub.constants as constants

        kept, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
        try:
            find()
        finally:
            constants.HF_HUB_OFFLINE = kept
        return Finding(name, State.ok, where)
    except UserError as error:
        if not local and not offline:
            return Finding(name, State.ok, f"{where} will be fetched from the hub")
        return Finding(name, State.fail, str(error).split(";")[0], f"give a folder: {key}=<folder>, or go online once")


def databases(config: Config, run: Run) -> Iterator[Finding]:
    """The tracking database and that of the sweeps."""
    places = {"track.uri": config.track.uri} if config.track.enabled else {}
    places["sweeps.storage"] = config.sweeps.storage or f"sqlite:///{Path(config.outputs) / 'sweeps.db'}"
    for key, uri in places.items():
        if uri.startswith("sqlite:///"):
            yield _sqlite(key, Path(uri.removeprefix("sqlite:///")))
        else:
            yield _server(key, uri)


def _sqlite(key: str, path: Path) -> Finding:
    if not path.exists():
        return Finding(key, State.ok, f"{path} will be created")
    remedy = f"a run was killed while it made it: move {path} away, and it is made again"
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as database:
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            version = (
                "alembic_version" in tables and database.execute("SELECT count(*) FROM alembic_version").fetchone()[0]
            )
    except sqlite3.Error as error:
        return Finding(key, State.fail, f"{path} is no database ({error})", remedy)
    if not tables or version:
        return Finding(key, State.ok, str(path))
    return Finding(key, State.fail, f"{path} is half initialised: {len(tables)} tables and no version", remedy)


def _server(key: str, uri: str) -> Finding:
    import socket

    parts = urlsplit(uri)
    shown = f"{parts.scheme}://{parts.hostname}:{parts.port or ''}"
    ports = {"http": 80, "https": 443}
    try:
        socket.create_connection((parts.hostname or "", parts.port or ports.get(parts.scheme, 5432)), timeout=5).close()
    except OSError as error:
        return Finding(
            key, State.fail, f"{shown} does not answer ({error})", "start the server, or correct the address"
        )
    return Finding(key, State.ok, f"{shown} answers")


def self_test(config: Config, run: Run) -> Iterator[Finding]:
    """Two steps of training and one picture with the bundled model, in a folder that is removed again."""
    from t2i.config import compose
    from t2i.stages.drawing import draw
    from t2i.stages.training import trained

    with tempfile.TemporaryDirectory(dir=config.outputs) as folder:
        small = ["dataset.train=8", "dataset.val=4", "training.steps=2", "training.batch_size=4", "scheduler.steps=2"]
        own = compose([*small, "training.validation_images=0", "training.export_pipeline=false", f"outputs={folder}"])
        own = restore({**as_dict(own), "launch": as_dict(config.launch)})
        outer, run.store = run.store, run.store.elsewhere(Path(folder) / "store")
        stages = dict(run.stages)
        try:
            tuned, numbers = trained(own, run)
            picture = next(draw(own, run, tuned, ["a red cat"], [0]))[0]
        except Exception as error:  # whatever breaks here would break a run
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            yield Finding("self-test", State.fail, reason, "repeat with debug=true, and look at the lines above")
            return
        finally:
            run.store, run.stages = outer, stages
    found = f"two steps (loss {numbers['final_loss']:.3f}) and one picture of {picture.shape[0]} pixels"
    yield Finding("self-test", State.ok, found)


CHECKS: tuple[Callable[[Config, Run], Iterator[Finding]], ...] = (
    versions, devices, engines, memory, disk, leftovers, hub, databases, self_test,
)  # fmt: skip
