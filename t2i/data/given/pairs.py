"""Which pictures of several folders belong together: by file name, or by what they were made from, or not at all."""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from t2i.data.base import draw
from t2i.data.given.folder import Gallery
from t2i.data.given.said import stem

LEFT_OUT = 0.1
"""Share of a folder's pictures that may lack a partner: more, and the names (or captions) are no plan that both followed."""


@dataclass(frozen=True)
class Together:
    """Folders of equal length; with `by`, picture i of each belongs to picture i of the others."""

    sets: tuple[Gallery, ...]
    by: str
    """`file name`, `caption and seed` or `caption`; empty where the pictures are independent of each other."""
    notes: tuple[str, ...] = ()
    """What was left out, in sentences."""

    @property
    def paired(self) -> bool:
        """Whether differences are of pairs."""
        return bool(self.by)


def together(sets: Sequence[Gallery]) -> Together:
    """The pictures of `sets` that can be compared.

    By file name (without its end), where the folders have the same names and do not say different captions for one; by caption,
    with the seed where all say one, repeated ones in the order of their names; otherwise independent, as many of each as the
    smallest folder has, chosen by lot. A tenth of a folder may be without partner, and is left out.
    """
    for by, keys in _ways(sets):
        found = _matched(sets, keys)
        if found is not None:
            parts, notes = found
            if not (by == "file name" and _contradicted(parts)):
                return Together(parts, by, notes)
    least = min(map(len, sets))
    notes = tuple(
        f"{len(own) - least} pictures of {own.root.name} are left out by lot: sets of one size are compared"
        for own in sets
        if len(own) > least
    )
    return Together(tuple(_by_lot(own, least) for own in sets), "", notes)


def _ways(sets: Sequence[Gallery]) -> list[tuple[str, list[list[Hashable]]]]:
    ways: list[tuple[str, list[list[Hashable]]]] = [("file name", [[stem(name) for name in own.names] for own in sets])]
    captions = [own.captions for own in sets if own.captions is not None]
    if len(captions) == len(sets):
        seeds = [own.seeds for own in sets if own.seeds is not None]
        if len(seeds) == len(sets):
            both = [list(zip(own, seed, strict=True)) for own, seed in zip(captions, seeds, strict=True)]
            ways.append(("caption and seed", [_numbered(keys) for keys in both]))
        ways.append(("caption", [_numbered(keys) for keys in captions]))
    return ways


def _numbered(keys: Sequence[Hashable]) -> list[Hashable]:
    """Each with how often it came before: the second picture of a caption is that of the other folder's second."""
    seen: Counter[Hashable] = Counter()
    found: list[Hashable] = []
    for key in keys:
        found.append((key, seen[key]))
        seen[key] += 1
    return found


def _matched(
    sets: Sequence[Gallery], keys: Sequence[Sequence[Hashable]]
) -> tuple[tuple[Gallery, ...], tuple[str, ...]] | None:
    """The pictures whose key every folder has, in the order of the first; None where too few are."""
    if any(len(set(own)) < len(own) for own in keys):  # a.png and a.jpg in one folder
        return None
    common = set(keys[0]).intersection(*map(set, keys[1:]))
    if any(len(own) - len(common) > LEFT_OUT * len(own) for own in keys) or not common:
        return None
    order = [key for key in keys[0] if key in common]
    places = [{key: row for row, key in enumerate(own)} for own in keys]
    parts = tuple(own.part([place[key] for key in order]) for own, place in zip(sets, places, strict=True))
    notes = tuple(
        f"{len(own) - len(order)} pictures of {own.root.name} have no partner and are left out"
        for own in sets
        if len(own) > len(order)
    )
    return parts, notes


def _contradicted(parts: Sequence[Gallery]) -> bool:
    """Whether pictures of one name are said to show different things: 000.png of two tools need not be one prompt."""
    known = [own.captions for own in parts if own.captions is not None]
    return any(own != known[0] for own in known[1:])


def _by_lot(own: Gallery, count: int) -> Gallery:
    rows = sorted(range(len(own)), key=lambda row: draw("compared", own.names[row]))[:count]
    return own.part(sorted(rows))
