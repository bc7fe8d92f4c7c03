"""Values of the command line that are taken as they are: Hydra's grammar has no umlauts, brackets or `=` in a path."""

import os
import re
from collections.abc import Sequence

PATHS = frozenset(
    """outputs weights pictures prompts_file wildcards image mask recipe run bundle dataset.root dataset.subset
    dataset.karpathy model.source model.architecture eval.clip eval.inception eval.dinov2 eval.pickscore eval.hpsv2 eval.vlm
    eval.reference clip.source
    sweeps.apply track.artifacts serve.credentials""".split()
)
"""Keys whose value is a path, or may be one."""
TEXTS = frozenset(["dataset.background", "dataset.caption", "cfg.negative_prompt"])
"""Keys whose value is one text."""
LISTS = frozenset(["runs", "dataset.links", "weights", "pictures"])
"""Keys whose value is a list of paths, or may be one."""
TEXT_LISTS = frozenset(
    """prompts charts.prompts training.validation_prompts training.captions.templates dataset.templates dataset.labels
    eval.class_prompts""".split()
)
"""Keys whose value is a list of texts."""
MAPPINGS = frozenset(
    "sweeps.space sweeps.fixed sweeps.also scheduler.options dataset.keywords model.parameters".split()
)
"""Keys whose value is a mapping with names of the user's choice."""
PLAIN = re.compile(r"[A-Za-z0-9_./:@%+-]*[A-Za-z_/][A-Za-z0-9_./:@%+-]*")
SPECIAL = re.compile(r"null|true|false|nan|inf|[+-]?(\d[\d_]*)?\.?\d*e[+-]?\d+|[+-](inf|nan)", re.IGNORECASE)
"""What would be read as another type than a text."""
SWEEP_WORDS = re.compile(r"(glob|range|choice|interval|sort|shuffle|tag)\(")


def verbatim(arguments: Sequence[str], multirun: bool = False) -> list[str]:
    """The arguments with the values of paths and texts quoted, and `~` expanded to the home folder.

    What is quoted already, null, an interpolation and, in a multirun, what asks for several runs stay as they are. A mapping
    takes the place of the one in a file, where Hydra would merge the two: the key is emptied first. `++key={...}` merges.
    """
    return [part for argument in arguments for part in _emptied(_argument(argument, multirun))]


def _emptied(argument: str) -> list[str]:
    key, _, value = argument.partition("=")
    if key in MAPPINGS and value.startswith("{"):
        return [f"{key}='???'", f"++{argument}"]
    return [argument]


def _argument(argument: str, multirun: bool) -> str:
    key, equals, value = argument.partition("=")
    name = key.lstrip("+")
    if not equals or value in ("", "null") or value.startswith("${"):
        return argument
    if multirun and (len(items(value)) > 1 or SWEEP_WORDS.match(value)) and not os.path.exists(value):
        return argument
    bracketed = value.startswith("[") and value.endswith("]") and value[1:-1].strip() and not os.path.exists(value)
    if (name in PATHS or name in TEXTS) and not (name in LISTS and bracketed):
        return f"{key}={_one(value, name in PATHS)}"
    if (name in LISTS or name in TEXT_LISTS) and bracketed:
        return f"{key}=[{','.join(_one(item.strip(), name in LISTS) for item in items(value[1:-1]))}]"
    return argument


def _one(value: str, path: bool) -> str:
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        inner = value[1:-1]
        if re.search(rf"(?<!\\)(\\\\)*{value[0]}", inner):  # an apostrophe between apostrophes
            return quoted(inner)
        return value[0] + (os.path.expanduser(inner) if path else inner) + value[0]
    if value.startswith("${"):
        return value
    value = os.path.expanduser(value) if path else value
    return value if PLAIN.fullmatch(value) and not SPECIAL.fullmatch(value) else quoted(value)


def quoted(value: str, mark: str = "'") -> str:
    """The text in Hydra's quotes, in which a backslash counts before a quote only."""
    escaped = re.sub(rf"(\\*){mark}", lambda found: 2 * found[1] + "\\" + mark, value)
    return mark + re.sub(r"\\+$", lambda found: 2 * found[0], escaped) + mark


def items(text: str) -> list[str]:
    """The parts of a list between commas that stand outside of quotes and brackets.

    A quote ends where a comma or the end follows, so that an apostrophe inside of a text is one.
    """
    found, depth, quote = [""], 0, ""
    for place, letter in enumerate(text):
        if quote:
            escaped = (len(found[-1]) - len(found[-1].rstrip("\\"))) % 2
            last = text[place + 1 :].lstrip()[:1] in ("", ",", "]", "}", ")")
            quote = "" if letter == quote and last and not escaped else quote
        elif letter in "'\"" and not found[-1].strip():
            quote = letter
        elif letter in "[{(":
            depth += 1
        elif letter in "]})":
            depth -= 1
        elif letter == "," and depth <= 0:
            found.append("")
            continue
        found[-1] += letter
    return found
