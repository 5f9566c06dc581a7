"""Records in formats that DASCore reads, as TDMS and those of Febus."""

import re
import warnings
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..data.storage import reason_of
from ..data.times import to_metres
from ..errors import DataError
from ..io import need
from ..settings import RecordsSettings
from .records import SECOND, SINCE_1980, Record, round_rate

PICKLED = b"dascore"  # in the first bytes of a file that would execute code


def read_header(path: Path, settings: RecordsSettings) -> Record:
    """Header of one file of evenly spaced (time, channel).

    DataError where DASCore does not find that, MissingPackage where it is not installed.
    """
    dascore = need("dascore")
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kind = ("", "") if PICKLED in file.read(100) else dascore.get_format(path)
            (found,) = dascore.scan(path, *kind, progress=None) if kind[0] else ()
        axis = found.dim_tuple.index("time")
        time, place = (found.coords[found.dim_tuple[k]] for k in (axis, 1 - axis))
        n_samples, n_channels = (round((x.max - x.min) / x.step) + 1 for x in (time, place))
        origin, last = (int(x.astype("M8[ns]").astype(np.int64)) for x in (time.min, time.max))
        rate = round_rate((n_samples - 1) * SECOND / (last - origin), n_samples)
    except Exception as error:  # its readers raise many kinds
        reason = reason_of(error)
        raise DataError(f"{path}: DASCore can't read it ({reason}); leave it out") from None
    numbers = np.arange(n_channels)
    distance, unit = to_metres(place.min + place.step * numbers, _unit(place.units) or "m")
    if settings.channel_spacing != "auto":
        distance = settings.channel_spacing * numbers
    elif unit != "m" or "distance" not in found.dim_tuple:
        distance = None
    return Record(
        path, tuple(kind), axis, n_channels,
        rate if settings.sampling_rate == "auto" else settings.sampling_rate,
        origin if origin > SINCE_1980 * SECOND else None, [(0, 0, n_samples)],
        distance, _unit(found.data_units), notes=(f"read with DASCore as {' '.join(kind)}",),
    )  # fmt: skip


def _unit(quantity: object) -> str:
    return "" if quantity is None else re.sub(r"^1(\.0)? ", "", f"{quantity}")


def read_samples(path: Path, kind: tuple[str, str], first: int, stop: int) -> np.ndarray:
    """Samples `first` to before `stop` of all channels, (n, C), of a format and its version.

    The file is read as a whole: by time, some formats give other samples than asked for.
    """
    return _read(path, kind, path.stat().st_mtime_ns)[first:stop]


@lru_cache(maxsize=1)
def _read(path: Path, kind: tuple[str, str], changed: int) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return need("dascore").read(path, *kind)[0].transpose("time", ...).data
