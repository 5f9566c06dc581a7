"""Clusters as filters: stacked waveforms at each trace id, and mean spectra.

Letters: N samples of the file, n of a stack, C components, S values of a waveform, F frequencies.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas
from scipy.fft import irfft, rfft

from ..data.layouts import side_by_side
from ..errors import DataError
from ..io import new_file
from ..runtime import Progress
from ..waveforms.read import import_obspy
from .export import Export, seed_ids_of

MAX_STACKED = 1000  # samples of a stack, those of the highest probabilities
MAX_LAG = 0.1  # of a window, in correlation
ROUNDS = 5  # of correlation with the stack
REFERENCE = "2000-01-01"  # of the first onset of an event, from which moveouts count
LENGTHS = (2, 5, 2, 3)  # of the codes in miniSEED


def write_templates(export: Export, folder: Path, align: str = "correlation") -> int:
    """Write ``cluster_<label>.mseed``, ``templates.csv`` and ``spectra.csv``; how many stacks.

    A stack is the mean of waveforms of one trace id, each divided by its norm, aligned by onsets
    and, with ``correlation``, by `stack_of`. DataError for data without waveforms.
    """
    obspy = import_obspy()
    if export.file is None or export.file.traces([0]) is None:
        raise DataError(
            "templates: stacks need waveforms, and these data have none that can be read; build "
            "them with build.traces=yes; allowed: csv, hdf5, quakeml, picks"
        )
    found, rows, n_stacks = _samples(export), [], 0
    known = export.file.component_ids()
    ids = {x: known.get(x, [x]) for x in {*found["trace_id"]}}  # of the components, if known
    seed_ids = seed_ids_of(sorted({x for each in ids.values() for x in each}), LENGTHS)
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("cluster_*.mseed"):
        old.unlink()
    with Progress("Stacking", len(found)) as progress:
        for label, cluster in found.groupby("label"):
            stream, name = obspy.Stream(), f"cluster_{label}.mseed"
            common = {"file": name, "label": label, "name": export.names.get(label, "")}
            for trace_id, members in cluster.groupby("trace_id"):
                own = [seed_ids[x] for x in ids[trace_id]]
                traces, row = _stack(export, members, own, align)
                stream.extend(traces)
                common["trace_id"], n_stacks = trace_id, n_stacks + 1
                rows += [{**common, "seed_id": trace.id, **row} for trace in traces]
                progress.add(len(members))
            with new_file(folder / name) as partial:
                stream.write(str(partial), format="MSEED")
    labels, file = np.where(export.chosen, export.catalogue.labels, -1), export.file
    total = np.zeros((export.catalogue.n_clusters, file.n_frequencies))  # sums of mean spectra
    for index, x in file.read_blocks(np.flatnonzero(labels >= 0)):
        np.add.at(total, labels[index], side_by_side(x, len(file.components)).mean(2, np.float64))
    spectra = {"frequency": file.frequency}
    for k, n in found["label"].value_counts(sort=False).sort_index().items():
        spectra[f"cluster_{k}"] = total[k] / n
    for name, table in {"templates": rows, "spectra": spectra}.items():
        with new_file(folder / f"{name}.csv") as partial:
            table = pandas.DataFrame(table)
            table.to_csv(partial, index=False, float_format="%.6g", lineterminator="\n")
    return n_stacks


def _samples(export: Export) -> pandas.DataFrame:
    """Labelled samples: seconds from their start, and from their event's first onset, to onset."""
    table, event = export.catalogue.table, export.catalogue.event
    found = table[["probability"]].assign(label=export.catalogue.labels, trace_id="")
    found = found.assign(onset=np.nan, moveout=np.nan)
    if "trace_id" in table:
        found["trace_id"] = table["trace_id"].astype(str)
    if {"onset", "starttime"} <= {*table}:
        first = table["onset"].groupby(np.where(event < 0, np.nan, event)).transform("min")
        found["onset"] = (table["onset"] - table["starttime"]).dt.total_seconds()
        found["moveout"] = (table["onset"] - first).dt.total_seconds()
    return found[export.chosen & (found["label"] >= 0)]


def _stack(
    export: Export, members: pandas.DataFrame, seed_ids: list[str], align: str
) -> tuple[list[Any], dict[str, Any]]:
    """Stack of samples of one trace id as traces of obspy, and what the table says of it.

    `seed_ids` are those of all components, or that of the first.
    """
    obspy = import_obspy()
    used = members.nlargest(MAX_STACKED, "probability").sort_index()
    x, rate, _ = export.file.traces(used.index)
    onset = rate * used["onset"].to_numpy()
    stack, at, correlation = stack_of(np.nan_to_num(x), onset, align)
    low, moveout, high = members["moveout"].quantile([0.25, 0.5, 0.75])
    start = float(np.nan_to_num(moveout) - np.nan_to_num(at) / rate)
    header = {"sampling_rate": rate, "starttime": obspy.UTCDateTime(REFERENCE) + start}
    traces = [obspy.Trace(values.astype(np.float32), header) for values in stack]
    for k, component in enumerate(export.file.components):
        stats, is_known = traces[k].stats, len(seed_ids) == len(traces)
        traces[k].id = seed_ids[k if is_known else 0]
        if not is_known and len(component) == 1:
            stats.channel = stats.channel[:2] + component
        elif not is_known:  # of an array
            stats.station = component[: LENGTHS[1]]
    return traces, {
        "samples": len(used), "alignment": align,
        "correlation": correlation, "onset": at / rate, "moveout": moveout,
        "moveout_range": high - low,
    }  # fmt: skip


def stack_of(x: np.ndarray, onset: np.ndarray, align: str) -> tuple[np.ndarray, float, float]:
    """Stack (C, S) of waveforms (n, [C,] S), the place of its onset, the mean correlation with it.

    `onset` is the place in each, NaN (or beyond the window) where unknown. With ``correlation``
    each is then shifted by at most `MAX_LAG`, several times, to where it correlates best.
    """
    n, size = len(x), x.shape[-1]
    x = x.reshape(n, -1, size)
    known = (onset >= 0) & (onset < size)
    at = float(np.median(onset[known])) if known.any() else float("nan")
    shift, lag = np.zeros(n, int), np.zeros(n, int)
    shift[known] = np.rint(onset[known] - at)
    x = x - x.mean(-1, keepdims=True)
    x /= np.maximum(np.linalg.norm(x, axis=(1, 2), keepdims=True), 1e-300)
    most = int(MAX_LAG * size)
    margin = 2 * most + np.abs(shift).max(initial=0)
    padded = np.pad(x, ((0, 0), (0, 0), (margin, margin)))

    def aligned() -> np.ndarray:
        places = (margin + shift + lag)[:, None, None] + np.arange(size)
        return np.take_along_axis(padded, places, 2)

    for _ in range(ROUNDS if align == "correlation" else 0):
        length = 2 * padded.shape[2]
        spectra = rfft(padded, length) * rfft(aligned().mean(0), length).conj()
        products = irfft(spectra.sum(1))  # the stack begins at 0: lags are places in a row
        places = (margin + shift - most)[:, None] + np.arange(2 * most + 1)
        lag = np.take_along_axis(products, places, 1).argmax(1) - most
        lag -= round(float(np.median(lag)))
    rows = aligned().reshape(n, -1)
    stack = rows.mean(0)
    norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(stack)
    correlation = float((rows @ stack / np.maximum(norms, 1e-300)).mean())
    return stack.reshape(-1, size), at, correlation
