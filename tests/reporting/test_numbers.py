"""Numbers are printed with their intervals, and with the digits that these support."""

import math

import numpy as np
import pytest

from t2i.reporting.numbers import cell, common_decimals, number


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"),
    [
        (12.345, 11.02, 13.91, "12.3 [11.0, 13.9]"),
        (0.75412, 0.7419, 0.7663, "0.754 [0.742, 0.766]"),
        (1234.5, 1110.2, 1357.9, "1,234 [1,110, 1,358]"),
        (-0.01, -1.04, 1.02, "0.0 [-1.0, 1.0]"),
        (45.2, 45.2, 45.2, "45.2 [45.2, 45.2]"),
        (0.3, 0.3 - 1e-16, 0.3 + 1e-16, "0.300 [0.300, 0.300]"),
        (7.5, None, None, "7.5"),
        (7.5, math.nan, 8.0, "7.5"),
        (859_520_964.0, None, None, "859,520,964"),
        (0.0000213, None, None, "2.13e-5"),
        (0.0, None, None, "0"),
        (math.nan, 1.0, 2.0, "n/a"),
    ],
)
def test_digits_follow_the_interval_else_the_value(value, low, high, expected):
    assert number(value, low, high) == expected


def test_a_table_shares_the_decimals_of_its_median_row():
    values, low = np.array([25.0, 26.0, np.nan]), np.array([24.5, 25.4, np.nan])
    assert common_decimals(values, low, 2 * values - low) == 2  # median half-width 0.55: 0.01 is its second digit
    assert common_decimals(np.array([np.nan]), np.array([np.nan]), np.array([np.nan])) == 0


def test_cells_print_what_they_are():
    assert [cell(v) for v in (None, True, 12_345, np.int64(3), 0.18249, "a, b")] == [
        "\N{EN DASH}", "yes", "12,345", "3", "0.182", "a, b",
    ]  # fmt: skip
