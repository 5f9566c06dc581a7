"""Headers of fibre records: HDF5 files of (time, channel) of any maker.

A quantity is looked for under all names known for it, the nearest to the data set first.
"""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..data.missing import why_hardly_written
from ..data.storage import Storage, reason_of, why_closed
from ..data.times import epoch_unit, nanoseconds_to_iso, parse_cf_units, parse_time, to_text
from ..errors import DataError
from ..io import explain_missing_filter
from ..settings import RecordsSettings
from .clock import (
    EPOCH_UNITS,
    SECOND,
    SINCE_1980,
    Clock,
    Segment,
    find_clocks,
    is_phantom,
    read_clock,
    tie_clock,
    tie_values,
)
from .facts import (
    Fact,
    as_interval,
    as_length,
    as_plain,
    as_rate,
    as_spacing,
    as_text,
    dataset_in,
    facts_of,
    first_of,
    look_up,
    metres,
    normal,
    places_of,
    unit_of,
)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Names without case, blanks, signs and units in brackets; of one place the first counts.
RATES = _words("""
    outputdatarate datarate fs samplingrate samplerate samplingfrequency samplingfreq
    acquisitionsamplerate acquisitionsamplingrate
""")
INTERVALS = _words("""
    dt delta dts samplinginterval sampleinterval timesamplinginterval samplingperiod timestep
    deltat
""")
PULSES = _words("pulserate interrogationrate pingrate pulserepetitionfrequency")
MOST_HZ = 1e6  # light takes longer through 100 m of fibre; digitisers are faster
LEAST_HZ = 1e-4  # an interval without a unit in ns would be less
STARTS = _words("""
    partstarttime start starttime t0 filestartgpstime iso8601timestamp gpstimestamp begintime
    startdatetime recordingstarttime timestamp time filestartcomputertime cputimestamp
    rawdatatime
""")
STARTS_OF_ALL = _words("""
    acquisitionstarttime measurementstarttime savingstartgpstime acquisitionstart
""")
ENDS = _words("partendtime end endtime stoptime fileendgpstime acquisitionendtime")
SPACINGS = _words("""
    dxm dx spatialsamplinginterval spatialsampling channelspacing spatialinterval deltax
    spatialresolution
""")
FIBRE_STARTS = _words("sensingrangestart startdistance positionstart startposition")
FIBRE_STOPS = _words("sensingrangeend stopdistance positionend stopposition")
FIBRE_LENGTHS = _words("measurelength measurementlength measuredlength fiberlength")
N_CHANNELS = _words("""
    numberofloci nx nchannels numchannels numberofchannels channelcount spatialpoints nloci
""")
N_SAMPLES = _words("nt tracecount nsamples numberofsamples numsamples npts")
DURATIONS = _words("streamtime duration filelength recordlength")
UNITS = _words("unit units rawdataunit dataphysicalunit dataproductunits attrsdataunits")
DIMENSIONS = _words("dims dimensions dimensionnames dasdimensions arraydimensions")
POSITIONS = _words("distance distances coorddistance position positions depth channels")
CHANNEL_WORDS = re.compile(r"(dist|chan|loc[iu]|space|spatial|fib|pos|offset|depth|x$|trace)")
TIME_WORDS = re.compile(r"(time|t$|sample)")
FEW_SAMPLES = 24  # at most as many channels, not samples, where nothing says which they are
SAME = 2e-3  # relative; two rates of one file
COMPARABLE = 0.1  # of the largest data set: another of this size may as well be the one meant


class BadRecord(DataError):
    """A file that can't be used, which costs that file alone."""


