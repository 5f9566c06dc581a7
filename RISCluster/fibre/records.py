"""Headers of fibre records: HDF5 files of (time, channel) of any manufacturer."""

import contextlib
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..data import storage, times
from ..data.layouts import Column, find_coordinate
from ..data.times import NOT_A_TIME, to_text
from ..errors import DataError
from ..settings import RecordsSettings

# Quantities, their units, and their names in lower case without blanks, signs and units in
# brackets. The nearest to the samples counts, of one place the first.
TABLE = (
    ("rate", "Hz", "outputdatarate datarate fs samplingrate samplerate samplingfrequency "
     "samplingfreq acquisitionsamplerate acquisitionsamplingrate"),
    ("rate", "interval", "dt delta dts samplinginterval sampleinterval timesamplinginterval "
     "samplingperiod timestep deltat"),
    ("start", "time", "partstarttime start starttime t0 filestartgpstime iso8601timestamp "
     "gpstimestamp begintime startdatetime recordingstarttime timestamp time "
     "filestartcomputertime cputimestamp rawdatatime"),
    ("n samples", "", "nt tracecount nsamples numberofsamples numsamples npts"),
    ("n channels", "", "numberofloci nx nchannels numchannels numberofchannels channelcount "
     "spatialpoints nloci"),
    ("spacing", "m", "dxm dx spatialsamplinginterval spatialsampling channelspacing "
     "spatialinterval deltax"),
    ("resolution", "m", "spatialresolution"),  # of a fibre that is `multiplier` times as long
    ("multiplier", "", "fibrelengthmultiplier"),
    ("first", "m", "sensingrangestart startdistance positionstart startposition"),
    ("last", "m", "sensingrangeend stopdistance positionend stopposition"),
    ("first number", "", "startlocusindex"),
    ("unit", "text", "unit units rawdataunit dataphysicalunit dataproductunits attrsdataunits"),
    ("dimensions", "words", "dims dimensions dimensionnames dasdimensions arraydimensions"),
)  # fmt: skip
TIME_ARRAY = re.compile(r"t$|.*(time|stamp)s?(array|unix)?$")
POSITION_ARRAY = re.compile(r"(coord)?(distance|position|depth)s?$|channels$")
TIME_WORDS = re.compile(r"time|t$|sample")
CHANNEL_WORDS = re.compile(r"dist|chan|loc[iu]|space|spatial|fib|pos|offset|depth|x$|trace")
UNIT_NAMES = ("units", "unit", "uom")
IN_BRACKETS = re.compile(r"\[(.*?)\]|\((.*?)\)")

SECOND = 10**9  # ns
SINCE_1980 = 10 * 365 * 86400  # s; smaller numbers count from a start, not from 1970
RATES = (1e-4, 1e6)  # Hz: light takes longer through 100 m; an interval in ns without unit is less
AGREE = 2e-3  # relative difference of sampling rates that are the same, as stamps jitter
LEAST_JUMP = 0.75  # samples
MAX_JUMPS = 0.1  # of all time stamps; more are jitter, or stamps of whole blocks
COMPARABLE = 0.1  # of the largest data set: another of this size may as well be the one meant
SMALL = 8  # values of a data set that is a named value
NEAR = (3,)  # groups of a lower rank describe the samples


class UnknownLayout(DataError):
    """Data set, order or rate can't be found in a file."""


@dataclass(frozen=True)
class Record:
    """Header of one file."""

    path: Path
    dataset: Any  # its name, or what `das.read_samples` needs
    time_axis: int
    n_channels: int
    sampling_rate: float  # Hz
    start: int | None  # of the first sample, ns since 1970, None where unknown
    # Parts without a gap: ns after the start, first sample, number of samples
    segments: list[tuple[int, int, int]]
    distance: np.ndarray | None = None  # (channels,), m along the fibre
    unit: str = ""  # of the samples, empty where unknown
    dtype: Any = np.float64  # of the samples, in which they lose no digits
    notes: tuple[str, ...] = ()  # contradictions in the file


