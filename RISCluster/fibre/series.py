"""Records of a fibre and waveforms of an array as one series of (sample, channel).

Letters: n samples, C channels.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os.path import commonprefix
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..data.holes import find_holes, sample_packing
from ..data.packing import Packing
from ..data.times import same_rate
from ..errors import DataError
from ..extras import load_hdf5_filters
from ..waveforms.joining import MIN_RUN, constant_runs, without_marks
from ..waveforms.read import read_traces

SECOND = 10**9  # ns
EXACT = 2.0**20  # up to which float32 has four binary digits left for the rest
CONSTANT_GAP = 1.0  # s of one value between waveforms that are taken for a gap
SLAB_VALUES = 2**20  # read at a time where the type of numbers changes


@dataclass(frozen=True)
class Piece:
    """Unbroken samples of one file.

    Attributes
    ----------
    path : Path
    name : str or int
        Data set in the file, or `Stretch.within` of a trace.
    first : int
        Sample of the series at which it begins.
    n_samples : int
    skip : int
        Samples of the data set before it.
    channel : int
        Of a trace; a data set has all.
    start : int
        Time of the first sample of a trace, ns since 1970 UTC.
    """

    path: Path
    name: str | int
    first: int
    n_samples: int
    skip: int = 0
    channel: int = 0
    start: int = 0

    @property
    def stop(self) -> int:
        """Sample of the series after its last."""
        return self.first + self.n_samples


@dataclass(frozen=True)
class Series:
    """Samples of all channels on one axis of time, which stay in their files until they are read.

    Attributes
    ----------
    pieces : tuple of Piece
        Ascending by `first`.
    start : int or None
        Time of sample 0, ns since 1970 UTC; None where unknown.
    sampling_rate : float
        Hz.
    n_samples, n_channels : int
    unit : str
        Of the samples; empty where unknown.
    channel_names : tuple of str or None
    distance : ndarray, (C,), float64, or None
        Metres along the fibre; None where unknown.
    """

    pieces: tuple[Piece, ...]
    start: int | None
    sampling_rate: float
    n_samples: int
    n_channels: int
    unit: str = ""
    channel_names: tuple[str, ...] | None = None
    distance: np.ndarray | None = None

    @cached_property
    def _bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """First sample of every piece, and the last that any piece up to it reaches."""
        first = np.array([piece.first for piece in self.pieces], dtype=np.int64)
        stop = np.array([piece.stop for piece in self.pieces], dtype=np.int64)
        return first, np.maximum.accumulate(stop)

    def touching(self, start: int, stop: int) -> tuple[Piece, ...]:
        """Pieces with samples from `start` to before `stop`."""
        first, reached = self._bounds
        low = np.searchsorted(reached, start, side="right")
        high = np.searchsorted(first, stop, side="left")
        return tuple(piece for piece in self.pieces[low:high] if piece.stop > start)

    def between(self, start: int, stop: int) -> "Series":
        """The same series with only the pieces that are needed from `start` to before `stop`."""
        return replace(self, pieces=self.touching(start, stop))

    def read(
        self, start: int, stop: int, first_channel: int, last_channel: int
    ) -> tuple[np.ndarray, list[str]]:
        """Samples `start` to before `stop` of channels `first_channel` to before `last_channel`.

        Returns
        -------
        ndarray, (n, C), float32
            NaN where samples are missing or can't be read. Of numbers with more digits a level of
            each channel is taken off, lest an offset cost the digits of what moves: spectra, whose
            windows have their mean removed, are the same.
        list of str
            A line for each file that can't be read.
        """
        raise NotImplementedError


class Level:
    """A level of each channel: its first value in a read, taken off in full precision."""

    def __init__(self, n_channels: int):
        self._level = np.full(n_channels, np.nan)

    def remove(self, values: np.ndarray, channels: slice) -> np.ndarray:
        """Values (n, C) less their channels' levels, but for float32 and where levels are small."""
        if values.dtype.kind == "f" and values.dtype.itemsize <= 4 or not len(values):
            return values
        level = self._level[channels]
        unknown = np.isnan(level)
        if unknown.any():
            # NaN where all are missing: the next values of this read decide.
            first = np.isfinite(values[:, unknown]).argmax(axis=0)
            level[unknown] = values[first, unknown]
        large = np.abs(level) > EXACT  # not where a level is NaN
        return values - np.where(large, level, 0.0) if large.any() else values


