"""Writing cubes: HDF5 and Zarr, in CryoCube's layout with more attributes."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import DataError, RunError, SettingsError
from ..extras import need
from ..io import new_file, require_room

HDF5_NAMES = (".h5", ".hdf5")
AXES = ["time", "channel", "frequency"]


@dataclass(frozen=True)
class CubeLayout:
    """A cube without its values.

    Attributes
    ----------
    shape, chunks : tuple of int
        Of (time, channel, frequency).
    time : ndarray, (time,)
        Start of every window, s.
    time_unit : str
    location : ndarray, (channel,)
        In `location_unit`.
    location_unit : {"m", "channel"}
    frequency : ndarray, (frequency,)
        Hz.
    channel_names : tuple of str or None
    attributes : dict
        Of the data set; plain values.
    """

    shape: tuple[int, int, int]
    chunks: tuple[int, int, int]
    time: np.ndarray
    time_unit: str
    location: np.ndarray
    location_unit: str
    frequency: np.ndarray
    channel_names: tuple[str, ...] | None
    attributes: dict[str, Any]

    @property
    def coordinates(self) -> dict[str, tuple[np.ndarray, str]]:
        """Axes by their names in the file, each with its unit."""
        return {
            "time_coords": (self.time, self.time_unit),
            "loc_coords": (self.location, self.location_unit),
            "freq_coords": (self.frequency, "Hz"),
        }


Place = tuple[slice, slice]  # in time and channel


def require_cube_name(target: Path) -> None:
    """Refuse a name that tells no format, and a Zarr folder where zarr is missing.

    Raises
    ------
    SettingsError, MissingPackage
    """
    if target.suffix.lower() == ".zarr":
        need("zarr")
    elif target.suffix.lower() not in HDF5_NAMES:
        raise SettingsError(
            f"command line: -o {target} is not allowed; allowed: a name that ends in .zarr, "
            f"{' or '.join(HDF5_NAMES)}"
        )


def made_from(target: Path) -> str | None:
    """What a cube was made from, as its attribute has it; None where that can't be told."""
    try:
        if target.suffix.lower() == ".zarr":
            return need("zarr").open_group(target, mode="r")["data"].attrs.get("made_from")
        with h5py.File(target, "r") as file:
            return file["data"].attrs.get("made_from")
    except (OSError, KeyError, ValueError, TypeError):
        return None


def write_cube(target: Path, layout: CubeLayout, parts: Iterable[tuple[Place, np.ndarray]]) -> None:
    """Write a cube out of its parts, one after the other.

    Parameters
    ----------
    target : Path
        Ends in ``.zarr``, ``.h5`` or ``.hdf5``; replaced when all was written.
    layout : CubeLayout
    parts : iterable of (place, values)
        Values (time, channel, frequency), float32.

    Raises
    ------
    RunError
        It can't be written; a target that was there is intact.
    """
    is_zarr = target.suffix.lower() == ".zarr"
    if not is_zarr:
        require_room(target, 4 * math.prod(layout.shape))
    with new_file(target) as path:
        try:
            with (_zarr if is_zarr else _hdf5)(path, layout) as data:
                for place, values in parts:
                    data[place] = values
        except (RuntimeError, ValueError) as error:  # h5py's, of a full disk on closing
            if isinstance(error, (RunError, DataError)):
                raise
            raise OSError(str(error)) from None


@contextmanager
def _hdf5(path: Path, layout: CubeLayout) -> Iterator[Any]:
    with h5py.File(path, "w") as file:
        data = file.create_dataset(
            "data",
            shape=layout.shape,
            chunks=layout.chunks,
            dtype=np.float32,
            fillvalue=np.nan,
        )
        data.attrs.update(layout.attributes)
        group = file.create_group("metadata")
        for name, (values, unit) in layout.coordinates.items():
            group.create_dataset(name, data=values).attrs["units"] = unit
        if layout.channel_names is not None:
            group["channel_names"] = [name.encode() for name in layout.channel_names]
        yield data


@contextmanager
def _zarr(path: Path, layout: CubeLayout) -> Iterator[Any]:
    zarr = need("zarr")
    root = zarr.create_group(path, zarr_format=3)
    data = root.create_array(
        "data",
        shape=layout.shape,
        chunks=layout.chunks,
        dtype=np.float32,
        fill_value=np.nan,
        dimension_names=AXES,
        attributes=layout.attributes,
    )
    group = root.create_group("metadata")
    for name, (values, unit) in layout.coordinates.items():
        group.create_array(name, data=values, attributes={"units": unit})
    if layout.channel_names is not None:
        names = group.create_array(
            "channel_names", shape=(len(layout.channel_names),), dtype=str, attributes={}
        )
        names[:] = np.array(layout.channel_names, dtype=object)
    yield data


def size_on_disk(target: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    if target.is_dir():
        return sum(item.stat().st_size for item in target.rglob("*") if item.is_file())
    return target.stat().st_size
