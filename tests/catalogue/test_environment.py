import re

import numpy as np
import pytest

from RISCluster.catalogue.catalogue import Bins
from RISCluster.catalogue.environment import read_environment
from RISCluster.errors import DataError


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
        "2 times without an offset taken for UTC, the first in line 3: '2016-01-01T00:30'.",
        "1 time with an offset converted to UTC, the first in line 2: '2016-01-01T13:00:00+13:00'.",
    ]


def test_what_can_not_be_taken_is_counted(written):
    lines = [
        "date,x,y,site",
        "31.01.2016 12:00,1,2,a",
        "2016-01-03T00:00Z,3,calm,b",
        "",
        "2016-01-02T00:00Z,5,inf,c",
        "2016-01-02T00:00Z,7,1,d",
        "2016-01-02T00:00Z,7,1,d,e",
        "2016-01-04T00:00Z,-9999,,",
        "2016-01-04T00:00Z,1",
        "01/02/2016,1,1,a",
    ]
    found = read_environment(written("\n".join(lines)))
    assert found.names == ["x", "y"]
    assert found.values[:, 0].tolist() == [5, 7, 3, -9999]
    assert found.notes == [
        "2 rows with another number of cells than the header left out, the first in line 7.",
        "2 rows without a readable time left out, the first in line 2: '31.01.2016 12:00'; "
        "allowed: ISO 8601, as 2016-01-31T12:00:00Z.",
        "Its rows are not in order of time; they were sorted.",
        "1 row with a time that came before; values are averaged.",
        "'x' is -9999 in 1 row, and taken as it is; if that marks a gap, empty these cells.",
        "'y': 2 cells without a finite number left out, the first in line 3: 'calm'.",
        "Column 'site' holds no number and is left out.",
    ]


def test_a_date_of_another_century_is_left_out(written):
    rows = [f"2016-01-{day:02d}Z,{day}" for day in range(1, 29)]
    found = read_environment(written("\n".join(["time,x", "1900-01-01Z,5", *rows])))
    assert str(found.times[0]) == "2016-01-01T00:00:00.000000"
    assert found.notes == [
        "1 time years away from all others left out, the first in line 2: "
        "1900-01-01T00:00:00.000000Z."
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
        ("", "env.csv: can't be read as a table: it is empty"),
        ("temp,tide\n1,2\n", "no column of times; it has temp, tide; one must be called time"),
        ("time,x\n12:00,2\n", "no column of dates; it has time, x"),
        ("time\n2016-01-01\n", "no column of values beside the times"),
        ("time,x\nnoon,2\n", "no time can be read in column 'time'; line 2 has 'noon'"),
        ("time,x\n42400.5,2\n", "line 2 has '42400.5'; allowed: ISO 8601"),
        ("time,x\n", "no time can be read in column 'time'; allowed: ISO 8601"),
        ("time,x\n2016-01-01,none\n", "no column of values beside the times holds numbers"),
        ("time (CET),x\n2016-01-01,1\n", "are of a zone without a fixed offset; allowed: UTC"),
        ("time;x\n2016-01-01;1,234\n", "line 2: '1,234' in column 'x' is one or a thousand"),
    ],
)
def test_unreadable(written, text, reason):
    with pytest.raises(DataError, match=re.escape(reason)):
        read_environment(written(text))


def test_missing_or_no_text(written, tmp_path):
    with pytest.raises(DataError, match="nowhere.csv: no such file"):
        read_environment(tmp_path / "nowhere.csv")
    with pytest.raises(DataError, match="can't be read as a table: it is no text in UTF-8"):
        read_environment(written("time,x\n2016-01-01,1\n", "utf-16-le"))
    with pytest.raises(DataError, match="can't be read as a table"):
        read_environment(tmp_path)
