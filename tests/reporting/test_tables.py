"""Tables of any width: what a cell shows, which columns stay, and which are folded."""

import pytest

from t2i.reporting.tables import WIDE, Table, layout, row_width


def test_intervals_and_further_lines_stand_below_the_value():
    table = Table(["metric", "change"], [["fid[tiny_clip]", "0.04 [-0.86, 0.94]\np 0.93 (1)\nseen: 1.58"]])
    metric, change = layout(table).groups[0]
    assert (metric.cells[0].value, metric.cells[0].raw) == ("FID (tiny_clip)", "fid[tiny_clip]")
    assert (change.cells[0].value, change.cells[0].below) == ("0.04", ("[-0.86, 0.94]", "p 0.93 (1)", "seen: 1.58"))
    assert (metric.numeric, change.numeric) == (False, True)


@pytest.mark.parametrize(
    ("text", "value", "below"),
    [
        ("99.0 [94.5, 99.8] %", "99.0 %", ("[94.5, 99.8]",)),
        ("-0.02 [-0.45, 0.41]", "-0.02", ("[-0.45, 0.41]",)),
        ("1,234 [1,000, 1,500]", "1,234", ("[1,000, 1,500]",)),
        ("0.4 (1)", "0.4 (1)", ()),
        ("a list [1, 2]", "a list [1, 2]", ()),
        ("[1, 2]", "[1, 2]", ()),
        ("", "", ()),
    ],
)
def test_only_intervals_are_parted(text, value, below):
    ((column,),) = layout(Table(["x"], [[text]])).groups
    assert (column.cells[0].value, column.cells[0].below) == (value, below)


def test_what_does_not_fit_is_folded_with_the_columns_that_say_what_a_row_is():
    names = ["scheduler", "cfg.scale", *(f"number {n}" for n in range(20))]
    found = layout(Table(names, [["ddim", "5.0", *["123.4 [111.1, 133.3]"] * 20]], keys=2))
    assert len(found.groups) > 2 and found.folded == len(names) - len(found.groups[0]) and not found.tall
    assert all(row_width(group) <= WIDE for group in found.groups)
    own = [column.head.value for group in found.groups for column in group[2:]]
    assert own == names[2:]
    assert {tuple(column.head.value for column in group[:2]) for group in found.groups} == {
        ("scheduler", "guidance scale")
    }


def test_rows_whose_keys_take_all_the_room_are_blocks_in_every_window():
    found = layout(Table([f"training.some_key_{n}" for n in range(9)], [["some_value"] * 9], keys=8))
    assert found.tall and len(found.groups) == 1


def test_a_table_of_two_short_columns_stays_a_table_on_a_phone():
    assert layout(Table(["quantity", "value"], [["optimizer steps", 150]])).narrow
    assert not layout(Table(["metric", "base", "tuned", "change"], [["a", 1, 2, 1]])).narrow


def test_empty_tables_have_heads():
    found = layout(Table(["a", "b"], []))
    assert [[column.head.value for column in group] for group in found.groups] == [["a", "b"]] and not found.folded
