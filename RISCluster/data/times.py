"""Times as int64 nanoseconds since 1970 in UTC, and units of time, frequency and length.

What is no time, or not from 1678 to 2261, is `NOT_A_TIME` in arrays and None for single values.
"""

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas

from ..errors import DataError

NOT_A_TIME = np.iinfo(np.int64).min  # NaT of NumPy
SECOND, DAY = 10**9, 86400 * 10**9  # ns
FAR_DAYS, FAR_TIMES = 30, 10  # a far gap is longer than both: days, and times all the data


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
    """Whether two sampling rates in Hz are equal but for rounding, to float32 or microseconds."""
    return math.isclose(a, b, rel_tol=1e-5)


UNITS: dict[str, dict[str, Any]] = {
    "time": {  # ns
        "ns nsec nanosecond": 1, "us µs μs usec microsecond": 10**3, "ms msec millisecond": 10**6,
        "s sec second": SECOND, "min minute": 60 * SECOND, "h hr hour": 3600 * SECOND,
        "d day": DAY, "week": 7 * DAY,
    },
    "frequency": {  # Hz
        "Hz hz hertz 1/s s-1 s^-1 cps cycles/s": 1.0, "kHz khz": 1e3, "mHz": 1e-3, "MHz": 1e6,
        "rad/s rads-1": 1 / (2 * math.pi),
    },
    "length": {  # m
        "m meter metre": 1.0, "km kilometer kilometre": 1e3, "cm": 1e-2, "mm": 1e-3,
        "ft foot feet": 0.3048,
    },
}  # fmt: skip


def unit_factor(quantity: str, unit: str) -> Any:
    """Factor of a unit of a quantity of `UNITS` to ns, Hz or m; ValueError for another unit."""
    factors = {name: x for names, x in UNITS[quantity].items() for name in names.split()}
    name = unit.replace(" ", "").rstrip(".")
    for form in (name, name.lower(), name.lower().removesuffix("s")):  # mHz is not MHz
        if form in factors:
            return factors[form]
    known = ", ".join(names.split()[0] for names in UNITS[quantity])
    raise ValueError(f"unit '{unit.strip()}' is not known; known are {known}")


def to_metres(values: Any, unit: str) -> tuple[Any, str]:
    """Lengths in metres with their unit; those in another unit, such as degrees, unchanged."""
    try:
        return values * unit_factor("length", unit), "m"
    except ValueError:
        return values, unit


_DATE = r"\d{1,4}[-/]|\d{8}(?![\d.])"  # with which a date begins
# The unit of a number since 1970 by its size: in the next larger unit it would be after 5138.
_EPOCH_LIMITS, _EPOCH_UNITS = (1e11, 1e14, 1e17), np.array([SECOND, 10**6, 10**3, 1])


def parse_time(value: Any) -> int | None:
    """One time as nanoseconds since 1970 in UTC, or None for anything else; see `parse_times`."""
    time = int(parse_times(np.array([value]))[0])
    return None if time == NOT_A_TIME else time


def parse_times(values: Any) -> np.ndarray:
    """Times in UTC, (n,) int64 ns since 1970, `NOT_A_TIME` for what is none.

    ISO 8601 as pandas reads it, in UTC without a zone; datetime64; or seconds, milli-, micro- or
    nanoseconds since 1970, by the size of the number.
    """
    values = np.asarray(values)
    if values.dtype.kind in "iuf":
        size = np.searchsorted(_EPOCH_LIMITS, np.abs(values), side="right")
        return decode_numbers(values, _EPOCH_UNITS[size], 0)
    if values.dtype.kind == "M":
        years = values.astype("M8[Y]").astype(np.int64) + 1970
        known = ~np.isnat(values) & (years > 1677) & (years < 2262)
        return np.where(known, values, np.datetime64("NaT")).astype("M8[ns]").astype(np.int64)
    codes, unique = pandas.factorize(  # times repeat
        np.array([to_text(value).strip("\0 \t\r\n") for value in values], dtype=object)
    )
    texts, times = pandas.Series(unique, dtype="str"), np.full(len(unique), NOT_A_TIME)
    is_date = texts.str.match(_DATE).to_numpy(bool)
    plain = texts[is_date].str.replace(r"(?i)\s*(?:Z|UTC|GMT)$", "", regex=True)
    dates = pandas.to_datetime(plain, format="ISO8601", utc=True, errors="coerce")
    times[is_date] = parse_times(dates.dt.tz_localize(None))
    if not is_date.all():
        times[~is_date] = parse_times(pandas.to_numeric(texts[~is_date], errors="coerce"))
    return times[codes]


