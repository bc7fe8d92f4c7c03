"""Tuned weights as other programs read them: which formats can hold what, writing them, and reading them back."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from t2i.config import Config, Dtype, Format, as_dict, refuse_format, restore
from t2i.context import Run
from t2i.errors import ConfigError
from t2i.models import source
from t2i.models.adapters.kinds import LORA, RUN, Kind
from t2i.stages.exported import by_diffusers, drawn, opened, save_pipeline
from t2i.stages.tuned import Tuned, apply_tuned, find_tuned, words_in
from t2i.training.inversion import EMBEDDING, Pivotal
from t2i.training.lora import KOHYA, Lora
from t2i.training.strategies import WEIGHTS, describe

if TYPE_CHECKING:
    import numpy as np

    from t2i.models.parts import Models

PIPELINE = "pipeline"
ADAPTERS = (Format.kohya, Format.peft)


@dataclass(frozen=True)
class Exported:
    """What was written."""

    path: Path
    """The file or folder to give away."""
    adapter: Optional[Path] = None
    """Beside a pipeline that was left without it."""


def of_run(config: Config, folder: Path) -> Config:
    """The configuration with the model and the weights of a run; ConfigError when the folder is none."""
    import yaml

    path = folder / "config.yaml"
    if not path.exists():
        raise ConfigError(
            f"run={folder} is no run folder (config.yaml is missing); give a run of task=train or task=pipeline"
        )
    values: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    made = restore({**as_dict(config), "model": {**as_dict(config.model), **values["model"]}})
    return replace(made, weights=str(folder), weights_scale=[])


def refuse(config: Config, tuned: Optional[Tuned]) -> None:
    """ConfigError for a format that cannot hold what is exported."""
    name = f"format={config.format.value}"
    fused = config.fused
    if config.format in ADAPTERS and fused:
        raise ConfigError(
            f"{name} is a file of adapters alone and fused=true would need a model; use format=single_file"
        )
    if config.format is Format.single_file and fused is False:
        raise ConfigError("format=single_file holds one model with its adapters added; use fused=true, or format=kohya")
    kinds = _kinds(tuned)
    _refuse_weights(config, tuned, kinds)
    separate = config.format in ADAPTERS or fused is False
    if separate and not any(kind is Kind.low_rank for kind, _ in kinds):
        what = "the base model" if tuned is None else f"{tuned.folder}, which is no adapter"
        raise ConfigError(
            f"{name} needs an adapter (strategy=lora, or a LoRA in weights=), and this is {what}; use format=diffusers"
            f"{_as_they_lie(tuned)}"
        )
    if config.format in ADAPTERS and any(kind is not Kind.low_rank for kind, _ in kinds):
        other = next(kind.value for kind, _ in kinds if kind is not Kind.low_rank)
        raise ConfigError(
            f"{name} holds adapters alone, and there is a {other} beside them; use format=diffusers{_as_they_lie(tuned)}"
        )
    refuse_format(config.model, config.format.value)
    if config.format is Format.kohya and any(dora for _, dora in kinds):
        raise ConfigError(
            "format=kohya has no place for a DoRA's magnitudes that all readers know; use format=peft, or format=single_file "
            "with the adapter fused"
        )
    if config.format is Format.single_file and any(kind is Kind.inversion for kind, _ in kinds):
        raise ConfigError(
            f"format=single_file has no vocabulary for a textual inversion; use format=diffusers{_as_they_lie(tuned)}"
        )


def _as_they_lie(tuned: Optional[Tuned]) -> str:
    """The end of a refusal: the files that runs with words left for other programs, which need no export; empty without any."""
    files = []
    for folder in runs_of(tuned):
        if "placeholders" in describe(folder)["strategy"]:
            files += [f"its words in {path}" for path in sorted(folder.glob(EMBEDDING.replace(".", "*.")))]
            files += [f"its LoRA in {folder / name}" for name in (KOHYA, LORA) if (folder / name).is_file()][:1]
    return f". The run has left for other programs {' and '.join(files)}" if files else ""


def _refuse_weights(config: Config, tuned: Optional[Tuned], kinds: list[tuple[Kind, bool]]) -> None:
    """ConfigError where `format=weights` is asked for what is not one run's own tensors of the networks."""
    if config.format is not Format.weights:
        return
    if config.fused is not None:
        raise ConfigError("format=weights holds what a run trained and nothing to fuse it with; leave out fused=")
    if tuned is None or tuned.pieces or [kind for kind, _ in kinds] != [Kind.run]:
        found = [kind for kind, _ in kinds]
        what = "the base model: give such a run with run="
        if Kind.run in found:
            what = "more than that: give one such run alone, with run="
        elif found:
            helps = "use format=diffusers"
            if set(found) == {Kind.low_rank}:
                helps = "for an adapter use format=kohya or format=peft"
            what = f"{' and '.join(f'a {kind.value}' for kind in found)}: {helps}"
        raise ConfigError(
            "format=weights holds the tensors of the networks that one run trained (strategy=attn2_to_v, unet, ...), and this "
            f"is {what}{_as_they_lie(tuned)}"
        )


