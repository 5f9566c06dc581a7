"""What waveforms there are, from the headers of their files, and reading slices of them."""

import glob
import hashlib
import signal
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..data.finding import stamp
from ..data.times import nanoseconds_to_iso
from ..errors import DataError
from ..extras import need
from ..parallel import workers_for
from ..runtime import Progress

SECOND = 10**9  # ns
DAY = 86_400 * SECOND
LATEST = 2**63 - 100 * DAY  # ns; beyond, and before its negative, margins would leave int64
RATES = (1e-5, 1e8)  # Hz; beyond, a header is wrong: samples of hours, or steps of a few ns
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
    within : str or int
        Its id in the file; or its place in the file, from 0, where that holds several traces of
        this id at the same time.
    """

    path: Path
    trace_id: str
    start: int
    n_samples: int
    sampling_rate: float
    within: str | int

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
    for mend in (_without_unset_clocks, _named_by_file):
        stretches, said = mend(stretches)
        lines += said
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
        if not said and _is_cut_short(path, stream):  # obspy is silent about some
            said = ["its last record is cut short"]
        found = [_stretch(path, number, trace) for number, trace in enumerate(stream)]
        usable = [item for item in found if isinstance(item, Stretch)]
        numbered, lines = _numbered(usable, [trace.id for trace in stream])
    except Exception as error:  # each of obspy's readers has its own
        return [], [f"{path}: left out: {_reason(error)}"]
    if said:
        more = f" ({len(said) - 1} more such lines)" if len(said) > 1 else ""
        lines.append(f"{path}: {said[0].rstrip('.')}{more}; what can be read of it is used")
    wrong = [item for item in found if isinstance(item, str)]
    lines += [
        f"{path}: {line}{f' ({count} such traces)' if count > 1 else ''}"
        for line, count in Counter(wrong).items()
    ]
    return numbered, lines


def _stretch(path: Path, number: int, trace: Any) -> Stretch | str:
    """What the header of a trace says, with its place in the file; or why it is left out."""
    stats = trace.stats
    rate, start = float(stats.sampling_rate), int(stats.starttime.ns)
    why = None
    if stats.npts < 1 or not RATES[0] <= rate <= RATES[1]:
        why = f"{stats.npts} samples at {rate:g} Hz"
    elif getattr(stats.get("mseed"), "encoding", "") == "ASCII":
        why = "text, no samples"
    elif not -LATEST < start < LATEST - duration(int(stats.npts), rate):
        year = np.datetime64(start // SECOND, "s").astype("M8[Y]")
        why = f"it starts in the year {year}, with {stats.npts} samples at {rate:g} Hz"
        why += "; times from 1678 to 2261 can be stored"
    if why:
        return f"a trace of {trace.id} left out: {why}"
    codes = (stats.network, stats.station, stats.location, stats.channel)
    trace_id = ".".join(code.strip().replace(".", "_") for code in codes)
    return Stretch(path, trace_id, start, int(stats.npts), rate, number)


def _is_cut_short(path: Path, stream: Any) -> bool:
    """Whether a miniSEED file that is not compressed ends within a record."""
    lengths = [getattr(trace.stats.get("mseed"), "record_length", 0) for trace in stream]
    if not all(lengths) or not lengths or path.suffix.lower() in COMPRESSED:
        return False
    return path.stat().st_size % min(lengths) != 0


# ---- ids that are not unique --------------------------------------------------------------------


def is_unset(trace_id: str) -> bool:
    """Whether an id lacks station or channel, as in SEG-Y and SU."""
    _, station, _, channel = trace_id.split(".")
    return not station or not channel


def _numbered(stretches: Sequence[Stretch], ids: Sequence[str]) -> tuple[list[Stretch], list[str]]:
    """Traces of one file, whose `within` is their place in it, with ids that tell them apart.

    Traces of one id that follow each other are one trace. At the same time they are channels of
    a gather; so they are numbered. Repeated segments of an id that is set are the exception.
    """
    by_id: dict[str, list[Stretch]] = defaultdict(list)
    for item in stretches:
        by_id[item.trace_id].append(item)
    found, lines = [], []
    for trace_id, items in by_id.items():
        same = _at_once(items) if is_unset(trace_id) else _are_channels(items)
        for item in items:
            name = _marked(trace_id, f"{item.within + 1:05d}") if same else trace_id
            within = item.within if same else ids[item.within]
            found.append(replace(item, trace_id=name, within=within))
        if same:
            lines.append(
                f"{items[0].path}: {len(items):,} traces at the same time have the id {trace_id}: "
                f"named by their place in the file, {found[-len(items)].trace_id} to {name}"
            )
    return found, lines


def _at_once(items: Sequence[Stretch]) -> bool:
    """Whether some have half of their time or more in common with another."""
    end = None
    for item in sorted(items, key=lambda item: (item.start, item.end)):
        if end is not None and end - item.start > (item.end - item.start) / 2:
            return True
        end = item.end if end is None else max(end, item.end)
    return False


def _are_channels(items: Sequence[Stretch]) -> bool:
    """Whether traces of one id have the same times and other samples."""
    spans = Counter((item.start, item.n_samples) for item in items)
    span, count = spans.most_common(1)[0]
    if count == 1:
        return False
    stream = dict(enumerate(_read(items[0].path)[0]))
    same = [stream.get(item.within) for item in items if (item.start, item.n_samples) == span]
    if any(trace is None or trace.stats.npts != span[1] for trace in same):
        return False
    return any(not np.array_equal(same[0].data, other.data) for other in same[1:])


def _marked(trace_id: str, mark: str) -> str:
    network, station, location, channel = trace_id.split(".")
    return ".".join((network, f"{station}-{mark}" if station else mark, location, channel))


def _named_by_file(stretches: Sequence[Stretch]) -> tuple[list[Stretch], list[str]]:
    """The same, where several files have ids that are not set at the same time.

    They are of several instruments then, and the names of their files tell them apart. Copies of
    a file are left out.
    """
    by_id: dict[str, list[Stretch]] = defaultdict(list)
    for item in stretches:
        by_id[item.trace_id].append(item)
    groups = [
        items
        for trace_id, items in by_id.items()
        if (is_unset(trace_id) or isinstance(items[0].within, int))
        and len({item.path for item in items}) > 1
        and _at_once(items)
    ]
    paths = sorted({item.path for items in groups for item in items})
    if not paths:
        return list(stretches), []
    first: dict[str, Path] = {}
    copies = {path: first.setdefault(_checksum(path), path) for path in paths}
    stems = Counter(path.stem for path in first.values())
    mark = {
        path: path.stem if stems[path.stem] == 1 else f"{number + 1:05d}-{path.stem}"
        for number, path in enumerate(first.values())
    }
    alike = {items[0].trace_id for items in groups}
    found, lines = [], []
    for item in stretches:
        if copies.get(item.path, item.path) != item.path:
            continue
        if item.trace_id in alike and item.path in mark and len(first) > 1:
            item = replace(item, trace_id=_with_file(item, mark[item.path]))
        found.append(item)
    lines += [
        f"{path}: left out: the same as {other}" for path, other in copies.items() if other != path
    ]
    if len(first) > 1:
        lines.append(
            f"{paths[0]} and {len(first) - 1:,} other files have the id {groups[0][0].trace_id} at "
            "the same time: their traces are named by the files"
        )
    return found, lines


def _with_file(item: Stretch, stem: str) -> str:
    """Id of a trace with the name of its file, whose dots would part it."""
    stem = "".join(char if char.isalnum() or char in "_-" else "_" for char in stem)
    if isinstance(item.within, int):
        network, station, location, channel = item.trace_id.split(".")
        return ".".join((network, f"{stem}-{station}", location, channel))
    return _marked(item.trace_id, stem)


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---- clocks -------------------------------------------------------------------------------------


def _without_unset_clocks(stretches: Sequence[Stretch]) -> tuple[list[Stretch], list[str]]:
    """Without traces of 1970-01-01, which headers without a time get, where others have a time."""
    unset = [item for item in stretches if 0 <= item.start < DAY]
    others = [item for item in stretches if not 0 <= item.start < DAY]
    first: dict[Path, int] = {}
    for item in unset:
        first.setdefault(item.path, item.start)
    starts = [f"{path}: starts {nanoseconds_to_iso([time])[0]}" for path, time in first.items()]
    if others:
        return others, [
            f"{start}, as a header without a time or a clock that was not set, and other files "
            "have times: left out"
            for start in starts
        ]
    return unset, [
        f"{start}, as a header without a time: times of its windows count from there"
        for start in starts
    ]


# ---- reading ------------------------------------------------------------------------------------


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


def read_traces(
    path: Path, start_ns: int, end_ns: int, ids: str = "", numbered: bool = False
) -> dict[str | int, list[Any]]:
    """Samples in one file between two times.

    Parameters
    ----------
    path : Path
    start_ns, end_ns : int
        ns since 1970-01-01 UTC; the sample nearest to each is the first and the last.
    ids : str
        What the ids of the traces begin with. Only these are decoded, where the format allows it.
    numbered : bool
        Traces are told apart by their place in the file.

    Returns
    -------
    dict
        By `Stretch.within`, in the order and with the numbers of the file: lists of obspy's
        traces. Text is none.

    Raises
    ------
    DataError
        The file can't be read.
    """
    time = obspy_for_reading().UTCDateTime
    span = {"starttime": time(ns=int(start_ns)), "endtime": time(ns=int(end_ns))}
    options = {} if numbered else dict(span)  # a slice would lose places
    if ids and not set(ids) & set("*?[]\\"):
        options["sourcename"] = f"{ids}*"
    try:
        stream, _ = _read(path, **options)
        if not stream and options.pop("sourcename", None):  # codes that are not as in the header
            stream, _ = _read(path, **options)
    except Exception as error:
        raise DataError(f"{path}: {_reason(error)}; copy it again, or leave it out") from None
    found: dict[str | int, list[Any]] = defaultdict(list)
    for number, trace in enumerate(stream):
        if numbered:
            trace = trace.slice(*span.values())
        if trace.stats.npts and trace.data.dtype.kind in "iuf" and trace.id.startswith(ids):
            found[number if numbered else trace.id].append(trace)
    return dict(found)


def read_traces_once(
    path: Path, start_ns: int, end_ns: int, ids: str = "", numbered: bool = False
) -> dict[str | int, list[Any]]:
    """The same, kept in memory for whoever asks next; what is returned must not be changed."""
    return _kept(path, start_ns, end_ns, ids, numbered, *stamp(path))


@lru_cache(maxsize=4)  # a day of a trace may be in files of the day before, of it, and after it
def _kept(path: Path, start: int, end: int, ids: str, numbered: bool, *_: Any) -> dict:
    return read_traces(path, start, end, ids, numbered)


forget_traces = _kept.cache_clear


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
