"""The catalogue as CSV, HDF5, a table of picks and QuakeML, some samples at a time."""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas

from .. import __version__
from ..data.layouts import DETECTION, SpectrogramFile, as_texts
from ..data.measures import MEASURES
from ..data.times import nanoseconds_to_iso, to_text
from ..errors import DataError, RunError, SettingsError
from ..io import new_file, require_room
from ..runs.run import FinishedRun
from ..runtime import Progress, count, log
from ..settings import Months
from ..waveforms.read import import_obspy
from .catalogue import Catalogue, catalogue_of, season_names

BLOCK = 65536
CHUNK = 16384
NUMBERS = {  # in HDF5
    "index": "i8", "label": "i2", "probability": "f4", "event_id": "i8", "peak_amplitude": "f4",
    **dict.fromkeys(MEASURES, "f4"),
}  # fmt: skip
FIELDS = ("index", "label", "name", "probability", "starttime", "trace_id", "station", "event_id",
          "season", "onset", "end", "peak_time", "peak_amplitude", "unit", *MEASURES,
          "mark")  # fmt: skip
PICK_FIELDS = ("station", "time", "start_time", "end_time", "probability", "phase", "label",
               "name", "event_id", "trace_id", "index")  # fmt: skip

MOST_SAMPLES = 100_000  # in QuakeML
FAR = 86_400  # s from its window, beyond which an onset is of another clock
LONGEST_CODES = (8,) * 4  # of a network, station, location and channel, by the schema
CODES = ("network_code", "station_code", "location_code", "channel_code")
AMPLITUDE_UNITS = {"m": "m", "m/s": "m/s", "m/s^2": "m/(s*s)"}
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
        """Exported samples of each `block` samples, if any, with a column for each of `FIELDS`."""
        for start in range(0, len(self.chosen), block):
            index = start + np.flatnonzero(self.chosen[start : start + block])
            if len(index):
                yield self._frame(index)

    def _frame(self, index: np.ndarray) -> pandas.DataFrame:
        rows, columns = self.catalogue.table.iloc[index], dict.fromkeys(FIELDS, "")
        columns |= {"index": index, "label": rows["label"], "probability": rows["probability"]}
        columns["name"] = rows["label"].map(lambda label: self.names.get(label, ""))
        for name in {"starttime", "onset"} & {*rows}:
            columns[name] = nanoseconds_to_iso(rows[name].to_numpy().astype("M8[ns]").view("i8"))
        event = pandas.Series(self.catalogue.event[index], rows.index, dtype="Int64")
        columns["event_id"] = event.mask(event < 0)
        if self.marks is not None:
            columns["mark"] = self.marks.reindex(index, fill_value="").to_numpy()
        if "starttime" in rows:
            month = rows["starttime"].dt.month
            columns["season"] = month.map(season_names(self.seasons)).fillna("")
        if self.catalogue.has_stations:
            columns["trace_id"] = rows["trace_id"].astype(str)
            columns["station"] = np.array(self.catalogue.stations)[self.catalogue.station[index]]
        if self.file is not None:
            columns["unit"], first = self.file.waveform_unit, int(index[0])
            for name in DETECTION:
                values = self.file.column(name, first, int(index[-1]) + 1)
                if values is not None:
                    columns[name] = np.array(as_texts(values), dtype=object)[index - first]
        return pandas.DataFrame(columns)


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
    return Export(name, found.name, catalogue_of(found), names, seasons, chosen, run.file, marks)


def write_csv(export: Export, path: Path) -> int:
    """Write a row for each sample; the number of rows."""
    words = {"index": False, "lineterminator": "\n", "float_format": "%.6f"}
    with new_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        pandas.DataFrame(columns=FIELDS).to_csv(file, **words)
        for frame in export.frames():
            frame.to_csv(file, header=False, **words)
    return int(export.chosen.sum())


