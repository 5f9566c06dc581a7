from types import SimpleNamespace

import numpy as np
import pandas
import pytest

from RISCluster.catalogue import catalogue
from RISCluster.catalogue.stations import stations_of
from RISCluster.errors import DataError
from RISCluster.settings import Months

TIMES = ["2015-12-31T23:59:59.999999", "2016-01-01T00:00:00", "2016-02-29T12:30:00", "NaT",
         "1969-07-20T20:17:40", "2016-07-01T12:00:00"]  # fmt: skip
TRACES = ["XH.B..HHZ", "XH.A..HHZ", "XH.A.10.HHN"]


def made(labels=(0, 1, 1, 0, -1, 2), times=TIMES, trace=(0, 1, 2, 0, 1, 1), k=4, ids=TRACES,
         event=None):  # fmt: skip
    table = pandas.DataFrame({"label": np.array(labels, "i2"), "probability": np.float32(1)})
    if times is not None:
        table["starttime"] = np.array(times, "datetime64[us]")
    if trace is not None:
        table["trace_id"] = pandas.Categorical.from_codes(trace, ids)
    if event is not None:
        table["event_id"] = event
    return catalogue.Catalogue(SimpleNamespace(table=table, n_clusters=k))


def test_counts_by_hand():
    found = made()
    assert found.stations == ["XH.A", "XH.B"]
    assert found.by_station().tolist() == [[0, 2, 1, 0], [2, 0, 0, 0]]
    # Neither the sample without a label nor the one without a time counts.
    months, hours = found.by_month(), found.by_hour()
    assert months[[11, 0, 1, 6], [0, 1, 1, 2]].tolist() == [1] * 4
    assert hours[[23, 0, 12, 12], [0, 1, 1, 2]].tolist() == [1] * 4
    assert months.sum() == hours.sum() == 4
    assert found.without_time() == 1
    seasons = catalogue.season_names((Months(12, 2), Months(7, 7)))
    assert seasons == {1: "Dec-Feb", 2: "Dec-Feb", 12: "Dec-Feb", 7: "Jul"}
    assert catalogue.largest(np.array([[1, 1], [5, 0], [2, 0], [0, 4]]), 2).tolist() == [1, 3]


def test_a_wrong_clock_decides_no_span():
    times = ["1970-01-01", *(f"2016-01-{day:02d}" for day in range(1, 21)), "2262-01-01"]
    found = made(labels=[0] * 22, times=times, trace=[0] * 22, k=1)
    assert found.far.tolist() == [0, 21]
    for span in (found.span, found.spans[1]):
        assert [str(time)[:10] for time in span] == ["2016-01-01", "2016-01-20"]
    assert found.by_month()[0, 0] == found.by_hour().sum() == 20
    assert (found.by_station().sum(), found.without_time()) == (22, 0)
    assert found.table["starttime"][0].year == 1970  # what is exported stays


def test_stations_without_times_or_traces():
    ids = ["channel 10", "channel 2", "channel 1"]
    found = made(labels=[0, 0, 1], times=None, trace=[0, 1, 2], ids=ids, k=2)
    assert found.stations == ["channel 1", "channel 2", "channel 10"]
    assert found.by_station().tolist() == [[0, 1], [1, 0], [1, 0]]
    assert (found.has_times, found.has_stations, found.without_time()) == (False, True, 3)
    ids = ["XH.DR01..HHZ", ".DR01..HHZ", "DR01", "fibre 1.5 m"]
    names, number = stations_of(pandas.Categorical.from_codes([0, 1, 2, 3, 0], ids))
    assert names == ["DR01", "XH.DR01", "fibre 1.5 m"]
    assert number.tolist() == [1, 0, 0, 2, 1]
    found = made(trace=None)
    assert (found.has_times, found.has_stations, found.by_station().shape) == (True, False, (0, 4))
    assert not made(ids=[""], trace=[0] * 6).has_stations
    assert not made(labels=[-1] * 6).has_times


