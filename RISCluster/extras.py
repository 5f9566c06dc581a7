"""Packages that only some work needs: imported there, asked for by name when missing."""

import importlib
from types import ModuleType

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
