"""``info``: content of files of spectrograms, as text and as a figure of some samples."""

import argparse
import math

import numpy as np
import pandas
from matplotlib.figure import Figure

from ..data.layouts import SpectrogramFile, size_text
from ..data.sets import open_data
from ..data.times import to_text
from ..errors import SettingsError
from ..plots.samples import sample_overview
from ..plots.style import plain
from ..runtime import Progress, start_log
from ..settings import load_found_settings
from .arguments import save_figure, split_words

BLOCK = 8192  # samples whose times and names are read at a time
N_LISTED = 12  # trace ids and classes
QUANTILES = {"minimum": 0, "5 %": 0.05, "median": 0.5, "95 %": 0.95, "maximum": 1}  # of peaks
N_ROWS, N_COLUMNS = 12, 4  # samples of a figure, at most


def run_info(arguments: argparse.Namespace) -> None:
    """Print and draw, file after file."""
    paths, words = split_words(arguments.words)
    if arguments.picture and len(paths) > 1:
        raise SettingsError("command line: --picture is of one file; give one file, or a pattern")
    start_log()
    settings = load_found_settings(arguments.config, words)
    for path in paths or [settings.data.file]:
        with open_data(settings, path) as file:
            print("\n".join(describe(file, *survey(file), settings.data.train_samples)))
            if arguments.picture:
                save_figure(picture(file), arguments.picture)


def survey(file: SpectrogramFile) -> tuple[pandas.DataFrame, list[str]]:
    """Read every sample once: low, high and time of each; different trace ids."""
    n, times, traces = file.n_samples, [], {}
    values = np.full((n, 2), np.nan)
    with Progress("Reading", n) as progress, np.errstate(invalid="ignore"):
        for start in range(0, n, BLOCK):
            stop = min(start + BLOCK, n)
            texts = file.column("starttime", start, stop) or [""] * (stop - start)
            times.append(np.array([text.rstrip("Z") for text in texts], "M8[ns]"))
            traces |= dict.fromkeys(file.column("trace_id", start, stop) or [])
            for index, x in file.read_blocks(np.arange(start, stop)):
                x = x.reshape(len(x), -1)
                values[index] = np.stack([x.min(axis=1), x.max(axis=1)], axis=1)
                progress.add(len(index))
    table = pandas.DataFrame(values, columns=["low", "high"])
    return table.assign(time=np.concatenate(times)), list(traces)


# ---- text ---------------------------------------------------------------------------------------


def describe(
    file: SpectrogramFile, table: pandas.DataFrame, traces: list[str], train_samples: int
) -> list[str]:
    """Lines of text about a file, from its `survey`; `train_samples` as ``data.train_samples``."""
    known = table["time"].dropna()
    n_train = min(train_samples or file.n_samples, file.n_samples)
    size = 4 * n_train * math.prod(file.shape)
    classes = [f"{name} ({len(index):,})" for name, index in _classes(file)]
    rows = {
        "file": f"{file.path}, layout {file.layout}, data set {file.dataset}",
        "samples": f"{file.n_samples:,} of {size_text(file.shape)} (frequency x time), "
        f"{file.dtype}",
        "components": ", ".join(file.components) or "one",
        "frequency": _axis(file.frequency, file.frequency_unit),
        "time": _axis(file.time, file.time_unit),
        "amplitude": file.amplitude_unit or "unit not given",
        "start times": f"{known.min()} to {known.max()} UTC, of {len(known):,} samples"
        if len(known)
        else "none known",
        "traces": _listed(traces),
        "classes": _listed(classes),
        **_values(table),
        "training": f"{size / 1e6:,.3g} MB of memory for {n_train:,} samples "
        "(data.train_samples); streamed from disk if more",
    }
    for key, value in sorted(file.attributes.items()):
        rows[f"  {key}"] = f" {' '.join(to_text(value).split())[:100]}"
    return [f"{name:<14}{text}" for name, text in rows.items()]


def _axis(axis: np.ndarray, unit: str) -> str:
    step = (axis[-1] - axis[0]) / (len(axis) - 1)
    return f"{axis[0]:.6g} to {axis[-1]:.6g} {unit}, mean step {step:.4g} {unit}"


def _listed(names: list[str]) -> str:
    more = f", ... ({names[-1]})" if len(names) > N_LISTED else ""
    return f"{len(names):,}: {', '.join(names[:N_LISTED])}{more}" if names else "none known"


def _classes(file: SpectrogramFile) -> list[tuple[str, np.ndarray]]:
    """Name and samples of each known class."""
    labels, names = file.labels(), dict(enumerate(file.class_names()))
    numbers = [] if labels is None else np.unique(labels).tolist()
    return [(names.get(n, str(n)), np.flatnonzero(labels == n)) for n in numbers]


def _values(table: pandas.DataFrame) -> dict[str, str]:
    """Unusable and negative samples, and quantiles of the usable ones."""
    low, high = table["low"], table["high"]
    finite, zero = np.isfinite(low) & np.isfinite(high), (low == 0) & (high == 0)
    masks = {"not finite": ~finite, "all zero": zero, "with negative values": finite & (low < 0)}
    texts = [
        f"{mask.sum():,} {name} (first: sample {mask.argmax()})"
        for name, mask in masks.items()
        if mask.any()
    ]
    rows = {"unusable": ", ".join(texts) or "none"}
    if (usable := finite & ~zero).any():
        found = np.quantile(high[usable], [*QUANTILES.values()], method="inverted_cdf")
        rows["peak"] = ", ".join(f"{x} {y:.3g}" for x, y in zip(QUANTILES, found, strict=True))
    return rows


def picture(file: SpectrogramFile) -> Figure:
    """Some samples with their times and trace ids: of each known class, or over the file."""
    classes = sorted(_classes(file), key=lambda one: -len(one[1]))[:N_ROWS]
    if len(classes) < 2:
        parts = np.array_split(np.arange(file.n_samples), 3)
        classes = [("", part) for part in parts if len(part)]
    rows = []
    for name, index in classes:
        chosen = index[np.unique(np.linspace(0, len(index) - 1, N_COLUMNS).astype(int))].tolist()
        rows.append((name, [(file.read(at, at + 1)[0], _title(file, at)) for at in chosen]))
    n = sum(len(row) for _, row in rows)
    return sample_overview(
        file, rows, f"{plain(file.path.name, 60)}: {n} of {file.n_samples:,} samples"
    )


def _title(file: SpectrogramFile, index: int) -> str:
    times, traces = (file.column(name, index, index + 1) for name in ("starttime", "trace_id"))
    first = f"sample {index:,}" + (f"  {plain(traces[0])}" if traces else "")
    return f"{first}\n{times[0][:19]}Z" if times and times[0] else first
