"""Stations of trace ids, and their coordinates from StationXML or from a CSV table.

Letters: N samples, S stations.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas

from ..data.tables import natural_key, read_table
from ..errors import DataError
from ..runs.labels import station_of
from ..runtime import count
from ..waveforms.process import is_station_file, read_inventory

NETWORK = ("network", "net", "network_code")
COLUMNS = {
    "station": ("station", "sta", "station_code", "name", "code"),
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon", "long", "lng"),
}


def stations_of(trace_ids: pandas.Categorical) -> tuple[list[str], np.ndarray]:
    """Stations (S,) in natural order, and the number of that of each trace id (N,)."""
    codes = [station_of(name) for name in trace_ids.categories]
    names = sorted(set(codes), key=natural_key)
    return names, pandas.Index(names).get_indexer(codes)[trace_ids.codes]


@dataclass(frozen=True)
class StationTable:
    """Coordinates by code: ``NET.STA``, or ``STA`` where no network is given."""

    path: Path
    places: dict[str, tuple[float, float]]  # latitude, longitude from -180 to below 180, degrees
    notes: list[str]

    def locate(self, stations: Sequence[str]) -> np.ndarray:
        """Latitude and longitude of stations, (S, 2); NaN where they are not known.

        Where one of the codes has no network, the station codes alone are compared, if unique.
        """
        found = []
        for name in stations:
            network, _, station = name.rpartition(".")
            near = {self.places.get(name, self.places.get(station))} - {None}
            if not network and not near:
                near = {x for code, x in self.places.items() if code.endswith(f".{station}")}
            found.append(min(near) if len(near) == 1 else (np.nan, np.nan))
        return np.array(found).reshape(-1, 2)


def read_stations(place: str | Path, setting: str = "report.stations") -> StationTable:
    """Read StationXML, a folder of it, or a table of network (optional), station and coordinates.

    Of several places of a station the last is used. DataError without coordinates.
    """
    path, notes = Path(place).expanduser(), []
    if not path.exists():
        raise DataError(f"{setting}: {path}: no such file or folder; give another, or none")
    if path.is_dir() or is_station_file(path) or b"<" in path.read_bytes()[:8]:
        inventory = read_inventory(str(path), setting)
        epochs = [(network.code, station) for network in inventory for station in network]
        epochs.sort(key=lambda epoch: getattr(epoch[1].start_date, "timestamp", -np.inf))
        rows = [(f"{code}.{x.code}", float(x.latitude), float(x.longitude)) for code, x in epochs]
    else:
        rows, notes = _from_table(path, setting)
    if not rows:
        why = f" ({notes[0].rstrip('.')})" if notes else ""
        raise DataError(
            f"{setting}: {path}: holds no station with coordinates{why}; it needs one or more"
        )
    places = {code: (y, x - 360 * (x >= 180)) for code, y, x in rows}
    return StationTable(path, places, notes)


def _from_table(path: Path, setting: str) -> tuple[list[tuple[str, float, float]], list[str]]:
    """Code, latitude and longitude of each row, and a note on rows that are left out."""
    try:
        table = read_table(path)
        at = table.require(COLUMNS)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{setting}: {path}: can't be read as a table: {error}; allowed: CSV with "
            "network, station, latitude and longitude, or StationXML"
        ) from None
    networks, stations = table.text(table.find(*NETWORK)), table.text(at["station"])
    latitudes, longitudes = (table.numbers(at[axis]).tolist() for axis in list(COLUMNS)[1:])
    rows, bad = [], []
    for line, network, station, y, x in zip(
        table.cells.index, networks, stations, latitudes, longitudes, strict=True
    ):
        if station and -90 <= y <= 90 and -180 <= x <= 360:
            rows.append((".".join(filter(None, (network, station))), y, x))
        else:
            bad.append(line)
    if not bad:
        return rows, []
    return rows, [
        f"{path}: {count(len(bad), 'station')} left out, the first in line {bad[0]}; needed "
        "are a code, a latitude from -90 to 90 and a longitude from -180 to 360."
    ]
