"""Which axis of an array is which: by names of dimensions, and lengths of coordinates."""

from itertools import permutations
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import DataError
from ..runtime import log
from .storage import dimension_names, is_variable

# Names of dimensions, in lower case and without _coords
ROLES = {
    "time": ("time", "times", "t", "datetime", "start_time", "starttime", "time_bin", "times_bin"),
    "frequency": ("frequency", "frequencies", "freq", "freqs", "f", "frequency_bin"),
    "channel": (
        "channel", "channels", "distance", "distances", "location", "loc", "station", "stations",
        "receiver", "receivers", "sensor", "node", "fibre", "fiber", "locus",
        "depth", "offset", "position", "x", "space",
    ),
    "sample": ("sample", "samples", "event", "events", "detection", "detections", "example"),
}  # fmt: skip
CUBE = ("time", "channel", "frequency")
SAMPLES = ("sample", "frequency", "time")


def roles_of(array: Any) -> list[str]:
    """What each axis is by the name of its dimension: a key of `ROLES`, or empty."""
    roles = []
    for name in dimension_names(array):
        name = name.lower().removesuffix("_coords").removesuffix("_coord").removesuffix("_dim")
        roles.append(next((role for role, names in ROLES.items() if name in names), ""))
    return roles if len(set(filter(None, roles))) == len(list(filter(None, roles))) else [""] * 3


def named_layout(array: Any) -> str | None:
    """Layout that the names of an array's dimensions tell: ``cube``, ``samples`` or None."""
    if array.ndim != 3:
        return None
    roles = set(roles_of(array))
    if not {"time", "frequency"} <= roles:
        return None
    return "cube" if "channel" in roles else "samples" if "sample" in roles else None


def axis_order(
    path: Path, array: Any, wanted: tuple[str, ...], lengths: dict[str, int]
) -> tuple[int, ...]:
    """Order in which the axes of an array are to be read.

    Parameters
    ----------
    path : Path
        For messages.
    array : h5py.Dataset or zarr.Array
        Of three dimensions.
    wanted : tuple of str
        `CUBE` or `SAMPLES`.
    lengths : dict
        Of coordinates, by what they are of.

    Returns
    -------
    tuple of int
        Axis of the file for each of `wanted`. As stored where nothing speaks against it.

    Raises
    ------
    DataError
        The dimensions are others than those wanted, or their order can't be told.
    """
    names, roles = dimension_names(array), roles_of(array)
    needed = f"({', '.join(wanted)})"
    strange = [name for name, role in zip(names, roles, strict=True) if role and role not in wanted]
    if strange:
        raise DataError(
            f"{path}: {array.name.lstrip('/')} has the dimensions ({', '.join(names)}), and this "
            f"layout needs {needed}; set data.layout or data.dataset, or name {strange[0]} "
            "otherwise"
        )
    stored = tuple(range(3))
    named = {role: axis for axis, role in enumerate(roles) if role}
    orders, fitting = _orders(array.shape, wanted, named, lengths)
    found = fitting or orders  # where no order fits, the coordinate is refused later on
    if stored in found or (not fitting and len(orders) > 1):
        return stored if stored in found else found[0]
    if len(found) > 1:
        raise DataError(
            f"{path}: {array.name.lstrip('/')} has shape {tuple(array.shape)}, which does not fit "
            f"its coordinates as {needed}, and which axis is which can't be told; write it in this "
            "order, or name its dimensions"
        )
    shown = ", ".join(wanted[found[0].index(axis)] for axis in stored)
    log.info(
        f"{path}: {array.name.lstrip('/')} is stored as ({shown}) by its "
        f"{'dimension names' if named else 'coordinates'}; read as {needed}"
    )
    return found[0]


def _orders(
    shape: tuple[int, ...], wanted: tuple[str, ...], named: dict[str, int], lengths: dict[str, int]
) -> tuple[list, list]:
    """Orders that the names of dimensions allow, and those of them that fit the coordinates."""
    orders = [
        order
        for order in permutations(range(3))
        if all(order[wanted.index(role)] == axis for role, axis in named.items())
    ]
    fitting = [
        order
        for order in orders
        if all(shape[order[wanted.index(role)]] == n for role, n in lengths.items())
    ]
    if wanted is SAMPLES and not named:  # samples come first, unless names say otherwise
        fitting = [order for order in fitting if order[0] == 0] or fitting
    return orders, fitting


def dimension_of(array: Any, role: str) -> tuple[str, Any]:
    """Name of the dimension that is time, frequency or channel, and the scale HDF5 has for it."""
    roles = roles_of(array)
    if role not in roles:
        return "", None
    axis = roles.index(role)
    scale = None
    if isinstance(array, h5py.Dataset) and len(array.dims[axis]):
        scale = array.dims[axis][0]
    return dimension_names(array)[axis], scale if scale is not None and is_variable(scale) else None


def is_descending(values: np.ndarray) -> bool:
    """Whether every value is below the one before it; not so for a single one."""
    return len(values) > 1 and bool((np.diff(values) < 0).all())
