"""Records of a fibre and waveforms of an array as one series of (sample, channel).

Letters: n samples, C channels.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from os.path import commonprefix
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..data.missing import find_holes
from ..data.stored_array import Packing, sample_packing
from ..errors import DataError
from ..io import load_hdf5_filters
from ..waveforms.process import MIN_RUN, constant_runs, without_marks
from ..waveforms.read import read_traces

SECOND = 10**9  # ns
EXACT = 2.0**20  # up to which float32 has four binary digits left for the rest
CONSTANT_GAP = 1.0  # s of one value between waveforms that are taken for a gap
SLAB_VALUES = 2**20  # read at a time


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
    time_axis : int or None
        Of HDF5 records, 0 or 1; None for waveforms, a channel a trace id.
    """

    pieces: tuple[Piece, ...]
    start: int | None
    sampling_rate: float
    n_samples: int
    n_channels: int
    unit: str = ""
    channel_names: tuple[str, ...] | None = None
    distance: np.ndarray | None = None
    time_axis: int | None = None

    @cached_property
    def _bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """First sample of every piece, and the last that any piece up to it reaches."""
        first = np.array([piece.first for piece in self.pieces], dtype=np.int64)
        stop = np.array([piece.stop for piece in self.pieces], dtype=np.int64)
        return first, np.maximum.accumulate(stop)

    def between(self, start: int, stop: int) -> "Series":
        """The same series with only the pieces that have samples of `start` to before `stop`."""
        first, reached = self._bounds
        low = np.searchsorted(reached, start, side="right")
        high = np.searchsorted(first, stop, side="left")
        return replace(self, pieces=tuple(p for p in self.pieces[low:high] if p.stop > start))

    def read(self, start: int, stop: int, low: int, high: int) -> tuple[np.ndarray, list[str]]:
        """Samples `start` to before `stop` of channels `low` to before `high`.

        Where waveforms overlap, the file that begins first counts; gaps that were filled with a
        constant value, or with marks, are missing.

        Returns
        -------
        ndarray, (n, C), float32
            NaN where samples are missing or can't be read. Of numbers with more digits a level of
            each channel is subtracted, so that an offset costs no digits: spectra, whose windows
            have their mean removed, are the same. In memory in the order of the files.
        list of str
            A line for each file that can't be read.
        """
        transposed = self.time_axis != 0
        shape = (stop - start, high - low)
        out = np.full(shape[::-1] if transposed else shape, np.nan, dtype=np.float32)
        out = out.T if transposed else out
        read = _read_traces if self.time_axis is None else _read_records
        lines = read(self.between(start, stop), out, start, low, Level(high - low))
        return out, list(dict.fromkeys(lines))


class Level:
    """A level of each channel: its first value in a read, subtracted in full precision."""

    def __init__(self, n_channels: int):
        self._level = np.full(n_channels, np.nan)

    def remove(self, values: np.ndarray, channels: slice) -> np.ndarray:
        """Values (n, C) less large levels of their channels; float32 values unchanged."""
        if (values.dtype.kind == "f" and values.dtype.itemsize <= 4) or not len(values):
            return values
        level = self._level[channels]
        unknown = np.isnan(level)
        if unknown.any():
            # NaN where all are missing: the next values of this read decide.
            first = np.isfinite(values[:, unknown]).argmax(axis=0)
            level[unknown] = values[first, unknown]
        large = np.abs(level) > EXACT  # not where a level is NaN
        return values - np.where(large, level, 0.0) if large.any() else values


# ---- HDF5 records -------------------------------------------------------------------------------


def _read_records(
    series: Series, out: np.ndarray, start: int, channel: int, level: Level
) -> Iterator[str]:
    """Fill `out` (n, C), which begins at a sample and a channel; why samples are missing."""
    load_hdf5_filters()
    for piece in series.pieces:
        low, high = max(start, piece.first), min(start + len(out), piece.stop)
        rows = out[low - start : high - start]
        first = low - piece.first + piece.skip
        try:
            with h5py.File(piece.path, "r") as file:
                dataset = file[piece.name]
                lines = _read_dataset(rows, dataset, series.time_axis, first, channel, level)
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            rows[:] = np.nan
            lines = [" ".join(str(error).split())]
        for line in lines:
            yield f"{piece.path}: samples can't be read, they count as missing: {line}"