def _kinds(tuned: Optional[Tuned]) -> list[tuple[Kind, bool]]:
    """What each piece is, and whether it is a DoRA; a run with adapters counts as low-rank, one with words as an inversion."""
    if tuned is None:
        return []
    pieces = [(piece.found.kind, piece.found.path, piece.found.dora) for piece in tuned.pieces] or [
        (Kind.run, tuned.folder, False)
    ]
    found = []
    for kind, path, dora in pieces:
        if kind is Kind.run:
            strategy = describe(path)["strategy"]
            words, dora = "placeholders" in strategy, bool(strategy.get("use_dora"))
            adapts = strategy["kind"] in (Lora.kind, Pivotal.kind)
            if adapts or not words:
                found.append((Kind.low_rank if adapts else Kind.run, dora))
            found += [(Kind.inversion, False)] * words
        else:
            found.append((kind, dora))
    return found


def write(config: Config, run: Run, models: "Models", tuned: Optional[Tuned], target: Path) -> Exported:
    """The files of the format in `target`; changes `models`: adapters are fused, or taken off."""
    from t2i.models import single_file
    from t2i.models.adapters import attach, write

    dtype, name = torch_dtype(config.dtype), f"{config.model.name}{'_tuned' if tuned else ''}"
    if config.format is Format.kohya:
        write.write_kohya(attach.adapter_of(models), target / f"{name}.safetensors", dtype)
        return Exported(target / f"{name}.safetensors")
    if config.format is Format.peft:
        write.write_peft(attach.adapter_of(models), target / name, dtype)
        return Exported(target / name)
    if config.format is Format.weights:
        assert tuned is not None
        write_weights(tuned.folder, target / name, dtype)
        return Exported(target / name)
    adapter = None
    if config.fused is False and tuned is not None:
        adapter = target / "pytorch_lora_weights.safetensors"
        write.write_diffusers(attach.adapter_of(models), adapter, dtype)
        attach.remove(models)
    attach.fuse(models)
    make_plain(models, tuned)
    if config.format is Format.single_file:
        path = target / f"{name}.safetensors"
        single_file.write(models, path, dtype)
        return Exported(path)
    for module in models.modules.values():
        module.to(dtype)
    save_pipeline(models, target / PIPELINE)
    return Exported(target / PIPELINE, adapter)


def write_weights(weights: Path, target: Path, dtype: Any) -> None:
    """What a training left in the folder `weights`, its numbers in `dtype`, as a folder that `weights=` reads."""
    from safetensors.torch import load_file, save_file

    target.mkdir(parents=True)
    tensors = load_file(weights / WEIGHTS)
    save_file({name: tensor.to(dtype) for name, tensor in tensors.items()}, target / WEIGHTS)
    shutil.copyfile(weights / RUN, target / RUN)


def make_plain(models: "Models", tuned: Optional[Tuned]) -> None:
    """What a run's strategy put around the networks becomes part of them."""
    from t2i.config import strategy_from
    from t2i.models import text_tower

    for folder in runs_of(tuned):
        description = describe(folder)["strategy"]
        if description["kind"] != text_tower.KIND:
            strategy_from(description).plain(models)


def runs_of(tuned: Optional[Tuned]) -> list[Path]:
    """The folders of those pieces that runs tuned."""
    if tuned is None:
        return []
    return (
        [piece.found.path for piece in tuned.pieces if piece.found.kind is Kind.run] if tuned.pieces else [tuned.folder]
    )


def torch_dtype(dtype: Dtype) -> Any:
    """The dtype of tensors in the files."""
    import torch

    return {Dtype.fp32: torch.float32, Dtype.fp16: torch.float16, Dtype.bf16: torch.bfloat16}[dtype]


def read_back(config: Config, run: Run, written: Exported) -> "np.ndarray":
    """The picture of what was written: a pipeline or a kohya file by plain diffusers, the others as `weights=` or
    `model.source=` would read them. In float32, since the machine that exports need not compute in half.
    """
    import torch

    from t2i.models.load import load

    size = config.model.resolution
    if config.format is Format.diffusers:
        plain = opened(written.path, source.family(config.model), torch.float32)
        if written.adapter is not None:
            plain.load_lora_weights(written.adapter)
        return by_diffusers(plain, size, words_of(config))
    if config.format is Format.single_file:
        return drawn(load(replace(config.model, source=str(written.path)), run.store))
    models = load(config.model, run.store)
    if config.format is Format.kohya:
        plain = models.pipeline()
        plain.load_lora_weights(written.path)
        return by_diffusers(plain, size)
    again = find_tuned(replace(config, weights=str(written.path), weights_scale=[]), run)
    assert again is not None
    apply_tuned(models, again)
    return drawn(models)


def words_of(config: Config) -> tuple[str, ...]:
    """The words that `weights=` teach."""
    from t2i.models.adapters.kinds import identify

    return tuple(word for name in config.weights_given for word in words_in(identify(Path(name).expanduser())))
