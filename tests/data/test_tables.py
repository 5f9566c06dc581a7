"""The reader of small tables."""

from itertools import product

import numpy as np
import pytest

from RISCluster.data.tables import natural_key, read_table, read_times
from RISCluster.data.times import nanoseconds_to_iso


@pytest.fixture
def read(tmp_path):
    def from_text(text, encoding="utf-8"):
        (tmp_path / "t.csv").write_bytes(text.encode(encoding))
        return read_table(tmp_path / "t.csv")

    return from_text


def test_encodings_ends_of_lines_and_delimiters(read):
    for encoding, end, delimiter in product(["utf-8-sig", "cp1252"], ["\n", "\r\n"], ",;\t|"):
        text = end.join(["name,x", "Ätna,1.5", "b,-2", ""]).replace(",", delimiter)
        table = read(text, encoding)
        assert table.names == ["name", "x"]
        assert table.cells.to_numpy().tolist() == [["Ätna", "1.5"], ["b", "-2"]]
        assert table.cells.index.tolist() == [2, 3]


@pytest.mark.parametrize("text", [
    '"name","x"\n"Ätna","1.5"\n"b","-2"\n',
    "# a, comment\n\n#\nname,x\nÄtna,1.5\n\n,\n# more\nb,-2",
    "name;x\n Ätna ; 1.5;\nb;-2;;\n",
    "#name|x\n#DATACENTER=http://a.org\nÄtna|1.5\n#DATACENTER=http://b.org\n#name|x\nb|-2\n",
    "#name|x|EndTime\nÄtna|1.5|\nb|-2|\n", "name;x;wind (m/s, 10 m)\nÄtna;1,5;\nb;-2;\n",
])  # fmt: skip
def test_forms(read, text):
    table = read(text)
    assert table.names[:2] == ["name", "x"]
    assert [table.text(0), table.numbers(1).tolist()] == [["Ätna", "b"], [1.5, -2]]


def test_names_with_units(read):
    table = read("Wind Speed [m/s],#LAT (deg),lat\n1,2,3\n")
    assert (table.find("wind_speed"), table.find("latitude", "lat")) == (0, 1)
    with pytest.raises(ValueError, match="no column lon and no column x; it has Wind Speed"):
        table.require({"lon": ("lon",), "lat": ("lat",), "x": ("x",)})


def test_numbers(read):
    for cells, values in (
        (["78,5", "-0,25", "12", "1.234,5", "1.5"], [78.5, -0.25, 12, np.nan, np.nan]),
        ([".5", "5.", "+2e3", "", "inf", "5 km", "0x10"], [0.5, 5, 2000, *[np.nan] * 4]),
    ):
        found = read("\n".join(["a;x", *(f"1;{cell}" for cell in cells)])).numbers(1)
        np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize(("content", "reason"), [
    ("time (LT),x\n2016-01-01,1\n", r"'time \(LT\)' holds times of a zone; allowed: UTC"),
    ("time (UTC+13),x\n2016-01-01,1\n", "holds times of a zone"),
    ("when,x\n2016-01-01,1\n", "no column of times in when, x; allowed: time, datetime"),
    ("\n# x\n;;\n", "it is empty"),
    ("PK\x03\x04\x14\0", "it is no text in UTF-8 or Latin-1; export it as CSV"),
    ('a,b\n1,2\n3,"4\n5,6\n', "close quotes"),
    ("a,b\n-78,5,1,2\n", "line 2 has 4 cells, and the header 2; give 2"),
    ("x" * 200_000, "field larger than"),
])  # fmt: skip
def test_no_table_or_no_times_in_utc(read, content, reason):
    with pytest.raises(ValueError, match=reason):
        read_times(read(content))


def test_numbers_in_names_are_sorted_as_numbers():
    names = ["", "2", "5 m", "10.9", "10.101", "12 m", "XH.S09", "XH.S9", "XH.S10", "a 9.5 m"]
    assert sorted({*names}, key=natural_key) == names


@pytest.mark.parametrize(("text", "used", "time"), [
    ("x,Date,TIME\n1,2016-01-31,12:30\n", {1, 2}, "2016-01-31T12:30:00"),
    ("date,hour,x\n2016-01-31,6,1\n", {0, 1}, "2016-01-31T06:00:00"),
    ("Year, Month,Day,Hour,Min,Sec\n2016,1, 5,6,7,08.3\n", {*range(6)}, "2016-01-05T06:07:08"),
    ("year,month,day,time\n2016,1,5,06:07:08\n", {0, 1, 2, 3}, "2016-01-05T06:07:08"),
    ("time,x\n1454241600500,1\n", {0}, "2016-01-31T12:00:00"),
    ("onset,time (UTC)\n2016-01-31T12:00:00-06:00,2016-02-01\n", {0}, "2016-01-31T18:00:00"),
])  # fmt: skip
def test_times(read, text, used, time):
    times, columns = read_times(read(text), ["onset"])
    assert ([text[:19] for text in nanoseconds_to_iso(times)], columns) == ([time], used)


@pytest.mark.parametrize(
    "cell", ["31.01.2016 12:00", "01/02/2016", "42400.50", "2016", "2016013112", "201601311200"]
)
def test_times_of_local_forms_are_refused(read, cell):
    with pytest.raises(ValueError, match=f"line 2 has '{cell}'; allowed: UTC in ISO 8601"):
        read_times(read(f"time,x\n{cell},1\n"))
    table = read(f"time,x\n2016-01-01Z,0\nNA,1\n{cell},1\n")
    assert (read_times(table)[0] > 0).tolist() == [True, False, False]
    note = f"1 row without a readable time left out; line 4 has '{cell}'; allowed: UTC in ISO"
    assert table.notes[0].startswith(note)
