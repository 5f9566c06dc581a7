"""What waveforms there are, from the headers of their files, and reading slices of them."""

import glob
import signal
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import Any

from ...errors import DataError
from ...extras import need
from ...jobs import workers_for
from ...progress import Progress

SECOND = 10**9  # ns
MANY = 400  # files, from which starting processes takes less time than it saves
COMPRESSED = (".gz", ".bz2", ".zip", ".tar", ".tgz", ".tbz2")
CHUNK = 32  # files handed to a process at a time


@dataclass(frozen=True)
class Stretch:
    """An unbroken piece of one trace in one file.

    Attributes
    ----------
    path : Path
    trace_id : str
        ``NET.STA.LOC.CHA``.
    start : int
        Time of the first sample, ns since 1970-01-01 UTC.
    n_samples : int
    sampling_rate : float
        Hz.
    """

    path: Path
    trace_id: str
    start: int
    n_samples: int
    sampling_rate: float

    @property
    def end(self) -> int:
        """Time after the last sample: where the next would be, ns since 1970-01-01 UTC."""
        return self.start + duration(self.n_samples, self.sampling_rate)


def duration(n_samples: int | float, sampling_rate: float) -> int:
    """Time that samples take, in ns."""
    return round(n_samples * SECOND / sampling_rate)


def obspy_for_reading() -> ModuleType:
    """Obspy, silent on import, and without its reader of pickles, which executes what it reads.

    Raises
    ------
    MissingPackage
        It is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        obspy = need("obspy")
        from obspy.core.util.base import ENTRY_POINTS
    ENTRY_POINTS["waveform"].pop("PICKLE", None)
    return obspy


def scan(paths: Sequence[Path], workers: int) -> tuple[list[Stretch], list[str]]:
    """Headers of waveform files.

    Parameters
    ----------
    paths : sequence of Path
        Files of any format that obspy reads.
    workers : int
        Processes to read with, where there are many files.

    Returns
    -------
    list of Stretch
        Sorted by trace id, start and path.
    list of str
        A line for each file or trace that is left out, and for what obspy warns of.

    Raises
    ------
    MissingPackage
        Obspy is not installed.
    """
    obspy_for_reading()
    stretches: list[Stretch] = []
    lines: list[str] = []
    with Progress("reading headers", len(paths), "files") as progress:
        for found, said in _headers(paths, workers):
            stretches += found
            lines += said
            progress.add(1)
    stretches.sort(key=lambda item: (item.trace_id, item.start, str(item.path)))
    return stretches, lines


def _headers(paths: Sequence[Path], workers: int) -> Iterator[tuple[list[Stretch], list[str]]]:
    workers = workers_for(workers, len(paths))
    if workers == 1 or len(paths) < MANY:
        yield from map(_read_headers, paths)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_leave_signals) as pool:
        yield from pool.map(_read_headers, paths, chunksize=CHUNK)


def _leave_signals() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _read_headers(path: Path) -> tuple[list[Stretch], list[str]]:
    try:
        stream, said = _read(path, headonly=True)
    except Exception as error:  # each of obspy's readers has its own
        return [], [f"{path}: left out: {_reason(error)}"]
    lines = []
    if not said and _is_cut_short(path, stream):  # obspy is silent about some
        said = ["its last record is cut short"]
    if said:
        more = f" ({len(said) - 1} more such lines)" if len(said) > 1 else ""
        lines.append(f"{path}: {said[0].rstrip('.')}{more}; what can be read of it is used")
    stretches = []
    for trace in stream:
        stats = trace.stats
        rate = float(stats.sampling_rate)
        if stats.npts < 1 or not 0 < rate < float("inf"):
            lines.append(
                f"{path}: a trace of {trace.id} left out: {stats.npts} samples at {rate:g} Hz"
            )
            continue
        stretches.append(Stretch(path, trace.id, stats.starttime.ns, int(stats.npts), rate))
    return stretches, lines


def _is_cut_short(path: Path, stream: Any) -> bool:
    """Whether a miniSEED file that is not compressed ends within a record."""
    lengths = [trace.stats.mseed.record_length for trace in stream if "mseed" in trace.stats]
    if not lengths or path.suffix.lower() in COMPRESSED:
        return False
    return path.stat().st_size % min(lengths) != 0


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    if text.startswith("Unknown format"):
        return "of no format that obspy reads"
    return f"can't be read as waveforms ({type(error).__name__}: {text[:200]})"


def _read(path: Path, **options: Any) -> tuple[Any, list[str]]:
    """Stream of a file, and what obspy warned of, each once."""
    obspy = obspy_for_reading()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        # Brackets in a name are no pattern here.
        stream = obspy.read(glob.escape(str(path)), **options)
    return stream, warned_of(caught)


def warned_of(caught: Sequence[warnings.WarningMessage]) -> list[str]:
    """What warnings say about data, each once, on one line."""
    said = [" ".join(str(item.message).split()) for item in caught if _is_about_data(item)]
    return list(dict.fromkeys(said))


def _is_about_data(caught: warnings.WarningMessage) -> bool:
    return not issubclass(
        caught.category, (DeprecationWarning, PendingDeprecationWarning, ResourceWarning)
    )


def read_stretch(path: Path, trace_id: str, start_ns: int, end_ns: int) -> Any:
    """Samples of one trace in one file between two times.

    Parameters
    ----------
    path : Path
    trace_id : str
        ``NET.STA.LOC.CHA``.
    start_ns, end_ns : int
        ns since 1970-01-01 UTC; the sample nearest to each is the first and the last.

    Returns
    -------
    obspy.Stream
        Traces of that id alone, in the order and with the numbers of the file; empty where there
        is nothing.

    Raises
    ------
    DataError
        The file can't be read.
    """
    time = obspy_for_reading().UTCDateTime
    try:
        stream, _ = _read(path, starttime=time(ns=int(start_ns)), endtime=time(ns=int(end_ns)))
    except Exception as error:
        raise DataError(f"{path}: {_reason(error)}; copy it again, or leave it out") from None
    stream.traces = [trace for trace in stream if trace.id == trace_id and trace.stats.npts]
    return stream


def matching(stretches: Sequence[Stretch], trace_ids: str) -> list[Stretch]:
    """Stretches whose trace id fits one of the patterns.

    Parameters
    ----------
    stretches : sequence of Stretch
    trace_ids : str
        ``NET.STA.LOC.CHA`` with the wildcards ``*`` and ``?``; several with commas.

    Raises
    ------
    DataError
        There are traces, and none fits; the message has some of them.
    """
    patterns = [pattern.strip() for pattern in trace_ids.split(",")]
    found = [
        item
        for item in stretches
        if any(fnmatchcase(item.trace_id, pattern) for pattern in patterns)
    ]
    if stretches and not found:
        there = sorted({item.trace_id for item in stretches})
        more = f" and {len(there) - 8} more" if len(there) > 8 else ""
        raise DataError(
            f"build.trace_ids = {trace_ids} fits no trace; there are {', '.join(there[:8])}{more}: "
            "set it to some of them"
        )
    return found
