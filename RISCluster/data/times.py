"""Times to nanoseconds since 1970 in UTC and back to text; units of time, frequency and length.

Times are int64 nanoseconds, which reach from 1677 to 2262. What lies beyond, and what is no time,
is `NOT_A_TIME` in arrays and None for single values.
"""

import contextlib
import math
import re
from collections.abc import Hashable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from ..errors import DataError
from ..runtime import log

NOT_A_TIME = np.iinfo(np.int64).min  # what NumPy takes for NaT
SECOND = 10**9  # ns
DAY = 86400 * SECOND  # ns
YEAR = 365 * 86400  # s
RATE_TOLERANCE = 1e-5  # relative: rounding to float32, or of an interval to microseconds
FAR_SPANS = 2  # a far time is farther from the others than so many times their span, and a year
FAR_DAYS, FAR_TIMES = 30, 10  # a far gap is longer than both: days, and times all the data
FEW = 0.25  # of the data: less than this beyond a far gap is left out


def to_text(value: Any) -> str:
    """Bytes or anything else as text; what is no UTF-8 is taken as Latin-1, as LabVIEW writes µ."""
    if isinstance(value, str):  # h5py keeps such bytes as surrogates
        if value.isascii():
            return value
        value = value.encode("utf-8", "surrogateescape")
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def same_rate(a: float, b: float) -> bool:
    """Whether two sampling rates in Hz differ by no more than rounding; see `RATE_TOLERANCE`."""
    return abs(a - b) <= RATE_TOLERANCE * max(abs(a), abs(b))


# ---- units --------------------------------------------------------------------------------------

_PREFIXES = {"": 1.0} | {
    name: factor
    for names, factor in (("n nano", 1e-9), ("u µ μ micro", 1e-6), ("m milli", 1e-3),
                          ("c centi", 1e-2), ("k K kilo", 1e3), ("M mega", 1e6), ("G giga", 1e9))
    for name in names.split()
}  # fmt: skip
# Names of UDUNITS without a plural's s. Months and years have no fixed length.
_NANOSECONDS = {
    f"{prefix}{name}": round(factor * SECOND)
    for prefix, factor in _PREFIXES.items()
    for name in ("s", "sec", "second")
    if factor <= 1
} | {"min": 60 * SECOND, "minute": 60 * SECOND, "h": 3600 * SECOND, "hr": 3600 * SECOND,
     "hour": 3600 * SECOND, "d": DAY, "day": DAY, "week": 7 * DAY}  # fmt: skip
_METRES = {
    f"{prefix}{name}": factor
    for prefix, factor in _PREFIXES.items()
    for name in ("m", "meter", "metre")
    if factor >= 1e-3
} | {"ft": 0.3048, "foot": 0.3048, "feet": 0.3048, "us_survey_foot": 1200 / 3937,
     "us_survey_feet": 1200 / 3937, "yd": 0.9144, "yard": 0.9144, "mi": 1609.344,
     "mile": 1609.344, "nautical_mile": 1852.0, "nmi": 1852.0}  # fmt: skip
_COUNT = r"(1|rad(?:ian)?s?|cyc(?:le)?s?|deg(?:ree)?s?|)"
_PER_TIME = re.compile(
    rf"{_COUNT}\s*(?:(?:/|per\b)\s*([a-zµ]+)|[.*\s]?\s*([a-zµ]+)\s*(?:\^|\*\*)?\s*-1)", re.I
)
_TURNS = {"r": 1 / (2 * math.pi), "d": 1 / 360}
_WITHOUT = ("1", "bin", "bins", "index", "none", "dimensionless", "count", "counts")


def unit_length(text: str) -> int:
    """Nanoseconds of a unit of time, as ``s``, ``msec``, ``hours``; ValueError for another."""
    name = text.strip()
    for form in (name, name.lower(), name.lower().removesuffix("s"), name.lower().rstrip(".")):
        if form in _NANOSECONDS:
            return _NANOSECONDS[form]
    if name.lower().removesuffix("s") in ("month", "year", "mon", "yr"):
        raise ValueError(f"unit '{name}' has no fixed length")
    raise ValueError(f"unit '{name}' is not known; known are ns, us, ms, s, min, h, d, weeks")


