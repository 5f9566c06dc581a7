"""Units of axes: frequencies to hertz, lengths to metres."""

import math
import re

import numpy as np

from ..errors import DataError
from .times import unit_length

_PREFIXES = {
    "": 1.0, "k": 1e3, "K": 1e3, "kilo": 1e3, "M": 1e6, "mega": 1e6, "G": 1e9, "giga": 1e9,
    "m": 1e-3, "milli": 1e-3, "u": 1e-6, "µ": 1e-6, "micro": 1e-6, "n": 1e-9, "nano": 1e-9,
}  # fmt: skip
_HERTZ = re.compile(r"([a-zA-Zµ]*?)(?:[Hh]z|[Hh]ertz|HZ)")
_COUNT = r"(1|rad(?:ian)?s?|cyc(?:le)?s?|deg(?:ree)?s?|)"
_PER_TIME = [
    re.compile(rf"{_COUNT}\s*{form}", re.IGNORECASE)
    for form in (r"(?:/|per\b)\s*([a-zµ]+)", r"[.*\s]?\s*([a-zµ]+)\s*(?:\^|\*\*)?\s*-1")
]
_TURNS = {"r": 1 / (2 * math.pi), "d": 1 / 360}
METRES = {
    "m": 1.0, "meter": 1.0, "metre": 1.0, "km": 1e3, "kilometer": 1e3, "kilometre": 1e3,
    "cm": 1e-2, "centimeter": 1e-2, "centimetre": 1e-2, "mm": 1e-3, "millimeter": 1e-3,
    "millimetre": 1e-3, "ft": 0.3048, "foot": 0.3048, "feet": 0.3048, "us_survey_foot": 1200 / 3937,
    "us_survey_feet": 1200 / 3937, "yd": 0.9144, "yard": 0.9144, "mi": 1609.344, "mile": 1609.344,
    "nautical_mile": 1852.0, "nmi": 1852.0,
}  # fmt: skip
WITHOUT = ("1", "bin", "bins", "index", "none", "dimensionless", "count", "counts")


def frequency_factor(place: str, unit: str) -> float | None:
    """Hertz of a unit of frequency; 1 where none is given.

    Parameters
    ----------
    place : str
        File and axis, for the message.
    unit : str

    Returns
    -------
    float or None
        None for numbers without a unit, as bins.

    Raises
    ------
    DataError
        It is not known as a unit of frequency.
    """
    text = unit.strip()
    if text.lower() in WITHOUT:
        return None
    if not text or text.lower() in ("cps", "hz"):
        return 1.0
    hertz = _HERTZ.fullmatch(text)
    if hertz and (prefix := hertz[1] if len(hertz[1]) < 2 else hertz[1].lower()) in _PREFIXES:
        return _PREFIXES[prefix]
    found = next((match for form in _PER_TIME if (match := form.fullmatch(text))), None)
    try:
        if found:
            return _TURNS.get(found[1][:1].lower(), 1.0) / unit_length(found[2]) * 1e9
    except ValueError:  # no unit of time
        pass
    raise DataError(
        f"{place} is in '{unit}', which is no known unit of frequency; allowed: Hz, kHz, mHz, "
        "rad/s and the like: convert it, or change its attribute units"
    )


def seconds_factor(unit: str) -> float | None:
    """Seconds of a unit of duration, 1 where none is given; None for numbers without a unit.

    Raises
    ------
    ValueError
        It is not known, or has no fixed length.
    """
    unit = unit.strip()
    if unit.lower() in (*WITHOUT, "step", "steps", "sample", "samples"):
        return None
    return unit_length(unit.partition(" since ")[0]) / 1e9 if unit else 1.0


def to_metres(values: np.ndarray, unit: str) -> tuple[np.ndarray, str]:
    """Lengths in metres with their unit; those in another unit, as degrees, unchanged."""
    name = "_".join(unit.lower().split())
    factor = METRES.get(name, METRES.get(name.removesuffix("s")))
    if factor is None:
        return values, unit
    return (values if factor == 1 else values * factor), "m"
