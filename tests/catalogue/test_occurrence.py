import numpy as np
import pytest

from RISCluster.catalogue.catalogue import (
    FREQUENCIES,
    Bins,
    bins_to_draw,
    choose_bins,
    count_at_stations,
    count_occurrences,
)
from tests.catalogue.test_catalogue import made


def span(first, last):
    return np.datetime64(first, "us"), np.datetime64(last, "us")


@pytest.mark.parametrize("interval", FREQUENCIES)
def test_bins_hold_their_times(interval):
    rng = np.random.default_rng(0)
    around = rng.integers(-(10**6), 10**6, 500) * 1_000_000
    times = (around + rng.integers(0, 10**6, 500)).astype("datetime64[us]")
    bins = Bins.over(times.min(), times.max(), interval)
    index = bins.index(times)
    assert (bins.edges[index] <= times).all()
    assert (times < bins.edges[index + 1]).all()
    assert index.min() == 0
    assert index.max() == bins.n - 1


def test_months_and_outside():
    bins = Bins.over(*span("2015-12-31T23:59:59", "2016-02-01"), "month")
    assert bins.days.tolist() == [31, 31, 29]
    times = np.array(["2015-11-30", "2016-02-29T23", "2016-03-01", "NaT"], "datetime64[us]")
    assert bins.index(times).tolist() == [-1, 2, -1, -1]


@pytest.mark.parametrize(
    ("last", "interval", "n"),
    [
        ("2016-01-01T00:00:01", "minute", 1),
        ("2016-01-01T01:00", "minute", 61),
        ("2016-01-02T00:00", "10 minutes", 145),
        ("2016-01-10T00:00", "hour", 217),
        ("2016-03-01T00:00", "day", 61),
        ("2017-12-31T00:00", "week", 105),
        ("2026-01-01T00:00", "month", 121),
        ("2126-01-01T00:00", "month", 1321),
    ],
)
def test_suitable_interval(last, interval, n):
    bins, said = choose_bins(span("2016-01-01", last), "auto")
    assert (bins.interval, bins.n, said) == (interval, n, None)


def test_interval_asked_for():
    bins, said = choose_bins(span("2016-01-01", "2026-01-01"), "hour")
    assert (bins.interval, bins.n, said) == ("hour", 87673, None)
    bins, said = choose_bins(span("1970-01-01", "2016-01-01"), "hour")
    assert bins.interval == "day"
    assert "403,225 bins" in said
    assert "days are taken" in said
    assert bins_to_draw(bins, span("1970-01-01", "2016-01-01")).interval == "month"


def test_counts_and_what_is_no_data():
    # Station A has samples on 2 and 4 January, B on 7 January, and 5 and 6 January have no data.
    found = made(
        labels=[0, 1, 0, 1, -1],
        times=["2016-01-02T03", "2016-01-04", "2016-01-07", "2016-01-07T23:59", "2016-01-09"],
        trace=[1, 1, 0, 0, 0],
        k=2,
    )
    bins = Bins.over(*span("2016-01-02", "2016-01-07"), "day")
    both = count_occurrences(found, bins)
    assert both.counts.tolist() == [[1, 0], [0, 0], [0, 1], [0, 0], [0, 0], [1, 1]]
    assert both.recording.tolist() == [1, 1, 1, 0, 0, 1]
    assert both.has_data.tolist() == [True, True, True, False, False, True]
    rate = both.rate
    assert rate[:3, 1].tolist() == [0, 0, 1]  # with data and no event: 0
    assert np.isnan(rate[3:5]).all()  # without data
    b, a = count_at_stations(found, bins, np.array([1, 0]))
    assert a.counts[:, 0].tolist() == [1, 0, 0, 0, 0, 0]
    assert a.has_data.tolist() == [True, True, True, False, False, False]
    assert b.counts[5].tolist() == [1, 1]


def test_rate_is_a_day_and_station():
    found = made(
        labels=[0, 0, 0, 0],
        times=["2016-02-01", "2016-02-10", "2016-02-20", "2016-02-29"],
        trace=[0, 1, 0, 1],
        k=1,
    )
    month = count_occurrences(found, Bins.over(*span("2016-02-01", "2016-02-29"), "month"))
    assert month.recording.tolist() == [2]
    assert month.rate[0, 0] == pytest.approx(4 / 2 / 29)
