"""Occurrence of clusters by station, month, hour and season, and over time beside other series.

Letters: N samples, K clusters, S stations, G groups, B bins.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas

from ..data.layouts import SpectrogramFile
from ..data.measures import MEASURES
from ..data.tables import is_gap, read_table, read_times
from ..data.times import NOT_A_TIME, far_times
from ..errors import DataError
from ..runs.run import FinishedStage
from ..runtime import count
from ..settings import Months
from .stations import stations_of

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
NO_TIME = np.datetime64("NaT", "us")
FREQUENCIES = {  # of pandas; weeks begin on Monday
    "minute": "min", "10 minutes": "10min", "hour": "h", "day": "D", "week": "W-MON", "month": "MS",
}  # fmt: skip
AUTO_BINS = 400  # at most, where the interval is chosen automatically
MAX_BINS = 1000  # of a figure
GAP_MARKS = (-999.0, -9999.0, -99999.0, -999.9, 9999.0, 99999.0)  # in environmental series

Span = tuple[np.datetime64, np.datetime64]


class Catalogue:
    """Labels with start times and stations of all samples of a stage."""

    def __init__(self, stage: FinishedStage):
        self.table, self.n_clusters, n = stage.table, stage.n_clusters, len(stage.table)
        self.labels = self.table["label"].to_numpy()  # (N,); -1 for unusable samples
        times = np.full(n, NO_TIME)
        if "starttime" in self.table:
            times = self.table["starttime"].to_numpy(copy=True)
        # Indices of labelled samples with a wrong clock; without a time, as they set no axis
        self.far = np.flatnonzero(far_times(np.where(self.labels >= 0, times, NO_TIME)))
        times[self.far] = NO_TIME
        self.starttime = times  # (N,), datetime64[us]; NaT for unknown ones
        # Names NET.STA in natural order, and position in them (N,); none and 0 without trace ids
        self.stations, self.station = [], np.zeros(n, dtype=np.int64)
        if "trace_id" in self.table and any(self.table["trace_id"].cat.categories):
            self.stations, self.station = stations_of(self.table["trace_id"].array)
        self.event = np.full(n, -1)  # (N,), number of the event; -1 for none
        if "event_id" in self.table:
            self.event = self.table["event_id"].to_numpy()

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
        """Events by their most frequent label, K rows: count; 25, 50, 75 % of their stations."""
        found = self.events.groupby("label")["stations"].describe()
        found = found.reindex(range(self.n_clusters))[["count", "25%", "50%", "75%"]]
        return found.fillna({"count": 0})

    def count(self, groups: np.ndarray, n_groups: int) -> np.ndarray:
        """Samples of each group and cluster, (G, K); groups (N,) below 0 and NaN do not count."""
        counts = np.zeros((n_groups, self.n_clusters), int)
        counted = (self.labels >= 0) & (groups >= 0)
        np.add.at(counts, (groups[counted].astype(int), self.labels[counted]), 1)
        return counts

    def by_station(self) -> np.ndarray:
        """(S, K); S is 0 without trace ids."""
        return self.count(self.station, max(1, len(self.stations)))[: len(self.stations)]

    def by_month(self) -> np.ndarray:
        """(12, K), January first."""
        return self.count(pandas.DatetimeIndex(self.starttime).month.to_numpy() - 1, 12)

    def by_hour(self) -> np.ndarray:
        """(24, K), hours of the day in UTC."""
        return self.count(pandas.DatetimeIndex(self.starttime).hour.to_numpy(), 24)

    def without_time(self) -> int:
        """Labelled samples whose start time is not known."""
        return int(((self.labels >= 0) & np.isnat(self.starttime)).sum()) - len(self.far)


def cluster_medians(file: SpectrogramFile, labels: np.ndarray, n_clusters: int) -> pandas.DataFrame:
    """Medians of ``peak_amplitude`` and `MEASURES`, where the file has them, of each cluster."""
    names = ("peak_amplitude", *MEASURES)
    columns = {name: x for name in names if (x := file.column(name)) is not None}
    table = pandas.DataFrame(columns, index=range(len(labels)))
    return table.groupby(labels).median().reindex(range(n_clusters))


def season_names(seasons: Sequence[Months]) -> dict[int, str]:
    """Season of each month that has one: ``Dec-Feb`` for December to February, ``Jul`` for July."""
    names = ["-".join(dict.fromkeys(MONTHS[end - 1] for end in season)) for season in seasons]
    pairs = zip(seasons, names, strict=True)
    return {month: name for season, name in pairs for month in range(1, 13) if month in season}


def largest(counts: np.ndarray, most: int) -> np.ndarray:
    """Rows (or items) with the largest totals, at most so many, in their own order."""
    totals = counts.reshape(len(counts), -1).sum(axis=1)
    return np.sort(np.argsort(-totals, kind="stable")[:most])


class Bins(NamedTuple):
    """Bins of calendar time, UTC."""

    interval: str  # a key of `FREQUENCIES`
    edges: np.ndarray  # (B + 1,), datetime64[s], starts of the bins, and the end of the last

    def index(self, times: np.ndarray) -> np.ndarray:
        """Bin of each time, int64; -1 for NaT and outside."""
        number = np.searchsorted(self.edges, times, side="right") - 1
        return np.where(np.isnat(times) | (number >= len(self.edges) - 1), -1, number)


def bins_over(span: Span, interval: str) -> Bins:
    """Bins from that of the first to that of the last time."""
    frequency, start = FREQUENCIES[interval], pandas.Timestamp(span[0])
    if interval in ("week", "month"):
        start = start.to_period(interval[0].upper()).start_time
    else:
        start = start.floor(frequency)
    edges = pandas.date_range(start, pandas.Timestamp(span[1]), freq=frequency)
    return Bins(interval, edges.append(edges[-1:] + edges.freq).to_numpy().astype("M8[s]"))


def choose_bins(span: Span, setting: str) -> Bins:
    """Bins for a span of time by ``report.interval``, or longer ones of more than `MAX_BINS`.

    ``auto`` is the shortest that makes `AUTO_BINS` bins at most, from 30 hours on at least an hour.
    """
    names, shortest, most = list(FREQUENCIES), setting, MAX_BINS
    if setting == "auto":
        is_short = span[1] - span[0] < np.timedelta64(30, "h")
        shortest, most = "minute" if is_short else "hour", AUTO_BINS
    every = (bins_over(span, name) for name in names[names.index(shortest) :])
    return next(x for x in every if len(x.edges) <= most + 1 or x.interval == names[-1])


def count_occurrences(
    catalogue: Catalogue, bins: Bins, station: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Samples of each bin and cluster, (B, K), and stations with data in each bin, (B,).

    At all stations, or at one. A station has data from its first to its last sample: a pause of it
    looks like a time without events.
    """
    index, spans = bins.index(catalogue.starttime), catalogue.spans
    if station is not None:
        index = np.where(catalogue.station == station, index, -1)
        spans = spans[[station]]
    begun, ended = np.sort(spans[~np.isnat(spans[:, 0])], axis=0).T
    recording = np.searchsorted(begun, bins.edges[1:]) - np.searchsorted(ended, bins.edges[:-1])
    return catalogue.count(index, len(bins.edges) - 1), recording


