"""The report is one file that loads nothing, and shows every text as text."""

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from t2i.reporting.figures import sample_grid
from t2i.reporting.report import Figure, Section, Table, markup, write_report

ATTACK = "<script>alert('x')</script> & <img src=http://example.org/x.png>"


class Elements(HTMLParser):
    """Collects tags with attributes, and the text outside style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words += data


@pytest.fixture
def figure(tmp_path):
    return sample_grid(np.zeros((1, 64, 64, 3), np.uint8), ["a cat"], tmp_path / "grid.png", "Samples")


@pytest.fixture
def page(tmp_path, figure):
    table = Table(["metric", ATTACK, "n"], [["fid", "45.2 [41.0, 49.9]", 300], [ATTACK, 0.18249, None]], ATTACK)
    path = write_report(
        tmp_path / "new" / "report.html",
        title=ATTACK,
        subtitle=ATTACK,
        verdict=f"**Better.** {ATTACK}",
        facts={ATTACK: ATTACK},
        sections=[Section(ATTACK, ATTACK, [table], [Figure(figure, ATTACK)]), Section("Empty")],
        command=f"python run.py {ATTACK}",
        configuration=f"prompt: {ATTACK}",
    )
    return path.read_text(encoding="utf-8")


def test_captions_cannot_inject_markup(page):
    elements = Elements(page)
    assert not [tag for tag, _ in elements.tags if tag in ("script", "iframe", "object")]
    assert [tag for tag, _ in elements.tags].count("img") == 1
    # title 2, subtitle, verdict, fact 2, section: link, heading, text; table 3, figure, command, configuration
    assert elements.words.count(ATTACK) == 15


def test_nothing_is_loaded_from_elsewhere(page):
    for tag, attributes in Elements(page).tags:
        for name in ("src", "href", "srcset", "data", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, name, value)
    assert not re.search(r"url\(|@import", page)


def test_figures_are_inlined_bit_by_bit(page, figure):
    source = next(attributes["src"] for tag, attributes in Elements(page).tags if tag == "img")
    assert base64.b64decode(source.removeprefix("data:image/png;base64,")) == figure.read_bytes()


def test_contents_link_to_every_section(page):
    tags = Elements(page).tags
    links = [attributes["href"][1:] for tag, attributes in tags if tag == "a"]
    assert links == [attributes["id"] for tag, attributes in tags if tag == "section"]
    assert links == ["section-1", "section-2", "again"]


def test_columns_of_numbers_stand_on_the_right(page):
    headings = [attributes.get("class") for tag, attributes in Elements(page).tags if tag == "th"]
    assert headings == [None, "number long", "number"]
    assert ">0.182<" in page


def test_configuration_is_folded_and_printed_as_it_is(page):
    assert re.search(r"<details>\s*<summary>.*</summary>\s*<pre>prompt: &lt;script&gt;", page)


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("one\ntwo\n\nthree", "<p>one two</p>\n<p>three</p>"),
        (
            "so:\n- **a** b\n- `c<d`\n  e",
            "<p>so:</p>\n<ul><li><strong>a</strong> b</li><li><code>c&lt;d</code> e</li></ul>",
        ),
        ("`**x**` and a lone ` here", "<p><code>**x**</code> and a lone ` here</p>"),
        ("", ""),
    ],
)
def test_small_markup(text, html):
    assert markup(text) == html


def test_what_is_no_png_is_refused(tmp_path):
    (tmp_path / "x.png").write_text("<svg/>")
    with pytest.raises(ValueError, match="is not a PNG file"):
        write_report(
            tmp_path / "r.html", "t", "s", "v", {}, [Section("a", figures=[Figure(tmp_path / "x.png", "")])], "c", "y"
        )


def test_a_row_that_does_not_fit_its_table_is_refused(tmp_path):
    with pytest.raises(ValueError, match="a row of 1 cells in a table of 2 columns"):
        write_report(
            tmp_path / "r.html", "t", "s", "v", {}, [Section("a", tables=[Table(["a", "b"], [[1]])])], "c", "y"
        )