def seconds_factor(unit: str) -> float | None:
    """Seconds of a unit of duration, 1 for '', None for steps or bins; ValueError for others."""
    unit = unit.strip()
    if unit.lower() in (*_WITHOUT, "step", "steps", "sample", "samples"):
        return None
    return unit_length(unit.partition(" since ")[0]) / 1e9 if unit else 1.0


def frequency_factor(place: str, unit: str) -> float | None:
    """Hertz of a unit of frequency, 1 for '', None for bins; DataError at `place` for others."""
    text = unit.strip()
    if text.lower() in _WITHOUT:
        return None
    if not text or text.lower() in ("cps", "hz"):
        return 1.0
    hertz = re.fullmatch(r"([a-zA-Zµ]*?)(?:[Hh]z|[Hh]ertz|HZ)", text)
    if hertz and (prefix := hertz[1] if len(hertz[1]) < 2 else hertz[1].lower()) in _PREFIXES:
        return _PREFIXES[prefix]
    with contextlib.suppress(ValueError):  # no unit of time
        if found := _PER_TIME.fullmatch(text):
            turns = _TURNS.get(found[1][:1].lower(), 1.0)
            return turns / unit_length(found[2] or found[3]) * 1e9
    raise DataError(
        f"{place} is in '{unit}', which is no known unit of frequency; allowed: Hz, kHz, mHz, "
        "rad/s and the like: convert it, or change its attribute units"
    )


def to_metres(values: np.ndarray, unit: str) -> tuple[np.ndarray, str]:
    """Lengths in metres with their unit; those in another unit, as degrees, unchanged."""
    name = "_".join(unit.lower().split())
    factor = _METRES.get(name, _METRES.get(name.removesuffix("s")))
    if factor is None:
        return values, unit
    return (values if factor == 1 else values * factor), "m"


# ---- text and numbers ---------------------------------------------------------------------------

_DATES = (
    r"(?P<year>\d{1,4})(?:[-/](?P<month>\d{1,2})(?:[-/](?P<day>\d{1,2}))?|-(?P<yearday>\d{3}))?",
    r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)",
)
_CLOCK = (
    r"(?P<hour>\d{1,2})(?::?(?P<minute>\d{1,2})(?::?(?P<second>\d{1,2})(?:[.,](?P<rest>\d+))?)?)?"
)
_ZONE = r"(?P<zone>Z|UTC|GMT|(?P<sign>[+-])(?P<hours>\d{1,2})(?::?(?P<minutes>\d\d))?)?"
_FORMS = [
    re.compile(rf"{day}(?:[T ]\s*{_CLOCK}\s*{_ZONE})?(?(hour)|\s*Z?)", re.IGNORECASE)
    for day in _DATES
]
# Numbers since 1970 tell their unit by their size: as the next larger unit they are after 5138.
_EPOCH_UNITS = ((1e11, SECOND), (1e14, 10**6), (1e17, 10**3), (float("inf"), 1))
_EPOCH_DAY = date(1970, 1, 1).toordinal()


def parse_time(value: Any) -> int | None:
    """One time as nanoseconds since 1970 in UTC, or None for anything else.

    ISO 8601 in any of its usual forms (also with a blank for the T, slashes, the day of the year,
    or one digit where two are usual), in UTC where it names no zone; datetime64; or seconds,
    milli-, micro- or nanoseconds since 1970, by the size of the number.
    """
    if isinstance(value, np.datetime64):
        value = np.datetime_as_string(value, unit="ns")
    if isinstance(value, (str, bytes)):
        text = to_text(value).strip().strip("\0")
        if (found := _match(text)) and not (text.isdecimal() and len(text) != 8):
            time = _from_match(found)
            return time if time is not None and abs(time) < 2**63 else None
        try:
            value = int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
        except ValueError:
            return None
    value = value.item() if isinstance(value, np.generic) else value
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) < 2**63:
        return None
    unit = epoch_unit(value)
    whole, rest = divmod(value, 1)  # apart, which keeps digits
    time = int(whole) * unit + round(rest * unit)
    return time if abs(time) < 2**63 else None


