"""The labels of a cube as an image over (time, channel), in HDF5.

Letters: N samples, W windows per channel, C channels.
"""

from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from ..data.cube_file import CubeFile
from ..io import new_file, require_room

CHUNK = 2**18  # values per chunk, about
LARGEST_IMAGE = (900, 900)  # windows and channels, as many as a figure has pixels


class ClusterMap(NamedTuple):
    """Labels over (time, channel); of a large map every second, third and so on of each."""

    labels: np.ndarray  # (W, C), int16; -1 for unusable samples
    time: np.ndarray  # (W,), float64, start of each window
    time_unit: str
    duration: float  # from one window to the next, in time_unit
    position: np.ndarray  # (C,), float64, distance or number of each channel
    position_unit: str
    names: list[str]  # of the channels; empty where they have numbers only


def write_cluster_map(
    path: Path, file: CubeFile, labels: np.ndarray, probability: np.ndarray
) -> None:
    """Write ``label`` and ``probability`` (W, C) of all samples (N,), with their coordinates."""
    shape = (file.n_windows, file.n_channels)
    require_room(path, 6 * shape[0] * shape[1])  # uncompressed
    chunks = (max(1, min(shape[0], CHUNK // shape[1])), min(shape[1], CHUNK))
    place = file.place(np.arange(len(labels)))
    with new_file(path) as partial, h5py.File(partial, "w") as out:
        for name, kind, values in (("label", "i2", labels), ("probability", "f4", probability)):
            image = np.full(shape, -1 if name == "label" else 0, kind)
            image[place] = values
            out.create_dataset(name, data=image, chunks=chunks)
        out["label"].attrs.update(missing=-1, dimensions=["time", "channel"])
        values, unit = file.window_starts.astype(np.float64), "time step"
        if file.window_times is not None:
            values, unit = file.window_times / 1e9, "seconds since 1970-01-01T00:00:00Z"
        elif file.seconds is not None:
            values, unit = file.seconds[file.window_starts], "s"
        out["time"], out["channel"] = values, file.channels
        out["time"].attrs.update(units=unit, what="start of each window")
        out["channel_name"] = [name.encode() for name in file.channel_names()]
        if file.distance is not None:
            out["distance"] = file.distance
            out["distance"].attrs["units"] = file.distance_unit
        out.attrs["channels_have_names"] = file.names is not None


def read_cluster_map(path: Path) -> ClusterMap:
    """Read what `write_cluster_map` wrote, at most about `LARGEST_IMAGE` of its labels."""
    with h5py.File(path, "r") as file:
        steps = _steps(file["label"].shape)
        windows, channels = (slice(None, None, step) for step in steps)
        labels = file["label"][:][windows, channels]
        time, unit = file["time"][windows], file["time"].attrs["units"]
        has_names = file.attrs["channels_have_names"]
        names = [name.decode() for name in file["channel_name"][channels]] if has_names else []
        position, where = file["channel"][channels].astype(np.float64), "channel"
        if "distance" in file:
            position, where = file["distance"][channels], file["distance"].attrs["units"]
    duration = float(np.median(np.diff(time))) if len(time) > 1 else 1.0
    return ClusterMap(labels, time, unit, duration, position, where, names)


def read_means(file: CubeFile) -> np.ndarray:
    """Mean of each sample that `read_cluster_map` gives, (W, C); NaN for unusable ones."""
    shape = file.n_windows, file.n_channels
    steps = _steps(shape)
    window, channel = file.place(np.arange(file.n_samples))
    drawn = np.flatnonzero((window % steps[0] == 0) & (channel % steps[1] == 0))
    means = np.empty([-(-n // step) for n, step in zip(shape, steps, strict=True)])
    for index, x in file.read_blocks(drawn):
        window, channel = file.place(index)
        means[window // steps[0], channel // steps[1]] = x.reshape(len(x), -1).mean(axis=1)
    return means


def _steps(shape: tuple[int, int]) -> list[int]:
    """Steps in which windows and channels are drawn."""
    return [-(-n // most) for n, most in zip(shape, LARGEST_IMAGE, strict=True)]
