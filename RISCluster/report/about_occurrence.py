"""Where and when each cluster occurs, and what its samples are like, as a section of the report.

Letters: K clusters.
"""

import numpy as np

from ..catalogue.catalogue import catalogue_of, largest
from ..catalogue.peaks import EXACT, Peaks, measure_peaks
from ..errors import RISClusterError
from ..runs.names import read_names
from ..runs.run import FinishedRun
from .blocks import Block, Note, Section, Table
from .shown import Shown
from .when_blocks import when_blocks
from .where_blocks import where_blocks

CLUSTER_PANELS = 12


def section(run: FinishedRun) -> Section | None:
    """Counts, series, profiles, map and statistics of the last stage that labels samples.

    Returns
    -------
    Section or None
        None where no stage labels samples.
    """
    stage = run.final
    if stage is None:
        return None
    found = Section("Where and when", "where-and-when")
    try:
        catalogue = catalogue_of(stage)
    except RISClusterError as error:
        found.blocks.append(Note(f"{error}."))
        return found
    if not (catalogue.has_times or catalogue.has_stations):
        found.blocks.append(
            Note(
                "The data have neither start times nor trace ids, so nothing can be said on where "
                "and when clusters occur."
            )
        )
        return found
    drawn = largest(stage.sizes[:, None], CLUSTER_PANELS)
    shown = Shown(run, catalogue, read_names(run), drawn)
    found.blocks.extend([*where_blocks(shown), *when_blocks(shown), *peak_blocks(shown)])
    return found


def peak_blocks(shown: Shown) -> list[Block]:
    """Amplitude and frequency of each cluster: a table, or what is missing for it."""
    run, stage = shown.run, shown.run.final
    if run.file is None:
        return [Note("The data can't be read: amplitudes and frequencies are left out.")]
    labels, sizes = shown.catalogue.table.labels, stage.sizes
    try:
        peaks = measure_peaks(run.file, labels, sizes, run.settings.run.seed)
    except RISClusterError as error:
        return [Note(f"Amplitudes and frequencies are left out: {error}.")]
    unit = f" ({run.file.amplitude_unit})" if run.file.amplitude_unit else ", as stored"
    note = _note(peaks, run.settings.run.seed)
    frequency = f"Frequency of the largest value ({run.file.frequency_unit})"
    return [
        _table(shown, frequency, peaks, peaks.frequency, peaks.frequency_error, note),
        _table(shown, f"Largest value{unit}", peaks, peaks.amplitude, peaks.amplitude_error, note),
    ]


def _table(
    shown: Shown, title: str, peaks: Peaks, quartiles: np.ndarray, error: np.ndarray, note: str
) -> Table:
    """Quartiles (K, 3) of each cluster, and the error of the median where not all were read."""
    header = ["cluster", "samples", "median", "lower quartile", "upper quartile"]
    sizes = shown.run.final.sizes.tolist()
    rows = [
        [name, size, *map(_or_none, (middle, low, high))]
        for name, size, (low, middle, high) in zip(shown.titles, sizes, quartiles, strict=True)
    ]
    if not peaks.exact:
        header += ["read", "standard error of the median"]
        for row, read, one in zip(rows, peaks.read.tolist(), error, strict=True):
            row += [read, _or_none(one)]
    return Table(title, header, rows, clusters=range(len(rows)), note=note)


def _note(peaks: Peaks, seed: int) -> str:
    note = "Of the spectrograms as stored, each of which counts by its largest value."
    if peaks.exact:
        return note
    return (
        f"{note} From {peaks.read.sum():,} samples drawn at random in the clusters, {EXACT:,} at "
        f"most (seed {seed}); the error is that of the median as an estimate for all samples of "
        "the cluster."
    )


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
