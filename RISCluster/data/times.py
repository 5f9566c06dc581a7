"""The one parser of times: whatever files have to nanoseconds since 1970 in UTC, and back to text.

Times are int64 nanoseconds, which reach from 1677 to 2262. What lies beyond, and what is no time,
is `NOT_A_TIME` in arrays and None for single values.
"""

import re
from collections.abc import Hashable, Sequence
from datetime import date
from typing import Any

import numpy as np

from ..errors import DataError

SECOND = 10**9  # ns
YEAR = 365 * 86400  # s
FAR_SPANS = 2  # a far time is farther from the others than so many times their span, and a year
NOT_A_TIME = np.iinfo(np.int64).min  # what NumPy takes for NaT
RATE_TOLERANCE = 1e-5  # relative: rounding to float32, or of an interval to microseconds

DAY = 86_400 * SECOND  # ns
FAR_DAYS, FAR_TIMES = 30, 10  # a far gap is longer than both: days, and times all the data
FEW = 0.25  # of the data: less than this beyond a far gap is left out

_DATE = r"(?P<year>\d{1,4})(?:[-/](?P<month>\d{1,2})(?:[-/](?P<day>\d{1,2}))?|-(?P<yearday>\d{3}))?"
_BASIC = r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)"
_CLOCK = (
    r"(?P<hour>\d{1,2})(?::?(?P<minute>\d{1,2})(?::?(?P<second>\d{1,2})(?:[.,](?P<rest>\d+))?)?)?"
)
_ZONE = r"(?P<zone>Z|UTC|GMT|(?P<sign>[+-])(?P<hours>\d{1,2})(?::?(?P<minutes>\d\d))?)?"
_FORMS = [
    re.compile(rf"{day}(?:[T ]\s*{_CLOCK}\s*{_ZONE})?(?(hour)|\s*Z?)", re.IGNORECASE)
    for day in (_DATE, _BASIC)
]
# Numbers since 1970 tell their unit by their size: as the next larger unit they are after 5138.
_EPOCH_UNITS = ((1e11, SECOND), (1e14, 10**6), (1e17, 10**3), (float("inf"), 1))

# Names of UDUNITS, without a plural's s; ns each. Months and years have no fixed length.
_UNITS = {
    **dict.fromkeys(("ns", "nsec", "nanosec", "nanosecond"), 1),
    **dict.fromkeys(("us", "usec", "µs", "μs", "microsec", "microsecond"), 10**3),
    **dict.fromkeys(("ms", "msec", "millisec", "millisecond"), 10**6),
    **dict.fromkeys(("s", "sec", "second"), SECOND),
    **dict.fromkeys(("min", "minute"), 60 * SECOND),
    **dict.fromkeys(("h", "hr", "hour"), 3600 * SECOND),
    **dict.fromkeys(("d", "day"), 86400 * SECOND),
    **dict.fromkeys(("week",), 7 * 86400 * SECOND),
}
_SINCE = re.compile(r"\s+(?:since|after|from|ref|@)\s+", re.IGNORECASE)  # as UDUNITS has it
_GREGORIAN = ("standard", "gregorian", "proleptic_gregorian", "")
_REFORM = date(1582, 10, 15).toordinal()
_EPOCH_DAY = date(1970, 1, 1).toordinal()


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


# ---- text and numbers ---------------------------------------------------------------------------


def parse_time(value: Any) -> int | None:
    """One time as nanoseconds since 1970 in UTC.

    Parameters
    ----------
    value : str, bytes, number or datetime64
        ISO 8601 in any of its usual forms (also with a blank for the T, slashes, the day of the
        year, or one digit where two are usual), in UTC where it names no zone; or seconds, milli-,
        micro- or nanoseconds since 1970, by the size of the number.

    Returns
    -------
    int or None
        None for anything else, and for times before 1677 or after 2262.
    """
    if isinstance(value, np.datetime64):
        time = int(parse_times(np.array([value]))[0])
        return None if time == NOT_A_TIME else time
    if isinstance(value, (bool, np.bool_)):
        return None
    if isinstance(value, (str, bytes)):
        text = to_text(value).strip().strip("\0")
        found = next((match for form in _FORMS if (match := form.fullmatch(text))), None)
        if found and not (text.isdecimal() and len(text) != 8):
            return _in_range(_from_match(found))
        try:
            value = int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
        except ValueError:
            return None
    if not isinstance(value, (int, float, np.integer, np.floating)) or not abs(value) < 2**63:
        return None
    return _in_range(_scaled(value, epoch_unit(value)))


