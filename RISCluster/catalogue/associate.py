"""Association of detections into events, by the coincidence of onsets over stations.

Letters: N samples, S stations.
"""

import heapq
import warnings
from contextlib import ExitStack
from pathlib import Path

import h5py
import numpy as np
import pandas
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..data.cube_file import CubeFile
from ..data.layouts import open_spectrograms
from ..data.tables import natural_key
from ..data.times import NOT_A_TIME, SECOND, parse_times, to_text
from ..errors import DataError, RunError
from ..io import need, new_file
from ..runs.labels import station_of
from ..runtime import count, log
from ..settings import EventsSettings, Settings, as_text
from ..waveforms.onsets import KM_PER_DEGREE
from ..waveforms.read import import_obspy
from .stations import read_stations

FEW_PAIRS = 20  # of onsets, that show the offset of a clock at least
CLEAR = 3  # times as many pairs at the offset as at none
MAX_OFFSET_ONSETS = 2000  # of a station, of which its offset is found


def associate_file(path: Path, settings: Settings, overwrite: bool = False) -> str:
    """Write event ids, -1 for none, into a data set (``/event_id``) and the catalogue beside it.

    Returns a sentence on the events. DataError for data that do not allow it.
    """
    data, events = settings.data, settings.events
    with open_spectrograms(path, data.layout, data.dataset, settings.cube) as file:
        is_foreign = file.column("event_id") is not None and not overwrite
        if isinstance(file, CubeFile):
            found, where = in_cube(file, events), f"{file.n_channels:,} channels"
        else:
            ids, texts = file.column("trace_id"), file.column("onset") or file.column("starttime")
            if to_text(file.attributes.get("build.method", "")) == "slide":
                texts = None  # windows of all stations begin together
            found, where = _of_samples(path, ids, texts, settings)
    _write(path, found, events, is_foreign)
    return (
        f"{path}: {count(found.max(initial=-1) + 1, 'event')} at {events.min_stations} or more of "
        f"{where}, with {(found >= 0).sum():,} of {count(len(found), 'sample')}"
    )


def _of_samples(
    path: Path, ids: list[str] | None, texts: list[str] | None, settings: Settings
) -> tuple[np.ndarray, str]:
    """Event of each sample, and the number of stations in words."""
    events = settings.events
    if not ids or not texts:
        raise DataError(
            f"{path}: association needs an onset or the start time of a detection, and a trace id, "
            "of each sample: give a data set of build.method=detect"
        )
    trace = pandas.Categorical(ids)
    codes = [station_of(name) for name in trace.categories]
    names = sorted(set(codes), key=natural_key)
    where = count(len(names), "station")
    if len(names) < events.min_stations:
        raise DataError(
            f"{path}: has {where}; association needs events.min_stations = {events.min_stations} "
            "or more"
        )
    station = pandas.Index(names).get_indexer(codes)[trace.codes]
    onsets, reach = parse_times(np.array(texts)), reach_of(names, settings)
    offsets = clock_offsets(onsets, station, len(names), events.clock_offset, float(reach.max()))
    for name, offset in zip(names, offsets.tolist(), strict=True):
        if offset:
            log.warning(
                f"{name}: its clock seems {abs(offset):.3g} s {'late' if offset > 0 else 'early'} "
                "by the onsets of other stations; corrected for association, not in the catalogue"
            )
    shift = np.rint(offsets * SECOND).astype(np.int64)[station]
    times = onsets - np.where(onsets == NOT_A_TIME, 0, shift)
    if events.neighbours is None:
        return associate(times, station, reach, events.min_stations), where
    longest = float(reach.max())
    return link(times, station, events.neighbours, longest, events.min_stations), where


