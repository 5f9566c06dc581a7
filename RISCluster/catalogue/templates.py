"""Clusters as filters: stacked waveforms at each trace id, and mean spectra.

Letters: N samples of the file, n of a stack, C components, S values of a waveform, F frequencies.
"""

from pathlib import Path

import numpy as np
import pandas
from scipy.fft import irfft, rfft

from ..data.layouts import side_by_side
from ..errors import DataError
from ..io import new_file
from ..runtime import Progress
from ..waveforms.read import import_obspy
from .export import Export, codes_of

MAX_STACKED = 1000  # samples of a stack, those of the highest probabilities
MAX_LAG = 0.1  # of a window, in correlation
ROUNDS = 5  # of correlation with the stack
REFERENCE = "2000-01-01"  # of the first onset of an event, from which moveouts count
LENGTHS = (2, 5, 2, 3)  # of the codes in miniSEED
KEYS = ("network", "station", "location", "channel")


def write_templates(export: Export, folder: Path, align: str = "correlation") -> int:
    """Write ``cluster_<label>.mseed``, ``templates.csv`` and ``spectra.csv``; how many stacks.

    A stack is the mean of waveforms of one trace id, each divided by its norm, aligned by onsets
    and, with ``correlation``, by `stack_of`. DataError for data without waveforms.
    """
    file, labels, obspy = export.file, export.catalogue.labels, import_obspy()
    first = file.traces([0]) if file is not None else None
    if first is None:
        raise DataError(
            "templates: stacks need waveforms, and these data have none that can be read; build "
            "them with build.traces=yes; allowed: csv, hdf5, quakeml, picks"
        )
    found = export.catalogue.table[["probability"]].assign(label=labels, trace_id="")
    if "trace_id" in export.catalogue.table:
        found["trace_id"] = export.catalogue.table["trace_id"].astype(str)
    found["onset"], found["moveout"] = _onsets(export)
    found = found[export.chosen & (labels >= 0)]
    codes, rows, rate = codes_of(sorted({*found["trace_id"]}), LENGTHS), [], first[1]
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("cluster_*.mseed"):
        old.unlink()
    with Progress("Stacking", len(found)) as progress:
        for label, cluster in found.groupby("label"):
            stream, name = obspy.Stream(), f"cluster_{label}.mseed"
            for trace_id, members in cluster.groupby("trace_id"):
                used = members.nlargest(MAX_STACKED, "probability").sort_index()
                x = np.nan_to_num(file.traces(used.index)[0])
                stack, at, correlation = stack_of(x, rate * used["onset"].to_numpy(), align)
                low, moveout, high = members["moveout"].quantile([0.25, 0.5, 0.75])
                start = float(np.nan_to_num(moveout) - np.nan_to_num(at) / rate)
                header = dict(zip(KEYS, codes[trace_id], strict=False)) | {"sampling_rate": rate}
                header["starttime"] = obspy.UTCDateTime(REFERENCE) + start
                for component, values in zip(file.components, stack, strict=True):
                    own = (
                        {"channel": header.get("channel", "")[:2] + component} if component else {}
                    )
                    stream.append(obspy.Trace(values.astype(np.float32), header | own))
                rows.append({
                    "file": name, "label": label, "name": export.names.get(label, ""),
                    "trace_id": trace_id, "seed_id": stream[-1].id, "samples": len(used),
                    "alignment": align, "correlation": correlation, "onset": at / rate,
                    "moveout": moveout, "moveout_range": high - low,
                })  # fmt: skip
                progress.add(len(members))
            with new_file(folder / name) as partial:
                stream.write(str(partial), format="MSEED")
    for name, table in (("templates", pandas.DataFrame(rows)), ("spectra", _spectra(export))):
        with new_file(folder / f"{name}.csv") as partial:
            table.to_csv(partial, index=False, float_format="%.6g", lineterminator="\n")
    return len(rows)


def _onsets(export: Export) -> tuple[np.ndarray, np.ndarray]:
    """Seconds from the start of the window to the onset, and to it from the event's first onset.

    (N,) each, NaN where unknown, and of no event.
    """
    table, event = export.catalogue.table, export.catalogue.event
    if not {"onset", "starttime"} <= set(table):
        return (np.full(len(table), np.nan),) * 2
    onset = (table["onset"] - table["starttime"]).dt.total_seconds()
    first = table["onset"].groupby(np.where(event < 0, np.nan, event))
    moveout = (table["onset"] - first.transform("min")).dt.total_seconds()
    return onset.to_numpy(), moveout.to_numpy()


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


def _spectra(export: Export) -> pandas.DataFrame:
    """Mean over time and samples of each cluster, F rows."""
    labels, file = export.catalogue.labels, export.file
    total = np.zeros((export.catalogue.n_clusters, file.n_frequencies))
    for index, x in file.read_blocks(np.flatnonzero(export.chosen & (labels >= 0))):
        np.add.at(
            total, labels[index], side_by_side(x, len(file.components)).mean(2, dtype=np.float64)
        )
    used = np.bincount(labels[export.chosen & (labels >= 0)], minlength=len(total))
    mean = {f"cluster_{k}": total[k] / used[k] for k in np.flatnonzero(used)}
    return pandas.DataFrame({"frequency": file.frequency, **mean})
