"""Pieces of a trace, in any order, with gaps and overlaps, to unbroken waves."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .sources import SECOND, duration

DISAGREE, NOT_FINITE = "of overlaps that disagree", "that are not finite or marked as missing"
LITTLE = 0.1  # of a sample: what start times differ by from the rate is their rounding
CONSTANT = "that are all"  # before the value
FEWEST = 32  # samples of one value, which noise of a count or more does not give by itself
MARK, FEWEST_MARKED = -12345.0, 8  # SAC's value of what is not known
QUIET = 0.5  # share of samples like the one before, above which an instrument is quiet


@dataclass(frozen=True)
class Wave:
    """Unbroken samples of one trace.

    Attributes
    ----------
    start : int
        Time of the first sample, ns since 1970-01-01 UTC.
    sampling_rate : float
        Hz.
    data : ndarray, (n,)
    edge : int
        Samples at both ends that a taper has changed.
    drift : float
        By how much times go slower than the sampling rate says, relative to it: files have start
        times, and rates that are rounded.
    """

    start: int
    sampling_rate: float
    data: np.ndarray
    edge: int = 0
    drift: float = 0.0

    @property
    def end(self) -> int:
        """Time after the last sample, ns."""
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
    Overlaps whose samples agree are joined; where they do not, the whole overlap is a gap. That
    is what obspy's ``Stream.merge(method=0)`` makes of two traces. Samples that are not finite
    are gaps, and so are those of `constant_runs`.

    Parameters
    ----------
    pieces : sequence of Wave
        In any order.
    taken_out : Counter, optional
        Counts samples that were made gaps, by why: `DISAGREE`, `NOT_FINITE`, or `CONSTANT` and
        the value.
    constant : float or None
        Seconds of one value from which on they are a gap; None takes none.

    Returns
    -------
    list of Wave
        Ascending in time, float64; neighbours are separated by a gap.
    """
    waves: list[Wave] = []
    for chain in _chains(sorted(pieces, key=lambda piece: (piece.start, piece.end))):
        waves += _lay_out(chain, Counter() if taken_out is None else taken_out, constant)
    return waves


def _chains(pieces: Sequence[Wave]) -> list[list[tuple[int, Wave]]]:
    """Groups of pieces that touch or overlap, each with its place from the group's first sample."""
    chains: list[list[tuple[int, Wave]]] = []
    end_place, end_time = 0, 0
    for piece in pieces:
        place = end_place + round((piece.start - end_time) * piece.sampling_rate / SECOND)
        if not chains or place > end_place:
            chains.append([])
            place, end_place = 0, 0
        chains[-1].append((place, piece))
        if place + len(piece.data) > end_place:  # else it lies within what is there
            end_place, end_time = place + len(piece.data), piece.end
    return chains


def _lay_out(
    chain: Sequence[tuple[int, Wave]], taken_out: Counter, constant: float | None
) -> list[Wave]:
    """Samples of pieces that touch, cut where they disagree, or are not measured."""
    first = chain[0][1]
    if len(chain) == 1:
        data, drift = first.data.astype(np.float64), first.drift
        good = np.isfinite(data)
    else:
        data, bad, last = _overlaid(chain)
        good = ~bad & np.isfinite(data)
        taken_out[DISAGREE] += int(bad.sum())
        time = duration(len(data), first.sampling_rate)
        drift = (last - first.start) / time - 1
    taken_out[NOT_FINITE] += int((~np.isfinite(data)).sum())
    for start, stop in constant_runs(data, first.sampling_rate, constant):
        taken_out[f"{CONSTANT} {data[start]:g}"] += stop - start
        good[start:stop] = False
    drift = drift if abs(drift) * len(data) >= LITTLE else 0.0
    whole = Wave(first.start, first.sampling_rate, data, drift=drift)
    if good.all():
        return [whole]
    return [
        replace(whole, start=whole.time(start), data=data[start:stop])
        for start, stop in _runs(good).tolist()
    ]


def _overlaid(chain: Sequence[tuple[int, Wave]]) -> tuple[np.ndarray, np.ndarray, int]:
    """Samples of all pieces, where they disagree, and the time after the last."""
    n = max(place + len(piece.data) for place, piece in chain)
    data, bad = np.full(n, np.nan), np.zeros(n, bool)
    last = 0
    for place, piece in chain:
        here = slice(place, place + len(piece.data))
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
    """Samples with NaN where they are masked, or the smallest integer: marks of a gap.

    No digitiser of 24 bits or fewer gives the smallest number of 32 or 64 bits. That of 16 bits is
    where one of 16 bits clips.
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
    """Runs of one value that no instrument has measured, with which gaps have been filled.

    A run is one if it has `seconds` and 32 samples, or 8 samples of -12345, which SAC has for what
    is not known; and if all of this holds:

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
        None finds none.

    Returns
    -------
    list of (int, int)
        First sample of each, and that after its last; none where all of the data are one value.
    """
    if seconds is None or len(data) < FEWEST_MARKED:
        return []
    least = max(FEWEST, int(np.ceil(seconds * sampling_rate)))
    same = data[1:] == data[:-1]
    half = least // 2
    blocks = same[: len(same) // half * half].reshape(-1, half)
    if not blocks.all(axis=1).any() and np.count_nonzero(data == MARK) < FEWEST_MARKED:
        return []
    runs = _runs(same) + [0, 1]
    length, value = runs[:, 1] - runs[:, 0], data[runs[:, 0]]
    runs = runs[(length >= least) | ((value == MARK) & (length >= FEWEST_MARKED))]
    if not len(runs):
        return []
    n = len(data)
    known = data[np.isfinite(data)]
    steps = np.abs(np.diff(known))
    limits = {known.min(), known.max()}
    quantum = steps.min(where=steps > 0, initial=np.inf)
    found = []
    before, after = [0, *runs[:-1, 1]], [*runs[1:, 0], n]  # of each, the next runs' edges
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
    return value == MARK or not (reached and value in limits)


def _is_lively(data: np.ndarray) -> bool:
    """Whether most samples differ from the one before."""
    return len(data) > 1 and np.mean(data[1:] == data[:-1]) <= QUIET


def _runs(there: np.ndarray) -> np.ndarray:
    """Where something is, (n,) of bool: first and after the last of each run, (k, 2)."""
    padded = np.concatenate(([False], there, [False]))
    return np.flatnonzero(padded[1:] != padded[:-1]).reshape(-1, 2)
