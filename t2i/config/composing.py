"""From what was typed to objects, and from what was written down back to them."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from t2i.config.options import SCHEMAS, register
from t2i.config.schema import CONF, Config
from t2i.config.spelling import as_dict, literal
from t2i.errors import ConfigError, unknown
from t2i.training.strategies import Strategy


def typed(config: DictConfig) -> Config:
    """The composed configuration as objects; ConfigError where a value has the wrong type or is missing."""
    try:
        result = OmegaConf.to_object(config)
    except MissingMandatoryValue as error:
        raise ConfigError(f"{error.full_key} is not set; give it a value: {error.full_key}=...") from error
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key or 'the configuration'}: {str(error).splitlines()[0]}") from error
    assert isinstance(result, Config)
    _refuse_extra(result)
    return result


def _refuse_extra(level: Any, prefix: str = "") -> None:
    """Hydra lets `+key=value` add what no dataclass has: nothing would read it."""
    names = sorted(field.name for field in fields(level))
    for name, value in vars(level).items():
        if name not in names and not name.startswith("_"):
            raise unknown(f"{prefix}{name} is no key of the configuration", name, names, prefix)
        if is_dataclass(value):
            _refuse_extra(value, f"{prefix}{name}.")


def compose(overrides: Sequence[str]) -> Config:
    """The configuration that `python run.py <overrides>` would have."""
    return typed(_compose(overrides))


def _compose(overrides: Sequence[str]) -> DictConfig:
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    register()
    if GlobalHydra.instance().is_initialized():
        return hydra.compose("config", overrides=list(overrides))
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose("config", overrides=list(overrides))


_last: dict[str, DictConfig] = {}
"""The configuration that cells were last composed from, by its values: to copy it takes a tenth of the time of making it."""


def _copy_of(values: Mapping[str, Any]) -> DictConfig:
    key = repr(values)
    if key not in _last:
        _last.clear()
        _last[key] = _structured(values)
    return deepcopy(_last[key])


@lru_cache(maxsize=64)
def _kept(overrides: tuple[str, ...], searched: str) -> DictConfig:
    """What is composed once a process, for the cells of a sweep; `searched`: where its files are looked for."""
    return _compose(overrides)


def searched() -> list[Path]:
    """The folders that options of groups are looked for in, while a command line is composed; ours alone otherwise."""
    from hydra.core.global_hydra import GlobalHydra

    hydra = GlobalHydra.instance()
    if not hydra.is_initialized():
        return [CONF]
    paths = [entry.path for entry in hydra.config_loader().get_search_path().get_path()]
    return [Path(path.removeprefix("file://")) for path in paths if path.startswith("file://")]


def composed(config: Config, changes: Mapping[str, Any], overrides: Sequence[str]) -> Config:
    """`config` with other options of groups and other values of keys, as if they had been typed after `overrides`.

    overrides: those that made `config`; an option of a group brings its own values, and what was typed for single keys of
    the group holds over them. Values stay what they are: nothing of them becomes text. Raises ConfigError, or an error of
    Hydra and OmegaConf, for what could not be typed either.
    """
    base = _copy_of(as_dict(config))
    groups = {key: value for key, value in changes.items() if key in SCHEMAS}
    for group, option in groups.items():
        if not isinstance(option, str):
            hint = "; YAML reads on, off, yes and no as true and false: write them in quotes" * isinstance(option, bool)
            raise ConfigError(f"{group}={option!r} names no option of the group {group}{hint}")
    if groups:
        chosen = _kept((*overrides, *(f"{group}={option}" for group, option in groups.items())), str(searched()))
        for group in groups:
            base[group] = chosen[group]
    OmegaConf.set_struct(base, True)
    for key, value in changes.items():
        if key not in groups:
            OmegaConf.update(base, key.lstrip("+"), literal(value), merge=True, force_add=key.startswith("+"))
    return typed(base)


def restore(values: Mapping[str, Any]) -> Config:
    """The inverse of `as_dict`: what a worker receives from the process that composed the configuration."""
    return typed(_structured(values))


def _structured(values: Mapping[str, Any]) -> DictConfig:
    base = OmegaConf.structured(Config)
    for group, kinds in SCHEMAS.items():
        schema = kinds[values[group]["kind"]] if len(kinds) > 1 else kinds[group]
        base[group] = OmegaConf.structured(schema)
    merged = OmegaConf.merge(base, OmegaConf.create(literal(dict(values))))
    assert isinstance(merged, DictConfig)
    return merged


def strategy_from(values: Mapping[str, Any]) -> Strategy:
    """The strategy that tuned weights were trained with, from what is written beside them."""
    schema = SCHEMAS["strategy"][values["kind"]]
    strategy = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), OmegaConf.create(dict(values))))
    assert isinstance(strategy, Strategy)
    return strategy
