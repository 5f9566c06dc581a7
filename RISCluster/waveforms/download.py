"""Waveforms and StationXML from FDSN data centres, by obspy's mass downloader.

What the mass downloader is told, so that nothing is thrown away silently:

- traces with gaps are kept, however short they are (`reject_channels_with_gaps`,
  `minimum_length`): building cuts windows out of unbroken stretches alone;
- waveforms whose response is not to be had are kept and named (`sanitize`);
- stations near each other are kept: arrays are dense (`minimum_interstation_distance_in_m`);
- every channel and location that matches is taken; there are no priorities among them.

Intervals of files begin at multiples of their length since 1970, so that a day's file is the same
whatever span it was asked for in.
"""

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import DataError, SettingsError, Stopped
from ..runtime import StopRequest, count, log
from .archive import Archive
from .fdsn_client import ERRORS, ArchiveClient, reason_of
from .obspy_compat import (
    CircularDomain,
    GlobalDomain,
    MassDownloader,
    RectangularDomain,
    Restrictions,
    UTCDateTime,
    fdsn,
)

THREADS = 3  # at a data centre at a time; what they ask not to be exceeded
REQUEST_MB = 20  # of a request, about; a thread holds one in memory


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes
    ----------
    network, station, location, channel : str
        Codes with the wildcards ``*`` and ``?``, several with commas.
    start, end : datetime
        UTC.
    providers : tuple of str
        Names that obspy knows, or URLs; a station is taken from the first that has it.
    chunk : float
        Seconds of a file.
    box : tuple of float, or None
        Least and largest latitude, least and largest longitude, degrees.
    circle : tuple of float, or None
        Latitude, longitude, radius, degrees.
    """

    network: str
    station: str
    location: str
    channel: str
    start: datetime
    end: datetime
    providers: tuple[str, ...]
    chunk: float = 86400.0
    box: tuple[float, ...] | None = None
    circle: tuple[float, ...] | None = None

    def __str__(self) -> str:
        span = f"{self.start:%Y-%m-%dT%H:%M:%SZ} to {self.end:%Y-%m-%dT%H:%M:%SZ}"
        area = f" in --box {self.box}" if self.box else ""
        area = f" in --circle {self.circle}" if self.circle else area
        codes = ".".join((self.network, self.station, self.location, self.channel))
        return f"{codes} from {span}{area} at {', '.join(self.providers)}"


@dataclass(frozen=True)
class Summary:
    """What came of a request.

    Attributes
    ----------
    new, existing, wanted : int
        Files of waveforms.
    new_bytes : int
    stations : tuple of str
        ``NET.STA`` of which there are waveforms.
    missing : dict
        Files that are not there, by ``NET.STA.LOC.CHA``: how many, of how many, and why.
    without_response : tuple of str
        Stations whose StationXML did not come.
    failures : dict
        What went wrong at the data centres, by ``NET.STA`` or URL.
    """

    new: int
    existing: int
    wanted: int
    new_bytes: int
    stations: tuple[str, ...]
    missing: dict[str, tuple[int, int, str]]
    without_response: tuple[str, ...]
    failures: dict[str, str]


class _Intervals(Restrictions):
    """Restrictions whose files begin at multiples of their length since 1970."""

    def __iter__(self) -> Iterator[tuple[UTCDateTime, UTCDateTime]]:
        start = self.starttime
        while start < self.endtime:
            number = int(start.timestamp // self.chunklength) + 1
            stop = min(UTCDateTime(number * self.chunklength), self.endtime)
            yield start, stop
            start = stop


class _Forward(logging.Handler):
    """Warnings of the mass downloader to the log; its errors are already kept by the client."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.WARNING:
            log.warning(record.getMessage().splitlines()[0])


def download(request: Request, folder: Path) -> Summary:
    """Fetch what a request asks for and what is not in the folder yet.

    Parameters
    ----------
    request : Request
    folder : Path
        Waveforms go to ``NET/STA/NET.STA.LOC.CHA__START__END.mseed`` in it, StationXML to
        ``stations/NET.STA.xml``. What was there stays; responses are added to a StationXML file.

    Returns
    -------
    Summary

    Raises
    ------
    SettingsError
        obspy knows no provider of such a name.
    DataError
        No provider can be reached, or nothing was found.
    Stopped
        SIGINT or SIGTERM came; what was complete is kept.
    """
    archive = Archive(folder)
    taken_over = archive.recover()
    if taken_over:
        log.info(f"{folder}: took over {count(taken_over, 'file')} of a download that was cut off")
    with StopRequest() as stop:
        clients, unreachable = _connect(request.providers, archive, stop)
        with _quiet_obspy():
            _run(clients, request, archive)
        new = archive.commit()
        failures = unreachable | {
            place: reason for client in clients for place, reason in client.failures.items()
        }
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
    providers: Sequence[str], archive: Archive, stop: StopRequest
) -> tuple[list[ArchiveClient], dict[str, str]]:
    """Clients of the data centres that answer, and why the others do not."""
    clients, unreachable = [], {}
    for provider in providers:
        try:
            with warnings.catch_warnings():  # names that have changed, odd service descriptions
                warnings.simplefilter("ignore")
                client = ArchiveClient(provider, archive, stop)
        except ValueError:
            raise SettingsError(
                f"command line: --provider {provider} is not known; allowed: a URL, or one of "
                f"{', '.join(sorted(fdsn.URL_MAPPINGS))}"
            ) from None
        except fdsn.FDSNNoServiceException:
            unreachable[provider] = "can't be reached: no FDSN service answers there"
            continue
        except (*ERRORS, SyntaxError) as error:  # lxml's errors of XML are syntax errors
            unreachable[provider] = f"can't be reached: {reason_of(error)}"
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


def _run(clients: list[ArchiveClient], request: Request, archive: Archive) -> None:
    try:
        MassDownloader(providers=clients, configure_logging=False).download(
            _domain(request),
            _restrictions(request),
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


@contextlib.contextmanager
def _quiet_obspy() -> Iterator[None]:
    """Take the mass downloader's messages, for as long as it runs."""
    logger = logging.getLogger("obspy.clients.fdsn.mass_downloader")
    handler, before = _Forward(), (logger.propagate, logger.level)
    logger.addHandler(handler)
    logger.propagate, logger.level = False, logging.INFO
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate, logger.level = before


def _domain(request: Request) -> Any:
    if request.box:
        south, north, west, east = request.box
        return RectangularDomain(
            minlatitude=south, maxlatitude=north, minlongitude=west, maxlongitude=east
        )
    if request.circle:
        latitude, longitude, radius = request.circle
        return CircularDomain(
            latitude=latitude, longitude=longitude, minradius=0.0, maxradius=radius
        )
    return GlobalDomain()


def _restrictions(request: Request) -> Restrictions:
    """See the text of the module."""
    return _Intervals(
        starttime=UTCDateTime(request.start),
        endtime=UTCDateTime(request.end),
        chunklength_in_sec=request.chunk,
        network=request.network,
        station=request.station,
        location=request.location,
        channel=request.channel,
        reject_channels_with_gaps=False,
        minimum_length=0.0,
        sanitize=False,
        minimum_interstation_distance_in_m=0.0,
    )


def _summary(archive: Archive, new: list[Path], failures: dict[str, str]) -> Summary:
    there = archive.existing.union(new)
    stations, missing = set(), {}
    for codes, files in archive.wanted.items():
        station = ".".join(codes[:2])
        lacking = len(files.keys() - there)
        if lacking < len(files):
            stations.add(station)
        if lacking:
            why = failures.get(station, "no data")
            missing[".".join(codes)] = lacking, len(files), why
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