def parse_times(values: Any) -> np.ndarray:
    """Many times, see `parse_time`: (n,) int64, `NOT_A_TIME` for what is none."""
    values = np.asarray(values)
    if values.dtype.kind in "US" and not np.char.isalpha(values).any():  # pandas takes "now"
        with contextlib.suppress(ValueError):  # in the form of `nanoseconds_to_iso`
            form = "%Y-%m-%dT%H:%M:%S.%fZ"
            values = pandas.to_datetime(values.astype("U"), format=form).to_numpy()
    if values.dtype.kind == "M":
        years = values.astype("datetime64[Y]").astype(np.int64) + 1970
        known = ~np.isnat(values) & (years > 1677) & (years < 2262)
        return np.where(known, values, np.datetime64("NaT")).astype("M8[ns]").astype(np.int64)
    # Times of catalogues repeat; arrays are no times.
    codes, unique = pandas.factorize(
        np.array([x if isinstance(x, Hashable) else None for x in values.tolist()], dtype=object)
    )
    found = [NOT_A_TIME if (time := parse_time(x)) is None else time for x in unique]
    return np.array([*found, NOT_A_TIME], dtype=np.int64)[codes]


def _match(text: str) -> re.Match | None:
    return next((found for form in _FORMS if (found := form.fullmatch(text))), None)


def epoch_unit(value: float) -> int:
    """Nanoseconds of the unit in which a number since 1970 is, by its size."""
    return next(unit for below, unit in _EPOCH_UNITS if abs(value) < below)


def log_assumed_epoch(path: Path, name: str, largest: float) -> str:
    """Unit in which numbers without a reference time are taken as times since 1970; logged."""
    unit = {1: "ns", 10**3: "us", 10**6: "ms", SECOND: "s"}[epoch_unit(largest)]
    log.info(
        f"{path}: {name} is taken as {unit} since 1970 in UTC, by the size of its numbers; its "
        f"attribute units changes this, as '{unit} since 2020-01-01'"
    )
    return unit


def _from_match(found: re.Match) -> int | None:
    """Nanoseconds since 1970, which may be beyond int64; None where there is no such day."""
    part = {name: int(text) for name, text in found.groupdict().items() if text and text.isdigit()}
    try:
        day = date(part["year"], part.get("month", 1), part.get("day", 1)).toordinal()
        day += part.get("yearday", 1) - 1
        if date.fromordinal(day).year != part["year"]:
            return None
    except ValueError:
        return None
    hour, minute, second = (part.get(name, 0) for name in ("hour", "minute", "second"))
    # 24:00:00 ends a day, and 23:59:60 is a leap second.
    if hour > 24 or (hour == 24 and minute + second) or minute > 59 or second > 60:
        return None
    offset = part.get("hours", 0) * 3600 + part.get("minutes", 0) * 60
    seconds = ((day - _EPOCH_DAY) * 24 + hour) * 3600 + minute * 60 + second
    seconds -= -offset if found["sign"] == "-" else offset
    return seconds * SECOND + int(f"{found['rest'] or 0:0<9}"[:9])


