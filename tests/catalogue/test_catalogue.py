from types import SimpleNamespace

import numpy as np
import pytest

from RISCluster.catalogue import catalogue as module
from RISCluster.catalogue.catalogue import (
    catalogue_of,
    hour_of,
    largest,
    month_of,
    season_names,
    season_of,
    station_of,
)
from RISCluster.runs.labels import LabelTable
from RISCluster.settings import Months

TIMES = [
    "2015-12-31T23:59:59.999999",
    "2016-01-01T00:00:00",
    "2016-02-29T12:30:00",
    "NaT",
    "1969-07-20T20:17:40",
    "2016-07-01T12:00:00",
]
LABELS = [0, 1, 1, 0, -1, 2]
TRACES = ["XH.B..HHZ", "XH.A..HHZ", "XH.A.10.HHN"]
SEASONS = (Months(12, 2), Months(3, 5), Months(6, 8))


def made(labels=LABELS, times=TIMES, trace=(0, 1, 2, 0, 1, 1), k=4, ids=TRACES):
    table = LabelTable(
        np.array(labels, "i2"),
        np.ones(len(labels), "f4"),
        None if times is None else np.array(times, "datetime64[us]"),
        None if trace is None else np.array(trace, "i4"),
        list(ids) if trace is not None else [],
    )
    return catalogue_of(SimpleNamespace(table=table, n_clusters=k))


@pytest.fixture(params=[2, 2**20], autouse=True)
def _blocks(request, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", request.param)


def test_counts_by_hand():
    found = made()
    assert found.stations == ["XH.A", "XH.B"]
    assert found.by_station().tolist() == [[0, 2, 1, 0], [2, 0, 0, 0]]
    months = found.by_month()
    assert months.shape == (12, 4)
    assert {(int(m) + 1, int(k)) for m, k in np.argwhere(months)} == {
        (12, 0), (1, 1), (2, 1), (7, 2),
    }  # fmt: skip
    assert months.sum() == 4  # neither the one without a label nor the one without a time
    assert {(int(h), int(k)) for h, k in np.argwhere(found.by_hour())} == {
        (23, 0), (0, 1), (12, 1), (12, 2),
    }  # fmt: skip
    assert found.by_season(SEASONS).tolist() == [[1, 2, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]]
    assert found.without_time() == 1


def test_spans():
    found = made()
    assert [str(time) for time in found.spans[0]] == [
        "2016-01-01T00:00:00.000000", "2016-07-01T12:00:00.000000",
    ]  # fmt: skip
    assert found.spans[1, 0] == found.spans[1, 1] == np.datetime64("2015-12-31T23:59:59.999999")
    assert found.span[1] == np.datetime64("2016-07-01T12:00:00")


def test_a_wrong_clock_decides_no_span():
    days = [f"2016-01-{day:02d}" for day in range(1, 21)]
    times = ["1970-01-01", *days, "2262-01-01"]
    found = made(labels=[0] * 22, times=times, trace=[0] * 22, k=1)
    assert found.far.tolist() == [0, 21]
    assert [str(time)[:10] for time in found.span] == ["2016-01-01", "2016-01-20"]
    assert [str(time)[:10] for time in found.spans[1]] == ["2016-01-01", "2016-01-20"]
    assert found.by_month()[0, 0] == found.by_hour().sum() == 20
    assert found.by_season(SEASONS)[0, 0] == 20
    assert found.by_station().sum() == 22
    assert found.without_time() == 0
    assert str(found.table.starttime[0])[:4] == "1970"  # what is exported stays


def test_stations_are_sorted_as_numbers():
    ids = ["channel 10", "channel 2", "channel 1"]
    found = made(labels=[0, 0, 1], times=None, trace=[0, 1, 2], ids=ids, k=2)
    assert found.stations == ["channel 1", "channel 2", "channel 10"]
    assert found.by_station().tolist() == [[0, 1], [1, 0], [1, 0]]


def test_without_times_or_traces():
    found = made(times=None)
    assert (found.has_times, found.has_stations, found.without_time()) == (False, True, 5)
    found = made(trace=None)
    assert (found.has_times, found.has_stations) == (True, False)
    assert found.spans.shape == (1, 2)
    assert not made(ids=["", "", ""][:1], trace=[0] * 6).has_stations
    assert not made(times=["NaT"] * 6).has_times
    assert not made(labels=[-1] * 6).has_times


def test_station_of_trace_ids():
    assert station_of("XH.DR01..HHZ") == "XH.DR01"
    assert station_of(".DR01..HHZ") == "DR01"
    assert station_of("DR01") == "DR01"
    assert station_of("channel 12") == "channel 12"
    assert station_of("fibre 1.5 m") == "fibre 1.5 m"


def test_months_hours_seasons():
    times = np.array(["1969-12-31T23:00", "2000-01-01T00:59", "NaT"], "datetime64[us]")
    assert month_of(times).tolist() == [12, 1, 0]
    assert hour_of(times).tolist() == [23, 0, -1]
    assert [season_of(month, SEASONS) for month in (0, 12, 1, 3, 9)] == [-1, 0, 0, 1, -1]
    assert season_names((Months(12, 2), Months(7, 7))) == ["Dec-Feb", "Jul"]


def test_largest_in_their_order():
    assert largest(np.array([[1, 1], [5, 0], [2, 0], [0, 4]]), 2).tolist() == [1, 3]
    assert largest(np.array([3, 3, 3]), 2).tolist() == [0, 1]
