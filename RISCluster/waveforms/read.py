"""Headers of waveform files, and their samples between two times."""

import glob
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
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
LATEST = 2**63 - 100 * DAY  # ns; int64 still holds such a time with the margins around it
RATES = (1e-5, 1e8)  # Hz; other rates are errors of a header
MIN_PARALLEL_FILES = 400  # fewer are read faster than processes start


@dataclass(frozen=True)
class Stretch:
    """A continuous piece of one trace in one file.

    `within` is the id of the trace in the file, or its position from 0 where several traces of
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


def quietly(function: Callable, path: Path, **options: Any) -> tuple[Any, list[str]]:
    """Result of a function of obspy that reads a file, and its warnings about the data."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        # obspy would take brackets in a name for a pattern.
        found = function(glob.escape(str(path)), **options)
    others = (DeprecationWarning, PendingDeprecationWarning, ResourceWarning)
    texts = [str(item.message) for item in caught if not issubclass(item.category, others)]
    return found, list(dict.fromkeys(" ".join(text.split()) for text in texts))


def _read(path: Path, **options: Any) -> tuple[Any, list[str]]:
    """Stream of a file, and the warnings of obspy; DataError where it can't be read."""
    try:
        return quietly(import_obspy().read, path, **options)
    except Exception as error:  # obspy's readers raise many types
        text = " ".join(str(error).split())
        reason = f"can't be read as waveforms ({type(error).__name__}: {text[:200]})"
        if text.startswith("Unknown format"):
            reason = "of no format that obspy reads"
        raise DataError(f"{path}: {reason}; copy it again, or leave it out") from None


def scan(paths: Sequence[Path], workers: int) -> tuple[list[Stretch], list[str]]:
    """Headers of waveform files, sorted by trace id, start and path; and warnings.

    Many files are read in `workers` processes. A warning names each file and trace left out.
    """
    import_obspy()
    stretches: list[Stretch] = []
    lines: list[str] = []
    n_jobs = 1 if len(paths) < MIN_PARALLEL_FILES else workers_for(workers, len(paths))
    parallel = Parallel(n_jobs, return_as="generator", batch_size=32)
    with Progress("reading headers", len(paths), "files") as progress:
        for found, warned in parallel(delayed(_read_headers)(path) for path in paths):
            stretches += found
            lines += warned
            progress.add(1)
    for correct in (_without_unset_clocks, _named_by_file):
        stretches, warned = correct(stretches)
        lines += warned
    return sorted(stretches, key=lambda item: (item.trace_id, item.start, str(item.path))), lines


def _read_headers(path: Path) -> tuple[list[Stretch], list[str]]:
    try:
        stream, warned = _read(path, headonly=True)
    except DataError as error:
        return [], [f"{str(error).partition(';')[0]}: left out"]
    lines = [f"{path}: {warned[0].rstrip('.')}; what can be read of it is used"] if warned else []
    usable, faults = {}, Counter()
    for number, trace in enumerate(stream):
        stats, names = trace.stats, ("network", "station", "location", "channel")
        rate, start, n = float(stats.sampling_rate), int(stats.starttime.ns), int(stats.npts)
        if getattr(stats.get("mseed"), "encoding", "") == "ASCII":
            faults[f"a trace of {trace.id} left out: text, no samples"] += 1
        elif n < 1 or not RATES[0] <= rate <= RATES[1] or abs(start) > LATEST - duration(n, rate):
            year = np.datetime64(start // SECOND, "s").astype("M8[Y]")
            faults[
                f"a trace of {trace.id} left out: {n} samples at {rate:g} Hz from the year {year}; "
                "times from 1678 to 2261 can be stored"
            ] += 1
        else:
            trace_id = ".".join(stats[name].strip().replace(".", "_") for name in names)
            usable[number] = Stretch(path, trace_id, start, n, rate, trace.id)
    lines += [f"{path}: {text}{f' ({n} traces)' if n > 1 else ''}" for text, n in faults.items()]
    channels = {items[0].trace_id: len(items) for items in _shared(usable.values())}
    for number, item in usable.items():  # a gather
        if item.trace_id in channels:
            usable[number] = _marked(replace(item, within=number), "{}", f"{number + 1:05d}")
    lines += [
        f"{path}: {n:,} traces at the same time have the id {trace_id}: named by their position in "
        "the file"
        for trace_id, n in channels.items()
    ]
    return list(usable.values()), lines


def of_few_rates(stretches: Sequence[Stretch]) -> list[Stretch]:
    """Replace sampling rates that differ by rounding by the one with the shortest decimal."""
    groups: list[list[float]] = []
    for rate in sorted({item.sampling_rate for item in stretches}):
        if not groups or not same_rate(groups[-1][0], rate):
            groups.append([])
        groups[-1].append(rate)
    one = {rate: min(group, key=lambda r: (len(repr(r)), r)) for group in groups for rate in group}
    return [replace(item, sampling_rate=one[item.sampling_rate]) for item in stretches]


def _without_unset_clocks(stretches: Sequence[Stretch]) -> tuple[list[Stretch], list[str]]:
    """Leave out traces of 1970-01-01, the date of headers without a time, beside others."""
    unset = [item for item in stretches if 0 <= item.start < DAY]
    others = [item for item in stretches if not 0 <= item.start < DAY]
    first = {item.path: nanoseconds_to_iso([item.start])[0] for item in unset}
    what = "other files have times: left out" if others else "times of its windows count from there"
    lines = [
        f"{path}: starts {start}, as a header without a time: {what}"
        for path, start in first.items()
    ]
    return others or unset, lines


def matching(stretches: Sequence[Stretch], trace_ids: str) -> list[Stretch]:
    """Select stretches by patterns of trace ids with commas; DataError where none fits."""
    patterns = [pattern.strip() for pattern in trace_ids.split(",")]
    names = sorted({item.trace_id for item in stretches})
    fits = {name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)}
    if names and not fits:
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        raise DataError(
            f"build.trace_ids = {trace_ids} fits no trace; there are {', '.join(names[:8])}{more}: "
            "set it to some of them"
        )
    return [item for item in stretches if item.trace_id in fits]


