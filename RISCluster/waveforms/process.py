"""Continuous waves: joined from pieces, with gaps found; detrended, resampled and filtered."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import signal

from ..data.times import NOT_A_TIME, same_rate
from ..settings import BuildSettings
from .read import SECOND, duration, import_obspy

DISAGREE, NOT_FINITE = "of overlaps that disagree", "that are not finite or marked as missing"
CONSTANT = "that are all"  # followed by the value
MIN_DRIFT = 0.1  # samples; less is the rounding of start times
MIN_RUN = 32  # samples of one value, which noise of a count or more does not give by itself
SAC_UNDEFINED, MIN_UNDEFINED_RUN = -12345.0, 8
QUIET = 0.5  # share of samples equal to the one before, above which an instrument is quiet
PASS, STOP = 0.8, 1.0  # edges of the anti-alias filter, as shares of the lower Nyquist frequency
ATTENUATION = 80.0  # dB
MAX_FACTOR = 1000  # of resampling by whole numbers
ORDERS = {"none": -1, "demean": 0, "linear": 1}  # of trends
LANCZOS_WIDTH = 20  # samples to each side


@dataclass(frozen=True)
class Wave:
    """Continuous samples of one trace."""

    start: int  # ns since 1970-01-01 UTC
    sampling_rate: float  # Hz
    data: np.ndarray  # (n,)
    edge: int = 0  # tapered samples at each end
    drift: float = 0.0  # relative excess of the sampling interval, by the times of files

    @property
    def end(self) -> int:
        """Time of the sample after the last, ns."""
        return self.time(len(self.data))

    def time(self, sample: int | float) -> int:
        """Time of a sample by its number, ns."""
        since = duration(sample, self.sampling_rate)
        return self.start + since + round(since * self.drift)

    def samples(self, times: np.ndarray) -> np.ndarray:
        """Samples nearest to times in ns, int64; -1 for `NOT_A_TIME`."""
        rate, known = self.sampling_rate / SECOND / (1 + self.drift), times != NOT_A_TIME
        since = np.where(known, times, self.start) - self.start
        return np.where(known, np.rint(since * rate).astype(np.int64), -1)


def samples_of(seconds: float, sampling_rate: float) -> int:
    """Samples that cover a duration."""
    return int(np.ceil(round(seconds * sampling_rate, 6)))


def join(
    pieces: Sequence[Wave], removed: Counter | None = None, constant: float | None = None
) -> list[Wave]:
    """Join pieces of one sampling rate where they touch: float64, ascending, with gaps between.

    A piece continues another where it starts within half a sample of the time after its last one.
    Where overlaps disagree, the whole overlap is a gap, as with obspy's ``merge(method=0)``;
    samples that are not finite and `constant_runs` of `constant` seconds are gaps too. `removed`
    counts their samples by `DISAGREE`, `NOT_FINITE`, or `CONSTANT` and the value.
    """
    removed = Counter() if removed is None else removed
    chains: list[list[tuple[int, Wave]]] = []  # pieces that touch, each with its first sample
    end, end_time = 0, 0
    for piece in sorted(pieces, key=lambda piece: (piece.start, piece.end)):
        first = end + round((piece.start - end_time) * piece.sampling_rate / SECOND)
        if not chains or first > end:
            chains.append([])
            first, end = 0, 0
        chains[-1].append((first, piece))
        if first + len(piece.data) > end:  # else it lies within the pieces before
            end, end_time = first + len(piece.data), piece.end
    return [wave for chain in chains for wave in _without_gaps(chain, removed, constant)]


def _without_gaps(
    chain: Sequence[tuple[int, Wave]], removed: Counter, constant: float | None
) -> list[Wave]:
    start, rate = chain[0][1].start, chain[0][1].sampling_rate
    n = max(first + len(piece.data) for first, piece in chain)
    data, good, end = np.full(n, np.nan), np.ones(n, bool), 0
    for first, piece in chain:
        here, known = slice(first, first + len(piece.data)), np.isfinite(piece.data)
        common = np.isfinite(data[here]) & known
        if (common & (data[here] != piece.data)).any():
            good[here] &= ~common
        known &= ~common
        data[here][known] = piece.data[known]
        end = piece.end if here.stop == n else end
    removed[DISAGREE] += int((~good).sum())
    removed[NOT_FINITE] += int((~np.isfinite(data)).sum())
    good &= np.isfinite(data)
    for first, last in constant_runs(data, rate, constant):
        removed[f"{CONSTANT} {data[first]:g}"] += last - first
        good[first:last] = False
    drift = (end - start) / duration(n, rate) - 1
    whole = Wave(start, rate, data, drift=drift if abs(drift) * n >= MIN_DRIFT else 0.0)
    return [
        replace(whole, start=whole.time(first), data=data[first:last])
        for first, last in _runs(good).tolist()
    ]


def _runs(there: np.ndarray) -> np.ndarray:
    """First sample, and that after the last, of runs of True in (n,): (k, 2)."""
    padded = np.concatenate(([False], there, [False]))
    return np.flatnonzero(padded[1:] != padded[:-1]).reshape(-1, 2)


def without_marks(data: np.ndarray) -> np.ndarray:
    """Replace masked samples and the smallest integer of 32 or 64 bits, marks of a gap, by NaN.

    The smallest integer of 16 bits is where such a digitiser clips.
    """
    if np.ma.isMaskedArray(data):
        data = data.astype(np.float64).filled(np.nan)
    least = data == np.float64(-(2**31))
    if data.dtype.kind == "i" and data.dtype.itemsize > 4:
        least |= data == np.iinfo(data.dtype).min
    return np.where(least, np.nan, data) if least.any() else data


def constant_runs(
    data: np.ndarray, sampling_rate: float, seconds: float | None
) -> list[tuple[int, int]]:
    """Runs of one value with which gaps have been filled, as first sample and that after the last.

    A run has `seconds` (None: there are none) and 32 samples, or 8 of SAC's undefined value, and
    the data on both sides show that it was not measured.
    """
    if seconds is None:
        return []
    least, n = max(MIN_RUN, int(np.ceil(seconds * sampling_rate))), len(data)
    runs = _runs(data[1:] == data[:-1]) + [0, 1]
    length, value = runs[:, 1] - runs[:, 0], data[runs[:, 0]]
    runs = runs[(length >= least) | ((value == SAC_UNDEFINED) & (length >= MIN_UNDEFINED_RUN))]
    if not len(runs):
        return []
    known = data[np.isfinite(data)]
    steps = np.abs(np.diff(known))
    quantum = steps.min(where=steps > 0, initial=np.inf)
    found, limits = [], (known.min(), known.max())
    before, after = [0, *runs[:-1, 1]], [*runs[1:, 0], n]  # edges of the neighbouring runs
    for first, (start, stop), last in zip(before, runs.tolist(), after, strict=True):
        if (first == start > 0) or (last == stop < n) or stop - start == n:
            continue  # runs that touch, as in square pulses, or all of the data
        sides = (data[max(first, start - 10 * least) : start][::-1], data[stop:last][: 10 * least])
        sides = [side[np.isfinite(side)] for side in sides if np.isfinite(side).any()]
        is_limit = data[start] in limits
        if not sides or _is_filled(data[start], stop - start, sides, least, quantum, is_limit):
            found.append((start, stop))
    return found


def _is_filled(
    value: float, n: int, sides: list[np.ndarray], least: int, quantum: float, is_limit: bool
) -> bool:
    """Whether data on both sides, each from the run on, show that one value was not measured.

    They change from sample to sample; else the instrument is quiet, with few counts, or holds
    values. Where the steps to and from the run are the smallest of all, as of a quiet instrument,
    it is ten times as long, and the data change for so long on both sides. It is -12345, or not
    the largest or smallest value and reached by small steps, as where an instrument clips.
    """
    if not all(_changes(side[:least]) for side in sides):
        return False
    jumps = [abs(side[0] - value) for side in sides]
    if max(jumps) <= 2 * quantum:
        return n >= 10 * least and len(sides) == 2 and all(map(_changes, sides))
    steps = [np.abs(np.diff(side[:10])).max(initial=0) for side in sides]
    is_smooth = all(jump <= 2 * step for jump, step in zip(jumps, steps, strict=True))
    return value == SAC_UNDEFINED or not (is_smooth and is_limit)


def _changes(data: np.ndarray) -> bool:
    """Whether most samples differ from the one before."""
    return len(data) > 1 and np.mean(data[1:] == data[:-1]) <= QUIET


def process(wave: Wave, settings: BuildSettings, epoch: Any = None) -> Wave:
    """Detrend, taper, remove the response of an epoch, resample and filter a wave, in place.

    A polynomial response is applied first, to counts with their mean. The tapered samples are the
    `edge` of the result.
    """
    if epoch and epoch.is_polynomial:
        wave, epoch = epoch.remove(wave, settings), None
    detrend(wave.data, settings.detrend)
    taper(wave.data, samples_of(settings.taper, wave.sampling_rate))
    if epoch:
        wave = epoch.remove(wave, settings)
    if settings.sampling_rate != "auto":
        wave = resample(wave, settings.sampling_rate)
    if settings.bandpass is not None:
        wave = replace(wave, data=band_pass(wave, settings))
    return replace(wave, edge=samples_of(settings.taper, wave.sampling_rate))


def detrend(data: np.ndarray, kind: str | int) -> None:
    """Subtract the polynomial of least squares of an order, or one of `ORDERS`, in place."""
    position = np.arange(len(data)) - (len(data) - 1) / 2
    before, now, size_before, size = 0.0, 1.0, 1.0, len(data)
    for order in range(min(ORDERS.get(kind, kind) + 1, len(data))):
        if order:  # the polynomial of this order is orthogonal to those before
            before, now, size_before = now, position * now - size / size_before * before, size
            size = now @ now
        data -= now * ((now @ data) / size if order else data.mean())


def taper(data: np.ndarray, n: int) -> None:
    """Taper the first and last n samples to zero with half a cosine, in place."""
    n = min(n, len(data) // 2)
    if n:
        ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(n) + 0.5) / n)
        data[:n] *= ramp
        data[-n:] *= ramp[::-1]


def resample(wave: Wave, sampling_rate: float) -> Wave:
    """Resample a wave; the first sample keeps its time.

    Ratios of whole numbers use a polyphase filter of linear phase, without delay: flat to 0.8 of
    the lower Nyquist frequency, 80 dB down above it. With other ratios the wave is low-passed
    likewise, and interpolated with a Lanczos kernel.
    """
    ratio = Fraction(sampling_rate / wave.sampling_rate).limit_denominator(MAX_FACTOR)
    rate, up, down = float(ratio) * wave.sampling_rate, ratio.numerator, ratio.denominator
    data = wave.data
    if up > MAX_FACTOR or not same_rate(rate, sampling_rate):
        from obspy.signal.interpolation import lanczos_interpolation

        old, new = 1 / wave.sampling_rate, 1 / sampling_rate
        if new > old:
            factor = wave.sampling_rate / sampling_rate
            data = signal.oaconvolve(data, low_pass(factor), mode="same")
        n = int((len(data) - 1) * old / new) + 1
        data = lanczos_interpolation(data, 0.0, old, 0.0, new, n, a=LANCZOS_WIDTH)
        return replace(wave, data=data, sampling_rate=sampling_rate)
    # Rates that differ by rounding are one; the drift keeps the times of the samples.
    drift = (1 + wave.drift) * sampling_rate / rate - 1
    if ratio != 1:
        data = signal.resample_poly(data, up, down, window=low_pass(max(up, down)))
    return replace(wave, data=data, sampling_rate=sampling_rate, drift=drift)


@lru_cache(maxsize=8)
def low_pass(factor: float) -> np.ndarray:
    """Filter of linear phase against aliasing when the rate is divided by `factor`."""
    n, beta = signal.kaiserord(ATTENUATION, (STOP - PASS) / factor)
    return signal.firwin(n | 1, (STOP + PASS) / 2 / factor, window=("kaiser", beta))


def band_pass(wave: Wave, settings: BuildSettings) -> np.ndarray:
    """Filter forward and backward with a Butterworth filter; from 0 Hz it is a low-pass."""
    import_obspy()
    from obspy.signal import filter as filters

    (low, high), options = settings.bandpass, {"corners": settings.filter_order, "zerophase": True}
    if low:
        return filters.bandpass(wave.data, low, high, wave.sampling_rate, **options)
    return filters.lowpass(wave.data, high, wave.sampling_rate, **options)