def nanoseconds_to_iso(times: np.ndarray) -> list[str]:
    """Nanoseconds since 1970 to ISO 8601 with microseconds and Z; `NOT_A_TIME` to ''."""
    times = np.asarray(times, dtype=np.int64)
    known = times != NOT_A_TIME
    times = np.where(known, times, 0)
    stamps = (times // 1000 + (times % 1000 >= 500)).astype("M8[us]")
    texts = np.datetime_as_string(stamps, unit="us")
    return [f"{text}Z" if there else "" for text, there in zip(texts, known, strict=True)]


def decode_times(values: Any, units: str = "", calendar: str = "standard") -> np.ndarray:
    """Times of a column with attributes `units` and `calendar`: (n,) int64 ns, `NOT_A_TIME`.

    Units are as ``hours since 1800-1-1 00:00:00 -6:00``. Numbers without units or a reference
    time, also ``datetime64[ns]``, count from 1970. ValueError for other units or calendars.
    """
    values = np.asarray(values)
    if values.dtype.kind not in "iuf" or not units:
        return parse_times(values)
    units = re.sub(r"(datetime64|M8)\[(\w+)\]", r"\2", units.strip())
    name, *reference = re.split(r"\s+since\s+", units, maxsplit=1, flags=re.I)
    unit, origin = unit_factor("time", name), 0
    if calendar.strip().lower() not in ("", "standard", "gregorian", "proleptic_gregorian"):
        raise ValueError(f"calendar '{calendar}' has other dates than UTC")
    if reference and not re.fullmatch(r"(the\s+)?(unix\s+)?epoch", reference[0], re.I):
        origin = parse_time(reference[0]) if re.match(_DATE, reference[0]) else None
        if origin is None:
            raise ValueError(f"reference '{reference[0]}' is no date from 1678 to 2261")
    return decode_numbers(values, unit, origin)


def decode_numbers(values: np.ndarray, unit: Any, origin: int) -> np.ndarray:
    """Numbers in a unit (ns, one or each) after `origin` (ns): (n,) int64 ns, `NOT_A_TIME`."""
    exact = np.can_cast(values.dtype, np.int64)
    values = values.astype(np.int64 if exact else np.float64)  # int32 overflows in a product
    with np.errstate(invalid="ignore", over="ignore"):
        time, most = values.astype(np.float64) * unit, 2.0**63 - 2.0**40
        known = (np.abs(time) < most) & (np.abs(time + origin) < most)
    values = np.where(known, values, 0)
    whole = values // 1
    rest = np.rint((values - whole) * unit).astype(np.int64)
    return np.where(known, whole.astype(np.int64) * unit + origin + rest, NOT_A_TIME)


def refuse_far_gap(spans: Sequence[tuple[int, int, str]]) -> None:
    """DataError where a gap of pieces of data (start and end in ns, name) is by a wrong clock."""
    table = pandas.DataFrame(sorted(spans), columns=["start", "stop", "name"])
    before = table["stop"].cummax().shift(fill_value=table["start"][0])
    gaps = table["start"] - before
    covered = table["stop"].max() - table["start"][0] - gaps.clip(0).sum()
    at = int(gaps.argmax())
    if gaps[at] > max(FAR_DAYS * DAY, FAR_TIMES * covered):
        (first,) = nanoseconds_to_iso(table["start"][[at]])
        raise DataError(
            f"{table['name'][at]}: starts {first}, {gaps[at] / DAY / 365.25:.3g} years after the "
            f"data before, of {table['name'][at - 1]}: more than {FAR_TIMES} times as long as all "
            "the data; correct the clock that is wrong, or give only the files of one time"
        )


def far_times(times: np.ndarray) -> np.ndarray:
    """Single times so far from the others that they would decide an axis of time, (n,) bool.

    Of times (datetime64, or int64 in ns since 1970), 2 % (one at least) are left out at each end;
    far are those away from the rest by more than a year, and than twice the span of the rest.
    """
    seconds = (times.view("M8[ns]") if times.dtype.kind == "i" else times).astype("M8[s]")
    ordered = np.sort(seconds[~np.isnat(seconds)])
    if len(ordered) < 3:
        return np.zeros(len(times), dtype=bool)
    n_out = max(1, len(ordered) // 50)
    first, last = ordered[n_out], ordered[-1 - n_out]
    reach = max(2 * (last - first), np.timedelta64(365, "D"))
    return (seconds < first - reach) | (seconds > last + reach)
