"""A folder of downloaded waveforms: which files are there, which are wanted, which are whole.

``<folder>/NET/STA/NET.STA.LOC.CHA__START__END.mseed`` and ``<folder>/stations/NET.STA.xml``. A file
is written under its name with ``.partial`` and renamed once it is known to be whole.
"""

import json
import threading
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..io import new_file, remove_quietly
from ..runtime import log
from .obspy_compat import (
    Inventory,
    UTCDateTime,
    get_record_information,
    read_headers,
    read_stations,
)

SMALLEST_RECORD = 128  # bytes; lengths of miniSEED records are powers of two from here on
REQUESTS = ".requests"  # folder of lists of the files that are being written
TraceCodes = tuple[str, str, str, str]


class Wanted(NamedTuple):
    """One file that is asked for.

    Attributes
    ----------
    target : Path
    start, end : UTCDateTime
    """

    target: Path
    start: UTCDateTime
    end: UTCDateTime


def partial_of(path: Path) -> Path:
    """Where a file is written before it is known to be whole."""
    return path.with_name(path.name + ".partial")


class Archive:
    """The folder, as obspy's mass downloader asks about it.

    Parameters
    ----------
    folder : Path

    Attributes
    ----------
    wanted : dict
        Files asked for, by network, station, location and channel.
    existing : set of Path
        Those that were there.
    without_response : set of str
        Stations whose StationXML was asked for and did not come.
    """

    def __init__(self, folder: Path):
        self.folder, self.stations = folder, folder / "stations"
        self.wanted: dict[TraceCodes, dict[Path, Wanted]] = defaultdict(dict)
        self.existing: set[Path] = set()
        self.without_response: set[str] = set()
        self._asked: set[Path] = set()

    # ---- what obspy calls ----

    def waveform_file(
        self,
        network: str,
        station: str,
        location: str,
        channel: str,
        start: UTCDateTime,
        end: UTCDateTime,
    ) -> str:
        """The file of an interval where it is there, or else where to write it."""
        span = "__".join(time.strftime("%Y%m%dT%H%M%SZ") for time in (start, end))
        name = f"{network}.{station}.{location}.{channel}__{span}.mseed"
        target = self.folder / network / station / name
        self.wanted[network, station, location, channel][target] = Wanted(target, start, end)
        if looks_whole(target):
            self.existing.add(target)
            return str(target)
        return str(partial_of(target))

    def station_file(
        self,
        network: str,
        station: str,
        channels: list[tuple[str, str]],
        start: object,
        end: object,
    ) -> dict:
        """Which channels have their response in the file that is there, and which have not."""
        target = self.stations / f"{network}.{station}.xml"
        known = _responses(target, network, station) if target.exists() else {}
        there = [codes for codes in channels if _covers(known.get(codes, []), start, end)]
        missing = [codes for codes in channels if codes not in there]
        if missing:
            self._asked.add(target)
        return {
            "available_channels": there,
            "missing_channels": missing,
            "filename": str(partial_of(target) if missing else target),
        }

    # ---- what a client reports ----

    def begin(self, lines: Sequence[Sequence]) -> int:
        """Note that this thread is about to write the files of a request; how many they are.

        obspy cuts a response into files one record at a time. The note tells the next start which
        of the partial files a kill may have left incomplete.
        """
        names = [
            partial_of(file.target).name
            for *codes, start, end in lines
            for file in self.wanted.get(tuple(codes), {}).values()
            if file.target not in self.existing and start <= file.start and file.end <= end
        ]
        note = self.folder / REQUESTS / f"{threading.get_ident()}.json"
        with new_file(note) as path:
            path.write_text(json.dumps(names), encoding="utf-8")
        return len(names)

    # ---- before and after ----

    def recover(self) -> int:
        """Take over what a killed download had written whole, and remove what it had not.

        Returns
        -------
        int
            Files taken over.
        """
        unsure, count = self._unsure(), 0
        for path in sorted(self.folder.rglob("*.mseed.partial")):
            target = path.with_suffix("")
            if unsure is None or path.name in unsure or not is_whole(path) or looks_whole(target):
                remove_quietly(path)
            else:
                path.replace(target)
                count += 1
        for path in self.stations.glob("*.xml.partial"):
            remove_quietly(path)
        self._forget_requests()
        return count

    def _unsure(self) -> set[str] | None:
        """Names of files that were being written; None, which is all, where a note is damaged."""
        names = set()
        for note in self.folder.glob(f"{REQUESTS}/*.json"):
            try:
                names.update(json.loads(note.read_text(encoding="utf-8")))
            except ValueError:
                return None
        return names

    def commit(self) -> list[Path]:
        """Give the new files their names, after all was written; those of waveforms."""
        new = []
        for files in self.wanted.values():
            for target in files:
                path = partial_of(target)
                if path.exists():
                    path.replace(target)
                    new.append(target)
        for target in sorted(self._asked):
            if not self._commit_stations(target):
                self.without_response.add(target.stem)
        self._forget_requests()
        return new

    def _commit_stations(self, target: Path) -> bool:
        """Add a station's new responses to the ones that were there."""
        path = partial_of(target)
        if not path.exists():
            return False
        old = read_stations(target) if target.exists() else None
        if old is None:
            path.replace(target)
            return True
        merged = merge_stations(old, read_stations(path))
        remove_quietly(path)
        with new_file(target) as fresh:
            merged.write(str(fresh), format="STATIONXML")
        return True

    def _forget_requests(self) -> None:
        folder = self.folder / REQUESTS
        for note in folder.glob("*.json"):
            remove_quietly(note)
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def looks_whole(path: Path) -> bool:
    """Whether a file is there with a size that whole records can have."""
    try:
        size = path.stat().st_size
    except OSError:
        return False
    return size > 0 and size % SMALLEST_RECORD == 0


