"""A cube of (time, channel, frequency) and its coordinates, as a file of spectrograms.

A sample is a window of T time steps on one of C channels, or on neighbouring ones, which are then
its components. Samples of the same stored chunks are neighbours: they are numbered by bands of
channels, in each band window by window, in each window channel by channel. Where a row of chunks
over all channels fits into `TILE_BYTES` there is one band: a number is window * C + channel.
"""

import hashlib
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..runtime import log
from ..settings import AxisSlice, CubeSettings
from . import times
from .layouts import Column, SpectrogramFile, as_float32, column_times, find_axes
from .storage import CUBE, Storage, StoredArray, read_values

TILE_BYTES = 32 * 2**20  # read at a time, about; at least one stored chunk
BLOCK_BYTES = 4 * 2**20  # of samples handed on at a time: few enough to stay in cache

# Names of coordinates beside the cube: CryoCube's first, then those that xarray users give.
NAMES = {
    "time": ("metadata/time_coords", "time", "times"),
    "channel": ("metadata/loc_coords", "distance", "channel", "channels", "location"),
    "frequency": ("metadata/freq_coords", "frequency", "frequencies", "freq"),
}
CHANNEL_NAMES = ("metadata/channel_names", "channel_names", "trace_id", "station", "channel")
TEXT = "SUOT"  # kinds of types that hold texts
SINCE_1973 = 10**17  # ns; smaller numbers without a reference count from the first step


