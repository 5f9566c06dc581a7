"""Headers of fibre records (time, channel): HDF5 of any manufacturer, other formats by DASCore."""

import re
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..data import storage, times
from ..data.layouts import Column, choose_dataset, find_coordinate
from ..data.times import SECOND, to_text
from ..errors import DataError, MissingPackage
from ..io import need
from ..settings import RecordsSettings

# Quantities, the kind of their values, and their names in lower case without blanks, signs and
# units in brackets. The nearest to the samples counts, of one place the first.
TABLE = (
    ("rate", "Hz", "outputdatarate datarate fs samplingrate samplerate samplingfrequency "
     "samplingfreq acquisitionsamplerate acquisitionsamplingrate"),
    ("rate", "interval", "dt delta dts samplinginterval sampleinterval timesamplinginterval "
     "samplingperiod timestep deltat"),
    ("start", "time", "partstarttime start starttime t0 filestartgpstime iso8601timestamp "
     "gpstimestamp begintime startdatetime recordingstarttime timestamp time "
     "filestartcomputertime cputimestamp rawdatatime"),
    ("spacing", "m", "dxm dx spatialsamplinginterval spatialsampling channelspacing "
     "spatialinterval deltax"),
    ("resolution", "m", "spatialresolution"),  # of a fibre that is `multiplier` times as long
    ("multiplier", "", "fibrelengthmultiplier"),
    ("first", "m", "sensingrangestart startdistance positionstart startposition"),
    ("last", "m", "sensingrangeend stopdistance positionend stopposition"),
    ("length", "m", "measurelength"),
    ("first number", "", "startlocusindex"),
    ("unit", "text", "unit units rawdataunit dataphysicalunit dataproductunits attrsdataunits"),
    ("dimensions", "words", "dims dimensions dimensionnames dasdimensions arraydimensions"),
)  # fmt: skip
TIME_ARRAY = re.compile(r"t$|.*(time|stamp)s?(array|unix)?$")
POSITION_ARRAY = re.compile(r"(coord)?(distance|position|depth)s?$|channels$")
TIME_WORDS = re.compile(r"time|t$|sample")
CHANNEL_WORDS = re.compile(r"dist|chan|loc[iu]|space|spatial|fib|pos|offset|depth|x$|trace")
UNIT_NAMES = ("units", "unit", "uom")
IN_BRACKETS = re.compile(r"[\[(](.*?)[\])]")

SINCE_1980 = 10 * 365 * 86400  # s; smaller numbers count from a start, not from 1970
RATES = (1e-4, 1e6)  # Hz: light takes longer through 100 m; an interval in ns without unit is less
AGREE = 2e-3  # relative difference of sampling rates that are the same, as stamps jitter
LEAST_JUMP = 0.75  # samples
MAX_JUMPS = 0.1  # of all time stamps; more are jitter, or stamps of whole blocks
COMPARABLE = 0.1  # of the largest data set: with another of this size the choice is not clear
SMALL = 8  # values of a data set that is a named value
PICKLED = b"dascore"  # in the first bytes of a file that would execute code

# ns after the start of a record, first sample, number of samples
Segment = tuple[int, int, int]


class UnknownLayout(DataError):
    """Data set, order or rate can't be found in a file."""


@dataclass(frozen=True)
class Record:
    """Header of one file."""

    path: Path
    dataset: Any  # its name, or the format and version for `read_with_dascore`
    time_axis: int
    n_channels: int
    sampling_rate: float  # Hz
    start: int | None  # of the first sample, ns since 1970, None where unknown
    segments: list[Segment]  # without a gap
    distance: np.ndarray | None = None  # (channels,), m along the fibre
    unit: str = ""  # of the samples, empty where unknown
    dtype: Any = np.float64  # of the samples, in which they lose no digits


def read_record(path: Path, settings: RecordsSettings) -> Record:
    """Header of a file; DASCore reads what is not known here, unless a data set is chosen.

    Settings that are not ``auto`` are not looked for in it. DataError where it can't be read.
    """
    try:
        with h5py.File(path, "r") as file:
            return _Reader(storage.Storage(path, file), settings).record()
    except (OSError, RuntimeError, KeyError) as why:
        reason = storage.why_closed(path, why)
        error, is_foreign = DataError(f"{path}: {reason}"), reason.startswith(storage.FOREIGN)
    except UnknownLayout as why:
        error, is_foreign = why, settings.dataset == "auto"
    if is_foreign:
        try:
            return read_dascore_header(path, settings)
        except MissingPackage:
            error = DataError(f"{error}, or pip install dascore (extra 'das')")
        except DataError:
            pass
    raise error