@dataclass(frozen=True)
class FibreSeries(Series):
    """HDF5 records, joined.

    Attributes
    ----------
    time_axis : int
        0 for (time, channel), 1 for (channel, time).
    """

    time_axis: int = 0

    def read(
        self, start: int, stop: int, first_channel: int, last_channel: int
    ) -> tuple[np.ndarray, list[str]]:
        """See `Series.read`; in memory in the order of the file."""
        shape = (stop - start, last_channel - first_channel)
        stored = np.full(shape if self.time_axis == 0 else shape[::-1], np.nan, dtype=np.float32)
        values = stored if self.time_axis == 0 else stored.T
        lost, level = [], Level(last_channel - first_channel)
        for piece in self.touching(start, stop):
            low, high = max(start, piece.first), min(stop, piece.stop)
            times = (low - piece.first + piece.skip, high - piece.first + piece.skip)
            out = values[low - start : high - start]
            channels = (first_channel, last_channel)
            try:
                with h5py.File(piece.path, "r") as file:
                    dataset = file[piece.name]
                    lines = _read_into(out, dataset, self.time_axis, times, channels, level)
            except (OSError, RuntimeError, KeyError, ValueError) as error:
                out[:] = np.nan
                lines = [" ".join(str(error).split())]
            lost += [
                f"{piece.path}: samples can't be read, they count as missing: {line}"
                for line in lines
            ]
        return values, lost


def _read_into(
    out: np.ndarray,
    dataset: h5py.Dataset,
    time_axis: int,
    times: tuple[int, int],
    channels: tuple[int, int],
    level: Level,
) -> list[str]:
    """Rows of `out` (n, C) from a data set of either order; why samples are missing."""
    load_hdf5_filters()
    packing = sample_packing(dataset)
    holes, lines = find_holes(dataset, (times, channels) if time_axis == 0 else (channels, times))
    if holes is None:
        _read_box(out, dataset, time_axis, times, channels, level, slice(None), packing)
        return lines
    for rows, columns in _solid(holes if time_axis == 0 else holes.T):
        _read_box(
            out[rows, columns],
            dataset,
            time_axis,
            (times[0] + rows.start, times[0] + rows.stop),
            (channels[0] + columns.start, channels[0] + columns.stop),
            level,
            columns,
            packing,
        )
    return lines


def _solid(holes: np.ndarray) -> Iterator[tuple[slice, slice]]:
    """Parts without a hole, by rows and columns."""
    changes = np.flatnonzero((holes[1:] != holes[:-1]).any(axis=1)) + 1
    for low, high in itertools.pairwise([0, *changes.tolist(), len(holes)]):
        edges = np.flatnonzero(np.diff(holes[low], prepend=True, append=True)).tolist()
        for left, right in zip(edges[::2], edges[1::2], strict=True):
            yield slice(low, high), slice(left, right)


