"""The report as a reader's browser shows it, on a laptop and on a phone: nothing has to be scrolled sideways."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from t2i.reporting.figures import sample_grid
from t2i.reporting.report import Figure, Section, write_report
from t2i.reporting.tables import Table

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

LAPTOP, PHONE = 1280, 390
INTERVAL = "-0.0412 [-0.0917, 0.0094]"
METRIC = "inception_score_10_std[tiny_clip]"
WORD = "x" * 200
TABLES = {
    "verdict": Table(
        ["metric", "verdict", "base", "tuned", "change"],
        [[METRIC, "better", INTERVAL, INTERVAL, f"{INTERVAL}\np 0.0001 (0.0005), seen: 0.0204"]] * 3,
    ),
    "verdict of an older run": Table(
        ["metric", "base", "tuned", "change", "p (Holm)", "seen at N = 100,000", "verdict"],
        [[METRIC, *[INTERVAL] * 3, "0.93 (1)", "1.58", "cannot tell"]] * 3,
    ),
    "sweep": Table(
        ["scheduler", "cfg.scale", "", *[f"metric_{n}[tiny_clip]" for n in range(40)]],
        [["dpmpp_2m_sde", "7.5", "best", *[INTERVAL] * 40]] * 3,
        keys=3,
    ),
    "quantities": Table(["quantity", "value"], [["largest pixel difference after reload (of 255)", INTERVAL]]),
    "checks": Table(
        ["check", "expected", "found", "result"],
        [["text encoder in the pipeline (digest)", "b0092ddacef5" * 6, "(1, 32, 128) float32", "ok"]],
    ),
    "long words": Table([WORD, "b", WORD], [[WORD, WORD, "c"], ["a", 1, f"/data/{WORD}/{WORD}"]]),
    "long texts": Table(["a", "b", "c", "d", "e"], [["word " * 60] * 5]),
    "large numbers": Table(["n", "m"], [[10**30, "1,234,567,890.12 [-1,234,567,890.12, 1,234,567,890.12]"]]),
    "many keys": Table([f"training.some_key_{n}" for n in range(9)], [[f"value_{n}" for n in range(9)]] * 2, keys=8),
    "one column": Table(["name"], [["a"], ["b"]]),
    "no row": Table(["a", "b", "c", "d"], []),
}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    grid = sample_grid(np.zeros((10, 64, 64, 3), np.uint8), ["a cat"] * 10, folder / "grid.png", "Samples")
    sections = [Section("Data", figures=[Figure(grid, WORD)]), Section("Wiring", WORD, [TABLES["checks"]])]
    sections += [
        Section(name, f"{WORD} `{WORD}`", [Table(table.columns, table.rows, WORD, table.keys)])
        for name, table in TABLES.items()
    ]
    sections.append(Section("Base against tuned", "Better.", [TABLES["verdict"]], [Figure(grid, "Pictures.")]))
    return write_report(
        folder / "report.html",
        WORD,
        WORD,
        f"**Better.** {WORD}",
        {WORD: WORD},
        sections,
        f"run.py {WORD}",
        f"a: {WORD}",
    )


def opened(browser: "Browser", path: Path, width: int, fold: bool = False) -> "Page":
    page = browser.new_context(viewport={"width": width, "height": 800}).new_page()
    page.goto(path.as_uri())
    if not fold:
        page.eval_on_selector_all("details", "all => all.forEach(details => details.open = true)")
    return page


@pytest.mark.parametrize("width", [LAPTOP, PHONE])
def test_nothing_scrolls_sideways(browser: "Browser", report: Path, width: int) -> None:
    page = opened(browser, report, width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = page.evaluate(
        """[...document.querySelectorAll('body *')].filter(e =>
             ['auto', 'scroll'].includes(getComputedStyle(e).overflowX) && e.scrollWidth > e.clientWidth + 1
           ).map(e => [e.getAttribute('aria-label') || e.tagName, e.scrollWidth, e.clientWidth])"""
    )
    assert wide == []


@pytest.mark.parametrize("width", [LAPTOP, PHONE])
def test_no_cell_is_cut_off_or_covers_another(browser: "Browser", report: Path, width: int) -> None:
    outside = opened(browser, report, width).evaluate(
        """width => [...document.querySelectorAll('td span, th, td small, img')].filter(e => {
             const box = e.getBoundingClientRect(), cell = (e.closest('td, th') || e).getBoundingClientRect();
             const hidden = e.closest('thead') && getComputedStyle(e.closest('thead')).position === 'absolute';
             return !hidden && (box.left < -1 || box.right > width + 1 || box.right > cell.right + 1);
           }).map(e => e.textContent)""",
        width,
    )
    assert outside == []


def test_the_verdict_is_read_before_the_first_scroll_and_the_rest_is_folded(browser: "Browser", report: Path) -> None:
    page = opened(browser, report, LAPTOP, fold=True)
    assert page.locator("h2").first.inner_text() == "Base against tuned"
    data = page.locator("section", has=page.locator("h2", has_text="Data")).first
    assert data.locator("summary").inner_text() == "1 figure"
    assert not data.locator("img").is_visible()
    data.locator("summary").click()
    assert data.locator("img").is_visible()


def test_a_table_can_be_reached_by_keyboard_and_its_caption_stands_outside(browser: "Browser", report: Path) -> None:
    page = opened(browser, report, LAPTOP)
    boxes = page.locator(".wide")
    assert boxes.count() > len(TABLES)
    for box in boxes.all():
        assert (box.get_attribute("tabindex"), box.get_attribute("role")) == ("0", "region")
        assert box.get_attribute("aria-label")
    assert page.locator(".wide caption, .wide figcaption").count() == 0
    assert page.locator("figure.table figcaption").count() == len(TABLES)


def test_metrics_are_called_as_people_call_them(browser: "Browser", report: Path) -> None:
    cell = opened(browser, report, LAPTOP).locator("section:has(h2:text-is('verdict')) td").first
    assert cell.inner_text() == "Inception Score, spread of 10 splits (tiny_clip)"
    assert cell.get_attribute("title") == METRIC


def test_a_phone_shows_each_row_of_a_wide_table_with_the_names_of_its_columns(browser: "Browser", report: Path) -> None:
    page = opened(browser, report, PHONE)
    cell = page.locator("section:has(h2:text-is('verdict')) td").nth(1)
    assert cell.evaluate("cell => getComputedStyle(cell, '::before').content") == '"verdict"'
    boxes = [page.locator("section:has(h2:text-is('verdict')) td").nth(n).bounding_box() for n in (1, 2)]
    assert boxes[0] and boxes[1] and boxes[0]["y"] + boxes[0]["height"] <= boxes[1]["y"] + 1