def nanoseconds_to_iso(times: np.ndarray) -> list[str]:
    """Nanoseconds since 1970 to ISO 8601 with microseconds and Z; `NOT_A_TIME` to ''."""
    times = np.asarray(times, dtype=np.int64)
    known = times != NOT_A_TIME
    times = np.where(known, times, 0)
    stamps = (times // 1000 + (times % 1000 >= 500)).astype("M8[us]")
    texts = np.datetime_as_string(stamps, unit="us")
    return [f"{text}Z" if there else "" for text, there in zip(texts, known, strict=True)]


# ---- times of a column, by the CF conventions ----------------------------------------------------


def decode_times(values: Any, units: str = "", calendar: str = "standard") -> np.ndarray:
    """Times of a column with attributes `units` and `calendar`: (n,) int64 ns, `NOT_A_TIME`.

    Numbers without units, or with units without a reference time, also ``datetime64[ns]``, count
    from 1970. ValueError where units or calendar can't be converted.
    """
    values = np.asarray(values)
    if values.dtype.kind not in "iuf" or not units:
        return parse_times(values)
    units = re.sub(r"(datetime64|M8)\[(\w+)\]", r"\2", units.strip())
    units = re.sub(r"since\s+(the\s+)?(unix\s+)?epoch$", "since 1970-01-01", units, flags=re.I)
    unit, origin = parse_cf_units(units, calendar)
    return decode_cf(values, unit, origin or 0)


def count_unreadable(values: Any, times: np.ndarray) -> str:
    """How many values are no times, and the first; '' where none. Empty, NaN and NaT don't count"""
    texts = [to_text(x).strip().strip("\0") for x in np.asarray(values)[times == NOT_A_TIME]]
    bad = [text for text in texts if text.lower() not in ("", "nan", "nat", "none")]
    if not bad:
        return ""
    what = "is no time, or is" if len(bad) == 1 else "are no times, or are"
    return (
        f"{len(bad):,} of {len(times):,} {what} before 1677 or after 2262 (first: {bad[0][:40]!r})"
    )


def parse_cf_units(text: str, calendar: str = "standard") -> tuple[int, int | None]:
    """Units of a time coordinate by the CF conventions (section 4.4).

    `text` is as ``hours since 1800-1-1 00:00:00 -6:00``, or a unit alone. The result is the unit in
    ns, and the time counted from in ns since 1970, which may be beyond int64; None for a unit
    alone. ValueError where unit, reference or calendar can't be converted.
    """
    name, *reference = re.split(
        r"\s+(?:since|after|from|ref|@)\s+", text.strip(), maxsplit=1, flags=re.I
    )
    unit = unit_length(name)
    if not reference:
        return unit, None
    reference = re.sub(r"\s*\bLT\b.*", "", reference[0]).strip()
    reference = re.sub(r"(?<=\d)\s+(?=[+-]\d)", "", reference)
    found = _match(reference)
    origin = None if found is None else _from_match(found)
    if origin is None:
        raise ValueError(f"reference '{reference}' is no date")
    calendar = calendar.strip().lower() or "standard"
    is_mixed = calendar in ("standard", "gregorian")
    if calendar == "julian" or (is_mixed and origin // DAY + _EPOCH_DAY < 577736):  # 1582-10-15
        year = int(found["year"]) - (int(found["month"] or 1) <= 2)
        origin += (year // 100 - year // 400 - 2) * DAY  # by which the Julian calendar was behind
    elif not is_mixed and calendar != "proleptic_gregorian":
        raise ValueError(f"calendar '{calendar}' has other dates than UTC")
    return unit, origin


def decode_cf(values: np.ndarray, unit: int, origin: int) -> np.ndarray:
    """Numbers since a time, with what `parse_cf_units` gave, to (n,) int64 ns, `NOT_A_TIME`."""
    values = np.asarray(values)
    exact = values.dtype.kind == "i" or (values.dtype.kind == "u" and values.dtype.itemsize < 8)
    values = values.astype(np.int64 if exact else np.float64)  # int32 overflows in a product
    first, rest = divmod(origin, unit)  # whole units apart, for a product loses digits
    first_fits = abs(first) < 2**62
    with np.errstate(invalid="ignore"):
        time = values.astype(np.float64) * unit + origin
        known = np.isfinite(time) & (np.abs(time) < 2.0**63 - 2.0**40) & first_fits
        values = np.where(known, values, 0)
    whole = np.floor(values).astype(np.int64) if not exact else values
    fraction = np.round((values - whole) * unit).astype(np.int64)
    times = (whole + (first if first_fits else 0)) * unit + rest + fraction
    return np.where(known, times, NOT_A_TIME)


# ---- clocks that are wrong -----------------------------------------------------------------------


def leave_out_far_pieces(
    spans: Sequence[tuple[int, int, str]], far_days: int = FAR_DAYS
) -> tuple[list[int], list[str]]:
    """Pieces of data that can share one axis of time, without those of a clock that is wrong.

    A recorder without GPS has years as 1970 or 1980, and an axis over the time between is all
    gap. A gap is far where it is longer than `far_days` and than 10 times all the data. Data beyond
    are left out if they are less than a quarter of all; else it is a DataError. `spans` are start
    and end in ns, and a name; the result is the positions to keep, and a line for each name of
    which something is left out.
    """
    if not spans:
        return [], []
    table = pandas.DataFrame(spans, columns=["start", "stop", "name"])
    table = table.sort_values(["start", "stop"], kind="stable")
    reached = table["stop"].cummax()
    before = reached.shift(fill_value=table["start"].iloc[0])
    covered = int((table["stop"] - table["start"].clip(before)).clip(0).sum())
    group = (table["start"] - before > max(far_days * DAY, FAR_TIMES * covered)).cumsum()
    amounts = (table["stop"] - table["start"]).groupby(group).sum()
    main = amounts.index[::-1][amounts.to_numpy()[::-1].argmax()]  # of equals the last
    inside, outside = table[group == main], table[group != main]
    begin, end = int(inside["start"].iloc[0]), int(reached[inside.index[-1]])
    lines: dict[str, str] = {}
    for start, stop, name in outside.itertuples(index=False):
        days = (begin - stop if start < begin else start - end) / DAY
        away = f"{days / 365.25:.0f} years" if days > 730 else f"{days:.0f} days"
        first, since = nanoseconds_to_iso([start, begin])
        lines.setdefault(name, f"starts {first}, {away} away from the data of {since}")
    if lines and amounts.sum() - amounts[main] >= FEW * amounts.sum():
        name, line = next(iter(lines.items()))
        raise DataError(
            f"{name}: {line} in {inside['name'].iloc[0]}, more than {FAR_TIMES} times as long as "
            "all the data; correct the clock that is wrong, or give only the files of one time"
        )
    advice = "left out; correct its time, or give only files of that time to have it"
    return sorted(inside.index), [f"{name}: {line}: {advice}" for name, line in lines.items()]


def far_times(times: np.ndarray) -> np.ndarray:
    """Single times so far from the others that they would decide an axis of time, (n,) bool.

    A clock that is wrong gives years as 1970 or 2262 to some samples. Times are grouped at gaps of
    a year; far are groups of one time, or of 1 % at most, that are before or after all larger ones,
    by more than a year and than twice the span of those, if they are a tenth at most together.
    `times` are datetime64, or int64 in ns since 1970; NaT and `NOT_A_TIME` are not counted.
    """
    stamps = times.view("M8[ns]") if times.dtype.kind == "i" else times
    known, far = np.flatnonzero(~np.isnat(stamps)), np.zeros(len(times), dtype=bool)
    seconds = stamps[known].astype("M8[s]").astype(np.int64)
    if not len(seconds) or np.ptp(seconds) <= YEAR:
        return far
    order = np.argsort(seconds, kind="stable")
    seconds, known = seconds[order], known[order]
    group = np.cumsum(np.diff(seconds, prepend=seconds[:1]) > YEAR)
    large = np.bincount(group)[group] > max(1, len(group) // 100)
    if not large.any():
        return far
    first, last = seconds[large][[0, -1]]
    for time in seconds[~large][::-1].tolist():  # the nearer ones first, on either side
        if 0 < first - time <= max(YEAR, FAR_SPANS * (last - first)):
            first = time
    for time in seconds[~large].tolist():
        if 0 < time - last <= max(YEAR, FAR_SPANS * (last - first)):
            last = time
    out = (seconds < first) | (seconds > last)
    if out.sum() <= max(1, len(out) // 10):
        far[known[out]] = True
    return far
