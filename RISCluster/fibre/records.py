"""Headers of fibre records: HDF5 files of (time, channel) of any manufacturer."""

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from ..data import storage, times
from ..data.layouts import Column, find_coordinate
from ..data.storage import why_closed
from ..errors import DataError
from ..settings import RecordsSettings
from .clock import AGREE, SECOND, SINCE_1980, Clock, Segment, read_clock

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
    ("start of all", "time", "acquisitionstarttime measurementstarttime savingstartgpstime "
     "acquisitionstart"),
    ("end", "time", "partendtime end endtime stoptime fileendgpstime acquisitionendtime"),
    ("duration", "s", "streamtime duration filelength recordlength"),
    ("n samples", "", "nt tracecount nsamples numberofsamples numsamples npts"),
    ("n channels", "", "numberofloci nx nchannels numchannels numberofchannels channelcount "
     "spatialpoints nloci"),
    ("spacing", "m", "dxm dx spatialsamplinginterval spatialsampling channelspacing "
     "spatialinterval deltax spatialresolution"),
    ("multiplier", "", "fibrelengthmultiplier"),
    ("first", "m", "sensingrangestart startdistance positionstart startposition startlocusindex"),
    ("last", "m", "sensingrangeend stopdistance positionend stopposition"),
    ("length", "m", "measurelength measurementlength measuredlength fiberlength"),
    ("unit", "text", "unit units rawdataunit dataphysicalunit dataproductunits attrsdataunits"),
    ("dimensions", "words", "dims dimensions dimensionnames dasdimensions arraydimensions"),
)  # fmt: skip
KEYS = {
    key: (quantity, unit, (row, place))
    for row, (quantity, unit, names) in enumerate(TABLE)
    for place, key in enumerate(names.split())
}
TIMES = ["gpstime", "rawdatatime", "fbedatatime", "dastimearray", "time", "times", "timestamp",
         "timestamps", "coordtime", "t", "posixtime"]  # fmt: skip
TIME_ENDS = ("time", "times", "stamp", "stamps", "timearray", "stampsunix")
POSITIONS = ["distance", "distances", "coorddistance", "position", "positions", "depth", "channels"]
TIME_WORDS = re.compile(r"time|t$|sample")
CHANNEL_WORDS = re.compile(r"dist|chan|loc[iu]|space|spatial|fib|pos|offset|depth|x$|trace")
UNIT_NAMES = ("units", "unit", "uom")
IN_BRACKETS = re.compile(r"\[(.*?)\]|\((.*?)\)")
NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-zµμ'%][^\d:]*)?")
RATES = (1e-4, 1e6)  # Hz: light takes longer through 100 m; an interval in ns without unit is less
FEW_SAMPLES = 24  # at most as many channels, not samples, where nothing else says which they are
COMPARABLE = 0.1  # of the largest data set: another of this size may as well be the one meant
SMALL = 8  # values of a data set that is a named value


class UnknownLayout(DataError):
    """Data set, order, rate or start can't be found in a file."""


@dataclass(frozen=True)
class Record:
    """Header of one file: `segments` are without a gap, `notes` assumptions and contradictions."""

    path: Path
    dataset: str
    time_axis: int
    n_samples: int
    n_channels: int
    sampling_rate: float  # Hz
    segments: list[Segment]
    start_of_all: bool  # the start may be that of a measurement of many files
    distance: np.ndarray | None  # (channels,), m along the fibre
    unit: str  # of the samples, empty where unknown
    notes: list[str]

    @property
    def start(self) -> int | None:
        """Time of the first sample, ns since 1970 in UTC."""
        return self.segments[0].start


def read_record(path: Path, settings: RecordsSettings) -> Record:
    """Header of one file; settings that are not ``auto`` are not looked for in it.

    DataError where the file can't be opened, holds no such data set, or lacks a rate or an order.
    """
    try:
        with h5py.File(path, "r") as file:
            return _Reader(path, storage.Storage(path, file), settings).record()
    except OSError as error:
        raise DataError(f"{path}: {why_closed(path, error)}") from None
    except (RuntimeError, KeyError) as error:
        reason = storage.reason_of(error)
        raise DataError(f"{path}: can't be read as HDF5 ({reason}): copy it again") from None