@dataclass(frozen=True)
class RecordHeader:
    """Header of one file.

    Attributes
    ----------
    path : Path
    dataset : str
        Name inside the file.
    shape : tuple of int
    time_axis : int
        0 or 1.
    sampling_rate : float
        Hz.
    estimated : bool
        Whether the rate comes from time stamps alone.
    segments : tuple of Segment
        Samples without a gap, in the order of the file.
    distance : ndarray, (channels,), or None
        Metres along the fibre.
    unit : str
        Of the samples, empty where the file does not give it.
    start_of_all : bool
        Whether the start may be that of a measurement of many files.
    notes : tuple of str
        Assumptions and contradictions.
    """

    path: Path
    dataset: str
    shape: tuple[int, int]
    time_axis: int
    sampling_rate: float
    estimated: bool
    segments: tuple[Segment, ...]
    distance: np.ndarray | None
    unit: str
    start_of_all: bool
    notes: tuple[str, ...]

    @property
    def start(self) -> int | None:
        """Time of the first sample, ns since 1970 in UTC."""
        return self.segments[0].start

    @property
    def n_channels(self) -> int:
        """Channels of the data set."""
        return self.shape[1 - self.time_axis]


def read_header(path: Path, settings: RecordsSettings) -> RecordHeader:
    """Header of one file; settings that are not ``auto`` are not looked for in it.

    Raises
    ------
    BadRecord
        The file can't be opened, holds no such data set, or lacks a rate or an order.
    """
    try:
        with h5py.File(path, "r") as file:
            name, dataset = _find_dataset(path, file, settings.dataset)
            _require_readable(path, dataset)
            return _Reader(path, name, dataset, settings).header()
    except OSError as error:
        raise BadRecord(f"{path}: {why_closed(path, error)}") from None
    except (RuntimeError, KeyError) as error:
        reason = reason_of(error)
        raise BadRecord(f"{path}: can't be read as HDF5 ({reason}): copy it again") from None


def _require_readable(path: Path, dataset: h5py.Dataset) -> None:
    """Refuse a missing codec, a missing external file, and chunks that were hardly written."""
    reason = explain_missing_filter(dataset)
    if reason:
        name = dataset.name.lstrip("/")
        raise BadRecord(f"{path}: {name} needs another package: {reason}")
    reason = why_hardly_written(dataset)
    if reason:
        raise BadRecord(f"{path}: {reason}; wait until it is whole, or copy it again")
    for name, offset, size in dataset.external or ():
        place = Path(os.fsdecode(name))
        least = offset + (size if size < 2**62 else 0)
        if not place.exists() or place.stat().st_size < least:
            raise BadRecord(
                f"{path}: its samples lie in the file {place}, which is missing or too short; "
                "copy that as well, and run in its folder where its name has none"
            )


def _find_dataset(path: Path, file: h5py.File, name: str) -> tuple[str, h5py.Dataset]:
    arrays = list(Storage(path, file, False).arrays())
    real = [item for item in arrays if item[1].dtype.kind in "iuf" and item[1].size]
    found = [item for item in real if item[1].ndim == 2 and min(item[1].shape) > 1]
    if not found:  # one channel
        largest = max((item.size for _, item in real), default=0)
        found = [item for item in real if item[1].ndim == 2 and item[1].size == largest]
    found.sort(key=lambda item: (-item[1].size, item[0]))
    listed = ", ".join(f"{name} {item.shape}" for name, item in found[:10])
    if name != "auto":
        chosen = [item for item in real if item[0] == name.strip("/") and item[1].ndim == 2]
        if chosen:
            return chosen[0]
        raise BadRecord(
            f"{path}: '{name}' is no data set of (time, channel) in this file; it has "
            f"{listed or 'none'}; set records.dataset"
        )
    if not found:
        others = ", ".join(f"{name} {item.shape}" for name, item in real[:5])
        raise BadRecord(
            f"{path}: no numeric data set with two dimensions in this file; a record needs one of "
            f"(time, channel); it has {others or 'none'}"
        )
    if len(found) > 1 and found[1][1].size >= COMPARABLE * found[0][1].size:
        raise BadRecord(f"{path}: which data set is meant? set records.dataset to one of {listed}")
    return found[0]


