"""Time of every sample, where a fibre record has it: sampling rate, start, and gaps inside."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import h5py
import numpy as np
import scipy.ndimage

from ..data.times import (
    NOT_A_TIME,
    decode_cf,
    epoch_unit,
    far_times,
    parse_cf_units,
    parse_times,
    to_text,
)
from .facts import as_text, dataset_in, facts_of, first_of, normal, unit_of

SECOND = 10**9  # ns
SINCE_1980 = 10 * 365 * 86400  # s; smaller numbers count from a start, not from 1970
# Normal names, the best first: another that ends like one of these is taken after them.
TIME_ARRAYS = (
    "gpstime", "rawdatatime", "fbedatatime", "dastimearray", "time", "times", "timestamp",
    "timestamps", "coordtime", "t", "posixtime",
)  # fmt: skip
TIME_ENDS = ("time", "times", "stamp", "stamps", "timearray", "stampsunix")
PHANTOM = "This is a netCDF dimension but not a netCDF variable"
AGREE = 2e-3  # relative: stamps and a stated rate, for stamps jitter
SAME_STAMP = 0.1  # share of samples with the time of the one before: stamps of whole blocks
LEAST_JUMP = 0.75  # samples
SMOOTHED = 15  # samples over which jitter of time stamps is averaged out
EPOCH_UNITS = {SECOND: "", 10**6: "milliseconds", 10**3: "microseconds", 1: ""}


@dataclass(frozen=True)
class Segment:
    """Samples of a file without a gap; `start` is the time of the first, ns since 1970, or None."""

    start: int | None
    first: int
    n_samples: int


@dataclass(frozen=True)
class Clock:
    """Time stamps of samples.

    Attributes
    ----------
    name : str
        In the file.
    index : ndarray, (k,), int64
        Samples that have a time, ascending.
    times : ndarray, (k,), float64
        Their times in `unit` after `origin`, or after the first of them.
    origin : int or None
        ns since 1970; None where times count from the start of the record.
    unit : int or None
        Nanoseconds; None where the file does not give it.
    n_samples : int
    exact : bool
        Stamps without jitter that are given only where the rate changes.
    blocks : bool
        Stamps of the first samples of blocks that have one time.
    guess : str
        Unit since 1970 known by the size of the numbers alone, where there may be others.
    """

    name: str
    index: np.ndarray
    times: np.ndarray
    origin: int | None
    unit: int | None
    n_samples: int
    exact: bool = False
    blocks: bool = False
    guess: str = ""

    def _slopes(self) -> Iterator[float]:
        """Median time from sample to sample, of stamps at several distances."""
        for lag in (1,) if self.exact or self.blocks else (1, 10, 100, len(self.index) // 8):
            if not 0 < lag < len(self.index):
                continue
            steps = self.index[lag:] - self.index[:-lag]
            slopes = (self.times[lag:] - self.times[:-lag]) / steps
            slope = float(np.median(slopes))
            if steps.min() != steps.max():  # weighted by their distance
                order = np.argsort(slopes)
                weight = np.cumsum(steps[order])
                slope = float(slopes[order][np.searchsorted(weight, weight[-1] / 2)])
            if slope > 0:
                yield slope

    def agrees(self, rate: float) -> bool:
        """Whether a rate in `unit` fits the stamps at any distance of samples."""
        return any(abs(1 / slope - rate) <= AGREE * rate for slope in self._slopes())

    def rate(self) -> float | None:
        """Hz, of times in seconds, along the longest part without a gap."""
        slope = next(self._slopes(), None)
        if slope is None:
            return None
        parts = self.segments(1 / slope, None)
        longest = max(parts, key=lambda part: part.n_samples)
        inside = (self.index >= longest.first) & (self.index < longest.first + longest.n_samples)
        if not self.exact:  # a single bad stamp at an end decides nothing
            late = self.times / slope - self.index
            usual = scipy.ndimage.median_filter(late, min(SMOOTHED, len(late)))
            steady = np.abs(late - usual) < LEAST_JUMP
            inside = inside & steady if (inside & steady).sum() > 1 else inside
        index, times = self.index[inside], self.times[inside]
        if len(index) < 2 or times[-1] <= times[0]:
            return 1 / slope
        rate = float((index[-1] - index[0]) / (times[-1] - times[0]))
        # A round number, where that makes no sample of difference over the part
        for round_rate in (round(rate), round(rate, 2), 1 / round(1 / rate, 6)):
            if round_rate and abs(1 - rate / round_rate) * longest.n_samples < 0.5:
                return float(round_rate)
        return rate

    def in_seconds(self, unit: int) -> "Clock":
        """The same with times in seconds."""
        return replace(self, times=self.times * (unit / SECOND), unit=SECOND)

    def segments(self, rate: float, start: int | None) -> list[Segment]:
        """Parts between jumps of times in seconds, which count from `start` if not from 1970."""
        late = self.times * rate - (self.index - self.index[0])  # samples
        cuts = [0, *self._jumps(late), len(self.index)]
        origin = self.origin if self.origin is not None else start
        found = []
        for low, high in zip(cuts, cuts[1:], strict=False):
            first = 0 if low == 0 else int(self.index[low])
            stop = self.n_samples if high == len(self.index) else int(self.index[high])
            usual = float(np.median(late[low : min(high, low + SMOOTHED)]))
            if abs(late[low] - usual) <= LEAST_JUMP:
                usual = float(late[low])
            after = (usual + first - self.index[0]) / rate
            time = None if origin is None else origin + round(after * SECOND)
            found.append(Segment(time, first, stop - first))
        return found

    def _jumps(self, late: np.ndarray) -> list[int]:
        """Positions of stamps before which the clock jumps; jitter, which comes back, is none."""
        steps = np.diff(self.index)
        if not np.any(np.abs(np.diff(late)) >= LEAST_JUMP):
            return []
        if not self.exact:
            late = scipy.ndimage.median_filter(late, min(SMOOTHED, len(late)))
        least = np.maximum(LEAST_JUMP, 0.05 * steps if self.blocks else 0.0)
        jumps = np.abs(np.diff(late)) >= least
        if self.exact:
            jumps &= steps == 1
        return [int(position) for position in np.flatnonzero(jumps) + 1]


def find_clocks(dataset: h5py.Dataset, scales: Sequence[h5py.Dataset]) -> list[h5py.Dataset]:
    """Arrays of one dimension named as times and as long as a side of a data set, best first."""
    found, group = [], dataset
    while group.name != "/":
        group = group.parent
        ranked = sorted((rank, name) for name in group if (rank := _rank(name)) is not None)
        found += [dataset_in(group, name) for _, name in ranked]
    named = [item for item in scales if _rank(item.name.rpartition("/")[2]) is not None]
    return [item for item in named + found if item is not None and _fits(item, dataset)]


def _rank(name: str) -> int | None:
    name = normal(name)
    if name in TIME_ARRAYS:
        return TIME_ARRAYS.index(name)
    return len(TIME_ARRAYS) if name.endswith(TIME_ENDS) else None


def _fits(item: h5py.Dataset, dataset: h5py.Dataset) -> bool:
    one = item.size in dataset.shape and max(item.shape, default=0) == item.size > 1
    return one and not is_phantom(item) and item.dtype.kind in "iufSO"


def is_phantom(item: h5py.Dataset) -> bool:
    """Whether a dimension scale of netCDF has no values."""
    return to_text(item.attrs.get("NAME", "")).startswith(PHANTOM)


def read_clock(
    item: h5py.Dataset, index: np.ndarray | None = None, n_samples: int | None = None
) -> Clock | None:
    """Clock of an array of numbers or text; None where they are no times.

    Parameters
    ----------
    item : h5py.Dataset, (k,)
    index : ndarray, (k,), optional
        Samples of exact stamps between which the rate is constant; by default all samples.
    n_samples : int, optional
        k by default.

    Raises
    ------
    ValueError
        Unit, reference or calendar can't be converted.
    """
    try:
        values = item[()].reshape(-1)
    except (OSError, RuntimeError, TypeError, MemoryError):
        return None
    exact = index is not None
    index = np.arange(len(values)) if index is None else np.asarray(index)
    more = (item.name.lstrip("/"), n_samples or len(values), exact)
    if values.dtype.kind in "SO":
        times = parse_times(np.array([to_text(value) for value in values]))
        return _absolute(index, times, *more)
    calendar = first_of([facts_of(item)], ("calendar",), as_text)[0] or "standard"
    unit, origin, guess, units = None, None, "", unit_of(item)
    try:
        unit, origin = parse_cf_units(units, calendar)
    except ValueError:
        if re.search(r"\s(since|after|from|ref|@)\s", units, re.I):
            raise
    known = np.isfinite(values) & (values != 0)
    # Numbers since 1970 hardly differ; those from the start of the record do.
    low, high = np.quantile(values[known], (0.1, 0.9)) if known.any() else (0.0, 0.0)
    if origin is None and low * (unit or SECOND) / SECOND > SINCE_1980 and 2 * low > high:
        guess = "" if unit else EPOCH_UNITS[epoch_unit(float(low))]
        unit, origin = unit or epoch_unit(float(low)), 0
    if origin is None:
        known = np.isfinite(values)
        return _clock(index[known], values[known].astype(np.float64), None, unit, *more)
    times = decode_cf(values, unit, origin)
    if origin == 0 and not exact:
        times = np.where(known, times, NOT_A_TIME)  # zeros were never written
    return _absolute(index, times, *more, guess=guess)


def _absolute(index: np.ndarray, times: np.ndarray, *more: Any, guess: str = "") -> Clock | None:
    """Clock of times in ns since 1970, without those that are missing or years away."""
    known = (times != NOT_A_TIME) & ~far_times(times)
    if not known.any():
        return None
    middle = int(np.sort(times[known])[known.sum() // 2])  # no single bad one decides
    return _clock(
        index[known], (times[known] - middle).astype(float), middle, 1, *more, guess=guess
    )


def _clock(
    index: np.ndarray,
    times: np.ndarray,
    origin: int | None,
    unit: int | None,
    name: str,
    n_samples: int,
    exact: bool,
    guess: str = "",
) -> Clock | None:
    same = np.diff(times) == 0
    blocks = not exact and len(same) > 0 and bool(np.mean(same) >= SAME_STAMP)
    if blocks:  # the first may be cut
        firsts = np.flatnonzero(~same) + 1
        index, times = index[firsts], times[firsts]
    if len(index) < 2 or not np.any(np.diff(times)):
        return None
    if origin is None:
        times = times - times[0]
    return Clock(name, index, times, origin, unit, n_samples, exact, blocks, guess)


def tie_values(dataset: h5py.Dataset, axis: str) -> tuple[np.ndarray, h5py.Dataset] | None:
    """Samples at which xdas has values of an axis, between which they are interpolated."""
    index, values = (dataset_in(dataset.parent, f"{axis}_{end}") for end in ("indices", "values"))
    if index is None or values is None or not 1 < index.size == values.size:
        return None
    return index[()], values


def tie_clock(dataset: h5py.Dataset, axis: str, n_samples: int) -> Clock | None:
    """Times of xdas: those of `tie_values`, or starts and lengths of parts of one interval."""
    ties = tie_values(dataset, axis)
    if ties is not None:
        return read_clock(ties[1], ties[0], n_samples)
    ends = ("sampling", "values", "lengths")
    step, starts, lengths = (dataset_in(dataset.parent, f"{axis}_{end}") for end in ends)
    if step is None or starts is None or lengths is None:
        return None
    interval = float(np.ravel(step.attrs.get("sampling_interval", step[()]))[0])
    units = step.attrs.get("sampling_interval_units", step.attrs.get("units", "s"))
    interval *= parse_cf_units(to_text(units))[0]
    unit, origin = parse_cf_units(unit_of(starts) or "s")
    first, lengths = decode_cf(starts[()], unit, origin or 0), lengths[()]
    last = first + np.round((lengths - 1) * interval).astype(np.int64)
    stop = np.cumsum(lengths)
    index = np.column_stack([stop - lengths, stop - 1]).reshape(-1)
    times = np.column_stack([first, last]).reshape(-1) - first[0]
    origin = None if origin is None else int(first[0])
    return _clock(index, times.astype(float), origin, 1, starts.name.lstrip("/"), n_samples, True)
