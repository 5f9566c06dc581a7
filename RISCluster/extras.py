"""Packages that only some work needs: imported there, asked for by name when missing."""

import importlib
from types import ModuleType

from .errors import MissingPackage

# Extra, name by which it is installed, and what it is for, by the name that is imported.
EXTRAS = {
    "obspy": ("waveforms", "obspy", "waveforms are read with obspy"),
    "zarr": ("cubes", "zarr", "Zarr cubes are read and written with zarr"),
    "umap": ("embedding", "umap-learn", "report.embedding = umap is drawn with umap-learn"),
    "openTSNE": ("embedding", "openTSNE", "report.embedding = opentsne is drawn with openTSNE"),
}


def need(package: str) -> ModuleType:
    """Import a package of an extra.

    Parameters
    ----------
    package : str
        One of `EXTRAS`.

    Raises
    ------
    MissingPackage
        It is not installed; the message has the command that installs it.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        extra, name, why = EXTRAS[package]
        raise MissingPackage(
            f"{why}, which can't be imported here ({error}); install it with: pip install "
            f"{name}, or conda install -c conda-forge {name.lower()} (it is the extra '{extra}')"
        ) from None
