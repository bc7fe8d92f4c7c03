"""Records on disk that behave as a list."""

import pytest

from t2i.data.spool import Spool


def squares(count):
    return Spool(({"n": n, "square": n * n} for n in range(count)), pack=lambda record: record)


def test_records_come_back_by_place_in_order_and_while_others_are_added():
    spool = squares(100)
    assert len(spool) == 100 and spool[7] == {"n": 7, "square": 49} and spool[-1]["n"] == 99
    assert [record["n"] for record in spool[10:13]] == [10, 11, 12]
    spool.append({"n": 100, "square": 0})
    assert spool[100]["square"] == 0 and [record["n"] for record in spool] == list(range(101))
    assert [record["n"] for record in spool.taken([5, 2])] == [5, 2]
    for place in (101, -102):
        with pytest.raises(IndexError):
            spool[place]


def test_names_that_are_not_unicode_survive():
    spool = Spool(["\udcff.png", "nul\0", "שלום"], pack=lambda text: text)
    assert list(spool) == ["\udcff.png", "nul\0", "שלום"]