def test_intervals():
    for last, interval, n in (
        ("2016-01-01T01:00", "minute", 61), ("2016-01-02", "10 minutes", 145),
        ("2016-01-10", "hour", 217), ("2016-03-01", "day", 61), ("2017-12-31", "week", 105),
        ("2126-01-01", "month", 1321), ("2016-01-02T05", "10 minutes", 175),
    ):  # fmt: skip
        bins = catalogue.choose_bins(np.array(["2016-01-01", last], "M8[us]"), "auto")
        assert (bins.interval, len(bins.edges) - 1) == (interval, n)
    bins = catalogue.choose_bins(np.array(["2000-01-01", "2016-01-01"], "M8[us]"), "hour")
    assert bins.interval == "week"  # of 5,845 days
    ends = bins.edges[[0, -1]].astype(str).tolist()
    assert ends == ["1999-12-27T00:00:00", "2016-01-04T00:00:00"]


def test_counts_and_what_is_no_data():
    # Station A has samples on 2 and 4 January, B on 7 January, and 5 and 6 January have no data.
    times = ["2016-01-02T03", "2016-01-04", "2016-01-07", "2016-01-07T23:59", "2016-01-09"]
    found = made([0, 1, 0, 1, -1], times, [1, 1, 0, 0, 0], k=2)
    week, count = np.array(["2016-01-02", "2016-01-07"], "M8[us]"), catalogue.count_occurrences
    days, months = (catalogue.bins_over(week, interval) for interval in ("day", "month"))
    counts, recording = count(found, days)
    assert counts.tolist() == [[1, 0], [0, 0], [0, 1], [0, 0], [0, 0], [1, 1]]
    assert recording.tolist() == [1, 1, 1, 0, 0, 1]
    b, a = (count(found, days, station) for station in (1, 0))
    assert (a[0][:, 0].tolist(), a[1].tolist()) == ([1, 0, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0])
    assert (b[0][5].tolist(), b[1].tolist()) == ([1, 1], [0, 0, 0, 0, 0, 1])
    assert count(found, months)[1].tolist() == [2]


def test_environment(tmp_path):
    path = tmp_path / "env.csv"
    path.write_text(
        "date,x,y,site\n31.01.2016 12:00,1,2,a\n2016-01-03T00:00Z,3,calm,b\n\n"
        "2016-01-02T00:00Z,5,inf,c\n2016-01-02T00:00Z,7,1,d\n2016-01-04T00:00Z,-9999,,\n"
    )
    found, notes = catalogue.read_environment(path)
    assert list(found) == ["x", "y"]
    assert found.index.is_monotonic_increasing
    np.testing.assert_array_equal(found["x"], [5, 7, 3, np.nan])
    np.testing.assert_array_equal(found["y"], [np.nan, 1, np.nan, np.nan])
    assert notes[1:] == [
        "'y': 2 cells without a finite number left out, the first in line 3: 'calm'.",
        "Column 'site' holds no number and is left out.",
    ]
    path.write_text("time,x\n2016-01-01,none\n")
    with pytest.raises(DataError, match=r"can't be read .*no column of numbers beside the times"):
        catalogue.read_environment(path)


def test_events():
    # Sample 4 has no label; the stations are B, A, A of event 0 and B of event 1.
    found = made(event=[0, 0, 0, 1, 1, -1])
    events, by_cluster = found.events, found.events_by_cluster()
    assert events[["samples", "stations", "label"]].to_numpy().tolist() == [[3, 2, 1], [1, 1, 0]]
    assert events["share"].tolist() == [2 / 3, 1]
    assert events["time"][0] == np.datetime64("2015-12-31T23:59:59.999999")
    assert np.isnat(events["time"].to_numpy()[1])
    assert by_cluster["count"].tolist() == [1, 1, 0, 0]
    assert by_cluster["50%"].tolist()[:2] == [1, 2]
    assert np.isnan(by_cluster["50%"][2])
    assert made().events.empty


def test_medians_of_clusters():
    columns = {"duration": np.array([1, 3, np.nan, 2, 5, 9]), "rms": np.array([0, 1, 5, 3, 4, 5])}
    file = SimpleNamespace(column=columns.get)
    found = catalogue.cluster_medians(file, np.array([0, 0, 0, 2, 2, -1]), 3)
    assert list(found) == ["rms", "duration"]
    np.testing.assert_array_equal(found, [[1, 2], [np.nan, np.nan], [3.5, 3.5]])
