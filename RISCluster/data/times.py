"""Times as int64 nanoseconds since 1970 in UTC; units of time, frequency and length.

Such times reach from 1677 to 2262. What lies beyond, and what is no time, is `NOT_A_TIME` in
arrays and None for single values.
"""

import contextlib
import math
import re
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from ..errors import DataError
from ..runtime import log

NOT_A_TIME = np.iinfo(np.int64).min  # NaT of NumPy
SECOND, DAY = 10**9, 86400 * 10**9  # ns
YEAR = 365 * 86400  # s
CYCLE = 146097 * DAY  # 400 years, after which the calendar repeats
RATE_TOLERANCE = 1e-5  # relative: rounding to float32, or of an interval to microseconds
FAR_SPANS = 2  # a far time is farther from the others than so many times their span, and a year
FAR_DAYS, FAR_TIMES = 30, 10  # a far gap is longer than both: days, and times all the data
FEW = 0.25  # of the data: less than this beyond a far gap is left out


def to_text(value: Any) -> str:
    """Bytes or anything else as text; what is no UTF-8 is Latin-1, as LabVIEW writes µ."""
    if isinstance(value, str) and not value.isascii():  # h5py has such bytes as surrogates
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

_PREFIXES = {
    "": 1.0, "n": 1e-9, "nano": 1e-9, "u": 1e-6, "µ": 1e-6, "μ": 1e-6, "micro": 1e-6, "m": 1e-3,
    "milli": 1e-3, "c": 1e-2, "centi": 1e-2, "k": 1e3, "K": 1e3, "kilo": 1e3, "M": 1e6,
    "mega": 1e6, "G": 1e9, "giga": 1e9,
}  # fmt: skip
# Names of UDUNITS without a plural's s. Months and years have no fixed length.
_NANOSECONDS = {
    "min": 60 * SECOND, "minute": 60 * SECOND, "h": 3600 * SECOND, "hr": 3600 * SECOND,
    "hour": 3600 * SECOND, "d": DAY, "day": DAY, "week": 7 * DAY,
}  # fmt: skip
_METRES = {
    "ft": 0.3048, "foot": 0.3048, "feet": 0.3048, "us_survey_foot": 1200 / 3937,
    "us_survey_feet": 1200 / 3937, "mi": 1609.344, "mile": 1609.344,
}  # fmt: skip
for _prefix, _factor in _PREFIXES.items():
    _METRES |= {f"{_prefix}{name}": _factor for name in ("m", "meter", "metre")}
    if _factor <= 1:
        _names = "s", "sec", "second"
        _NANOSECONDS |= {f"{_prefix}{name}": round(_factor * SECOND) for name in _names}
_COUNT = r"(1|rad(?:ian)?s?|cyc(?:le)?s?|deg(?:ree)?s?|)"
_PER_TIME = re.compile(
    rf"{_COUNT}\s*(?:(?:/|per\b)\s*([a-zµ]+)|[.*\s]?\s*([a-zµ]+)\s*(?:\^|\*\*)?\s*-1)", re.I
)
_TURNS = {"r": 1 / (2 * math.pi), "d": 1 / 360}
_WITHOUT = ("1", "bin", "bins", "index", "none", "dimensionless", "count", "counts")


def unit_length(text: str) -> int:
    """Nanoseconds of a unit of time, as ``s``, ``msec``, ``hours``; ValueError for another."""
    name = text.strip()
    lower = name.lower().rstrip(".")
    for form in (name, lower, lower.removesuffix("s")):
        if form in _NANOSECONDS:
            return _NANOSECONDS[form]
    if lower.removesuffix("s") in ("month", "year", "mon", "yr"):
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
    return (values, unit) if factor is None else (values * factor, "m")


# ---- text and numbers ---------------------------------------------------------------------------

# Forms that the ISO parser of pandas does not take: pattern, replacement, what that leaves out.
_FORMS = (
    (r"(?i)\s*(?:Z|UTC|GMT)$", "", 0),
    (r"(?<=\d),(?=\d)", ".", 0),
    (r"(?<=[T ])24(?=(?::?00){0,2}(?:[.]0*)?(?:$|[Z+ -]))", "00", DAY),
    (r"(?<=:\d\d:)60(?=\D|$)", "59", SECOND),
)
# The unit of a number since 1970 by its size: in the next larger unit it would be after 5138.
_EPOCH_UNITS = ((1e11, SECOND), (1e14, 10**6), (1e17, 10**3), (float("inf"), 1))


def parse_time(value: Any) -> int | None:
    """One time as nanoseconds since 1970 in UTC, or None for anything else; see `parse_times`."""
    values = np.empty(1, getattr(value, "dtype", object) if np.isscalar(value) else object)
    values[0] = value
    time = int(parse_times(values)[0])
    return None if time == NOT_A_TIME else time


def parse_times(values: Any) -> np.ndarray:
    """Times in UTC, (n,) int64 ns since 1970, `NOT_A_TIME` for what is none.

    ISO 8601 in its usual forms (also with a blank for the T, slashes, the day of the year, one
    digit where two are usual), in UTC without a zone; datetime64; or seconds, milli-, micro- or
    nanoseconds since 1970, by the size of the number.
    """
    values = np.asarray(values)
    if values.dtype.kind == "M":
        return _in_range(values)
    plain = [to_text(x).strip("\0 \t\r\n") if isinstance(x, (str, bytes)) else x for x in values]
    plain = [x if isinstance(x, Hashable) else None for x in plain]  # arrays are no times
    codes, unique = pandas.factorize(np.array([*plain, None], dtype=object)[:-1])  # times repeat
    texts = pandas.Series([x if isinstance(x, str) else "" for x in unique], dtype="str")
    is_date = texts.str.match(r"\d{1,4}[-/]|\d{8}(?![\d.])").to_numpy(bool)
    times = np.full(len(unique) + 1, NOT_A_TIME)  # the last one for None and NaN
    times[:-1][is_date] = _parse_dates(texts[is_date])
    times[:-1][~is_date] = [_parse_number(x) for x in unique[~is_date]]
    return times[codes]


