"""A report's sections as Markdown: tables line up, nothing breaks out of a cell, figures are linked from the page."""

from pathlib import Path

from t2i.reporting.markdown import write_markdown
from t2i.reporting.report import Figure, Section, Table


def test_the_page_has_every_part(tmp_path: Path) -> None:
    figure = Figure(tmp_path / "figures" / "loss.png", "The loss | of\nall")
    table = Table(["metric", "value"], [["fid|x", 12.3456], ["steps", 4000]], "What it says.")
    sections = [Section("Numbers", "Some text.", [table], [figure])]
    path = write_markdown(tmp_path / "s.md", "Title", "**Better.**", {"Model": "tiny"}, sections, "python run.py")
    assert path.read_text() == (
        "# Title\n\n**Better.**\n\n|  |  |\n| --- | --- |\n| Model | tiny |\n\n## Numbers\n\nSome text.\n\n"
        "| metric | value |\n| --- | --- |\n| fid\\|x | 12.3 |\n| steps | 4,000 |\n\nWhat it says.\n\n"
        "![The loss \\| of all](figures/loss.png)\n\n## Again\n\n```\npython run.py\n```\n"
    )
