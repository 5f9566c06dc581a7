"""Waveform files: copied from archives, their headers, and their samples between two times."""

import glob
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed

from ..data.storage import NO_DATA
from ..data.times import DAY, SECOND, same_rate
from ..errors import DataError
from ..io import need, new_file, store_options
from ..parallel import workers_for
from ..runtime import Progress, count, log

LATEST = 2**63 - 100 * DAY  # ns; int64 still holds such a time with the margins around it
RATES = (1e-5, 1e8)  # Hz; other rates are errors of a header
MIN_PARALLEL_FILES = 400  # fewer are read faster than processes start
MAX_LINES = 20  # of warnings of one kind
Notes = list[tuple[str, str]]  # place and text


class Stretch(NamedTuple):
    """A continuous piece of one trace in one file."""

    trace_id: str  # NET.STA.LOC.CHA
    start: int  # ns since 1970-01-01 UTC
    path: Path
    n_samples: int
    sampling_rate: float  # Hz

    @property
    def end(self) -> int:
        """Time of the sample after the last, ns."""
        return self.start + duration(self.n_samples, self.sampling_rate)


def duration(n_samples: int | float, sampling_rate: float) -> int:
    """Duration of samples, ns."""
    return round(n_samples * SECOND / sampling_rate)


def import_obspy(module: str = "obspy") -> ModuleType:
    """Import obspy without its warnings and without its reader of pickles, which can run code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = need(module)
        from obspy.core.util.base import ENTRY_POINTS
    ENTRY_POINTS["waveform"].pop("PICKLE", None)
    return found


def read_with(function: Callable, path: Path, what: str, **options: Any) -> Any:
    """What a function of obspy reads from a file; DataError where it can't."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # obspy would take brackets in a name for a pattern.
            return function(glob.escape(str(path)), **options)
    except Exception as error:  # obspy's readers raise many types
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise DataError(
            f"{path}: can't be read as {what} ({reason}); copy it again, or leave it out"
        ) from None


def note_of(path: Path, error: Exception, end: str = "") -> tuple[str, str]:
    """A note of an error about a file."""
    return str(path), str(error).removeprefix(f"{path}: ") + end


def warn_of(notes: Iterable[tuple[str, str]]) -> None:
    """Log a line for each text of notes (place, text), with its first place; 20 lines at most."""
    places: dict[str, dict[str, None]] = defaultdict(dict)  # by text, each once, in order
    for place, text in notes:
        places[text].setdefault(place)
    for text, (first, *others) in [*places.items()][:MAX_LINES]:
        more = f" (and so for {len(others):,} more)" if others else ""
        log.warning(f"{first}: {text}{more}")
    if len(places) > MAX_LINES:
        log.warning(f"{len(places) - MAX_LINES:,} more lines like these")


def with_copies(words: Sequence[str], folder: Path) -> list[str]:
    """Words of the command line, with copies in a folder for URLs of files, folders or patterns."""
    return [path for word in words for path in (_fetch(word, folder) if "://" in word else [word])]


def _fetch(url: str, folder: Path) -> list[str]:
    fsspec = need("fsspec")
    try:
        files, root = fsspec.core.url_to_fs(url, **store_options(url))
        found = files.glob(root, detail=True) if "*" in url else files.find(root, detail=True)
        names = [
            name
            for name, about in sorted(found.items())
            if about.get("type") != "directory"
            and not name.lower().endswith((*NO_DATA, "/"))
            and ".." not in name.split("/")
        ]
        paths = {name: folder / name.rpartition("://")[2].lstrip("/") for name in names}
        missing = [name for name, path in paths.items() if not path.is_file()]
        log.info(f"{url}: {count(len(names), 'file')}, {len(missing):,} to copy into {folder}")
        with Progress("Copying", len(missing), "files") as progress:
            for name in missing:
                with new_file(paths[name]) as partial:
                    files.get_file(name, str(partial))
                progress.add(1)
    except Exception as error:  # each kind of store raises its own
        reason = " ".join(f"{type(error).__name__} {error}".split())[:200]
        raise DataError(
            f"{url}: can't be fetched: {reason}; check the address, and run the same command again"
        ) from None
    if not names:
        raise DataError(f"{url}: has no files; give a folder, a file or a pattern with *")
    return [str(path) for path in paths.values()]


