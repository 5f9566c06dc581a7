"""The catalogue as QuakeML: an event a sample, made by obspy, written in parts."""

import hashlib
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..data.times import to_text
from ..errors import DataError, SettingsError
from ..io import new_file
from ..runtime import Progress, count, log
from ..waveforms.sources import obspy_for_reading
from .export import FIELDS, Export

PART = 1000  # events in memory at a time
MOST_EVENTS = 100_000
FAR = 86_400  # s from its window, beyond which an onset is of another clock
LONGEST_CODE = 8  # characters of a network, station, location or channel, by the schema
AMPLITUDE_UNITS = {"m": "m", "m/s": "m/s", "m/s^2": "m/(s*s)"}
NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_quakeml(export: Export, path: Path) -> int:
    """Write an event a labelled sample; the number of events.

    A sample that was cut about a detection has a pick at its onset, and its largest amplitude
    where that is known; other samples have neither. The event's type is ``other event`` where its
    cluster has a name, and else ``not reported``; cluster, probability, sample, start of the
    window and trace are in a comment. Identifiers are made of the run, the stage and the sample,
    so that the same catalogue is written twice the same.

    Raises
    ------
    SettingsError
        There would be more than `MOST_EVENTS` events.
    DataError
        The data have no start times or no trace ids.
    MissingPackage
        obspy is not installed.
    RunError
        It can't be written.
    """
    catalogue = export.catalogue
    if not (catalogue.has_times and catalogue.has_stations):
        raise DataError(
            "quakeml: an event needs a start time and a trace id, and these data have no "
            f"{'start times' if not catalogue.has_times else 'trace ids'}; allowed: csv, hdf5"
        )
    export, untimed = _labelled(export)
    n = export.count()
    if n > MOST_EVENTS:
        raise SettingsError(
            f"quakeml: {n:,} events are more than a reader of QuakeML can hold; allowed: "
            f"{MOST_EVENTS:,}; choose with --clusters 1,3 or --min-probability 0.9, or take csv or "
            "hdf5"
        )
    if untimed:
        log.warning(f"{count(untimed, 'sample')} without a start time left out")
    obspy_for_reading()
    with (
        new_file(path) as partial,
        partial.open("wb") as file,
        Progress("Writing", n, "events") as progress,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # obspy's, on identifiers
        return _write_events(export, file.write, progress)


def _labelled(export: Export) -> tuple[Export, int]:
    """Labelled samples that have a time alone, and how many of those chosen have none."""
    clusters = export.choice.clusters or tuple(range(export.catalogue.n_clusters))
    labelled = replace(export, choice=replace(export.choice, clusters=clusters))
    table = export.catalogue.table
    untimed = sum(int(np.isnat(table.starttime[index]).sum()) for index in labelled.blocks())
    if not untimed:
        return labelled, 0
    labels = np.where(np.isnat(table.starttime), -1, table.labels).astype(table.labels.dtype)
    catalogue = replace(export.catalogue, table=replace(table, labels=labels))
    return replace(labelled, catalogue=catalogue), untimed


def _write_events(export: Export, write: Callable[[bytes], Any], progress: Progress) -> int:
    """Events in parts, each made by obspy; what is around them is that of the first part."""
    from obspy.core.event import Catalog, ResourceIdentifier
    from obspy.io.quakeml.core import Pickler

    place = f"smi:local/RISCluster/{_plain(export.run_name)}/{export.stage_name}"
    ids = export.catalogue.table.trace_ids
    codes, method = dict(zip(ids, _codes(ids), strict=True)), _method(export)
    written, picked, tail = 0, 0, b""
    for index in export.blocks():
        for start in range(0, len(index), PART):
            columns = export.columns(index[start : start + PART])
            rows = zip(*(columns[name] for name in FIELDS), strict=True)
            events = [
                _event(dict(zip(FIELDS, row, strict=True)), place, export, codes, method)
                for row in rows
            ]
            text = _xml(Pickler, Catalog(events, resource_id=ResourceIdentifier(place)))
            first = text.index(b"<event ")
            last = text.rindex(b"</event>") + len(b"</event>")
            if not written:
                write(text[:first])
            write((b"\n    " if written else b"") + text[first:last])
            tail, written = text[last:], written + len(events)
            picked += sum(len(event.picks) for event in events)
            progress.add(len(events))
    if not written:
        tail = _xml(Pickler, Catalog([], resource_id=ResourceIdentifier(place)))
    write(tail)
    if picked < written:
        log.warning(
            f"{count(written - picked, 'event')} of {written:,} without a pick, for no onset is "
            "known within a day of the window; start and trace of the window are in the comment, "
            "or take --format csv"
        )
    return written


def _xml(pickler: Any, catalogue: Any) -> bytes:
    text = pickler().dumps(catalogue)
    return text if isinstance(text, bytes) else text.encode()


def _event(
    row: dict[str, Any],
    place: str,
    export: Export,
    codes: dict[str, dict[str, str]],
    method: str,
) -> Any:
    """One sample as an event of obspy."""
    from obspy import UTCDateTime
    from obspy.core.event import Comment, Event, EventDescription, ResourceIdentifier

    here = f"{place}/{row['index']}"
    called = f"cluster {row['label']}" + (f" ({row['name']})" if row["name"] else "")
    comment = Comment(
        text=_in_xml(
            f"{called}, probability {row['probability']:.6f}, sample {row['index']} of run "
            f"{export.run_name}, stage {export.stage_name}, window from {row['starttime']} of "
            f"trace {row['trace_id']}"
        ),
        resource_id=ResourceIdentifier(f"{here}/comment"),
    )
    event = Event(
        resource_id=ResourceIdentifier(here),
        event_type="other event" if row["name"] else "not reported",
        event_descriptions=[EventDescription(text=_in_xml(called))],
        comments=[comment],
    )
    if row["onset"] and abs(UTCDateTime(row["onset"]) - UTCDateTime(row["starttime"])) < FAR:
        _add_detection(event, row, here, codes[row["trace_id"]], method)
    return event


def _add_detection(
    event: Any, row: dict[str, Any], here: str, codes: dict[str, str], method: str
) -> None:
    """A pick at the onset, and the largest amplitude where it is known."""
    from obspy import UTCDateTime
    from obspy.core.event import Amplitude, Pick, ResourceIdentifier, TimeWindow, WaveformStreamID

    common = {
        "waveform_id": WaveformStreamID(**codes),
        "method_id": ResourceIdentifier(method),
        "evaluation_mode": "automatic",
    }
    onset = UTCDateTime(row["onset"])
    pick = Pick(resource_id=ResourceIdentifier(f"{here}/pick"), time=onset, **common)
    event.picks.append(pick)
    if not (row["peak_amplitude"] and row["peak_time"]):
        return
    peak = UTCDateTime(row["peak_time"])
    end = UTCDateTime(row["end"]) if row["end"] else peak
    event.amplitudes.append(
        Amplitude(
            resource_id=ResourceIdentifier(f"{here}/amplitude"),
            generic_amplitude=float(row["peak_amplitude"]),
            unit=AMPLITUDE_UNITS.get(row["unit"], "other"),
            category="point",
            time_window=TimeWindow(max(0, peak - onset), max(0, end - peak), peak),
            pick_id=pick.resource_id,
            **common,
        )
    )


def _method(export: Export) -> str:
    """Identifier of what found the onsets."""
    made = export.file.attributes if export.file else {}
    trigger = to_text(made.get("build.trigger", "")) if "build.method" in made else ""
    return f"smi:local/RISCluster/detector/{_plain(trigger) or 'not_known'}"


def _codes(trace_ids: Sequence[str]) -> list[dict[str, str]]:
    """Codes of trace ids that the schema allows, different for different ids.

    An id of another kind goes for the station's, ``channel 12`` as 12; what is too long is
    replaced by the number of the trace.
    """
    names = ("network_code", "station_code", "location_code", "channel_code")
    found, used = [], set()
    for number, trace_id in enumerate(trace_ids):
        parts = [_in_xml(part) for part in trace_id.split(".")]
        if len(parts) != 4:
            parts = ["", _in_xml(re.sub(r"channel (?=\d+$)", "", trace_id))]
        if max(map(len, parts)) > LONGEST_CODE or tuple(parts) in used:
            parts = ["", f"T{number}"]
        used.add(tuple(parts))
        found.append(dict(zip(names, parts, strict=False)))
    return found


def _in_xml(text: str) -> str:
    """Text without characters that XML does not allow."""
    return NOT_IN_XML.sub("\ufffd", text)


def _plain(text: str) -> str:
    """A name as an identifier may have it, different for different names."""
    plain = re.sub("[^A-Za-z0-9_-]", "_", text)
    return plain if plain == text else f"{plain}.{hashlib.sha256(text.encode()).hexdigest()[:8]}"
