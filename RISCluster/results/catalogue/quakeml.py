"""The catalogue as QuakeML: an event a sample, made by obspy, written in parts."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...data.waveforms.sources import obspy_for_reading
from ...errors import DataError, SettingsError
from ...files import new_file
from ...progress import Progress, log
from .export import FIELDS, Export

PART = 1000  # events in memory at a time
MOST_EVENTS = 100_000


def write_quakeml(export: Export, path: Path) -> int:
    """Write an event a labelled sample, with a pick at its start; the number of events.

    The event's type is ``other event`` where its cluster has a name, and else ``not reported``;
    cluster, probability and sample are in a comment. Identifiers are made of the run, the stage
    and the sample, so that the same catalogue is written twice the same.

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
        log.warning(f"{untimed:,} samples without a start time are left out")
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
    written, tail = 0, b""
    for index in export.blocks():
        for start in range(0, len(index), PART):
            columns = export.columns(index[start : start + PART])
            rows = zip(*(columns[name] for name in FIELDS), strict=True)
            events = [_event(dict(zip(FIELDS, row, strict=True)), place, export) for row in rows]
            text = _xml(Pickler, Catalog(events, resource_id=ResourceIdentifier(place)))
            first = text.index(b"<event ")
            last = text.rindex(b"</event>") + len(b"</event>")
            if not written:
                write(text[:first])
            write((b"\n    " if written else b"") + text[first:last])
            tail, written = text[last:], written + len(events)
            progress.add(len(events))
    if not written:
        tail = _xml(Pickler, Catalog([], resource_id=ResourceIdentifier(place)))
    write(tail)
    return written


def _xml(pickler: Any, catalogue: Any) -> bytes:
    text = pickler().dumps(catalogue)
    return text if isinstance(text, bytes) else text.encode()


def _event(row: dict[str, Any], place: str, export: Export) -> Any:
    """One sample as an event of obspy."""
    from obspy import UTCDateTime
    from obspy.core.event import (
        Comment,
        Event,
        EventDescription,
        Pick,
        ResourceIdentifier,
        WaveformStreamID,
    )

    here = f"{place}/{row['index']}"
    called = f"cluster {row['label']}" + (f" ({row['name']})" if row["name"] else "")
    comment = Comment(
        text=f"{called}, probability {row['probability']:.6f}, sample {row['index']} of run "
        f"{export.run_name}, stage {export.stage_name}",
        resource_id=ResourceIdentifier(f"{here}/comment"),
    )
    pick = Pick(
        resource_id=ResourceIdentifier(f"{here}/pick"),
        time=UTCDateTime(row["starttime"]),
        waveform_id=WaveformStreamID(**_waveform(row["trace_id"])),
        evaluation_mode="automatic",
        comments=[
            Comment(
                text="start of the sample's window, not an arrival",
                resource_id=ResourceIdentifier(f"{here}/pick/comment"),
            )
        ],
    )
    return Event(
        resource_id=ResourceIdentifier(here),
        event_type="other event" if row["name"] else "not reported",
        event_descriptions=[EventDescription(text=called)],
        comments=[comment],
        picks=[pick],
    )


def _waveform(trace_id: str) -> dict[str, str | None]:
    """Codes of a trace id; all of another kind of id goes for the station's."""
    parts = trace_id.split(".")
    if len(parts) != 4:
        return {"network_code": "", "station_code": trace_id}
    names = ("network_code", "station_code", "location_code", "channel_code")
    return dict(zip(names, parts, strict=True))


def _plain(text: str) -> str:
    """A name as an identifier may have it."""
    return "".join(
        char if char.isascii() and (char.isalnum() or char in "-_") else "_" for char in text
    )
