"""Headers of fibre records (time, channel): HDF5 of any manufacturer, other formats by DASCore."""

import contextlib
import re
import warnings
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from ..data import storage, times
from ..data.layouts import Column, find_coordinate
from ..data.times import NOT_A_TIME, SECOND, to_text
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
    ("n samples", "", "nt tracecount nsamples numberofsamples numsamples npts"),
    ("n channels", "", "numberofloci nx nchannels numchannels numberofchannels channelcount "
     "spatialpoints nloci"),
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
IN_BRACKETS = re.compile(r"\[(.*?)\]|\((.*?)\)")

SINCE_1980 = 10 * 365 * 86400  # s; smaller numbers count from a start, not from 1970
RATES = (1e-4, 1e6)  # Hz: light takes longer through 100 m; an interval in ns without unit is less
AGREE = 2e-3  # relative difference of sampling rates that are the same, as stamps jitter
LEAST_JUMP = 0.75  # samples
MAX_JUMPS = 0.1  # of all time stamps; more are jitter, or stamps of whole blocks
COMPARABLE = 0.1  # of the largest data set: another of this size may as well be the one meant
SMALL = 8  # values of a data set that is a named value
FAR = 3  # rank of a place that does not describe the samples
PICKLED = b"dascore"  # in the first bytes of a file that would execute code


class UnknownLayout(DataError):
    """Data set, order or rate can't be found in a file."""


@dataclass(frozen=True)
class Record:
    """Header of one file."""

    path: Path
    dataset: Any  # its name, or what `read_with_dascore` needs
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
    """Header of a file; DASCore reads what is not known here, unless a data set is chosen.

    Settings that are not ``auto`` are not looked for in it. DataError where it can't be read.
    """
    try:
        return _read_hdf5(path, settings)
    except UnknownLayout as error:
        if settings.dataset != "auto":
            raise
        try:
            return read_dascore_header(path, settings)
        except MissingPackage:
            raise DataError(f"{error}, or pip install dascore (extra 'das')") from None
        except DataError:
            raise error from None


def _normal(name: str) -> str:
    return re.sub(r"[\s_\-.:/]", "", IN_BRACKETS.sub("", name)).lower()


def _read(holder: Any, key: Any) -> Any:
    """Arrays of one value as that value; None for what is empty or can't be read."""
    try:
        value = holder[key]
    except (OSError, RuntimeError, TypeError, ValueError, KeyError):
        return None
    if isinstance(value, h5py.Empty) or (isinstance(value, np.ndarray) and not value.size):
        return None
    return value.flat[0] if isinstance(value, np.ndarray) and value.size == 1 else value


def _first_text(values: Any) -> str:
    """The first text among values, empty where there is none."""
    texts = (to_text(x).strip() for x in values if isinstance(x, (str, bytes)))
    return next(filter(None, texts), "")


def _unit(item: h5py.Dataset) -> str:
    return _first_text(_read(item.attrs, x) for x in item.attrs if _normal(x) in UNIT_NAMES)


def _facts(values: dict[str, tuple[Any, str]]) -> list[tuple[str, Any]]:
    """Quantities of `TABLE` among the named values of one place, each with its unit or ''."""
    found, known = [], {_normal(name): (name, *value) for name, value in values.items()}
    for quantity, kind, keys in TABLE:
        for key in filter(known.__contains__, keys.split()):
            name, raw, unit = known[key]
            brackets = IN_BRACKETS.search(name)
            units = [unit, *(brackets.groups() if brackets else ())]
            units += [known[key + end][1] for end in UNIT_NAMES if key + end in known]
            value = _convert(raw, _first_text(units), kind)
            if value is not None:
                found.append((quantity, value))
    return found


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
        if kind in ("Hz", "interval"):
            return number if RATES[0] <= number <= RATES[1] else None
    except (DataError, ValueError, TypeError, ArithmeticError):
        return None
    if kind == "m":
        number, unit = times.to_metres(number, unit or "m")
    return number if np.isfinite(number) and (not kind or unit == "m") else None


class Stamps(NamedTuple):
    """Time stamps since 1970, one a sample."""

    name: str
    sampling_rate: float
    start: int  # ns since 1970
    segments: list[tuple[int, int, int]]  # see `Record`


