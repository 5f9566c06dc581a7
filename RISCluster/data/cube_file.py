"""A cube of (time, channel, frequency) as a file of spectrograms.

Letters: M time steps, C channels, F frequency bins, T time steps of a sample, W windows a channel,
n samples of a block.

A sample is a window of time steps on one channel. Samples are numbered so that those which lie in
the same stored chunks are neighbours: band of channels by band of channels, in each band window by
window, in each window channel by channel. Where a row of chunks over all channels fits into
`TILE_BYTES` there is one band, and a sample's number is window * C + channel.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..errors import DataError
from ..settings import AxisSlice, CubeSettings
from .coordinates import named_layout, read_coordinates
from .spectrograms import SpectrogramFile
from .storage import Storage
from .stored_array import StoredArray
from .times import nanoseconds_to_iso

TILE_BYTES = 32 * 2**20  # read at a time, about; at least one stored chunk
BLOCK_BYTES = 4 * 2**20  # of samples handed on at a time: few enough to stay in cache
SHORT = 16  # time steps of a window that is copied step by step


class CubeFile(SpectrogramFile):
    """An open cube.

    `dataset` is the path of the cube inside, or ``auto``; `settings` say what a sample is, and
    which channels and times are taken.

    Attributes
    ----------
    n_windows, n_channels : int
    channels : ndarray, (C,), int64
        Numbers of the channels that are taken.
    distance : ndarray, (C,), float64, or None
        Of those channels, in `distance_unit`.
    window_starts : ndarray, (W,), int64
        Time step at which each window starts, among those of the file.

    Raises
    ------
    DataError
        There is no cube, its coordinates do not fit, or the settings go beyond it.
    """

    layout = "cube"
    time_unit: str

    def __init__(self, path: Path, storage: Storage, dataset: str, settings: CubeSettings):
        self.path, self._storage, self.settings = path, storage, settings
        self.dataset, cube = _find_cube(path, storage, dataset)
        self.coordinates = known = read_coordinates(path, storage, self.dataset, cube)
        self.stored = StoredArray(path, cube, known.order, known.flipped)
        shape = self.stored.shape
        steps = _chosen(path, "times", settings.times, shape[0])
        self.channels = _chosen(path, "channels", settings.channels, shape[1])
        self.n_frequencies, self.n_times = shape[2], settings.window
        self.n_windows = _count_windows(path, settings, len(steps))
        self.n_channels = len(self.channels)
        self.n_samples = self.n_windows * self.n_channels
        self._check_values()
        self._step = int(steps[1] - steps[0]) if len(steps) > 1 else 1
        self.window_starts = steps[np.arange(self.n_windows) * settings.stride]
        self._set_axes()
        self._set_tiles(shape)

    def _set_axes(self) -> None:
        known = self.coordinates
        if known.frequency is None:
            self.frequency, self.frequency_unit = np.arange(self.n_frequencies, dtype=float), "bin"
        else:
            self.frequency = self._check_axis(known.frequency, self.n_frequencies, "frequency")
            self.frequency_unit = "Hz"
        self.time, self.time_unit = np.arange(self.n_times, dtype=float) * self._step, "step"
        if known.seconds is not None and len(known.seconds) > 1:
            between = float(np.median(np.diff(known.seconds[: 2**16])))
            self.time, self.time_unit = self.time * between, "s"
        picked = self.channels
        self.distance = None if known.distance is None else known.distance[picked]
        self.distance_unit = known.distance_unit

    # ---- which sample is where ----

    def _set_tiles(self, shape: tuple[int, int, int]) -> None:
        """Bands of channels and tiles of time: multiples of stored chunks near `TILE_BYTES`."""
        chunks = self.chunks or (1, 1, shape[2])
        row = shape[2] * self.dtype.itemsize
        fitting = TILE_BYTES // (chunks[0] * row)
        width = shape[1] if fitting >= shape[1] else max(1, fitting // chunks[1]) * chunks[1]
        band = self.channels // width
        self._band_starts = np.flatnonzero(np.r_[True, np.diff(band) > 0])
        self._band_widths = np.diff(np.r_[self._band_starts, self.n_channels])
        self._band_offsets = np.r_[0, np.cumsum(self._band_widths * self.n_windows)]
        span = min(width, shape[1]) * row
        self._tile_steps = max(1, TILE_BYTES // (span * chunks[0])) * chunks[0]

    def place(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Window (0 to W - 1) and position among `channels` (0 to C - 1) of samples (n,)."""
        band = np.searchsorted(self._band_offsets, index, side="right") - 1
        within = index - self._band_offsets[band]
        window, channel = np.divmod(within, self._band_widths[band])
        return window, channel + self._band_starts[band]

    def row_of(self, index: int) -> tuple[int, int, int, int]:
        """Where one sample is: window, channel, and its band's first channel and width."""
        band = int(np.searchsorted(self._band_offsets, index, side="right")) - 1
        window, channel = self.place(np.array([index]))
        first, width = int(self._band_starts[band]), int(self._band_widths[band])
        return int(window[0]), int(channel[0]), first, width

    # ---- reading ----

    def read_blocks(self, index: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """See `SpectrogramFile.read_blocks`; a tile of chunks at a time, each read once."""
        if not len(index):
            return
        window, channel = self.place(index)
        band = np.searchsorted(self._band_starts, channel, side="right") - 1
        tile = self.window_starts[window] // self._tile_steps
        ends = np.flatnonzero((np.diff(band) != 0) | (np.diff(tile) != 0)) + 1
        held: tuple[int, int, int, np.ndarray] | None = None  # channels, first step, last, values
        for first, last in zip(np.r_[0, ends], np.r_[ends, len(index)], strict=True):
            part = slice(first, last)
            held = self._read_tile(window[part], channel[part], held)
            yield from self._cut(index[part], window[part], channel[part], held)

    def _read_tile(
        self, window: np.ndarray, channel: np.ndarray, held: tuple | None
    ) -> tuple[Any, int, int, np.ndarray]:
        """Time steps of these windows on these channels; those in `held` are not read again."""
        start = int(self.window_starts[window[0]])
        stop = int(self.window_starts[window[-1]]) + (self.n_times - 1) * self._step + 1
        low, high = int(channel.min()), int(channel.max())
        first, last = int(self.channels[low]), int(self.channels[high]) + 1
        key = (first, last)
        kept = None
        if held is not None and held[0] == key and held[1] <= start < held[2] < stop:
            kept = held[3][start - held[1] :]
        values = self._read_box(start if kept is None else held[2], stop, first, last)
        if kept is not None:
            values = np.concatenate([kept, values])
        return key, start, stop, values

    def _read_box(self, start: int, stop: int, first: int, last: int) -> np.ndarray:
        what = f"time steps {start} to {stop - 1}, channels {first} to {last - 1}"
        return self.stored.read(what, (start, stop), (first, last))

    def _cut(
        self, index: np.ndarray, window: np.ndarray, channel: np.ndarray, held: tuple
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Samples of one tile, some at a time: to (n, F, T)."""
        (first, _), start, _, values = held
        views = sliding_window_view(values[:: self._step], self.n_times, axis=0)  # (..., C, F, T)
        position = (self.window_starts[window] - start) // self._step
        column = self.channels[channel] - first
        size = max(1, BLOCK_BYTES // (4 * self.n_frequencies * self.n_times))
        whole = self._is_whole(position, column)
        if whole is None:
            for at in range(0, len(index), size):
                chosen = slice(at, at + size)
                yield index[chosen], _float32(views[position[chosen], column[chosen]])
            return
        n_windows, columns = whole
        grid = views[:: self.settings.stride][:n_windows, columns]
        rows = max(1, size // grid.shape[1])
        for at in range(0, n_windows, rows):
            x = _float32(grid[at : at + rows]).reshape(-1, self.n_frequencies, self.n_times)
            done = at * grid.shape[1]
            yield index[done : done + len(x)], x

    def _is_whole(self, position: np.ndarray, column: np.ndarray) -> tuple[int, slice] | None:
        """The number of windows and the channels, where these are a full grid of both."""
        n_columns = int((position == position[0]).sum())
        n_windows = len(position) // n_columns
        columns = column[:n_columns]
        step = int(columns[1] - columns[0]) if n_columns > 1 else 1
        grid_columns = columns[0] + np.arange(n_columns) * step
        grid_positions = np.arange(n_windows) * self.settings.stride
        whole = (
            len(position) == n_windows * n_columns
            and np.array_equal(position, np.repeat(grid_positions, n_columns))
            and np.array_equal(column, np.tile(grid_columns, n_windows))
        )
        return (n_windows, slice(int(columns[0]), int(columns[-1]) + 1, step)) if whole else None

    # ---- what is known of the samples ----

    @property
    def window_times(self) -> np.ndarray | None:
        """Start of every window, (W,) int64, ns since 1970 UTC; None where unknown."""
        times = self.coordinates.times
        return None if times is None else times[self.window_starts]

    def starttimes(self, start: int = 0, stop: int | None = None) -> list[str] | None:
        """See `SpectrogramFile.starttimes`."""
        times = self.window_times
        if times is None:
            return None
        window, _ = self.place(np.arange(*slice(start, stop).indices(self.n_samples)))
        return nanoseconds_to_iso(times[window])

    def trace_ids(self, start: int = 0, stop: int | None = None) -> list[str] | None:
        """See `SpectrogramFile.trace_ids`; channels without names are called by their number."""
        _, channel = self.place(np.arange(*slice(start, stop).indices(self.n_samples)))
        names = self.channel_names()
        return [names[number] for number in channel.tolist()]

    def channel_names(self) -> list[str]:
        """Name of each channel that is taken."""
        names = self.coordinates.names
        return [
            f"channel {number}" if names is None else names[number]
            for number in self.channels.tolist()
        ]

    def columns_fingerprint(self) -> str:
        """See `SpectrogramFile.columns_fingerprint`; made of the coordinates."""
        digest = hashlib.sha256("\n".join(self.channel_names()).encode())
        for values in (self.window_times, self.distance):
            digest.update(b"\0" if values is None else values.tobytes())
        return digest.hexdigest()[:32]


def _float32(views: np.ndarray) -> np.ndarray:
    """A copy of windows (..., T) whose time steps lie far apart in memory.

    One time step after the other was measured three times as fast as NumPy's own order for the
    paper's kind of window, of a few steps; for long windows it would jump too far.
    """
    x = np.empty(views.shape, dtype=np.float32)
    with np.errstate(over="ignore"):  # beyond float32 becomes infinite: an unusable sample
        if views.shape[-1] <= SHORT:
            for step in range(views.shape[-1]):
                x[..., step] = views[..., step]
        else:
            x[:] = views
    return x


def _find_cube(path: Path, storage: Storage, dataset: str) -> tuple[str, Any]:
    if dataset == "auto":
        three = {name: array for name, array in storage.arrays() if array.ndim == 3}
        named = [name for name, array in three.items() if named_layout(array) == "cube"]
        found = next(
            (names for names in (["data"], list(three), named) if len(three.keys() & names) == 1),
            None,
        )
        if found is None:
            raise DataError(
                f"{path}: a cube needs one data set of (time, channel, frequency), and this file "
                f"has {', '.join(three) or 'none'} with three dimensions; set data.dataset"
            )
        name = next(name for name in found if name in three)
        return name, three[name]
    array = storage.get(dataset)
    if array is None or array.ndim != 3:
        there = "no array" if array is None else f"{array.ndim} dimensions"
        names = ", ".join(name for name, _ in storage.arrays()) or "no array"
        raise DataError(
            f"{path}: {dataset}: {there}; a cube has three: time, channel, frequency; the file has "
            f"{names}; set data.dataset to one of them"
        )
    return dataset, array


def _chosen(path: Path, key: str, part: AxisSlice, n: int) -> np.ndarray:
    """Numbers along an axis of n that a slice takes; beyond the axis is an error, not less."""
    numbers = np.arange(n)[slice(*part)]
    beyond = [value for value in (part.start, part.stop) if value is not None and abs(value) > n]
    if beyond or not len(numbers):
        raise DataError(
            f"{path}: [cube] {key} = {part} is out of range: the cube has {n:,} {key}, 0 to "
            f"{n - 1}; allowed: start:stop:step within them"
        )
    return numbers


def _count_windows(path: Path, settings: CubeSettings, n_steps: int) -> int:
    if settings.window > n_steps:
        raise DataError(
            f"{path}: [cube] window = {settings.window} is longer than the {n_steps:,} time steps "
            "that are taken; allowed: up to that many"
        )
    return (n_steps - settings.window) // settings.stride + 1
