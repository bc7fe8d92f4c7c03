"""Captions in any script: an installed font that has the letters is used, and what none has is told once."""

import logging
import warnings
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager

from t2i.reporting import fonts, style
from t2i.reporting.figures import sample_grid


def font(path: Path, name: str, letters: str) -> Path:
    """A font in which each of the letters is a wide bar."""
    builder = FontBuilder(1000, isTTF=True)
    names = [".notdef", *(f"u{ord(letter)}" for letter in letters)]
    pen = TTGlyphPen(None)
    for number, point in enumerate([(50, 300), (50, 500), (1950, 500), (1950, 300)]):
        (pen.lineTo if number else pen.moveTo)(point)
    pen.closePath()
    glyph = pen.glyph()
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(letter): f"u{ord(letter)}" for letter in letters})
    builder.setupGlyf(dict.fromkeys(names, glyph))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (2000, 50)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": name, "styleName": "Regular"})
    builder.setupOS2(usWeightClass=400)
    builder.setupPost()
    builder.save(path)
    return path


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only DejaVu is installed."""
    own = [e for e in font_manager.fontManager.ttflist if e.name.startswith("DejaVu")]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)
    monkeypatch.setattr(font_manager, "findSystemFonts", list)
    monkeypatch.setattr(fonts, "_told", set())
    for cached in (fonts._fallbacks, fonts._installed, style.text_width):
        cached.cache_clear()
    yield
    for cached in (fonts._fallbacks, fonts._installed, style.text_width):
        cached.cache_clear()


def grid(folder: Path, *captions: str) -> Path:
    pictures = np.zeros((len(captions), 64, 64, 3), np.uint8)
    return sample_grid(pictures, list(captions), folder / "grid.png", "Überschrift")


def test_a_font_that_has_the_letters_is_used(tmp_path: Path, fresh: None, caplog: pytest.LogCaptureFixture) -> None:
    font_manager.fontManager.addfont(font(tmp_path / "cat.ttf", "Cat Sans", "猫犬"))
    font_manager.fontManager.addfont(font(tmp_path / "hindi.ttf", "Hindi Sans", "बल"))
    assert fonts.families("a cat, eine Tür") == ["DejaVu Sans"]
    assert fonts.families("猫 and 犬") == ["DejaVu Sans", "Cat Sans"]
    assert sorted(fonts.families("猫 बल")[1:]) == ["Cat Sans", "Hindi Sans"]
    assert style.text_width("猫", 10) == pytest.approx(2 * 10 * style.DPI / 72, abs=1)  # 2 em: that of the font itself
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        grid(tmp_path, "猫", "बल")
    assert not [record for record in caplog.records if record.name == "t2i"]


def test_what_no_font_has_is_told_once(tmp_path: Path, fresh: None, caplog: pytest.LogCaptureFixture) -> None:
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING, "t2i"):
        warnings.simplefilter("error")
        for _ in range(2):
            grid(tmp_path, "一只猫在垫子上", "बिल्ली", "แมว", "🐈")
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 3
    assert [text.partition("`apt install ")[2].rstrip("`") for text in told] == sorted(
        ["fonts-noto-cjk", "fonts-noto-core", "fonts-symbola"],
        key=lambda name: [name in text for text in told].index(True),
    )
    assert any("猫" in text for text in told)
