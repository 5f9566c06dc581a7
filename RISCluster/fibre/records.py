"""Headers of fibre records: HDF5 files of (time, channel) of any maker."""

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from ..data import storage, times
from ..data.storage import why_closed
from ..errors import DataError
from ..io import explain_missing_filter
from ..settings import RecordsSettings
from .clock import AGREE, SECOND, SINCE_1980, Clock, Segment, guessed_unit, read_clock

# Units of quantities, and their names in lower case without blanks, signs and units in brackets.
# The nearest to the samples counts, of one place the first.
NAMES = {
    "rate": ("Hz", "outputdatarate datarate fs samplingrate samplerate samplingfrequency "
             "samplingfreq acquisitionsamplerate acquisitionsamplingrate"),
    "interval": ("s", "dt delta dts samplinginterval sampleinterval timesamplinginterval "
                 "samplingperiod timestep deltat"),
    "start": ("time", "partstarttime start starttime t0 filestartgpstime iso8601timestamp "
              "gpstimestamp begintime startdatetime recordingstarttime timestamp time "
              "filestartcomputertime cputimestamp rawdatatime"),
    "start of all": ("time", "acquisitionstarttime measurementstarttime savingstartgpstime "
                     "acquisitionstart"),
    "end": ("time", "partendtime end endtime stoptime fileendgpstime acquisitionendtime"),
    "duration": ("s", "streamtime duration filelength recordlength"),
    "n samples": ("", "nt tracecount nsamples numberofsamples numsamples npts"),
    "n channels": ("", "numberofloci nx nchannels numchannels numberofchannels channelcount "
                   "spatialpoints nloci"),
    "spacing": ("m", "dxm dx spatialsamplinginterval spatialsampling channelspacing "
                "spatialinterval deltax spatialresolution"),
    "multiplier": ("", "fibrelengthmultiplier"),
    "first": ("m", "sensingrangestart startdistance positionstart startposition startlocusindex"),
    "last": ("m", "sensingrangeend stopdistance positionend stopposition"),
    "length": ("m", "measurelength measurementlength measuredlength fiberlength"),
    "unit": ("text", "unit units rawdataunit dataphysicalunit dataproductunits attrsdataunits"),
    "dimensions": ("words", "dims dimensions dimensionnames dasdimensions arraydimensions"),
}  # fmt: skip
TIMES = ["gpstime", "rawdatatime", "fbedatatime", "dastimearray", "time", "times", "timestamp",
         "timestamps", "coordtime", "t", "posixtime"]  # fmt: skip
TIME_ENDS = ("time", "times", "stamp", "stamps", "timearray", "stampsunix")
POSITIONS = ["distance", "distances", "coorddistance", "position", "positions", "depth", "channels"]
TIME_WORDS = re.compile(r"time|t$|sample")
CHANNEL_WORDS = re.compile(r"dist|chan|loc[iu]|space|spatial|fib|pos|offset|depth|x$|trace")
UNIT_NAMES = ("units", "unit", "uom")
IN_BRACKETS = re.compile(r"\[(.*?)\]|\((.*?)\)")
NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-zµμ'%][^\d:]*)?")
PER_SECOND = re.compile(r"(s|samples?|sa)/s(ec|econd)?|sps", re.IGNORECASE)
RATES = (1e-4, 1e6)  # Hz: light takes longer through 100 m; an interval in ns without unit is less
FEW_SAMPLES = 24  # at most as many channels, not samples, where nothing else says which they are
COMPARABLE = 0.1  # of the largest data set: another of this size may as well be the one meant


