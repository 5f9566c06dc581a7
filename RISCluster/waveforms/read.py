"""Headers of waveform files, and slices of their samples."""

import glob
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from ..data.times import nanoseconds_to_iso, same_rate
from ..errors import DataError
from ..io import need, sha256
from ..parallel import workers_for
from ..runtime import Progress

SECOND = 10**9  # ns
DAY = 86_400 * SECOND
LATEST = 2**63 - 100 * DAY  # ns; margins of later times, or of earlier than -LATEST, leave int64
RATES = (1e-5, 1e8)  # Hz; other rates are errors of a header
MIN_PARALLEL_FILES = 400  # fewer are read faster than processes start
COMPRESSED = (".gz", ".bz2", ".zip", ".tar", ".tgz", ".tbz2")


@dataclass(frozen=True)
class Stretch:
    """A continuous piece of one trace in one file.

    `within` is its id in the file; or its position in the file, from 0, where several traces of
    this id have the same times.
    """

    path: Path
    trace_id: str  # NET.STA.LOC.CHA
    start: int  # ns since 1970-01-01 UTC
    n_samples: int
    sampling_rate: float  # Hz
    within: str | int

    @property
    def end(self) -> int:
        """Time of the sample after the last, ns since 1970-01-01 UTC."""
        return self.start + duration(self.n_samples, self.sampling_rate)


def duration(n_samples: int | float, sampling_rate: float) -> int:
    """Duration of samples, ns."""
    return round(n_samples * SECOND / sampling_rate)