def write_hdf5(export: Export, path: Path) -> int:
    """Write a compressed data set for each of `FIELDS`, texts in UTF-8 of fixed length."""
    n, lengths = int(export.chosen.sum()), dict.fromkeys({*FIELDS} - {*NUMBERS}, 1)
    for frame in export.frames():
        for name in lengths:
            longest = frame[name].str.encode("utf-8").str.len().max()
            lengths[name] = max(lengths[name], int(longest))
    kinds = {name: h5py.string_dtype("utf-8", n) for name, n in lengths.items()} | NUMBERS
    require_room(path, n * sum(np.dtype(kind).itemsize for kind in kinds.values()))
    storage = {"compression": "gzip", "shuffle": True, "chunks": (min(CHUNK, n),)} if n else {}
    with new_file(path) as partial, h5py.File(partial, "w") as file:
        file.attrs.update(run=export.run_name, stage=export.stage_name)
        file.attrs["n_clusters"] = export.catalogue.n_clusters
        file.attrs["written_by"] = f"RISCluster {__version__}"
        for name in FIELDS:
            file.create_dataset(name, (n,), kinds[name], **storage)
        start = 0
        for frame in export.frames():
            frame["event_id"] = frame["event_id"].fillna(-1)
            for name, kind in kinds.items():
                column = frame[name]
                if name in NUMBERS:
                    column = pandas.to_numeric(column)
                else:
                    column = column.str.encode("utf-8")
                file[name][start : start + len(frame)] = column.to_numpy().astype(kind)
            start += len(frame)
    return n


def write_picks(export: Export, path: Path) -> int:
    """Write a row for each onset of a labelled sample, by time; the number of rows.

    The columns are those of `PickList.to_dataframe` of SeisBench, and label, name, event_id,
    trace_id and index. DataError for data without onsets or trace ids.
    """
    table, labels = export.catalogue.table, export.catalogue.labels
    _require(table, "picks", "onset", "trace_id")
    near = (table["onset"] - table.get("starttime", table["onset"])).abs().dt.total_seconds() < FAR
    export = replace(export, chosen=export.chosen & (labels >= 0) & near.to_numpy())
    picks = pandas.concat([*export.frames()] or [pandas.DataFrame(columns=FIELDS)])
    picks["station"] = picks["trace_id"].str.replace(r"^(.*\..*\..*)\..*$", r"\1", regex=True)
    picks["time"] = picks["start_time"] = picks["onset"]
    picks["end_time"] = picks["end"].where(picks["end"] > picks["onset"], picks["onset"])
    picks["phase"] = picks["name"].where(picks["name"].str.fullmatch(PHASE.pattern), "")
    picks = picks.sort_values("time", kind="stable")
    with new_file(path) as partial:
        picks.to_csv(
            partial, columns=PICK_FIELDS, index=False, float_format="%.6f", lineterminator="\n"
        )
    return len(picks)


def _require(table: pandas.DataFrame, what: str, *columns: str) -> None:
    lacking = [name for name in columns if name not in table]
    if lacking:
        raise DataError(
            f"{what}: need {' and '.join(columns)} of each sample, and these data have no "
            f"{' and no '.join(lacking)}; allowed: csv, hdf5"
        )


# ---- QuakeML ------------------------------------------------------------------------------------


def write_quakeml(export: Export, path: Path) -> int:
    """Write the events of the labelled samples with a start time; the number of events.

    Samples with a common event id are one event, others one each. An event has a comment for each
    sample, a pick at the onset of its detection, and its largest amplitude, where known. Its type
    is ``other event`` where its most frequent cluster has a name, else ``not reported``. DataError
    for data without start times or trace ids, SettingsError for more than `MOST_SAMPLES`.
    """
    table = export.catalogue.table
    _require(table, "quakeml", "starttime", "trace_id")
    labelled = export.chosen & (export.catalogue.labels >= 0)
    export = replace(export, chosen=labelled & table["starttime"].notna().to_numpy())
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
    with warnings.catch_warnings(action="ignore"), Progress("Writing", n) as progress:
        events = _events(export, place, progress)  # obspy warns of identifiers
        with new_file(path) as partial:
            whole = Catalog(events, resource_id=ResourceIdentifier(place))
            whole.write(str(partial), format="QUAKEML")
    return len(events)


