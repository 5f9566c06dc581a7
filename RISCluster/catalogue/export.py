"""The catalogue as CSV, HDF5, a table of picks and QuakeML, some samples at a time."""

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas

from .. import __version__
from ..data.layouts import DETECTION, SpectrogramFile, as_texts
from ..data.measures import MEASURES
from ..data.times import nanoseconds_to_iso
from ..errors import DataError, RunError, SettingsError
from ..io import new_file, require_room
from ..runs.run import FinishedRun
from ..runtime import count, log
from ..settings import Months
from ..waveforms.read import import_obspy
from .catalogue import Catalogue, season_names

BLOCK = 65536
CHUNK = 16384
FIELDS = {  # kind of number in HDF5; '' for texts
    "index": "i8", "label": "i2", "name": "", "probability": "f4", "starttime": "", "trace_id": "",
    "station": "", "event_id": "i8", "season": "", "onset": "", "end": "", "peak_time": "",
    "peak_amplitude": "f4", "unit": "", **dict.fromkeys(MEASURES, "f4"), "mark": "",
}  # fmt: skip
PICK_FIELDS = ("station", "time", "start_time", "end_time", "probability", "phase", "label",
               "name", "event_id", "trace_id", "index")  # fmt: skip
AS_TEXT = {"index": False, "lineterminator": "\n", "float_format": "%.6f"}

MOST_SAMPLES = 100_000  # in QuakeML
FAR = 86_400  # s from its window, beyond which an onset is of another clock
LONGEST_CODES = (8,) * 4  # of a network, station, location and channel, by the schema
PHASE = re.compile("[PS][bgn]?")  # names of clusters that are used as a phase


@dataclass(frozen=True)
class Export:
    """A catalogue with the names of clusters, and the samples to export."""

    run_name: str
    stage_name: str
    catalogue: Catalogue
    names: dict[int, str]
    seasons: Sequence[Months]
    chosen: np.ndarray  # (N,), bool
    file: SpectrogramFile | None = None  # the data, from which detections are read
    marks: pandas.Series | None = None  # by index of the sample, see `FinishedStage.corrections`

    def frames(self, block: int = BLOCK) -> Iterator[pandas.DataFrame]:
        """Exported samples of each `block` samples, if any, with the columns `FIELDS`."""
        catalogue, file, seasons = self.catalogue, self.file, season_names(self.seasons)
        for start in range(0, len(self.chosen), block):
            index = start + np.flatnonzero(self.chosen[start : start + block])
            if not len(index):
                continue
            rows, columns = catalogue.table.iloc[index], dict.fromkeys(FIELDS, "")
            columns |= {"index": index, "label": rows["label"], "probability": rows["probability"]}
            columns["name"] = rows["label"].map(lambda label: self.names.get(label, ""))
            for name in {"starttime", "onset"} & {*rows}:
                times = rows[name].to_numpy().astype("M8[ns]").view("i8")
                columns[name] = nanoseconds_to_iso(times)
            event = pandas.Series(catalogue.event[index], rows.index, dtype="Int64")
            columns["event_id"] = event.mask(event < 0)
            if self.marks is not None:
                columns["mark"] = self.marks.reindex(index, fill_value="").to_numpy()
            if "starttime" in rows:
                columns["season"] = rows["starttime"].dt.month.map(seasons).fillna("")
            if catalogue.has_stations:
                columns["trace_id"] = rows["trace_id"].astype(str)
                columns["station"] = np.array(catalogue.stations)[catalogue.station[index]]
            if file is not None:
                columns["unit"], first = file.waveform_unit, int(index[0])
                for name in DETECTION:
                    values = file.column(name, first, int(index[-1]) + 1)
                    if values is not None:
                        columns[name] = np.array(as_texts(values), dtype=object)[index - first]
            yield pandas.DataFrame(columns)