def _find_dataset(path: Path, arrays: list[h5py.Dataset], chosen: str) -> h5py.Dataset:
    """The data set that is set, or the largest numeric one with two dimensions."""
    arrays = [item for item in arrays if item.dtype.kind in "iuf" and item.size]
    arrays.sort(key=lambda item: -item.size)
    found = [item for item in arrays if item.ndim == 2 and min(item.shape) > 1]
    if not found:  # one channel
        found = [item for item in arrays if item.ndim == 2 and item.size == arrays[0].size]
    there = ", ".join(f"{x.name.lstrip('/')} {x.shape}" for x in (found or arrays)[:10]) or "none"
    if chosen != "auto":
        found = [x for x in arrays if x.ndim == 2 and x.name.strip("/") == chosen.strip("/")]
    if not found:
        name = f"'{chosen}' is no" if chosen != "auto" else "no"
        raise UnknownLayout(
            f"{path}: {name} numeric data set of (time, channel) in this file; it has {there}; set "
            "records.dataset"
        )
    if len(found) > 1 and found[1].size >= COMPARABLE * found[0].size:
        raise UnknownLayout(
            f"{path}: which data set is meant? set records.dataset to one of {there}"
        )
    storage.require_readable(found[0])
    return found[0]


# ---- named values -------------------------------------------------------------------------------


class Fact(NamedTuple):
    """A named value of a file; `value` is in the unit of `TABLE`, None where it has none such."""

    order: tuple  # the nearer to the samples the lower; then as in `TABLE`
    quantity: str
    name: str
    value: Any  # times in ns since 1970
    raw: Any = None
    unit: str = ""


NOTHING = Fact((), "", "", None)


def _facts(rank: tuple, values: dict[str, tuple[Any, str]]) -> list[Fact]:
    """Named values of one place, each with a unit or an empty one."""
    texts = {_normal(name): value for name, (value, _) in values.items()}
    found = []
    for name, (raw, unit) in values.items():
        key, brackets = _normal(name), IN_BRACKETS.search(name)
        beside = [texts.get(key + end) for end in UNIT_NAMES]
        units = [unit, *(brackets.groups() if brackets else ()), *beside]
        units = [times.to_text(text).strip() for text in units if isinstance(text, (str, bytes))]
        unit = next(filter(None, units), "")
        quantity, to, place = KEYS.get(key, ("", "text", ()))
        if raw is not None:
            found.append(Fact((rank, place), quantity, name, _convert(raw, unit, to), raw, unit))
    return found


def _convert(raw: Any, unit: str, to: str) -> Any:
    """Value in a unit of `TABLE`; None where it is none such, or in another unit."""
    text = times.to_text(raw).strip() if isinstance(raw, (str, bytes)) else ""
    if to == "text":
        return text or None
    if to == "words":
        words = re.split(r"[\s,;x]+", text.strip("'\"()[]")) if text else np.ravel(raw)
        return [_normal(times.to_text(word).strip(" '\"()[]")) for word in words]
    if to == "time" and re.search(r"\d[-/T]\d", text):
        text = re.sub(r"\(.*?\)", "", text).strip()  # day or month first, where only one can be
        text = re.sub(r"^(1[3-9]|[23]\d)/(\d\d?)/(\d{4})", r"\3-\2-\1", text)
        return times.parse_time(re.sub(r"^(\d\d?)/(1[3-9]|[23]\d)/(\d{4})", r"\3-\1-\2", text))
    if found := NUMBER.fullmatch(text):
        raw, unit = float(found[1]), (found[2] or unit).strip()
    if not isinstance(raw, (int, float, np.number)) or not np.isfinite(raw):
        return None
    try:
        if to == "time":
            return _epoch_time(raw, unit)
        if to == "s":
            return float(raw) * times.seconds_factor(unit)
        if to in ("Hz", "interval"):
            seconds = to == "interval" and float(raw) * times.seconds_factor(unit)
            rate = 1 / seconds if seconds else float(raw) * times.frequency_factor("", unit)
            return rate if RATES[0] <= rate <= RATES[1] else None
    except (DataError, ValueError, TypeError, OverflowError):
        return None
    metres, unit = times.to_metres(np.float64(raw), unit or "m")
    return float(metres) if unit == "m" or not to else None


def _epoch_time(value: float, unit: str) -> int | None:
    """Nanoseconds since 1970; None also for a number that counts from something else."""
    try:
        time = int(times.decode_times(np.array([value]), unit)[0])
    except ValueError:
        time = times.parse_time(value)
    return time if time is not None and time > SINCE_1980 * SECOND else None


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


def _attributes(item: h5py.Dataset | h5py.Group) -> dict[str, tuple[Any, str]]:
    return {name: (_value(item.attrs, name), "") for name in item.attrs}