def parse_times(values: Any) -> np.ndarray:
    """Many times, see `parse_time`: (n,) int64, `NOT_A_TIME` for what is none."""
    values = np.asarray(values)
    if values.dtype.kind in "US" and (stamps := _as_written_here(values)) is not None:
        values = stamps
    if values.dtype.kind == "M":
        known = ~np.isnat(values)
        years = values.astype("datetime64[Y]").astype(np.int64) + 1970
        known &= (years > 1677) & (years < 2262)
        return np.where(known, values, np.datetime64("NaT")).astype("M8[ns]").astype(np.int64)
    found: dict[Any, int] = {}  # times of catalogues repeat
    # Listed once, as a NaN is found again by identity alone; arrays are no times.
    listed = [value if isinstance(value, Hashable) else None for value in values.tolist()]
    for value in listed:
        if value not in found:
            time = parse_time(value)
            found[value] = NOT_A_TIME if time is None else time
    return np.array([found[value] for value in listed], dtype=np.int64)


def _as_written_here(values: np.ndarray) -> np.ndarray | None:
    """Text as `nanoseconds_to_iso` writes it, to datetime64; None where one is of another form."""
    texts = np.char.rstrip(values.astype("U"), "Z")
    form = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?|")
    if not all(map(form.fullmatch, texts.tolist())):
        return None
    try:
        return texts.astype("M8[us]")
    except ValueError:
        return None


def epoch_unit(value: float) -> int:
    """Nanoseconds of the unit in which a number since 1970 is, by its size."""
    return next(unit for below, unit in _EPOCH_UNITS if abs(value) < below)


def _from_match(found: re.Match) -> int | None:
    part = {name: int(text) for name, text in found.groupdict().items() if text and text.isdigit()}
    try:
        day = date(part["year"], part.get("month", 1), part.get("day", 1)).toordinal()
    except ValueError:
        return None
    if "yearday" in part:
        day += part["yearday"] - 1
        if date.fromordinal(day).year != part["year"] or not part["yearday"]:
            return None
    hour, minute, second = (part.get(name, 0) for name in ("hour", "minute", "second"))
    # 24:00:00 ends a day, and 23:59:60 is a leap second.
    if hour > 24 or (hour == 24 and minute + second) or minute > 59 or second > 60:
        return None
    seconds = ((day - _EPOCH_DAY) * 24 + hour) * 3600 + minute * 60 + second
    offset = part.get("hours", 0) * 3600 + part.get("minutes", 0) * 60
    seconds -= -offset if found["sign"] == "-" else offset
    return seconds * SECOND + int(f"{found['rest'] or 0:0<9}"[:9])


def _scaled(value: float, unit: int) -> int:
    if isinstance(value, (int, np.integer)):
        return int(value) * unit
    whole, rest = divmod(float(value), 1.0)  # apart, for a product loses digits
    return int(whole) * unit + round(rest * unit)


def _in_range(time: int | None) -> int | None:
    return time if time is not None and abs(time) < 2**63 else None


def decode_times(values: Any, units: str = "", calendar: str = "standard") -> np.ndarray:
    """Times of a column with the attributes `units` and `calendar`.

    Numbers without units are times since 1970, as are those whose units have no reference time,
    also ``datetime64[ns]``. The result is (n,) int64, ns since 1970 in UTC, with `NOT_A_TIME`.

    Raises
    ------
    ValueError
        Units or calendar can't be converted.
    """
    values = np.asarray(values)
    if values.dtype.kind not in "iuf" or not units:
        return parse_times(values)
    units = re.sub(r"(datetime64|M8)\[(\w+)\]", r"\2", units.strip())
    units = re.sub(r"since\s+(the\s+)?(unix\s+)?epoch$", "since 1970-01-01", units, flags=re.I)
    unit, origin = parse_cf_units(units, calendar)
    return decode_cf(values, unit, origin or 0)


