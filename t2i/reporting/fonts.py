"""Fonts for texts in any script: the one that comes with matplotlib, and installed ones for the glyphs that it lacks."""

from __future__ import annotations

import contextlib
import logging
import unicodedata
import warnings
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path

from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

FONT = "DejaVu Sans"  # comes with matplotlib, so that a figure is the same on every machine
CJK = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC", "FULLWIDTH", "HALFWIDTH")
log = logging.getLogger("t2i")
_told: set[str] = set()


def families(text: str) -> list[str]:
    """The font families that a text is drawn with: matplotlib takes each glyph from the first that has it."""
    if text.isascii():
        return [FONT]
    lacking = frozenset(letter for letter in text if ord(letter) not in _own() and _drawn(letter))
    return [FONT, *_fallbacks(lacking)] if lacking else [FONT]


def cover(figure: Figure) -> None:
    """Gives every text of a figure the families that it needs."""
    for text in figure.findobj(Text):
        needed = families(text.get_text()) if isinstance(text, Text) else []
        if len(needed) > 1:
            text.set_fontfamily(needed)


@contextlib.contextmanager
def boxes_told_once() -> Iterator[None]:
    """Without matplotlib's warnings for glyphs that no font has and fonts without a bold face: `families` says it once."""
    theirs = logging.getLogger("matplotlib.font_manager")
    level = theirs.level
    theirs.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph ")
            yield
    finally:
        theirs.setLevel(level)


def _drawn(letter: str) -> bool:
    """Whether a letter has a shape of its own; controls, marks of direction and variation selectors have none."""
    return not letter.isspace() and unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Cn", "Co", "Mn", "Me")


@lru_cache(maxsize=1)
def _own() -> frozenset[int]:
    return _glyphs(font_manager.findfont(FONT))


@cache
def _glyphs(path: str) -> frozenset[int]:
    """The code points that a font file has outlines for; none for one that cannot be drawn, as coloured bitmaps."""
    try:
        font = FT2Font(path)
        return frozenset(font.get_charmap()) if font.scalable and not font.num_fixed_sizes else frozenset()
    except (OSError, RuntimeError):
        return frozenset()


@lru_cache(maxsize=256)
def _fallbacks(lacking: frozenset[str]) -> tuple[str, ...]:
    """Installed families that have the letters, those first that have most of them; tells once what none has."""
    found: list[str] = []
    left = {ord(letter) for letter in lacking}
    while left:
        fonts = [(len(left & _glyphs(path)), name, path) for name, path in _installed()]
        count, name, path = max(fonts, key=lambda font: (font[0], "Mono" not in font[1], font[1]), default=(0, "", ""))
        if not count:
            break
        found.append(name)
        left -= _glyphs(path)
    if left:
        _tell({chr(code) for code in left})
    return tuple(found)


@lru_cache(maxsize=1)
def _installed() -> tuple[tuple[str, str], ...]:
    """Name and file of every upright font, also of those that were installed after matplotlib's list was made."""
    known = {entry.fname for entry in font_manager.fontManager.ttflist}
    for path in font_manager.findSystemFonts():
        if path not in known:
            with contextlib.suppress(OSError, RuntimeError, ValueError):  # no font that FreeType reads
                font_manager.fontManager.addfont(path)
    # matplotlib's font of last resort has a box for everything.
    plain = [
        entry
        for entry in font_manager.fontManager.ttflist
        if entry.style == "normal" and entry.weight in (400, "normal") and not entry.name.startswith("Last Resort")
    ]
    return tuple(sorted({(entry.name, str(entry.fname)) for entry in plain if Path(entry.fname).is_file()}))


def _tell(letters: set[str]) -> None:
    """What to install, once for each package."""
    packages: dict[str, str] = {}
    for letter in sorted(letters):
        name = unicodedata.name(letter, "")
        symbol = unicodedata.category(letter) == "So"
        package = "fonts-noto-cjk" if name.startswith(CJK) else "fonts-symbola" if symbol else "fonts-noto-core"
        packages[package] = packages.get(package, "") + letter
    for package, shown in packages.items():
        if package not in _told:
            _told.add(package)
            log.warning(
                f"figures show boxes for letters that no installed font has ({' '.join(shown[:8])}): install one, such as "
                f"`apt install {package}`"
            )
