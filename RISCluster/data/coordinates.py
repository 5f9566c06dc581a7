"""Coordinates of a cube: where they are in a file, what unit they have, whether they fit.

Letters: M time steps, C channels, F frequency bins.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..runtime import log
from .axes import CUBE, axis_order, dimension_of, is_descending
from .storage import Storage, dimension_names, is_variable, shape_of, text_attribute
from .stored import read_all
from .times import (
    NOT_A_TIME,
    count_unreadable,
    decode_times,
    epoch_unit,
    far_times,
    nanoseconds_to_iso,
    to_text,
)
from .units import frequency_factor, seconds_factor, to_metres

# Names beside the cube: CryoCube's first, then those that xarray users give.
NAMES = {
    "time": ("metadata/time_coords", "time", "times", "metadata/time"),
    "channel": (
        "metadata/loc_coords", "distance", "channel", "channels", "location", "metadata/distance",
    ),
    "frequency": ("metadata/freq_coords", "frequency", "frequencies", "freq", "metadata/frequency"),
}  # fmt: skip
CHANNEL_NAMES = ("metadata/channel_names", "channel_names", "trace_id", "station", "channel")
EPOCH = (1e8, 1e10)  # s since 1970: from 1973 on


@dataclass(frozen=True)
class Coordinates:
    """Coordinates of a cube.

    Attributes
    ----------
    times : ndarray, (M,), int64, or None
        Start of each time step, ns since 1970 UTC; None where unknown.
    seconds : ndarray, (M,), float64, or None
        Seconds from the first time step; None where unknown.
    distance : ndarray, (C,), float64, or None
        Of each channel, in `distance_unit`.
    names : list of str or None
        Of the channels.
    frequency : ndarray, (F,), float64, or None
        Hz.
    order : tuple of int
        Axis of the file that is time, channel and frequency.
    flipped : tuple of bool
        Which of these are stored in descending order; the coordinates here all ascend.
    """

    times: np.ndarray | None
    seconds: np.ndarray | None
    distance: np.ndarray | None
    distance_unit: str
    names: list[str] | None
    frequency: np.ndarray | None
    order: tuple[int, ...] = (0, 1, 2)
    flipped: tuple[bool, bool, bool] = (False, False, False)


@dataclass(frozen=True)
class Found:
    """A coordinate as it is in the file: (n,) values, and attributes."""

    name: str
    values: np.ndarray
    units: str
    calendar: str

    @property
    def is_text(self) -> bool:
        """Whether it holds names or dates rather than numbers."""
        return self.values.dtype.kind in "SUOT"


def read_coordinates(path: Path, storage: Storage, dataset: str, cube: Any) -> Coordinates:
    """Coordinates that lie beside a cube.

    Parameters
    ----------
    path : Path
        For messages.
    storage : Storage
    dataset : str
        The cube's path inside.
    cube : h5py.Dataset or zarr.Array
        Of three dimensions.

    Raises
    ------
    DataError
        One does not match the shape, or holds what can't be one.
    """
    found = {axis: _find(path, storage, dataset, cube, axis) for axis in CUBE}
    lengths = {axis: len(one.values) for axis, one in found.items() if one}
    order = axis_order(path, cube, CUBE, lengths)
    shape = dict(zip(CUBE, (cube.shape[axis] for axis in order), strict=True))
    for axis, one in found.items():
        if one:
            _require_length(path, dataset, one.name, one.values.shape, axis, shape[axis])
    times, seconds, backwards = _times(path, found["time"])
    distance, unit = _distance(path, found["channel"])
    names = _channel_names(path, storage, dataset, found["channel"], shape["channel"])
    if names and len(set(names)) < len(names):
        log.warning(
            f"{path}: names of channels are not unique: they are not used, and channels are "
            "numbered"
        )
        names = None
    frequency, descends = _frequency(path, found["frequency"])
    flipped = (backwards, False, descends)
    return Coordinates(times, seconds, distance, unit, names, frequency, order, flipped)


def _full(dataset: str, name: str) -> str:
    group = dataset.rpartition("/")[0]
    return f"{group}/{name}" if group else name


def _find(path: Path, storage: Storage, dataset: str, cube: Any, axis: str) -> Found | None:
    """The coordinate of an axis: that of its dimension, or else one of the usual names."""
    own, scale = dimension_of(cube, axis)
    if scale is not None and axis != "channel":
        return _read(path, dataset, cube, axis, scale.name.lstrip("/"), scale)
    tied = own and _interpolate(storage, dataset, cube, own)
    if tied:
        return tied
    names = [own, *NAMES[axis]] if axis != "channel" else [*NAMES[axis], own]
    for name in filter(None, names):
        array = storage.get(_full(dataset, name))
        if array is not None and is_variable(array):
            return _read(path, dataset, cube, axis, _full(dataset, name), array)
    return None


def _read(path: Path, dataset: str, cube: Any, axis: str, name: str, array: Any) -> Found:
    shape = shape_of(array)
    if len(shape) != 1 or shape[0] not in cube.shape:  # and is not read: it may be of any size
        _require_length(path, dataset, name, shape, axis, cube.shape[CUBE.index(axis)])
    units, calendar = (text_attribute(array, key) for key in ("units", "calendar"))
    return Found(name, read_all(array), units, calendar)


def _interpolate(storage: Storage, dataset: str, cube: Any, own: str) -> Found | None:
    """A coordinate that is kept as tie points, as xdas does by the CF conventions (section 8.3)."""
    indices, values = (
        storage.get(_full(dataset, f"{own}_{part}")) for part in ("indices", "values")
    )
    if indices is None or values is None or len(indices.shape) != 1 or not indices.shape[0]:
        return None
    n = cube.shape[dimension_names(cube).index(own)]
    ties, known = read_all(indices), read_all(values)
    if known.shape != ties.shape or known.dtype.kind not in "iuf":
        return None
    dense = np.interp(np.arange(n), ties, (known - known[0]).astype(np.float64))
    if known.dtype.kind in "iu":
        dense = np.rint(dense).astype(np.int64)
    units, calendar = (text_attribute(values, key) for key in ("units", "calendar"))
    return Found(_full(dataset, f"{own}_values"), known[0] + dense, units, calendar)


def _require_length(path: Path, dataset: str, name: str, shape: tuple, axis: str, n: int) -> None:
    if shape != (n,):
        raise DataError(
            f"{path}: {name} has shape {shape}, but {dataset} has {n} {axis} steps along that "
            "axis; a coordinate needs one value a step"
        )


def _numbers(path: Path, found: Found) -> np.ndarray:
    values = found.values
    if values.dtype.kind not in "iufb":
        raise DataError(f"{path}: {found.name} must hold numbers, not {values.dtype}")
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise DataError(f"{path}: {found.name} must hold finite numbers")
    return values


def _frequency(path: Path, found: Found | None) -> tuple[np.ndarray | None, bool]:
    """Ascending frequencies in Hz, and whether they are stored in descending order."""
    factor = found and frequency_factor(f"{path}: {found.name}", found.units)
    if factor is None:
        return None, False
    values = _numbers(path, found)
    values = values if factor == 1 else values * factor
    descends = is_descending(values)
    return (values[::-1] if descends else values), descends


def _distance(path: Path, found: Found | None) -> tuple[np.ndarray | None, str]:
    """Distances in metres, or in another unit that is no length."""
    if found is None or found.is_text:
        return None, ""
    metres = found.name.endswith(("loc_coords", "distance", "distance_values"))
    return to_metres(_numbers(path, found), found.units or ("m" if metres else ""))


def _channel_names(
    path: Path, storage: Storage, dataset: str, channel: Found | None, n: int
) -> list[str] | None:
    """Names of the channels: of an array of names, or of a coordinate of texts."""
    for name in CHANNEL_NAMES:
        array = storage.get(_full(dataset, name))
        if array is None:
            continue
        if name in CHANNEL_NAMES[:3]:
            _require_length(path, dataset, _full(dataset, name), shape_of(array), "channel", n)
        if name in CHANNEL_NAMES[:3] or (array.dtype.kind in "SUOT" and shape_of(array) == (n,)):
            return [to_text(value) for value in read_all(array)]
    if channel is not None and channel.is_text:
        return [to_text(value) for value in channel.values]
    return None


def _times(path: Path, found: Found | None) -> tuple[np.ndarray | None, np.ndarray | None, bool]:
    """Ascending absolute times, seconds from the first, and whether they are stored descending."""
    if found is None:
        return None, None, False
    times, seconds, why = None, None, ""
    try:
        times, seconds = _decode(path, found)
        if times is not None and (times == NOT_A_TIME).any():
            why = count_unreadable(found.values, times) or "some times are missing"
        elif times is not None and (far := far_times(times)).any():
            first = nanoseconds_to_iso(times[far][:1])[0]
            why = f"{first} is far from its other times, as of a clock that is wrong"
    except DataError:
        raise
    except ValueError as error:
        why = f"{error}; change its attributes units and calendar"
    if times is not None and not why:
        seconds = (times - times[0]) / 1e9
    if why or seconds is None:
        if why:
            log.warning(
                f"{path}: {found.name}: {why}: its times are not used, and time steps are counted"
            )
        return None, None, False
    if is_descending(seconds):
        seconds = (seconds - seconds[-1])[::-1]
        return None if times is None else times[::-1], seconds, True
    if len(seconds) > 1 and not (np.diff(seconds) > 0).all():
        log.warning(
            f"{path}: {found.name} does not ascend from step to step, as where only days were "
            "kept: time steps are counted instead"
        )
        return None, None, False
    return times, seconds, False


def _decode(path: Path, found: Found) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Absolute times, or seconds from the first step where only those are known; or neither."""
    values, units = found.values, found.units
    if values.dtype.kind == "m":
        seconds = values.astype("m8[ns]").astype(np.int64) / 1e9
        return None, seconds - seconds[0]
    if values.dtype.kind not in "iuf" or re.search(r"\s(since|after|from|ref|@)\s|\[", units, re.I):
        return decode_times(values, units, found.calendar), None
    numbers = _numbers(path, found)
    factor = seconds_factor(units) if units else epoch_unit(numbers.max()) / 1e9
    if factor is None:
        return None, None
    if EPOCH[0] <= numbers.min() * factor <= numbers.max() * factor < EPOCH[1]:
        unit = {1.0: "s", 1e-3: "ms", 1e-6: "us", 1e-9: "ns"}.get(factor, units)
        log.info(
            f"{path}: {found.name} is taken as {unit} since 1970 in UTC, by the size of its "
            f"numbers; its attribute units changes this, as '{unit} since 2020-01-01'"
        )
        return decode_times(values, f"{unit} since 1970-01-01"), None
    return None, (numbers - numbers[0]) * (factor if units else 1.0)
