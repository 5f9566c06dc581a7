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
from typing import Any

import numpy as np

from ..errors import DataError
from ..runtime import log
from ..settings import AxisSlice, CubeSettings
from . import times
from .layouts import SpectrogramFile, as_float32, column_times
from .storage import CUBE, Storage, read_values

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

    `channels` (C,) are the numbers of those in the middle of a sample, `distance` (C,) is in
    `distance_unit`, `names` are of all channels. `steps` are the time steps that are taken,
    `window_starts` (W,) those where windows start, `times` and `seconds` (M,) the start of each
    step: int64 ns since 1970, and s from the first. None where unknown.
    """

    layout = "cube"

    def __init__(self, store: Storage, dataset: str, settings: CubeSettings):
        self.settings, group = settings, dataset.rpartition("/")[0]
        self._prefix = prefix = f"{group}/" if group else ""
        names = {axis: [prefix + name for name in NAMES[axis]] for axis in CUBE}
        super().__init__(store, dataset, CUBE, names)
        n_steps, n_channels, self.n_frequencies = self.stored.shape
        across = settings.window_channels
        self.steps = steps = self._chosen("times", settings.times, n_steps, settings.window)
        channels = self._chosen("channels", settings.channels, n_channels, across)
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
        self.frequency, self.frequency_unit = self._axis("frequency", self.n_frequencies)
        self.time, self.time_unit = np.arange(self.n_times, dtype=float) * self._step, "step"
        self._read_times()
        self._read_channels(n_channels)
        # Bands of channels and tiles of time: multiples of stored chunks near `TILE_BYTES`
        chunks = self.chunks or (1, 1, self.n_frequencies)
        row = self.n_frequencies * self.dtype.itemsize
        fitting = TILE_BYTES // (chunks[0] * row)
        width = max(1, fitting // chunks[1]) * chunks[1] if fitting < n_channels else n_channels
        self._band_starts = np.flatnonzero(np.diff(self.channels // width, prepend=-1) > 0)
        self._band_widths = np.diff(self._band_starts, append=self.n_channels)
        self._band_offsets = np.r_[0, np.cumsum(self._band_widths * self.n_windows)]
        width = min(width, n_channels) * row
        self._tile_steps = max(1, TILE_BYTES // (width * chunks[0])) * chunks[0]

    def _chosen(self, key: str, part: AxisSlice, n: int, window: int) -> np.ndarray:
        """Numbers along an axis of n that a slice takes; beyond the axis is an error, not less."""
        numbers = np.arange(n)[slice(*part)]
        beyond = [x for x in (part.start, part.stop) if x is not None and abs(x) > n]
        if beyond or len(numbers) < window:
            raise DataError(
                f"{self.path}: [cube] {key} = {part} takes {len(numbers):,} of {n:,} {key}; "
                f"allowed: start:stop:step within 0:{n}, in which a window of {window} fits"
            )
        return numbers

    def _read_times(self) -> None:
        """Times of the steps, where they are known and ascend."""
        self.times = self.seconds = None
        column = self._axes.get("time")
        if column is None or (found := column_times(self.path, [column])) is None:
            return
        steps = np.diff(found)
        if len(steps) and (steps < 0).all():
            raise DataError(f"{self.path}: {column.name} descends; allowed: times that ascend")
        if (found == times.NOT_A_TIME).any() or not (steps > 0).all():
            log.warning(
                f"{self.path}: {column.name}: times are missing or do not ascend: steps are counted"
            )
            return
        is_number = column.values.dtype.kind in "iuf"
        has_reference = not is_number or re.search(r"\ssince\s|\[", column.units, re.I)
        if has_reference or found[0] >= SINCE_1973:
            self.times = found
        self.seconds = (found - found[0]) / 1e9
        if len(steps):
            between = float(np.median(np.diff(self.seconds[: 2**16])))
            self.time, self.time_unit = self.time * between, "s"

    def _read_channels(self, n: int) -> None:
        """Distances of the channels, and names: of an array beside the cube or a coordinate."""
        self.names = self.distance = None
        self.distance_unit, column = "", self._axes.get("channel")
        is_text = column is not None and column.values.dtype.kind in TEXT
        if column is not None and column.values.dtype.kind in "iuf":
            is_length = column.name.endswith(("loc_coords", "distance", "distance_values"))
            unit = column.units or ("m" if is_length else "")
            distance, self.distance_unit = times.to_metres(column.values * 1.0, unit)
            if not np.isfinite(distance).all():
                raise DataError(f"{self.path}: {column.name} must hold finite numbers")
            self.distance = distance[self.channels]
        arrays = [self._store.get(self._prefix + name) for name in CHANNEL_NAMES]
        found = [x for x in arrays if x is not None and x.dtype.kind in TEXT and x.shape == (n,)]
        if found or is_text:
            values = read_values(found[0]) if found else column.values
            self.names = [times.to_text(value) for value in values]
            if len(set(self.names)) < n:
                log.warning(f"{self.path}: names of channels are not unique: they are numbered")
                self.names = None

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
        shape = self.stored.shape[:2] if name == "labels" else (self.n_samples,)
        if found is None or found.shape != shape:
            return None
        if name == "event_id":
            return read_values(found, (start, stop)).astype(np.int64)
        middle = self.window_starts[window] + self._step * (self.n_times // 2)
        return read_values(found)[middle, self.channels[channel]].astype(np.int64)

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