def _normal(name: str) -> str:
    return re.sub(r"[\s_\-.:/]", "", IN_BRACKETS.sub("", name)).lower()


def _read(holder: Any, key: Any) -> Any:
    """Arrays of one value as that value; None for what can't be read."""
    try:
        value = holder[key]
    except (OSError, RuntimeError, TypeError, ValueError, KeyError):
        return None
    return value.flat[0] if isinstance(value, np.ndarray) and value.size == 1 else value


def _first_text(values: Any) -> str:
    """The first text among values, empty where there is none."""
    texts = (to_text(x).strip() for x in values if isinstance(x, (str, bytes)))
    return next(filter(None, texts), "")


def _unit(item: h5py.Dataset) -> str:
    return _first_text(_read(item.attrs, x) for x in item.attrs if _normal(x) in UNIT_NAMES)


def _facts(values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Quantities of `TABLE` among the named values of one place; units are in names or beside."""
    known = {_normal(name): (name, value) for name, value in values.items()}
    for quantity, kind, keys in TABLE:
        for key in filter(known.__contains__, keys.split()):
            name, raw = known[key]
            units = [known[key + end][1] for end in UNIT_NAMES if key + end in known]
            value = _convert(raw, _first_text(IN_BRACKETS.findall(name) + units), kind)
            if value is not None:
                yield quantity, value


def _convert(raw: Any, unit: str, kind: str) -> Any:
    """Value of a kind of `TABLE`, intervals as Hz, times in ns since 1970; None for no such."""
    is_text = isinstance(raw, (str, bytes))
    text = to_text(raw).strip() if is_text else ""
    if kind == "text":
        return text or None
    if kind == "words":
        words = re.findall(r"\w+", text) if is_text else [to_text(x) for x in np.ravel(raw)]
        return [_normal(word) for word in words if word != "x"]
    if kind == "time" and re.search(r"\d[-/T]\d", text):
        return times.parse_time(IN_BRACKETS.sub("", text))
    try:
        number = float(text if is_text else raw)
        if kind == "time":
            return times.parse_time(number) if number > SINCE_1980 else None
        if kind == "interval":
            number = 1 / (number * (times.unit_factor("time", unit or "s") / SECOND))
        if kind == "Hz":
            number *= times.unit_factor("frequency", unit or "Hz")
        if kind == "m":
            number *= times.unit_factor("length", unit or "m")
    except (DataError, ValueError, TypeError, ArithmeticError):
        return None
    low, high = RATES if kind in ("Hz", "interval") else (-np.inf, np.inf)
    return number if np.isfinite(number) and low <= number <= high else None


def _read_stamps(column: Column, rate: float | None) -> tuple[float, int, list[Segment]] | None:
    """Rate, start and segments of a time for each sample; None where they do not count from 1970.

    ValueError where they do not ascend evenly, at the rate if it is known.
    """
    found = times.decode_times(column.values, column.units, column.calendar)
    if len(found) < 2 or np.median(found) < SINCE_1980 * SECOND:
        return None
    past = np.diff(found.astype(np.float64)) / SECOND  # int64 overflows where a time is missing
    interval = float(np.median(past))
    jumps = np.abs(past - interval) >= LEAST_JUMP * interval
    if (past <= 0).any() or jumps.mean() > MAX_JUMPS or times.far_times(found).any():
        raise ValueError("they do not ascend evenly")
    edges = np.r_[0, np.flatnonzero(jumps) + 1, len(found)]  # of segments
    sizes, starts = np.diff(edges), found[edges[:-1]]
    longest = int(np.argmax(sizes))
    first, n = edges[longest], int(sizes[longest]) - 1
    mean_rate = round_rate(n * SECOND / int(found[first + n] - found[first]), n)
    if rate is not None and abs(mean_rate - rate) > AGREE * rate:
        raise ValueError(f"they are at {mean_rate:g} Hz, and the sampling rate is {rate:g} Hz")
    parts = zip((starts - starts[0]).tolist(), edges.tolist(), sizes.tolist(), strict=False)
    return rate or mean_rate, int(starts[0]), list(parts)


def round_rate(rate: float, n: int) -> float:
    """A rate in Hz, rounded where that makes no sample of difference over n samples."""
    rounds = (round(rate), round(rate, 2))
    return next((x for x in rounds if x and abs(1 - rate / x) * n < 0.5), rate)


class _Reader:
    """Finds the parts of one file's header, which depend on each other."""

    def __init__(self, place: storage.Storage, settings: RecordsSettings):
        self.path, self.storage, self.settings = place.path, place, settings
        self.dataset = self._find_dataset()
        self.name, self.shape = self.dataset.name.strip("/"), self.dataset.shape
        self.facts: dict[str, Any] = {}  # nearest value of each quantity of `TABLE`
        # Arrays of one dimension as long as a side, and their names, nearest first
        self.arrays: list[tuple[str, h5py.Dataset]] = []
        places = [self.name]
        while places[-1]:  # groups around it
            places.append(places[-1].rpartition("/")[0])
        for folder in [*places, "header"]:
            if (holder := place.root.get(folder or "/")) is None:
                continue
            values = {}
            for name, item in place.arrays.items():
                own, _, last = name.rpartition("/")
                if own == folder and 0 < (item.size or 0) <= SMALL:
                    values |= {last: _read(item, ()), f"{last}_unit": _unit(item)}
                is_line = item.size in self.shape and 1 < item.size == max(item.shape)
                if own == folder and is_line and storage.is_variable(item):
                    self.arrays.append((_normal(last), item))
            values |= {key: _read(holder.attrs, key) for key in holder.attrs}
            for quantity, value in _facts(values):
                self.facts.setdefault(quantity, value)
        spacing = self.facts.get("resolution", 0) * self.facts.get("multiplier", 1)
        self.spacing = self.facts.get("spacing", spacing)  # m, 0 where unknown

    def _find_dataset(self) -> h5py.Dataset:
        """The data set that is set, or the largest numeric one with two dimensions."""
        chosen, arrays = self.settings.dataset, self.storage.arrays.values()
        arrays = [x for x in arrays if x.dtype.kind in "iuf" and x.size]
        found = [x for x in arrays if x.ndim == 2 and x.name.strip("/") == chosen.strip("/")]
        if chosen == "auto":
            found, layout = [x for x in arrays if x.ndim == 2 and min(x.shape) > 1], "cube"
            with suppress(DataError):  # it has no spectrograms
                layout, name = choose_dataset(self.storage, "auto", "auto")
            if layout != "cube":
                raise DataError(
                    f"{self.path}: holds spectrograms ({name}, layout {layout}); cubes are made of "
                    "fibre records or a cube: give those, or set records.dataset to another array"
                )
        found.sort(key=lambda x: -x.size)
        if not found or (len(found) > 1 and found[1].size >= COMPARABLE * found[0].size):
            there = ", ".join(f"{x.name.strip('/')} {x.shape}" for x in (found or arrays)[:10])
            raise UnknownLayout(
                f"{self.path}: records.dataset = {chosen} is not one numeric data set of (time, "
                f"channel); it has {there or 'none'}; set records.dataset to one of two dimensions"
            )
        storage.require_readable(found[0])
        return found[0]

    def record(self) -> Record:
        """The whole header."""
        axis = self._time_axis()
        kind = storage.sample_packing(self.dataset).unpack(np.empty(0, self.dataset.dtype)).dtype
        return Record(
            self.path, self.name, axis, self.shape[1 - axis], *self._timing(axis),
            self._distance(1 - axis), self.facts.get("unit", ""), np.result_type(kind, np.float32),
        )  # fmt: skip

    def _time_axis(self) -> int:
        """By names of the dimensions, or else by lengths in the file."""
        if self.settings.order != "auto":
            return 0 if self.settings.order == "time,channel" else 1
        labels = [_normal(name) for name in storage.dimension_names(self.dataset)]
        for words in (labels, self.facts.get("dimensions", [])):
            axes = {axis for axis, word in enumerate(words) if TIME_WORDS.match(word)}
            axes |= {1 - axis for axis, word in enumerate(words) if CHANNEL_WORDS.match(word)}
            if len(words) == 2 and len(axes) == 1:
                return axes.pop()
        n_samples = [x.size for name, x in self.arrays if TIME_ARRAY.match(name)]
        n_channels = [x.size for name, x in self.arrays if POSITION_ARRAY.match(name)]
        if self.spacing and "last" in self.facts:
            length = self.facts["last"] - self.facts.get("first", 0)
            n_channels.append(np.rint(length / self.spacing) + 1)
        if self.spacing and "length" in self.facts:
            n_channels.append(np.rint(self.facts["length"] / self.spacing))
        axes = {self.shape.index(n) for n in n_samples if n in self.shape}
        axes |= {1 - self.shape.index(n) for n in n_channels if n in self.shape}
        if len(axes) != 1 or self.shape[0] == self.shape[1]:
            raise UnknownLayout(
                f"{self.path}: {self.name} is {self.shape[0]:,} x {self.shape[1]:,}, and the file "
                "does not say which is time; set records.order to time,channel or channel,time"
            )
        return axes.pop()

    def _columns(self, axis: int, role: str, names: re.Pattern) -> list[Column]:
        """Coordinates of an axis: of its dimension, then by names of arrays, the nearest first."""
        found = [find_coordinate(self.storage, self.dataset, role, [])]
        for name, item in self.arrays:
            if names.match(name):
                values = storage.read_values(item).ravel()
                calendar = storage.text_attribute(item, "calendar")
                found.append(Column(item.name.strip("/"), values, _unit(item), calendar))
        return [x for x in found if x is not None and len(x.values) == self.shape[axis]]

    def _timing(self, axis: int) -> tuple[float, int | None, list[Segment]]:
        """Sampling rate, start, and parts without a gap: of time stamps, or else of attributes."""
        is_set = self.settings.sampling_rate != "auto"
        rate = float(self.settings.sampling_rate) if is_set else self.facts.get("rate")
        for column in self._columns(axis, "time", TIME_ARRAY):
            try:
                if (stamps := _read_stamps(column, rate)) is not None:
                    return stamps
            except (TypeError, ValueError) as error:
                if not is_set:
                    raise UnknownLayout(
                        f"{self.path}: time stamps {column.name} can't be used: {error}; set "
                        "records.sampling_rate, then they are left out"
                    ) from None
        if rate is None:
            raise UnknownLayout(
                f"{self.path}: no attribute of {self.name} or of its groups is a sampling rate; "
                f"known are {', '.join(self.facts) or 'none'}; set records.sampling_rate"
            )
        return rate, self.facts.get("start"), [(0, 0, self.shape[axis])]

    def _distance(self, axis: int) -> np.ndarray | None:
        spacing = self.spacing
        if self.settings.channel_spacing != "auto":
            spacing = float(self.settings.channel_spacing)
        else:
            for name, values, unit, _ in self._columns(axis, "channel", POSITION_ARRAY):
                if values.dtype.kind not in "iuf":
                    continue
                if name.endswith("channels"):  # their numbers
                    values, unit = values * (spacing or np.nan), "m"
                values, unit = times.to_metres(values.astype(np.float64), unit or "m")
                if unit == "m" and np.isfinite(values).all() and (np.diff(values) > 0).all():
                    return values
        if not spacing:
            return None
        first = self.facts.get("first", 0)
        if "first number" in self.facts:
            first = self.facts["first number"] * spacing
        return first + spacing * np.arange(self.shape[axis])


def read_dascore_header(path: Path, settings: RecordsSettings) -> Record:
    """Header of a file of evenly spaced (time, channel), such as TDMS and those of Febus."""
    dascore = need("dascore")
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kind = ("", "") if PICKLED in file.read(100) else dascore.get_format(path)
            (found,) = dascore.scan(path, *kind, progress=None) if kind[0] else ()
        axis = found.dim_tuple.index("time")
        time, place = (found.coords[found.dim_tuple[k]] for k in (axis, 1 - axis))
        n_samples, n_channels = (round((x.max - x.min) / x.step) + 1 for x in (time, place))
        origin, last = (int(x.astype("M8[ns]").astype(np.int64)) for x in (time.min, time.max))
        rate = round_rate((n_samples - 1) * SECOND / (last - origin), n_samples)
    except Exception as error:  # its readers raise many kinds
        reason = storage.reason_of(error)
        raise DataError(f"{path}: DASCore can't read it ({reason}); leave it out") from None
    unit, sample_unit = (
        "" if quantity is None else re.sub(r"^1(\.0)? ", "", str(quantity))
        for quantity in (place.units, found.data_units)
    )
    distance, unit = times.to_metres(place.min + place.step * np.arange(n_channels), unit or "m")
    if settings.channel_spacing != "auto":
        distance = settings.channel_spacing * np.arange(n_channels)
    elif unit != "m" or "distance" not in found.dim_tuple:
        distance = None
    return Record(
        path, tuple(kind), axis, n_channels,
        rate if settings.sampling_rate == "auto" else settings.sampling_rate,
        origin if origin > SINCE_1980 * SECOND else None, [(0, 0, n_samples)],
        distance, sample_unit,
    )  # fmt: skip


@lru_cache(maxsize=1)
def read_with_dascore(path: Path, kind: tuple[str, str], changed: int) -> np.ndarray:
    """Samples (n, C) of a whole file of a format and its version, last changed at a time (ns).

    By time, some formats give other samples than asked for.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return need("dascore").read(path, *kind)[0].transpose("time", ...).data
