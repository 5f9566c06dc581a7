"""One FDSN data centre as the mass downloader asks it: answers are counted and checked."""

import os
import re
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any

from ..runtime import Progress, StopRequest, log
from ..runtime import count as counted
from .archive import Archive, is_whole
from .obspy_compat import Client, fdsn, read_stations

GIVE_UP = 3  # stations in a row that fail, after which the rest of a request is not tried
ERRORS = (fdsn.FDSNException, HTTPException, OSError)
FINAL = (  # answers that asking again does not change
    fdsn.FDSNNoDataException,
    fdsn.FDSNBadRequestException,
    fdsn.FDSNUnauthorizedException,
    fdsn.FDSNForbiddenException,
    fdsn.FDSNRequestTooLargeException,
)


class ArchiveClient(Client):
    """A data centre whose answers are counted and checked before the mass downloader has them.

    Parameters
    ----------
    provider : str
    archive : Archive
    stop : StopRequest
        After a signal every further request is refused.

    Attributes
    ----------
    failures : dict
        Last error by ``NET.STA``, or by URL where no station is concerned.
    """

    pause = 5.0  # s before a request that failed is made again

    def __init__(self, provider: str, archive: Archive, stop: StopRequest):
        super().__init__(provider, service_mappings={"event": None})
        self.archive, self.stop = archive, stop
        self.failures: dict[str, str] = {}
        self._lock = threading.Lock()
        self._progress: Progress | None = None
        self._bytes, self._begin = 0, time.monotonic()

    def get_stations(self, *arguments: Any, **keywords: Any) -> Any:
        """Stations, as obspy's; a failure is kept."""
        self._refuse_if_stopped()
        try:
            found = super().get_stations(*arguments, **keywords)
        except fdsn.FDSNNoDataException:
            log.info(f"{self.base_url}: no station matches")
            raise
        except Exception as error:  # also what obspy raises for an answer that is no list
            self.failures[self.base_url] = f"stations can't be listed: {reason_of(error)}"
            raise
        stations = [station for network in found for station in network]
        channels = sum(len(station.channels) for station in stations)
        log.info(
            f"{self.base_url}: {counted(len(stations), 'station')}, "
            f"{counted(channels, 'epoch of a channel', 'epochs of channels')}"
        )
        return found

    def get_stations_bulk(self, bulk: Sequence, filename: str, **keywords: Any) -> None:
        """StationXML of one station to a file, which is removed where it can't be read."""
        self._refuse_if_stopped()
        try:
            super().get_stations_bulk(bulk, filename=filename, **keywords)
            if read_stations(Path(filename)) is None:
                Path(filename).unlink()
                raise fdsn.FDSNException("the answer is no StationXML, or was cut short")
        except ERRORS as error:
            self.failures[f"{bulk[0][0]}.{bulk[0][1]}"] = f"no StationXML: {reason_of(error)}"
            raise

    def get_waveforms_bulk(self, bulk: Sequence[Sequence], filename: str, **_: Any) -> None:
        """Waveforms to a file; where that fails, station by station."""
        self._refuse_if_stopped()
        count = self.archive.begin(bulk)
        self._show(0)
        stations = defaultdict(list)
        for line in bulk:
            stations[line[0], line[1]].append(line)
        try:
            if len(stations) == 1:
                self._fetch_again(bulk, filename)
            else:
                self._fetch_apart(list(stations.values()), filename)
        finally:
            self._show(count)

    def close_progress(self) -> None:
        """End the display of progress."""
        if self._progress is not None:
            self._progress.__exit__(None, None, None)
            self._progress = None

    def _fetch_apart(self, stations: list[list], filename: str) -> None:
        """All in one request, or else each station in its own, so that one can't spoil others."""
        try:
            self._fetch(sum(stations, []), filename)
            return
        except fdsn.FDSNNoDataException:
            raise
        except ERRORS as error:
            log.info(f"{self.base_url}: {reason_of(error)}; asking for each station by itself")
        failed, part = 0, Path(filename + ".station")
        try:
            with open(filename, "wb") as whole:
                for lines in stations:
                    if failed >= GIVE_UP or self.stop.signal_number:
                        self._note(lines, "not tried after failures of other stations")
                        continue
                    try:
                        self._fetch_again(lines, str(part))
                        whole.write(part.read_bytes())
                        failed = 0
                    except fdsn.FDSNNoDataException:
                        failed = 0
                    except ERRORS:
                        failed += 1
        finally:
            part.unlink(missing_ok=True)

    def _fetch_again(self, lines: Sequence[Sequence], filename: str) -> None:
        """One station, twice where the first answer is an error that may pass."""
        try:
            self._fetch(lines, filename)
            return
        except FINAL as error:
            self._note(lines, error)
            raise
        except ERRORS as error:
            log.info(f"{self.base_url}: {reason_of(error)}; trying once more")
        time.sleep(0 if self.stop.signal_number else self.pause)
        try:
            self._fetch(lines, filename)
        except ERRORS as error:
            self._note(lines, error)
            raise

    def _fetch(self, lines: Sequence[Sequence], filename: str) -> None:
        super().get_waveforms_bulk(lines, filename=filename)
        size = os.path.getsize(filename)
        if size == 0:  # as some answer instead of 204
            raise fdsn.FDSNNoDataException("No data available")
        if not is_whole(Path(filename)):
            raise fdsn.FDSNException(f"the answer of {size:,} bytes is no miniSEED, or cut short")
        with self._lock:
            self._bytes += size

    def _note(self, lines: Sequence[Sequence], error: Exception | str) -> None:
        if isinstance(error, fdsn.FDSNNoDataException):
            return
        reason = error if isinstance(error, str) else reason_of(error)
        with self._lock:
            self.failures[f"{lines[0][0]}.{lines[0][1]}"] = reason

    def _show(self, count: int) -> None:
        with self._lock:
            if self._progress is None:
                wanted = sum(map(len, self.archive.wanted.values()))
                left = wanted - len(self.archive.existing)
                log.info(f"{self.base_url}: asking for {counted(left, 'file')} of waveforms")
                self._progress = Progress("Downloading", left, "files")
            if count:
                rate = self._bytes / 1e6 / max(time.monotonic() - self._begin, 1e-3)
                self._progress.add(count, MB=self._bytes / 1e6, **{"MB/s": rate})

    def _refuse_if_stopped(self) -> None:
        if self.stop.signal_number:
            raise fdsn.FDSNException("stopped")


def reason_of(error: BaseException) -> str:
    """What an error says, on one line, without the page that a server may have sent with it."""
    text = " ".join(re.split("HTTP Status code|Detailed response", str(error))[0].split())
    return (text or type(error).__name__).rstrip(". ")[:200]