def read_record(path: Path, settings: RecordsSettings) -> Record:
    """Header of one file; settings that are not ``auto`` are not looked for in it.

    DataError where the file can't be read, UnknownLayout where it lacks what a record needs.
    """
    try:
        with h5py.File(path, "r") as file:
            return _Reader(path, storage.Storage(path, file), settings).record()
    except (OSError, RuntimeError, KeyError) as error:
        kind = DataError if h5py.is_hdf5(path) else UnknownLayout
        raise kind(f"{path}: {storage.why_closed(path, error)}") from None


# ---- named values -------------------------------------------------------------------------------


def _normal(name: str) -> str:
    return re.sub(r"[\s_\-.:/]", "", IN_BRACKETS.sub("", name)).lower()


def _value(holder: Any, key: Any) -> Any:
    """Arrays of one value as that value; None for what is empty or can't be read."""
    try:
        value = holder[key]
    except (OSError, RuntimeError, TypeError, ValueError, KeyError):
        return None
    if isinstance(value, h5py.Empty) or (isinstance(value, np.ndarray) and not value.size):
        return None
    return value.flat[0] if isinstance(value, np.ndarray) and value.size == 1 else value


def _attributes(item: h5py.Dataset | h5py.Group) -> dict[str, tuple[Any, Any]]:
    return {name: (_value(item.attrs, name), None) for name in item.attrs}


def _unit(item: h5py.Dataset) -> str:
    """Unit in the attributes of a data set, empty where it has none."""
    texts = (_value(item.attrs, name) for name in item.attrs if _normal(name) in UNIT_NAMES)
    return next((to_text(x).strip() for x in texts if isinstance(x, (str, bytes))), "")


def _facts(values: dict[str, tuple[Any, Any]]) -> list[tuple[str, str, Any]]:
    """Quantity, name and value of named values, each with its unit or None, of one place."""
    found, known = [], {_normal(name): (name, *value) for name, value in values.items()}
    for quantity, kind, keys in TABLE:
        for key in filter(known.__contains__, keys.split()):
            name, raw, unit = known[key]
            brackets = IN_BRACKETS.search(name)
            units = [unit, *(brackets.groups() if brackets else ())]
            units += [known[key + end][1] for end in UNIT_NAMES if key + end in known]
            texts = [to_text(x).strip() for x in units if isinstance(x, (str, bytes))]
            value = _convert(raw, next(filter(None, texts), ""), kind)
            if value is not None:
                found.append((quantity, name, value))
    return found


def _convert(raw: Any, unit: str, kind: str) -> Any:
    """Value in a unit of `TABLE`, times in ns since 1970; None where it is none such."""
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
            number = 1 / (number * times.seconds_factor(unit))
        if kind == "Hz":
            number *= times.frequency_factor("", unit)
        if kind in ("Hz", "interval"):
            return number if RATES[0] <= number <= RATES[1] else None
    except (DataError, ValueError, TypeError, ArithmeticError):
        return None
    if kind == "m":
        number, unit = times.to_metres(number, unit or "m")
    return number if np.isfinite(number) and (not kind or unit == "m") else None


# ---- time stamps --------------------------------------------------------------------------------


def _read_stamps(column: Column) -> tuple[str, float, int, list] | None:
    """Name, rate, start and segments of time stamps since 1970, one a sample; None for others.

    ValueError where they can't be converted, or do not ascend evenly.
    """
    found = _decode(column)
    known = (found != NOT_A_TIME) & ~times.far_times(found)
    index, found = np.flatnonzero(known), found[known]
    if len(index) < 2 or (found == found[0]).all():
        return None
    steps, past = np.diff(index), np.diff(found) / SECOND
    slope = float(np.median(past / steps))
    jumps = np.abs(past - steps * slope) >= LEAST_JUMP * slope
    if (past <= 0).any() or jumps.mean() > MAX_JUMPS:
        raise ValueError("they do not ascend evenly")
    edges = np.r_[0, np.flatnonzero(jumps) + 1, len(index)]
    longest = int(np.argmax(np.diff(edges)))
    first, last = edges[longest], edges[longest + 1] - 1
    n = int(index[last] - index[first])
    rate = n * SECOND / int(found[last] - found[first])
    firsts = np.r_[0, index[edges[1:-1]]]
    begins = found[edges[:-1]] - np.rint((index[edges[:-1]] - firsts) / rate * SECOND).astype(int)
    sizes = np.diff(firsts, append=index[-1] + 1).tolist()
    segments = zip((begins - begins[0]).tolist(), firsts.tolist(), sizes, strict=True)
    return column.name, round_rate(rate, n), int(begins[0]), list(segments)