def _read(path: Path, **options: Any) -> Any:
    return read_with(import_obspy().read, path, "waveforms", **options)


def scan(paths: Sequence[Path], workers: int) -> tuple[list[Stretch], Notes]:
    """Headers of waveform files, sorted by trace id, start and path; what is left out."""
    stretches, notes = [], []
    n_jobs = 1 if len(paths) < MIN_PARALLEL_FILES else workers_for(workers, len(paths))
    parallel = Parallel(n_jobs, return_as="generator", batch_size=32)
    with Progress("reading headers", len(paths), "files") as progress:
        for found, left_out in parallel(delayed(_read_headers)(path) for path in paths):
            stretches += found
            notes += left_out
            progress.add(1)
    return sorted(stretches), notes


def _read_headers(path: Path) -> tuple[list[Stretch], Notes]:
    try:
        stream = _read(path, headonly=True)
        if stream and stream[0].stats.get("_format") == "REFTEK130":  # loses headers that touch
            stream = _read(path)
    except DataError as error:
        return [], [note_of(path, error)]
    good, bad = [], []
    for trace in stream:
        rate, start = float(trace.stats.sampling_rate), int(trace.stats.starttime.ns)
        item = Stretch(_id_of(trace), start, path, int(trace.stats.npts), rate)
        _, station, _, channel, *others = item.trace_id.split(".")
        usable = item.n_samples > 0 and RATES[0] <= rate <= RATES[1]
        usable = usable and station and channel and not others
        (good if usable and max(abs(start), abs(item.end)) < LATEST else bad).append(item)
    text = "" if stream else "has no waveform"
    if bad:
        one, year = bad[0], np.datetime64(bad[0].start // SECOND, "s").astype("M8[Y]")
        text = (
            f"{count(len(bad), 'trace')} left out, such as '{one.trace_id}': {one.n_samples} "
            f"samples at {one.sampling_rate:g} Hz in {year}; allowed: ids with station and "
            "channel codes, as in miniSEED, 1 sample or more, 1e-5 to 1e8 Hz, 1678 to 2261"
        )
    return good, [(str(path), text)] if text else []


def _id_of(trace: Any) -> str:
    """Trace id; formats such as GSE2 fill codes up with blanks."""
    return ".".join(code.strip() for code in trace.id.split("."))


def of_few_rates(stretches: Sequence[Stretch]) -> list[Stretch]:
    """Replace sampling rates that differ by rounding by the one with the shortest decimal."""
    rates, one = {item.sampling_rate for item in stretches}, {}
    for rate in sorted(rates, key=lambda rate: (len(repr(rate)), rate)):
        one[rate] = next((known for known in one.values() if same_rate(known, rate)), rate)
    return [item._replace(sampling_rate=one[item.sampling_rate]) for item in stretches]


def read_traces(path: Path, start_ns: int, end_ns: int, ids: str = "") -> dict[str, list[Any]]:
    """Traces of obspy of one file between two times, by trace id; `ids` is their beginning.

    Samples of -2^31, which mark a gap, are NaN.
    """
    time = import_obspy().UTCDateTime
    span = {"starttime": time(ns=int(start_ns)), "endtime": time(ns=int(end_ns))}
    stream = _read(path, **span, **({"sourcename": f"{ids}*"} if ids else {}))
    if ids and not stream:  # codes that a pattern can't select
        stream = _read(path, **span)
    found: dict[str, list[Any]] = defaultdict(list)
    for trace in stream:
        trace_id = _id_of(trace)
        if trace.stats.npts and trace.data.dtype.kind in "iuf" and trace_id.startswith(ids):
            if (missing := trace.data == np.float64(-(2**31))).any():
                trace.data = np.where(missing, np.nan, trace.data)
            found[trace_id].append(trace)
    return dict(found)
