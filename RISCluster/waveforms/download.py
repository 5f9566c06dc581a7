"""Waveforms and StationXML from FDSN data centres, by obspy's mass downloader.

All channels and locations that match are taken, with gaps, and also where stations are close to
each other or have no response. What the mass downloader does not do is here: a file is written
beside its place and renamed once complete, answers are checked, failed requests are repeated and
split by station, and intervals of files begin at multiples of their length since 1970.
"""

import contextlib
import logging
import os
import re
import threading
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import DataError, SettingsError, Stopped
from ..io import new_file, remove_quietly
from ..runtime import Progress, StopRequest, count, log
from .read import import_obspy
from .responses import read_station_file

with warnings.catch_warnings():  # of obspy about Python and other packages
    warnings.simplefilter("ignore")
    import_obspy()
    from obspy import Inventory, UTCDateTime
    from obspy.clients.fdsn import Client
    from obspy.clients.fdsn import header as fdsn
    from obspy.clients.fdsn import mass_downloader as obspy_downloader
    from obspy.clients.fdsn.mass_downloader.utils import get_stationxml_contents
    from obspy.io.mseed.util import get_record_information

obspy_log = logging.getLogger("obspy.clients.fdsn.mass_downloader")
obspy_log.propagate = False
obspy_log.addHandler(logging.NullHandler())
obspy_log.addFilter(  # its errors are reported by `ArchiveClient`
    lambda record: (
        record.levelno == logging.WARNING and log.warning(record.getMessage().splitlines()[0])
    )
)

THREADS = 3  # of a data centre, as data centres ask for
REQUEST_MB = 20  # approximate size of a request
MIN_RECORD = 128  # bytes; lengths of miniSEED records are powers of two from here on
MAX_FAILURES = 3  # consecutive stations, after which the rest of a request is not tried
ERRORS = (fdsn.FDSNException, HTTPException, OSError)
FINAL = (  # answers that another request does not change
    fdsn.FDSNNoDataException,
    fdsn.FDSNBadRequestException,
    fdsn.FDSNUnauthorizedException,
    fdsn.FDSNForbiddenException,
    fdsn.FDSNRequestTooLargeException,
)


@dataclass(frozen=True)
class Request:
    """What to download: codes have the wildcards ``*`` and ``?``, several with commas."""

    network: str
    station: str
    location: str
    channel: str
    start: datetime  # UTC
    end: datetime
    providers: tuple[str, ...]  # obspy's names or URLs; the first that has a station is asked
    chunk: float = 86400.0  # seconds of a file
    box: tuple[float, ...] | None = None  # range of latitude, range of longitude, degrees
    circle: tuple[float, ...] | None = None  # latitude, longitude, radius, degrees

    def __str__(self) -> str:
        span = f"{self.start:%Y-%m-%dT%H:%M:%SZ} to {self.end:%Y-%m-%dT%H:%M:%SZ}"
        area = f" in --box {self.box}" if self.box else ""
        area = f" in --circle {self.circle}" if self.circle else area
        codes = ".".join((self.network, self.station, self.location, self.channel))
        return f"{codes} from {span}{area} at {', '.join(self.providers)}"


class Summary(NamedTuple):
    """Result of a request: numbers of waveform files, stations as ``NET.STA``, and errors."""

    new: int
    existing: int
    wanted: int
    new_bytes: int
    stations: tuple[str, ...]  # with waveforms
    missing: dict[str, tuple[int, int, str]]  # by NET.STA.LOC.CHA: how many, of how many, reason
    without_response: tuple[str, ...]
    failures: dict[str, str]  # by NET.STA or URL


def download(request: Request, folder: Path) -> Summary:
    """Download what is not in the folder yet.

    Waveforms are written to ``NET/STA/NET.STA.LOC.CHA__START__END.mseed``, StationXML to
    ``stations/NET.STA.xml``. Existing waveforms stay; responses are added to a StationXML file.
    """
    archive = Archive(folder)
    archive.remove_partial()
    with StopRequest() as stop:
        clients, failures = _connect(request.providers, archive, stop)
        _run(clients, request, archive)
        new = archive.commit()
        for client in clients:
            failures |= client.failures
        if stop.signal_number:
            raise Stopped(
                f"{folder}: {len(new):,} new files are kept; run the same command to go on",
                stop.signal_number,
            )
    summary = _summary(archive, new, failures)
    if not summary.stations:
        raise DataError(_nothing(request, summary))
    return summary