def export_of(
    run: FinishedRun,
    stage: str | None = None,
    clusters: Sequence[int] | None = None,
    min_probability: float = 0.0,
) -> Export:
    """Export of the labels of a stage, GMM or DEC; by default of the last one.

    Only of some clusters, without them also of unlabelled samples, and from a probability on.
    RunError for a missing stage, SettingsError for an unknown cluster.
    """
    found = run.final if stage is None else run.stages.get(stage)
    if found is None:
        raise RunError(
            f"{run.folder}: no complete {stage or 'GMM or DEC'} stage; complete are: "
            f"{', '.join(run.stages)}; run the others, or give one with --stage"
        )
    beyond = [label for label in clusters or () if not 0 <= label < found.n_clusters]
    if beyond:
        raise SettingsError(
            f"command line: --clusters {','.join(map(str, beyond))}: {found.path} has clusters 0 "
            f"to {found.n_clusters - 1}; give some of them"
        )
    # Compared as float32, as probabilities are stored, so that 0.9 is not below 0.9.
    chosen = found.table["probability"].to_numpy() >= np.float32(min_probability)
    if clusters is not None:
        chosen = chosen & np.isin(found.labels, clusters)
    names = run.names if found is run.final else {}
    seasons, name = run.settings.report.seasons, run.folder.resolve().name
    marks = None if found.corrections is None else found.corrections["mark"]
    return Export(name, found.name, Catalogue(found), names, seasons, chosen, run.file, marks)


def write_csv(export: Export, path: Path) -> int:
    """Write a row for each sample; the number of rows."""
    with new_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        pandas.DataFrame(columns=[*FIELDS]).to_csv(file, **AS_TEXT)
        for frame in export.frames():
            frame.to_csv(file, header=False, **AS_TEXT)
    return int(export.chosen.sum())


def write_hdf5(export: Export, path: Path) -> int:
    """Write a compressed data set for each of `FIELDS`, texts in UTF-8 of fixed length."""
    n, lengths = int(export.chosen.sum()), {name: 1 for name in FIELDS if not FIELDS[name]}
    for frame in export.frames():
        for name in lengths:
            longest = frame[name].str.encode("utf-8").str.len().max()
            lengths[name] = max(lengths[name], int(longest))
    kinds = FIELDS | {name: h5py.string_dtype("utf-8", n) for name, n in lengths.items()}
    require_room(path, n * sum(np.dtype(kind).itemsize for kind in kinds.values()))
    storage = {"compression": "gzip", "shuffle": True, "chunks": (min(CHUNK, n),)} if n else {}
    with new_file(path) as partial, h5py.File(partial, "w") as file:
        file.attrs.update(run=export.run_name, stage=export.stage_name)
        n_clusters, program = export.catalogue.n_clusters, f"RISCluster {__version__}"
        file.attrs.update(n_clusters=n_clusters, written_by=program)
        for name, kind in kinds.items():
            file.create_dataset(name, (n,), kind, **storage)
        start = 0
        for frame in export.frames():
            frame["event_id"] = frame["event_id"].fillna(-1)
            for name, kind in kinds.items():
                x = frame[name]
                x = x.str.encode("utf-8") if name in lengths else pandas.to_numeric(x)
                file[name][start : start + len(frame)] = x.to_numpy().astype(kind)
            start += len(frame)
    return n


def write_picks(export: Export, path: Path) -> int:
    """Write a row for each onset of a labelled sample, by time; the number of rows.

    The columns are those of SeisBench's picks, and label, name, event_id, trace_id and index.
    """
    _require(export.catalogue, "picks", "onset", "trace_id")
    labelled = export.chosen & (export.catalogue.labels >= 0)
    export = replace(export, chosen=labelled & _has_onset(export.catalogue.table))
    picks = pandas.concat([*export.frames()] or [pandas.DataFrame(columns=[*FIELDS])])
    picks["station"] = picks["trace_id"].str.replace(r"^(.*\..*\..*)\..*$", r"\1", regex=True)
    picks["time"] = picks["start_time"] = picks["onset"]
    picks["end_time"] = picks["end"].where(picks["end"] > picks["onset"], picks["onset"])
    picks["phase"] = picks["name"].where(picks["name"].str.fullmatch(PHASE.pattern), "")
    picks = picks.sort_values("time", kind="stable")
    with new_file(path) as partial:
        picks.to_csv(partial, columns=PICK_FIELDS, **AS_TEXT)
    return len(picks)


def _require(catalogue: Catalogue, what: str, *columns: str) -> None:
    if lacking := [name for name in columns if name not in catalogue.table]:
        raise DataError(
            f"{what}: need {' and '.join(columns)} of each sample, and these data have no "
            f"{' and no '.join(lacking)}; allowed: csv, hdf5"
        )


def _has_onset(table: pandas.DataFrame) -> np.ndarray:
    """Whether samples (N,) have an onset, and it is not of another clock than the window."""
    if "onset" not in table:
        return np.zeros(len(table), dtype=bool)
    away = (table["onset"] - table.get("starttime", table["onset"])).dt.total_seconds()
    return (away.abs() < FAR).to_numpy()


