"""The picture of the house, made from the imports so that it cannot drift: python -m tools.house

Storeys from the layers of pyproject.toml, the uppermost first; in each its rooms, and what they hold. Writes
docs/figures/house.svg.
"""

import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from xml.sax.saxutils import escape, unescape

from t2i.reporting.palette import BASE, FAINT, INK, MUTED, PAPER
from tools.imports import PROJECT, Graph, files, graph

PICTURE = PROJECT / "docs" / "figures" / "house.svg"
WIDTH, MARGIN, GAP = 780, 14, 10
"""In pixels. Narrow enough to be read on a telephone, where it is half as large."""
LARGE, SMALL = 21, 17
"""Sizes of the writing."""
INNER = WIDTH - 2 * MARGIN - 2 * GAP
ARROW = 30
LEGEND = [
    "Each storey imports only from those below it.",
    "An arrow leads from a small storey to the one below it.",
    "A dashed frame: its rooms may import each other. Darker: more lines.",
]
LETTER = 0.58
"""Width of a letter of sans-serif by its size, on the safe side."""
TINTS = ((2000, "#cfe3f2"), (700, "#e2eef7"), (0, "#f2f7fb"))
"""From so many lines on: the more there is in a room, the darker it is."""


@dataclass(frozen=True)
class Room:
    """A folder or a file of t2i."""

    name: str
    modules: int
    lines: int
    inside: tuple["Room", ...] = ()
    """Folders in it."""
    ways: tuple[str, ...] = ()
    """Which of these folders import which, as `preparation, sources → files`."""


@dataclass(frozen=True)
class Storey:
    """What may import everything below it."""

    rooms: tuple[Room, ...]
    together: bool
    """Whether its rooms may import each other."""


def house(root: Path = PROJECT) -> list[Storey]:
    """The storeys from the top; ValueError where a module of t2i is in none of them, or in two."""
    known = {name: path for name, path in files(root, "t2i").items() if path.name != "__init__.py"}
    imports = graph(known)
    contracts = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = [layer.replace("|", ":").split(":") for layer in contracts[0]["layers"]]
    names = [[name.strip() for name in layer] for layer in layers]
    homes = {module: [name for layer in names for name in layer if _is_in(module, name)] for module in known}
    lost = {module: found for module, found in homes.items() if len(found) != 1}
    if lost:
        raise ValueError(f"the layers of pyproject.toml do not say one storey of each module: {lost}")
    return [
        Storey(tuple(_room(name, known, imports) for name in layer), ":" in contracts[0]["layers"][number])
        for number, layer in enumerate(names)
    ]


def _is_in(module: str, name: str) -> bool:
    return module == name or module.startswith(f"{name}.")


def _room(name: str, known: dict[str, Path], imports: Graph) -> Room:
    own = [module for module in known if _is_in(module, name)]
    depth = name.count(".") + 1
    folders = sorted({".".join(module.split(".")[: depth + 1]) for module in own if module.count(".") > depth})
    ways = [
        (one, other)
        for other in folders
        for one in folders
        if one != other
        and any(_is_in(module, one) and any(_is_in(used, other) for used in imports[module]) for module in own)
    ]
    users = {other: [one.rpartition(".")[2] for one, used in ways if used == other] for _, other in ways}
    return Room(
        name.removeprefix("t2i."),
        len(own),
        sum(len(known[module].read_text(encoding="utf-8").splitlines()) for module in own),
        tuple(_room(folder, known, imports) for folder in folders),
        tuple(f"{', '.join(ones)} → {other.rpartition('.')[2]}" for other, ones in users.items()),
    )


def plan(storeys: list[Storey]) -> list[object]:
    """What the picture says, but for numbers that change with every commit: rooms, folders, ways."""
    return [
        [
            storey.together,
            [[room.name, [inner.name for inner in room.inside], list(room.ways)] for room in storey.rooms],
        ]
        for storey in storeys
    ]


def told(picture: str) -> object:
    """The plan that a picture was drawn from."""
    return json.loads(unescape(picture.partition("<metadata>")[2].partition("</metadata>")[0]))


# -- drawing ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Box:
    """A room with what is written in it, line by line, before it has a place."""

    room: Room
    notes: tuple[str, ...]
    arrow: bool = False
    """Whether the next one is in the storey below."""

    @property
    def after(self) -> float:
        """Pixels between this box and the next one."""
        return ARROW if self.arrow else GAP

    @property
    def width(self) -> float:
        """In pixels."""
        wide = max([len(self.room.name) * LARGE * 1.12, *(len(note) * SMALL for note in self.notes)])
        return wide * LETTER + 2 * MARGIN

    @property
    def height(self) -> float:
        """In pixels."""
        return MARGIN + LARGE + len(self.notes) * (SMALL + 6) + MARGIN


