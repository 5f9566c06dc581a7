"""Catalogues of onsets, picks or origins: read, cleaned, and the onsets at each trace."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from ..data.tables import read_table, read_times
from ..data.times import DAY, NOT_A_TIME, SECOND, nanoseconds_to_iso, parse_times
from ..errors import DataError
from ..io import new_file
from ..runtime import count, log
from ..settings import BuildSettings
from .read import import_obspy, read_with
from .windows import FIELDS

TIMES = (  # before the usual names of columns of times
    "onset", "dt_on", "pick_time", "phase_time", "arrival_time", "p_arrival_time", "peak_time",
    "origin_time",
)  # fmt: skip
CODES = ("network", "station", "location", "channel")
COLUMNS = {  # by the names that each can have
    "trace_id": ("trace_id", "station_id", "seed_id"),
    **{name: (name, f"{name}_code", name[:3]) for name in CODES},
    "phase": ("phase", "phase_type", "phase_hint"),
    "end": ("end", "dt_off"), "peak": ("peak_time", "dt_peak"),
    "event": ("event_id", "event"),
    "amplitude": ("peak_amplitude", "peak", "amplitude", "phase_amplitude"),
    "latitude": ("latitude", "lat"), "longitude": ("longitude", "lon"), "depth": ("depth",),
}  # fmt: skip
NUMBERS = ("event", "amplitude", "latitude", "longitude", "depth")
TABLES = (".csv", ".txt", ".tsv")
KM_PER_DEGREE = 6371.0 * np.pi / 180


def read_catalogue(path: Path) -> tuple[pandas.DataFrame, pandas.DataFrame]:
    """Rows of a table, or origins and picks of a file of events, by time; and their texts.

    `onset`, `end` and `peak` are in ns, `trace_id` has some codes or '' for all, `latitude` and
    `longitude` are in degrees, `depth` in km. DataError where the file can't be read.
    """
    try:
        rows, texts = (_from_table if path.suffix.lower() in TABLES else _from_events)(path)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: can't be read as a catalogue: {getattr(error, 'strerror', None) or error}; "
            "allowed: CSV with a column of times, such as onset or time, or QuakeML"
        ) from None
    rows["event"] = rows["event"].fillna(-1).astype(np.int64)
    rows = rows[rows["onset"] != NOT_A_TIME].sort_values("onset", kind="stable")
    return rows, texts.loc[rows.index]  # keeps the name of the column of events, in attrs


def _from_table(path: Path) -> tuple[pandas.DataFrame, pandas.DataFrame]:
    table = read_table(path)
    at = {name: table.find(*words) for name, words in COLUMNS.items()}
    rows = {"onset": read_times(table, TIMES)[0], "phase": table.text(at["phase"])}
    has_onsets = table.find(*TIMES[:2]) is not None  # end and peak are of a detection
    for name in ("end", "peak"):
        rows[name] = parse_times(np.array(table.text(at[name] if has_onsets else None)))
    for name in NUMBERS:
        rows[name] = np.nan if at[name] is None else table.numbers(at[name])
    codes = [table.text(at[name] if at["station"] is not None else None) for name in CODES]
    rows["trace_id"] = [
        text or (station if "." in station or not station else ".".join((net, station, *rest)))
        for text, net, station, *rest in zip(table.text(at["trace_id"]), *codes, strict=True)
    ]
    for note in table.notes:
        log.info(f"{path}: {note}")
    texts = table.cells.set_axis(table.names, axis="columns").reset_index(drop=True)
    texts.attrs["event"] = None if at["event"] is None else table.names[at["event"]]
    return pandas.DataFrame(rows), texts


def _from_events(path: Path) -> tuple[pandas.DataFrame, pandas.DataFrame]:
    """Origins, with a place, and picks, with a trace id, of events numbered as in the file."""
    rows = []
    for number, event in enumerate(read_with(import_obspy().read_events, path, "events")):
        origin = event.preferred_origin() or next(iter(event.origins), None)
        if origin is not None:
            rows.append({
                "onset": origin.time.ns, "trace_id": "", "phase": "", "event": number,
                "latitude": origin.latitude, "longitude": origin.longitude,
                "depth": (origin.depth or 0) / 1000,
            })  # fmt: skip
        for pick in filter(lambda pick: pick.waveform_id, event.picks):
            codes, hint = pick.waveform_id.get_seed_string(), pick.phase_hint or ""
            rows.append({"onset": pick.time.ns, "trace_id": codes, "phase": hint, "event": number})
    rows = pandas.DataFrame(rows, columns=["onset", "trace_id", "phase", *NUMBERS])
    texts = rows.rename(columns={"event": "event_id"})
    texts.attrs["event"] = "event_id"
    texts["onset"] = nanoseconds_to_iso(rows["onset"])
    return rows.assign(end=NOT_A_TIME, peak=NOT_A_TIME), texts.astype(object)


def onsets_at(
    trace_ids: Sequence[str], settings: BuildSettings, stations: Any
) -> dict[tuple[str, int], tuple]:
    """Onsets of ``build.catalogue``, rows of `FIELDS`, by trace and midnight of the day (ns).

    With ``build.velocity`` those of origins, at `stations`, which have ``locate``; otherwise rows
    of a trace, station or phase, and rows without one at all traces. Logs what is left out, but
    for origins of events with picks, or picks of those with origins. DataError where none fits.
    """
    path = Path(settings.catalogue).expanduser()
    every, _ = read_catalogue(path)
    has_codes = every["trace_id"] != ""
    if settings.velocity is not None:
        fits = ~has_codes & every[["latitude", "longitude"]].notna().all(axis=1)
        what = "that build.velocity does not use (picks, or origins without a place)"
    else:
        fits = has_codes | (not has_codes.any())
        what = "without a trace, such as origins, which build.velocity uses"
    same = every["event"].isin(every["event"][fits & (every["event"] >= 0)])
    left_out, rows = {what: (~fits & ~same).sum()}, every[fits]
    if settings.velocity is None:
        patterns = settings.phases.replace(" ", "").split(",")
        fits = rows["phase"].map(lambda x: not x or any(fnmatchcase(x, y) for y in patterns))
        left_out["of other phases than build.phases"] = (~fits.astype(bool)).sum()
        rows = rows[fits.astype(bool)]
    pairs = [(own, name) for own in rows["trace_id"].unique() for name in _traces(own, trace_ids)]
    traces = pandas.DataFrame(pairs, columns=["own", "trace_id"])
    left_out["at traces that the waveforms lack"] = (~rows["trace_id"].isin(traces["own"])).sum()
    found = rows.rename(columns={"trace_id": "own"}).merge(traces)
    notes = ", ".join(f"{n:,} {why}" for why, n in left_out.items() if n)
    if found.empty:
        have = (every[key][every[key] != ""].unique()[:3] for key in ("phase", "trace_id"))
        phases, names = (", ".join(values) or "none" for values in have)
        other = "build.velocity to none for picks"
        if settings.velocity is None:
            other = "build.phases, or build.velocity for origins with latitude and longitude"
        raise DataError(
            f"build.catalogue = {path}: none of its {count(len(every), 'row')} fits a trace, such "
            f"as {trace_ids[0]} (left out: {notes}); its phases: {phases}; its traces: {names}; "
            f"give another catalogue, or change {other}"
        )
    if notes:
        log.warning(f"{path}: left out of {count(len(every), 'row')}: {notes}")
    if settings.velocity is not None:
        found["onset"] += _travel_times(found, settings.velocity, stations)
    elif (found["own"] == "").all() and (found["event"] < 0).all():  # a time for all stations
        found["event"] = pandas.factorize(found["onset"])[0]
    found = found.sort_values("onset", kind="stable")
    days = found["peak"].where(found["peak"] != NOT_A_TIME, found["onset"]) // DAY * DAY
    groups = found.groupby(["trace_id", days])[[*FIELDS]]
    return {key: tuple(own.itertuples(index=False, name=None)) for key, own in groups}


def _traces(own: str, trace_ids: Sequence[str]) -> list[str]:
    """Traces that codes fit: those of this id, otherwise with what is given of it."""
    own = own.replace("--", "")  # an empty location
    if own in trace_ids:
        return [own]
    codes = own.split(".") if "." in own else ["", own]
    network, station, location, channel = [*codes, "", ""][:4]
    pattern = f"{network or '*'}.{station or '*'}.{location}*.{channel}*"
    return [trace_id for trace_id in trace_ids if fnmatchcase(trace_id, pattern)]


def _travel_times(found: pandas.DataFrame, velocity: float, stations: Any) -> np.ndarray:
    codes = found["trace_id"].str.split(".").str[:2].str.join(".").str.strip(".")
    names = sorted(codes.unique())
    places = stations.locate(names) if stations is not None else np.full((len(names), 2), np.nan)
    unknown = [name for name, row in zip(names, places, strict=True) if np.isnan(row).any()]
    if unknown:
        raise DataError(
            f"build.velocity = {velocity:g}: no coordinates of {', '.join(unknown[:5])}; set "
            "events.stations or build.inventory to a file that has them"
        )
    at = places[pandas.Index(names).get_indexer(codes)]
    locations2degrees = import_obspy("obspy.geodetics").locations2degrees
    degrees = locations2degrees(found["latitude"], found["longitude"], *at.T)
    length = np.hypot(degrees * KM_PER_DEGREE, found["depth"].fillna(0))
    return np.rint(length / velocity * SECOND).astype(np.int64)


def clean(
    paths: Sequence[Path], target: Path, start: int, end: int, low: float, high: float, apart: float
) -> str:
    """Write rows of catalogues, by time, from `start` to before `end` (ns), of such amplitudes.

    Those up to `apart` seconds after the one before of a trace are left out. Returns the numbers.
    """
    found, n_events = [], 0
    for path in paths:
        rows, texts = read_catalogue(path)
        name, numbered = texts.attrs["event"], rows["event"] >= 0
        if len(paths) > 1 and name is not None:  # numbered on from catalogue to catalogue
            codes, events = pandas.factorize(texts[name].where(numbered))
            texts[name] = np.where(numbered, (codes + n_events).astype(str), texts[name])
            texts = texts.drop(columns={"event_id"} - {name}, errors="ignore")
            texts, n_events = texts.rename(columns={name: "event_id"}), n_events + len(events)
        found.append((rows, texts))
    rows, texts = (pandas.concat(frames, ignore_index=True) for frames in zip(*found, strict=True))
    rows = rows.sort_values("onset", kind="stable")
    chosen = rows[(rows["onset"] >= start) & (rows["onset"] < end)]
    if low > 0 or high < np.inf:
        chosen = chosen[chosen["amplitude"].abs().between(low, high)]
    n_chosen, good, last = len(chosen), [], {}
    for row, *trace, time in chosen[["trace_id", "phase", "onset"]].itertuples():
        if time - last.get(tuple(trace), -(2**62)) > apart * SECOND:
            good.append(row)
            last[tuple(trace)] = time
    if not good:
        raise DataError(
            f"{paths[0]}: none of {count(len(rows), 'row')} is left; allowed: wider limits of "
            f"time, and of amplitude with a column {COLUMNS['amplitude'][0]}"
        )
    with new_file(target) as partial:
        texts.loc[good].to_csv(partial, index=False, lineterminator="\n")
    return (
        f"{target}: {count(len(good), 'row')} of {len(rows):,}; left out: "
        f"{len(rows) - n_chosen:,} by time or amplitude, {n_chosen - len(good):,} repeated"
    )
