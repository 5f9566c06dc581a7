"""Waveforms and StationXML from FDSN data centres.

Each file of waveforms is one request, so that complete files stay however a download ends. Files
begin at multiples of their length since 1970.
"""

import configparser
import contextlib
import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pandas
from joblib import Parallel, delayed

from ..errors import DataError, SettingsError
from ..io import write_bytes
from ..runtime import Progress, count, log
from .onsets import KM_PER_DEGREE
from .read import import_obspy

obspy, fdsn = import_obspy(), import_obspy("obspy.clients.fdsn.header")
Client = import_obspy("obspy.clients.fdsn").Client
get_record_information = import_obspy("obspy.io.mseed.util").get_record_information
locations2degrees = import_obspy("obspy.geodetics").locations2degrees

THREADS = 3  # requests at a time, as data centres ask for
ERRORS = (fdsn.FDSNException, HTTPException, OSError, SyntaxError, TypeError)  # also of parsers
LOGINS = {frozenset(x.split()) for x in ("token", "eida_token", "user password")}  # keys


def download(
    query: Mapping[str, Any], providers: Sequence[str], folder: Path, chunk: float = 86400.0,
    min_distance: float = 0.0, credentials: Mapping[str, Mapping[str, str]] | None = None,
) -> tuple[pandas.DataFrame, dict[str, str]]:  # fmt: skip
    """Download what is not in the folder yet.

    `query` has the parameters of an FDSN web service, `chunk` is the length of a file in seconds,
    `min_distance` between stations in km. The first of the providers that lists a station is asked.
    Returns a row for each file with ``station``, ``channel``, ``path`` and ``n_bytes`` (-1 where it
    existed, 0 where it did not come), and errors by station or provider. Waveforms are written to
    ``NET/STA/NET.STA.LOC.CHA__START__END.mseed``, StationXML to ``stations/NET.STA.xml``.
    """
    query = {**query, **{x: obspy.UTCDateTime(query[x]) for x in ("starttime", "endtime")}}
    channels, clients, failures = _list_channels(query, providers, credentials or {})
    places, chosen = {channel["station"]: channel["place"] for channel in channels}, {}
    for name in sorted(places):  # without those near one before
        degrees = (locations2degrees(*places[name], *other) for other in chosen.values())
        if all(angle * KM_PER_DEGREE >= min_distance for angle in degrees):
            chosen[name] = places[name]
    if n := len(places) - len(chosen):
        log.info(f"{count(n, 'station')} within {min_distance:g} km of another left out")
    channels = [channel for channel in channels if channel["station"] in chosen]
    rows = [row for channel in channels for row in _files(channel, folder, query, chunk)]
    files = pandas.DataFrame(rows, columns=["start", "channel", "station", "path", "line"])
    files = files.drop_duplicates("path").sort_values(["start", "channel"], ignore_index=True)
    files["n_bytes"] = [-1 if path.exists() else 0 for path in files["path"]]
    missing = files[files["n_bytes"] == 0]
    log.info(f"{folder}: {count(len(files), 'file')}, {len(missing):,} to fetch")
    parallel = Parallel(THREADS, backend="threading", return_as="generator")
    calls = (delayed(_fetch)(row, clients[row.station], failures) for row in missing.itertuples())
    with Progress("Downloading", len(missing), "files") as progress:
        for row, size in zip(missing.index, parallel(calls), strict=True):
            files.loc[row, "n_bytes"] = size
            progress.add(1)
    new = {*files[files["n_bytes"] > 0]["station"]}
    for station in sorted({*files[files["n_bytes"] != 0]["station"]}):
        path = folder / "stations" / f"{station}.xml"
        if station in new or not path.exists():
            names = {channel["codes"][3] for channel in channels if channel["station"] == station}
            _fetch_responses(station, names, clients[station], path, failures)
    if (files["n_bytes"] == 0).all():
        place, reason = next(iter(failures.items()), (", ".join(providers), "no data"))
        raise DataError(
            f"{folder}: nothing was downloaded ({place}: {reason}); run the same command again, or "
            "give other codes, times or places"
        )
    return files, failures


def _list_channels(
    query: Mapping[str, Any], providers: Sequence[str], credentials: Mapping
) -> tuple[list[dict[str, Any]], dict[str, Client], dict[str, str]]:
    """Channels that match, the client of each station, and errors of providers."""
    channels, clients, failures = [], {}, {}
    for provider in providers:
        try:
            client = connect(provider, credentials.get(provider, {}))
            listed = client.get_stations(level="channel", format="text", **query)
        except fdsn.FDSNNoDataException:
            listed = []
        except ERRORS as error:
            failures[provider] = f"can't list stations: {reason_of(error)}"
            log.warning(f"{provider}: {failures[provider]}")
            continue
        found = [
            {
                "station": f"{network.code}.{station.code}",
                "codes": (network.code, station.code, item.location_code.strip("-"), item.code),
                "start": item.start_date or obspy.UTCDateTime(1800, 1, 1),
                "end": item.end_date or obspy.UTCDateTime(2599, 1, 1),
                "place": (item.latitude, item.longitude),
            }
            for network in listed
            for station in network
            for item in station
            if f"{network.code}.{station.code}" not in clients
        ]
        clients |= {channel["station"]: client for channel in found}
        channels += found
        log.info(f"{provider}: {count(len({x['station'] for x in found}), 'station')}")
    return channels, clients, failures