def _read_stamps(column: Column) -> Stamps | None:
    """None for no times since 1970; ValueError where they are others, or not evenly spaced."""
    found = _decode(column)
    index = np.flatnonzero((found != NOT_A_TIME) & ~times.far_times(found))  # samples with a time
    found = found[index]
    if len(index) < 2 or (found == found[0]).all():
        return None
    steps, past = np.diff(index), np.diff(found) / SECOND
    interval = float(np.median(past / steps))
    jumps = np.abs(past - steps * interval) >= LEAST_JUMP * interval
    if (past <= 0).any() or jumps.mean() > MAX_JUMPS:
        raise ValueError("they do not ascend evenly")
    edges = np.r_[0, np.flatnonzero(jumps) + 1, len(index)]  # of segments, among known times
    longest = int(np.argmax(np.diff(edges)))
    first, last = edges[longest], edges[longest + 1] - 1
    n = int(index[last] - index[first])
    rate = n * SECOND / int(found[last] - found[first])
    firsts, begins = index[edges[:-1]], found[edges[:-1]]
    begins[0] -= round(firsts[0] / rate * SECOND)  # back to the first sample
    firsts[0] = 0
    sizes = np.diff(firsts, append=index[-1] + 1)
    segments = np.stack([begins - begins[0], firsts, sizes], axis=1)
    segments = [tuple(row) for row in segments.tolist()]
    return Stamps(column.name, round_rate(rate, n), int(begins[0]), segments)


def _decode(column: Column) -> np.ndarray:
    """Times (n,) in ns since 1970, `NOT_A_TIME` where they are not written."""
    values, units = column.values, column.units.strip()
    if values.dtype.kind not in "iuf" or re.search(r"\s(since|after|from|ref|@)\s", units, re.I):
        return times.decode_times(values, units, column.calendar or "standard")
    written = np.isfinite(values) & (values != 0)
    low = float(np.quantile(values[written], 0.1)) if written.any() else 0.0
    unit = times.unit_factor("time", units) if units else int(times.epoch_unit(low))
    if low * unit / SECOND < SINCE_1980:
        raise ValueError("they do not count from a known time")
    return np.where(written, times.decode_numbers(values, unit, 0), NOT_A_TIME)


def round_rate(rate: float, n: int) -> float:
    """A rate in Hz, rounded where that makes no sample of difference over n samples."""
    rounds = (round(rate), round(rate, 2))
    return next((x for x in rounds if x and abs(1 - rate / x) * n < 0.5), rate)


def _read_hdf5(path: Path, settings: RecordsSettings) -> Record:
    """Header of an HDF5 file; UnknownLayout where it lacks what a record needs."""
    try:
        with h5py.File(path, "r") as file:
            return _Reader(path, storage.Storage(path, file), settings).record()
    except (OSError, RuntimeError, KeyError) as error:
        kind = DataError if h5py.is_hdf5(path) else UnknownLayout
        raise kind(f"{path}: {storage.why_closed(error)}") from None


