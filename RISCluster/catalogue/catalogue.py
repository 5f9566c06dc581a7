"""Occurrence of clusters by station, month, hour and season, and over time.

Letters: N samples, K clusters, S stations, G groups, B bins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas

from ..data.tables import natural_key
from ..data.times import far_times
from ..runs.labels import LabelTable
from ..runs.run import FinishedStage
from ..settings import Months

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
NO_TIME = np.datetime64("NaT", "us")
FREQUENCIES = {  # of pandas; weeks begin on Monday
    "minute": "min", "10 minutes": "10min", "hour": "h", "day": "D", "week": "W-MON", "month": "MS",
}  # fmt: skip
AUTO_BINS = 400  # at most, where the interval is chosen automatically
FEW_HOURS = 30  # below which the interval is shorter than an hour
MAX_BINS = 100_000
DRAWN_BINS = 1000  # of a figure


@dataclass(frozen=True)
class Bins:
    """Bins of calendar time, UTC.

    Attributes
    ----------
    interval : str
        A key of `FREQUENCIES`.
    edges : ndarray, (B + 1,), datetime64[s]
        Starts of the bins, and the end of the last.
    """

    interval: str
    edges: np.ndarray

    @classmethod
    def over(cls, first: np.datetime64, last: np.datetime64, interval: str) -> "Bins":
        """Bins from that of the first to that of the last time."""
        frequency = FREQUENCIES[interval]
        start, stop = pandas.Timestamp(first), pandas.Timestamp(last)
        if interval in ("week", "month"):
            start = start.to_period(interval[0].upper()).start_time
        edges = pandas.date_range(
            start.floor("D" if interval in ("week", "month") else frequency), stop, freq=frequency
        )
        return cls(interval, edges.append(edges[-1:] + edges.freq).to_numpy().astype("M8[s]"))

    @property
    def n(self) -> int:
        """B."""
        return len(self.edges) - 1

    @property
    def days(self) -> np.ndarray:
        """Length of each bin, (B,)."""
        return np.diff(self.edges) / np.timedelta64(1, "D")

    def index(self, times: np.ndarray) -> np.ndarray:
        """Bin of each time, int64; -1 for NaT and outside."""
        number = np.searchsorted(self.edges, times, side="right") - 1
        return np.where(np.isnat(times) | (number >= self.n), -1, number)


@dataclass(frozen=True)
class Catalogue:
    """Labels with start times and stations; arrays of N are those of the table.

    Attributes
    ----------
    table : LabelTable
    n_clusters : int
    stations : list of str
        ``NET.STA`` in natural order; empty where the table has no trace ids.
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
        """Indices of labelled samples whose time is years from all others, see `far_times`."""
        if self.table.starttime is None:
            return np.empty(0, dtype=np.int64)
        labelled = np.where(self.table.labels >= 0, self.table.starttime, NO_TIME)
        return np.flatnonzero(far_times(labelled))

    @cached_property
    def starttime(self) -> np.ndarray | None:
        """Start times, (N,); NaT also for those of `far`, so that no wrong clock sets an axis."""
        if not len(self.far):
            return self.table.starttime
        times = self.table.starttime.copy()
        times[self.far] = NO_TIME
        return times

    @cached_property
    def station(self) -> np.ndarray:
        """Which of `stations` each sample is of, (N,), int64; 0 where stations are not known."""
        if not self.has_stations:
            return np.zeros(len(self.table.labels), dtype=np.int64)
        return self.station_of_trace[self.table.trace]

    @cached_property
    def spans(self) -> np.ndarray:
        """First and last start time of each station's labelled samples, (S, 2), datetime64[us].

        NaT for a station without any; one row for all samples where stations are not known.
        """
        n_stations = max(1, len(self.stations))
        if self.starttime is None:
            return np.full((n_stations, 2), NO_TIME)
        labelled = self.table.labels >= 0
        groups = pandas.Series(self.starttime[labelled]).groupby(self.station[labelled])
        return groups.agg(["min", "max"]).reindex(range(n_stations)).to_numpy().astype("M8[us]")

    @cached_property
    def span(self) -> tuple[np.datetime64, np.datetime64] | None:
        """First and last start time of all labelled samples; None where none is known."""
        known = self.spans[~np.isnat(self.spans[:, 0])]
        return (known[:, 0].min(), known[:, 1].max()) if len(known) else None

    def count(self, groups: np.ndarray, n_groups: int) -> np.ndarray:
        """Samples of each group and cluster, (G, K), int64, by the group of each sample, (N,).

        Samples of a group below 0 do not count.
        """
        counted = (self.table.labels >= 0) & (groups >= 0)
        cell = groups[counted] * self.n_clusters + self.table.labels[counted]
        counts = np.bincount(cell, minlength=n_groups * self.n_clusters)
        return counts.reshape(n_groups, self.n_clusters)

    def by_station(self) -> np.ndarray:
        """(S, K)."""
        return self.count(self.station, len(self.stations))

    def by_month(self) -> np.ndarray:
        """(12, K), January first."""
        return self.count(months_of(self.starttime) - 1, 12)

    def by_hour(self) -> np.ndarray:
        """(24, K), hours of the day in UTC."""
        hours = np.asarray(pandas.DatetimeIndex(self.starttime).hour, dtype=float)
        return self.count(np.nan_to_num(hours, nan=-1).astype(np.int64), 24)

    def by_season(self, seasons: Sequence[Months]) -> np.ndarray:
        """(seasons, K); months of no season are left out."""
        return self.count(seasons_of(self.starttime, seasons), len(seasons))

    def without_time(self) -> int:
        """Labelled samples whose start time is not known."""
        labelled = self.table.labels >= 0
        if self.table.starttime is not None:
            labelled = labelled & np.isnat(self.table.starttime)
        return int(labelled.sum())


