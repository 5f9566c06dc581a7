"""Occurrence of clusters by station, month, hour and season, and over time.

Letters: N samples, K clusters, S stations, G groups, B bins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas

from ..data.layouts import SpectrogramFile
from ..data.measures import MEASURES
from ..data.tables import natural_key
from ..data.times import far_times
from ..runs.labels import station_of
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

Span = tuple[np.datetime64, np.datetime64]


@dataclass(frozen=True)
class Bins:
    """Bins of calendar time, UTC; their interval is a key of `FREQUENCIES`."""

    interval: str
    edges: np.ndarray  # (B + 1,), datetime64[s], starts of the bins, and the end of the last

    @classmethod
    def over(cls, first: np.datetime64, last: np.datetime64, interval: str) -> "Bins":
        """Bins from that of the first to that of the last time."""
        frequency, start = FREQUENCIES[interval], pandas.Timestamp(first)
        if interval in ("week", "month"):
            start = start.to_period(interval[0].upper()).start_time
        else:
            start = start.floor(frequency)
        edges = pandas.date_range(start, pandas.Timestamp(last), freq=frequency)
        return cls(interval, edges.append(edges[-1:] + edges.freq).to_numpy().astype("M8[s]"))

    n = property(lambda self: len(self.edges) - 1)
    days = property(lambda self: np.diff(self.edges) / np.timedelta64(1, "D"))  # of each, (B,)

    def index(self, times: np.ndarray) -> np.ndarray:
        """Bin of each time, int64; -1 for NaT and outside."""
        number = np.searchsorted(self.edges, times, side="right") - 1
        return np.where(np.isnat(times) | (number >= self.n), -1, number)


@dataclass(frozen=True)
class Catalogue:
    """Labels with start times and stations of all samples."""

    table: pandas.DataFrame  # see `read_labels`
    n_clusters: int
    labels: np.ndarray  # (N,); -1 for unusable samples
    starttime: np.ndarray  # (N,), datetime64[us]; NaT for unknown ones and for those of `far`
    far: np.ndarray  # indices of labelled samples with a wrong clock, see `far_times`
    stations: list[str]  # NET.STA in natural order; empty without trace ids
    station: np.ndarray  # (N,), int64, position in `stations`; 0 without trace ids
    event: np.ndarray  # (N,), int64, number of the event; -1 for none

    @cached_property
    def spans(self) -> np.ndarray:
        """First and last start time of labelled samples by station, (S, 2), datetime64[us]."""
        times = pandas.Series(np.where(self.labels >= 0, self.starttime, NO_TIME))
        spans = times.groupby(self.station).agg(["min", "max"])
        return spans.reindex(range(max(1, len(self.stations)))).to_numpy().astype("M8[us]")

    @cached_property
    def span(self) -> Span | None:
        """First and last start time of all labelled samples; None where none is known."""
        known = self.spans[~np.isnat(self.spans[:, 0])]
        return (known[:, 0].min(), known[:, 1].max()) if len(known) else None

    has_times = property(lambda self: self.span is not None)
    has_stations = property(lambda self: bool(self.stations))
    has_events = property(lambda self: len(self.events) > 0)

    @cached_property
    def events(self) -> pandas.DataFrame:
        """Events by number: time, number of samples and stations, label, share of that label.

        Of samples with a label; the time is the first onset or start, the label the most frequent.
        """
        onset = self.table.get("onset", self.starttime)
        rows = {"event": self.event, "station": self.station, "label": self.labels, "time": onset}
        rows = pandas.DataFrame(rows)[(self.labels >= 0) & (self.event >= 0)]
        found = rows.groupby("event").agg(
            time=("time", "min"), samples=("label", "size"), stations=("station", "nunique")
        )
        counts = rows.value_counts(["event", "label"]).rename("n").reset_index()
        counts = counts.sort_values(["n", "label"], ascending=[False, True])
        most = counts.drop_duplicates("event").set_index("event")
        return found.assign(label=most["label"], share=most["n"] / found["samples"])

    def events_by_cluster(self) -> pandas.DataFrame:
        """Events by their most frequent label, K rows: events; 25, 50, 75 % of their stations."""
        stations = self.events.groupby("label")["stations"]
        found = stations.quantile([0.25, 0.5, 0.75]).unstack()
        found.insert(0, "events", stations.size())
        return found.reindex(range(self.n_clusters)).fillna({"events": 0}).astype({"events": int})

    def count(self, groups: np.ndarray, n_groups: int) -> np.ndarray:
        """Samples of each group and cluster, (G, K), int64; groups (N,) below 0 do not count."""
        counts = np.zeros((n_groups, self.n_clusters), int)
        counted = (self.labels >= 0) & (groups >= 0)
        np.add.at(counts, (groups[counted], self.labels[counted]), 1)
        return counts

    def by_station(self) -> np.ndarray:
        """(S, K); S is 0 without trace ids."""
        return self.count(self.station, max(1, len(self.stations)))[: len(self.stations)]

    def by_month(self) -> np.ndarray:
        """(12, K), January first."""
        return self.count(_part(self.starttime, "month") - 1, 12)

    def by_hour(self) -> np.ndarray:
        """(24, K), hours of the day in UTC."""
        return self.count(_part(self.starttime, "hour"), 24)

    def without_time(self) -> int:
        """Labelled samples whose start time is not known."""
        return int(((self.labels >= 0) & np.isnat(self.starttime)).sum()) - len(self.far)


def catalogue_of(stage: FinishedStage) -> Catalogue:
    """Catalogue of a stage that labels samples."""
    table, labels = stage.table, stage.table["label"].to_numpy()
    times = np.full(len(table), NO_TIME)
    if "starttime" in table:
        times = table["starttime"].to_numpy(copy=True)
    far = np.flatnonzero(far_times(np.where(labels >= 0, times, NO_TIME)))
    times[far] = NO_TIME  # so that no wrong clock sets an axis
    stations, station = [], np.zeros(len(table), dtype=np.int64)
    if "trace_id" in table and any(table["trace_id"].cat.categories):
        codes = [station_of(name) for name in table["trace_id"].cat.categories]
        stations = sorted(set(codes), key=natural_key)
        station = pandas.Index(stations).get_indexer(codes)[table["trace_id"].cat.codes]
    event = np.full(len(table), -1) if "event_id" not in table else table["event_id"].to_numpy()
    return Catalogue(table, stage.n_clusters, labels, times, far, stations, station, event)


def cluster_medians(file: SpectrogramFile, labels: np.ndarray, n_clusters: int) -> pandas.DataFrame:
    """Medians of ``peak_amplitude`` and `MEASURES`, where the file has them, of each cluster."""
    columns = {name: file.column(name) for name in ("peak_amplitude", *MEASURES)}
    columns = {name: x for name, x in columns.items() if x is not None}
    table = pandas.DataFrame(columns, index=range(len(labels)))
    return table.groupby(labels).median().reindex(range(n_clusters))


def _part(times: np.ndarray, name: str) -> np.ndarray:
    """Month (1 to 12) or hour of each time, int64; -1 for NaT."""
    return pandas.Series(getattr(pandas.DatetimeIndex(times), name)).fillna(-1).to_numpy("i8")


def seasons_of(times: np.ndarray, seasons: Sequence[Months]) -> np.ndarray:
    """Season of each time, as position in `seasons`; -1 for none."""
    found = np.full(13, -1)  # by month; the first is that of NaT
    for number, season in reversed(list(enumerate(seasons))):
        found[[month for month in range(1, 13) if month in season]] = number
    return found[np.maximum(_part(times, "month"), 0)]


def season_names(seasons: Sequence[Months]) -> list[str]:
    """``Dec-Feb`` for December to February, ``Jul`` for July alone."""
    return ["-".join(dict.fromkeys(MONTHS[month - 1] for month in season)) for season in seasons]


def largest(counts: np.ndarray, most: int) -> np.ndarray:
    """Rows (or items) with the largest totals, at most so many, in their own order."""
    totals = counts.reshape(len(counts), -1).sum(axis=1)
    return np.sort(np.argsort(-totals, kind="stable")[:most])


# ---- over time ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Occurrence:
    """Counts of each cluster in each bin."""

    bins: Bins
    counts: np.ndarray  # (B, K), int64
    # (B,), stations whose first sample is in or before the bin, and whose last is in or after it:
    # a pause of a station looks like a time without events
    recording: np.ndarray

    has_data = property(lambda self: self.recording > 0)

    @property
    def rate(self) -> np.ndarray:
        """Occurrences per day and station with data, (B, K); NaN in bins without data."""
        with np.errstate(invalid="ignore"):
            return self.counts / (self.recording * self.bins.days)[:, None]


def choose_bins(span: Span, setting: str) -> Bins:
    """Bins for a span of time by ``report.interval``, or longer ones of more than `MAX_BINS`.

    ``auto`` is the shortest of hour, day, week and month that makes `AUTO_BINS` bins at most;
    minutes, or ten of them, for fewer than `FEW_HOURS` hours.
    """
    if setting != "auto":
        return _suitable(span, setting, MAX_BINS)
    bins = _suitable(span, "hour", AUTO_BINS)
    if bins.interval == "hour" and bins.n < FEW_HOURS:
        return _suitable(span, "minute", AUTO_BINS)
    return bins


def _suitable(span: Span, shortest: str, most: int) -> Bins:
    """Bins of the shortest interval from `shortest` on that makes at most so many; or months."""
    names = list(FREQUENCIES)
    every = (Bins.over(*span, name) for name in names[names.index(shortest) :])
    return next(bins for bins in every if bins.n <= most or bins.interval == names[-1])


def bins_to_draw(bins: Bins, span: Span) -> Bins:
    """The same bins, or longer ones where there are more than a figure can show."""
    return _suitable(span, bins.interval, DRAWN_BINS)


def count_occurrences(catalogue: Catalogue, bins: Bins, station: int | None = None) -> Occurrence:
    """Occurrences at all stations together, or at one of the catalogue's."""
    index, spans = bins.index(catalogue.starttime), catalogue.spans
    if station is not None:
        index = np.where(catalogue.station == station, index, -1)
        spans = spans[[station]]
    begun, ended = np.sort(spans[~np.isnat(spans[:, 0])], axis=0).T
    recording = np.searchsorted(begun, bins.edges[1:]) - np.searchsorted(ended, bins.edges[:-1])
    return Occurrence(bins, catalogue.count(index, bins.n), recording)