def in_cube(file: CubeFile, events: EventsSettings) -> np.ndarray:
    """Event of each sample of a cube, (N,), numbered by time; -1 for none.

    An event is a region of loud samples that are neighbours in time, and at most
    ``events.neighbours`` channels apart. A sample is loud if its mean is ``events.cube_ratio``
    times the median of its channel; of values below 0, decibels, the difference counts.
    """
    index, mean = np.arange(file.n_samples), np.full(file.n_samples, np.nan)
    for rows, x in file.read_blocks(index):
        mean[rows] = x.reshape(len(x), -1).mean(axis=1)
    place, image = file.place(index), np.full((file.n_windows, file.n_channels), np.nan)
    image[place] = mean
    middle = pandas.DataFrame(image).median().to_numpy()  # of each channel; NaN is left out
    with np.errstate(invalid="ignore", divide="ignore"):
        loud = image / middle >= events.cube_ratio
        if np.nanmin(image, initial=0) < 0:
            loud = image - middle >= 10 * np.log10(events.cube_ratio)
    reached = ndimage.binary_dilation(loud, np.ones((1, events.neighbours or 1)))
    regions, _ = ndimage.label(reached, np.ones((3, 3)))
    region = pandas.Series(np.where(loud, regions, 0)[place])
    widths = pandas.Series(place[1]).groupby(region).nunique()
    kept = region.where((region > 0) & (region.map(widths) >= events.min_stations), 0)
    number = {old: new for new, old in enumerate(np.unique(kept[kept > 0]))}
    return kept.map(number).fillna(-1).to_numpy(dtype=np.int64)


def reach_of(names: list[str], settings: Settings) -> np.ndarray:
    """Largest difference of onsets at two stations, s, (S, S); at one station the largest of all.

    With ``events.window`` that, otherwise distance times slowness, and the error of onsets.
    """
    events, n = settings.events, len(names)
    if events.window != "auto":
        return np.full((n, n), events.window)
    place = events.stations or settings.build.inventory
    where = np.full((n, 2), np.nan)
    if place is not None:
        where = read_stations(place, "events.stations").locate(names)
    unknown = [name for name, row in zip(names, where, strict=True) if np.isnan(row).any()]
    if unknown:
        names = ", ".join(unknown[:5]) + f" and {len(unknown) - 5} more" * (len(unknown) > 5)
        raise DataError(
            f"events.window = auto: no coordinates of {names}{f' in {place}' if place else ''}: "
            "set events.stations, or events.window to seconds"
        )
    import_obspy()
    from obspy.geodetics import locations2degrees

    degrees = locations2degrees(*np.repeat(where, n, axis=0).T, *np.tile(where, (n, 1)).T)
    reach = degrees.reshape(n, n) * KM_PER_DEGREE * events.slowness + events.tolerance
    np.fill_diagonal(reach, reach.max())
    return reach


def associate(
    onsets: np.ndarray, station: np.ndarray, reach: np.ndarray, min_stations: int
) -> np.ndarray:
    """Event of each sample, (N,), numbered by time; -1 for none.

    An event has a first onset, and the onsets at stations (N,) that follow within `reach` (S, S) of
    it, in seconds, also repeated ones of a station. Those with most stations are taken first, and
    of these the shortest.
    """
    order = np.argsort(onsets, kind="stable")
    order = order[onsets[order] != NOT_A_TIME]
    times, codes, limits = onsets[order], station[order], np.rint(reach * SECOND).astype(np.int64)
    ends = np.searchsorted(times, times + limits.max(initial=0), side="right")
    free, events = np.ones(len(times), dtype=bool), []

    def rank(first: int) -> tuple[int, int, int, np.ndarray]:
        near = first + np.flatnonzero(free[first : ends[first]])
        near = near[times[near] - times[first] <= limits[codes[first], codes[near]]]
        n = len(np.unique(codes[near]))
        return -n, int(times[near[-1]] - times[first]), first, near

    starts = np.flatnonzero(ends - np.arange(len(times)) >= min_stations)
    queue = [rank(first)[:3] for first in starts.tolist()]
    heapq.heapify(queue)
    while queue:
        before = heapq.heappop(queue)
        if before[0] > -min_stations or not free[before[2]]:
            continue
        *now, near = rank(before[2])
        if tuple(now) != before:
            heapq.heappush(queue, tuple(now))
        else:
            free[near] = False
            events.append(near)
    found = np.full(len(onsets), -1, dtype=np.int64)
    for number, near in enumerate(sorted(events, key=lambda near: near[0])):
        found[order[near]] = number
    return found


