"""obspy, as far as downloads need it: imported in one place, quietly, asked for when missing."""

import warnings
from pathlib import Path

from ..errors import DataError
from ..extras import need
from .responses import read_station_file

with warnings.catch_warnings():  # what obspy's own imports say of Python and of other packages
    warnings.simplefilter("ignore")
    need("obspy")
    from obspy import Inventory, UTCDateTime, read
    from obspy.clients.fdsn import Client
    from obspy.clients.fdsn import header as fdsn
    from obspy.clients.fdsn.mass_downloader import (
        CircularDomain,
        GlobalDomain,
        MassDownloader,
        RectangularDomain,
        Restrictions,
    )
    from obspy.core import AttribDict
    from obspy.io.mseed.util import get_record_information

__all__ = [
    "CircularDomain",
    "Client",
    "GlobalDomain",
    "Inventory",
    "MassDownloader",
    "RectangularDomain",
    "Restrictions",
    "UTCDateTime",
    "fdsn",
    "get_record_information",
    "read_headers",
    "read_stations",
]


def read_headers(path: Path) -> list[AttribDict] | None:
    """Attributes of miniSEED of every trace of a file, or None where it holds no records."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a record cut short is for the caller to find
        try:
            return [trace.stats.mseed for trace in read(str(path), "MSEED", headonly=True)]
        except Exception:  # obspy raises many kinds for what is no miniSEED
            return None


def read_stations(path: Path) -> Inventory | None:
    """Inventory of a StationXML file, or None where it can't be read."""
    try:
        return read_station_file(path)[0]
    except DataError:
        return None
