"""Prompts from lists, files, grids and wildcards."""

import itertools
import re
from collections.abc import Callable, Container, Iterable, Iterator
from pathlib import Path

from t2i.data.files.text_files import parsed, read_text, said, table
from t2i.errors import ConfigError, UserError
from t2i.randomness import generator

MOST = 100_000
"""Prompts of one run: a grid grows with the product of its alternatives."""
MOST_SHOWN = 200
"""Letters of what is cut."""
MOST_NAMED = 5
"""Words that nothing has taught."""
_ALTERNATIVES = re.compile(r"\{([^{}]*\|[^{}]*)\}")
_TAUGHT = re.compile(r"<[^<>\s]+>")
"""How words that a model is taught are written."""
_WILDCARD = re.compile(r"__([\w-]+)__")


def expand(prompts: Iterable[str], wildcards: str | None, seed: int) -> list[str]:
    """Every combination of `{red|blue}` in a prompt; then each `__colour__` becomes a line of `<wildcards>/colour.txt`.

    Which line is a function of the seed and of the prompt's place. Raises ConfigError for more than `MOST` prompts, an
    empty one, and a wildcard without a file.
    """
    combined = list(itertools.islice(itertools.chain.from_iterable(map(_combinations, prompts)), MOST + 1))
    if len(combined) > MOST:
        raise ConfigError(f"the prompts combine to more than {MOST:,}; use fewer alternatives in braces")
    result = [_drawn(prompt, wildcards, seed, place) for place, prompt in enumerate(combined)]
    if not all(prompt.strip() for prompt in result):
        raise ConfigError("one of the prompts is empty; remove it, or describe a picture")
    return result


def cut_words(prompt: str, tokens: Callable[[str], int], limit: int) -> str:
    """The end of a prompt that a text encoder does not read: its words from the first that does not fit whole.

    tokens: how many tokens a text has, those of start and end included; limit: how many are read.
    """
    if tokens(prompt) <= limit:
        return ""
    words = prompt.split()
    low, high = 0, len(words)
    while low < high - 1:  # words[:low] fit, words[:high] do not
        middle = (low + high) // 2
        low, high = (middle, high) if tokens(" ".join(words[:middle])) <= limit else (low, middle)
    return " ".join(words[low:])


def told_cut(prompt: str, tokens: Callable[[str], int], limit: int) -> str:
    """One sentence about the words that are cut, or nothing."""
    words = cut_words(prompt, tokens, limit)
    shown = words if len(words) <= MOST_SHOWN else words[:MOST_SHOWN].rpartition(" ")[0] + " ..."
    return f'The prompt has {tokens(prompt)} tokens, and {limit} are read. Cut: "{shown}".' if words else ""


def told_unknown(prompts: Iterable[str], known: Callable[[], Container[str]], taught: Iterable[str]) -> str:
    """One sentence about words such as `<rex>` that nothing has taught, or nothing.

    known: the tokens of the model, asked only where a prompt has such a word; taught: what `weights=` teach.
    """
    asked = dict.fromkeys(word for prompt in prompts for word in _TAUGHT.findall(prompt))
    has = known() if asked else ()
    own = list(taught)
    if not (unknown := [word for word in asked if word not in has and word not in own]):
        return ""
    names, several = ", ".join(unknown[:MOST_NAMED]), len(unknown) > 1
    more = f" and {len(unknown) - MOST_NAMED} more" if len(unknown) > MOST_NAMED else ""
    helps = f"weights= teach {', '.join(own)}" if own else "give a run that taught it by weights="
    return f"{names}{more}: no {'words' if several else 'word'} that the model was taught, and read in pieces; {helps}"


def _combinations(prompt: str) -> Iterator[str]:
    parts = _ALTERNATIVES.split(prompt)  # texts, and between them what stood in braces
    choices = [part.split("|") if number % 2 else [part] for number, part in enumerate(parts)]
    return map("".join, itertools.product(*choices))


def _drawn(prompt: str, wildcards: str | None, seed: int, place: int) -> str:
    count = itertools.count()

    def line(match: re.Match[str]) -> str:
        if wildcards is None:
            raise ConfigError(
                f"the prompt {prompt!r} holds {match[0]}; name the folder of {match[1]}.txt by wildcards="
            )
        lines = _lines(Path(wildcards).expanduser() / f"{match[1]}.txt", "wildcards")
        return lines[int(generator(seed, "wildcard", place, next(count)).integers(len(lines)))]

    return _WILDCARD.sub(line, prompt)


def from_file(path: Path) -> list[str]:
    """The prompts of a file: one a line (.txt), a list (.json), or the column `prompt` or `caption` (.csv).

    Raises ConfigError when it cannot be read or holds none.
    """
    path = path.expanduser()
    try:
        if path.suffix == ".json":
            values = parsed(read_text(path), path)
            if not isinstance(values, list) or not values or not all(isinstance(value, str) for value in values):
                raise ConfigError(f'prompts_file={path} is no list of texts; write ["a cat", "a bus"]')
            return values
        return _column(path) if path.suffix == ".csv" else _lines(path, "prompts_file")
    except ConfigError:
        raise
    except UserError as error:
        raise ConfigError(f"prompts_file: {error}") from error


def _column(path: Path) -> list[str]:
    found = []
    for number, row in table(path):
        named = [name for name in ("prompt", "caption") if name in row]
        if not named:
            raise ConfigError(
                f"prompts_file={path} has no column prompt or caption, its first line names {', '.join(row)}"
            )
        if not row[named[0]].strip():
            raise ConfigError(f"prompts_file: {path}, line {number}: the {named[0]} is empty; describe a picture")
        found.append(row[named[0]])
    if not found:
        raise ConfigError(f"prompts_file={path} has no prompt; write a column prompt with one prompt a line below it")
    return found


def _lines(path: Path, key: str) -> list[str]:
    """The lines of a text file that are not blank."""
    try:
        found = said(read_text(path))
    except UserError as error:
        raise ConfigError(f"{key}: {error}") from error
    if not found:
        raise ConfigError(f"{key}: {path} is empty; write one entry a line")
    return found
