"""Association of detections into events, by the coincidence of onsets over stations.

Letters: N samples, n onsets, S stations.
"""

import heapq
import warnings
from contextlib import ExitStack
from pathlib import Path

import h5py
import numpy as np
import pandas
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.metrics.pairwise import haversine_distances

from ..data.cube_file import CubeFile
from ..data.layouts import open_spectrograms
from ..data.times import NOT_A_TIME, SECOND, parse_times, to_text
from ..errors import DataError
from ..io import need, new_file, write_errors
from ..runtime import count, log
from ..settings import EventsSettings, Settings, as_text
from ..waveforms.onsets import KM_PER_DEGREE
from .stations import read_stations, stations_of

FEW_PAIRS = 20  # of onsets, that show the offset of a clock at least
CLEAR = 3  # times as many pairs at the offset as at none
MAX_OFFSET_ONSETS = 2000  # of a station, of which its offset is found


def associate_file(path: Path, settings: Settings, overwrite: bool = False) -> str:
    """Write event ids into a data set (``/event_id``) and the catalogue beside it; a sentence."""
    data, events = settings.data, settings.events
    with open_spectrograms(path, data.layout, data.dataset, settings.cube) as file:
        may_replace = overwrite or file.column("event_id") is None
        if isinstance(file, CubeFile):
            found, where = _in_cube(file, events), count(file.n_channels, "channel")
        else:
            ids, texts = file.column("trace_id"), file.column("onset") or file.column("starttime")
            if not ids or not texts or to_text(file.attributes.get("build.method", "")) == "slide":
                raise DataError(
                    f"{path}: association needs an onset or the start time of a detection, and a "
                    "trace id, of each sample: give a data set of build.method=detect"
                )
            found, n_stations = _of_samples(path, ids, parse_times(np.array(texts)), settings)
            where = count(n_stations, "station")
    _write(path, found, events, may_replace)
    return (
        f"{path}: {count(found.max(initial=-1) + 1, 'event')} at {events.min_stations} or more of "
        f"{where}, with {(found >= 0).sum():,} of {count(len(found), 'sample')}"
    )


def _of_samples(
    path: Path, ids: list[str], onsets: np.ndarray, settings: Settings
) -> tuple[np.ndarray, int]:
    """Event of each sample, (N,), and the number of stations."""
    events, (names, station) = settings.events, stations_of(pandas.Categorical(ids))
    if len(names) < events.min_stations:
        raise DataError(
            f"{path}: has {count(len(names), 'station')}; association needs events.min_stations = "
            f"{events.min_stations} or more"
        )
    found, known, reach = np.full(len(ids), -1), onsets != NOT_A_TIME, reach_of(names, settings)
    onsets, station, longest = onsets[known], station[known], float(reach.max())
    offsets = clock_offsets(onsets, station, len(names), events.clock_offset, longest)
    for at in np.flatnonzero(offsets):
        log.warning(
            f"{names[at]}: its clock seems to be late by {offsets[at]:.3g} s according to the "
            "onsets of other stations; corrected for association, not in the catalogue"
        )
    times = onsets - np.rint(offsets * SECOND).astype(np.int64)[station]
    if events.neighbours is None:
        found[known] = associate(times, station, reach, events.min_stations)
    else:
        window = longest * SECOND
        found[known] = link(times, station, events.neighbours, window, events.min_stations)
    return found, len(names)


def _in_cube(file: CubeFile, events: EventsSettings) -> np.ndarray:
    """Event of each sample of a cube, (N,): chains of loud ones in adjacent windows, see `link`.

    A sample is loud if its mean is ``events.cube_ratio`` times the median of its channel; of values
    below 0, decibels, the difference counts.
    """
    index, mean = np.arange(file.n_samples), np.full(file.n_samples, np.nan)
    for rows, x in file.read_blocks(index):
        mean[rows] = x.reshape(len(x), -1).mean(axis=1)
    window, channel = file.place(index)
    middle = pandas.Series(mean).groupby(channel).transform("median").to_numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        loud = mean / middle >= events.cube_ratio
    if np.nanmin(mean, initial=0) < 0:
        loud = mean - middle >= 10 * np.log10(events.cube_ratio)
    found, apart = np.full(len(index), -1), events.neighbours or 1
    found[loud] = link(window[loud], channel[loud], apart, 1, events.min_stations)
    return found


def reach_of(names: list[str], settings: Settings) -> np.ndarray:
    """Largest difference of onsets at two stations, s, (S, S); at one station the largest of all.

    With ``events.window`` that, otherwise distance times slowness, and the error of onsets.
    """
    events, n = settings.events, len(names)
    if events.window != "auto":
        return np.full((n, n), events.window)
    place, where = events.stations or settings.build.inventory, np.full((n, 2), np.nan)
    if place is not None:
        where = read_stations(place, "events.stations").locate(names)
    if len(unknown := np.flatnonzero(np.isnan(where).any(axis=1))):
        raise DataError(
            f"events.window = auto: no coordinates of {', '.join(names[at] for at in unknown[:5])}:"
            " set events.stations to a file that has them, or events.window to seconds"
        )
    degrees = np.rad2deg(haversine_distances(np.deg2rad(where)))
    reach = degrees * KM_PER_DEGREE * events.slowness + events.tolerance
    np.fill_diagonal(reach, reach.max())
    return reach


