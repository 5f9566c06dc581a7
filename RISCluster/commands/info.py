"""``info``: content of files of spectrograms, as text and as a figure of some samples.

Letters: N samples, F frequency bins, T time bins.
"""

import argparse
import math
from pathlib import Path

import h5py
import numpy as np
import pandas
from matplotlib.figure import Figure

from ..cli import run_name
from ..data.layouts import SpectrogramFile, size_text
from ..data.sets import open_data
from ..data.times import far_times, nanoseconds_to_iso, to_text
from ..errors import DataError, SettingsError
from ..plots.samples import sample_overview
from ..plots.style import plain
from ..runtime import Progress, count, log, start_log
from ..settings import load_found_settings
from .arguments import save_figure, split_words

BLOCK = 8192  # samples whose times and names are read at a time
MAX_MEASURED = 20_000  # samples, spread over the file, of which quantiles are taken
N_TRACES = 5  # trace ids that are listed
N_CLASSES = 20  # classes that are listed
QUANTILES = {"minimum": 0.0, "5 %": 0.05, "median": 0.5, "95 %": 0.95, "maximum": 1.0}
N_PICTURED, MAX_ROWS, N_COLUMNS = 12, 12, 4  # samples of a figure


def run_info(arguments: argparse.Namespace) -> None:
    """Print and draw, file after file; of several, one that can't be read is a warning."""
    paths, words = split_words(arguments.words)
    if arguments.picture and (arguments.no_picture or len(paths) > 1):
        other = "--no-picture is given" if arguments.no_picture else "there are several files"
        raise SettingsError(
            f"command line: --picture {arguments.picture} names one picture, and {other}; leave "
            "one of them out"
        )
    start_log()
    settings = load_found_settings(arguments.config, words)
    paths, n_bad = paths or [settings.data.file], 0
    stems = [run_name(path) for path in paths]
    for path, stem in zip(paths, stems, strict=True):
        folder = f"{Path(path).resolve().parent.name}_" * (stems.count(stem) > 1)
        target = arguments.picture or f"{folder}{stem}_samples.{settings.run.figure_format}"
        try:
            with open_data(settings, path) as file:
                print("\n".join(describe(file, *survey(file), settings.data.train_samples)))
                if not arguments.no_picture:
                    save_figure(picture(file), Path(target).expanduser())
                    print(f"picture: {Path(target).expanduser()}")
        except DataError as error:
            if len(paths) == 1:
                raise
            log.warning(f"{error}")
            n_bad += 1
    if n_bad == len(paths):
        raise DataError(f"command line: none of {n_bad} files can be read; give others")