class _Reader:
    """Finds the parts of one file's header, which depend on each other."""

    def __init__(self, path: Path, name: str, dataset: h5py.Dataset, settings: RecordsSettings):
        self.path, self.name, self.dataset, self.settings = path, name, dataset, settings
        self.shape = dataset.shape
        self.places = places_of(dataset)
        self.scales, self.labels = _dimensions(dataset)
        self.notes: list[str] = []

    def find(self, names: Sequence[str], convert: Callable[[Fact], Any]) -> list[Any]:
        """All values under some names, the nearest first."""
        return [value for value, _ in look_up(self.places, names, convert)]

    def header(self) -> RecordHeader:
        unit = first_of(self.places[:-1], UNITS, as_text)[0] or ""
        arrays = find_clocks(self.dataset, self.scales)
        axis = self._time_axis(arrays)
        clock = self._clock(arrays, axis)
        if clock is not None:  # attributes of the time stamps are near as well
            place = self.dataset.file.get(clock.name)
            self.places.insert(1, facts_of(place) if place is not None else {})
        start, of_all = self._start(clock)
        rate, clock, estimated = self._rate(clock, axis, start)
        if clock is None:
            segments = [Segment(start, 0, self.shape[axis])]
        else:
            segments = self._without_unwritten(clock, clock.segments(rate, start), axis)
            if clock.origin is not None and self.settings.starttime == "auto":
                self._compare_start(clock, segments[0].start)
        self._check_end(segments, rate)
        return RecordHeader(
            self.path,
            self.name,
            self.shape,
            axis,
            rate,
            estimated,
            tuple(segments),
            self._distance(1 - axis),
            unit,
            of_all,
            tuple(self.notes),
        )

    def _clock(self, arrays: Sequence[h5py.Dataset], axis: int) -> Clock | None:
        """The best time stamps of the samples."""
        n_samples = self.shape[axis]
        readers = [partial(read_clock, item) for item in arrays if item.size == n_samples]
        if self.labels:
            readers.insert(0, partial(tie_clock, self.dataset, self.labels[axis], n_samples))
        for read in readers:
            try:
                clock = read()
            except ValueError as error:
                self.notes.append(f"its time stamps are not used: {error}")
                continue
            if clock is not None:
                return clock
        return None

    # -- axes

    def _time_axis(self, arrays: Sequence[h5py.Dataset]) -> int:
        if self.settings.order != "auto":
            return 0 if self.settings.order == "time,channel" else 1
        for words in (self.labels, *self.find(DIMENSIONS, _as_words)):
            axis = _axis_of(words)
            if axis is not None:
                return axis
        if self.shape[0] != self.shape[1]:
            for size, is_time in self._lengths(arrays):
                if size in self.shape:
                    axis = self.shape.index(size)
                    return axis if is_time else 1 - axis
        few, many = sorted(self.shape)
        if few <= FEW_SAMPLES and many >= 10 * few:  # no file is that short
            axis = self.shape.index(many)
            self.notes.append(
                f"shape {self.shape}, and nothing says which is time: the longer is taken, "
                f"{('time,channel', 'channel,time')[axis]}; set records.order if it is wrong"
            )
            return axis
        raise BadRecord(
            f"{self.path}: {self.name} is {self.shape[0]:,} x {self.shape[1]:,}, and nothing in "
            "the file says which is time; set records.order to time,channel or channel,time"
        )

    def _lengths(self, arrays: Sequence[h5py.Dataset]) -> list[tuple[int, bool]]:
        """Lengths of a side that the file gives, and whether that side is time."""
        found = [(item.size, True) for item in arrays]
        found += [(item.size, False) for item in self._position_arrays()]
        found += [(int(n), False) for n in self.find(N_CHANNELS, as_plain)]
        found += [(int(n), True) for n in self.find(N_SAMPLES, as_plain)]
        lengths = self.find(FIBRE_LENGTHS, as_spacing)
        ends = self.find(FIBRE_STOPS, as_length)
        lengths += [end - start for start in self.find(FIBRE_STARTS, as_length) for end in ends]
        for spacing in self.find(SPACINGS, as_spacing):
            for n in (round(length / spacing) for length in lengths):
                found += [(n, False), (n + 1, False)]
        spans = [1 / rate for rate in self.find(DURATIONS, as_interval)]
        start, end = (first_of(self.places, names, _as_time)[0] for names in (STARTS, ENDS))
        if start is not None and end is not None and end > start:
            spans.append((end - start) / SECOND)
        for rate, _ in self._stated_rates():
            found += [(round(span * rate) + more, True) for span in spans for more in (0, 1)]
        return found

    # -- time

    def _stated_rates(self) -> list[tuple[float, Fact]]:
        """The nearest first; of one place, rates before intervals."""
        found = []
        for place in self.places:
            found += look_up([place], RATES, as_rate)
            found += look_up([place], INTERVALS, as_interval)
        return [(rate, fact) for rate, fact in found if LEAST_HZ <= rate <= MOST_HZ]

    def _rate(
        self, clock: Clock | None, axis: int, start: int | None
    ) -> tuple[float, Clock | None, bool]:
        """Sampling rate, clock in seconds, and whether the rate comes from stamps alone."""
        stated = self._stated_rates()
        if self.settings.sampling_rate != "auto":
            rate = float(self.settings.sampling_rate)
            stated = [(rate, Fact("records.sampling_rate", rate))]
        pulses = list(look_up(self.places, PULSES, as_rate))
        if clock is not None:
            clock = self._in_seconds(clock, [rate for rate, _ in stated + pulses])
        if clock is not None:
            fits = [rate for rate, _ in stated if clock.agrees(rate)]
            rate = fits[0] if fits else clock.rate()
            if rate is not None:
                if stated and rate != stated[0][0]:
                    self._note_other_rate(clock.name, rate, stated[0])
                return rate, clock, not fits
            self.notes.append(f"{clock.name} does not ascend, its time stamps are not used")
        if stated:
            rate, fact = stated[0]
            others = [other for other in stated[1:] if abs(other[0] - rate) > SAME * rate]
            if others:
                self._note_other_rate(fact.name, rate, others[0])
            return rate, None, False
        end = first_of(self.places, ENDS, _as_time)[0]
        if start is not None and end is not None and end > start:
            rate = (self.shape[axis] - 1) * SECOND / (end - start)
            self.notes.append(
                f"no sampling rate, {rate:g} Hz from start, end and {self.shape[axis]:,} samples; "
                "set records.sampling_rate if it is another"
            )
            return rate, None, True
        if pulses:
            rate, fact = pulses[0]
            self.notes.append(
                f"no sampling rate but {fact.name} = {rate:g} Hz, which is taken; set "
                "records.sampling_rate if samples were decimated"
            )
            return rate, None, False
        names = [fact.name for place in self.places for fact in place.values()]
        raise BadRecord(
            f"{self.path}: no attribute of {self.name} or of its groups is a sampling rate; there "
            f"are {', '.join(list(dict.fromkeys(names))[:30]) or 'none'}; set records.sampling_rate"
        )

    def _in_seconds(self, clock: Clock, rates: Sequence[float]) -> Clock | None:
        """Times in the unit that is given, or that fits a rate."""
        if clock.unit is not None:
            return clock.in_seconds(clock.unit)
        for unit in (SECOND, 10**6, 10**3, 1):
            if any(clock.agrees(rate * unit / SECOND) for rate in rates):
                return clock.in_seconds(unit)
        if rates:
            self.notes.append(
                f"{clock.name} has no unit and fits {rates[0]:g} Hz in none, so it is not used"
            )
            return None
        self.notes.append(
            f"{clock.name} has no unit, seconds are assumed; set records.sampling_rate if it is "
            "another"
        )
        return clock.in_seconds(SECOND)

    def _note_other_rate(self, name: str, rate: float, other: tuple[float, Fact]) -> None:
        self.notes.append(
            f"{other[1].name} says {other[0]:g} Hz, but {name} {rate:g} Hz, which is taken; set "
            "records.sampling_rate if it is wrong"
        )

    def _start(self, clock: Clock | None) -> tuple[int | None, bool]:
        """Time of the first sample where a clock does not give it, and whether of many files."""
        start, fact = first_of(self.places, STARTS, _as_time)
        of_all = start is None
        if of_all:
            start, fact = first_of(self.places, STARTS_OF_ALL, _as_time)
        absolute = clock is not None and clock.origin is not None
        is_used = not absolute and self.settings.starttime == "auto"
        if start is not None and is_used:
            if of_all:
                self.notes.append(f"no start of the file itself, {fact.name} is taken")
            self._note_guess(fact.name, _epoch_guess(fact))
        bad = first_of(self.places, STARTS, _as_bad_time)[0]
        if start is None and bad is not None and is_used:
            raise BadRecord(
                f"{self.path}: its start '{bad}' is neither ISO 8601 nor a number since 1970 that "
                "is a date from 1677 to 2262; correct it, or set records.starttime"
            )
        return start, of_all and start is not None and not absolute

    def _compare_start(self, clock: Clock, first: int) -> None:
        """Note a start that contradicts the time stamps, and a guess that no start confirms."""
        start, fact = first_of(self.places, STARTS, _as_time)
        if start is None:
            self._note_guess(clock.name, clock.guess)
        elif abs(start - first) > SECOND:
            self.notes.append(
                f"{fact.name} is {_iso(start)}, but {clock.name} begins {_iso(first)}, which is "
                "taken; set records.starttime if it is wrong"
            )

    def _note_guess(self, name: str, unit: str) -> None:
        if unit:
            self.notes.append(
                f"{name} has no unit, {unit} since 1970 are assumed by its size; set "
                "records.starttime if it is wrong"
            )

    def _check_end(self, segments: Sequence[Segment], rate: float) -> None:
        """Note an end that contradicts start and length."""
        end, fact = first_of(self.places, ENDS, _as_time)
        last = segments[-1]
        if last.start is None or end is None:
            return
        away = (end - last.start) / SECOND - last.n_samples / rate
        slack = max(2 / rate, SAME * last.n_samples / rate)
        if not -slack - 1 / rate <= away <= slack:
            self.notes.append(
                f"{fact.name} is {_iso(end)}, {abs(away):g} s {'later' if away > 0 else 'earlier'} "
                "than its start and its samples make, which are taken: samples may be missing in it"
            )

    def _without_unwritten(self, clock: Clock, segments: list[Segment], axis: int) -> list[Segment]:
        """Without samples at the end that have neither a time nor a value but 0."""
        stop = int(clock.index[-1]) + 1
        if clock.blocks or stop >= clock.n_samples:
            return segments
        if np.any(self.dataset[-1] if axis == 0 else self.dataset[:, -1]):
            return segments
        self.notes.append(
            f"its last {clock.n_samples - stop:,} samples were never written, they are left out"
        )
        last = segments[-1]
        return [*segments[:-1], Segment(last.start, last.first, stop - last.first)]

    # -- distance

    def _position_arrays(self) -> list[h5py.Dataset]:
        arrays = list(self.scales)
        for group in (self.dataset.parent, self.dataset.file.get("header")):
            if isinstance(group, h5py.Group):
                arrays += [dataset_in(group, name) for name in group if normal(name) in POSITIONS]
        return [
            item
            for item in arrays
            if item is not None
            and normal(item.name.rpartition("/")[2]) in POSITIONS
            and item.ndim == 1
            and item.dtype.kind in "iuf"
            and item.size in self.shape
            and not is_phantom(item)
        ]

    def _distance(self, axis: int) -> np.ndarray | None:
        """Metres of every channel, (C,)."""
        spacing, fact = first_of(self.places, SPACINGS, as_spacing)
        if fact is not None and normal(fact.name) == "spatialresolution":  # along another fibre
            multiplier = first_of(self.places, ["fibrelengthmultiplier"], as_plain)[0] or 1.0
            spacing *= multiplier if multiplier > 0 else 1.0
        if self.settings.channel_spacing != "auto":
            spacing = float(self.settings.channel_spacing)
        elif (positions := self._positions(axis, spacing)) is not None:
            return positions
        if spacing is None:
            return None
        for place in self.places:
            start = first_of([place], FIBRE_STARTS, as_length)[0]
            number = first_of([place], ["startlocusindex"], as_plain)[0]
            if start is None and number is not None:
                start = number * spacing
            if start is not None:
                return start + spacing * np.arange(self.shape[axis])
        return spacing * np.arange(self.shape[axis])

    def _positions(self, axis: int, spacing: float | None) -> np.ndarray | None:
        n_channels = self.shape[axis]
        ties = tie_values(self.dataset, self.labels[axis]) if self.labels else None
        if ties is not None:
            values = np.interp(np.arange(n_channels), ties[0], ties[1][()].astype(float))
            return metres(values, unit_of(ties[1]))
        for item in self._position_arrays():
            values = item[()].astype(np.float64)
            if normal(item.name.rpartition("/")[2]) == "channels":  # their numbers
                values = None if spacing is None else values * spacing
            else:
                values = metres(values, unit_of(item))
            if item.size == n_channels and values is not None and np.all(np.diff(values) > 0):
                return values
        return None


