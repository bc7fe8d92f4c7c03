"""Prompts that ask for a subject in many places, and prompts that are of anything else.

Each has a twin in which the class stands in place of the subject: a CLIP has never read the subject's word, so what a picture
shows of its prompt is asked by the class (Ruiz et al. 2023, arXiv:2208.12242, sec. 4).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from t2i.data.sources.folder import REPEATED
from t2i.data.sources.scenes.captions import PLACES, captions
from t2i.data.sources.scenes.world import CHARACTERS, describe
from t2i.data.sources.templates import worded
from t2i.errors import UserError

VERSION = 2
"""Of the prompts: raise it when one changes."""
EACH = 2
"""Pictures of each prompt: more prompts say more than more pictures of one, and two have a distance."""
CONTEXTS = (
    "on the beach",
    "in the snow",
    "in the jungle",
    "on a cobblestone street",
    "in a forest",
    "in a city at night",
    "on top of a wooden floor",
    "on top of pink fabric",
    "on top of green grass",
    "floating on water",
    "with a mountain in the background",
    "with a wheat field in the background",
    "with a blue house in the background",
    "in a kitchen",
    "on a red carpet",
    "under a tree with autumn leaves",
)
"""Where a photographed subject is asked for."""
WORDINGS = ("{}", "a drawing of {}")
"""Of a drawn character's prompt in each of its places."""
LEADING = frozenset(
    "a an the in on at of by with under over near beside behind before from to into onto and or is are its his her".split()
)
"""Words that wait for another one: captions that share `a photo of sks dog on the` are of `a photo of sks dog`."""


@dataclass(frozen=True)
class Subject:
    """One subject: what asks for it, and which pictures show it."""

    name: str
    prompts: list[str]
    plain: list[str]
    """The same with the class in the subject's place."""
    trained: list[int]
    """Rows of the pictures that it is learned from."""
    held_out: list[int]
    """Rows of the pictures that it is judged by."""


def of_character(name: str, prefix: str = "") -> tuple[list[str], list[str]]:
    """Prompts of a drawn character in each of its places, and their twins. prefix: what captions begin with in training."""
    kind = CHARACTERS[name][0]
    article = "an" if kind[0] in "aeiou" else "a"
    own = [(f"{prefix}{name} the {kind} {place}", f"{article} {kind} {place}") for place in PLACES.values()]
    pairs = [(wording.format(ours), wording.format(plain)) for wording in WORDINGS for ours, plain in own]
    return [ours for ours, _ in pairs], [plain for _, plain in pairs]


def of_words(words: str, kind: str) -> tuple[list[str], list[str]]:
    """Prompts of a subject that `words` ask for (`a photo of sks dog`) in each context, and their twins of its class."""
    (plain,) = worded(["a photo of {a label}"], kind)
    return [f"{words} {context}" for context in CONTEXTS], [f"{plain} {context}" for context in CONTEXTS]


def shared_words(texts: Sequence[str]) -> str:
    """The longest run of words that all captions have, the first of several, without words at its end that lead to others;
    empty where there is none.
    """
    split = [text.split() for text in dict.fromkeys(texts)]
    if len(split) < 2:
        return " ".join(split[0]) if split else ""
    first, *others = (words for words in sorted(split, key=len))
    joined = [f" {' '.join(words)} " for words in others]
    runs = [first[i:j] for i in range(len(first)) for j in range(len(first), i, -1)]
    for run in sorted(dict.fromkeys(tuple(_whole(run)) for run in runs), key=len, reverse=True):
        text = " ".join(run)
        if text and all(f" {text} " in other for other in joined):
            return text
    return ""


def _whole(run: Sequence[str]) -> Sequence[str]:
    """Without what leads to words that are not there."""
    while run and run[-1].lower().strip(",;") in LEADING:
        run = run[:-1]
    return run


def owner_of(key: str) -> str:
    """Whose picture a file is: the name of its folder, of `10_sks dog/a.jpg` that is `sks dog`; empty without one."""
    folders = PurePosixPath(key).parent.parts
    named = next((found[2] for part in reversed(folders) if (found := REPEATED.fullmatch(part))), None)
    if named is not None:
        return named
    own = [part for part in folders if part.lower() not in ("train", "training", "test", "validation", "val", "img")]
    return own[0] if own else ""


def of_pictures(
    trained: tuple[Sequence[str], Sequence[Sequence[str]]],
    held_out: tuple[Sequence[str], Sequence[Sequence[str]]],
    kinds: Sequence[str],
    prefix: str = "",
) -> list[Subject]:
    """The subjects of photographs, by the folders they lie in. trained, held_out: ids, and the captions of each.

    kinds: class words; of several, a subject has the one that its words or its folder hold. Subjects without a held-out picture
    are left out, since nothing judges them. Raises UserError where nothing names a subject or its class, or none is left.
    """
    groups: dict[str, tuple[list[int], list[int]]] = {}
    for side, (ids, _) in enumerate((trained, held_out)):
        for row, key in enumerate(ids):
            groups.setdefault(owner_of(key), ([], []))[side].append(row)
    found = []
    for name, (own, judged) in sorted(groups.items()):
        if not own or not judged:
            continue
        words = shared_words([text for row in own for text in trained[1][row]])
        if not words:
            raise UserError(
                f"the captions of the subject {name or '(no folder)'} have no word in common, so nothing says how to ask for "
                "it: write the same word into each, or type dataset.caption='a photo of sks dog'"
            )
        kind = next((kind for kind in kinds if len(kinds) == 1 or _has(f"{words} {name}", kind)), None)
        if kind is None:
            raise UserError(f"nothing says what {words!r} is one of: type dataset.class_word=dog")
        found.append(Subject(name or words, *of_words(f"{prefix}{words}", kind), own, judged))
    if not found:
        raise UserError(
            "no subject has both a picture to learn from and a held-out one: give more pictures, or a larger "
            "dataset.held_out_share"
        )
    return found


def _has(text: str, words: str) -> bool:
    """Whether `words` are in a text as whole words: no cat is in a catto."""
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text) is not None


def unrelated(count: int, kinds: Sequence[str]) -> list[str]:
    """`count` captions of the drawn world that name none of the classes: simple things, which any model was taught."""
    texts: list[str] = []
    index = 0
    while len(texts) < count:
        text = captions(describe(0, 1_000_000 + index))[0]
        index += 1
        if text not in texts and not any(kind in text for kind in kinds):
            texts.append(text)
    return texts