def write_quakeml(export: Export, path: Path) -> int:
    """Write the events of the labelled samples with a start time; the number of events.

    Samples with a common event id are one event, others one each. An event has a comment for each
    sample and a pick at the onset of its detection, where known. Its type is ``other event`` where
    its most frequent cluster has a name, else ``not reported``.
    """
    catalogue = export.catalogue
    _require(catalogue, "quakeml", "starttime", "trace_id")
    labelled = export.chosen & (catalogue.labels >= 0)
    export = replace(export, chosen=labelled & catalogue.table["starttime"].notna().to_numpy())
    n = int(export.chosen.sum())
    if n > MOST_SAMPLES:
        raise SettingsError(
            f"quakeml: {n:,} samples are more than readers can hold, {MOST_SAMPLES:,}; choose with "
            "--clusters 1,3 or --min-probability 0.9, or take csv or hdf5"
        )
    if untimed := int(labelled.sum()) - n:
        log.warning(f"{count(untimed, 'sample')} without a start time left out")
    import_obspy()
    from obspy.core.event import Catalog, ResourceIdentifier

    run_name = re.sub("[^A-Za-z0-9_-]", "_", export.run_name)
    place = f"smi:local/RISCluster/{run_name}/{export.stage_name}"
    with warnings.catch_warnings(action="ignore"), new_file(path) as partial:  # of identifiers
        events = _events(export, place)
        whole = Catalog(events, resource_id=ResourceIdentifier(place))
        whole.write(str(partial), format="QUAKEML")
    return len(events)


def _events(export: Export, place: str) -> list[Any]:
    """Samples as obspy's events, in the order of their first sample."""
    from obspy import UTCDateTime
    from obspy.core.event import Comment, Event, EventDescription, Pick, WaveformStreamID

    origin = f"of run {export.run_name}, stage {export.stage_name}"
    table, most = export.catalogue.table, export.catalogue.events["label"]
    seed_ids = seed_ids_of(table["trace_id"].cat.categories, LONGEST_CODES)
    has_onset, events = _has_onset(table), {}
    for row in (row for frame in export.frames() for row in frame.to_dict("records")):
        index, name, trace_id = row["index"], row["name"], row["trace_id"]
        event_name, label, sample_name = f"{index}", row["label"], f"{place}/{index}"
        if pandas.notna(row["event_id"]):
            event_name, label = f"event/{row['event_id']}", most[row["event_id"]]
        if event_name not in events:
            called = export.names.get(label, "")
            kind = "other event" if called else "not reported"
            events[event_name] = Event(resource_id=f"{place}/{event_name}", event_type=kind)
            events[event_name].event_descriptions = [EventDescription(text=_title(label, called))]
        text = (
            f"{_title(row['label'], name)}, probability {row['probability']:.6f}, sample {index} "
            f"{origin}, window from {row['starttime']} of trace {_in_xml(trace_id)}"
        )
        events[event_name].comments.append(Comment(text=text, resource_id=f"{sample_name}/comment"))
        if has_onset[index]:
            pick = Pick(
                resource_id=f"{sample_name}/pick",
                time=UTCDateTime(row["onset"]),
                waveform_id=WaveformStreamID(seed_string=seed_ids[trace_id]),
                phase_hint=name if PHASE.fullmatch(name) else None,
                evaluation_mode="automatic",
            )
            events[event_name].picks.append(pick)
    return list(events.values())


def _title(label: int, name: str) -> str:
    return f"cluster {label}" + (f" ({_in_xml(name)})" if name else "")


def _in_xml(text: str) -> str:
    """Text without characters that XML does not allow."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def seed_ids_of(trace_ids: Sequence[str], longest: Sequence[int]) -> dict[str, str]:
    """``NET.STA.LOC.CHA`` of trace ids, of codes that are at most so long; all are different.

    Another kind of id is the station's code, ``channel 12`` as 12; the number of the trace replaces
    what is too long, or empty.
    """
    found: dict[str, str] = {}
    for number, trace_id in enumerate(trace_ids):
        seed_id = _in_xml(trace_id)
        if seed_id.count(".") != 3:
            seed_id = f".{seed_id.removeprefix('channel ')}.."
        lengths = [len(code) for code in seed_id.split(".")]
        fits = len(lengths) == 4 and any(lengths) and np.less_equal(lengths, longest).all()
        if not fits or seed_id in found:
            seed_id = f".T{number}.."
        found[seed_id] = trace_id
    return {trace_id: seed_id for seed_id, trace_id in found.items()}


FORMATS = {"csv": write_csv, "hdf5": write_hdf5, "quakeml": write_quakeml, "picks": write_picks}