def _in_range(stamps: np.ndarray) -> np.ndarray:
    years = stamps.astype("M8[Y]").astype(np.int64) + 1970
    known = ~np.isnat(stamps) & (years > 1677) & (years < 2262)
    return np.where(known, stamps, np.datetime64("NaT")).astype("M8[ns]").astype(np.int64)


def _parse_dates(texts: pandas.Series) -> np.ndarray:
    more = np.zeros(len(texts), np.int64)
    for pattern, replacement, left_out in _FORMS:
        more += left_out * texts.str.contains(pattern).to_numpy(bool)
        texts = texts.str.replace(pattern, replacement, regex=True)
    texts = texts.str.replace(r"^(\d{4})-(\d{3})(?!\d)", _day_of_year, regex=True)
    dates = pandas.to_datetime(texts, format="ISO8601", utc=True, errors="coerce")
    times = _in_range(dates.dt.tz_localize(None).to_numpy())
    return np.where(times == NOT_A_TIME, NOT_A_TIME, times + more)


def _day_of_year(found: re.Match) -> str:
    day = str(np.datetime64(f"{found[1]}-01-01") + (int(found[2]) - 1))
    return day if day.startswith(found[1]) else ""


def _parse_number(value: Any) -> int:
    if isinstance(value, str):
        try:
            value = int(value) if re.fullmatch(r"[+-]?\d{1,20}", value) else float(value)
        except ValueError:
            return NOT_A_TIME
    value = value.item() if isinstance(value, np.generic) else value
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) < 2**63:
        return NOT_A_TIME
    unit = epoch_unit(value)
    whole, rest = divmod(value, 1)  # apart, which keeps digits
    time = int(whole) * unit + round(rest * unit)
    return time if abs(time) < 2**63 else NOT_A_TIME


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
    parts = re.fullmatch(r"(\d{4}(?=\d{4})|\d{1,4}(?![\d.]))([-/\d].*?)?( .*|T.*)?", reference)
    year = int(parts[1]) if parts else 0
    near = 1800 + (year - 1800) % 400  # a year of the range of `parse_time` with the same days
    text = f"{near}{parts[2] or '-01-01'}{parts[3] or ''}" if parts else ""
    if (origin := parse_time(text)) is None:
        raise ValueError(f"reference '{reference}' is no date")
    month = pandas.Timestamp(origin).month
    origin -= (near - year) // 400 * CYCLE
    calendar = calendar.strip().lower() or "standard"
    is_mixed = calendar in ("standard", "gregorian")
    if calendar == "julian" or (is_mixed and origin < -141427 * DAY):  # 1582-10-15
        year -= month <= 2
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

    A gap is far where it is longer than `far_days` and than 10 times all the data. Data beyond are
    left out if they are less than a quarter of all; else it is a DataError. `spans` are start and
    end in ns, and a name; the result is the positions to use, and a line for each name of which
    something is left out.
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
    main = amounts[::-1].idxmax()  # of equals the last
    inside, outside = table[group == main], table[group != main].drop_duplicates("name")
    begin, end, lines = inside["start"].iloc[0], reached[inside.index[-1]], []
    for start, stop, name in outside.itertuples(index=False):
        days = max(begin - stop, start - end) / DAY
        away = f"{days / 365.25:.0f} years" if days > 730 else f"{days:.0f} days"
        first, since = nanoseconds_to_iso([start, begin])
        lines.append((name, f"starts {first}, {away} away from the data of {since}"))
    if lines and amounts.sum() - amounts[main] >= FEW * amounts.sum():
        name, line = lines[0]
        raise DataError(
            f"{name}: {line} in {inside['name'].iloc[0]}, more than {FAR_TIMES} times as long as "
            "all the data; correct the clock that is wrong, or give only the files of one time"
        )
    advice = "left out; correct its time, or give only files of that time to have it"
    return sorted(inside.index), [f"{name}: {line}: {advice}" for name, line in lines]


def far_times(times: np.ndarray) -> np.ndarray:
    """Single times so far from the others that they would decide an axis of time, (n,) bool.

    A clock that is wrong gives years as 1970 or 2262 to some samples. Times are grouped at gaps of
    a year; far are groups of one time, or of 1 % at most, that are before or after all larger ones,
    by more than a year and than twice the span of those, if they are a tenth at most together.
    `times` are datetime64, or int64 in ns since 1970; NaT and `NOT_A_TIME` are not counted.
    """
    stamps = times.view("M8[ns]") if times.dtype.kind == "i" else times
    far, known = np.zeros(len(times), dtype=bool), np.flatnonzero(~np.isnat(stamps))
    seconds = pandas.Series(stamps[known].astype("M8[s]").astype(np.int64), known).sort_values()
    group = (seconds.diff() > YEAR).cumsum()
    is_large = group.map(group.value_counts()) > max(1, len(group) // 100)
    if not is_large.any():
        return far
    first, last = seconds[is_large].iloc[[0, -1]]
    for time in seconds[~is_large][::-1]:  # the nearer ones first, on either side
        if 0 < first - time <= max(YEAR, FAR_SPANS * (last - first)):
            first = time
    for time in seconds[~is_large]:
        if 0 < time - last <= max(YEAR, FAR_SPANS * (last - first)):
            last = time
    out = (seconds < first) | (seconds > last)
    if out.sum() <= max(1, len(out) // 10):
        far[out.index[out]] = True
    return far