def _shared(stretches: Sequence[Stretch]) -> list[list[Stretch]]:
    """Stretches of each id that is not that of one trace, but of several at the same time."""
    groups: dict[str, list[Stretch]] = defaultdict(list)
    for item in stretches:
        if isinstance(item.within, int) or not all(item.trace_id.split(".")[1::2]):
            groups[item.trace_id].append(item)
    return [items for items in groups.values() if _overlap(items)]


def _overlap(items: Sequence[Stretch]) -> bool:
    """Whether one is for half or more of its length at the time of others."""
    end = -LATEST
    for item in sorted(items, key=lambda item: (item.start, item.end)):
        if end - item.start > (item.end - item.start) / 2:
            return True
        end = max(end, item.end)
    return False


def _marked(item: Stretch, *marks: str) -> Stretch:
    """Stretch whose station code is these marks; {} is the code itself."""
    network, station, location, channel = item.trace_id.split(".")
    name = "-".join(filter(None, (mark.format(station) for mark in marks)))
    return replace(item, trace_id=".".join((network, name, location, channel)))


def _named_by_file(stretches: Sequence[Stretch]) -> tuple[list[Stretch], list[str]]:
    """Add the file's name to ids that are not set and are in several files at the same time.

    Copies of a file are left out.
    """
    groups = [items for items in _shared(stretches) if len({item.path for item in items}) > 1]
    first: dict[str, Path] = {}
    paths = sorted({item.path for items in groups for item in items})
    copies = {path: first.setdefault(sha256(path), path) for path in paths}
    lines = [
        f"{path}: left out: the same as {other}" for path, other in copies.items() if other != path
    ]
    found = [item for item in stretches if copies.get(item.path, item.path) == item.path]
    if len(first) < 2:
        return found, lines
    names = {items[0].trace_id for items in groups}
    stems = Counter(path.stem for path in first.values())
    for at, item in enumerate(found):
        if item.trace_id in names:
            mark = "".join(
                char if char.isalnum() or char in "_-" else "_" for char in item.path.stem
            )
            if stems[item.path.stem] > 1:
                mark = f"{paths.index(item.path) + 1:05d}-{mark}"
            found[at] = _marked(
                item, *((mark, "{}") if isinstance(item.within, int) else ("{}", mark))
            )
    lines.append(
        f"{paths[0]} and {len(first) - 1:,} other files have the id {groups[0][0].trace_id} at the "
        "same time: their traces are named by the files"
    )
    return found, lines


def read_traces(
    path: Path, start_ns: int, end_ns: int, ids: str = "", numbered: bool = False
) -> dict[str | int, list[Any]]:
    """Traces of obspy of one file by `Stretch.within`; DataError where it can't be read.

    The samples nearest to the times, ns since 1970-01-01 UTC, are the first and the last. `ids` is
    the beginning of the trace ids that are decoded; `numbered` traces have positions in the file.
    """
    time = import_obspy().UTCDateTime
    span = {"starttime": time(ns=int(start_ns)), "endtime": time(ns=int(end_ns))}
    options = {} if numbered else dict(span)  # a slice would change positions
    if ids and not set(ids) & set("*?[]\\"):
        options["sourcename"] = f"{ids}*"
    stream, _ = _read(path, **options)
    if not stream and options.pop("sourcename", None):  # codes that differ from the header's
        stream, _ = _read(path, **options)
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
