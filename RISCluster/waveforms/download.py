"""Waveforms and StationXML from FDSN data centres.

Each file of waveforms is one request, so that complete files stay however a download ends. Files
begin at multiples of their length since 1970.
"""

import io
import re
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from configparser import Error as ParsingError
from dataclasses import dataclass, field
from datetime import datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from joblib import Parallel, delayed

from ..errors import DataError, SettingsError, Stopped
from ..io import new_file
from ..runtime import Progress, StopRequest, count, log
from .read import import_obspy
from .responses import read_station_file

with warnings.catch_warnings():  # of obspy about Python and other packages
    warnings.simplefilter("ignore")
    obspy = import_obspy()
    from obspy.clients.fdsn import Client
    from obspy.clients.fdsn import header as fdsn
    from obspy.geodetics import locations2degrees
    from obspy.io.mseed.util import get_record_information

THREADS = 3  # requests at a time, as data centres ask for
PAUSE = 5.0  # s before a failed request is repeated
MAX_FAILURES = 3  # consecutive stations of a data centre, after which its other files are not tried
ERRORS = (fdsn.FDSNException, HTTPException, OSError)
FINAL = (  # answers that another request does not change
    fdsn.FDSNBadRequestException,
    fdsn.FDSNUnauthorizedException,
    fdsn.FDSNForbiddenException,
    fdsn.FDSNRequestTooLargeException,
)
LOGINS = {frozenset(x.split()) for x in ("token", "eida_token", "user password")}  # keys
KM_PER_DEGREE = 111.195
AREAS = {
    "box": ("minlatitude", "maxlatitude", "minlongitude", "maxlongitude"),
    "circle": ("latitude", "longitude", "maxradius"),
}
EVER = obspy.UTCDateTime(1800, 1, 1), obspy.UTCDateTime(2599, 1, 1)


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
    min_distance: float = 0.0  # km between stations
    credentials: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        span = f"{self.start:%Y-%m-%dT%H:%M:%SZ} to {self.end:%Y-%m-%dT%H:%M:%SZ}"
        codes = ".".join((self.network, self.station, self.location, self.channel))
        return f"{codes} from {span} at {', '.join(self.providers)}"


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
    ``stations/NET.STA.xml``. Existing waveforms stay, also where they are of other requests.
    """
    with StopRequest() as stop:
        centres, failures = _connect(request, stop)
        stations: dict[str, tuple[Centre, list]] = {}
        for centre in centres:
            for station, channels in centre.channels(request).items():
                stations.setdefault(station, (centre, channels))
        stations = _far_apart(stations, request.min_distance)
        rows = [row for name in stations for row in _files(request, folder, name, *stations[name])]
        columns = ["start", "channel", "station", "path", "centre", "line"]
        files = pd.DataFrame(rows, columns=columns)
        files = files.drop_duplicates("path").sort_values(["start", "channel"])
        existing = files.path.map(Path.exists).astype(bool)
        sizes = _fetch_all(files[~existing])
        files["n_bytes"] = files.path.map(lambda path: sizes.get(path, -1))
        found = sorted(set(files[files.n_bytes != 0].station))
        without = [name for name in found if not _has_responses(name, *stations[name], folder)]
        new, n_existing = sum(size > 0 for size in sizes.values()), int(existing.sum())
        for centre in centres:
            failures |= centre.failures
        if stop.signal_number:
            raise Stopped(
                f"{folder}: {new:,} new files are complete; run the same command to resume",
                stop.signal_number,
            )
    n_files, missing = files.channel.value_counts(), {}
    for name, n in files[files.n_bytes == 0].channel.value_counts(sort=False).items():
        reason = failures.get(".".join(name.split(".")[:2]), "no data")
        missing[name] = int(n), int(n_files[name]), reason
    if not found:
        place, reason = next(iter(failures.items()), (", ".join(request.providers), "no data"))
        reason = reason if stations or failures else "no station matches"
        raise DataError(
            f"{request}: nothing was downloaded ({place}: {reason}); run the same command again, "
            "or give other codes, times or places"
        )
    counts = new, n_existing, len(files), sum(sizes.values())
    return Summary(*counts, tuple(found), missing, tuple(without), failures)


def _far_apart(stations: dict[str, tuple], min_distance: float) -> dict[str, tuple]:
    """Stations, in the order of their names, without those near one before."""
    chosen: dict[str, tuple] = {}
    for name in sorted(stations) if min_distance else ():
        here = stations[name][0].places[name]
        others = (stations[other][0].places[other] for other in chosen)
        if all(
            locations2degrees(*here, *other) * KM_PER_DEGREE >= min_distance for other in others
        ):
            chosen[name] = stations[name]
    if min_distance:
        n = len(stations) - len(chosen)
        log.info(f"{count(n, 'station')} within {min_distance:g} km of another left out")
    return chosen if min_distance else stations


def read_credentials(path: Path) -> dict[str, dict[str, str]]:
    """Keys of `LOGINS` by provider, from a file with a section for each.

    SettingsError where it can't be read; no message has any of its values.
    """
    parser = ConfigParser(interpolation=None)
    parser.optionxform = str.lower
    allowed = "sections as [GFZ] with token, eida_token, or user and password"
    try:
        with path.expanduser().open(encoding="utf-8") as file:
            parser.read_file(file)
    except (OSError, UnicodeDecodeError, ParsingError) as error:
        reason = getattr(error, "strerror", None) or "no file of sections and keys"
        raise SettingsError(
            f"{path}: can't be read as credentials: {reason}; allowed: {allowed}"
        ) from None
    found = {name: dict(parser[name]) for name in parser.sections()}
    if not all(frozenset(keys) in LOGINS for keys in found.values()):
        raise SettingsError(f"{path}: has other keys, or not all of them; allowed: {allowed}")
    if path.expanduser().stat().st_mode & 0o077:
        log.warning(f"{path}: other users can read it; to change that: chmod 600 {path}")
    return found


def _files(
    request: Request, folder: Path, station: str, centre: "Centre", channels: list
) -> Iterator[tuple]:
    """Rows of the table of files, of the intervals in the epochs of channels of a station."""
    for codes, first, last in channels:
        start, end = obspy.UTCDateTime(request.start), obspy.UTCDateTime(request.end)
        while start < end:
            number = int(start.timestamp // request.chunk) + 1
            stop = min(obspy.UTCDateTime(number * request.chunk), end)
            if first < stop and last > start:
                span = "__".join(moment.strftime("%Y%m%dT%H%M%SZ") for moment in (start, stop))
                path = folder / codes[0] / codes[1] / f"{'.'.join(codes)}__{span}.mseed"
                yield start.ns, ".".join(codes), station, path, centre, _line(codes, start, stop)
            start = stop


def _line(codes: tuple[str, str, str, str], start: Any, end: Any) -> tuple:
    """Line of a request."""
    return *codes[:2], codes[2] or "--", codes[3], start, end


def _fetch_all(files: pd.DataFrame) -> dict[Path, int]:
    """Download files; their sizes in bytes, 0 for those that did not come."""
    sizes: dict[Path, int] = {}
    for url, n in files.centre.map(lambda centre: centre.url).value_counts().items():
        log.info(f"{url}: asking for {count(n, 'file')} of waveforms")
    rows = list(files.itertuples())
    parallel = Parallel(THREADS, backend="threading", return_as="generator")
    with Progress("Downloading", len(rows), "files") as progress:
        for row, size in zip(rows, parallel(delayed(_fetch)(row) for row in rows), strict=True):
            sizes[row.path] = size
            progress.add(1, MB=sum(sizes.values()) / 1e6)
    return sizes


def _fetch(file: Any) -> int:
    """Download a file; its size in bytes, 0 where it did not come."""
    centre = file.centre
    if len(centre.failing) >= MAX_FAILURES:
        centre.failures.setdefault(file.station, "not tried after failures of other stations")
        return 0
    content = centre.ask(file.station, "get_waveforms_bulk", [file.line])
    return _write(file.path, content) if content else 0


def _write(path: Path, content: bytes) -> int:
    """Write a file; the number of bytes."""
    with new_file(path) as partial:
        return partial.write_bytes(content)


def _has_responses(station: str, centre: "Centre", channels: list, folder: Path) -> bool:
    """Whether the StationXML file of a station has its responses; it is downloaded if not."""
    path, old = folder / "stations" / f"{station}.xml", obspy.Inventory(networks=[], source="")
    if path.exists():
        try:
            old, _ = read_station_file(path)
        except DataError as error:
            log.warning(f"{error}; it is downloaded again")
    known = {
        (codes, start.ns) for codes, start, _, channel in _channels_of(old) if channel.response
    }
    lines = [_line(*item) for item in channels if (item[0], item[1].ns) not in known]
    if not lines:
        return True
    content = centre.ask(station, "get_stations_bulk", lines, level="response")
    if not content:
        centre.failures[station] = f"no StationXML: {centre.failures.get(station, 'no data')}"
        return False
    if old.networks:
        both = io.BytesIO()
        (old + obspy.read_inventory(io.BytesIO(content))).write(both, format="STATIONXML")
        content = both.getvalue()
    return _write(path, content) > 0


def _channels_of(inventory: Any) -> Iterator[tuple]:
    """Codes, start and end of all channels, and the channels."""
    for network in inventory:
        for station in network:
            for channel in station:
                codes = network.code, station.code, channel.location_code, channel.code
                start, end = channel.start_date or EVER[0], channel.end_date or EVER[1]
                yield codes, start, end, channel


def _connect(request: Request, stop: StopRequest) -> tuple[list["Centre"], dict[str, str]]:
    """Data centres that answer, and errors of the others."""
    centres, failures = [], {}
    if unknown := {*request.credentials} - {*request.providers}:
        log.warning(f"credentials for {', '.join(sorted(unknown))} are not used")
    for provider in request.providers:
        if "@" in provider:
            raise SettingsError(
                "command line: --provider has a name or password in its URL, which would be "
                "logged; give --credentials instead"
            )
        try:
            centre = Centre(provider, stop)
            centre.log_in(**request.credentials.get(provider, {}))
            centres.append(centre)
        except SettingsError:
            raise
        except ValueError:
            raise SettingsError(
                f"command line: --provider {provider} is not known; allowed: a URL, or one of "
                f"{', '.join(sorted(fdsn.URL_MAPPINGS))}"
            ) from None
        except (*ERRORS, SyntaxError) as error:  # lxml's errors are syntax errors
            failures[provider] = f"can't be reached: {reason_of(error)}"
            log.warning(f"provider {provider} {failures[provider]}")
    if not centres:
        raise DataError(
            f"provider {provider} {failures[provider]}; check --provider and the network"
        )
    return centres, failures


class Centre:
    """A data centre, whose answers are checked, and asked for once more where they fail.

    `failures` has the last error by ``NET.STA``, or by URL where no station is concerned;
    `failing` the stations that failed since the last answer. After a signal nothing is requested.
    """

    def __init__(self, provider: str, stop: StopRequest):
        with warnings.catch_warnings():  # old names, unusual service descriptions
            warnings.simplefilter("ignore")
            self.client = Client(provider, service_mappings={"event": None})
        self.stop, self.url = stop, self.client.base_url
        self.failures: dict[str, str] = {}
        self.failing: set[str] = set()
        self.places: dict[str, tuple[float, float]] = {}  # latitude and longitude by NET.STA

    def log_in(
        self, user: str = "", password: str = "", token: str = "", eida_token: str = ""
    ) -> None:
        """Use credentials: of HTTP, EarthScope's, or EIDA's; tokens also as paths of files."""
        if user:
            self.client.set_credentials(user, password)
        if token:
            if Path(token).expanduser().is_file():
                token = Path(token).expanduser().read_text(encoding="utf-8")
            self.client.request_headers["Authorization"] = f"Bearer {token.strip()}"
        if eida_token:
            try:
                self.client.set_eida_token(str(Path(eida_token).expanduser()))
            except ValueError:
                raise SettingsError(
                    f"provider {self.url} needs an EIDA token that is a PGP message, or the path "
                    "of a file with one; change eida_token in --credentials"
                ) from None

    def channels(self, request: Request) -> dict[str, list[tuple]]:
        """Codes, start and end of all channels that match, by station; of none after an error."""
        found, area = defaultdict(list), {}
        for kind, names in AREAS.items():
            area |= dict(zip(names, getattr(request, kind) or (), strict=False))
        try:
            listed = self.client.get_stations(
                network=request.network, station=request.station, location=request.location,
                channel=request.channel, starttime=obspy.UTCDateTime(request.start),
                endtime=obspy.UTCDateTime(request.end), level="channel", format="text", **area,
            )  # fmt: skip
        except fdsn.FDSNNoDataException:
            listed = ()
        except Exception as error:  # also of obspy for an answer that is no list
            self.failures[self.url] = f"stations can't be listed: {reason_of(error)}"
            return found
        for codes, start, end, channel in _channels_of(listed):
            found[".".join(codes[:2])].append((codes, start, end))
            self.places[".".join(codes[:2])] = channel.latitude, channel.longitude
        log.info(f"{self.url}: {count(len(found), 'station')}")
        return found

    def ask(self, station: str, service: str, lines: list, **options: str) -> bytes:
        """Answer to a request; empty where there is none, with the reason in `failures`."""
        is_whole = _is_whole if service == "get_waveforms_bulk" else _is_stationxml
        for pause in (PAUSE, 0):
            if self.stop.signal_number:
                return b""
            answer = io.BytesIO()
            try:
                getattr(self.client, service)(lines, filename=answer, **options)
                if answer.tell() and not is_whole(answer):
                    raise fdsn.FDSNException(f"the answer of {answer.tell():,} bytes is cut short")
            except fdsn.FDSNNoDataException:
                answer = io.BytesIO()
            except ERRORS as error:
                reason = reason_of(error)
                if isinstance(error, FINAL[1:3]):
                    reason += "; give --credentials"
                if isinstance(error, FINAL):
                    break
                time.sleep(pause)
                continue
            self.failing.clear()
            return answer.getvalue()
        self.failures[station] = reason
        self.failing.add(station)
        return b""


def _is_whole(answer: io.BytesIO) -> bool:
    """Whether an answer consists of complete miniSEED records."""
    size, position = answer.tell(), 0
    try:
        while position < size:
            position += get_record_information(answer, position)["record_length"]
    except Exception:  # obspy raises many types for what is no record
        return False
    return position == size


def _is_stationxml(answer: io.BytesIO) -> bool:
    try:
        return bool(obspy.read_inventory(io.BytesIO(answer.getvalue())))
    except Exception:  # obspy's readers raise many types
        return False


def reason_of(error: BaseException) -> str:
    """Message of an error on one line, without the page that a server may have sent with it."""
    text = " ".join(re.split("HTTP Status code|Detailed response", str(error))[0].split())
    return (text or type(error).__name__).rstrip(". ")[:200]