def _read_dataset(
    out: np.ndarray, dataset: h5py.Dataset, time_axis: int, first: int, channel: int, level: Level
) -> list[str]:
    """Samples from `first` on, without those that HDF5 has only a fill value for."""
    order = slice(None) if time_axis == 0 else slice(None, None, -1)
    times, channels = (first, first + len(out)), (channel, channel + out.shape[1])
    packing = sample_packing(dataset)
    holes, lines = find_holes(dataset, (times, channels)[order])
    parts = [(slice(0, len(out)), slice(0, out.shape[1]))]
    if holes is not None:
        parts = _solid(holes if time_axis == 0 else holes.T)
    step = max(1, SLAB_VALUES // max(1, out.shape[1]))
    if dataset.chunks:  # whole chunks, so that none is unpacked twice
        step = -(-step // dataset.chunks[time_axis]) * dataset.chunks[time_axis]
    for rows, columns in parts:
        across = slice(channel + columns.start, channel + columns.stop)
        start, stop = first + rows.start, first + rows.stop
        stored = out[rows, columns] if time_axis == 0 else out[rows, columns].T
        if dataset.dtype == out.dtype and packing == Packing() and stored.flags.c_contiguous:
            dataset.read_direct(stored, (slice(start, stop), across)[order])  # without a copy
            continue
        edges = [start, *range(start // step * step + step, stop, step), stop]
        for low, high in itertools.pairwise(edges):
            values = packing.unpack(dataset[(slice(low, high), across)[order]])
            values = values if time_axis == 0 else values.T
            out[low - first : high - first, columns] = level.remove(values, columns)
    return lines


def _solid(holes: np.ndarray) -> Iterator[tuple[slice, slice]]:
    """Parts without a hole, by rows and columns."""
    changes = np.flatnonzero((holes[1:] != holes[:-1]).any(axis=1)) + 1
    for low, high in itertools.pairwise([0, *changes.tolist(), len(holes)]):
        edges = np.flatnonzero(np.diff(holes[low], prepend=True, append=True)).tolist()
        for left, right in zip(edges[::2], edges[1::2], strict=True):
            yield slice(low, high), slice(left, right)


# ---- waveforms ----------------------------------------------------------------------------------


def _read_traces(
    series: Series, out: np.ndarray, start: int, channel: int, level: Level
) -> Iterator[str]:
    """As `_read_records`; each file is read once for all its channels."""
    more = 2 * max(MIN_RUN, CONSTANT_GAP * series.sampling_rate)  # where constant values may begin
    edges = [
        series.start + round(sample * SECOND / series.sampling_rate)
        for sample in (start - more, start + len(out) + more)
    ]
    by_file: dict[tuple[Path, bool], list[Piece]] = {}
    for piece in series.pieces:
        if channel <= piece.channel < channel + out.shape[1]:
            by_file.setdefault((piece.path, isinstance(piece.name, int)), []).append(piece)
    for (path, numbered), pieces in by_file.items():
        ids = "" if numbered else commonprefix([piece.name for piece in pieces])
        try:
            traces = read_traces(path, *edges, ids, numbered)
        except DataError as error:
            yield f"{error}; its samples count as missing"
            continue
        for piece in pieces:
            column = slice(piece.channel - channel, piece.channel - channel + 1)
            for trace in traces.get(piece.name, []):
                if _place_trace(trace, piece, out[:, column], start, level, column):
                    yield (
                        f"{path}: trace {piece.name} has runs of {CONSTANT_GAP:g} s and more of "
                        "one value, which are taken for a gap"
                    )


def _place_trace(
    trace: Any, piece: Piece, out: np.ndarray, start: int, level: Level, column: slice
) -> bool:
    """Fill gaps of `out` (n, 1) with samples of a trace; whether some of it were constant."""
    rate = trace.stats.sampling_rate
    first = piece.first + round((trace.stats.starttime.ns - piece.start) * rate / SECOND)
    low = max(first, piece.first, start)
    high = min(first + len(trace.data), piece.stop, start + len(out))
    if low >= high:
        return False
    data = without_marks(trace.data).astype(np.float64)
    runs = constant_runs(data, rate, CONSTANT_GAP)
    for begin, end in runs:
        data[begin:end] = np.nan
    values = level.remove(data[low - first : high - first, None], column)
    rows = out[low - start : high - start]
    np.copyto(rows, values, where=np.isnan(rows), casting="same_kind")
    return bool(runs)
