"""What is in a file of spectrograms, as lines of text and as a picture of some samples.

The file is read once, in its order, at constant memory.

Letters: N samples, F frequency bins, T time bins, n samples of a block or a picture.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np
from matplotlib.figure import Figure

from ..data.spectrograms import SpectrogramFile
from ..data.times import far_times, nanoseconds_to_iso, to_text
from ..plots.samples import sample_overview
from ..plots.style import plain
from ..runtime import Progress, count

BLOCK = 8192  # samples whose indices, times and names are handled at a time
MEASURED = 20_000  # samples at most, spread over the file, of which quantiles are taken
NAMED = 5  # trace ids that are listed
MOST_TRACES = 100_000  # different trace ids that are counted
QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)
PICTURED, MOST_CLASSES, OF_A_CLASS = 12, 12, 4  # samples of a picture


@dataclass
class Survey:
    """Counts and measures of a file's samples.

    Attributes
    ----------
    not_finite, zero, negative : list of int
        Number of samples with values that are not finite, that are all zero, or (usable, with
        ``data.amplitude = linear``) that have negative values; with the first one's index.
    measures : ndarray, (n, 3)
        Largest value, its ratio to the median (infinite where that is 0), and its distance from
        the lowest value, of usable samples spread over the file.
    times : list of ndarray, datetime64
        Start times that are known.
    untimed : int
        Samples whose start time is not known, in a file that has times.
    traces : dict
        Different trace ids, in the order of the file.
    """

    not_finite: list[int] = field(default_factory=lambda: [0, -1])
    zero: list[int] = field(default_factory=lambda: [0, -1])
    negative: list[int] = field(default_factory=lambda: [0, -1])
    measures: np.ndarray = field(default_factory=lambda: np.empty((0, 3)))
    times: list[np.ndarray] = field(default_factory=list)
    untimed: int = 0
    traces: dict[str, None] = field(default_factory=dict)


def survey(file: SpectrogramFile) -> Survey:
    """Read every sample once.

    Parameters
    ----------
    file : SpectrogramFile
        Open.

    Returns
    -------
    Survey

    Raises
    ------
    DataError
        Bytes can't be read.
    """
    found = Survey()
    every = -(-file.n_samples // MEASURED)
    measures = [found.measures]
    with Progress("Reading", file.n_samples) as progress:
        for start in range(0, file.n_samples, BLOCK):
            stop = min(start + BLOCK, file.n_samples)
            _add_columns(found, file.starttimes(start, stop), file.trace_ids(start, stop))
            for index, x in file.read_blocks(np.arange(start, stop)):
                usable = _add_values(found, index, x)
                measures.append(_measure(x[usable & (index % every == 0)]))
                progress.add(len(index))
    found.measures = np.concatenate(measures)
    return found


def _add_values(found: Survey, index: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Count the samples of a block (n, F, T) that are not as they should be; which are usable."""
    low, high = x.min(axis=(1, 2)), x.max(axis=(1, 2))  # NaN and infinity come through
    finite = np.isfinite(low) & np.isfinite(high)
    zero = (low == 0) & (high == 0)
    kinds = (found.not_finite, ~finite), (found.zero, zero), (found.negative, finite & (low < 0))
    for tally, these in kinds:
        if these.any():
            if tally[1] < 0:
                tally[1] = int(index[these.argmax()])
            tally[0] += int(these.sum())
    return finite & ~zero


def _measure(x: np.ndarray) -> np.ndarray:
    """Measures, (n, 3), of samples (n, F, T)."""
    x = x.reshape(len(x), x.shape[1] * x.shape[2])
    if not len(x):
        return np.empty((0, 3))
    high, median = x.max(axis=1).astype(float), np.median(x, axis=1)
    with np.errstate(divide="ignore"):
        return np.stack([high, high / median, high - x.min(axis=1)], axis=1)


def _add_columns(found: Survey, times: list[str] | None, traces: list[str] | None) -> None:
    known = [time.rstrip("Z") for time in times or () if time]
    found.untimed += len(times or ()) - len(known)
    found.times.append(np.array(known, "M8[ns]"))
    if traces and len(found.traces) < MOST_TRACES:
        found.traces.update(dict.fromkeys(traces))


# ---- text ---------------------------------------------------------------------------------------