def _dimensions(dataset: h5py.Dataset) -> tuple[list[h5py.Dataset], list[str]]:
    """Dimension scales of both axes, and the axes' names where both have one."""
    scales, labels = [], []
    for dimension in dataset.dims:
        try:
            items = list(dimension.values())
        except (RuntimeError, KeyError, OSError, ValueError):
            items = []
        names = [dimension.label, *(item.name.rpartition("/")[2] for item in items if item.name)]
        labels.append(next(filter(None, names), ""))
        scales += items
    return scales, labels if all(labels) else []


def _as_words(fact: Fact) -> list[str]:
    """Names of dimensions, of an array or one text."""
    words = fact.value
    if not isinstance(words, np.ndarray):
        words = re.split(r"[\s,;x]+", to_text(words).strip(" '\"()[]"))
    return [to_text(word).strip(" '\"()[]").lower() for word in words]


def _axis_of(names: Sequence[str]) -> int | None:
    """Which of two names is time, or which is not along the fibre."""
    if len(names) != 2:
        return None
    words = [normal(name) for name in names]
    times = [axis for axis, word in enumerate(words) if TIME_WORDS.match(word)]
    if len(times) == 1:
        return times[0]
    along = [axis for axis, word in enumerate(words) if CHANNEL_WORDS.match(word)]
    return 1 - along[0] if len(along) == 1 else None


