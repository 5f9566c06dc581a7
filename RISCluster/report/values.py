"""Numbers, times and missing values as a reader sees them, the same in every table."""

import math
from datetime import date
from typing import Any

import numpy as np

MISSING = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
SMALLEST, LARGEST = 1e-4, 1e9  # beyond them a power of ten is written


def shown(value: Any, digits: int = 4) -> str:
    """Text of a value.

    Parameters
    ----------
    value : Any
        Integers have separators of thousands; other numbers `digits` significant digits; None and
        NaN are a dash.
    digits : int

    Returns
    -------
    str
        Not escaped.
    """
    value = plain(value)
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace("-", MINUS)
    if isinstance(value, float):
        return _real(value, digits).replace("-", MINUS)
    return value.isoformat() if isinstance(value, date) else str(value)


def plain(value: Any) -> Any:
    """A value without NumPy; what is not a number, or not a time, is None."""
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else time_text(value)
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and math.isnan(value) else value


def is_number(value: Any) -> bool:
    """Whether a value is sorted and aligned as a number."""
    value = plain(value)
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def time_text(time: np.datetime64) -> str:
    """UTC to the second, as ``2016-01-31 12:00:05``."""
    return str(time.astype("datetime64[s]")).replace("T", " ")


def duration_text(seconds: float) -> str:
    """As ``3 min 20 s``: the two largest units."""
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    left, parts = max(0, round(seconds)), []
    for name, size in units:
        if left >= size and len(parts) < 2:
            parts.append(f"{left // size} {name}")
            left %= size
    return " ".join(parts) or "under 1 s"


def _real(value: float, digits: int) -> str:
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == 0:
        return "0"
    size = abs(
        float(f"{value:.{digits - 1}e}")
    )  # as rounded: 9999.9 has five digits before the dot
    if not SMALLEST <= size < LARGEST:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return f"{mantissa}×10{str(int(exponent)).translate(RAISED)}"
    before = math.floor(math.log10(size)) + 1
    return f"{value:,.{max(0, digits - before)}f}"
