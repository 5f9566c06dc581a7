"""Time stamps of the samples of a fibre record: sampling rate, start, and gaps inside."""

import re
from typing import NamedTuple

import numpy as np
from scipy.ndimage import median_filter

from ..data.times import (
    NOT_A_TIME,
    decode_numbers,
    decode_times,
    epoch_unit,
    far_times,
    unit_length,
)

SECOND = 10**9  # ns
SINCE_1980 = 10 * 365 * 86400  # s; smaller numbers count from a start, not from 1970
AGREE = 2e-3  # relative difference of sampling rates that are the same, as stamps jitter
SAME_STAMP = 0.1  # share of samples with the time of the one before: stamps of whole blocks
LEAST_JUMP = 0.75  # samples
SMOOTHED = 15  # samples over which jitter of time stamps is averaged out


class Segment(NamedTuple):
    """Samples without a gap; `start` is the time of the first, ns since 1970, None if unknown."""

    start: int | None
    first: int
    n_samples: int


class Clock(NamedTuple):
    """Times (k,) in seconds after `origin` (ns since 1970, or None) of the samples `index`."""

    name: str
    index: np.ndarray
    times: np.ndarray
    origin: int | None
    has_unit: bool
    stop: int  # samples from here on have no time
    n_samples: int

    def _slopes(self) -> list[float]:
        """Median times from sample to sample, of stamps at several distances."""
        lags = [x for x in (1, 10, 100, len(self.index) // 8) if 0 < x < len(self.index)]
        steps = [
            (self.times[lag:] - self.times[:-lag]) / (self.index[lag:] - self.index[:-lag])
            for lag in lags
        ]
        return [slope for step in steps if (slope := float(np.median(step))) > 0]

    def agrees(self, rate: float) -> bool:
        """Whether a rate in Hz fits the stamps at any distance of samples."""
        return any(abs(1 / slope - rate) <= AGREE * rate for slope in self._slopes())

    def _parts(self, rate: float) -> tuple[np.ndarray, np.ndarray]:
        """By how many samples stamps are late, without single bad ones, and edges at jumps."""
        late = self.times * rate - (self.index - self.index[0])
        smooth = median_filter(late, min(SMOOTHED, len(late)))  # removes jitter, keeps jumps
        least = np.maximum(LEAST_JUMP, 0.05 * np.diff(self.index))
        cuts = np.flatnonzero(np.abs(np.diff(smooth)) >= least) + 1
        return np.where(np.abs(late - smooth) < LEAST_JUMP, late, smooth), np.r_[0, cuts, len(late)]

    def rate(self) -> float | None:
        """Hz along the longest part without a gap; None where stamps do not ascend."""
        slope = next(iter(self._slopes()), None)
        if slope is None:
            return None
        late, edges = self._parts(1 / slope)
        longest = int(np.argmax(np.diff(edges)))
        first, last = edges[longest], edges[longest + 1] - 1
        n = int(self.index[last] - self.index[first])
        rate = n / ((n + late[last] - late[first]) * slope) if n else 1 / slope
        # A round number, where that makes no sample of difference over the part
        rounds = (round(rate), round(rate, 2), 1 / round(1 / rate, 6))
        return float(next((x for x in rounds if x and abs(1 - rate / x) * n < 0.5), rate))

    def segments(self, rate: float, start: int | None) -> list[Segment]:
        """Parts between jumps of times, which count from `start` if not from 1970."""
        late, edges = self._parts(rate)
        origin = self.origin if self.origin is not None else start
        firsts = np.r_[0, self.index[edges[1:-1]], self.n_samples].tolist()
        after = (late[edges[:-1]] + firsts[:-1] - self.index[0]) / rate * SECOND
        return [
            Segment(None if origin is None else origin + round(past), first, stop - first)
            for past, first, stop in zip(after.tolist(), firsts[:-1], firsts[1:], strict=True)
        ]


def read_clock(name: str, values: np.ndarray, units: str, calendar: str) -> Clock | None:
    """Clock of numbers or texts, one a sample; None where they are no times.

    ValueError where unit, reference or calendar can't be converted.
    """
    times, origin, has_unit = _decode(values, units, calendar)
    known = np.isfinite(times) if origin is None else (times != NOT_A_TIME) & ~far_times(times)
    index, times = np.flatnonzero(known), times[known]
    if len(index) < 2:
        return None
    if origin is not None:
        origin = int(np.sort(times)[len(times) // 2])  # no single bad one decides
        times = (times - origin) / SECOND
    stop, same = int(index[-1]) + 1, np.diff(times) == 0
    if np.mean(same) >= SAME_STAMP:  # blocks that have one time: the first may be cut
        firsts, stop = np.flatnonzero(~same) + 1, len(values)
        index, times = index[firsts], times[firsts]
    if len(index) < 2 or not np.diff(times).any():
        return None
    times = times - times[0] if origin is None else times
    return Clock(name.strip("/"), index, times, origin, has_unit, stop, len(values))


def _decode(values: np.ndarray, units: str, calendar: str) -> tuple[np.ndarray, int | None, bool]:
    """Times in ns since 1970 (origin 0), or else in s; and whether their unit is known."""
    if values.dtype.kind in "SO" or re.search(r"\s(since|after|from|ref|@)\s", units, re.I):
        return decode_times(values, units, calendar or "standard"), 0, True
    try:
        unit = unit_length(units)
    except ValueError:
        unit = None
    written = np.isfinite(values) & (values != 0)
    low, high = np.quantile(values[written], (0.1, 0.9)) if written.any() else (0.0, 0.0)
    # Numbers since 1970 hardly differ; those from the start of the record do.
    if low * (unit or SECOND) / SECOND > SINCE_1980 and 2 * low > high:
        times = decode_numbers(values, unit or epoch_unit(float(low)), 0)
        return np.where(written, times, NOT_A_TIME), 0, True
    return values * ((unit or SECOND) / SECOND), None, unit is not None
