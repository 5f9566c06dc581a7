"""Packages that only some work needs: imported there, asked for by name when missing."""

import importlib
from functools import cache
from types import ModuleType
from typing import Any

from .errors import MissingPackage

EXTRAS = {
    "obspy": ("waveforms", "waveforms are read with obspy"),
    "zarr": ("cubes", "Zarr cubes are read and written with zarr"),
}


def need(package: str) -> ModuleType:
    """Import a package of an extra.

    Parameters
    ----------
    package : {"obspy", "zarr"}

    Raises
    ------
    MissingPackage
        It is not installed; the message has the command that installs it.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        extra, why = EXTRAS[package]
        raise MissingPackage(
            f"{why}, which can't be imported here ({error}); install it with: pip install "
            f"{package}, or conda install -c conda-forge {package} (it is the extra '{extra}')"
        ) from None


# Registered numbers of HDF5's filters that hdf5plugin has
HDF5_FILTERS = {
    307: "bzip2",
    32000: "LZF",
    32001: "Blosc",
    32004: "LZ4",
    32008: "Bitshuffle",
    32013: "ZFP",
    32015: "Zstandard",
    32017: "SZ",
    32018: "FCIDECOMP",
    32024: "SZ3",
    32026: "Blosc2",
    32028: "SPERR",
}


@cache
def load_hdf5_filters() -> None:
    """Make the filters of hdf5plugin known to HDF5, where it is installed; once a process."""
    try:
        importlib.import_module("hdf5plugin")
    except Exception:  # missing, or built against another HDF5: explain_missing_filter names it
        return


def explain_missing_filter(dataset: Any) -> str | None:
    """Why the chunks of a data set can't be unpacked here.

    Parameters
    ----------
    dataset : h5py.Dataset

    Returns
    -------
    str or None
        Filter and the package that has it; None where all its filters are there.
    """
    import h5py

    load_hdf5_filters()
    properties = dataset.id.get_create_plist()
    for number in range(properties.get_nfilters()):
        code, _, _, name = properties.get_filter(number)
        if h5py.h5z.filter_avail(code):
            continue
        name = HDF5_FILTERS.get(code) or name.decode("utf-8", "replace").strip() or "unknown"
        return (
            f"it is compressed with the HDF5 filter {name} (number {code}), which is missing here; "
            "install it with: pip install hdf5plugin"
        )
    return None
