"""Domains of images that nobody annotated: a caption that says "two puppies" is about animals.

Whole words count, singular and plural alike; of words that overlap the longest phrase counts, so that a hot dog is
food and no dog.
"""

import re
from collections.abc import Iterable, Mapping

IRREGULAR = {
    "child": "children",
    "goose": "geese",
    "man": "men",
    "mouse": "mice",
    "ox": "oxen",
    "person": "people",
    "tooth": "teeth",
    "foot": "feet",
    "woman": "women",
}
UNCHANGED = {"aircraft", "bison", "buffalo", "deer", "fish", "moose", "sheep", "shrimp", "spacecraft", "trout"}
"""Plurals that look like the singular."""
VES = {"calf", "half", "knife", "leaf", "loaf", "scarf", "shelf", "wolf"}
"""Words in -f or -fe whose plural ends in -ves."""
VOWEL_SOUNDS = re.compile(r"(?!uni|eu|ew|one|use)[aeiou]|hour|honest", re.IGNORECASE)
WORD = re.compile(r"[^\W\d_]+")


def with_article(noun: str) -> str:
    """`an airplane`, `a unicycle`."""
    return f"{'an' if VOWEL_SOUNDS.match(noun) else 'a'} {noun}"


def plurals(noun: str) -> set[str]:
    """Every accepted plural of a word or phrase (its last word takes the ending): buses, puppies, sheep, potatoes."""
    head, space, last = noun.rpartition(" ")
    for one, many in IRREGULAR.items():
        # Compounds too: policemen, grandchildren; but not humans or foxes.
        if last == one or (one in ("man", "child") and last.endswith(one) and last not in ("human", "german")):
            return {head + space + last.removesuffix(one) + many}
    if last in UNCHANGED or re.search(r"(fish|sheep)$", last):
        forms = {last, f"{last}es"}
    elif last in VES:
        forms = {re.sub(r"fe?$", "ves", last), f"{last}s"}
    elif re.search(r"[^aeiou]y$", last):
        forms = {f"{last[:-1]}ies"}
    elif re.search(r"(s|x|z|ch|sh)$", last):
        forms = {f"{last}es"}
    elif re.search(r"[^aeiou]o$", last):
        forms = {f"{last}es", f"{last}s"}
    else:
        forms = {f"{last}s"}
    return {head + space + form for form in forms}


class KeywordRule:
    """Which domains captions are about. `lists` gives the singular words and phrases of each domain."""

    def __init__(self, lists: Mapping[str, Iterable[str]]) -> None:
        self._meanings: dict[tuple[str, ...], set[tuple[str, str]]] = {}
        self._longest: dict[str, int] = {}  # by first word: how many words a phrase may have
        for domain, keywords in lists.items():
            for keyword in keywords:
                for form in (keyword, *plurals(keyword)):
                    words = tuple(_words(form))
                    if words:
                        self._meanings.setdefault(words, set()).add((domain, keyword))
                        self._longest[words[0]] = max(len(words), self._longest.get(words[0], 0))

    def labels(self, captions: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The domains, and the keywords in the singular, that any of the captions names; both sorted."""
        found: set[tuple[str, str]] = set()
        for caption in captions:
            words = _words(caption)
            position = 0
            while position < len(words):
                position += self._match(words, position, found)
        return tuple(sorted({domain for domain, _ in found})), tuple(sorted({keyword for _, keyword in found}))

    def _match(self, words: list[str], position: int, found: set[tuple[str, str]]) -> int:
        """Adds what the longest phrase at `position` means; returns by how many words to go on."""
        for length in range(self._longest.get(words[position], 0), 0, -1):
            meanings = self._meanings.get(tuple(words[position : position + length]))
            if meanings:
                found |= meanings
                return length
        return 1


def _words(text: str) -> list[str]:
    # The dog's tail is about a dog; T-shirts and hot-dogs are two words each.
    return WORD.findall(re.sub(r"['\u2019]s\b", " ", text.lower()))