def _iso(time: int) -> str:
    return nanoseconds_to_iso([time])[0]


def _as_time(fact: Fact) -> int | None:
    """Nanoseconds since 1970; None also for a number that counts from something else."""
    text = as_text(fact)
    if text is not None and re.search(r"\d[-/T]\d", text):
        return parse_time(_year_first(text))
    value, unit = fact.number() or (None, "")
    if value is None:
        return None
    try:
        length, origin = parse_cf_units(unit)
        found = round(value) * length + round((value - round(value)) * length) + (origin or 0)
    except (ValueError, OverflowError):
        found = parse_time(fact.value if isinstance(fact.value, (int, np.integer)) else value)
    return found if found is not None and SINCE_1980 * SECOND < found < 2**63 else None


def _epoch_guess(fact: Fact) -> str:
    """Unit of a number since 1970 that is known by its size alone; empty for seconds."""
    number = fact.number()
    return "" if number is None or number[1] else EPOCH_UNITS[epoch_unit(number[0])]


def _year_first(text: str) -> str:
    """Dates as 22/9/2023 in the order of ISO 8601, where that has only one reading."""
    text = re.sub(r"\(.*?\)", "", text).strip()
    found = re.fullmatch(r"(\d\d?)/(\d\d?)/(\d{4})(.*)", text)
    if found and max(int(found[1]), int(found[2])) > 12:
        day, month = sorted((int(found[1]), int(found[2])), reverse=True)
        return f"{found[3]}-{month:02d}-{day:02d}{found[4]}"
    return text


def _as_bad_time(fact: Fact) -> str | None:
    """Text, or a number too large to be a date."""
    number = fact.number()
    if number is not None:
        return f"{number[0]:g}" if number[0] > SINCE_1980 else None
    text = as_text(fact)
    return None if text is None or text.lower() == "nan" else text