def connect(provider: str, login: Mapping[str, str]) -> Client:
    """A client with credentials of HTTP, EarthScope or EIDA; tokens also as paths of files."""
    try:
        if "@" in provider:  # a password would be logged
            raise ValueError
        with warnings.catch_warnings():  # old names, unusual service descriptions
            warnings.simplefilter("ignore")
            client = Client(provider, service_mappings={"event": None})
        if "eida_token" in login:
            client.set_eida_token(str(Path(login["eida_token"]).expanduser()))
    except ValueError:
        raise SettingsError(
            f"command line: --provider {provider.rpartition('@')[2]} is not known, has a name or "
            "password in its URL (give --credentials), or its eida_token in --credentials is no "
            f"PGP message; allowed: a URL, or one of {', '.join(sorted(fdsn.URL_MAPPINGS))}"
        ) from None
    if "user" in login:
        client.set_credentials(login["user"], login["password"])
    if token := login.get("token"):
        path = Path(token).expanduser()
        token = path.read_text(encoding="utf-8") if path.is_file() else token
        client.request_headers["Authorization"] = f"Bearer {token.strip()}"
    return client


def read_credentials(path: Path) -> dict[str, dict[str, str]]:
    """Keys of `LOGINS` by provider, from a file with a section for each; in no message."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.expanduser().read_text(encoding="utf-8"))
        found = {name: dict(parser[name]) for name in parser.sections()}
    except (OSError, UnicodeDecodeError, configparser.Error):
        found = {"": {}}
    for name, keys in found.items():
        if frozenset(keys) not in LOGINS:
            where = f"keys of [{name}]" if name else "can't be read"  # a key may be a secret
            raise SettingsError(
                f"{path}: {where}; allowed as credentials: sections such as [GFZ] with token, "
                "eida_token, or user and password"
            )
    return found


def _files(channel: dict, folder: Path, query: Mapping[str, Any], chunk: float) -> Iterator[tuple]:
    """Start, names, path and request of the intervals in the epoch of a channel."""
    start, codes = query["starttime"], channel["codes"]
    while start < query["endtime"]:
        next_multiple = (start.timestamp // chunk + 1) * chunk
        stop = min(obspy.UTCDateTime(next_multiple), query["endtime"])
        if channel["start"] < stop and channel["end"] > start:
            span = "__".join(moment.strftime("%Y%m%dT%H%M%SZ") for moment in (start, stop))
            path = folder / codes[0] / codes[1] / f"{'.'.join(codes)}__{span}.mseed"
            line = *codes[:2], codes[2] or "--", codes[3], start, stop
            yield start.ns, ".".join(codes), channel["station"], path, line
        start = stop


def _fetch(file: Any, client: Client, failures: dict[str, str]) -> int:
    """Download a file; its size in bytes, 0 where it did not come."""
    answer, position = io.BytesIO(), 0
    try:
        client.get_waveforms_bulk([file.line], filename=answer)
    except fdsn.FDSNNoDataException:
        return 0
    except ERRORS as error:
        failures[file.station] = reason_of(error)
        return 0
    size = answer.tell()
    with contextlib.suppress(Exception):  # obspy raises many types for what is no record
        while position < size:
            position += get_record_information(answer, position)["record_length"]
    if position != size:
        failures[file.station] = f"the answer of {size:,} bytes is no complete miniSEED"
        return 0
    write_bytes(file.path, answer.getvalue())
    return size


def _fetch_responses(
    station: str, names: set[str], client: Client, path: Path, failures: dict[str, str]
) -> None:
    """Download the StationXML of channels of a station, and of those that its file has."""
    (network, code), answer = station.split("."), io.BytesIO()
    try:
        if path.exists():
            there = obspy.read_inventory(io.BytesIO(path.read_bytes())).get_contents()["channels"]
            names = names | {name.rpartition(".")[2] for name in there}
        options = {"channel": ",".join(sorted(names)), "level": "response", "filename": answer}
        client.get_stations(network=network, station=code, **options)
        obspy.read_inventory(io.BytesIO(answer.getvalue()))
    except Exception as error:  # obspy's readers raise many types
        failures[station] = f"no StationXML: {reason_of(error)}"
    else:
        write_bytes(path, answer.getvalue())


def reason_of(error: BaseException) -> str:
    """First line of the message of an error; a page of the server may follow."""
    line = str(error).strip().partition("\n")[0] or type(error).__name__
    return line.rstrip(". ")[:200]
