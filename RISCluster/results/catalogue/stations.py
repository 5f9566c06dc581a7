"""Coordinates of stations: from StationXML, or from a CSV table.

Letters: S stations.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...data.waveforms.responses import OTHERS, is_station_file, read_inventory
from ...errors import DataError

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
    table = _read_xml(path) if path.is_dir() or is_station_file(path) else _read_csv(path)
    if not table.places:
        raise DataError(
            f"report.stations: {path}: holds no station with coordinates; it needs one or more"
        )
    return table


def _read_xml(path: Path) -> StationTable:
    """Places of the last epoch of each station."""
    inventory = read_inventory(str(path), "report.stations")
    found: dict[str, dict[tuple[float, float], float]] = {}
    for network in inventory.content:
        for station in network:
            place = _place(float(station.latitude), float(station.longitude))
            start = 0.0 if station.start_date is None else station.start_date.timestamp
            epochs = found.setdefault(f"{network.code}.{station.code}", {})
            epochs[place] = max(start, epochs.get(place, start))
    notes = [
        f"{code} has {len(epochs)} places in {path}: that since the latest date is taken."
        for code, epochs in found.items()
        if len(epochs) > 1
    ]
    bad = [f"{line}." for line in inventory.lines if line.endswith(OTHERS)]
    places = {code: max(epochs, key=epochs.get) for code, epochs in found.items()}
    return StationTable(path, places, bad + notes)


def _read_csv(path: Path) -> StationTable:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(file)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"report.stations: {path}: can't be read as CSV: {error}; allowed: text in UTF-8"
        ) from None
    start = next((n for n, line in enumerate(lines) if line.strip(" ,;\t\r\n")), len(lines))
    header = lines[start] if start < len(lines) else ""
    delimiter = max(",;\t|", key=header.count)
    names = [name.strip(" #\t").lower() for name in header.strip("\r\n").split(delimiter)]
    column = _columns(path, names)
    places, bad = {}, []
    rows = csv.reader(lines[start + 1 :], delimiter=delimiter)
    for row in _whole_rows(path, rows):
        if not any(map(str.strip, row)):
            continue
        try:
            code, place = _row(row, column)
        except (ValueError, IndexError):
            bad.append(start + 1 + rows.line_num)
            continue
        places[code] = place
    notes = []
    if bad:
        notes.append(
            f"{len(bad):,} rows of {path} are left out, the first in line {bad[0]}: a row needs a "
            "station, a latitude from -90 to 90 and a longitude from -180 to 360."
        )
    return StationTable(path, places, notes)


def _whole_rows(path: Path, rows: Iterator[list[str]]) -> Iterator[list[str]]:
    try:
        yield from rows
    except csv.Error as error:
        raise DataError(
            f"report.stations: {path}: can't be read as CSV: {error}; allowed: text in UTF-8"
        ) from None


def _columns(path: Path, names: Sequence[str]) -> dict[str, int]:
    """Where each column is; the network's may be missing."""
    found = {
        column: names.index(next(word for word in words if word in names))
        for column, words in COLUMNS.items()
        if any(word in names for word in words)
    }
    lacking = [column for column in COLUMNS if column not in found and column != "network"]
    if lacking:
        raise DataError(
            f"report.stations: {path}: no column {' and no column '.join(lacking)}; the header has "
            f"{', '.join(name for name in names[:10] if name) or 'nothing'}; allowed: network, "
            "station, latitude, longitude, or a StationXML file with a name that ends with .xml"
        )
    return found


def _row(row: Sequence[str], column: dict[str, int]) -> tuple[str, tuple[float, float]]:
    """Code and place of one row; ValueError or IndexError where it has none."""
    network = row[column["network"]].strip() if "network" in column else ""
    station = row[column["station"]].strip()
    latitude, longitude = float(row[column["latitude"]]), float(row[column["longitude"]])
    if not (station and abs(latitude) <= 90 and -180 <= longitude <= 360):
        raise ValueError
    return (f"{network}.{station}" if network else station), _place(latitude, longitude)


def _place(latitude: float, longitude: float) -> tuple[float, float]:
    return latitude, (longitude + 180) % 360 - 180