def associate(
    onsets: np.ndarray, station: np.ndarray, reach: np.ndarray, min_stations: int
) -> np.ndarray:
    """Event of each onset (n,), in ns, numbered by time; -1 for none.

    An event has a first onset, and the onsets at stations (n,) that follow within `reach` (S, S) of
    it, in seconds, also repeated ones of a station. Those with most stations are taken first, and
    of these the shortest.
    """
    order, limits = np.argsort(onsets, kind="stable"), np.rint(reach * SECOND).astype(np.int64)
    times, codes = onsets[order], station[order]
    ends = np.searchsorted(times, times + limits.max(initial=0), side="right")
    free, events = np.ones(len(times), dtype=bool), []

    def rank(first: int) -> tuple[tuple[int, int, int], np.ndarray]:
        near = first + np.flatnonzero(free[first : ends[first]])
        near = near[times[near] - times[first] <= limits[codes[first], codes[near]]]
        return (-len(np.unique(codes[near])), int(times[near[-1]] - times[first]), first), near

    starts = np.flatnonzero(ends - np.arange(len(times)) >= min_stations)
    queue = [rank(first)[0] for first in starts.tolist()]
    heapq.heapify(queue)
    while queue:
        before = heapq.heappop(queue)
        if before[0] > -min_stations or not free[before[2]]:
            continue
        now, near = rank(before[2])
        if now != before:  # some of its onsets are of another event by now
            heapq.heappush(queue, now)
        else:
            free[near] = False
            events.append(near)
    found = np.full(len(onsets), -1, dtype=np.int64)
    for number, near in enumerate(sorted(events, key=lambda near: near[0])):
        found[order[near]] = number
    return found


def link(
    times: np.ndarray, channel: np.ndarray, neighbours: int, window: float, min_channels: int
) -> np.ndarray:
    """Event of each onset (n,) at channels in order along a fibre, numbered by time; -1 for none.

    Onsets at channels at most `neighbours` apart, and within a window, are linked in chains.
    """
    order, n = np.lexsort((times, channel)), len(times)
    t, x, (moments, rank) = times[order], channel[order], np.unique(times, return_inverse=True)
    place, pairs = x * len(moments) + rank[order], []
    for apart in range(-neighbours, neighbours + 1):
        # With the next onset of a channel alone: later ones in the window are linked to that one.
        after = np.searchsorted(place, place + apart * len(moments)) if apart else np.arange(n) + 1
        first = np.flatnonzero(after < n)
        second = after[first]
        near = (x[second] - x[first] == apart) & (t[second] - t[first] <= window)
        pairs.append([first[near], second[near]])
    rows, columns = np.concatenate(pairs, axis=1)
    graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(n, n))
    group = pandas.Series(connected_components(graph, directed=False)[1])
    n_channels = pandas.Series(x).groupby(group).transform("nunique")
    event, found, by_time = np.empty(n), np.empty(n, np.int64), np.argsort(times, kind="stable")
    event[order] = group.where(n_channels >= min_channels)
    found[by_time] = pandas.factorize(event[by_time])[0]
    return found


def clock_offsets(
    onsets: np.ndarray, station: np.ndarray, n_stations: int, longest: float, width: float
) -> np.ndarray:
    """Seconds by which the clock of each station is late, (S,), up to `longest`; mostly 0.

    A clock is wrong where the differences of its onsets from those of two or more other stations
    have a clear peak away from 0, in bins of `width` seconds.
    """
    offsets = np.zeros(n_stations)
    if longest <= width or n_stations < 3:
        return offsets
    times = (onsets - onsets[:1].sum()) / SECOND  # digits of float64
    edges = np.arange(-longest - width / 2, longest + width, width)
    for one in range(n_stations):
        own, others = times[station == one], np.sort(times[station != one])
        own = own[np.linspace(0, len(own) - 1, min(len(own), MAX_OFFSET_ONSETS)).astype(int)]
        first, last = (np.searchsorted(others, own + end) for end in (-longest, longest))
        parts = [t - others[a:b] for t, a, b in zip(own, first, last, strict=True)]
        differences = np.concatenate([np.empty(0), *parts])
        counts, _ = np.histogram(differences, edges)
        peak, at_none = int(counts.argmax()), (np.abs(differences) <= width).sum()
        if counts[peak] >= max(FEW_PAIRS, CLEAR * max(np.median(counts), at_none)):
            inside = (differences >= edges[peak]) & (differences < edges[peak + 1])
            offsets[one] = np.median(differences[inside])
    return offsets


def _write(path: Path, found: np.ndarray, events: EventsSettings, may_replace: bool) -> None:
    attributes = {f"events.{key}": as_text(value) for key, value in vars(events).items()}
    is_zarr = path.is_dir()
    with write_errors(path), ExitStack() as stack:
        if is_zarr:
            file = need("zarr").open_group(str(path), mode="r+")
        else:
            file = stack.enter_context(h5py.File(path, "r+"))
        if not may_replace and "events.window" not in file["event_id"].attrs:
            raise DataError(
                f"{path}: has event ids of another source; give --overwrite to replace them"
            )
        if "event_id" in file:
            del file["event_id"]
        create = file.create_array if is_zarr else file.create_dataset
        create("event_id", data=found).attrs.update({"missing": -1} | attributes)
        if is_zarr and file.metadata.consolidated_metadata:
            with warnings.catch_warnings(action="ignore"):
                need("zarr").consolidate_metadata(str(path))
    table = path.with_suffix(".csv")
    frame = pandas.read_csv(table, dtype=str, na_filter=False) if table.exists() else ()
    if len(frame) == len(found):
        with new_file(table) as partial:
            frame.assign(event_id=found).to_csv(partial, index=False, lineterminator="\n")