def import_obspy() -> ModuleType:
    """Import obspy without its warnings and without its reader of pickles, which can run code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        obspy = need("obspy")
        from obspy.core.util.base import ENTRY_POINTS
    ENTRY_POINTS["waveform"].pop("PICKLE", None)
    return obspy


def scan(paths: Sequence[Path], workers: int) -> tuple[list[Stretch], list[str]]:
    """Read the headers of waveform files.

    Parameters
    ----------
    paths : sequence of Path
    workers : int
        Number of processes, used for many files.

    Returns
    -------
    list of Stretch
        Sorted by trace id, start and path.
    list of str
        Warnings, also for files and traces that are left out.
    """
    import_obspy()
    stretches: list[Stretch] = []
    lines: list[str] = []
    with Progress("reading headers", len(paths), "files") as progress:
        for found, warned in _headers(paths, workers):
            stretches += found
            lines += warned
            progress.add(1)
    for mend in (_without_unset_clocks, _named_by_file):
        stretches, warned = mend(stretches)
        lines += warned
    stretches.sort(key=lambda item: (item.trace_id, item.start, str(item.path)))
    return stretches, lines


def _headers(paths: Sequence[Path], workers: int) -> Iterator[tuple[list[Stretch], list[str]]]:
    workers = workers_for(workers, len(paths))
    if workers == 1 or len(paths) < MIN_PARALLEL_FILES:
        return map(_read_headers, paths)
    return Parallel(workers, return_as="generator", batch_size=32)(
        delayed(_read_headers)(path) for path in paths
    )


def _read_headers(path: Path) -> tuple[list[Stretch], list[str]]:
    try:
        stream, warned = _read(path, headonly=True)
        if not warned and _is_truncated(path, stream):  # not always noticed by obspy
            warned = ["its last record is cut short"]
        found = [_stretch(path, number, trace) for number, trace in enumerate(stream)]
        usable = [item for item in found if isinstance(item, Stretch)]
        numbered, lines = _numbered(usable, [trace.id for trace in stream])
    except Exception as error:  # obspy's readers raise many types
        return [], [f"{path}: left out: {_reason(error)}"]
    if warned:
        more = f" ({len(warned) - 1} more such lines)" if len(warned) > 1 else ""
        lines.append(f"{path}: {warned[0].rstrip('.')}{more}; what can be read of it is used")
    wrong = Counter(item for item in found if isinstance(item, str))
    lines += [
        f"{path}: {line}{f' ({count} such traces)' if count > 1 else ''}"
        for line, count in wrong.items()
    ]
    return numbered, lines


def _stretch(path: Path, number: int, trace: Any) -> Stretch | str:
    """Header of a trace, or the reason why the trace is left out."""
    stats = trace.stats
    rate, start, n = float(stats.sampling_rate), int(stats.starttime.ns), int(stats.npts)
    reason = None
    if n < 1 or not RATES[0] <= rate <= RATES[1]:
        reason = f"{n} samples at {rate:g} Hz"
    elif getattr(stats.get("mseed"), "encoding", "") == "ASCII":
        reason = "text, no samples"
    elif not -LATEST < start < LATEST - duration(n, rate):
        year = np.datetime64(start // SECOND, "s").astype("M8[Y]")
        reason = (
            f"it starts in the year {year}, with {n} samples at {rate:g} Hz; times from 1678 to "
            "2261 can be stored"
        )
    if reason:
        return f"a trace of {trace.id} left out: {reason}"
    codes = (stats.network, stats.station, stats.location, stats.channel)
    trace_id = ".".join(code.strip().replace(".", "_") for code in codes)
    return Stretch(path, trace_id, start, n, rate, number)


def _is_truncated(path: Path, stream: Any) -> bool:
    """Whether a miniSEED file that is not compressed ends within a record."""
    lengths = [getattr(trace.stats.get("mseed"), "record_length", 0) for trace in stream]
    if not all(lengths) or not lengths or path.suffix.lower() in COMPRESSED:
        return False
    return path.stat().st_size % min(lengths) != 0


# ---- ids that are not unique --------------------------------------------------------------------


def _is_unset(trace_id: str) -> bool:
    """Whether an id lacks station or channel, as in SEG-Y and SU."""
    return not all(trace_id.split(".")[1::2])


def _by_id(stretches: Sequence[Stretch]) -> dict[str, list[Stretch]]:
    found: dict[str, list[Stretch]] = defaultdict(list)
    for item in stretches:
        found[item.trace_id].append(item)
    return found


def _numbered(stretches: Sequence[Stretch], ids: Sequence[str]) -> tuple[list[Stretch], list[str]]:
    """Number the traces of a file that have one id and the same times: channels of a gather.

    Traces of one id that follow each other, or are copies of each other, are one trace.
    """
    found, lines = [], []
    for trace_id, items in _by_id(stretches).items():
        same = _overlap(items) if _is_unset(trace_id) else _are_channels(items)
        for item in items:
            name = _with_mark(trace_id, f"{item.within + 1:05d}") if same else trace_id
            within = item.within if same else ids[item.within]
            found.append(replace(item, trace_id=name, within=within))
        if same:
            lines.append(
                f"{items[0].path}: {len(items):,} traces at the same time have the id {trace_id}: "
                f"named by their place in the file, {found[-len(items)].trace_id} to {name}"
            )
    return found, lines


def _overlap(items: Sequence[Stretch]) -> bool:
    """Whether half or more of one is at the time of others."""
    end = None
    for item in sorted(items, key=lambda item: (item.start, item.end)):
        if end is not None and end - item.start > (item.end - item.start) / 2:
            return True
        end = item.end if end is None else max(end, item.end)
    return False


def _are_channels(items: Sequence[Stretch]) -> bool:
    """Whether traces of one id have the same times and different samples."""
    spans = Counter((item.start, item.n_samples) for item in items)
    span, count = spans.most_common(1)[0]
    if count == 1:
        return False
    stream = dict(enumerate(_read(items[0].path)[0]))
    same = [stream.get(item.within) for item in items if (item.start, item.n_samples) == span]
    if any(trace is None or trace.stats.npts != span[1] for trace in same):
        return False
    return any(not np.array_equal(same[0].data, other.data) for other in same[1:])


def _with_mark(trace_id: str, mark: str, before: bool = False) -> str:
    """Id with a mark after the code of the station, or before it."""
    network, station, location, channel = trace_id.split(".")
    marked = "-".join(filter(None, (mark, station) if before else (station, mark)))
    return ".".join((network, marked, location, channel))


def _named_by_file(stretches: Sequence[Stretch]) -> tuple[list[Stretch], list[str]]:
    """Add the file's name to ids that are not set and are in several files at the same time.

    Copies of a file are left out.
    """
    groups = [
        items
        for trace_id, items in _by_id(stretches).items()
        if (_is_unset(trace_id) or isinstance(items[0].within, int))
        and len({item.path for item in items}) > 1
        and _overlap(items)
    ]
    paths = sorted({item.path for items in groups for item in items})
    if not paths:
        return list(stretches), []
    first: dict[str, Path] = {}
    copies = {path: first.setdefault(sha256(path), path) for path in paths}
    stems = Counter(path.stem for path in first.values())
    marks = {
        path: ("" if stems[path.stem] == 1 else f"{number + 1:05d}-")
        + "".join(char if char.isalnum() or char in "_-" else "_" for char in path.stem)
        for number, path in enumerate(first.values())
    }
    ambiguous = {items[0].trace_id for items in groups} if len(first) > 1 else set()
    found = [
        replace(
            item, trace_id=_with_mark(item.trace_id, marks[item.path], isinstance(item.within, int))
        )
        if item.trace_id in ambiguous and item.path in marks
        else item
        for item in stretches
        if copies.get(item.path, item.path) == item.path
    ]
    lines = [
        f"{path}: left out: the same as {other}" for path, other in copies.items() if other != path
    ]
    if ambiguous:
        lines.append(
            f"{paths[0]} and {len(first) - 1:,} other files have the id {groups[0][0].trace_id} at "
            "the same time: their traces are named by the files"
        )
    return found, lines


def _without_unset_clocks(stretches: Sequence[Stretch]) -> tuple[list[Stretch], list[str]]:
    """Leave out traces of 1970-01-01, as readers date headers without a time, beside others."""
    unset = [item for item in stretches if 0 <= item.start < DAY]
    others = [item for item in stretches if not 0 <= item.start < DAY]
    first = {item.path: item.start for item in reversed(unset)}
    what = (
        "as a header without a time or a clock that was not set, and other files have times: left "
        "out"
        if others
        else "as a header without a time: times of its windows count from there"
    )
    lines = [
        f"{path}: starts {nanoseconds_to_iso([time])[0]}, {what}"
        for path, time in reversed(first.items())
    ]
    return others or unset, lines


def of_few_rates(stretches: Sequence[Stretch]) -> list[Stretch]:
    """Replace sampling rates that differ by rounding by the one with the shortest decimal."""
    groups: list[list[float]] = []
    for rate in sorted({item.sampling_rate for item in stretches}):
        if not groups or not same_rate(groups[-1][0], rate):
            groups.append([])
        groups[-1].append(rate)
    one = {rate: min(group, key=lambda r: (len(repr(r)), r)) for group in groups for rate in group}
    return [replace(item, sampling_rate=one[item.sampling_rate]) for item in stretches]


# ---- reading ------------------------------------------------------------------------------------


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    if text.startswith("Unknown format"):
        return "of no format that obspy reads"
    return f"can't be read as waveforms ({type(error).__name__}: {text[:200]})"


def _read(path: Path, **options: Any) -> tuple[Any, list[str]]:
    """Stream of a file, and the warnings of obspy."""
    obspy = import_obspy()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        # obspy would take brackets in a name for a pattern.
        stream = obspy.read(glob.escape(str(path)), **options)
    return stream, warnings_about_data(caught)


def warnings_about_data(caught: Sequence[warnings.WarningMessage]) -> list[str]:
    """Texts of warnings, each once, without those on deprecation and resources."""
    others = (DeprecationWarning, PendingDeprecationWarning, ResourceWarning)
    texts = [
        " ".join(str(item.message).split())
        for item in caught
        if not issubclass(item.category, others)
    ]
    return list(dict.fromkeys(texts))


def read_traces(
    path: Path, start_ns: int, end_ns: int, ids: str = "", numbered: bool = False
) -> dict[str | int, list[Any]]:
    """Read the samples of one file between two times.

    Parameters
    ----------
    path : Path
    start_ns, end_ns : int
        ns since 1970-01-01 UTC; the nearest samples are the first and the last.
    ids : str
        Beginning of the trace ids. Only these are decoded, where the format allows it.
    numbered : bool
        Identify traces by their position in the file.

    Returns
    -------
    dict
        obspy Traces by `Stretch.within`, in the order of the file.

    Raises
    ------
    DataError
        The file can't be read.
    """
    time = import_obspy().UTCDateTime
    span = {"starttime": time(ns=int(start_ns)), "endtime": time(ns=int(end_ns))}
    options = {} if numbered else dict(span)  # a slice would change positions
    if ids and not set(ids) & set("*?[]\\"):
        options["sourcename"] = f"{ids}*"
    try:
        stream, _ = _read(path, **options)
        if not stream and options.pop("sourcename", None):  # codes that differ from the header's
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


@lru_cache(maxsize=4)  # a day may be in the files of the day before, of it, and of the day after
def read_traces_cached(
    path: Path, start: int, end: int, ids: str, numbered: bool, *_stamp: str | int
) -> dict[str | int, list[Any]]:
    """`read_traces` of a file with a `stamp`; what is returned must not be changed."""
    return read_traces(path, start, end, ids, numbered)


def matching(stretches: Sequence[Stretch], trace_ids: str) -> list[Stretch]:
    """Select stretches by patterns of trace ids with commas; DataError where none fits."""
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