def _connect(
    providers: Sequence[str], archive: "Archive", stop: StopRequest
) -> tuple[list["ArchiveClient"], dict[str, str]]:
    """Clients of the data centres that answer, and errors of the others."""
    clients, unreachable = [], {}
    for provider in providers:
        try:
            with warnings.catch_warnings():  # old names, unusual service descriptions
                warnings.simplefilter("ignore")
                client = ArchiveClient(provider, archive, stop)
        except ValueError:
            raise SettingsError(
                f"command line: --provider {provider} is not known; allowed: a URL, or one of "
                f"{', '.join(sorted(fdsn.URL_MAPPINGS))}"
            ) from None
        except (*ERRORS, SyntaxError) as error:  # lxml's errors are syntax errors
            none = isinstance(error, fdsn.FDSNNoServiceException)
            reason = "no FDSN service answers there" if none else reason_of(error)
            unreachable[provider] = f"can't be reached: {reason}"
            continue
        lacking = [name for name in ("dataselect", "station") if name not in client.services]
        if lacking:
            unreachable[provider] = f"offers no service {' and '.join(lacking)}"
        else:
            clients.append(client)
    for provider, reason in unreachable.items():
        if not clients:
            raise DataError(f"provider {provider} {reason}; check --provider and the network")
        log.warning(f"provider {provider} {reason}; going on without it")
    return clients, unreachable