def catalogue_of(stage: FinishedStage) -> Catalogue:
    """Catalogue of a stage that labels samples; raises CheckpointError for a damaged table."""
    table = stage.table
    named = table.trace is not None and any(table.trace_ids)
    codes = [station_of(name) for name in table.trace_ids] if named else []
    stations = sorted(set(codes), key=natural_key)
    lookup = np.array([stations.index(code) for code in codes], dtype=np.int64)
    return Catalogue(table, stage.n_clusters, stations, lookup)


def station_of(trace_id: str) -> str:
    """``NET.STA`` of a trace id, ``STA`` where it has no network, or all of another kind of id."""
    parts = trace_id.split(".")
    return ".".join(part for part in parts[:2] if part) if len(parts) == 4 else trace_id


def months_of(times: np.ndarray) -> np.ndarray:
    """Month of each time, 1 to 12; 0 for NaT."""
    months = np.asarray(pandas.DatetimeIndex(times).month, dtype=float)
    return np.nan_to_num(months, nan=0).astype(np.int64)


def seasons_of(times: np.ndarray, seasons: Sequence[Months]) -> np.ndarray:
    """Which season each time is in; -1 for none."""
    found = np.full(13, -1)
    for month in range(1, 13):
        inside = [number for number, season in enumerate(seasons) if month in season]
        found[month] = inside[0] if inside else -1
    return found[months_of(times)]


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


# ---- over time ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Occurrence:
    """Counts of each cluster in each bin.

    Attributes
    ----------
    bins : Bins
    counts : ndarray, (B, K), int64
    recording : ndarray, (B,), int64
        Stations with data: those whose first sample is in or before this bin, and last sample in
        or after it. A pause of a station looks like a time without events.
    """

    bins: Bins
    counts: np.ndarray
    recording: np.ndarray

    @property
    def has_data(self) -> np.ndarray:
        """Bins in which at least one station has data, (B,), bool."""
        return self.recording > 0

    @property
    def rate(self) -> np.ndarray:
        """Occurrences a day and station with data, (B, K); NaN in bins without data."""
        exposure = self.recording * self.bins.days
        rate = np.full(self.counts.shape, np.nan)
        np.divide(self.counts, exposure[:, None], out=rate, where=self.has_data[:, None])
        return rate


def choose_bins(span: tuple[np.datetime64, np.datetime64], setting: str) -> tuple[Bins, str | None]:
    """Bins for a span of time by ``report.interval``.

    ``auto`` takes the shortest of hour, day, week and month that makes `AUTO_BINS` bins at most;
    minutes, or ten of them, where there are fewer than `FEW_HOURS` hours.

    Returns
    -------
    Bins
    str or None
        A note, where another interval than the setting is taken.
    """
    if setting == "auto":
        bins = _suitable(span, "hour", AUTO_BINS)
        if bins.interval == "hour" and bins.n < FEW_HOURS:
            bins = _suitable(span, "minute", AUTO_BINS)
        return bins, None
    bins = _suitable(span, setting, MAX_BINS)
    if bins.interval == setting:
        return bins, None
    return bins, (
        f"report.interval = {setting} makes {Bins.over(*span, setting).n:,} bins of {span[0]}Z to "
        f"{span[1]}Z, and {MAX_BINS:,} is the most; {bins.interval}s are taken."
    )


def _suitable(span: tuple[np.datetime64, np.datetime64], shortest: str, most: int) -> Bins:
    """Bins of the shortest interval from this on that makes so many at most, or of months."""
    names = list(FREQUENCIES)
    for name in names[names.index(shortest) :]:
        bins = Bins.over(*span, name)
        if bins.n <= most:
            break
    return bins


def bins_to_draw(bins: Bins, span: tuple[np.datetime64, np.datetime64]) -> Bins:
    """The same bins, or longer ones where there are more than a figure can show."""
    return _suitable(span, bins.interval, DRAWN_BINS)


def count_occurrences(catalogue: Catalogue, bins: Bins) -> Occurrence:
    """Occurrences at all stations together."""
    counts = catalogue.count(bins.index(catalogue.starttime), bins.n)
    return Occurrence(bins, counts, _recording(catalogue.spans, bins))


def count_at_stations(catalogue: Catalogue, bins: Bins, stations: np.ndarray) -> list[Occurrence]:
    """Occurrences at each of some of the catalogue's stations, (s,)."""
    index, found = bins.index(catalogue.starttime), []
    for station in stations:
        counts = catalogue.count(np.where(catalogue.station == station, index, -1), bins.n)
        found.append(Occurrence(bins, counts, _recording(catalogue.spans[[station]], bins)))
    return found


def _recording(spans: np.ndarray, bins: Bins) -> np.ndarray:
    """Stations that have data in each bin, (B,), from their first and last samples (S, 2)."""
    known = spans[~np.isnat(spans[:, 0])]
    change = np.zeros(bins.n + 1, dtype=np.int64)
    np.add.at(change, bins.index(known[:, 0]), 1)
    np.add.at(change, bins.index(known[:, 1]) + 1, -1)
    return np.cumsum(change[:-1])