def box(room: Room) -> Box:
    """Name, size, and the folders in it with the ways between them."""
    size = f"{room.modules} files" if room.modules > 1 else ""
    notes = [", ".join(part for part in (size, f"{_rounded(room.lines)} lines") if part)]
    if room.inside:
        notes.append(" · ".join(f"{inner.name.rpartition('.')[2]} {inner.modules}" for inner in room.inside))
    return Box(room, (*notes, *room.ways))


def _rounded(lines: int) -> str:
    return f"{round(lines, -2):,}" if lines >= 1000 else str(round(lines, -1))


def _bands(storeys: list[Storey]) -> Iterator[list[Storey]]:
    """Small storeys, one above the other, share a band of the picture."""
    for small, group in groupby(storeys, _is_small):
        band = list(group)
        yield from [band] if small else [[storey] for storey in band]


def _is_small(storey: Storey) -> bool:
    files = all(room.modules == 1 for room in storey.rooms)
    return len(storey.rooms) <= 2 + files and not storey.together and not any(room.inside for room in storey.rooms)


def _boxes(band: list[Storey]) -> list[Box]:
    """What stands side by side, the last room of each storey with an arrow to the next storey."""
    boxes = [[box(room) for room in storey.rooms] for storey in band]
    for storey in boxes[:-1]:
        storey[-1] = replace(storey[-1], arrow=True)
    return [one for storey in boxes for one in storey]


def _rows(boxes: list[Box]) -> Iterator[list[Box]]:
    """As many as the width holds."""
    row: list[Box] = []
    for one in boxes:
        if row and sum(other.width + other.after for other in [*row, one]) > INNER + GAP:
            yield row
            row = []
        row.append(one)
    yield row


def drawn(storeys: list[Storey]) -> str:
    """The picture as SVG."""
    parts: list[str] = []
    top = float(MARGIN)
    for band in _bands(storeys):
        rows = list(_rows(_boxes(band)))
        height = sum(max(one.height for one in row) + GAP for row in rows) + GAP
        together = band[0].together
        border = f'stroke="{MUTED if together else FAINT}"' + (' stroke-dasharray="5 4"' if together else "")
        parts.append(_rectangle(MARGIN, top, WIDTH - 2 * MARGIN, height, "none", border))
        down = top + GAP
        for row in rows:
            tall = max(one.height for one in row)
            parts += _row(row, down, tall)
            down += tall + GAP
        top += height + GAP
    for sentence in LEGEND:
        top += SMALL + 4
        parts.append(_text(MARGIN, top, sentence, SMALL, MUTED))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top + MARGIN:.0f}" '
        f'viewBox="0 0 {WIDTH} {top + MARGIN:.0f}" font-family="system-ui, -apple-system, Segoe UI, sans-serif" role="img">'
    )
    title = f"<title>The storeys of t2i, from {storeys[0].rooms[0].name} to {storeys[-1].rooms[-1].name}</title>"
    known = f"<metadata>{escape(json.dumps(plan(storeys), ensure_ascii=False))}</metadata>"
    ground = f'<rect width="100%" height="100%" fill="{PAPER}"/>'
    return "\n".join([head, title, known, ground, *parts, "</svg>"]) + "\n"


def _row(row: list[Box], top: float, height: float) -> list[str]:
    """Boxes side by side over the whole width."""
    parts: list[str] = []
    taken = sum(one.width + one.after for one in row) - (0 if row[-1].arrow else GAP)
    spare = (INNER - taken) / len(row)
    left = float(MARGIN + GAP)
    for one in row:
        parts += _written(one, left, top, one.width + spare, height)
        left += one.width + spare
        if one.arrow:
            parts.append(_text(left + 4, top + height / 2 + 7, "→", LARGE, MUTED))
        left += one.after
    return parts


def _written(one: Box, left: float, top: float, width: float, height: float) -> list[str]:
    tint = next(colour for least, colour in TINTS if one.room.lines >= least)
    parts = [_rectangle(left, top, width, height, tint, f'stroke="{BASE}" stroke-opacity="0.35"')]
    down = top + MARGIN + LARGE * 0.8
    parts.append(_text(left + MARGIN, down, one.room.name, LARGE, INK, bold=True))
    for note in one.notes:
        down += SMALL + 6
        parts.append(_text(left + MARGIN, down, note, SMALL, MUTED))
    return parts


def _rectangle(left: float, top: float, width: float, height: float, fill: str, look: str) -> str:
    return f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" rx="6" fill="{fill}" {look}/>'


def _text(left: float, base: float, text: str, size: int, colour: str, bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{left:.1f}" y="{base:.1f}" font-size="{size}" fill="{colour}"{weight}>{escape(text)}</text>'


if __name__ == "__main__":
    PICTURE.write_text(drawn(house()), encoding="utf-8")
