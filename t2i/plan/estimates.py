"""How long a stage will take and how large it will be: from what such stages took in this store, or not at all."""

import json
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Optional

from t2i.config import Config
from t2i.context import Run, device_type
from t2i.data.rows import KEYS
from t2i.stages.generated import TIMING, model_digest, prepared, training_split
from t2i.store import MANIFEST, damage, read_manifest


def manifests(root: Path, name: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The finished stages of a kind, the newest first."""
    paths = (root / name).glob(f"[!.]*/{MANIFEST}")
    for path in sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True):
        if (found := read_manifest(path.parent)) is not None:
            yield path.parent, found


def seconds(name: str, config: Config, run: Run, pictures: Optional[int], split: str = "") -> Optional[float]:
    """What a stage will take; None where nothing like it was made in this store. pictures: of a generated set; split: of
    which rows are encoded.
    """
    root = run.store.root
    if name == "generated":
        costs = list(_evaluations(root, config))
        work = (pictures or 0) * config.scheduler.steps * (2 if config.cfg.active else 1)
        return statistics.median(costs) * work if costs and work else None
    if name == "training":
        speed = next(_speeds(root, config), None)
        if speed is None:
            return None
        try:
            count = len(training_split(config, prepared(config, run)[1]))
        except FileNotFoundError:  # the data is still to be prepared
            return None
        return config.training.total_steps(count) * config.training.batch_size / speed
    if split:
        return _scaled(name, config, run, split, lambda found: float(found["seconds"]))
    return next((float(found["seconds"]) for _, found in manifests(root, name) if "seconds" in found), None)


def size(name: str, config: Config, run: Run, pictures: Optional[int], split: str = "") -> Optional[int]:
    """Bytes: of a generated set by its number of pictures, of rows (those of `split`) by theirs, otherwise those of the
    newest stage of its kind.
    """
    if split:
        found_size = _scaled(
            name, config, run, split, lambda found: sum(entry["bytes"] for entry in found["files"].values())
        )
        return None if found_size is None else round(found_size)
    for _, found in manifests(run.store.root, name):
        held = sum(entry["bytes"] for entry in found["files"].values())
        if name != "generated":
            return held
        made = sum(1 for file in found["files"] if file.endswith(".png"))
        if made and pictures and found["config"].get("resolution") == config.model.resolution:
            return held * pictures // made
    return _trained_bytes(config) if name == "training" else None


def _scaled(
    name: str, config: Config, run: Run, split: str, cost: Callable[[dict[str, Any]], float]
) -> Optional[float]:
    """What the newest stage of rows of the same model cost, by its number of rows and that of the split; None where there
    is no such stage, or the data is still to be prepared.
    """
    wanted = _rows(name, config, run, split)
    for _, found in manifests(run.store.root, name):
        made = (
            found["files"].get(KEYS, {}).get("bytes", 0) - 128
        ) // 32  # an array of 32 bytes a key behind its header
        same = "model" not in found["inputs"] or found["inputs"]["model"] == model_digest(config, run)
        if wanted is not None and made > 0 and same:
            return cost(found) * wanted / made
    return None


def _rows(name: str, config: Config, run: Run, split: str) -> Optional[int]:
    """How many pictures, or different captions, of a split are encoded."""
    try:
        data = prepared(config, run)[1]
        part = training_split(config, data) if split == "train" else data.split(split)
    except FileNotFoundError:  # the data is still to be prepared
        return None
    return len({text for texts in part.captions for text in texts}) if name == "text_states" else len(part)


def _trained_bytes(config: Config) -> Optional[int]:
    """Of the weights that change and of the pipeline that holds them, in float32."""
    from t2i.models.weightless import weightless

    models = weightless(config.model)
    if models is None:
        return None
    whole = sum(parameter.numel() for module in models.modules.values() for parameter in module.parameters())
    return 4 * (config.strategy.expected(models) + whole * config.training.export_pipeline)


def _evaluations(root: Path, config: Config) -> Iterator[float]:
    """Seconds of one evaluation of the U-Net for one picture, of every set that this model drew on such a device."""
    for folder, found in manifests(root, "generated"):
        path, recipe = folder / TIMING, folder / "000000.json"
        same = {"resolution": config.model.resolution, "device": device_type()}
        like = path.exists() and recipe.exists() and same.items() <= found["config"].items()
        if like and damage(folder) == []:
            timing = json.loads(path.read_text(encoding="utf-8"))
            model = json.loads(recipe.read_text(encoding="utf-8"))["model"]["name"]
            if model == config.model.name and timing["evaluations"]:
                yield timing["seconds"] / timing["evaluations"]


def _speeds(root: Path, config: Config) -> Iterator[float]:
    """Pictures a second of every training of this kind on such a device, as large as this one's, the newest first."""
    for folder, found in manifests(root, "training"):
        path, address = folder / "training.json", found["config"]
        same = address.get("strategy", {}).get("kind") == config.strategy.kind
        if same and address.get("device") == device_type() and path.exists() and damage(folder) == []:
            facts = (folder / "weights" / "README.md").read_text(encoding="utf-8")
            if f"# {config.model.name}, tuned on" in facts:
                yield float(json.loads(path.read_text(encoding="utf-8"))["images_per_second"])
