"""What may be typed behind `python -m bench NAME`: the parameters of the bench's `run`, and their defaults."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from t2i.errors import ConfigError, unknown

HELP = frozenset(["--help", "-h"])
LEFT_OUT = frozenset(["cells", "full", "limit", "sqrtm", "switches", "warm_up"])
"""Numbers of which 0 leaves something out; of others there is at least one, unless their default is 0."""
PATHS = frozenset(["root", "other", "optimum", "script", "lora_script"])
"""Files and folders that have to be there."""


def read(run: Callable[..., Any], typed: Iterable[str]) -> dict[str, Any]:
    """The arguments of `run` that were typed, `--key=value` each; ConfigError for what cannot be one."""
    known, found = inspect.signature(run).parameters, dict[str, Any]()
    for argument in typed:
        key, equals, text = argument.partition("=")
        name = key.removeprefix("--")
        if not key.startswith("--") or (name in known and not equals):
            raise ConfigError(
                f"{argument} is no option; options are typed as --{name if name in known else 'key'}=value"
            )
        if name not in known:
            raise unknown(f"{key} is no option of this bench", key, [f"--{own}" for own in known])
        found[name] = _value(key, text, known[name])
    return found


def _value(key: str, text: str, known: inspect.Parameter) -> int | str:
    name = known.name
    if known.annotation is not int:
        if name in PATHS and text and not Path(text).expanduser().exists():
            raise ConfigError(f"{key}={text} does not exist; give the path of one that does")
        return text
    least = int(name not in LEFT_OUT and known.default > 0)
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise ConfigError(f"{key}={text} is no whole number from {least} on; type e.g. {key}={known.default}")
    return value


def chosen(key: str, given: str, known: Sequence[str]) -> list[str]:
    """The names in a list with commas; all that are known where none is given. ConfigError for one that is not known."""
    own = [name for name in given.split(",") if name] or list(known)
    for name in own:
        if name not in known:
            raise unknown(f"--{key}={given}: {name} is none that is known", name, list(known))
    return own


def told(module: Any) -> str:
    """The bench's own words, what its `run` gives, and its options with their defaults."""
    known = inspect.signature(module.run).parameters.items()
    options = [f"  --{name}={option.default}" for name, option in known]
    return "\n\n".join([inspect.getdoc(module) or "", inspect.getdoc(module.run) or "", "\n".join(options)]) + "\n"
