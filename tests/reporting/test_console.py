"""Tables on the terminal: columns line up, numbers on the right, and nothing is longer than a line holds."""

from t2i.reporting.console import LONGEST, lines


def test_columns_line_up_and_numbers_stand_on_the_right():
    assert lines(
        ["metric", "verdict", "base"], [["fid[x]", "better", "20.0 [15.9, 24.0]"], ["kid[x]", "", "0.08"]]
    ) == [
        "  metric   verdict               base",
        "  FID (x)  better   20.0 [15.9, 24.0]",
        "  KID (x)                        0.08",
    ]


def test_second_lines_follow_and_long_cells_lose_their_middle():
    (_, row) = lines(["a", "b"], [["0.04\np 0.9", "/data/" + "x" * 100 + "/end"]])
    assert row.startswith("  0.04, p 0.9  /data/xxx") and row.endswith("xxx/end") and "…" in row
    assert len(row) == 2 + len("0.04, p 0.9") + 2 + LONGEST


def test_a_table_without_rows_has_its_head():
    assert lines(["a", "b"], []) == ["  a  b"]