class _Intervals(obspy_downloader.Restrictions):
    """Restrictions whose intervals begin at multiples of their length since 1970."""

    def __iter__(self) -> Iterator[tuple[UTCDateTime, UTCDateTime]]:
        start = self.starttime
        while start < self.endtime:
            number = int(start.timestamp // self.chunklength) + 1
            stop = min(UTCDateTime(number * self.chunklength), self.endtime)
            yield start, stop
            start = stop


def _run(clients: list["ArchiveClient"], request: Request, archive: "Archive") -> None:
    restrictions = _Intervals(
        starttime=UTCDateTime(request.start),
        endtime=UTCDateTime(request.end),
        chunklength_in_sec=request.chunk,
        network=request.network,
        station=request.station,
        location=request.location,
        channel=request.channel,
        reject_channels_with_gaps=False,
        minimum_length=0.0,
        sanitize=False,  # would remove waveforms without a response
        minimum_interstation_distance_in_m=0.0,
    )
    try:
        obspy_downloader.MassDownloader(clients, configure_logging=False).download(
            _domain(request),
            restrictions,
            mseed_storage=archive.waveform_file,
            stationxml_storage=archive.station_file,
            download_chunk_size_in_mb=REQUEST_MB,
            threads_per_client=THREADS,
            print_report=False,
        )
    except NotImplementedError:  # of obspy, for a record that touches three files
        raise DataError(
            f"command line: --chunk {request.chunk:g} s is shorter than records are; give a "
            "larger one"
        ) from None
    except OSError as error:
        raise DataError(
            f"{archive.folder}: can't be written: {error.strerror or error}; make room or change "
            "permissions, then run the same command again: what was downloaded before is intact"
        ) from None
    finally:
        for client in clients:
            client.close_progress()


def _domain(request: Request) -> Any:
    if request.box:
        return obspy_downloader.RectangularDomain(*request.box)
    if request.circle:
        latitude, longitude, radius = request.circle
        return obspy_downloader.CircularDomain(latitude, longitude, 0.0, radius)
    return obspy_downloader.GlobalDomain()


def _summary(archive: "Archive", new: list[Path], failures: dict[str, str]) -> Summary:
    there = archive.existing.union(new)
    stations, missing = set(), {}
    for codes, files in archive.wanted.items():
        station = ".".join(codes[:2])
        lacking = len(files.keys() - there)
        if lacking < len(files):
            stations.add(station)
        if lacking:
            missing[".".join(codes)] = lacking, len(files), failures.get(station, "no data")
    return Summary(
        new=len(new),
        existing=len(archive.existing),
        wanted=sum(map(len, archive.wanted.values())),
        new_bytes=sum(path.stat().st_size for path in new),
        stations=tuple(sorted(stations)),
        missing=missing,
        without_response=tuple(sorted(archive.without_response)),
        failures=failures,
    )


def _nothing(request: Request, summary: Summary) -> str:
    if summary.failures:
        place, reason = next(iter(summary.failures.items()))
        return (
            f"nothing was downloaded of {request} ({place}: {reason}); run the same command again"
        )
    if summary.wanted:
        return (
            f"no waveforms of {request}, where {count(len(summary.missing), 'channel')} should be; "
            "take another time span"
        )
    return f"no station matches {request}; take other codes, times or places"


# ---- folder -------------------------------------------------------------------------------------


def partial_of(path: Path) -> Path:
    """Path of a file while it is written."""
    return path.with_name(path.name + ".partial")


class Archive:
    """Folder of downloaded files, as the mass downloader asks for it.

    `wanted` has start and end of the files of the request, by codes of a channel, then path.
    """

    def __init__(self, folder: Path):
        self.folder, self.stations = folder, folder / "stations"
        self.wanted: dict[tuple, dict[Path, tuple[UTCDateTime, UTCDateTime]]] = defaultdict(dict)
        self.existing: set[Path] = set()  # of the wanted files
        self.without_response: set[str] = set()  # stations
        self._asked: set[Path] = set()  # StationXML files
        self._in_request: dict[int, list[Path]] = {}  # files, by thread

    def waveform_file(
        self,
        network: str,
        station: str,
        location: str,
        channel: str,
        start: UTCDateTime,
        end: UTCDateTime,
    ) -> str:
        """File of an interval where it exists, otherwise its path while it is written."""
        span = "__".join(time.strftime("%Y%m%dT%H%M%SZ") for time in (start, end))
        name = f"{network}.{station}.{location}.{channel}__{span}.mseed"
        target = self.folder / network / station / name
        self.wanted[network, station, location, channel][target] = start, end
        if looks_whole(target):
            self.existing.add(target)
            return str(target)
        return str(partial_of(target))

    def station_file(
        self,
        network: str,
        station: str,
        channels: list[tuple[str, str]],
        start: UTCDateTime,
        end: UTCDateTime,
    ) -> dict:
        """File of a station, and which channels have and lack a response in it."""
        target = self.stations / f"{network}.{station}.xml"
        epochs = defaultdict(lambda: ([], []))
        if target.exists() and _read_stations(target) is None:
            log.warning(f"{target}: can't be read as StationXML; it is downloaded again")
        elif target.exists():
            for item in get_stationxml_contents(str(target)):  # channels with a response
                if (item.network, item.station) == (network, station):
                    epochs[item.location, item.channel][0].append(item.starttime)
                    epochs[item.location, item.channel][1].append(item.endtime)
        spans = {codes: (min(first), max(last)) for codes, (first, last) in epochs.items()}
        there = [
            codes
            for codes in map(tuple, channels)
            if codes in spans and spans[codes][0] <= start and end <= spans[codes][1]
        ]
        missing = [codes for codes in channels if tuple(codes) not in there]
        if missing:
            self._asked.add(target)
        return {
            "available_channels": there,
            "missing_channels": missing,
            "filename": str(partial_of(target) if missing else target),
        }

    def begin_request(self, lines: Sequence[Sequence]) -> int:
        """Give the files of this thread's last request their names; number of files of this one.

        obspy cuts an answer into files record by record, and is done with the last answer now. It
        looks for the files under their first names again after all requests, hence the links.
        """
        self._link(self._in_request.pop(threading.get_ident(), []))
        targets = [
            target
            for *codes, start, end in lines
            for target, (first, last) in self.wanted.get(tuple(codes), {}).items()
            if target not in self.existing and start <= first and last <= end
        ]
        self._in_request[threading.get_ident()] = targets
        return len(targets)

    def _link(self, targets: Sequence[Path]) -> None:
        for target in filter(lambda target: partial_of(target).exists(), targets):
            remove_quietly(target)
            with contextlib.suppress(OSError):  # a file system without links: see `commit`
                target.hardlink_to(partial_of(target))

    def remove_partial(self) -> None:
        """Remove incomplete files of a download that was killed."""
        for path in self.folder.rglob("*.partial"):
            remove_quietly(path)

    def commit(self) -> list[Path]:
        """Give all new files their names; those of waveforms."""
        new = []
        for files in self.wanted.values():
            for target in files:
                path = partial_of(target)
                if path.exists():
                    path.replace(target)
                    remove_quietly(path)  # a second link to a file stays on renaming
                    new.append(target)
        for target in sorted(self._asked):
            if not self._commit_stations(target):
                self.without_response.add(target.stem)
        return new

    def _commit_stations(self, target: Path) -> bool:
        """Add a station's new responses to the existing ones; whether there are any."""
        path = partial_of(target)
        if not path.exists():
            return False
        merged, new = _read_stations(target) if target.exists() else None, _read_stations(path)
        if merged is None:
            path.replace(target)
            return True
        merge_stations(merged.networks, new.networks)
        remove_quietly(path)
        with new_file(target) as fresh:
            merged.write(str(fresh), format="STATIONXML")
        return True


def looks_whole(path: Path) -> bool:
    """Whether a file exists with a size that records can have."""
    size = path.stat().st_size if path.exists() else 0
    return size > 0 and size % MIN_RECORD == 0


def is_whole(path: Path) -> bool:
    """Whether a file consists of complete miniSEED records."""
    size, position = path.stat().st_size, 0
    with path.open("rb") as file:
        while position < size:
            try:
                length = get_record_information(file, position)["record_length"]
            except Exception:  # obspy raises many types for what is no record
                return False
            if length <= 0:
                return False
            position += length
    return 0 < position == size


def _read_stations(path: Path) -> Inventory | None:
    try:
        return read_station_file(path)[0]
    except DataError:
        return None


def merge_stations(old: list, new: list, levels: Sequence[str] = ("stations", "channels")) -> None:
    """Add networks, stations and channels to a list in place; replace channels of equal epochs."""

    def key(item: Any) -> tuple:
        return item.code, getattr(item, "location_code", None), item.start_date

    for item in new:
        same = next((k for k, other in enumerate(old) if key(other) == key(item)), None)
        if same is None:
            old.append(item)
        elif levels:
            merge_stations(getattr(old[same], levels[0]), getattr(item, levels[0]), levels[1:])
        else:
            old[same] = item


# ---- client -------------------------------------------------------------------------------------


class ArchiveClient(Client):
    """Client of a data centre that checks its answers, and repeats and splits failed requests.

    `failures` has the last error by ``NET.STA``, or by URL where no station is concerned. After a
    signal every further request is refused.
    """

    pause = 5.0  # s before a failed request is repeated

    def __init__(self, provider: str, archive: Archive, stop: StopRequest):
        super().__init__(provider, service_mappings={"event": None})
        self.archive, self.stop = archive, stop
        self.failures: dict[str, str] = {}
        self._lock = threading.Lock()
        self._progress: Progress | None = None
        self._bytes, self._begin = 0, time.monotonic()

    def get_stations(self, *arguments: Any, **keywords: Any) -> Inventory:
        """List stations."""
        self._refuse_if_stopped()
        try:
            found = super().get_stations(*arguments, **keywords)
        except fdsn.FDSNNoDataException:
            log.info(f"{self.base_url}: no station matches")
            raise
        except Exception as error:  # also of obspy for an answer that is no list
            self.failures[self.base_url] = f"stations can't be listed: {reason_of(error)}"
            raise
        stations = [station for network in found for station in network]
        channels = sum(len(station.channels) for station in stations)
        log.info(
            f"{self.base_url}: {count(len(stations), 'station')}, "
            f"{count(channels, 'epoch of a channel', 'epochs of channels')}"
        )
        return found

    def get_stations_bulk(self, bulk: Sequence, filename: str, **keywords: Any) -> None:
        """Download StationXML of one station; without a file where it can't be read."""
        self._refuse_if_stopped()
        try:
            super().get_stations_bulk(bulk, filename=filename, **keywords)
            if _read_stations(Path(filename)) is None:
                Path(filename).unlink()
                raise fdsn.FDSNException("the answer is no StationXML, or was cut short")
        except ERRORS as error:
            self.failures[f"{bulk[0][0]}.{bulk[0][1]}"] = f"no StationXML: {reason_of(error)}"
            raise

    def get_waveforms_bulk(self, bulk: Sequence[Sequence], filename: str, **_: Any) -> None:
        """Download waveforms; where that fails, station by station."""
        self._refuse_if_stopped()
        n_files = self.archive.begin_request(bulk)
        self._show(0)
        try:
            self._fetch_or_split(bulk, filename)
        finally:
            self._show(n_files)

    def close_progress(self) -> None:
        """End the display of progress."""
        if self._progress is not None:
            self._progress.__exit__(None, None, None)
            self._progress = None

    def _fetch_or_split(self, bulk: Sequence[Sequence], filename: str) -> None:
        """Fetch all in one request; where that fails, each station once more in its own."""
        stations = defaultdict(list)
        for line in bulk:
            stations[f"{line[0]}.{line[1]}"].append(line)
        try:
            self._fetch(bulk, filename)
            return
        except fdsn.FDSNNoDataException:
            raise
        except ERRORS as error:
            if len(stations) == 1 and isinstance(error, FINAL):
                self.failures.update(dict.fromkeys(stations, reason_of(error)))
                raise
            log.info(f"{self.base_url}: {reason_of(error)}; asking once more, station by station")
        time.sleep(0 if self.stop.signal_number else self.pause)
        failed, part = 0, Path(filename + ".station")
        with open(filename, "wb") as whole:
            for station, lines in stations.items():
                if failed >= MAX_FAILURES or self.stop.signal_number:
                    self.failures[station] = "not tried after failures of other stations"
                    continue
                try:
                    self._fetch(lines, str(part))
                    whole.write(part.read_bytes())
                    failed = 0
                except fdsn.FDSNNoDataException:
                    failed = 0
                except ERRORS as error:
                    self.failures[station] = reason_of(error)
                    failed += 1
                finally:
                    part.unlink(missing_ok=True)

    def _fetch(self, lines: Sequence[Sequence], filename: str) -> None:
        super().get_waveforms_bulk(lines, filename=filename)
        size = os.path.getsize(filename)
        if size == 0:  # as some answer instead of 204
            raise fdsn.FDSNNoDataException("No data available")
        if not is_whole(Path(filename)):
            raise fdsn.FDSNException(f"the answer of {size:,} bytes is no miniSEED, or cut short")
        with self._lock:
            self._bytes += size

    def _show(self, n_files: int) -> None:
        with self._lock:
            if self._progress is None:
                left = sum(map(len, self.archive.wanted.values())) - len(self.archive.existing)
                log.info(f"{self.base_url}: asking for {count(left, 'file')} of waveforms")
                self._progress = Progress("Downloading", left, "files")
            if n_files:
                rate = self._bytes / 1e6 / max(time.monotonic() - self._begin, 1e-3)
                self._progress.add(n_files, MB=self._bytes / 1e6, **{"MB/s": rate})

    def _refuse_if_stopped(self) -> None:
        if self.stop.signal_number:
            raise fdsn.FDSNException("stopped")


def reason_of(error: BaseException) -> str:
    """Message of an error on one line, without the page that a server may have sent with it."""
    text = " ".join(re.split("HTTP Status code|Detailed response", str(error))[0].split())
    return (text or type(error).__name__).rstrip(". ")[:200]
