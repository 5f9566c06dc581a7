"""The catalogue as CSV and HDF5, some samples at a time.

Letters: N samples, n samples of a block.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .. import __version__
from ..data.spectrograms import DETECTION, SpectrogramFile
from ..errors import RunError, SettingsError
from ..io import new_file, require_room
from ..runs.names import read_names
from ..runs.run import FinishedRun, FinishedStage
from .catalogue import Catalogue, catalogue_of, month_of, season_names, season_of

BLOCK = 65536
CHUNK = 16384
FIELDS = (
    "index", "label", "name", "probability", "starttime", "trace_id", "station", "season",
    *DETECTION, "unit",
)  # fmt: skip
MEANING = {
    "index": "number of the sample in the data file, from 0",
    "label": "cluster; -1 for unusable samples",
    "name": "of the cluster, where it was given one",
    "probability": "of the label",
    "starttime": "UTC, ISO 8601; empty where unknown",
    "trace_id": "NET.STA.LOC.CHA",
    "station": "NET.STA",
    "season": "by report.seasons; empty for none",
    "onset": "of the detection, UTC, ISO 8601; empty where there was none",
    "end": "of the detection, as onset",
    "peak_time": "of the largest amplitude, as onset",
    "peak_amplitude": "largest amplitude, in the unit of the waveforms",
    "unit": "of the waveforms",
}


@dataclass(frozen=True)
class Choice:
    """Which samples are exported.

    Attributes
    ----------
    clusters : tuple of int or None
        None for all, samples without a label among them.
    min_probability : float
        Those with less are left out.
    """

    clusters: tuple[int, ...] | None = None
    min_probability: float = 0.0


@dataclass(frozen=True)
class Export:
    """A catalogue with names, and which of it is taken.

    Attributes
    ----------
    run_name, stage_name : str
    catalogue : Catalogue
    names : dict of int to str
        Of clusters that were given one.
    seasons : list of str
    season_of_month : ndarray, (13,)
        -1 for none; month 0 is that of no time.
    choice : Choice
    file : SpectrogramFile or None
        The data, where they are there; detections are read from them.
    """

    run_name: str
    stage_name: str
    catalogue: Catalogue
    names: dict[int, str]
    seasons: list[str]
    season_of_month: np.ndarray
    choice: Choice
    file: SpectrogramFile | None = None

    def blocks(self) -> Iterator[np.ndarray]:
        """Indices of the samples that are taken, (n,), ascending, those of `BLOCK` at a time."""
        table = self.catalogue.table
        wanted = self.choice.clusters
        for start in range(0, len(table.labels), BLOCK):
            part = slice(start, start + BLOCK)
            # Compared as float32, in which probabilities are kept, so that 0.9 is not below 0.9.
            taken = table.probability[part] >= np.float32(self.choice.min_probability)
            if wanted is not None:
                taken &= np.isin(table.labels[part], wanted)
            yield start + np.flatnonzero(taken)

    def columns(self, index: np.ndarray) -> dict[str, list]:
        """Values of `FIELDS` for samples, each a list of (n,)."""
        table, n = self.catalogue.table, len(index)
        columns: dict[str, list] = {"index": index.tolist(), "label": table.labels[index].tolist()}
        columns["name"] = [self.names.get(label, "") for label in columns["label"]]
        columns["probability"] = table.probability[index].tolist()
        columns |= {name: [""] * n for name in ("starttime", "trace_id", "station", "season")}
        if table.starttime is not None:
            times = table.starttime[index]
            columns["starttime"] = _stamps(times)
            season = self.season_of_month[month_of(times)].tolist()
            columns["season"] = [self.seasons[one] if one >= 0 else "" for one in season]
        if self.catalogue.has_stations:
            trace = table.trace[index]
            columns["trace_id"] = [table.trace_ids[one] for one in trace.tolist()]
            station = self.catalogue.station_of_trace[trace].tolist()
            columns["station"] = [self.catalogue.stations[one] for one in station]
        return columns | self._detections(index)

    def _detections(self, index: np.ndarray) -> dict[str, list[str]]:
        """What the data have of detections; without them the onsets of the table."""
        n = len(index)
        found = {name: [""] * n for name in DETECTION}
        if self.catalogue.table.onset is not None:
            found["onset"] = _stamps(self.catalogue.table.onset[index])
        if self.file is None or not n:
            return found | {"unit": [""] * n}
        first = int(index[0])
        for name in DETECTION:
            values = self.file.detection(name, first, int(index[-1]) + 1)
            if values is not None:
                found[name] = [values[one - first] for one in index.tolist()]
        return found | {"unit": [self.file.waveform_unit] * n}

    def count(self) -> int:
        """Samples that are taken."""
        return sum(map(len, self.blocks()))


def _stamps(times: np.ndarray) -> list[str]:
    """datetime64[us] as text in UTC; NaT is empty."""
    stamps = np.datetime_as_string(times, unit="us").tolist()
    return ["" if text == "NaT" else f"{text}Z" for text in stamps]


def export_of(run: FinishedRun, stage: str | None = None, choice: Choice | None = None) -> Export:
    """What is exported of a run.

    Parameters
    ----------
    run : FinishedRun
    stage : {"GMM", "DEC"}, optional
        Whose labels; by default those that count.
    choice : Choice, optional

    Raises
    ------
    RunError
        That stage is not there.
    SettingsError
        The run has no such cluster.
    CheckpointError
        Its table is damaged.
    """
    choice = choice or Choice()
    chosen = _stage(run, stage)
    beyond = [label for label in choice.clusters or () if not 0 <= label < chosen.n_clusters]
    if beyond:
        raise SettingsError(
            f"command line: --clusters {','.join(map(str, beyond))}: {chosen.path} has clusters 0 "
            f"to {chosen.n_clusters - 1}; give some of them"
        )
    seasons = run.settings.report.seasons
    months = np.array([season_of(month, seasons) for month in range(13)])
    return Export(
        run.folder.resolve().name,
        chosen.name,
        catalogue_of(chosen),
        read_names(run) if chosen is run.final else {},
        season_names(seasons),
        months,
        choice,
        run.file,
    )


def _stage(run: FinishedRun, name: str | None) -> FinishedStage:
    chosen = run.final if name is None else run.stages.get(name)
    if chosen is None:
        there = ", ".join(run.stages)
        said = f" ({' '.join(run.notes)})" if run.notes else ""
        raise RunError(
            f"{run.folder}: no complete {name or 'GMM or DEC'} stage; complete are: {there}{said}; "
            "run the others, or give one with --stage"
        )
    return chosen


# ---- CSV ----------------------------------------------------------------------------------------


def write_csv(export: Export, path: Path) -> int:
    """Write a row a sample, `FIELDS`; the number of rows.

    Raises
    ------
    RunError
        It can't be written.
    """
    written = 0
    with new_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(FIELDS)
        for index in export.blocks():
            columns = export.columns(index)
            columns["probability"] = [f"{value:.6f}" for value in columns["probability"]]
            writer.writerows(zip(*(columns[name] for name in FIELDS), strict=True))
            written += len(index)
    return written


# ---- HDF5 ---------------------------------------------------------------------------------------


def write_hdf5(export: Export, path: Path) -> int:
    """Write a data set for each of `FIELDS`, compressed in chunks; the number of samples.

    Texts are UTF-8 of fixed length.

    Raises
    ------
    RunError
        It can't be written.
    """
    n, table = export.count(), export.catalogue.table
    longest = {
        "name": export.names.values(),
        "starttime": ("2016-01-01T00:00:00.000000Z",),
        "trace_id": table.trace_ids,
        "station": export.catalogue.stations,
        "season": export.seasons,
        **dict.fromkeys(("onset", "end", "peak_time"), ("2016-01-01T00:00:00.000000Z",)),
        "unit": [export.file.waveform_unit if export.file else ""],
    }
    kinds: dict[str, Any] = dict.fromkeys(("probability", "peak_amplitude"), "f4") | {
        "index": "i8",
        "label": "i2",
    }
    kinds |= {
        name: h5py.string_dtype("utf-8", max([1, *(len(text.encode()) for text in texts)]))
        for name, texts in longest.items()
    }
    require_room(path, n * sum(np.dtype(kind).itemsize for kind in kinds.values()))
    with new_file(path) as partial, h5py.File(partial, "w") as file:
        file.attrs["run"], file.attrs["stage"] = export.run_name, export.stage_name
        file.attrs["n_clusters"] = export.catalogue.n_clusters
        file.attrs["written_by"] = f"RISCluster {__version__}"
        for name in FIELDS:
            made = file.create_dataset(
                name, (n,), kinds[name], compression="gzip", shuffle=True,
                chunks=(max(1, min(CHUNK, n)),) if n else None,
            ) if n else file.create_dataset(name, (0,), kinds[name])  # fmt: skip
            made.attrs["what"] = MEANING[name]
        start = 0
        for index in export.blocks():
            if not len(index):
                continue
            for name, values in export.columns(index).items():
                file[name][start : start + len(index)] = _fixed(values, kinds[name])
            start += len(index)
    return n


def _fixed(values: list, kind: Any) -> np.ndarray:
    if kind == "f4":
        values = [np.nan if value == "" else float(value) for value in values]
    if isinstance(values[0], str):
        return np.array([text.encode() for text in values], dtype=kind)
    return np.array(values, dtype=kind)