class _Reader:
    """Finds the parts of one file's header, which depend on each other."""

    def __init__(self, path: Path, place: storage.Storage, settings: RecordsSettings):
        self.path, self.storage, self.settings = path, place, settings
        self.dataset = self._find_dataset()
        self.name, self.shape = self.dataset.name.strip("/"), self.dataset.shape
        self.notes: list[str] = []
        self.facts: dict[str, list[Any]] = defaultdict(list)  # values by quantity, nearest first
        places = self._named_values()
        for name in sorted(places, key=self._rank):
            for quantity, value in _facts(places[name]):
                if quantity != "unit" or self._rank(name)[0] < FAR:
                    self.facts[quantity].append(value)
        lines = [
            (self._rank(name.rpartition("/")[0]), _normal(name.rpartition("/")[2]), item)
            for name, item in place.arrays.items()
            if item.size in self.shape and max(item.shape) == item.size > 1
        ]
        # Arrays of one dimension as long as a side, and their names, nearest first
        self.arrays = [
            (name, item)
            for rank, name, item in sorted(lines, key=lambda line: line[:2])
            if rank[0] < FAR and storage.is_variable(item)
        ]

    def _named_values(self) -> dict[str, dict[str, tuple[Any, str]]]:
        """Values and units by place and name: attributes of groups, and small data sets."""
        groups: list[str] = ["/"]
        self.storage.root.visit(groups.append)
        items = {name.strip("/"): self.storage.root.get(name) for name in groups}
        found = {
            name: {key: (_read(item.attrs, key), "") for key in item.attrs}
            for name, item in items.items()
            if isinstance(item, h5py.Group) or name == self.name
        }
        for name, item in self.storage.arrays.items():
            folder, _, last = name.rpartition("/")
            if 0 < (item.size or 0) <= SMALL:
                found.setdefault(folder, {}).setdefault(last, (_read(item, ()), _unit(item)))
        return found

    def _rank(self, place: str) -> tuple:
        """Distance of a group, or of the data set itself, from the samples."""
        if place == self.name:
            return (0,)
        if not place or self.name.startswith(f"{place}/"):
            return (1, -len(place))
        return (2,) if place == "header" else (FAR, place)

    def _find_dataset(self) -> h5py.Dataset:
        """The data set that is set, or the largest numeric one with two dimensions."""
        chosen, arrays = self.settings.dataset, self.storage.arrays.values()
        arrays = [x for x in arrays if x.dtype.kind in "iuf" and x.size]
        tables = sorted((x for x in arrays if x.ndim == 2), key=lambda x: -x.size)
        found = [x for x in tables if chosen.strip("/") == x.name.strip("/")]
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
        labels = [_normal(name) for name in storage.dimension_names(self.dataset)]
        for words in [labels, *self.facts["dimensions"]]:
            in_time = [axis for axis, word in enumerate(words) if TIME_WORDS.match(word)]
            along = [axis for axis, word in enumerate(words) if CHANNEL_WORDS.match(word)]
            if len(words) == 2 and 1 in (len(in_time), len(along)):
                return in_time[0] if len(in_time) == 1 else 1 - along[0]
        n_samples = [x.size for name, x in self.arrays if TIME_ARRAY.match(name)]
        n_channels = [x.size for name, x in self.arrays if POSITION_ARRAY.match(name)]
        n_samples += self.facts["n samples"]
        n_channels += self.facts["n channels"]
        if spacing := self._spacing():
            ends = [last - self._value("first", 0) + spacing for last in self.facts["last"]]
            n_channels += [np.rint(x / spacing) for x in (*ends, *self.facts["length"])]
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
        for name, item in self.arrays:
            if names.match(name):
                values = storage.read_values(item).ravel()
                calendar = storage.text_attribute(item, "calendar")
                found.append(Column(item.name.strip("/"), values, _unit(item), calendar))
        return [x for x in found if x is not None and len(x.values) == self.shape[axis]]

    def _stamps(self, axis: int) -> Stamps | None:
        for column in self._columns(axis, "time", TIME_ARRAY):
            try:
                if (stamps := _read_stamps(column)) is not None:
                    return stamps
            except (TypeError, ValueError) as error:
                self.notes.append(f"time stamps of {column.name} are not used: {error}")
        return None

    def _timing(self, axis: int) -> tuple[float, int | None, list[tuple[int, int, int]]]:
        """Sampling rate, start, and parts without a gap."""
        stamps, whole = self._stamps(axis), [(0, 0, self.shape[axis])]
        is_set = self.settings.sampling_rate != "auto"
        rate = float(self.settings.sampling_rate) if is_set else self._value("rate")
        if rate is None and stamps is None:
            known = ", ".join(key for key, values in self.facts.items() if values)
            raise UnknownLayout(
                f"{self.path}: no attribute of {self.name} or of its groups is a sampling rate; "
                f"known are {known or 'none'}; set records.sampling_rate"
            )
        if stamps is None:
            return rate, self._value("start"), whole
        if rate is not None and abs(stamps.sampling_rate - rate) > AGREE * rate:
            if is_set:  # gaps in the stamps are not used
                return rate, stamps.start, whole
            raise UnknownLayout(
                f"{self.path}: time stamps {stamps.name} are at {stamps.sampling_rate:g} Hz, the "
                f"sampling rate is {rate:g} Hz; set records.sampling_rate"
            )
        if missing := self.shape[axis] - sum(stamps.segments[-1][1:]):
            self.notes.append(f"its last {missing:,} samples have no time and are left out")
        return rate or stamps.sampling_rate, stamps.start, stamps.segments

    def _spacing(self) -> float | None:
        resolution = self._value("resolution")
        return self._value("spacing", resolution and resolution * self._value("multiplier", 1))

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


def read_dascore_header(path: Path, settings: RecordsSettings) -> Record:
    """Header of a file of evenly spaced (time, channel), as TDMS and those of Febus."""
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
    numbers = np.arange(n_channels)
    unit, sample_unit = (
        "" if quantity is None else re.sub(r"^1(\.0)? ", "", str(quantity))
        for quantity in (place.units, found.data_units)
    )
    distance, unit = times.to_metres(place.min + place.step * numbers, unit or "m")
    if settings.channel_spacing != "auto":
        distance = settings.channel_spacing * numbers
    elif unit != "m" or "distance" not in found.dim_tuple:
        distance = None
    return Record(
        path, tuple(kind), axis, n_channels,
        rate if settings.sampling_rate == "auto" else settings.sampling_rate,
        origin if origin > SINCE_1980 * SECOND else None, [(0, 0, n_samples)],
        distance, sample_unit, notes=(f"read with DASCore as {' '.join(kind)}",),
    )  # fmt: skip


def read_with_dascore(path: Path, kind: tuple[str, str], first: int, stop: int) -> np.ndarray:
    """Samples `first` to before `stop` of all channels, (n, C), of a format and its version.

    The file is read as a whole: by time, some formats give other samples than asked for.
    """
    return _read_whole(path, kind, path.stat().st_mtime_ns)[first:stop]


@lru_cache(maxsize=1)
def _read_whole(path: Path, kind: tuple[str, str], changed: int) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return need("dascore").read(path, *kind)[0].transpose("time", ...).data