def survey(file: SpectrogramFile) -> tuple[pandas.DataFrame, list[str]]:
    """Read every sample once: low, high and time of each, median of some; different trace ids."""
    n, times, traces = file.n_samples, [], {}
    values, every = np.full((n, 3), np.nan), -(-n // MAX_MEASURED)
    with Progress("Reading", n) as progress, np.errstate(invalid="ignore"):
        for start in range(0, n, BLOCK):
            stop = min(start + BLOCK, n)
            texts = file.column("starttime", start, stop) or [""] * (stop - start)
            times.append(np.array([text.rstrip("Z") for text in texts], "M8[ns]"))
            traces |= dict.fromkeys(file.column("trace_id", start, stop) or [])
            for index, x in file.read_blocks(np.arange(start, stop)):
                x, some = x.reshape(len(x), -1), index % every == 0
                values[index, 0], values[index, 1] = x.min(axis=1), x.max(axis=1)
                values[index[some], 2] = np.median(x[some], axis=1)
                progress.add(len(index))
    table = pandas.DataFrame(values, columns=["low", "high", "median"])
    return table.assign(time=np.concatenate(times)), list(traces)


# ---- text ---------------------------------------------------------------------------------------


def describe(
    file: SpectrogramFile, table: pandas.DataFrame, traces: list[str], train_samples: int
) -> list[str]:
    """Lines of text about a file, from its `survey`; `train_samples` as ``data.train_samples``."""
    n = file.n_samples
    n_train = min(train_samples or n, n)
    n_bytes = 4 * n_train * math.prod(file.shape)
    classes = [f"{name} ({len(index):,})" for name, index in _classes(file).values()]
    rows = [
        ("file", f"{file.path}, layout {file.layout}, data set {file.dataset}"),
        ("samples", f"{n:,} of {size_text(file.shape)} (frequency x time), {file.dtype}"),
        *[("components", ", ".join(file.components))] * (len(file.components) > 1),
        ("frequency", _axis(file.frequency, file.frequency_unit)),
        ("time", _axis(file.time, file.time_unit)),
        ("amplitude", file.amplitude_unit or "unit not given"),
        ("stored", _storage(file)),
        ("start times", _times(table["time"].to_numpy())),
        ("traces", _listed(traces, N_TRACES, "none named")),
        ("classes", _listed(classes, N_CLASSES, "none known")),
        *_values(table),
        ("training", f"{_bytes(n_bytes)} of memory for {n_train:,} samples "
         "(data.train_samples); streamed from disk if more"),
    ]  # fmt: skip
    notes = {key: value for key, value in sorted(file.attributes.items()) if key != "class_names"}
    lines = [f"{name:<14}{text}" for name, text in rows] + ["attributes"] * bool(notes)
    for key, value in notes.items():
        text = " ".join(to_text(value).split())
        lines.append(f"  {key} = {text if len(text) <= 100 else f'{text[:97]}...'}")
    return lines


def _axis(axis: np.ndarray, unit: str) -> str:
    steps, text = np.diff(axis), f"{axis[0]:.6g} to {axis[-1]:.6g} {unit}"
    if np.ptp(steps) <= 0.25 * steps.mean():  # axes are often stored in few digits
        about = "about " if np.ptp(steps) > 1e-3 * steps.mean() else ""
        return f"{text}, step {about}{steps.mean():.4g} {unit}"
    return f"{text}, steps of {steps.min():.4g} to {steps.max():.4g} {unit}"


def _storage(file: SpectrogramFile) -> str:
    """Chunks, compression as h5py or zarr name it, and size."""
    data, names = file.stored.array, []
    if not isinstance(data, h5py.Dataset):
        names = [type(codec).__name__.removesuffix("Codec").lower() for codec in data.compressors]
    elif data.compression is not None:
        level = "" if data.compression_opts is None else f" {data.compression_opts}"
        names = [f"{data.compression}{level}" + " with shuffle" * data.shuffle]
    elif data.id.get_create_plist().get_nfilters():
        names = ["filtered"]
    files = [item for path in file.paths for item in [path, *path.rglob("*")]]
    size = sum(item.stat().st_size for item in files if item.is_file())
    on_disk = f"; {_bytes(size)} on disk in all" * bool(size)
    chunks = f"chunks of {' x '.join(map(str, file.chunks))}" if file.chunks else "contiguous"
    return f"{chunks}, {', '.join(names) or 'no compression'}{on_disk}"


def _times(times: np.ndarray) -> str:
    known = np.sort(times[~np.isnat(times)])
    if not len(known):
        return "none known"
    far, texts = far_times(known), np.array(nanoseconds_to_iso(known.view(np.int64)))
    parts = [" to ".join(texts[~far][[0, -1]])]
    if len(known) < len(times):
        parts.append(f"{count(len(times) - len(known), 'sample')} without")
    if far.any():
        parts.append(f"{count(int(far.sum()), 'sample')} years away, as of {texts[far][0]}")
    return "; ".join(parts)


def _listed(names: list[str], most: int, none: str) -> str:
    if not names:
        return none
    more = f", ... ({names[-1]})" if len(names) > most else ""
    return f"{len(names):,}: {', '.join(name or '(empty)' for name in names[:most])}{more}"


def _classes(file: SpectrogramFile) -> dict[int, tuple[str, np.ndarray]]:
    """Name and samples of each known class by its number; empty without classes."""
    labels, names = file.labels(), file.class_names()
    numbers = [] if labels is None else np.unique(labels).tolist()
    return {
        number: (
            names[number] if 0 <= number < len(names) else str(number),
            np.flatnonzero(labels == number),
        )
        for number in numbers
    }


def _values(table: pandas.DataFrame) -> list[tuple[str, str]]:
    """Unusable and negative samples, and quantiles of the usable ones."""
    low, high = table["low"], table["high"]
    finite, zero = np.isfinite(low) & np.isfinite(high), (low == 0) & (high == 0)
    negative, usable = finite & (low < 0), finite & ~zero & table["median"].notna()
    texts = [
        f"{mask.sum():,} {name} (first: sample {mask.argmax()})"
        for name, mask in (("not finite", ~finite), ("all zero", zero))
        if mask.any()
    ]
    rows = [("unusable", ", ".join(texts) or "none")]
    if negative.any():
        text = f"{negative.sum():,} samples with values below 0 (first: sample {negative.argmax()})"
        rows.append(("negative", f"{text}: set data.amplitude = linear"))
    if not usable.any():
        return rows
    # A ratio of decibels has no meaning, nor has a difference of powers.
    other = ("max-min", high - low) if negative.any() else ("peak/median", high / table["median"])
    rows.append(("", "".join(f"{head:>10}" for head in QUANTILES)))
    for name, values in (("peak", high), other):
        quantiles = np.quantile(values[usable], [*QUANTILES.values()], method="inverted_cdf")
        rows.append((name, "".join(f"{value:>10.3g}" for value in quantiles)))
    return [*rows, ("", f"of {usable.sum():,} usable samples spread over the file")]


def _bytes(n: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n >= factor:
            return f"{n / factor:.3g} {unit}"
    return f"{n} bytes"


def picture(file: SpectrogramFile) -> Figure:
    """Some samples with their times and trace ids.

    A row for each of the largest known classes; otherwise three rows spread over the file.
    """
    classes = list(_classes(file).values())
    largest = sorted(range(len(classes)), key=lambda at: -len(classes[at][1]))[:MAX_ROWS]
    rows = [classes[at] for at in sorted(largest)]
    kinds, rows = "some of each class", [(name, _spread(index, N_COLUMNS)) for name, index in rows]
    if len(rows) < 2:
        chosen = _spread(np.arange(file.n_samples), N_PICTURED)
        kinds, starts = "spread over the file", range(0, len(chosen), N_COLUMNS)
        rows = [("", chosen[start : start + N_COLUMNS]) for start in starts]
    drawn = [
        (name, [(file.read(at, at + 1)[0], _title(file, at)) for at in index])
        for name, index in rows
    ]
    n = sum(len(index) for _, index in rows)
    title = f"{plain(file.path.name, 60)}: {n} of {file.n_samples:,} samples, {kinds}"
    return sample_overview(file, drawn, title)


def _spread(index: np.ndarray, n: int) -> list[int]:
    return index[np.unique(np.linspace(0, len(index) - 1, n).astype(int))].tolist()


def _title(file: SpectrogramFile, index: int) -> str:
    times, traces = (file.column(name, index, index + 1) for name in ("starttime", "trace_id"))
    first = f"sample {index:,}" + (f"  {plain(traces[0])}" if traces else "")
    if not (times and times[0]):
        return first
    time = times[0].removesuffix("Z")
    return f"{first}\n{time.rstrip('0').rstrip('.') if '.' in time else time}Z"