def _unit(item: h5py.Dataset) -> str:
    """Unit in the attributes of a data set, empty where it has none."""
    texts = (_value(item.attrs, name) for name in item.attrs if _normal(name) in UNIT_NAMES)
    return next((times.to_text(x).strip() for x in texts if isinstance(x, (str, bytes))), "")


# ---- one file -----------------------------------------------------------------------------------


class _Reader:
    """Finds the parts of one file's header, which depend on each other."""

    def __init__(self, path: Path, place: storage.Storage, settings: RecordsSettings):
        arrays = place.arrays
        dataset = _find_dataset(path, list(arrays.values()), settings.dataset)
        self.path, self.storage, self.settings = path, place, settings
        self.dataset, self.name, self.shape = dataset, dataset.name.strip("/"), dataset.shape
        self.notes: list[str] = []
        holders = {"": _attributes(place.root)}
        place.root.visititems(
            lambda name, item: (
                holders.update({name: _attributes(item)}) if isinstance(item, h5py.Group) else None
            )
        )
        self.arrays = []  # of one dimension, as long as a side
        for name, item in arrays.items():
            folder, _, last = name.rpartition("/")
            if 0 < (item.size or 0) <= SMALL:
                holders.setdefault(folder, {}).setdefault(last, (_value(item, ()), _unit(item)))
            is_line = item.size in self.shape and max(item.shape) == item.size > 1
            if is_line and self._rank(folder) < (2,) and storage.is_variable(item):
                self.arrays.append((self._rank(folder), _normal(last), item))
        self.facts = _facts((0,), _attributes(dataset))
        self.facts += [x for name, held in holders.items() for x in _facts(self._rank(name), held)]

    def _rank(self, group: str) -> tuple:
        """Distance of a group from the samples; (2,) for those that do not hold them."""
        is_above = not group or self.name.startswith(f"{group}/")
        return (1, not is_above, -len(group)) if is_above or group == "header" else (2,)

    def find(self, quantity: str) -> list[Fact]:
        """Values of a quantity, the nearest first."""
        found = [x for x in self.facts if x.quantity == quantity and x.value is not None]
        return sorted(found, key=lambda fact: fact.order)

    def first(self, quantity: str) -> Fact:
        """The nearest value of a quantity, or `NOTHING`."""
        return next(iter(self.find(quantity)), NOTHING)

    def note(self, text: str, key: str) -> None:
        """Note what is assumed, and the setting for another value."""
        self.notes.append(f"{text}; set records.{key} if it is wrong")

    def record(self) -> Record:
        """The whole header."""
        axis = self._time_axis()
        unit = next((fact.value for fact in self.find("unit") if fact.order[0] < (2,)), "")
        clock = self._clock(axis)
        if clock is not None and clock.name in self.dataset.file:  # as near as the samples
            self.facts += _facts((0,), _attributes(self.dataset.file[clock.name]))
        start, of_all = self._start(clock)
        n_samples, n_channels = self.shape[axis], self.shape[1 - axis]
        clock, rate = self._rate(clock, n_samples)
        segments = [Segment(start, 0, n_samples)]
        if clock is not None:
            segments = self._without_unwritten(clock.segments(rate, start), clock.stop, axis)
        self._check_times(clock, segments, rate)
        return Record(
            self.path, self.name, axis, n_samples, n_channels, rate,
            segments, of_all, self._distance(1 - axis), unit, list(dict.fromkeys(self.notes)),
        )  # fmt: skip

    def _time_axis(self) -> int:
        if self.settings.order != "auto":
            return 0 if self.settings.order == "time,channel" else 1
        labels = [list(map(_normal, storage.dimension_names(self.dataset)))]
        for words in labels + [fact.value for fact in self.find("dimensions")]:
            in_time = [axis for axis, word in enumerate(words) if TIME_WORDS.match(word)]
            along = [axis for axis, word in enumerate(words) if CHANNEL_WORDS.match(word)]
            if len(words) == 2 and 1 in (len(in_time), len(along)):
                return in_time[0] if len(in_time) == 1 else 1 - along[0]
        for size, is_time in self._lengths() if self.shape[0] != self.shape[1] else ():
            if size in self.shape:
                return self.shape.index(size) if is_time else 1 - self.shape.index(size)
        few, many = sorted(self.shape)
        if few <= FEW_SAMPLES and many >= 10 * few:  # no file is that short
            axis = self.shape.index(many)
            order = ("time,channel", "channel,time")[axis]
            self.note(f"{order} is assumed by its shape {self.shape}", "order")
            return axis
        raise UnknownLayout(
            f"{self.path}: {self.name} is {self.shape[0]:,} x {self.shape[1]:,}, and nothing in "
            "the file says which is time; set records.order to time,channel or channel,time"
        )

    def _lengths(self) -> list[tuple[int, bool]]:
        """Lengths of a side by the file, and whether that side is time."""
        found = [(x.size, True) for _, key, x in self.arrays if key.endswith((*TIMES, *TIME_ENDS))]
        found += [(item.size, False) for _, key, item in self.arrays if key in POSITIONS]
        found += [(int(fact.value), False) for fact in self.find("n channels")]
        found += [(int(fact.value), True) for fact in self.find("n samples")]
        start, end, first = (self.first(name).value for name in ("start", "end", "first"))
        spans = [fact.value for fact in self.find("duration")]
        spans += [(end - start) / SECOND] if None not in (start, end) else []
        lengths = [fact.value for fact in self.find("length")]
        lengths += [fact.value - first for fact in self.find("last") if first is not None]
        spacings = [fact.value for fact in self.find("spacing") if fact.value]
        for more in (0, 1):
            found += [(round(n / x) + more, False) for x in spacings for n in lengths]
            found += [(round(n * x.value) + more, True) for x in self.find("rate") for n in spans]
        return found

    def _along(
        self, axis: int, role: str, names: list[str], ends: tuple[str, ...] = ()
    ) -> list[Column]:
        """Coordinates of an axis, the nearest and best first."""
        found = []
        with contextlib.suppress(DataError):
            found = [find_coordinate(self.storage, self.dataset, role, [])]
        arrays = [entry for entry in self.arrays if entry[2].size == self.shape[axis]]
        named = [(rank, names.index(key), item) for rank, key, item in arrays if key in names]
        named.sort(key=lambda entry: entry[:2])
        named += [entry for entry in arrays if ends and entry[1].endswith(ends)]
        for *_, item in named:
            if (values := _value(item, ())) is not None:
                calendar = storage.text_attribute(item, "calendar")
                found.append(Column(item.name, values.ravel(), _unit(item), calendar))
        return [x for x in found if x is not None and len(x.values) == self.shape[axis]]

    def _clock(self, axis: int) -> Clock | None:
        for stamps in self._along(axis, "time", TIMES, TIME_ENDS):
            try:
                if (clock := read_clock(*stamps)) is not None:
                    if clock.origin is not None and stamps.values.dtype.kind in "iuf":
                        self._note_size(clock.name, np.nanmedian(stamps.values), stamps.units)
                    return clock
            except (TypeError, ValueError) as error:
                self.notes.append(f"its time stamps are not used: {error}")
        return None

    def _start(self, clock: Clock | None) -> tuple[int | None, bool]:
        """Time of the first sample where a clock does not give it, and whether of many files."""
        start, whole = self.first("start"), self.first("start of all")
        is_known = self.settings.starttime != "auto"
        if is_known or (clock is not None and clock.origin is not None):
            return start.value, False
        if start.value is not None:
            self._note_size(start.name, start.raw, start.unit)
            return start.value, False
        if whole.value is not None:
            self.note(f"no start of its own but {whole.name}", "starttime")
            self._note_size(whole.name, whole.raw, whole.unit)
            return whole.value, True
        for fact in self.facts:
            text = times.to_text(fact.raw).strip() if fact.quantity == "start" else ""
            number = NUMBER.fullmatch(text)
            is_time = float(number[1]) > SINCE_1980 if number else text.lower() not in ("", "nan")
            if is_time and np.ndim(fact.raw) == 0:
                raise UnknownLayout(
                    f"{self.path}: its start '{text}' is no date from 1677 to 2262 in ISO 8601; "
                    "correct it, or set records.starttime"
                )
        return None, False

    def _note_size(self, name: str, raw: Any, unit: str) -> None:
        """Note milli- and microseconds that are known by the size of a number alone."""
        number = NUMBER.fullmatch(times.to_text(raw).strip())
        length = times.epoch_unit(float(number[1])) if number and not (number[2] or unit) else 0
        if guess := {10**6: "milliseconds", 10**3: "microseconds"}.get(length):
            self.note(
                f"{name} has no unit, {guess} since 1970 are assumed by its size", "starttime"
            )

    def _rate(self, clock: Clock | None, n_samples: int) -> tuple[Clock | None, float]:
        """Clock if it is used, and sampling rate."""
        stated = [(fact.name, fact.value) for fact in self.find("rate")]
        if self.settings.sampling_rate != "auto":
            stated = [("records.sampling_rate", float(self.settings.sampling_rate))]
        if clock is not None and not clock.has_unit:  # it is the one that fits
            scaled = [clock._replace(times=clock.times * unit) for unit in (1, 1e-3, 1e-6, 1e-9)]
            clock = next((x for x in scaled if any(x.agrees(rate) for _, rate in stated)), clock)
            if not stated:
                self.note(f"{clock.name} has no unit, seconds are assumed", "sampling_rate")
        if clock is not None:
            fits = [rate for _, rate in stated if clock.agrees(rate)]
            rate = fits[0] if fits else clock.rate()
            if rate is not None and (fits or clock.has_unit or not stated):
                self._compare_rates((clock.name, rate), *stated[:1])
                return clock, rate
            self.notes.append(
                f"{clock.name} does not ascend, or has no unit and contradicts the sampling rate: "
                "its time stamps are not used"
            )
        if stated:  # other groups may be other records
            near = sum(fact.order[0] < (2,) for fact in self.find("rate"))
            self._compare_rates(*stated[: max(1, near)])
            return None, stated[0][1]
        start, end = self.first("start").value, self.first("end").value
        if None not in (start, end) and start < end:
            rate = (n_samples - 1) * SECOND / (end - start)
            text = f"{rate:g} Hz is taken from start, end and {n_samples:,} samples"
            self.note(f"no sampling rate: {text}", "sampling_rate")
            return None, rate
        names = ", ".join(list(dict.fromkeys(fact.name for fact in self.facts))[:30])
        raise UnknownLayout(
            f"{self.path}: no attribute of {self.name} or of its groups is a sampling rate; "
            f"there are {names or 'none'}; set records.sampling_rate"
        )

    def _compare_rates(self, taken: tuple[str, float], *others: tuple[str, float]) -> None:
        name, rate = taken
        for other, found in [x for x in others if abs(x[1] - rate) > AGREE * rate][:1]:
            text = f"{other} is {found:g} Hz, but {name} {rate:g} Hz, which is taken"
            self.note(text, "sampling_rate")

    def _check_times(self, clock: Clock | None, segments: list[Segment], rate: float) -> None:
        """Note a start and an end that contradict the time stamps, or the length."""
        start, end, last = self.first("start"), self.first("end"), segments[-1]
        used = clock is not None and clock.origin is not None and self.settings.starttime == "auto"
        if used and start.value is not None and abs(start.value - segments[0].start) > SECOND:
            stated, found = times.nanoseconds_to_iso([start.value, segments[0].start])
            text = f"{start.name} is {stated}, but {clock.name} begins {found}, which is taken"
            self.note(text, "starttime")
        if last.start is not None and end.value is not None:
            length = last.n_samples / rate
            away = (end.value - last.start) / SECOND - length
            slack = max(2 / rate, AGREE * length)
            if not -slack - 1 / rate <= away <= slack:
                self.notes.append(
                    f"{end.name} is {abs(away):g} s {'later' if away > 0 else 'earlier'} than its "
                    "start and its samples make, which are taken: samples may be missing in it"
                )

    def _without_unwritten(self, segments: list[Segment], stop: int, axis: int) -> list[Segment]:
        """Without samples at the end that have neither a time nor a value but 0."""
        missing = self.shape[axis] - stop
        if not missing or np.any(self.dataset[-1] if axis == 0 else self.dataset[:, -1]):
            return segments
        self.notes.append(f"its last {missing:,} samples were never written, they are left out")
        last = segments[-1]
        return [*segments[:-1], last._replace(n_samples=last.n_samples - missing)]

    def _distance(self, axis: int) -> np.ndarray | None:
        spacing, first = self.first("spacing"), self.first("first")
        metres, start = spacing.value, first.value or 0.0
        if self.settings.channel_spacing != "auto":
            metres = float(self.settings.channel_spacing)
        else:
            for name, values, unit, _ in self._along(axis, "channel", POSITIONS):
                if name.endswith("channels"):  # their numbers
                    values, unit = values * (metres or np.nan), "m"
                values, unit = times.to_metres(values.astype(np.float64), unit or "m")
                if unit == "m" and np.isfinite(values).all() and (np.diff(values) > 0).all():
                    return values
            if metres and _normal(spacing.name) == "spatialresolution":  # along another fibre
                metres *= self.first("multiplier").value or 1.0
        if metres is None:
            return None
        start *= metres if _normal(first.name) == "startlocusindex" else 1.0
        return start + metres * np.arange(self.shape[axis])