def _read_box(
    out: np.ndarray,
    dataset: h5py.Dataset,
    time_axis: int,
    times: tuple[int, int],
    channels: tuple[int, int],
    level: Level,
    columns: slice,
    packing: Packing,
) -> None:
    if dataset.dtype == np.float32 and out.size and packing == Packing():  # to its place, no copy
        stored = out if time_axis == 0 else out.T
        box = (slice(*times), slice(*channels))
        if stored.flags.c_contiguous:
            dataset.read_direct(stored, box if time_axis == 0 else box[::-1])
            return
    step = max(1, SLAB_VALUES // max(1, out.shape[1]))
    if dataset.chunks:  # whole chunks, lest each be unpacked twice
        step = -(-step // dataset.chunks[time_axis]) * dataset.chunks[time_axis]
    at = times[0]
    while at < times[1]:
        end = min(times[1], (at // step + 1) * step)
        rows = slice(at - times[0], end - times[0])
        if time_axis == 0:
            values = dataset[at:end, slice(*channels)]
        else:
            values = dataset[slice(*channels), at:end].T
        out[rows] = level.remove(packing.unpack(values), columns)
        at = end


@dataclass(frozen=True)
class ArraySeries(Series):
    """Waveforms of an array: a channel a trace id."""

    def read(
        self, start: int, stop: int, first_channel: int, last_channel: int
    ) -> tuple[np.ndarray, list[str]]:
        """See `Series.read`; where files overlap, the one that begins first counts.

        Gaps that were filled with a constant value, or with marks, are missing.
        """
        stored = np.full((last_channel - first_channel, stop - start), np.nan, dtype=np.float32)
        said: dict[str, None] = {}
        level = Level(last_channel - first_channel)
        by_file: dict[tuple[Path, bool], list[Piece]] = {}
        for piece in self.touching(start, stop):
            if first_channel <= piece.channel < last_channel:
                key = piece.path, isinstance(piece.name, int)
                by_file.setdefault(key, []).append(piece)
        for (path, numbered), pieces in by_file.items():
            ids = [piece.name for piece in pieces]
            ids = "" if numbered else commonprefix(ids)
            try:
                traces = read_traces(path, *self._edges(start, stop), ids, numbered)
            except DataError as error:
                said[f"{error}; its samples count as missing"] = None
                continue
            for piece in pieces:
                number = piece.channel - first_channel
                for trace in traces.get(piece.name, []):
                    if self._place(trace, piece, stored[number], start, level, number):
                        said[_filled_line(piece)] = None
        return stored.T, list(said)

    def _edges(self, start: int, stop: int) -> list[int]:
        """Times to read, ns: some more on each side, where constant values may begin."""
        more = 2 * max(MIN_RUN, CONSTANT_GAP * self.sampling_rate)
        samples = (start - more, stop + more)
        return [self.start + round(sample * SECOND / self.sampling_rate) for sample in samples]

    def _place(
        self, trace: Any, piece: Piece, row: np.ndarray, start: int, level: Level, number: int
    ) -> bool:
        """Samples of a trace that are of this piece, where there are none yet.

        Returns
        -------
        bool
            Whether some were constant and are missing.
        """
        offset = (trace.stats.starttime.ns - piece.start) * trace.stats.sampling_rate / SECOND
        first = piece.first + round(offset)
        low = max(first, piece.first, start)
        high = min(first + len(trace.data), piece.stop, start + len(row))
        if low >= high:
            return False
        data = without_marks(trace.data).astype(np.float64)
        runs = constant_runs(data, self.sampling_rate, CONSTANT_GAP)
        for begin, end in runs:
            data[begin:end] = np.nan
        values = level.remove(data[low - first : high - first, None], slice(number, number + 1))
        out = row[low - start : high - start]
        np.copyto(out, values[:, 0], where=np.isnan(out), casting="same_kind")
        return bool(runs)


def _filled_line(piece: Piece) -> str:
    return (
        f"{piece.path}: trace {piece.name} has runs of {CONSTANT_GAP:g} s and more of one value, "
        "which are taken for a gap"
    )


def require_one_rate(rates: Sequence[tuple[str, float]]) -> float:
    """The sampling rate that all have.

    Parameters
    ----------
    rates : sequence of (str, float)
        What it is of, and Hz.

    Raises
    ------
    DataError
        Two differ; the message names both.
    """
    name, rate = rates[0]
    for other, value in rates[1:]:
        if not same_rate(value, rate):
            raise DataError(
                f"{other}: sampled at {value:g} Hz, but {name} at {rate:g} Hz; a cube needs one "
                "sampling rate: make one for each"
            )
    return rate
