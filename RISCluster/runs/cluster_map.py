"""The labels of a cube as an image over (time, channel), in HDF5.

Letters: W windows a channel, C channels.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from ..data.cube_file import CubeFile
from ..io import new_file, require_room

CHUNK = 2**18  # values a chunk, about
LARGEST_IMAGE = (900, 900)  # windows and channels that are drawn, as many as a figure has pixels
SLAB = 2**22  # labels read at a time, about


@dataclass(frozen=True)
class ClusterMap:
    """Labels over (time, channel), where there are many the most frequent one of each cell.

    Attributes
    ----------
    labels : ndarray, (W, C), int16
        -1 for unusable samples.
    time : ndarray, (W,), float64
        Start of each window in `time_unit`: seconds since 1970, seconds, or time steps.
    duration : float
        From one window to the next, in the same unit.
    position : ndarray, (C,), float64
        Of each channel in `position_unit`: metres, or the number of the channel.
    names : list of str
        Of the channels; empty where they have none but their numbers.
    cell : (int, int)
        Windows and channels of a cell.
    """

    labels: np.ndarray
    time: np.ndarray
    time_unit: str
    duration: float
    position: np.ndarray
    position_unit: str
    names: list[str]
    cell: tuple[int, int]


@contextmanager
def new_cluster_map(
    path: Path, file: CubeFile
) -> Iterator[Callable[[int, np.ndarray, np.ndarray], None]]:
    """Write ``label`` and ``probability`` (W, C) with their coordinates, block by block.

    Yields
    ------
    callable
        ``write(start, labels, probabilities)`` for the samples from `start` on.
    """
    shape = (file.n_windows, file.n_channels)
    require_room(path, 6 * shape[0] * shape[1])  # uncompressed
    with new_file(path) as partial, h5py.File(partial, "w") as out:
        chunks = (max(1, min(shape[0], CHUNK // shape[1])), min(shape[1], CHUNK))
        label = out.create_dataset("label", shape, "i2", chunks=chunks, fillvalue=-1)
        probability = out.create_dataset("probability", shape, "f4", chunks=chunks)
        label.attrs["missing"] = -1
        label.attrs["dimensions"] = ["time", "channel"]
        _write_coordinates(out, file)

        def write(start: int, labels: np.ndarray, probabilities: np.ndarray) -> None:
            for box, part in _boxes(file, start, len(labels)):
                size = (box[0].stop - box[0].start, box[1].stop - box[1].start)
                label[box] = labels[part].reshape(size)
                probability[box] = probabilities[part].reshape(size)

        yield write


def _write_coordinates(out: h5py.File, file: CubeFile) -> None:
    times, seconds = file.window_times, file.coordinates.seconds
    if times is not None:
        values, unit = times / 1e9, "seconds since 1970-01-01T00:00:00Z"
    elif seconds is not None:
        values, unit = seconds[file.window_starts], "s"
    else:
        values, unit = file.window_starts.astype(np.float64), "time step"
    time = out.create_dataset("time", data=values)
    time.attrs["units"], time.attrs["what"] = unit, "start of each window"
    out.create_dataset("channel", data=file.channels)
    names = [name.encode() for name in file.channel_names()]
    out.create_dataset("channel_name", data=names)
    out.attrs["channels_have_names"] = file.coordinates.names is not None
    if file.distance is not None:
        out.create_dataset("distance", data=file.distance).attrs["units"] = file.distance_unit
    out.attrs["window_steps"], out.attrs["stride_steps"] = file.n_times, file.settings.stride


def _boxes(file: CubeFile, start: int, n: int) -> Iterator[tuple[tuple[slice, slice], slice]]:
    """Rectangles of (window, channel) that consecutive samples fill, and which samples they are."""
    index = start
    while index < start + n:
        window, channel, first, width = file.row_of(index)
        left = start + n - index
        if channel > first or left < width:  # a part of one window
            count = min(left, first + width - channel)
            box = slice(window, window + 1), slice(channel, channel + count)
        else:
            rows = min(left // width, file.n_windows - window)
            count = rows * width
            box = slice(window, window + rows), slice(first, first + width)
        yield box, slice(index - start, index - start + count)
        index += count


def read_cluster_map(path: Path) -> ClusterMap:
    """Read what `new_cluster_map` wrote, in cells where there is more than a figure can show."""
    with h5py.File(path, "r") as file:
        shape = file["label"].shape
        cell = tuple(-(-n // most) for n, most in zip(shape, LARGEST_IMAGE, strict=True))
        labels = np.concatenate(list(_cells(file["label"], cell)))
        time, unit = file["time"][:: cell[0]], file["time"].attrs["units"]
        named = bool(file.attrs["channels_have_names"])
        names = [name.decode() for name in file["channel_name"][:: cell[1]]] if named else []
        if "distance" in file:
            position, where = file["distance"][:: cell[1]], file["distance"].attrs["units"]
        else:
            position, where = file["channel"][:: cell[1]].astype(np.float64), "channel"
    duration = float(np.median(np.diff(time))) if len(time) > 1 else 1.0
    return ClusterMap(labels, time, unit, duration, position, where, names, cell)


def _cells(labels: h5py.Dataset, cell: tuple[int, int]) -> Iterator[np.ndarray]:
    """Most frequent label of each cell, some rows of cells at a time: (n, C / cell) int16."""
    if cell == (1, 1):
        yield labels[:]
        return
    rows = max(1, SLAB // (labels.shape[1] * cell[0])) * cell[0]
    for start in range(0, labels.shape[0], rows):
        part = labels[start : start + rows]
        lacking = [(0, -n % size) for n, size in zip(part.shape, cell, strict=True)]
        part = np.pad(part, lacking, constant_values=-1)
        tall, wide = part.shape[0] // cell[0], part.shape[1] // cell[1]
        cells = part.reshape(tall, cell[0], wide, cell[1])
        most = np.zeros((tall, wide), dtype=np.int64)
        winner = np.full((tall, wide), -1, dtype=np.int16)
        for label in np.unique(part[part >= 0]):
            count = (cells == label).sum(axis=(1, 3))
            winner[count > most] = label
            most = np.maximum(most, count)
        yield winner
