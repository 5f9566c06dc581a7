"""Occurrences over time: counts of each cluster in hours, days, weeks or months.

Letters: N samples, K clusters, S stations, B bins.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .catalogue import Catalogue

MINUTES = {"minute": 1, "10 minutes": 10, "hour": 60, "day": 1440, "week": 10080, "month": 43829}
SUITABLE = 400  # bins that an interval found by itself makes at most
FEW = 30  # hours below which it is shorter than an hour
MOST = 100_000  # bins in any case
DRAWN = 1000  # bins of a figure
MONDAY = 3  # days from Monday to 1970-01-01


@dataclass(frozen=True)
class Bins:
    """Bins of calendar time, UTC; weeks begin on Monday.

    Attributes
    ----------
    interval : {"minute", "10 minutes", "hour", "day", "week", "month"}
    first : int
        Number of the first bin, counted from 1970.
    n : int
        B.
    """

    interval: str
    first: int
    n: int

    @classmethod
    def over(cls, first: np.datetime64, last: np.datetime64, interval: str) -> "Bins":
        """Those that hold two times and all between them."""
        low, high = number_of(np.array([first, last]), interval)
        return cls(interval, int(low), int(high - low) + 1)

    @property
    def edges(self) -> np.ndarray:
        """Where bins begin, and where the last ends, (B + 1,), datetime64[s]."""
        return start_of(self.first + np.arange(self.n + 1), self.interval)

    @property
    def days(self) -> np.ndarray:
        """Length of each bin, (B,)."""
        return np.diff(self.edges) / np.timedelta64(1, "D")

    def index(self, times: np.ndarray) -> np.ndarray:
        """Bin of each time, int64; -1 for NaT and outside."""
        number = number_of(times, self.interval) - self.first
        return np.where(np.isnat(times) | (number < 0) | (number >= self.n), -1, number)


@dataclass(frozen=True)
class Occurrence:
    """Counts of each cluster in each bin.

    Attributes
    ----------
    bins : Bins
    counts : ndarray, (B, K), int64
    recording : ndarray, (B,), int64
        Stations with data: those whose first sample is in or before this bin, and last sample in
        or after it. 0 is a bin without data, as far as can be known from the samples alone: a
        pause of a station between them is not told from a time without events.
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


def number_of(times: np.ndarray, interval: str) -> np.ndarray:
    """Number of the bin that each time is in, counted from 1970, int64 (of NaT: anything)."""
    if interval == "month":
        return times.astype("datetime64[M]").astype(np.int64)
    if interval in ("day", "week"):
        days = times.astype("datetime64[D]").astype(np.int64)
        return days if interval == "day" else (days + MONDAY) // 7
    return times.astype("datetime64[m]").astype(np.int64) // MINUTES[interval]


def start_of(number: np.ndarray, interval: str) -> np.ndarray:
    """Where bins begin, datetime64[s]; the inverse of `number_of`."""
    if interval == "month":
        return number.astype("datetime64[M]").astype("datetime64[s]")
    if interval == "week":
        return (number * 7 - MONDAY).astype("datetime64[D]").astype("datetime64[s]")
    return (number * MINUTES[interval]).astype("datetime64[m]").astype("datetime64[s]")


def choose_bins(span: tuple[np.datetime64, np.datetime64], setting: str) -> tuple[Bins, str | None]:
    """Bins for a span of time.

    ``auto`` takes the shortest of hour, day, week and month that makes `SUITABLE` bins at most;
    minutes, or ten of them, where there are fewer than `FEW` hours.

    Parameters
    ----------
    span : (datetime64, datetime64)
    setting : {"auto", "hour", "day", "week", "month"}
        ``report.interval``.

    Returns
    -------
    Bins
    str or None
        What is to be said, where another interval than asked for is taken.
    """
    if setting == "auto":
        return _by_itself(span), None
    names = list(MINUTES)
    bins = _suitable(span, names[names.index(setting) :], MOST)
    if bins.interval == setting:
        return bins, None
    asked = Bins.over(*span, setting)
    return bins, (
        f"report.interval = {setting} makes {asked.n:,} bins of {span[0]}Z to {span[1]}Z, and "
        f"{MOST:,} is the most; {bins.interval}s are taken."
    )


def _by_itself(span: tuple[np.datetime64, np.datetime64]) -> Bins:
    bins = _suitable(span, ("hour", "day", "week", "month"), SUITABLE)
    if bins.interval == "hour" and bins.n < FEW:
        return _suitable(span, ("minute", "10 minutes"), SUITABLE)
    return bins


def _suitable(span: tuple[np.datetime64, np.datetime64], names: Sequence[str], most: int) -> Bins:
    """Bins of the first of these intervals that makes so many at most, or else of the last."""
    every = (Bins.over(*span, name) for name in names)
    return next((bins for bins in every if bins.n <= most), Bins.over(*span, names[-1]))


def bins_to_draw(bins: Bins, span: tuple[np.datetime64, np.datetime64]) -> Bins:
    """The same bins, or longer ones where there are more than a figure can show."""
    names = list(MINUTES)
    return _suitable(span, names[names.index(bins.interval) :], DRAWN)


def count_occurrences(catalogue: Catalogue, bins: Bins) -> Occurrence:
    """Occurrences at all stations together."""
    counts = catalogue.count(lambda part: bins.index(catalogue.starttime[part]), bins.n)
    return Occurrence(bins, counts, _recording(catalogue.spans, bins))


def count_at_stations(catalogue: Catalogue, bins: Bins, stations: np.ndarray) -> list[Occurrence]:
    """Occurrences at each of some stations.

    Parameters
    ----------
    catalogue : Catalogue
        With stations.
    bins : Bins
    stations : ndarray, (s,)
        Which of the catalogue's.
    """
    place = np.full(len(catalogue.stations), -1)
    place[stations] = np.arange(len(stations))

    def cell(part: slice) -> np.ndarray:
        index, station = bins.index(catalogue.starttime[part]), place[catalogue.station(part)]
        return np.where((index < 0) | (station < 0), -1, station * bins.n + index)

    counts = catalogue.count(cell, len(stations) * bins.n).reshape(len(stations), bins.n, -1)
    return [
        Occurrence(bins, mine, _recording(catalogue.spans[station : station + 1], bins))
        for station, mine in zip(stations, counts, strict=True)
    ]


def _recording(spans: np.ndarray, bins: Bins) -> np.ndarray:
    """Stations that have data in each bin, (B,), from their first and last samples (S, 2)."""
    known = spans[~np.isnat(spans[:, 0])]
    change = np.zeros(bins.n + 1, dtype=np.int64)
    np.add.at(change, bins.index(known[:, 0]), 1)
    np.add.at(change, bins.index(known[:, 1]) + 1, -1)
    return np.cumsum(change[:-1])
