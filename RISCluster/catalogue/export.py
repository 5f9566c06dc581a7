"""The catalogue as CSV and HDF5, some samples at a time.

Letters: N samples.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pandas

from .. import __version__
from ..data.spectrograms import DETECTION, SpectrogramFile
from ..errors import RunError, SettingsError
from ..io import new_file, require_room
from ..runs.names import read_names
from ..runs.run import FinishedRun, FinishedStage
from ..settings import Months
from .catalogue import Catalogue, catalogue_of, season_names, seasons_of

BLOCK = 65536
CHUNK = 16384
NUMBERS = {"index": "i8", "label": "i2", "probability": "f4", "peak_amplitude": "f4"}  # in HDF5
TIME_FORM = "2016-01-01T00:00:00.000000Z"
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
FIELDS = tuple(MEANING)


@dataclass(frozen=True)
class Choice:
    """Samples to export: of some clusters (None: all, and unlabelled ones), of some probability."""

    clusters: tuple[int, ...] | None = None
    min_probability: float = 0.0


@dataclass(frozen=True)
class Export:
    """A catalogue with names, and the samples to export.

    Attributes
    ----------
    run_name, stage_name : str
    catalogue : Catalogue
    names : dict of int to str
        Of clusters that were given one.
    seasons : sequence of Months
    choice : Choice
    file : SpectrogramFile or None
        The data, where they are there; detections are read from them.
    """

    run_name: str
    stage_name: str
    catalogue: Catalogue
    names: dict[int, str]
    seasons: Sequence[Months]
    choice: Choice
    file: SpectrogramFile | None = None

    @property
    def chosen(self) -> np.ndarray:
        """Whether each sample is exported, (N,), bool."""
        table = self.catalogue.table
        # Compared as float32, as probabilities are stored, so that 0.9 is not below 0.9.
        chosen = table.probability >= np.float32(self.choice.min_probability)
        if self.choice.clusters is not None:
            chosen &= np.isin(table.labels, self.choice.clusters)
        return chosen

    def frames(self, block: int = BLOCK) -> Iterator[pandas.DataFrame]:
        """Exported samples of each `block` samples, if any, with a column for each of `FIELDS`."""
        chosen = self.chosen
        for start in range(0, len(chosen), block):
            index = start + np.flatnonzero(chosen[start : start + block])
            if len(index):
                yield self._frame(index)

    def _frame(self, index: np.ndarray) -> pandas.DataFrame:
        table, columns = self.catalogue.table, dict.fromkeys(FIELDS, "")
        columns |= {"index": index, "label": table.labels[index]}
        columns["name"] = [self.names.get(label, "") for label in columns["label"].tolist()]
        columns["probability"] = table.probability[index]
        if table.starttime is not None:
            columns["starttime"] = _stamps(table.starttime[index])
            seasons = [*season_names(self.seasons), ""]  # -1 is the last
            number = seasons_of(table.starttime[index], self.seasons)
            columns["season"] = [seasons[one] for one in number.tolist()]
        if self.catalogue.has_stations:
            trace = table.trace[index].tolist()
            columns["trace_id"] = [table.trace_ids[one] for one in trace]
            columns["station"] = [
                self.catalogue.stations[self.catalogue.station_of_trace[one]] for one in trace
            ]
        if table.onset is not None:
            columns["onset"] = _stamps(table.onset[index])
        if self.file is not None:
            columns["unit"] = self.file.waveform_unit
            first = int(index[0])
            for name in DETECTION:
                values = self.file.detection(name, first, int(index[-1]) + 1)
                if values is not None:
                    columns[name] = [values[one - first] for one in index.tolist()]
        return pandas.DataFrame(columns)


def _stamps(times: np.ndarray) -> list[str]:
    """datetime64[us] as text in UTC; NaT is empty."""
    stamps = np.datetime_as_string(times, unit="us").tolist()
    return ["" if text == "NaT" else f"{text}Z" for text in stamps]


def export_of(run: FinishedRun, stage: str | None = None, choice: Choice | None = None) -> Export:
    """Export of the labels of a stage, GMM or DEC; by default of the last one.

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
    return Export(
        run.folder.resolve().name,
        chosen.name,
        catalogue_of(chosen),
        read_names(run) if chosen is run.final else {},
        run.settings.report.seasons,
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


def write_csv(export: Export, path: Path) -> int:
    """Write a row for each sample; the number of rows. Raises RunError if it can't be written."""
    written = 0
    with new_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        pandas.DataFrame(columns=FIELDS).to_csv(file, index=False, lineterminator="\n")
        for frame in export.frames():
            frame["probability"] = [f"{value:.6f}" for value in frame["probability"]]
            frame.to_csv(file, index=False, header=False, lineterminator="\n")
            written += len(frame)
    return written


def write_hdf5(export: Export, path: Path) -> int:
    """Write a compressed data set for each of `FIELDS`; the number of samples.

    Texts are UTF-8 of fixed length. Raises RunError if it can't be written.
    """
    n, table = int(export.chosen.sum()), export.catalogue.table
    texts = {name: [TIME_FORM] for name in FIELDS if name not in NUMBERS}
    texts |= {
        "name": list(export.names.values()),
        "trace_id": table.trace_ids,
        "station": export.catalogue.stations,
        "season": season_names(export.seasons),
        "unit": [export.file.waveform_unit if export.file else ""],
    }
    kinds = NUMBERS | {
        name: h5py.string_dtype("utf-8", max([1, *(len(text.encode()) for text in found)]))
        for name, found in texts.items()
    }
    require_room(path, n * sum(np.dtype(kind).itemsize for kind in kinds.values()))
    storage = {"compression": "gzip", "shuffle": True, "chunks": (min(CHUNK, n),)} if n else {}
    with new_file(path) as partial, h5py.File(partial, "w") as file:
        file.attrs["run"], file.attrs["stage"] = export.run_name, export.stage_name
        file.attrs["n_clusters"] = export.catalogue.n_clusters
        file.attrs["written_by"] = f"RISCluster {__version__}"
        for name in FIELDS:
            file.create_dataset(name, (n,), kinds[name], **storage).attrs["what"] = MEANING[name]
        start = 0
        for frame in export.frames():
            for name in FIELDS:
                values = frame[name]
                if name in NUMBERS:
                    values = pandas.to_numeric(values).to_numpy(dtype=kinds[name])
                else:
                    values = np.array([text.encode() for text in values], dtype=kinds[name])
                file[name][start : start + len(frame)] = values
            start += len(frame)
    return n
