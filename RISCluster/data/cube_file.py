"""A cube of (time, channel, frequency) and its coordinates, as a file of spectrograms.

Letters: M time steps, C channels, F frequency bins, T time steps of a sample, W windows a channel,
n samples of a block.

A sample is a window of time steps on one channel. Samples are numbered so that those which lie in
the same stored chunks are neighbours: band of channels by band of channels, in each band window by
window, in each window channel by channel. Where a row of chunks over all channels fits into
`TILE_BYTES` there is one band, and a sample's number is window * C + channel.
"""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..errors import DataError
from ..runtime import log
from ..settings import AxisSlice, CubeSettings
from .layouts import Column, SpectrogramFile, find_coordinate
from .storage import (
    CUBE,
    Storage,
    StoredArray,
    axis_order,
    named_layout,
    read_values,
    shape_of,
)
from .times import (
    NOT_A_TIME,
    count_unreadable,
    decode_times,
    epoch_unit,
    far_times,
    frequency_factor,
    log_assumed_epoch,
    nanoseconds_to_iso,
    seconds_factor,
    to_metres,
    to_text,
)

TILE_BYTES = 32 * 2**20  # read at a time, about; at least one stored chunk
BLOCK_BYTES = 4 * 2**20  # of samples handed on at a time: few enough to stay in cache
SHORT = 16  # time steps of a window that is copied step by step

# Names of coordinates beside the cube: CryoCube's first, then those that xarray users give.
NAMES = {
    "time": ("metadata/time_coords", "time", "times", "metadata/time"),
    "channel": (
        "metadata/loc_coords", "distance", "channel", "channels", "location", "metadata/distance",
    ),
    "frequency": ("metadata/freq_coords", "frequency", "frequencies", "freq", "metadata/frequency"),
}  # fmt: skip
CHANNEL_NAMES = ("metadata/channel_names", "channel_names", "trace_id")
TEXT_NAMES = ("station", "channel")  # names of channels where they are texts
TEXT = "SUOT"  # kinds of types that hold texts
EPOCH = (1e8, 1e10)  # s since 1970: from 1973 on


