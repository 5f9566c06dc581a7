import numpy as np
import pytest

from RISCluster.errors import DataError
from RISCluster.results.catalogue import environment as module
from RISCluster.results.catalogue.environment import read_environment
from RISCluster.results.catalogue.occurrence import Bins


@pytest.fixture
def written(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "env.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


def test_times_values_gaps(written):
    text = "Time (UTC),temp,tide\n2016-01-01T00:00:00Z,1.5,\n2016-01-02 06:00:00Z,NaN,-2\n"
    found = read_environment(written("\ufeff# from a buoy\n\n" + text))
    assert found.names == ["temp", "tide"]
    assert (
        found.times.tolist() == np.array(["2016-01-01", "2016-01-02T06"], "datetime64[us]").tolist()
    )
    assert np.array_equal(found.values, [[1.5, np.nan], [np.nan, -2]], equal_nan=True)
    assert found.notes == []


def test_offsets_and_naive_times(written):
    text = "a;TIMESTAMP\n1;2016-01-01T13:00:00+13:00\n2;2016-01-01T00:30\n3;2016-03\n"
    found = read_environment(written(text))
    assert [str(time)[:16] for time in found.times] == [
        "2016-01-01T00:00", "2016-01-01T00:30", "2016-03-01T00:00",
    ]  # fmt: skip
    assert found.notes == [
        "2 times have no offset from UTC and were taken for UTC, the first in line 3: "
        "'2016-01-01T00:30'.",
        "1 times have an offset and were converted to UTC, the first in line 2: "
        "'2016-01-01T13:00:00+13:00'.",
    ]


@pytest.mark.parametrize("rows", [2, 65536])
def test_what_can_not_be_taken_is_counted(written, monkeypatch, rows):
    monkeypatch.setattr(module, "READ_ROWS", rows)
    lines = [
        "date,x,y,site",
        "2016-01-03Z,1,2,a",  # no time
        "2016-01-03T00:00Z,3,calm,b",
        "",
        "2016-01-02T00:00Z,5,inf,c",
        "2016-01-02T00:00Z,7,1,d",
        "2016-01-02T00:00Z,7,1,d,e",
        "2016-01-04T00:00Z,-9999",
        "yesterday,1,1,a",
    ]
    found = read_environment(written("\n".join(lines)))
    assert found.names == ["x", "y"]
    assert found.values[:, 0].tolist() == [5, 7, 3, -9999]
    assert found.notes == [
        "2 rows whose time can't be read are left out, the first in line 2: '2016-01-03Z'; times "
        "are ISO 8601, as 2016-01-31T12:00:00Z.",
        "1 rows with more cells than the header are left out, the first in line 7.",
        "Its rows are not in order of time; they were sorted.",
        "1 rows have a time that came before; values are averaged.",
        "'x' is -9999 in 1 rows, and taken as it is; if that marks a gap, empty these cells.",
        "'y': 2 cells that are no finite number are left out, the first in line 3: 'calm'.",
        "Column 'site' holds no number and is left out.",
    ]


def test_averages_in_bins(written):
    text = "time,v\n" + "".join(
        f"2016-01-{day}Z,{value}\n"
        for day, value in (
            ("01T00:00", 1), ("01T23:59", 4), ("03T00:00", 5), ("02T00:00", ""), ("09T00:00", 8),
        )
    )  # fmt: skip
    found = read_environment(written(text))
    days = Bins.over(np.datetime64("2015-12-31", "us"), np.datetime64("2016-01-03", "us"), "day")
    assert np.array_equal(found.averages(days)[:, 0], [np.nan, 2.5, np.nan, 5], equal_nan=True)
    assert found.step() == pytest.approx(1 - 0.5 / 1440, abs=1e-3)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "env.csv: is empty"),
        ("temp,tide\n1,2\n", "no column of times; it has temp, tide; one must be called time"),
        ("time\n2016-01-01\n", "no column of values beside the times"),
        ("time,x\nnoon,2\n", "no time can be read in column 'time'; line 2 has 'noon'"),
        ("time,x\n", "no time can be read in column 'time'; allowed: ISO 8601"),
        ("time,x\n2016-01-01,none\n", "no column holds numbers"),
    ],
)
def test_unreadable(written, text, reason):
    with pytest.raises(DataError, match=reason):
        read_environment(written(text))


def test_missing_or_no_text(written, tmp_path):
    with pytest.raises(DataError, match="nowhere.csv: no such file"):
        read_environment(tmp_path / "nowhere.csv")
    with pytest.raises(DataError, match="can't be read as CSV"):
        read_environment(written("time,\u00fc\n2016-01-01,1\n", "latin-1"))
    with pytest.raises(DataError, match="can't be read as CSV"):
        read_environment(tmp_path)
