"""``info``: content of files of spectrograms, as text and as a figure of some samples."""

import argparse

import numpy as np
from matplotlib.figure import Figure

from ..data.layouts import COLUMN_ROWS, SpectrogramFile, size_text
from ..data.sets import open_data
from ..data.times import to_text
from ..errors import SettingsError
from ..plots.samples import sample_overview
from ..plots.style import plain
from ..runtime import Progress, start_log
from ..settings import load_found_settings
from .arguments import save_figure, split_words

N_LISTED = 12  # trace ids and classes
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
            print("\n".join(f"{name:<14}{text}" for name, text in describe(file).items()))
            if arguments.picture:
                save_figure(picture(file), arguments.picture)


def describe(file: SpectrogramFile) -> dict[str, str]:
    """Texts about a file by name, and its attributes; every sample is read once."""
    n, n_times, limits, traces = file.n_samples, 0, [], {}
    low, high = np.full((2, n), np.nan)
    with Progress("Reading", n) as progress, np.errstate(invalid="ignore"):
        for start in range(0, n, COLUMN_ROWS):
            rows = start, min(start + COLUMN_ROWS, n)
            if times := [text for text in file.column("starttime", *rows) or () if text]:
                n_times, limits = n_times + len(times), [*limits, min(times), max(times)]
            traces |= dict.fromkeys(file.column("trace_id", *rows) or ())
            for index, x in file.read_blocks(np.arange(*rows)):
                x = x.reshape(len(x), -1)
                low[index], high[index] = x.min(axis=1), x.max(axis=1)
                progress.add(len(index))
    span = f"{min(limits)} to {max(limits)}, of {n_times:,} samples" if limits else "none known"
    is_finite = np.isfinite(low) & np.isfinite(high)
    faults = {
        "not finite": ~is_finite,
        "all zero": (low == 0) & (high == 0),
        "with negative values": is_finite & (low < 0),
    }
    unusable = [
        f"{mask.sum():,} {name} (first: sample {mask.argmax()})"
        for name, mask in faults.items()
        if mask.any()
    ]
    classes = [f"{name} ({len(index):,})" for name, index in _classes(file)]
    rows = {
        "file": f"{file.path}, layout {file.layout}, data set {file.dataset}",
        "samples": f"{n:,} of {size_text(file.shape)} (frequency x time), {file.dtype}",
        "components": ", ".join(file.components) or "one",
        "frequency": _axis(file.frequency, file.frequency_unit),
        "time": _axis(file.time, file.time_unit),
        "amplitude": file.amplitude_unit or "unit not given",
        "start times": span,
        "traces": _listed(list(traces)),
        "classes": _listed(classes),
        "unusable": ", ".join(unusable) or "none",
    }
    notes = file.attributes.items()
    return rows | {f"  {key}": f" {' '.join(to_text(x).split())[:100]}" for key, x in sorted(notes)}


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


def picture(file: SpectrogramFile) -> Figure:
    """Some samples with their times and trace ids: of each known class, or over the file."""
    classes = sorted(_classes(file), key=lambda one: -len(one[1]))[:N_ROWS]
    if len(classes) < 2:
        classes = [("", part) for part in np.array_split(np.arange(file.n_samples), 3) if len(part)]
    rows, n = [], 0
    for name, index in classes:
        row = []
        for at in index[np.unique(np.linspace(0, len(index) - 1, N_COLUMNS).astype(int))].tolist():
            times, traces = (file.column(key, at, at + 1) for key in ("starttime", "trace_id"))
            title = f"sample {at:,}" + (f"  {plain(traces[0])}" if traces else "")
            title += f"\n{times[0][:19]}Z" if times and times[0] else ""
            row.append((file.read(at, at + 1)[0], title))
        rows.append((name, row))
        n += len(row)
    title = f"{plain(file.path.name, 60)}: {n} of {file.n_samples:,} samples"
    return sample_overview(file, rows, title)