def count_unreadable(values: Any, times: np.ndarray) -> str:
    """How many values are no times, and the first of them; empty where there are none.

    Empty texts, NaN and NaT are missing, and do not count.
    """
    missing = ("", "nan", "nat", "none")
    bad = [
        text
        for value in np.asarray(values)[times == NOT_A_TIME].tolist()
        if (text := to_text(value).strip().strip("\0")).lower() not in missing
    ]
    if not bad:
        return ""
    what = "is no time, or is" if len(bad) == 1 else "are no times, or are"
    return (
        f"{len(bad):,} of {len(times):,} {what} before 1677 or after 2262 (first: {bad[0][:40]!r})"
    )


# ---- units of the CF conventions ----------------------------------------------------------------


def unit_length(text: str) -> int:
    """Nanoseconds of a unit of time, as ``s``, ``msec``, ``hours``.

    Raises
    ------
    ValueError
        It is none, or one without a fixed length; the message says so.
    """
    name = text.strip()
    for form in (name, name.lower(), name.lower().removesuffix("s"), name.lower().rstrip(".")):
        if form in _UNITS:
            return _UNITS[form]
    if name.lower().removesuffix("s") in ("month", "year", "mon", "yr"):
        raise ValueError(f"unit '{name}' has no fixed length")
    raise ValueError(f"unit '{name}' is not known; known are ns, us, ms, s, min, h, d, weeks")