class CubeFile(SpectrogramFile):
    """An open cube; `settings` are which samples it gives.

    `channels` (C,) are the numbers of those in the middle of a sample, `names` of all or None,
    `distance` (C,) in `distance_unit` or None, `steps` the time steps that are taken,
    `window_starts` (W,) those where each window starts, and `times` and `seconds` (M,) the start of
    each step: int64 ns since 1970, and s from the first; None where unknown.
    """

    layout = "cube"

    def __init__(self, path: Path, store: Storage, dataset: str, settings: CubeSettings):
        self.settings, group, cube = settings, dataset.rpartition("/")[0], store.get(dataset)
        prefix = f"{group}/" if group else ""
        names = {axis: [prefix + name for name in NAMES[axis]] for axis in CUBE}
        found, order = find_axes(path, store, cube, CUBE, names)
        super().__init__(path, store, dataset, StoredArray(path, cube, order))
        n_steps, n_channels, self.n_frequencies = self.stored.shape
        across = settings.window_channels
        self.steps = steps = _chosen(path, "times", settings.times, n_steps, settings.window)
        channels = _chosen(path, "channels", settings.channels, n_channels, across)
        self._step, self._gap = (int(x[1] - x[0]) if len(x) > 1 else 1 for x in (steps, channels))
        self.channels = channels[across // 2 :][: len(channels) - across + 1]
        self.channels = self.channels[:: settings.stride_channels]
        self.n_channels, self.n_times = len(self.channels), settings.window
        if across > 1:
            self.components = tuple(f"{k - across // 2:+d}" for k in range(across))
        self.n_windows = (len(steps) - settings.window) // settings.stride + 1
        self.n_samples = self.n_windows * self.n_channels
        self._check_values()
        self.window_starts = steps[np.arange(self.n_windows) * settings.stride]
        frequency, channel = found.get("frequency"), found.get("channel")
        self.frequency, self.frequency_unit = self._axis("frequency", frequency, self.n_frequencies)
        self.times, self.seconds = step_times(path, found.get("time"))
        self.time, self.time_unit = np.arange(self.n_times, dtype=float) * self._step, "step"
        if self.seconds is not None and len(self.seconds) > 1:
            between = float(np.median(np.diff(self.seconds[: 2**16])))
            self.time, self.time_unit = self.time * between, "s"
        self.names = self._channel_names(prefix, channel, n_channels)
        self.distance, self.distance_unit = None, ""
        if channel and channel.values.dtype.kind in "iuf":
            is_length = channel.name.endswith(("loc_coords", "distance", "distance_values"))
            unit = channel.units or ("m" if is_length else "")
            self.distance, self.distance_unit = times.to_metres(channel.values * 1.0, unit)
            if not np.isfinite(self.distance).all():
                raise DataError(f"{path}: {channel.name} must hold finite numbers")
            self.distance = self.distance[self.channels]
        self._set_tiles()

    def _set_tiles(self) -> None:
        """Bands of channels and tiles of time: multiples of stored chunks near `TILE_BYTES`."""
        _, n_channels, n_frequencies = self.stored.shape
        chunks = self.chunks or (1, 1, n_frequencies)
        row = n_frequencies * self.dtype.itemsize
        fitting = TILE_BYTES // (chunks[0] * row)
        width = max(1, fitting // chunks[1]) * chunks[1] if fitting < n_channels else n_channels
        band = self.channels // width
        self._band_starts = np.flatnonzero(np.r_[True, np.diff(band) > 0])
        self._band_widths = np.diff(np.r_[self._band_starts, self.n_channels])
        self._band_offsets = np.r_[0, np.cumsum(self._band_widths * self.n_windows)]
        width = min(width, n_channels) * row
        self._tile_steps = max(1, TILE_BYTES // (width * chunks[0])) * chunks[0]

    def place(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Window (0 to W - 1) and position among `channels` (0 to C - 1) of samples (n,)."""
        band = np.searchsorted(self._band_offsets, index, side="right") - 1
        within = index - self._band_offsets[band]
        window, channel = np.divmod(within, self._band_widths[band])
        return window, channel + self._band_starts[band]

    def read_blocks(self, index: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """See `SpectrogramFile`; the samples that begin in a tile of chunks at a time."""
        window, channel = self.place(index)
        band = np.searchsorted(self._band_starts, channel, side="right") - 1
        starts = self.window_starts[window]
        n = len(self.components)
        columns = self.channels[channel] - n // 2 * self._gap
        beside = np.arange(n)[:, None] * self._gap
        tile = starts // self._tile_steps
        ends = np.flatnonzero((np.diff(band) != 0) | (np.diff(tile) != 0)) + 1
        offsets = np.arange(self.n_times) * self._step
        size = max(1, BLOCK_BYTES // (4 * math.prod(self.shape)))
        for part in np.split(np.arange(len(index)), ends) if len(index) else ():
            start, stop = int(starts[part[0]]), int(starts[part[-1]] + offsets[-1]) + 1
            first, last = int(columns[part].min()), int(columns[part].max() + beside[-1, 0])
            what = f"time steps {start} to {stop - 1}, channels {first} to {last}"
            values = self.stored.read(what, (start, stop), (first, last + 1))
            for at in range(0, len(part), size):
                some = part[at : at + size]
                steps = (starts[some] - start)[:, None, None] + offsets
                x = values[steps, (columns[some] - first)[:, None, None] + beside]
                x = x.swapaxes(2, 3).reshape(len(some), *self.shape)
                yield index[some], as_float32(x)

    @property
    def window_times(self) -> np.ndarray | None:
        """Start of every window, (W,) int64, ns since 1970 UTC; None where unknown."""
        return None if self.times is None else self.times[self.window_starts]

    def column(self, name: str, start: int = 0, stop: int | None = None) -> Any:
        """See `SpectrogramFile`; ``/labels`` are (time, channel), those in the middle count."""
        window, channel = self.place(np.arange(*slice(start, stop).indices(self.n_samples)))
        if name == "starttime":
            starts = self.window_times
            return None if starts is None else times.nanoseconds_to_iso(starts[window])
        if name == "trace_id":
            names = self.channel_names()
            return [names[number] for number in channel.tolist()]
        found = self._store.get(name) if name in ("event_id", "labels") else None
        if name == "labels" and found is not None and found.shape == self.stored.shape[:2]:
            middle = self.window_starts[window] + self._step * (self.n_times // 2)
            return read_values(found)[middle, self.channels[channel]].astype(np.int64)
        if name != "event_id" or found is None or found.shape != (self.n_samples,):
            return None
        return np.asarray(found[start : self.n_samples if stop is None else stop], dtype=np.int64)

    def channel_names(self) -> list[str]:
        """Name of each channel in the middle of a sample; by their number without names."""
        names = self.names
        return [f"channel {n}" if names is None else names[n] for n in self.channels.tolist()]

    def columns_fingerprint(self) -> str:
        """Identity of names, times and distances."""
        digest = hashlib.sha256("\n".join(self.channel_names()).encode())
        for values in (self.window_times, self.distance):
            digest.update(b"\0" if values is None else values.tobytes())
        return digest.hexdigest()[:32]

    def _channel_names(self, prefix: str, channel: Column | None, n: int) -> list[str] | None:
        """Names of all channels, of an array beside the cube or a coordinate of texts."""
        arrays = [self._store.get(prefix + name) for name in CHANNEL_NAMES]
        found = [x for x in arrays if x is not None and x.dtype.kind in TEXT and x.shape == (n,)]
        values = read_values(found[0]) if found else channel and channel.values
        if values is None or values.dtype.kind not in TEXT:
            return None
        names = [times.to_text(value) for value in values]
        if len(set(names)) < n:
            log.warning(f"{self.path}: names of channels are not unique: they are numbered")
            return None
        return names


def _chosen(path: Path, key: str, part: AxisSlice, n: int, window: int) -> np.ndarray:
    """Numbers along an axis of n that a slice takes; beyond the axis is an error, not less."""
    numbers = np.arange(n)[slice(*part)]
    beyond = [value for value in (part.start, part.stop) if value is not None and abs(value) > n]
    if beyond or len(numbers) < window:
        raise DataError(
            f"{path}: [cube] {key} = {part} takes {len(numbers):,} of {n:,} {key}, 0 to {n - 1}; "
            f"allowed: start:stop:step within them, of which a window of {window} fits in"
        )
    return numbers


def step_times(path: Path, column: Column | None) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Times of the steps, ns since 1970, and seconds from the first; None where not known."""
    if column is None or (found := column_times(path, column)) is None:
        return None, None
    why = ""
    if (found == times.NOT_A_TIME).any():
        why = times.count_unreadable(column.values, found) or "some times are missing"
    elif (np.diff(found) < 0).all() and len(found) > 1:
        raise DataError(f"{path}: {column.name} descends; allowed: times that ascend")
    elif not (np.diff(found) > 0).all():
        why = "it does not ascend from step to step, as where only days are stored"
    if why:
        log.warning(f"{path}: {column.name}: {why}: its times are not used, and steps are counted")
        return None, None
    has_reference = column.values.dtype.kind not in "iuf" or re.search(
        r"\ssince\s|\[", column.units, re.I
    )
    is_absolute = has_reference or found[0] >= SINCE_1973
    return found if is_absolute else None, (found - found[0]) / 1e9