def is_whole(path: Path) -> bool:
    """Whether a file consists of whole miniSEED records, by their headers."""
    size = path.stat().st_size
    headers = read_headers(path)
    if headers is None:
        return False
    records = sum(trace.number_of_records * trace.record_length for trace in headers)
    return records == size or _last_record_ends_at(path, size)


def _last_record_ends_at(path: Path, size: int) -> bool:
    """The same, record by record: lengths may differ within a file."""
    place = 0
    with path.open("rb") as file:
        while place < size:
            try:
                length = get_record_information(file, place)["record_length"]
            except Exception:  # obspy raises many kinds for what is no record
                return False
            if length <= 0:
                return False
            place += length
    return place == size


def _responses(
    path: Path, network: str, station: str
) -> dict[tuple[str, str], list[tuple[object, object]]]:
    """Epochs with a response in a StationXML file, by location and channel."""
    inventory = read_stations(path)
    if inventory is None:
        log.warning(f"{path}: can't be read as StationXML; it is downloaded again")
        return {}
    epochs = defaultdict(list)
    for net in inventory:
        for site in net:
            for channel in site if (net.code, site.code) == (network, station) else ():
                if channel.response is not None:
                    codes = channel.location_code, channel.code
                    epochs[codes].append((channel.start_date, channel.end_date))
    return epochs


def _covers(epochs: list, start: UTCDateTime, end: UTCDateTime) -> bool:
    """Whether epochs, taken from the first begin to the last end, hold an interval."""
    begins, ends = [first for first, _ in epochs], [last for _, last in epochs]
    return bool(epochs) and (
        (None in begins or min(begins) <= start) and (None in ends or max(ends) >= end)
    )


def merge_stations(old: Inventory, new: Inventory) -> Inventory:
    """Inventory with all epochs of both; of an epoch in both, the new one.

    Parameters
    ----------
    old, new : Inventory
        `old` is changed in place.

    Returns
    -------
    Inventory
    """
    for network in new:
        mine = _same(old.networks, network)
        if mine is None:
            old.networks.append(network)
            continue
        for station in network:
            site = _same(mine.stations, station)
            if site is None:
                mine.stations.append(station)
                continue
            for channel in station:
                before = _same(site.channels, channel)
                if before is not None:
                    site.channels.remove(before)
                site.channels.append(channel)
    return old


def _same(items: list, item: object) -> object | None:
    """The one of the same codes and begin among items."""
    for other in items:
        if all(
            getattr(other, name, None) == getattr(item, name, None)
            for name in ("code", "location_code", "start_date")
        ):
            return other
    return None