def parse_cf_units(text: str, calendar: str = "standard") -> tuple[int, int | None]:
    """Units of a time coordinate by the CF conventions (section 4.4).

    Parameters
    ----------
    text : str
        As ``hours since 1800-1-1 00:00:00 -6:00``, or a unit alone.
    calendar : str
        Attribute ``calendar`` of the coordinate.

    Returns
    -------
    int
        Nanoseconds of the unit.
    int or None
        The time counted from, ns since 1970 in UTC, which may be beyond int64; None for a unit
        alone.

    Raises
    ------
    ValueError
        Unit, reference or calendar can't be converted; the message says which and why.
    """
    name, since, reference = _SINCE.sub("\0", text.strip(), count=1).partition("\0")
    unit = unit_length(name)
    if not since:
        return unit, None
    reference = re.sub(r"\s*\bLT\b.*", "", reference).strip()
    reference = re.sub(r"(?<=\d)\s+(?=[+-]\d)", "", reference)
    found = next((match for form in _FORMS if (match := form.fullmatch(reference))), None)
    origin = None if found is None else _from_match(found)
    if origin is None:
        raise ValueError(f"reference '{reference}' is no date")
    calendar = calendar.strip().lower()
    day = origin // (86400 * SECOND) + _EPOCH_DAY
    if calendar == "julian" or (calendar in ("standard", "gregorian", "") and day < _REFORM):
        year = int(found["year"])  # days by which the Julian calendar was behind
        year -= int(found["month"] or 1) <= 2
        origin += (2 - year // 100 + year // 400) * -86400 * SECOND
        if calendar == "julian":
            calendar = "standard"
    if calendar not in _GREGORIAN:
        raise ValueError(f"calendar '{calendar}' has other dates than UTC")
    return unit, origin


def decode_cf(values: np.ndarray, unit: int, origin: int) -> np.ndarray:
    """Numbers since a time, with what `parse_cf_units` gave, to (n,) int64 ns since 1970.

    `NOT_A_TIME` where a number is not finite, or the time is before 1677 or after 2262.
    """
    values = np.asarray(values)
    exact = values.dtype.kind == "i" or (values.dtype.kind == "u" and values.dtype.itemsize < 8)
    values = values.astype(np.int64 if exact else np.float64)  # int32 overflows in a product
    first, rest = divmod(origin, unit)  # whole units apart, for a product loses digits
    with np.errstate(invalid="ignore"):
        time = values.astype(np.float64) * unit + origin
        known = np.isfinite(time) & (np.abs(time) < 2.0**63 - 2.0**40) & (abs(first) < 2**62)
        whole = np.where(known, np.floor(values) if values.dtype.kind == "f" else values, 0)
    fraction = np.round((np.where(known, values, 0) - whole) * unit).astype(np.int64)
    found = (whole.astype(np.int64) + (first if abs(first) < 2**62 else 0)) * unit + rest + fraction
    return np.where(known, found, NOT_A_TIME)


# ---- clocks that are wrong -----------------------------------------------------------------------


def leave_out_far_pieces(
    spans: Sequence[tuple[int, int, str]], far_days: int = FAR_DAYS
) -> tuple[list[int], list[str]]:
    """Pieces of data that can share one axis of time, without those of a clock that is wrong.

    A recorder without GPS has years as 1970 or 1980, and an axis over the time between is all
    gap. A gap is far where it is longer than `far_days` and than 10 times all the data. Data beyond
    are left out if they are less than a quarter of all; else it is not known which is wrong.

    Parameters
    ----------
    spans : sequence of (int, int, str)
        Start and end, ns since 1970, and the name of a piece of data.
    far_days : int

    Returns
    -------
    list of int
        Positions of the pieces to keep, ascending.
    list of str
        A line for each name of which something is left out.

    Raises
    ------
    DataError
        Neither side of a far gap is small; the message names a piece of each.
    """
    if not spans:
        return [], []
    order = np.array(sorted(range(len(spans)), key=lambda at: spans[at][:2]))
    starts, stops = np.array([span[:2] for span in spans], dtype=np.int64)[order].T
    reached = np.maximum.accumulate(stops)
    before = np.r_[starts[0], reached[:-1]]
    covered = int(np.maximum(0, stops - np.maximum(starts, before)).sum())
    group = np.cumsum(starts - before > max(far_days * DAY, FAR_TIMES * covered))
    amounts = np.bincount(group, stops - starts)
    main = len(amounts) - 1 - int(amounts[::-1].argmax())  # of equals the last
    inside = np.flatnonzero(group == main)
    begin, end = int(starts[inside[0]]), int(reached[inside[-1]])
    lines: dict[str, str] = {}
    for at in np.flatnonzero(group != main):
        start, stop, name = spans[order[at]]
        away = _long_time(begin - stop if start < begin else start - end)
        first, since = nanoseconds_to_iso([start, begin])
        lines.setdefault(name, f"starts {first}, {away} away from the data of {since}")
    if lines and amounts.sum() - amounts[main] >= FEW * amounts.sum():
        name, line = next(iter(lines.items()))
        raise DataError(
            f"{name}: {line} in {spans[order[inside[0]]][2]}, more than {FAR_TIMES} "
            "times as long as all the data; correct the clock that is wrong, or give only the "
            "files of one time"
        )
    return sorted(order[inside].tolist()), [
        f"{name}: {line}: left out; correct its time, or give only files of that time to have it"
        for name, line in lines.items()
    ]


def _long_time(duration: int) -> str:
    days = duration / DAY
    return f"{days / 365.25:.0f} years" if days > 730 else f"{days:.0f} days"


def far_times(times: np.ndarray) -> np.ndarray:
    """Single times so far from the others that they would decide an axis of time.

    A clock that is wrong gives years as 1970 or 2262 to some samples. Times are taken in groups
    that no gap of a year parts; far are groups of one time, or of 1 % at most, that are before or
    after all larger ones, by more than a year and than twice the span of those. If they are more
    than a tenth together, there are no others to be far from, and none is.

    `times` are (n,) datetime64, or int64 in ns since 1970; NaT and `NOT_A_TIME` are not counted.
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
    for at in np.flatnonzero(~large)[::-1].tolist():  # the nearer ones first, on either side
        if 0 < first - seconds[at] <= max(YEAR, FAR_SPANS * (last - first)):
            first = seconds[at]
    for at in np.flatnonzero(~large).tolist():
        if 0 < seconds[at] - last <= max(YEAR, FAR_SPANS * (last - first)):
            last = seconds[at]
    out = (seconds < first) | (seconds > last)
    if out.sum() <= max(1, len(out) // 10):
        far[known[out]] = True
    return far


# ---- to text ------------------------------------------------------------------------------------


def to_iso(value: Any) -> str:
    """Time as `parse_time` reads it, to ISO 8601 in UTC with Z; empty if it is none."""
    time = parse_time(value)
    return "" if time is None else nanoseconds_to_iso(np.array([time]))[0]


def nanoseconds_to_iso(times: np.ndarray) -> list[str]:
    """Nanoseconds since 1970, (n,) int64, to ISO 8601 in UTC with microseconds and Z.

    `NOT_A_TIME` is empty.
    """
    times = np.asarray(times, dtype=np.int64)
    known = times != NOT_A_TIME
    rounded = (np.where(known, times, 0) // 1000) + (np.where(known, times, 0) % 1000 >= 500)
    stamps = np.datetime_as_string(rounded.astype("datetime64[us]"), unit="us")
    return [f"{stamp}Z" if there else "" for stamp, there in zip(stamps, known, strict=True)]
