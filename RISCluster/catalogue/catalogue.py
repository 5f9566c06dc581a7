"""The catalogue of a finished run: how often each cluster occurs, by station, month, hour, season.

Letters: N samples, K clusters, S stations, G groups, n samples of a block.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..data.tables import natural_key
from ..data.times import far_times
from ..runs.labels import LabelTable
from ..runs.run import FinishedStage
from ..settings import Months

BLOCK = 2**20  # samples handled at a time
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
NO_TIME = np.datetime64("NaT", "us")


@dataclass(frozen=True)
class Catalogue:
    """Labels with start times and stations; arrays of N are those of the table.

    Attributes
    ----------
    table : LabelTable
    n_clusters : int
    stations : list of str
        ``NET.STA`` sorted, numbers as numbers, or what the trace ids have of it; empty where the
        table has no trace ids.
    station_of_trace : ndarray, int64
        Which of `stations` each of ``table.trace_ids`` is of.
    """

    table: LabelTable
    n_clusters: int
    stations: list[str]
    station_of_trace: np.ndarray

    @property
    def has_times(self) -> bool:
        """Whether any labelled sample has a start time."""
        return self.span is not None

    @property
    def has_stations(self) -> bool:
        """Whether samples have trace ids."""
        return bool(self.stations)

    @cached_property
    def far(self) -> np.ndarray:
        """Labelled samples whose time is years from all others, see `far_times`: indices.

        Nothing here counts their times, so that no clock that was wrong decides an axis.
        """
        if self.table.starttime is None:
            return np.empty(0, dtype=np.int64)
        labelled = np.where(self.table.labels >= 0, self.table.starttime, NO_TIME)
        return np.flatnonzero(far_times(labelled))

    @cached_property
    def starttime(self) -> np.ndarray | None:
        """Start times, (N,); NaT also for those of `far`."""
        if not len(self.far):
            return self.table.starttime
        times = self.table.starttime.copy()
        times[self.far] = NO_TIME
        return times

    @cached_property
    def spans(self) -> np.ndarray:
        """First and last start time of each station's labelled samples, (S, 2), datetime64[us].

        NaT for a station without any; one row for all samples where stations are not known.
        """
        number = np.iinfo(np.int64)
        ends = np.empty((max(1, len(self.stations)), 2), dtype=np.int64)
        ends[:] = number.max, number.min
        for part in self.blocks() if self.starttime is not None else ():
            times = self.starttime[part]
            known = (self.table.labels[part] >= 0) & ~np.isnat(times)
            station = self.station(part)[known] if self.has_stations else np.zeros(known.sum(), int)
            np.minimum.at(ends[:, 0], station, times[known].astype(np.int64))
            np.maximum.at(ends[:, 1], station, times[known].astype(np.int64))
        spans = ends.astype("datetime64[us]")
        spans[ends[:, 0] > ends[:, 1]] = NO_TIME
        return spans

    @cached_property
    def shard(self) -> tuple[np.datetime64, np.datetime64] | None:
        """First and last start time of all labelled samples; None where none is known."""
        known = self.spans[~np.isnat(self.spans[:, 0])]
        return (known[:, 0].min(), known[:, 1].max()) if len(known) else None

    def blocks(self) -> Iterator[slice]:
        """All samples, `BLOCK` at a time."""
        for start in range(0, len(self.table.labels), BLOCK):
            yield slice(start, min(start + BLOCK, len(self.table.labels)))

    def station(self, part: slice) -> np.ndarray:
        """Which of `stations` these samples are of, (n,), int64."""
        return self.station_of_trace[self.table.trace[part]]

    def count(self, group: Callable[[slice], np.ndarray], n_groups: int) -> np.ndarray:
        """Samples of each group and cluster, (G, K), int64.

        Parameters
        ----------
        group : callable
            slice of samples to the group of each, (n,); below 0 for none.
        n_groups : int
        """
        k = self.n_clusters
        counts = np.zeros(n_groups * k, dtype=np.int64)
        for part in self.blocks():
            labels, groups = self.table.labels[part].astype(np.int64), group(part)
            counted = (labels >= 0) & (groups >= 0)
            cell = groups[counted] * k + labels[counted]
            counts += np.bincount(cell, minlength=len(counts))
        return counts.reshape(n_groups, k)

    def by_station(self) -> np.ndarray:
        """(S, K)."""
        return self.count(self.station, len(self.stations))

    def by_month(self) -> np.ndarray:
        """(12, K), January first."""
        return self.count(lambda part: month_of(self.starttime[part]) - 1, 12)

    def by_hour(self) -> np.ndarray:
        """(24, K), hours of the day in UTC."""
        return self.count(lambda part: hour_of(self.starttime[part]), 24)

    def by_season(self, seasons: Sequence[Months]) -> np.ndarray:
        """(seasons, K); months of no season are left out."""
        season = np.array([season_of(month, seasons) for month in range(13)])  # of no time: -1
        return self.count(lambda part: season[month_of(self.starttime[part])], len(seasons))

    def without_time(self) -> int:
        """Labelled samples whose start time is not known."""
        times = self.table.starttime
        if times is None:
            return int((self.table.labels >= 0).sum())
        return sum(
            int(((self.table.labels[part] >= 0) & np.isnat(times[part])).sum())
            for part in self.blocks()
        )


def catalogue_of(stage: FinishedStage) -> Catalogue:
    """Catalogue of a stage that labels samples.

    Raises
    ------
    CheckpointError
        Its table is damaged.
    """
    table = stage.table
    named = table.trace is not None and any(table.trace_ids)
    places = [station_of(name) for name in table.trace_ids] if named else []
    stations = sorted(set(places), key=natural_key)
    number = {name: place for place, name in enumerate(stations)}
    lookup = np.array([number[place] for place in places], dtype=np.int64)
    return Catalogue(table, stage.n_clusters, stations, lookup)


def station_of(trace_id: str) -> str:
    """``NET.STA`` of a trace id, ``STA`` where it has no network, or all of another kind of id."""
    parts = trace_id.split(".")
    return ".".join(part for part in parts[:2] if part) if len(parts) == 4 else trace_id


def month_of(times: np.ndarray) -> np.ndarray:
    """Month of each time, 1 to 12; 0 for NaT."""
    months = times.astype("datetime64[M]").astype(np.int64)
    return np.where(np.isnat(times), 0, months % 12 + 1)


def hour_of(times: np.ndarray) -> np.ndarray:
    """Hour of the day of each time, UTC, 0 to 23; -1 for NaT."""
    hours = times.astype("datetime64[h]").astype(np.int64)
    return np.where(np.isnat(times), -1, hours % 24)


def season_of(month: int, seasons: Sequence[Months]) -> int:
    """Which season a month is in; -1 for none."""
    return next((i for i, season in enumerate(seasons) if month and month in season), -1)


def season_names(seasons: Sequence[Months]) -> list[str]:
    """``Dec-Feb`` for December to February, ``Jul`` for July alone."""
    return [
        MONTHS[first - 1] if first == last else f"{MONTHS[first - 1]}-{MONTHS[last - 1]}"
        for first, last in seasons
    ]


def largest(counts: np.ndarray, most: int) -> np.ndarray:
    """Rows (or items) with the largest totals, at most so many, in their own order."""
    totals = counts.reshape(len(counts), -1).sum(axis=1)
    return np.sort(np.argsort(-totals, kind="stable")[:most])