def link(
    onsets: np.ndarray, channel: np.ndarray, neighbours: int, window: float, min_stations: int
) -> np.ndarray:
    """Event of each sample as by `associate`, for channels (N,) in order along a fibre.

    Onsets at channels at most `neighbours` apart, and within a window, are linked in chains.
    """
    order = np.argsort(onsets, kind="stable")
    order = order[onsets[order] != NOT_A_TIME]
    times, codes, pairs = onsets[order], channel[order], []
    for step in range(1, len(order)):
        near = np.flatnonzero(times[step:] - times[:-step] <= window * SECOND)
        if not len(near):
            break
        near = near[np.abs(codes[near + step] - codes[near]) <= neighbours]
        pairs.append(np.stack([near, near + step]))
    rows, columns = np.concatenate(pairs, axis=1) if pairs else np.empty((2, 0), dtype=np.int64)
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(order),) * 2)
    group = pandas.Series(connected_components(graph, directed=False)[1])
    is_event = pandas.Series(codes).groupby(group).transform("nunique") >= min_stations
    found = np.full(len(onsets), -1, dtype=np.int64)
    found[order[is_event]] = pandas.factorize(group[is_event])[0]
    return found


def clock_offsets(
    onsets: np.ndarray, station: np.ndarray, n_stations: int, longest: float, width: float
) -> np.ndarray:
    """Seconds by which the clock of each station is late, (S,), up to `longest`; mostly 0.

    A clock is wrong where the differences of its onsets from those of the other stations have a
    clear peak away from 0, in bins of `width` seconds. The clearest is corrected first.
    """
    offsets, known = np.zeros(n_stations), onsets != NOT_A_TIME
    times = (onsets[known] - onsets[known][:1].sum()) / SECOND  # digits of float64
    codes, edges = station[known], np.arange(-longest - width / 2, longest + width, width)
    for _ in range(n_stations if longest > width else 0):
        clearest = (float(FEW_PAIRS), 0, 0.0)
        for one in np.flatnonzero(offsets == 0).tolist():
            own = times[codes == one]
            own = own[np.linspace(0, len(own) - 1, min(len(own), MAX_OFFSET_ONSETS)).astype(int)]
            others = np.sort((times - offsets[codes])[codes != one])
            first, last = (np.searchsorted(others, own + end) for end in (-longest, longest))
            parts = [t - others[a:b] for t, a, b in zip(own, first, last, strict=True)]
            differences = np.concatenate([np.empty(0), *parts])
            counts, _ = np.histogram(differences, edges)
            at_none = int((np.abs(differences) <= width).sum())
            peak, typical = int(counts.argmax()), max(float(np.median(counts)), at_none)
            if counts[peak] >= max(clearest[0], CLEAR * typical):
                inside = (differences >= edges[peak]) & (differences < edges[peak + 1])
                clearest = float(counts[peak]), one, float(np.median(differences[inside]))
        if not clearest[2]:
            break
        offsets[clearest[1]] = clearest[2]
    return offsets


def _write(path: Path, found: np.ndarray, events: EventsSettings, is_foreign: bool) -> None:
    try:
        with ExitStack() as stack:
            if path.is_dir():
                zarr, place = need("zarr"), str(path)
                file = zarr.open_group(place, mode="r+", use_consolidated=False)
                if zarr.open_group(place, mode="r").metadata.consolidated_metadata:
                    stack.enter_context(warnings.catch_warnings(action="ignore"))
                    stack.callback(zarr.consolidate_metadata, place)
            else:
                file = stack.enter_context(h5py.File(path, "r+"))
            if is_foreign and "events.window" not in file["event_id"].attrs:
                raise DataError(
                    f"{path}: has event ids of another source; give --overwrite to replace them"
                )
            if "event_id" in file:
                del file["event_id"]
            create = file.create_array if path.is_dir() else file.create_dataset
            settings = {f"events.{key}": as_text(value) for key, value in vars(events).items()}
            create("event_id", data=found).attrs.update({"missing": -1} | settings)
    except OSError as error:
        raise RunError(f"{path}: can't be written: {error}; change permissions") from None
    table = path.with_suffix(".csv")
    if table.exists():
        frame = pandas.read_csv(table, dtype=str, na_filter=False)
        if len(frame) == len(found):
            with new_file(table) as partial:
                frame.assign(event_id=found).to_csv(partial, index=False, lineterminator="\n")
