"""One way to print a number, with its interval where it has one, so that every table and figure agrees."""

from __future__ import annotations

import math

import numpy as np

MISSING, EMPTY = "n/a", "\N{EN DASH}"


def number(value: float, low: float | None = None, high: float | None = None, places: int | None = None) -> str:
    """`12.3 [11.0, 13.9]`: a value and, where both ends are given, its interval.

    Digits: two significant ones of the wider half of the interval; three of the value where there is no interval
    (whole digits are never dropped). `places` fixes the decimals instead, to line up a table. NaN prints as "n/a".
    """
    text, interval = parts(value, low, high, places)
    return f"{text} {interval}" if interval else text


def parts(value: float, low: float | None, high: float | None, places: int | None = None) -> tuple[str, str]:
    """The two halves of `number`: the value, and `[low, high]` or an empty string where there is no interval."""
    if math.isnan(value):
        return MISSING, ""
    known = low is not None and high is not None and not (math.isnan(low) or math.isnan(high))
    half = max(high - value, value - low) if known and low is not None and high is not None else 0.0
    if places is None:
        places = decimals(value, half)
        if not known:
            return _short(value, places), ""
    if not known:
        return f"{value:z,.{places}f}", ""
    return f"{value:z,.{places}f}", f"[{low:z,.{places}f}, {high:z,.{places}f}]"


def decimals(value: float, half_width: float = 0.0) -> int:
    """How many decimals state `value` sensibly: 2 significant digits of its uncertainty, else 3 of itself."""
    stated = 1e-6 * abs(value) < half_width < math.inf  # narrower than that is rounding, not uncertainty
    scale, digits = (half_width, 2) if stated else (abs(value), 3)
    if scale == 0 or not math.isfinite(scale):
        return 0
    return max(0, digits - 1 - math.floor(math.log10(scale)))


def common_decimals(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> int:
    """The decimals that suit most of a table: those of the median value and half-width. float64 arrays, one shape."""
    known = values[np.isfinite(values)]
    halves = np.maximum(high - values, values - low)
    halves = halves[np.isfinite(halves)]
    if not known.size:
        return 0
    return decimals(float(np.median(np.abs(known))), float(np.median(halves)) if halves.size else 0.0)


def cell(value: object) -> str:
    """What a table prints for a value: floats as `number`, integers with thousands marks, None as a dash."""
    if value is None:
        return EMPTY
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return f"{int(value):,}"
    if isinstance(value, float | np.floating):
        return number(float(value))
    return str(value)


def _short(value: float, places: int) -> str:
    """A number without interval: no padding zeros, and powers of ten where decimals would be hard to count."""
    if value != 0 and math.isfinite(value) and abs(value) < 1e-3:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    text = f"{value:z,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
