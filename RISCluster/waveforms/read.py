"""Headers of waveform files, and their samples between two times."""

import glob
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
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
    number: int = 0  # position in the file

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


def read_with(function: Callable, path: Path, what: str, **options: Any) -> tuple[Any, list[str]]:
    """What obspy reads of a file, and its warnings about the data; DataError where it can't."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            # obspy would take brackets in a name for a pattern.
            found = function(glob.escape(str(path)), **options)
    except Exception as error:  # obspy's readers raise many types
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        if "Unknown format" in reason:
            reason = "of no format that obspy reads"
        raise DataError(
            f"{path}: can't be read as {what} ({reason}); copy it again, or leave it out"
        ) from None
    others = (DeprecationWarning, PendingDeprecationWarning, ResourceWarning)
    texts = [str(item.message) for item in caught if not issubclass(item.category, others)]
    return found, list(dict.fromkeys(" ".join(text.split()) for text in texts))


def one_of_each(notes: Iterable[tuple[str, str]]) -> list[str]:
    """A line for each kind of note (place, text), and how many more places have such a note.

    Texts that differ by numbers are of one kind.
    """
    kinds: dict[str, dict[str, str]] = defaultdict(dict)
    for place, text in notes:
        kinds[re.sub(r"\S*\d\S*", "#", text)].setdefault(place, f"{place}: {text}")
    found = ([*lines.values()] for lines in kinds.values())
    return [x[0] + (f" (and so for {len(x) - 1:,} more)" if len(x) > 1 else "") for x in found]


def _read(path: Path, **options: Any) -> tuple[Any, list[str]]:
    return read_with(import_obspy().read, path, "waveforms", **options)


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
    stretches = _with_own_ids(_without_unset_clocks(stretches, lines), lines)
    return sorted(stretches, key=lambda x: (x.trace_id, x.start, str(x.path))), lines


def _read_headers(path: Path) -> tuple[list[Stretch], list[str]]:
    try:
        stream, warned = _read(path, headonly=True)
        if stream and stream[0].stats.get("_format") == "REFTEK130":  # loses headers that overlap
            stream, warned = _read(path)
    except DataError as error:
        return [], [f"{str(error).partition(';')[0]}: left out"]
    warned = [*warned, *_cut_short(stream)]
    lines = [f"{path}: {warned[0].rstrip('.')}; what can be read of it is used"] if warned else []
    usable, faults = [], Counter()
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
            usable.append(Stretch(path, trace_id, start, n, rate, trace.id, number))
    lines += [f"{path}: {text}{f' ({n} traces)' if n > 1 else ''}" for text, n in faults.items()]
    return usable, lines


def _cut_short(stream: Sequence[Any]) -> list[str]:
    """A warning where the last record of a miniSEED file lacks bytes; lengths are powers of 2."""
    records = [trace.stats.get("mseed", {}) for trace in stream]
    length = min((x.record_length for x in records if x.get("record_length")), default=0)
    rest = length and records[0].filesize % length
    return [f"ends with {rest:,} bytes of a record of {length:,}"] if rest else []


def of_few_rates(stretches: Sequence[Stretch]) -> list[Stretch]:
    """Replace sampling rates that differ by rounding by the one with the shortest decimal."""
    groups: list[list[float]] = []
    for rate in sorted({item.sampling_rate for item in stretches}):
        if not groups or not same_rate(groups[-1][0], rate):
            groups.append([])
        groups[-1].append(rate)
    one = {rate: min(group, key=lambda r: (len(repr(r)), r)) for group in groups for rate in group}
    return [replace(item, sampling_rate=one[item.sampling_rate]) for item in stretches]


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


def _without_unset_clocks(stretches: Sequence[Stretch], lines: list[str]) -> Sequence[Stretch]:
    """Leave out traces of 1970-01-01, the date of headers without a time, beside others."""
    unset = [item for item in stretches if 0 <= item.start < DAY]
    others = [item for item in stretches if not 0 <= item.start < DAY]
    what = "other files have times: left out" if others else "times of its windows count from there"
    for path, start in {item.path: item.start for item in unset}.items():
        at = nanoseconds_to_iso([start])[0]
        lines.append(f"{path}: starts {at}, as a header without a time: {what}")
    return others or unset


def _with_own_ids(stretches: Sequence[Stretch], lines: list[str]) -> list[Stretch]:
    """Name traces that have an id without station or channel code at the same time.

    They are named by their position in the file, and by the file where several files have the id.
    Copies of a file are left out.
    """
    groups: dict[str, dict[Path, list[Stretch]]] = defaultdict(lambda: defaultdict(list))
    found, notes = [], []
    for item in stretches:
        if all(item.trace_id.split(".")[1::2]):
            found.append(item)
        else:
            groups[item.trace_id][item.path].append(item)
    for trace_id, files in groups.items():
        spans = {path: [(item.start, item.end) for item in own] for path, own in files.items()}
        gathers = {path for path, own in spans.items() if _overlap(own)}
        text = f"traces at the same time have the id {trace_id}: named by their position in it"
        notes += [(str(path), f"{len(files[path]):,} {text}") for path in sorted(gathers)]
        for path in gathers:
            spans[path] = [(min(spans[path])[0], max(end for _, end in spans[path]))]
        stems = dict.fromkeys(files, "")
        if _overlap([span for own in spans.values() for span in own]):
            first: dict[str, Path] = {}
            for path in sorted(files):
                if (same := first.setdefault(sha256(path), path)) != path:
                    lines.append(f"{path}: left out: the same as {same}")
            stems = {path: re.sub(r"[^\w-]", "_", path.stem) for path in first.values()}
            n = Counter(stems.values())
            for at, (path, stem) in enumerate(stems.items()):
                stems[path] = f"{at + 1:05d}-{stem}" if n[stem] > 1 else stem
            if len(stems) > 1:
                text = f"other files have the id {trace_id} at the same time: named by their files"
                lines.append(f"{min(stems)}: {len(stems) - 1:,} {text}")
            else:
                stems = dict.fromkeys(stems, "")
        for path, stem in stems.items():
            for item in files[path]:
                number = f"{item.number + 1:05d}" if path in gathers else ""
                network, station, location, channel = trace_id.split(".")
                name = "-".join(filter(None, (station, stem, number)))
                own_id = ".".join((network, name, location, channel))
                within = item.number if number else item.within
                found.append(replace(item, trace_id=own_id, within=within))
    lines += one_of_each(notes)
    return found


def _overlap(spans: Sequence[tuple[int, int]]) -> bool:
    """Whether one is for half or more of its length at the time of others."""
    spans = sorted(spans)
    ends = np.maximum.accumulate([end for _, end in spans]).tolist()
    pairs = zip(spans[1:], ends, strict=False)
    return any(end - start > (stop - start) / 2 for (start, stop), end in pairs)


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