class CubeFile(SpectrogramFile):
    """An open cube; `dataset` is its path inside, or ``auto``, `settings` which samples it gives.

    `channels` (C,) are the numbers of those that are taken, `distance` (C,) theirs in
    `distance_unit` or None, and `window_starts` (W,) the time steps of the file where each window
    starts.
    """

    layout = "cube"

    def __init__(self, path: Path, storage: Storage, dataset: str, settings: CubeSettings):
        dataset, cube = _find_cube(path, storage, dataset)
        self.settings = settings
        self.coordinates = known = Coordinates(path, storage, dataset, cube)
        stored = StoredArray(path, cube, known.order, known.flipped)
        super().__init__(path, storage, dataset, stored)
        shape = stored.shape
        steps = _chosen(path, "times", settings.times, shape[0])
        self.channels = _chosen(path, "channels", settings.channels, shape[1])
        self.n_frequencies, self.n_times = shape[2], settings.window
        if settings.window > len(steps):
            raise DataError(
                f"{path}: [cube] window = {settings.window} is longer than the {len(steps):,} time "
                "steps that are taken; allowed: up to that many"
            )
        self.n_windows = (len(steps) - settings.window) // settings.stride + 1
        self.n_channels = len(self.channels)
        self.n_samples = self.n_windows * self.n_channels
        self._check_values()
        self._step = int(steps[1] - steps[0]) if len(steps) > 1 else 1
        self.window_starts = steps[np.arange(self.n_windows) * settings.stride]
        self.frequency, self.frequency_unit = np.arange(self.n_frequencies, dtype=float), "bin"
        if known.frequency is not None:
            self.frequency = self._check_axis(known.frequency, self.n_frequencies, "frequency")
            self.frequency_unit = "Hz"
        self.time, self.time_unit = np.arange(self.n_times, dtype=float) * self._step, "step"
        if known.seconds is not None and len(known.seconds) > 1:
            between = float(np.median(np.diff(known.seconds[: 2**16])))
            self.time, self.time_unit = self.time * between, "s"
        self.distance = None if known.distance is None else known.distance[self.channels]
        self.distance_unit = known.distance_unit
        self._set_tiles(shape)

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

    # ---- reading ----

    def read_blocks(self, index: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """See `SpectrogramFile.read_blocks`; a tile of chunks at a time, each read once."""
        if not len(index):
            return
        window, channel = self.place(index)
        band = np.searchsorted(self._band_starts, channel, side="right") - 1
        tile = self.window_starts[window] // self._tile_steps
        ends = np.flatnonzero((np.diff(band) != 0) | (np.diff(tile) != 0)) + 1
        held, key, low, high = np.empty(0), None, 0, 0  # values of the tile before, and its place
        for part in map(slice, np.r_[0, ends], np.r_[ends, len(index)]):
            start = int(self.window_starts[window[part][0]])
            stop = int(self.window_starts[window[part][-1]]) + (self.n_times - 1) * self._step + 1
            picked = self.channels[[channel[part].min(), channel[part].max()]] + [0, 1]
            first, last = picked.tolist()
            if key == (first, last) and low <= start < high < stop:  # a part is there already
                rest = self._read_box(high, stop, first, last)
                held = np.concatenate([held[start - low :], rest])
            else:
                held = self._read_box(start, stop, first, last)
            key, low, high = (first, last), start, stop
            position = (self.window_starts[window[part]] - start) // self._step
            yield from self._cut(index[part], position, self.channels[channel[part]] - first, held)

    def _read_box(self, start: int, stop: int, first: int, last: int) -> np.ndarray:
        what = f"time steps {start} to {stop - 1}, channels {first} to {last - 1}"
        return self.stored.read(what, (start, stop), (first, last))

    def _cut(
        self, index: np.ndarray, position: np.ndarray, column: np.ndarray, values: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Samples of one tile, at these steps and channels of it, some at a time: (n, F, T)."""
        views = sliding_window_view(values[:: self._step], self.n_times, axis=0)  # (..., C, F, T)
        size = max(1, BLOCK_BYTES // (4 * self.n_frequencies * self.n_times))
        n = int((position == position[0]).sum())
        step = int(column[1] - column[0]) if n > 1 else 1
        rows = np.arange(len(index) // n) * self.settings.stride
        columns = column[0] + np.arange(n) * step
        if not (
            len(index) % n == 0
            and np.array_equal(position, np.repeat(rows, n))
            and np.array_equal(column, np.tile(columns, len(rows)))
        ):
            for at in range(0, len(index), size):
                chosen = slice(at, at + size)
                yield index[chosen], _float32(views[position[chosen], column[chosen]])
            return
        # A full grid of windows and channels is cut without an index of each.
        grid = views[:: self.settings.stride, columns[0] : columns[-1] + 1 : step][: len(rows)]
        for at in range(0, len(rows), max(1, size // n)):
            x = _float32(grid[at : at + max(1, size // n)])
            x = x.reshape(-1, self.n_frequencies, self.n_times)
            yield index[at * n : at * n + len(x)], x

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
        numbers = self.channels.tolist()
        return [f"channel {n}" for n in numbers] if names is None else [names[n] for n in numbers]

    def columns_fingerprint(self) -> str:
        """See `SpectrogramFile.columns_fingerprint`; made of the coordinates."""
        digest = hashlib.sha256("\n".join(self.channel_names()).encode())
        for values in (self.window_times, self.distance):
            digest.update(b"\0" if values is None else values.tobytes())
        return digest.hexdigest()[:32]


def _float32(views: np.ndarray) -> np.ndarray:
    """A copy of windows (..., T) whose time steps lie far apart in memory.

    One time step after the other was measured three times as fast as NumPy's own order for windows
    of a few steps; for long windows it would jump too far.
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
    three = {name: array for name, array in storage.arrays() if array.ndim == 3}
    if dataset != "auto":
        found = [dataset] if storage.get(dataset) is not None else []
        three = {name: storage.get(name) for name in found if storage.get(name).ndim == 3}
    else:
        named = [name for name, array in three.items() if named_layout(array) == "cube"]
        choices = (["data"] if "data" in three else [], list(three), named)
        found = next((names for names in choices if len(names) == 1), [])
    if len(found) != 1 or found[0] not in three:
        raise DataError(
            f"{path}: a cube needs one data set of (time, channel, frequency); the file has "
            f"{storage.listed()}; set data.dataset to one of three dimensions"
        )
    return found[0], three[found[0]]


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


# ---- coordinates --------------------------------------------------------------------------------


class Coordinates:
    """Coordinates of a cube, ascending; DataError where one does not match the shape.

    Attributes
    ----------
    times, seconds : ndarray, (M,), int64 and float64, or None
        Start of each time step: ns since 1970 UTC, and seconds from the first.
    distance, frequency : ndarray, (C,) and (F,), float64, or None
        The former in `distance_unit`, the latter in Hz.
    names : list of str or None
        Of the channels.
    order, flipped : tuple
        Axis of the file that is time, channel and frequency, and whether it descends there.
    """

    def __init__(self, path: Path, storage: Storage, dataset: str, cube: Any):
        self._path, self._storage, group = path, storage, dataset.rpartition("/")[0]
        self._prefix = f"{group}/" if group else ""
        found = {
            axis: find_coordinate(
                path, storage, cube, axis, [self._prefix + x for x in NAMES[axis]]
            )
            for axis in CUBE
        }
        self.order = axis_order(path, cube, CUBE, {k: len(x.values) for k, x in found.items() if x})
        sizes = dict(zip(CUBE, (cube.shape[axis] for axis in self.order), strict=True))
        for axis, one in found.items():
            if one:
                self._require_length(one.name, one.values.shape, axis, sizes[axis])
        self.times, self.seconds, backwards = self._times(found["time"])
        self.names = self._channel_names(found["channel"], sizes["channel"])
        self.distance, self.distance_unit, self.frequency = None, "", None
        channel, frequency = found["channel"], found["frequency"]
        if channel and channel.values.dtype.kind not in TEXT:
            is_length = channel.name.endswith(("loc_coords", "distance", "distance_values"))
            unit = channel.units or ("m" if is_length else "")
            self.distance, self.distance_unit = to_metres(self._numbers(channel), unit)
        factor = frequency and frequency_factor(f"{path}: {frequency.name}", frequency.units)
        descends = factor is not None and frequency.descends
        if factor is not None:
            values = self._numbers(frequency)[:: -1 if descends else 1]
            self.frequency = values if factor == 1 else values * factor
        self.flipped = backwards, False, descends

    def _require_length(self, name: str, shape: tuple, axis: str, n: int) -> None:
        if shape != (n,):
            raise DataError(
                f"{self._path}: {name} has shape {shape}, but the cube has {n} {axis} steps; a "
                "coordinate needs one value a step"
            )

    def _numbers(self, found: Column) -> np.ndarray:
        is_number = found.values.dtype.kind in "iufb"
        values = found.values.astype(np.float64) if is_number else np.array(np.nan)
        if not np.isfinite(values).all():
            raise DataError(f"{self._path}: {found.name} must hold finite numbers")
        return values

    def _channel_names(self, channel: Column | None, n: int) -> list[str] | None:
        """Names of the channels: of an array of names, or of a coordinate of texts."""
        texts = channel.values if channel and channel.values.dtype.kind in TEXT else None
        for name in (*CHANNEL_NAMES, *TEXT_NAMES):
            array = self._storage.get(self._prefix + name)
            if array is None:
                continue
            if name in CHANNEL_NAMES:
                self._require_length(self._prefix + name, shape_of(array), "channel", n)
            elif array.dtype.kind not in TEXT or shape_of(array) != (n,):
                continue
            texts = read_values(array, complete=True)
            break
        names = None if texts is None else [to_text(value) for value in texts]
        if names and len(set(names)) < len(names):
            log.warning(f"{self._path}: names of channels are not unique: they are numbered")
            return None
        return names

    def _times(self, found: Column | None) -> tuple[np.ndarray | None, np.ndarray | None, bool]:
        """Ascending absolute times, seconds from the first, and whether they are stored so."""
        times = seconds = None
        why, descends = "", False
        try:
            times, seconds = self._decode(found) if found else (None, None)
        except DataError:
            raise
        except ValueError as error:
            why = f"{error}; change its attributes units and calendar"
        if times is not None:
            seconds = (times - times[0]) / 1e9
            if (times == NOT_A_TIME).any():
                why = count_unreadable(found.values, times) or "some times are missing"
            elif (far := far_times(times)).any():
                first = nanoseconds_to_iso(times[far][:1])[0]
                why = f"{first} is far from its other times, as of a clock that is wrong"
        if seconds is not None and not why:
            if descends := found.descends:
                seconds = seconds[::-1] - seconds[-1]
                times = None if times is None else times[::-1]
            if not (np.diff(seconds) > 0).all():
                why = "it does not ascend from step to step, as where only days are stored"
        if why:
            log.warning(
                f"{self._path}: {found.name}: {why}: its times are not used, and time steps are "
                "counted"
            )
            return None, None, False
        return times, seconds, descends

    def _decode(self, found: Column) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Absolute times, or seconds from the first step where only those are known; or neither."""
        _, values, units, calendar = found
        if values.dtype.kind == "m":
            seconds = values.astype("m8[ns]").astype(np.int64) / 1e9
            return None, seconds - seconds[0]
        is_absolute = re.search(r"\s(since|after|from|ref|@)\s|\[", units, re.I)
        if values.dtype.kind not in "iuf" or is_absolute:
            return decode_times(values, units, calendar), None
        numbers = self._numbers(found)
        factor = seconds_factor(units) if units else epoch_unit(numbers.max()) / 1e9
        if factor is None:
            return None, None
        if EPOCH[0] <= numbers.min() * factor <= numbers.max() * factor < EPOCH[1]:
            unit = units or log_assumed_epoch(self._path, found.name, numbers.max())
            return decode_times(values, f"{unit} since 1970-01-01"), None
        return None, (numbers - numbers[0]) * (factor if units else 1.0)