def describe(file: SpectrogramFile, found: Survey, train_samples: int) -> Iterator[str]:
    """Lines of text about a file.

    Parameters
    ----------
    file : SpectrogramFile
    found : Survey
    train_samples : int
        ``data.train_samples``; 0 is all.

    Yields
    ------
    str
    """
    yield _line("file", f"{file.path}, layout {file.layout}, data set {file.dataset}")
    yield _line(
        "samples",
        f"{file.n_samples:,} of {file.n_frequencies} x {file.n_times} (frequency x time), "
        f"{file.dtype}",
    )
    yield _line("frequency", _axis(file.frequency, file.frequency_unit))
    yield _line("time", _axis(file.time, file.time_unit))
    yield _line("amplitude", file.amplitude_unit or "unit not given")
    yield _line("stored", _storage(file))
    yield _line("start times", _times(found))
    yield _line("traces", _traces(found))
    yield _line("classes", _classes(file))
    yield from _values(found)
    yield _line("training", _memory(file, train_samples))
    notes = {key: value for key, value in sorted(file.attributes.items()) if key != "class_names"}
    if notes:
        yield "attributes"
    for key, value in notes.items():
        yield f"  {key} = {_short(value)}"


def _line(name: str, text: str) -> str:
    return f"{name:<14}{text}"


def _axis(axis: np.ndarray, unit: str) -> str:
    steps = np.diff(axis)
    text = f"{axis[0]:.6g} to {axis[-1]:.6g} {unit}"
    if np.ptp(steps) <= 0.25 * steps.mean():  # axes are often stored in few digits
        about = "about " if np.ptp(steps) > 1e-3 * steps.mean() else ""
        return f"{text}, step {about}{steps.mean():.4g} {unit}"
    return f"{text}, steps of {steps.min():.4g} to {steps.max():.4g} {unit}"


def _storage(file: SpectrogramFile) -> str:
    if file.path.is_dir():
        size = sum(item.stat().st_size for item in file.path.rglob("*") if item.is_file())
    else:
        size = file.path.stat().st_size
    chunks = f"chunks of {' x '.join(map(str, file.chunks))}" if file.chunks else "contiguous"
    return f"{chunks}, {_compression(file)}; {_bytes(size)} on disk in all"


def _compression(file: SpectrogramFile) -> str:
    """Name of the compression, as h5py or zarr give it."""
    if file.path.is_file():
        with h5py.File(file.path, "r") as opened:
            data = opened[file.dataset]
            if data.compression is None:
                return "filtered" if data.id.get_create_plist().get_nfilters() else "no compression"
            level = "" if data.compression_opts is None else f" {data.compression_opts}"
            return f"{data.compression}{level}" + (" with shuffle" if data.shuffle else "")
    from ..io import need

    root = need("zarr").open(str(file.path), mode="r")
    array = root if hasattr(root, "dtype") else root[file.dataset]
    names = [type(codec).__name__.removesuffix("Codec").lower() for codec in array.compressors]
    return ", ".join(names) or "no compression"


def _times(found: Survey) -> str:
    times = np.sort(np.concatenate(found.times or [np.empty(0, "M8[ns]")]))
    if not len(times):
        return "none known"
    far = far_times(times)
    said = [f"{count(found.untimed, 'sample')} without"] if found.untimed else []
    if far.any():
        said.append(f"{count(int(far.sum()), 'sample')} years away, as of {_iso(times[far][0])}")
    return "; ".join([f"{_iso(times[~far][0])} to {_iso(times[~far][-1])}", *said])


def _iso(time: np.datetime64) -> str:
    return nanoseconds_to_iso(time.view(np.int64)[None])[0]


def _traces(found: Survey) -> str:
    if not found.traces:
        return "none named"
    names = list(found.traces)
    more = f", ... ({names[-1]})" if len(names) > NAMED else ""
    count = f"{len(names):,}" + (" or more" if len(names) >= MOST_TRACES else "")
    return f"{count}: {', '.join(name or '(empty)' for name in names[:NAMED])}{more}"


def _classes(file: SpectrogramFile) -> str:
    labels = file.labels()
    if labels is None:
        return "none known"
    values, counts = np.unique(labels, return_counts=True)
    names = file.class_names()
    shown = [
        f"{_class_name(names, label)} ({count:,})"
        for label, count in zip(values.tolist(), counts.tolist(), strict=True)
    ]
    more = f", ... ({len(shown) - 20} more)" if len(shown) > 20 else ""
    return f"{len(values)}: {', '.join(shown[:20])}{more}"


