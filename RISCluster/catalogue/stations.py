"""Coordinates of stations, from StationXML or from a CSV table."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas

from ..data.tables import read_table
from ..errors import DataError
from ..runtime import count
from ..waveforms.process import is_station_file, read_inventory

NETWORK = ("network", "net", "network_code")
COLUMNS = {
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
        by_station, found = defaultdict(set), []
        for code, place in self.places.items():
            by_station[code.rpartition(".")[2]].add(place)
        for name in stations:
            network, _, station = name.rpartition(".")
            near = {self.places.get(name, self.places.get(station))} - {None}
            if not network and not near:
                near = by_station[station]
            found.append(min(near) if len(near) == 1 else (np.nan, np.nan))
        return np.array(found).reshape(-1, 2)


def read_stations(place: str | Path, setting: str = "report.stations") -> StationTable:
    """Read StationXML, a folder of it, or a table of network (optional), station and coordinates.

    Of several places of a station the last is used. DataError without coordinates.
    """
    path = Path(place).expanduser()
    if not path.exists():
        raise DataError(f"{setting}: {path}: no such file or folder; give another, or none")
    is_xml = path.is_dir() or is_station_file(path) or b"<" in path.read_bytes()[:8]
    rows, notes = (_from_inventory if is_xml else _from_table)(path, setting)
    if rows.empty:
        why = f" ({notes[0].rstrip('.')})" if notes else ""
        raise DataError(
            f"{setting}: {path}: holds no station with coordinates{why}; it needs one or more"
        )
    places = {
        code: (latitude, longitude - 360 * (longitude >= 180))
        for code, latitude, longitude in rows.itertuples(index=False)
    }
    return StationTable(path, places, notes)


def _from_inventory(path: Path, setting: str) -> tuple[pandas.DataFrame, list[str]]:
    """Code and coordinates of all epochs of stations, by their start, and notes."""
    inventory = read_inventory(str(path), setting)
    epochs = [
        (station.start_date.timestamp if station.start_date else -np.inf,
         f"{network.code}.{station.code}", float(station.latitude), float(station.longitude))
        for network in inventory
        for station in network
    ]  # fmt: skip
    rows = pandas.DataFrame(sorted(epochs), columns=["start", "code", "latitude", "longitude"])
    return rows.drop(columns="start"), []


def _from_table(path: Path, setting: str) -> tuple[pandas.DataFrame, list[str]]:
    try:
        table = read_table(path)
        at = table.require(COLUMNS)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{setting}: {path}: can't be read as a table: {error}; allowed: CSV with "
            "network, station, latitude and longitude, or StationXML"
        ) from None
    networks, stations = table.text(table.find(*NETWORK)), table.text(at["station"])
    codes = [".".join(filter(None, pair)) for pair in zip(networks, stations, strict=True)]
    places = {axis: table.numbers(at[axis]) for axis in ("latitude", "longitude")}
    rows = pandas.DataFrame({"code": codes, **places}, index=table.cells.index)
    good = rows["latitude"].abs().le(90) & rows["longitude"].between(-180, 360)
    good &= np.array(stations, dtype=object) != ""
    notes, bad = [], rows.index[~good]
    if len(bad):
        notes.append(
            f"{path}: {count(len(bad), 'station')} left out, the first in line {bad[0]}; needed "
            "are a code, a latitude from -90 to 90 and a longitude from -180 to 360."
        )
    return rows[good], notes
