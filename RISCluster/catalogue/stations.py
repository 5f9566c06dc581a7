"""Coordinates of stations: from StationXML, or from a CSV table.

Letters: S stations.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..data.tables import read_table
from ..errors import DataError
from ..runtime import count
from ..waveforms.responses import OTHERS, is_station_file, read_inventory

COLUMNS = {
    "network": ("network", "net", "network_code"),
    "station": ("station", "sta", "station_code", "name", "code"),
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon", "long", "lng"),
}


@dataclass(frozen=True)
class StationTable:
    """Coordinates by code.

    Attributes
    ----------
    path : Path
    places : dict of str to (float, float)
        ``NET.STA``, or ``STA`` where no network is given, to latitude and longitude in degrees
        north and east, longitude from -180 to below 180.
    notes : list of str
    """

    path: Path
    places: dict[str, tuple[float, float]]
    notes: list[str] = field(default_factory=list)

    def locate(self, stations: Sequence[str]) -> np.ndarray:
        """Latitude and longitude of stations, (S, 2); NaN where they are not known.

        A code without a network, here or there, goes by the station's alone if only one has it.
        """
        alone: dict[str, set[tuple[float, float]]] = {}
        for code, place in self.places.items():
            alone.setdefault(code.rpartition(".")[2], set()).add(place)
        found = np.full((len(stations), 2), np.nan)
        for row, name in enumerate(stations):
            network, _, station = name.rpartition(".")
            if name in self.places:
                found[row] = self.places[name]
            elif station in self.places:
                found[row] = self.places[station]
            elif not network and len(alone.get(station, ())) == 1:
                found[row] = next(iter(alone[station]))
        return found


def read_stations(place: str | Path) -> StationTable:
    """Read StationXML, a folder of it, or a CSV table.

    Parameters
    ----------
    place : path
        A table's columns are network, station, latitude and longitude; network may be missing.

    Raises
    ------
    DataError
        It is missing, or not what is allowed.
    MissingPackage
        It is StationXML, and obspy is not installed.
    """
    path = Path(place).expanduser()
    if path.is_dir() and not any(map(is_station_file, path.rglob("*"))):
        raise DataError(
            f"report.stations: {path}: no .xml file in this folder; give one with StationXML"
        )
    if not path.exists():
        raise DataError(f"report.stations: {path}: no such file or folder; give another, or none")
    is_xml = path.is_dir() or is_station_file(path) or _begins_as_xml(path)
    table = _read_xml(path) if is_xml else _read_csv(path)
    if not table.places:
        why = f" ({table.notes[0].rstrip('.')})" if table.notes else ""
        raise DataError(
            f"report.stations: {path}: holds no station with coordinates{why}; it needs one or more"
        )
    return table


def _begins_as_xml(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return b"<" in file.read(8)
    except OSError:
        return False  # said by the reader of tables


def _read_xml(path: Path) -> StationTable:
    """Places of the last epoch of each station."""
    inventory = read_inventory(str(path), "report.stations")
    found: dict[str, dict[tuple[float, float], float]] = {}
    unknown = []
    for network in inventory.content:
        for station in network:
            code, place = f"{network.code}.{station.code}", (station.latitude, station.longitude)
            if None in place or not _on_earth(*place):
                unknown.append(code)
                continue
            start = 0.0 if station.start_date is None else station.start_date.timestamp
            epochs = found.setdefault(code, {})
            epochs[_place(*place)] = max(start, epochs.get(_place(*place), start))
    notes = [
        f"{code} has {len(epochs)} places in {path}: that since the latest date is taken."
        for code, epochs in found.items()
        if len(epochs) > 1
    ]
    if unknown:
        notes.append(
            f"{path}: {count(len(unknown), 'station')} without coordinates left out, the first is "
            f"{unknown[0]}."
        )
    bad = [f"{line}." for line in inventory.lines if line.endswith(OTHERS)]
    places = {code: max(epochs, key=epochs.get) for code, epochs in found.items()}
    return StationTable(path, places, bad + notes)


def _read_csv(path: Path) -> StationTable:
    try:
        table = read_table(path)
        column = table.require({key: words for key, words in COLUMNS.items() if key != "network"})
        numbers = [table.numbers(column[axis])[0] for axis in ("latitude", "longitude")]
    except (OSError, ValueError) as error:
        raise DataError(
            f"report.stations: {path}: can't be read as a table: {error}; allowed: CSV with "
            "network, station, latitude and longitude, or StationXML"
        ) from None
    codes = zip(
        table.text(table.find(*COLUMNS["network"])), table.text(column["station"]), strict=True
    )
    places, bad, moved = {}, [], {}
    for line, (network, station), *place in zip(table.lines, codes, *numbers, strict=True):
        if station and _on_earth(*place):
            code = f"{network}.{station}" if network else station
            if places.get(code, _place(*place)) != _place(*place):
                moved[code] = line
            places[code] = _place(*place)
        else:
            bad.append(line)
    table.notes.extend(
        f"{code} has more than one place: the last, in line {line}, is taken."
        for code, line in moved.items()
    )
    if bad:
        table.notes.append(
            f"{count(len(bad), 'row')} left out, the first in line {bad[0]}; a row needs a "
            "station, a latitude from -90 to 90 and a longitude from -180 to 360."
        )
    return StationTable(path, places, [f"{path}: {note}" for note in table.notes])


def _on_earth(latitude: float, longitude: float) -> bool:
    return abs(latitude) <= 90 and -180 <= longitude <= 360


def _place(latitude: float, longitude: float) -> tuple[float, float]:
    return float(latitude), float(longitude - 360 if longitude >= 180 else longitude)