def _class_name(names: list[str], label: int) -> str:
    return names[label] if 0 <= label < len(names) else str(label)


def _values(found: Survey) -> Iterator[str]:
    """Unusable samples, and quantiles of the others."""
    unusable = [
        f"{count:,} {what} (first: sample {first})"
        for (count, first), what in ((found.not_finite, "not finite"), (found.zero, "all zero"))
        if count
    ]
    yield _line("unusable", ", ".join(unusable) or "none")
    count, first = found.negative
    if count:
        yield _line(
            "negative",
            f"{count:,} samples with values below 0 (first: sample {first}): set data.amplitude = "
            "linear",
        )
    if not len(found.measures):
        return
    # A ratio says nothing of decibels, nor does a distance of power.
    name, column = ("largest-least", 2) if count else ("peak/median", 1)
    names = {0.0: "least", 0.5: "median", 1.0: "largest"}
    heads = [names.get(at, f"{100 * at:g} %") for at in QUANTILES]
    yield _line("", "".join(f"{head:>10}" for head in heads))
    for row, values in (("peak", found.measures[:, 0]), (name, found.measures[:, column])):
        quantiles = np.quantile(values, QUANTILES, method="inverted_cdf")
        yield f"{row:<14}" + "".join(f"{value:>10.3g}" for value in quantiles)
    yield _line("", f"of {len(found.measures):,} usable samples spread over the file")


def _memory(file: SpectrogramFile, train_samples: int) -> str:
    n = min(train_samples or file.n_samples, file.n_samples)
    size = _bytes(4 * n * file.n_frequencies * file.n_times)
    return f"{size} of memory for {n:,} samples (data.train_samples); streamed from disk if more"


def _bytes(n: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n >= factor:
            return f"{n / factor:.3g} {unit}"
    return f"{n} bytes"


def _short(value: Any) -> str:
    """An attribute on one line, cut where it is long."""
    text = " ".join(to_text(value).split())
    return text if len(text) <= 100 else f"{text[:97]}..."


# ---- picture ------------------------------------------------------------------------------------


def choose(file: SpectrogramFile) -> list[tuple[str, list[int]]]:
    """Samples to picture.

    Returns
    -------
    list of (str, list of int)
        Rows of a picture: name and indices. A row for each of at most twelve known classes, the
        largest, and otherwise three rows without a name spread over the file.
    """
    labels = file.labels()
    if labels is None or len(np.unique(labels)) < 2:
        chosen = np.unique(np.linspace(0, file.n_samples - 1, PICTURED).astype(int)).tolist()
        return [("", chosen[at : at + OF_A_CLASS]) for at in range(0, len(chosen), OF_A_CLASS)]
    values, counts = np.unique(labels, return_counts=True)
    largest = np.sort(np.argsort(-counts, kind="stable")[:MOST_CLASSES])
    rows = []
    for label in values[largest].tolist():
        mine = np.flatnonzero(labels == label)
        picked = np.unique(np.linspace(0, len(mine) - 1, OF_A_CLASS).astype(int))
        rows.append((_class_name(file.class_names(), label), mine[picked].tolist()))
    return rows


def picture(file: SpectrogramFile, rows: list[tuple[str, list[int]]]) -> Figure:
    """Some samples, each with its time and trace id; `rows` as of `choose`."""
    drawn = [
        (name, [(file.read(at, at + 1)[0], _title(file, at)) for at in row]) for name, row in rows
    ]
    n = sum(len(row) for _, row in rows)
    kinds = "some of each class" if rows[0][0] else "spread over the file"
    title = f"{plain(file.path.name, 60)}: {n} of {file.n_samples:,} samples, {kinds}"
    return sample_overview(file, drawn, title)


def _title(file: SpectrogramFile, index: int) -> str:
    """Number, trace id and start time of a sample, on two lines."""
    times, traces = file.starttimes(index, index + 1), file.trace_ids(index, index + 1)
    first = f"sample {index:,}" + (f"  {plain(traces[0])}" if traces else "")
    return f"{first}\n{_short_time(times[0])}" if times and times[0] else first


def _short_time(time: str) -> str:
    """Without zeros at the end of the fraction of a second."""
    return f"{time[:-1].rstrip('0').rstrip('.')}Z" if "." in time else time