def _decode(column: Column) -> np.ndarray:
    """Times (n,) in ns since 1970, `NOT_A_TIME` where they are not written."""
    values, units = column.values, column.units.strip()
    if values.dtype.kind not in "iuf" or re.search(r"\s(since|after|from|ref|@)\s", units, re.I):
        return times.decode_times(values, units, column.calendar or "standard")
    written = np.isfinite(values) & (values != 0)
    low = float(np.quantile(values[written], 0.1)) if written.any() else 0.0
    unit = times.unit_length(units) if units else int(times.epoch_unit(low))
    if low * unit / SECOND < SINCE_1980:
        raise ValueError("they do not count from a known time")
    return np.where(written, times.decode_numbers(values, unit, 0), NOT_A_TIME)


def round_rate(rate: float, n: int) -> float:
    """A rate in Hz, rounded where that makes no sample of difference over n samples."""
    rounds = (round(rate), round(rate, 2))
    return next((x for x in rounds if x and abs(1 - rate / x) * n < 0.5), rate)


# ---- one file -----------------------------------------------------------------------------------


class _Reader:
    """Finds the parts of one file's header, which depend on each other."""

    def __init__(self, path: Path, place: storage.Storage, settings: RecordsSettings):
        self.path, self.storage, self.settings = path, place, settings
        self.dataset = self._find_dataset()
        self.name, self.shape = self.dataset.name.strip("/"), self.dataset.shape
        self.notes: list[str] = []
        self.arrays = []  # of one dimension, as long as a side
        names: list[str] = ["/"]
        place.root.visit(names.append)
        items = {name.strip("/"): place.root.get(name) for name in names}
        holders = {name: _attributes(x) for name, x in items.items() if isinstance(x, h5py.Group)}
        holders[self.name] = _attributes(self.dataset)
        for name, item in place.arrays.items():
            folder, _, last = name.rpartition("/")
            if 0 < (item.size or 0) <= SMALL:
                holders.setdefault(folder, {}).setdefault(last, (_value(item, ()), _unit(item)))
            is_line = item.size in self.shape and max(item.shape) == item.size > 1
            if is_line and self._rank(folder) < NEAR and storage.is_variable(item):
                self.arrays.append((self._rank(folder), _normal(last), item))
        self.arrays.sort(key=lambda entry: entry[:2])
        self.facts: dict[str, list[Any]] = defaultdict(list)  # values by quantity, nearest first
        self.names: dict[str, str] = {}  # of the nearest
        for holder in sorted(holders, key=self._rank):
            for quantity, name, value in _facts(holders[holder]):
                if quantity != "unit" or self._rank(holder) < NEAR:
                    self.facts[quantity].append(value)
                    self.names.setdefault(quantity, name)

    def _rank(self, place: str) -> tuple:
        """Distance of a group, or of the data set itself, from the samples."""
        if place == self.name:
            return (0,)
        if not place or self.name.startswith(f"{place}/"):
            return (1, -len(place))
        return (2,) if place == "header" else (*NEAR, place)

    def _find_dataset(self) -> h5py.Dataset:
        """The data set that is set, or the largest numeric one with two dimensions."""
        chosen, arrays = self.settings.dataset, self.storage.arrays.values()
        arrays = [x for x in arrays if x.dtype.kind in "iuf" and x.size]
        tables = sorted((x for x in arrays if x.ndim == 2), key=lambda x: -x.size)
        found = [x for x in tables if chosen == x.name.strip("/") or chosen == x.name]
        if chosen == "auto":
            found = [x for x in tables if min(x.shape) > 1]
        is_unclear = len(found) > 1 and found[1].size >= COMPARABLE * found[0].size
        if not found or is_unclear:
            there = ", ".join(f"{x.name.strip('/')} {x.shape}" for x in (found or arrays)[:10])
            what = "no" if chosen == "auto" else f"'{chosen}' is no"
            raise UnknownLayout(
                f"{self.path}: {'more than one' if is_unclear else what} numeric data set of "
                f"(time, channel); it has {there or 'none'}; set records.dataset"
            )
        storage.require_readable(found[0])
        return found[0]

    def _value(self, quantity: str, default: Any = None) -> Any:
        """The nearest value of a quantity."""
        return next(iter(self.facts[quantity]), default)

    def record(self) -> Record:
        """The whole header."""
        axis = self._time_axis()
        kind = storage.sample_packing(self.dataset).unpack(np.empty(0, self.dataset.dtype)).dtype
        return Record(
            self.path, self.name, axis, self.shape[1 - axis], *self._timing(axis),
            self._distance(1 - axis), self._value("unit", ""), np.result_type(kind, np.float32),
            tuple(self.notes),
        )  # fmt: skip

    def _time_axis(self) -> int:
        """By names of the dimensions, or else by lengths in the file."""
        if self.settings.order != "auto":
            return 0 if self.settings.order == "time,channel" else 1
        labels = [list(map(_normal, storage.dimension_names(self.dataset)))]
        for words in labels + self.facts["dimensions"]:
            in_time = [axis for axis, word in enumerate(words) if TIME_WORDS.match(word)]
            along = [axis for axis, word in enumerate(words) if CHANNEL_WORDS.match(word)]
            if len(words) == 2 and 1 in (len(in_time), len(along)):
                return in_time[0] if len(in_time) == 1 else 1 - along[0]
        n_samples = [x.size for _, key, x in self.arrays if TIME_ARRAY.match(key)]
        n_channels = [x.size for _, key, x in self.arrays if POSITION_ARRAY.match(key)]
        n_samples += self.facts["n samples"]
        n_channels += self.facts["n channels"]
        if spacing := self._spacing():
            steps = [(last - self._value("first", 0)) / spacing for last in self.facts["last"]]
            n_channels += [np.rint(n) + 1 for n in steps]
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
        found = []
        with contextlib.suppress(DataError):
            found = [find_coordinate(self.storage, self.dataset, role, [])]
        for _, key, item in self.arrays:
            if names.match(key):
                values = storage.read_values(item).ravel()
                calendar = storage.text_attribute(item, "calendar")
                found.append(Column(item.name.strip("/"), values, _unit(item), calendar))
        return [x for x in found if x is not None and len(x.values) == self.shape[axis]]

    def _stamps(self, axis: int) -> tuple[str, float, int, list] | None:
        for column in self._columns(axis, "time", TIME_ARRAY):
            try:
                if (stamps := _read_stamps(column)) is not None:
                    return stamps
            except (TypeError, ValueError) as error:
                self.notes.append(f"time stamps of {column.name} are not used: {error}")
        return None

    def _timing(self, axis: int) -> tuple[float, int | None, list[tuple[int, int, int]]]:
        """Sampling rate, start, and parts without a gap."""
        stamps, n = self._stamps(axis), self.shape[axis]
        name, rate, is_set = self.names.get("rate"), self._value("rate"), False
        if self.settings.sampling_rate != "auto":
            name, rate, is_set = "records.sampling_rate", float(self.settings.sampling_rate), True
        if rate is None and stamps is None:
            raise UnknownLayout(
                f"{self.path}: no attribute of {self.name} or of its groups is a sampling rate; "
                f"known are {', '.join(self.names.values()) or 'none'}; set records.sampling_rate"
            )
        if stamps is None:
            return rate, self._value("start"), [(0, 0, n)]
        own_name, own_rate, start, segments = stamps
        if rate is not None and abs(own_rate - rate) > AGREE * rate:
            text = f"time stamps {own_name} are at {own_rate:g} Hz, {name} is {rate:g} Hz"
            if not is_set:
                raise UnknownLayout(f"{self.path}: {text}; set records.sampling_rate")
            self.notes.append(f"{text}: gaps in the stamps are not seen")
            return rate, start, [(0, 0, n)]
        if missing := n - sum(segments[-1][1:]):
            self.notes.append(f"its last {missing:,} samples have no time and are left out")
        return rate or own_rate, start, segments

    def _spacing(self) -> float | None:
        resolution, multiplier = self._value("resolution"), self._value("multiplier", 1.0)
        return self._value("spacing", resolution and resolution * multiplier)

    def _distance(self, axis: int) -> np.ndarray | None:
        spacing = self._spacing()
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
        number = self._value("first number")
        first = self._value("first", 0) if number is None else number * spacing
        return first + spacing * np.arange(self.shape[axis])