def read_environment(place: str | Path) -> tuple[pandas.DataFrame, list[str]]:
    """Series of a table by time (UTC, ascending, possibly repeated), and what was left out.

    It has a column of times, UTC if they have no offset, and columns of values; NaN for gaps.
    """
    path = Path(place).expanduser()
    try:
        table = read_table(path)
        times, used = read_times(table)
        stamps, known, series = times.view("M8[ns]").astype("M8[us]"), times != NOT_A_TIME, []
        for column, name in enumerate(table.names):
            if column in used:
                continue
            cells, values = table.cells[column], table.numbers(column)
            bad = cells[np.isnan(values) & ~is_gap(cells)]
            values[np.isin(values, GAP_MARKS)] = np.nan
            if np.isnan(values[known]).all():
                table.notes.append(f"Column '{name}' holds no number and is left out.")
                continue
            series.append(pandas.Series(values[known], stamps[known], name=name))
            if len(bad):
                table.notes.append(
                    f"'{name}': {count(len(bad), 'cell')} without a finite number left out, the "
                    f"first in line {bad.index[0]}: '{bad.iloc[0][:40]}'."
                )
        if not series:
            raise ValueError("no column of numbers beside the times")
    except (OSError, ValueError) as error:
        raise DataError(
            f"report.environment: {path}: can't be read as a table: {error}; allowed: CSV with a "
            "column of times and columns of values"
        ) from None
    return pandas.concat(series, axis=1).sort_index(kind="stable"), table.notes