@dataclass(frozen=True)
class Record:
    """Header of one file: `segments` are without a gap, `notes` assumptions and contradictions."""

    path: Path
    dataset: str
    dtype: np.dtype
    time_axis: int
    n_samples: int
    n_channels: int
    sampling_rate: float  # Hz
    estimated: bool  # from time stamps alone
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

    Raises DataError where the file can't be opened, holds no such data set, or lacks a rate or an
    order.
    """
    try:
        with h5py.File(path, "r") as file:
            dataset = _find_dataset(path, file, settings.dataset)
            if reason := explain_missing_filter(dataset):
                name = dataset.name.lstrip("/")
                raise DataError(f"{path}: {name} needs another package: {reason}")
            if reason := storage.why_hardly_written(dataset):
                raise DataError(f"{path}: {reason}; wait until it is whole, or copy it again")
            for name, offset, size in dataset.external or ():
                raw = Path(os.fsdecode(name))
                least = offset + (size if size < 2**62 else 0)
                if not raw.exists() or raw.stat().st_size < least:
                    raise DataError(
                        f"{path}: its samples are in the file {raw}, which is missing or too "
                        "short; copy it as well, and run in its folder if its name has none"
                    )
            return _Reader(path, dataset, settings).record()
    except OSError as error:
        raise DataError(f"{path}: {why_closed(path, error)}") from None
    except (RuntimeError, KeyError) as error:
        reason = storage.reason_of(error)
        raise DataError(f"{path}: can't be read as HDF5 ({reason}): copy it again") from None


def _find_dataset(path: Path, file: h5py.File, chosen: str) -> h5py.Dataset:
    """The data set that is set, or the largest numeric one with two dimensions."""
    arrays = storage.Storage(path, file).arrays.values()
    arrays = [item for item in arrays if item.dtype.kind in "iuf" and item.size]
    arrays.sort(key=lambda item: -item.size)
    found = [item for item in arrays if item.ndim == 2 and min(item.shape) > 1]
    if not found:  # one channel
        found = [item for item in arrays if item.ndim == 2 and item.size == arrays[0].size]
    there = ", ".join(f"{x.name.lstrip('/')} {x.shape}" for x in (found or arrays)[:10]) or "none"
    if chosen != "auto":
        named = [item for item in arrays if item.name.strip("/") == chosen.strip("/")]
        found = [item for item in named if item.ndim == 2]
    if not found:
        name = f"'{chosen}' is no" if chosen != "auto" else "no"
        raise DataError(
            f"{path}: {name} numeric data set of (time, channel) in this file; it has {there}; set "
            "records.dataset"
        )
    if len(found) > 1 and found[1].size >= COMPARABLE * found[0].size:
        raise DataError(f"{path}: which data set is meant? set records.dataset to one of {there}")
    return found[0]


# ---- named values -------------------------------------------------------------------------------


class Fact(NamedTuple):
    """A named value of a file, with its unit or an empty one."""

    rank: int  # the nearer to the samples the lower
    key: str  # the name as in `NAMES`
    name: str
    value: Any
    unit: str

    def convert(self, to: str) -> Any:
        """Value in a unit of `NAMES`, None where it has none such: times in ns since 1970."""
        value, unit = self.value, self.unit
        text = times.to_text(value).strip() if isinstance(value, (str, bytes)) else None
        if to == "text":
            return text or None
        if to == "words":
            words = value if text is None else re.split(r"[\s,;x]+", text.strip("'\"()[]"))
            return [times.to_text(word).strip(" '\"()[]").lower() for word in np.ravel(words)]
        if to == "time" and text and re.search(r"\d[-/T]\d", text):
            text = re.sub(r"\(.*?\)", "", text).strip()  # day or month first, where only one can be
            text = re.sub(r"^(1[3-9]|[23]\d)/(\d\d?)/(\d{4})", r"\3-\2-\1", text)
            return times.parse_time(re.sub(r"^(\d\d?)/(1[3-9]|[23]\d)/(\d{4})", r"\3-\1-\2", text))
        if text and (found := NUMBER.fullmatch(text)):
            value, unit = float(found[1]), (found[2] or unit).strip()
        if not isinstance(value, (int, float, np.integer, np.floating)) or not np.isfinite(value):
            return None
        try:
            return _epoch_time(value, unit) if to == "time" else float(value) * _factor(unit, to)
        except (DataError, ValueError, TypeError, OverflowError):  # of another unit
            return None


def _factor(unit: str, to: str) -> float | None:
    if to == "Hz":
        return 1.0 if PER_SECOND.fullmatch(unit) else times.frequency_factor("", unit)
    if to == "s":
        return times.seconds_factor(unit)
    factor, unit = times.to_metres(np.float64(1), unit or "m")
    return float(factor) if unit == "m" or not to else None


def _epoch_time(value: float, unit: str) -> int | None:
    """Nanoseconds since 1970; None also for a number that counts from something else."""
    try:
        length, origin = times.parse_cf_units(unit)
        time = round(value) * length + round((value - round(value)) * length) + (origin or 0)
    except ValueError:
        time = times.parse_time(value)
    return time if time is not None and SINCE_1980 * SECOND < time < 2**63 else None


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


def _datasets(group: h5py.Group) -> dict[str, h5py.Dataset]:
    items = {name: _value(group, name) for name in group}
    return {name: item for name, item in items.items() if isinstance(item, h5py.Dataset)}


def _unit(item: h5py.Dataset) -> str:
    """Unit in the attributes of a data set, empty where it has none."""
    texts = (_value(item.attrs, name) for name in item.attrs if _normal(name) in UNIT_NAMES)
    return next(
        (times.to_text(text).strip() for text in texts if isinstance(text, (str, bytes))), ""
    )


def _facts(item: h5py.Dataset | h5py.Group, rank: int) -> list[Fact]:
    """Attributes of a data set or group, and small data sets in a group."""
    children = _datasets(item) if isinstance(item, h5py.Group) else {}
    units = {name: _unit(child) for name, child in children.items() if 0 < (child.size or 0) <= 8}
    values = {name: _value(children[name], ()) for name in units}
    values |= {name: _value(item.attrs, name) for name in item.attrs}
    texts = {_normal(k): times.to_text(v) for k, v in values.items() if isinstance(v, (str, bytes))}
    found = []
    for name, value in values.items():
        key, brackets = _normal(name), IN_BRACKETS.search(name)
        beside = [texts.get(key + end, "") for end in UNIT_NAMES]
        unit = [units.get(name, ""), *(brackets.groups() if brackets else ()), *beside]
        if value is not None:
            found.append(Fact(rank, key, name, value, next(filter(None, unit), "").strip()))
    return found


# ---- one file -----------------------------------------------------------------------------------


class _Reader:
    """Finds the parts of one file's header, which depend on each other."""

    def __init__(self, path: Path, dataset: h5py.Dataset, settings: RecordsSettings):
        self.path, self.dataset, self.settings = path, dataset, settings
        self.name, self.shape = dataset.name.strip("/"), dataset.shape
        self.labels = storage.dimension_names(dataset)
        self.notes: list[str] = []
        groups = [dataset.parent]
        while groups[-1].name != "/":
            groups.append(groups[-1].parent)
        groups += [item for item in [groups[-1].get("header")] if isinstance(item, h5py.Group)]
        self.facts = [fact for n, item in enumerate([dataset, *groups]) for fact in _facts(item, n)]
        self.unit = self.first("unit")[0] or ""
        others: list[h5py.Group] = []
        dataset.file.visititems(
            lambda _, x: others.append(x) if isinstance(x, h5py.Group) and x not in groups else None
        )
        self.facts += [fact for group in others for fact in _facts(group, len(groups) + 1)]
        self.arrays = [  # of one dimension, as long as a side
            (rank, _normal(name), item)
            for rank, group in enumerate(groups)
            for name, item in _datasets(group).items()
            if item.size in self.shape
            and max(item.shape) == item.size > 1
            and storage.is_variable(item)
        ]

    def find(self, *quantities: str) -> list[tuple[Any, str]]:
        """Values of quantities with their names in the file, the nearest first."""
        found = []
        for number, what in enumerate(quantities):
            to, names = NAMES[what][0], NAMES[what][1].split()
            for fact in self.facts:
                value = fact.convert(to) if fact.key in names else None
                if what == "interval" and value:
                    value = 1 / value
                is_rate = what in ("rate", "interval")
                if value is not None and (not is_rate or RATES[0] <= value <= RATES[1]):
                    order = (fact.rank, number, names.index(fact.key))
                    found.append((order, value, fact.name))
        return [(value, name) for _, value, name in sorted(found, key=lambda item: item[0])]

    def first(self, what: str) -> tuple[Any, str]:
        """The nearest value of a quantity and its name, or None."""
        return next(iter(self.find(what)), (None, ""))

    def record(self) -> Record:
        """The whole header."""
        axis = self._time_axis()
        clock = self._clock(axis)
        if clock is not None and clock.name in self.dataset.file:
            self.facts += _facts(self.dataset.file[clock.name], 0)  # as near as those of samples
        start, of_all = self._start(clock)
        rate, clock, estimated = self._rate(clock, self.shape[axis])
        n_samples, n_channels = self.shape[axis], self.shape[1 - axis]
        segments = [Segment(start, 0, n_samples)]
        if clock is not None:
            segments = self._without_unwritten(clock.segments(rate, start), clock.stop, axis)
        self._compare(clock, segments, rate)
        return Record(
            self.path, self.name, self.dataset.dtype, axis, n_samples, n_channels, rate, estimated,
            segments, of_all, self._distance(1 - axis), self.unit, self.notes,
        )  # fmt: skip

    def _time_axis(self) -> int:
        if self.settings.order != "auto":
            return 0 if self.settings.order == "time,channel" else 1
        for names in (self.labels, *(names for names, _ in self.find("dimensions"))):
            words = [_normal(name) for name in names]
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
            self.notes.append(f"{order} is assumed by its shape {self.shape}; set records.order")
            return axis
        raise DataError(
            f"{self.path}: {self.name} is {self.shape[0]:,} x {self.shape[1]:,}, and nothing in "
            "the file says which is time; set records.order to time,channel or channel,time"
        )

    def _lengths(self) -> list[tuple[int, bool]]:
        """Lengths of a side by the file, and whether that side is time."""
        found = [(x.size, True) for _, key, x in self.arrays if key.endswith((*TIMES, *TIME_ENDS))]
        found += [(item.size, False) for _, key, item in self.arrays if key in POSITIONS]
        found += [(int(n), False) for n, _ in self.find("n channels")]
        found += [(int(n), True) for n, _ in self.find("n samples")]
        (start, _), (end, _), (first, _) = map(self.first, ("start", "end", "first"))
        spans = [seconds for seconds, _ in self.find("duration")]
        spans += [(end - start) / SECOND] if start is not None and end is not None else []
        lengths = [length for length, _ in self.find("length")]
        lengths += [last - first for last, _ in self.find("last") if first is not None]
        for more in (0, 1):
            for spacing, _ in self.find("spacing"):
                found += [(round(length / spacing) + more, False) for length in lengths if spacing]
            for rate, _ in self.find("rate", "interval"):
                found += [(round(span * rate) + more, True) for span in spans]
        return found

    def _along(
        self, axis: int, keys: list[str], ends: tuple[str, ...] = ()
    ) -> list[tuple[str, np.ndarray, str, str]]:
        """Name, values, unit and calendar of arrays along an axis, the nearest and best first."""
        items, found = _datasets(self.dataset.parent), []
        index, tied = (items.get(f"{self.labels[axis]}_{end}") for end in ("indices", "values"))
        if index is not None and tied is not None and 1 < index.size == tied.size:  # of xdas
            known = tied[()]
            past = np.interp(np.arange(self.shape[axis]), index[()], known - known[0])
            past = np.rint(past).astype(known.dtype) if known.dtype.kind in "iu" else past
            found.append((tied, known[0] + past))
        arrays = [entry for entry in self.arrays if entry[2].size == self.shape[axis]]
        named = [(rank, keys.index(key), item) for rank, key, item in arrays if key in keys]
        named.sort(key=lambda entry: entry[:2])
        named += [entry for entry in arrays if ends and entry[1].endswith(ends)]
        found += [(item, _value(item, ())) for _, _, item in named]
        return [
            (
                x.name.strip("/"),
                v.ravel(),
                _unit(x),
                times.to_text(_value(x.attrs, "calendar") or ""),
            )
            for x, v in found
            if v is not None
        ]

    def _clock(self, axis: int) -> Clock | None:
        """The best time stamps of the samples."""
        for stamps in self._along(axis, TIMES, TIME_ENDS):
            try:
                clock = read_clock(*stamps)
            except (TypeError, ValueError) as error:
                self.notes.append(f"its time stamps are not used: {error}")
                continue
            if clock is not None:
                return clock
        return None

    def _start(self, clock: Clock | None) -> tuple[int | None, bool]:
        """Time of the first sample where a clock does not give it, and whether of many files."""
        start, name = self.first("start")
        if self.settings.starttime != "auto":
            return start, False
        if clock is not None and clock.origin is not None:
            if start is None:  # which would confirm it
                self._note_guess(clock.name, clock.guess)
            return start, False
        if start is not None:
            self._note_guess(name)
            return start, False
        start, name = self.first("start of all")
        if start is not None:
            self._note_guess(name)
            self.notes.append(
                f"no start of its own but {name}; set records.starttime if it is late"
            )
            return start, True
        for fact in self.facts:
            text, number = fact.convert("text") or "nan", fact.convert("")
            bad = text.lower() != "nan" if number is None else number > SINCE_1980
            if bad and fact.key in NAMES["start"][1].split():
                raise DataError(
                    f"{self.path}: its start '{text if number is None else number}' is neither ISO "
                    "8601 nor a number since 1970 that is a date from 1677 to 2262; correct it, or "
                    "set records.starttime"
                )
        return None, False

    def _note_guess(self, name: str, unit: str | None = None) -> None:
        """Note a unit that the size of a number alone gives, of time stamps or a named value."""
        if unit is None:
            fact = next(fact for fact in self.facts if fact.name == name)
            with contextlib.suppress(TypeError, ValueError):  # of a date, or a number with its unit
                unit = "" if fact.unit else guessed_unit(float(fact.value))
        if unit:
            self.notes.append(
                f"{name} has no unit, {unit} since 1970 are assumed by its size; set "
                "records.starttime if it is wrong"
            )

    def _rate(self, clock: Clock | None, n_samples: int) -> tuple[float, Clock | None, bool]:
        """Sampling rate, clock if it is used, and whether the rate comes from stamps alone."""
        stated = self.find("rate", "interval")
        if self.settings.sampling_rate != "auto":
            stated = [(float(self.settings.sampling_rate), "records.sampling_rate")]
        if clock is not None and not clock.has_unit:  # it is the one that fits
            scaled = [clock._replace(times=clock.times * unit) for unit in (1, 1e-3, 1e-6, 1e-9)]
            fitting = (x for x in scaled if any(x.agrees(rate) for rate, _ in stated))
            clock = next(fitting, clock)
            if not stated:
                self.notes.append(
                    f"{clock.name} has no unit, seconds are assumed; set records.sampling_rate if "
                    "it is another"
                )
        fits = [rate for rate, _ in stated if clock is not None and clock.agrees(rate)]
        found = None if clock is None else fits[0] if fits else clock.rate()
        if clock is not None and (found is None or (stated and not fits and not clock.has_unit)):
            self.notes.append(
                f"{clock.name} does not ascend, or has no unit and contradicts the sampling rate: "
                "its time stamps are not used"
            )
            clock = None
        (start, _), (end, _) = self.first("start"), self.first("end")
        if clock is None and not stated and None not in (start, end) and start < end:
            rate = (n_samples - 1) * SECOND / (end - start)
            self.notes.append(
                f"no sampling rate: {rate:g} Hz is taken from start, end and {n_samples:,} "
                "samples; set records.sampling_rate if it is another"
            )
            return rate, None, True
        if clock is None and not stated:
            names = list(dict.fromkeys(fact.name for fact in self.facts))
            raise DataError(
                f"{self.path}: no attribute of {self.name} or of its groups is a sampling rate; "
                f"there are {', '.join(names[:30]) or 'none'}; set records.sampling_rate"
            )
        rate, name = stated[0] if clock is None else (found, clock.name)
        for other, named in stated if clock is None else stated[:1]:
            if abs(other - rate) > AGREE * rate:
                self.notes.append(
                    f"{named} is {other:g} Hz, but {name} {rate:g} Hz, which is taken; set "
                    "records.sampling_rate if it is wrong"
                )
                break
        return rate, clock, clock is not None and not fits

    def _compare(self, clock: Clock | None, segments: list[Segment], rate: float) -> None:
        """Note a start and an end that contradict the time stamps, or the length."""
        (start, name), (end, end_name) = self.first("start"), self.first("end")
        first, last = segments[0].start, segments[-1]
        used = clock is not None and clock.origin is not None and self.settings.starttime == "auto"
        if used and start is not None and abs(start - first) > SECOND:
            start, first = times.nanoseconds_to_iso([start, first])
            self.notes.append(
                f"{name} is {start}, but {clock.name} begins {first}, which is taken; set "
                "records.starttime if it is wrong"
            )
        if last.start is None or end is None:
            return
        away = (end - last.start) / SECOND - last.n_samples / rate
        slack = max(2 / rate, AGREE * last.n_samples / rate)
        if not -slack - 1 / rate <= away <= slack:
            self.notes.append(
                f"{end_name} is {times.nanoseconds_to_iso([end])[0]}, {abs(away):g} s "
                f"{'later' if away > 0 else 'earlier'} than its start and its samples make, which "
                "are taken: samples may be missing in it"
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
        """Metres of every channel, (C,)."""
        n = self.shape[axis]
        spacing, name = self.first("spacing")
        if _normal(name) == "spatialresolution":  # along another fibre
            spacing *= self.first("multiplier")[0] or 1.0
        if self.settings.channel_spacing != "auto":
            spacing = float(self.settings.channel_spacing)
        else:
            for name, values, unit, _ in self._along(axis, POSITIONS):
                if name.endswith("channels"):  # their numbers
                    values, unit = values * (spacing or np.nan), "m"
                metres, unit = times.to_metres(values.astype(np.float64), unit or "m")
                if unit == "m" and np.isfinite(metres).all() and (np.diff(metres) > 0).all():
                    return metres
        if spacing is None:
            return None
        first, name = self.first("first")
        first = (first or 0.0) * (spacing if _normal(name) == "startlocusindex" else 1.0)
        return first + spacing * np.arange(n)