def _events(export: Export, place: str, progress: Progress) -> list[Any]:
    """Samples as obspy's events, in the order of their first sample."""
    from obspy.core.event import Event, EventDescription, WaveformStreamID

    attributes = export.file.attributes if export.file is not None else {}
    detector = to_text(attributes.get("build.trigger", "not_known"))
    if to_text(attributes.get("build.catalogue", "none")) != "none":
        detector = "catalogue"
    method = f"smi:local/RISCluster/detector/{detector}"
    most = export.catalogue.events["label"]
    codes = codes_of(export.catalogue.table["trace_id"].cat.categories, LONGEST_CODES)
    streams = {
        trace_id: WaveformStreamID(**dict(zip(CODES, parts, strict=False)))
        for trace_id, parts in codes.items()
    }
    origin = f"of run {export.run_name}, stage {export.stage_name}"
    events: dict[str, Event] = {}
    for frame in export.frames():
        for row in frame.to_dict("records"):
            own, label = f"{row['index']}", row["label"]
            if pandas.notna(row["event_id"]):
                own, label = f"event/{row['event_id']}", most[row["event_id"]]
            if own not in events:
                named = "other event" if export.names.get(label) else "not reported"
                events[own] = Event(resource_id=f"{place}/{own}", event_type=named)
                title = _title(label, export.names)
                events[own].event_descriptions = [EventDescription(text=title)]
            common = {"waveform_id": streams[row["trace_id"]], "method_id": method}
            _add_sample(events[own], row, f"{place}/{row['index']}", origin, common)
        progress.add(len(frame))
    return list(events.values())


def _title(label: int, names: Mapping[int, str]) -> str:
    return _in_xml(f"cluster {label}" + (f" ({names[label]})" if names.get(label) else ""))


def _add_sample(event: Any, row: dict[str, Any], here: str, origin: str, common: dict) -> None:
    """Add the comment, pick and largest amplitude of a sample to its event."""
    from obspy import UTCDateTime
    from obspy.core import event as quakeml

    comment = (
        f"{_title(row['label'], {row['label']: row['name']})}, probability "
        f"{row['probability']:.6f}, sample {row['index']} {origin}, window from {row['starttime']} "
        f"of trace {row['trace_id']}"
    )
    event.comments.append(quakeml.Comment(text=_in_xml(comment), resource_id=f"{here}/comment"))
    start, onset, peak, end = (
        UTCDateTime(row[name]) if row[name] else None
        for name in ("starttime", "onset", "peak_time", "end")
    )
    if onset is None or abs(onset - start) >= FAR:
        return
    common = common | {"evaluation_mode": "automatic"}
    pick = quakeml.Pick(resource_id=f"{here}/pick", time=onset, **common)
    if PHASE.fullmatch(row["name"]):
        pick.phase_hint = row["name"]
    event.picks.append(pick)
    if peak and row["peak_amplitude"]:
        after = max(0, (end or peak) - peak)
        amplitude = quakeml.Amplitude(
            resource_id=f"{here}/amplitude",
            generic_amplitude=float(row["peak_amplitude"]),
            unit=AMPLITUDE_UNITS.get(row["unit"], "other"),
            category="point",
            time_window=quakeml.TimeWindow(max(0, peak - onset), after, peak),
            pick_id=pick.resource_id,
            **common,
        )
        event.amplitudes.append(amplitude)


def codes_of(trace_ids: Sequence[str], longest: Sequence[int]) -> dict[str, tuple[str, ...]]:
    """Codes of trace ids that are at most so long, different for different ids.

    Another kind of id is the station's code, ``channel 12`` as 12; the number of the trace
    replaces what is too long.
    """
    found: dict[tuple[str, ...], str] = {}
    for number, trace_id in enumerate(trace_ids):
        codes = tuple(_in_xml(trace_id).split("."))
        if len(codes) != 4:
            codes = "", _in_xml(trace_id).removeprefix("channel ")
        if any(len(code) > n for code, n in zip(codes, longest, strict=False)) or codes in found:
            codes = "", f"T{number}"
        found[codes] = trace_id
    return {trace_id: codes for codes, trace_id in found.items()}


def _in_xml(text: str) -> str:
    """Text without characters that XML does not allow."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


FORMATS = {"csv": write_csv, "hdf5": write_hdf5, "quakeml": write_quakeml, "picks": write_picks}
