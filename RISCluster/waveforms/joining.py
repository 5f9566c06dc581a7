"""Pieces of a trace with gaps and overlaps to continuous waves."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .read import SECOND, duration

DISAGREE, NOT_FINITE = "of overlaps that disagree", "that are not finite or marked as missing"
CONSTANT = "that are all"  # followed by the value
MIN_DRIFT = 0.1  # samples; less is the rounding of start times
MIN_RUN = 32  # samples of one value, which noise of a count or more does not give by itself
SAC_UNDEFINED, MIN_UNDEFINED_RUN = -12345.0, 8
QUIET = 0.5  # share of samples equal to the one before, above which an instrument is quiet


@dataclass(frozen=True)
class Wave:
    """Continuous samples of one trace.

    `drift` is the relative excess of the true sampling interval, by the start times of files, over
    that of `sampling_rate`, which headers round.
    """

    start: int  # ns since 1970-01-01 UTC
    sampling_rate: float  # Hz
    data: np.ndarray  # (n,)
    edge: int = 0  # tapered samples at each end
    drift: float = 0.0

    @property
    def end(self) -> int:
        """Time of the sample after the last, ns."""
        return self.time(len(self.data))

    def time(self, sample: int | float) -> int:
        """Time of a sample by its number, ns."""
        time = duration(sample, self.sampling_rate)
        return self.start + time + round(time * self.drift)


def join(
    pieces: Sequence[Wave], taken_out: Counter | None = None, constant: float | None = None
) -> list[Wave]:
    """Join pieces of one sampling rate where they touch.

    A piece continues another where it starts within half a sample of the time after its last one.
    Overlaps whose samples agree are joined; where they do not, the whole overlap is a gap, as with
    obspy's ``Stream.merge(method=0)`` of two traces. Samples that are not finite are gaps, and so
    are `constant_runs` of `constant` seconds. `taken_out` counts samples that became gaps, by
    `DISAGREE`, `NOT_FINITE`, or `CONSTANT` and the value.

    Returns
    -------
    list of Wave
        Ascending in time, float64; there is a gap between neighbours.
    """
    waves: list[Wave] = []
    for chain in _chains(sorted(pieces, key=lambda piece: (piece.start, piece.end))):
        waves += _without_gaps(chain, Counter() if taken_out is None else taken_out, constant)
    return waves


def _chains(pieces: Sequence[Wave]) -> list[list[tuple[int, Wave]]]:
    """Groups of pieces that touch or overlap, each with its first sample within the group."""
    chains: list[list[tuple[int, Wave]]] = []
    end, end_time = 0, 0
    for piece in pieces:
        first = end + round((piece.start - end_time) * piece.sampling_rate / SECOND)
        if not chains or first > end:
            chains.append([])
            first, end = 0, 0
        chains[-1].append((first, piece))
        if first + len(piece.data) > end:  # else it lies within the pieces before
            end, end_time = first + len(piece.data), piece.end
    return chains


def _without_gaps(
    chain: Sequence[tuple[int, Wave]], taken_out: Counter, constant: float | None
) -> list[Wave]:
    first = chain[0][1]
    if len(chain) == 1:
        data, drift = first.data.astype(np.float64), first.drift
        good = np.isfinite(data)
    else:
        data, bad, last = _overlaid(chain)
        good = ~bad & np.isfinite(data)
        taken_out[DISAGREE] += int(bad.sum())
        drift = (last - first.start) / duration(len(data), first.sampling_rate) - 1
    taken_out[NOT_FINITE] += int((~np.isfinite(data)).sum())
    for start, stop in constant_runs(data, first.sampling_rate, constant):
        taken_out[f"{CONSTANT} {data[start]:g}"] += stop - start
        good[start:stop] = False
    drift = drift if abs(drift) * len(data) >= MIN_DRIFT else 0.0
    whole = Wave(first.start, first.sampling_rate, data, drift=drift)
    if good.all():
        return [whole]
    return [
        replace(whole, start=whole.time(start), data=data[start:stop])
        for start, stop in _runs(good).tolist()
    ]


def _overlaid(chain: Sequence[tuple[int, Wave]]) -> tuple[np.ndarray, np.ndarray, int]:
    """Samples of all pieces, where they disagree, and the time after the last."""
    n = max(first + len(piece.data) for first, piece in chain)
    data, bad = np.full(n, np.nan), np.zeros(n, bool)
    last = 0
    for first, piece in chain:
        here = slice(first, first + len(piece.data))
        there = np.isfinite(piece.data)
        common = np.isfinite(data[here]) & there
        if (common & (data[here] != piece.data)).any():
            bad[here] |= common
        there &= ~common
        data[here][there] = piece.data[there]
        if here.stop == n:
            last = piece.end
    return data, bad, last


# ---- gaps that are filled -----------------------------------------------------------------------


def without_marks(data: np.ndarray) -> np.ndarray:
    """Replace masked samples and the smallest integer of 32 or 64 bits, marks of a gap, by NaN.

    The smallest integer of 16 bits is where such a digitiser clips.
    """
    if np.ma.isMaskedArray(data):
        data = data.astype(np.float64).filled(np.nan)
    least = data == np.float64(-(2**31))
    if data.dtype.kind == "i" and data.dtype.itemsize > 4:
        least |= data == np.iinfo(data.dtype).min
    if least.any():
        data = data.astype(np.float64)
        data[least] = np.nan
    return data


def constant_runs(
    data: np.ndarray, sampling_rate: float, seconds: float | None
) -> list[tuple[int, int]]:
    """Runs of one value with which gaps have been filled.

    A run is one if it has `seconds` and 32 samples, or 8 samples of -12345, SAC's undefined value;
    and if all of this holds:

    - the data on each side, for as long or up to the next such run, change from sample to sample;
      else they are those of a quiet instrument with few counts, or values that are held;
    - where the steps to and from it are the smallest of all, as of a quiet instrument, it has ten
      times as many samples, and the data change for so long on both sides;
    - no other such run touches it, as in square pulses;
    - it is -12345, or not the largest or smallest value and reached by steps of at most twice
      its neighbours', as where an instrument clips.

    Parameters
    ----------
    data : ndarray, (n,), float64
    sampling_rate : float
        Hz.
    seconds : float or None
        None finds no run.

    Returns
    -------
    list of (int, int)
        First sample of each, and that after its last; none where all of the data are one value.
    """
    if seconds is None or len(data) < MIN_UNDEFINED_RUN:
        return []
    least = max(MIN_RUN, int(np.ceil(seconds * sampling_rate)))
    same = data[1:] == data[:-1]
    half = least // 2
    blocks = same[: len(same) // half * half].reshape(-1, half)
    undefined = np.count_nonzero(data == SAC_UNDEFINED)
    if not blocks.all(axis=1).any() and undefined < MIN_UNDEFINED_RUN:
        return []
    runs = _runs(same) + [0, 1]
    length, value = runs[:, 1] - runs[:, 0], data[runs[:, 0]]
    runs = runs[(length >= least) | ((value == SAC_UNDEFINED) & (length >= MIN_UNDEFINED_RUN))]
    if not len(runs):
        return []
    n = len(data)
    known = data[np.isfinite(data)]
    steps = np.abs(np.diff(known))
    limits = {known.min(), known.max()}
    quantum = steps.min(where=steps > 0, initial=np.inf)
    found = []
    before, after = [0, *runs[:-1, 1]], [*runs[1:, 0], n]  # edges of the neighbouring runs
    for first, (start, stop), last in zip(before, runs.tolist(), after, strict=True):
        touches = (first == start > 0) or (last == stop < n)
        if touches or stop - start == n:
            continue
        sides = [data[max(first, start - 10 * least) : start][::-1]]
        sides += [data[stop : min(last, stop + 10 * least)]]
        if _is_filled(data[start], stop - start, sides, least, quantum, limits):
            found.append((start, stop))
    return found


def _is_filled(
    value: float,
    n: int,
    sides: Sequence[np.ndarray],
    least: int,
    quantum: float,
    limits: set[float],
) -> bool:
    """Whether data on both sides, each from the run on, show that one value was not measured."""
    sides = [side[np.isfinite(side)] for side in sides]
    sides = [side for side in sides if len(side)]
    if not sides:
        return True
    if not all(_is_lively(side[:least]) for side in sides):
        return False
    jumps = [abs(side[0] - value) for side in sides]
    if max(jumps) <= 2 * quantum:
        return n >= 10 * least and len(sides) == 2 and all(map(_is_lively, sides))
    steps = [np.abs(np.diff(side[:10])).max(initial=0) for side in sides]
    reached = all(jump <= 2 * step for jump, step in zip(jumps, steps, strict=True))
    return value == SAC_UNDEFINED or not (reached and value in limits)


def _is_lively(data: np.ndarray) -> bool:
    """Whether most samples differ from the one before."""
    return len(data) > 1 and np.mean(data[1:] == data[:-1]) <= QUIET


def _runs(there: np.ndarray) -> np.ndarray:
    """First sample, and that after the last, of runs of True in (n,): (k, 2)."""
    padded = np.concatenate(([False], there, [False]))
    return np.flatnonzero(padded[1:] != padded[:-1]).reshape(-1, 2)
