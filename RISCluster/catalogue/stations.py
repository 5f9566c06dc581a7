"""Coordinates of stations, from StationXML or from a CSV table.

Letters: S stations.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas

from ..data.tables import read_table
from ..errors import DataError
from ..runtime import count
from ..waveforms.responses import is_station_file, read_inventory

COLUMNS = {
    "network": ("network", "net", "network_code"),
    "station": ("station", "sta", "station_code", "name", "code"),
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon", "long", "lng"),
}


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
        places = {code: {place} for code, place in self.places.items()}
        for code, place in self.places.items():
            places.setdefault(f"*.{code.rpartition('.')[2]}", set()).add(place)
        found = np.full((len(stations), 2), np.nan)
        for row, name in enumerate(stations):
            network, _, station = name.rpartition(".")
            keys = (name, station) if network else (name, f"*.{station}")
            known = next((places[key] for key in keys if key in places), ())
            if len(known) == 1:
                (found[row],) = known
        return found


def read_stations(place: str | Path, setting: str = "report.stations") -> StationTable:
    """Read StationXML, a folder of it, or a table of network (optional), station and coordinates.

    Raises DataError where it holds no station with coordinates.
    """
    path = Path(place).expanduser()
    if not path.exists():
        raise DataError(f"{setting}: {path}: no such file or folder; give another, or none")
    is_xml = path.is_dir() or is_station_file(path) or b"<" in path.read_bytes()[:8]
    rows, notes = (_from_inventory if is_xml else _from_table)(path, setting)
    latitude, longitude = rows["latitude"], rows["longitude"]
    good = (rows["code"] != "") & latitude.abs().le(90) & longitude.between(-180, 360)
    if not good.all():
        notes.append(
            f"{path}: {count(int((~good).sum()), 'station')} left out, the first in "
            f"{rows['source'][~good].iloc[0]}; needed are a code, a latitude from -90 to 90 and a "
            "longitude from -180 to 360."
        )
    rows["longitude"] = longitude.where(longitude < 180, longitude - 360)
    places: dict[str, tuple[float, float]] = {}
    for row in rows[good].itertuples():
        here = row.latitude, row.longitude
        if places.get(row.code, here) != here:
            notes.append(f"{path}: {row.code} has several places; that in {row.source} is used.")
        places[row.code] = here
    if not places:
        why = f" ({notes[0].rstrip('.')})" if notes else ""
        raise DataError(
            f"{setting}: {path}: holds no station with coordinates{why}; it needs one or more"
        )
    return StationTable(path, places, notes)


def _from_inventory(path: Path, setting: str) -> tuple[pandas.DataFrame, list[str]]:
    """Code, coordinates and source of all epochs of stations, by their start, and notes."""
    inventory = read_inventory(str(path), setting)
    epochs = [
        {
            "start": station.start_date.timestamp if station.start_date else -np.inf,
            "source": f"the epoch from {station.start_date}",
            "code": f"{network.code}.{station.code}",
            "latitude": station.latitude,
            "longitude": station.longitude,
        }
        for network in inventory
        for station in network
    ]
    columns = ["start", "source", "code", "latitude", "longitude"]
    rows = pandas.DataFrame(epochs, columns=columns).astype(dict.fromkeys(columns[3:], float))
    return rows.sort_values("start", kind="stable"), []


def _from_table(path: Path, setting: str) -> tuple[pandas.DataFrame, list[str]]:
    """Code, coordinates and source of all rows of a table, and notes."""
    try:
        table = read_table(path)
        column = table.require({key: words for key, words in COLUMNS.items() if key != "network"})
        rows = {axis: table.numbers(column[axis])[0] for axis in ("latitude", "longitude")}
    except (OSError, ValueError) as error:
        raise DataError(
            f"{setting}: {path}: can't be read as a table: {error}; allowed: CSV with "
            "network, station, latitude and longitude, or StationXML"
        ) from None
    networks, stations = (
        table.text(at) for at in (table.find(*COLUMNS["network"]), column["station"])
    )
    rows["code"] = [
        f"{network}.{station}" if network and station else station
        for network, station in zip(networks, stations, strict=True)
    ]
    rows["source"] = [f"line {line}" for line in table.lines]
    return pandas.DataFrame(rows), [f"{path}: {note}" for note in table.notes]
