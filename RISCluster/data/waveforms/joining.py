"""Pieces of a trace, in any order, with gaps and overlaps, to unbroken waves."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .sources import SECOND, duration

DISAGREE, NOT_FINITE = "of overlaps that disagree", "that are not finite"


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
    """

    start: int
    sampling_rate: float
    data: np.ndarray
    edge: int = 0

    @property
    def end(self) -> int:
        """Time after the last sample, ns."""
        return self.time(len(self.data))

    def time(self, sample: int | float) -> int:
        """Time of a sample by its number, ns."""
        return self.start + duration(sample, self.sampling_rate)


def join(pieces: Sequence[Wave], taken_out: Counter | None = None) -> list[Wave]:
    """Join pieces of one sampling rate where they touch.

    A piece continues another where it starts within half a sample of the time after its last one.
    Overlaps whose samples agree are joined; where they do not, the whole overlap is a gap. That
    is what obspy's ``Stream.merge(method=0)`` makes of two traces. Samples that are not finite
    are gaps.

    Parameters
    ----------
    pieces : sequence of Wave
        In any order.
    taken_out : Counter, optional
        Counts samples that were made gaps, by why: `DISAGREE` and `NOT_FINITE`.

    Returns
    -------
    list of Wave
        Ascending in time, float64; neighbours are separated by a gap.
    """
    waves: list[Wave] = []
    for chain in _chains(sorted(pieces, key=lambda piece: (piece.start, piece.end))):
        waves += _lay_out(chain, Counter() if taken_out is None else taken_out)
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


def _lay_out(chain: Sequence[tuple[int, Wave]], taken_out: Counter) -> list[Wave]:
    """Samples of pieces that touch, cut where they disagree or are not finite."""
    first = chain[0][1]
    if len(chain) == 1:
        data = first.data.astype(np.float64)
        good = np.isfinite(data) if _may_be_not_finite(first.data) else None
    else:
        n = max(place + len(piece.data) for place, piece in chain)
        data, filled, bad = np.empty(n), np.zeros(n, bool), np.zeros(n, bool)
        for place, piece in chain:
            here = slice(place, place + len(piece.data))
            common = filled[here]
            if (common & (data[here] != piece.data)).any():
                bad[here] |= common
            data[here][~common] = piece.data[~common]
            filled[here] = True
        good = ~bad & np.isfinite(data)
        taken_out[DISAGREE] += int(bad.sum())
    if good is not None:
        taken_out[NOT_FINITE] += int((~np.isfinite(data)).sum())
    if good is None or good.all():
        return [Wave(first.start, first.sampling_rate, data)]
    borders = np.flatnonzero(np.diff(np.concatenate(([False], good, [False])).astype(np.int8)))
    return [
        Wave(first.time(int(start)), first.sampling_rate, data[start:stop])
        for start, stop in borders.reshape(-1, 2)
    ]


def _may_be_not_finite(data: np.ndarray) -> bool:
    return data.dtype.kind == "f"
