"""The reader of small tables."""

from itertools import product

import numpy as np
import pytest

from RISCluster.data.tables import natural_key, read_numbers, read_table, read_times
from RISCluster.data.times import nanoseconds_to_iso

ROWS = [["Ätna", "1.5"], ["b", "-2"]]


@pytest.fixture
def read(tmp_path):
    def from_text(text, encoding="utf-8"):
        path = tmp_path / "t.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return read_table(path)

    return from_text


def rows_of(table):
    return [list(row) for row in zip(*(cells.tolist() for cells in table.cells), strict=True)]


def test_quotes_names_with_units_and_rows_that_are_not_whole(read):
    table = read('"site, \nname";x\n"a; ""b""\nc";"1"\nd "e;2\n;3\n')
    assert table.names == ["site, name", "x"]
    assert table.text(0) == ['a; "b" c', 'd "e', ""]
    assert table.lines.tolist() == [3, 5, 6]
    table = read("Wind Speed [m/s],#LAT (deg),lat\n1,2,3\n")
    assert (table.find("wind_speed"), table.find("latitude", "lat")) == (0, 1)
    assert table.find("x") is None
    with pytest.raises(ValueError, match="no column lon and no column x; it has Wind Speed"):
        table.require({"lon": ("lon",), "lat": ("lat",), "x": ("x",)})
    table = read("a,b\n1\n1,2\n1,2,3\n\n4,5,6\n7,8\n")
    assert rows_of(table) == [["1", "2"], ["7", "8"]]
    note = "3 rows with another number of cells than the header left out, the first in line 2."
    assert table.notes == [note]


def times_of(table):
    return [text[:19] for text in nanoseconds_to_iso(read_times(table)[0])]


@pytest.mark.parametrize(
    "cell",
    ["31.01.2016 12:00", "01/02/2016", "42400.5", "2016", "2016013112", "201601311200", "Jan 2016"],
)
def test_times_of_local_forms_are_refused(read, cell):
    with pytest.raises(ValueError, match=f"line 2 has '{cell}'; allowed: ISO 8601, as 2016-01-31T"):
        read_times(read(f"time,x\n{cell},1\n"))
    table = read(f"time,x\n2016-01-01Z,0\n{cell},1\n")
    assert times_of(table) == ["2016-01-01T00:00:00", ""]
    assert (
        f"1 row without a readable time left out, the first in line 3: '{cell}'" in table.notes[-1]
    )


def test_tables_of_numbers_alone(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("epoch,mse\n1,0.1\n2,nan\n")
    found = read_numbers(path)
    assert found["epoch"].tolist() == [1, 2]
    assert found["mse"][0] == 0.1
    for content, reason in (("epoch,mse\n1,x\n", "'x'"), ("a,b\n1\n", "''"), ("", "No col")):
        path.write_text(content)
        with pytest.raises(ValueError, match=reason):
            read_numbers(path)


def test_numbers_in_names_are_sorted_as_numbers():
    names = ["channel 10", "channel 2", "a 10.5 m", "a 9.25 m", "XH.S10", "XH.S9", "XH.S09", "2"]
    assert sorted(names, key=natural_key) == [
        "2", "XH.S09", "XH.S9", "XH.S10", "a 9.25 m", "a 10.5 m", "channel 2", "channel 10",
    ]  # fmt: skip
    assert sorted(["10.9", "10.101"], key=natural_key) == ["10.9", "10.101"]  # NET.STA
    assert sorted(["5 m", "", "12 m"], key=natural_key) == ["", "5 m", "12 m"]


def test_encodings_ends_of_lines_and_delimiters(read):
    encodings, ends = ["utf-8-sig", "cp1252", "utf-16", "utf-32"], ["\n", "\r\n", "\r"]
    for encoding, end, delimiter in product(encodings, ends, ",;\t|"):
        text = end.join(["name,x", "Ätna,1.5", "b,-2", ""]).replace(",", delimiter)
        table = read(text, encoding)
        assert (table.names, rows_of(table), table.notes) == (["name", "x"], ROWS, [])
        assert table.lines.tolist() == [2, 3]


@pytest.mark.parametrize(
    "text",
    [
        '"name","x"\n"Ätna","1.5"\n"b","-2"\n',
        "# a, comment\n\n#\nname,x\nÄtna,1.5\n\n,\nb,-2",
        "sep=;\nname;x\nÄtna;1.5\nb;-2",
        "name;x\n Ätna ; 1.5;\nb;-2;;\n",
        "#name|x\n#DATACENTER=http://a.org\nÄtna|1.5\n#DATACENTER=http://b.org\n#name|x\nb|-2\n",
        "#name|x|EndTime\nÄtna|1.5|\nb|-2|\n",
        "name;x;wind (m/s, 10 m)\nÄtna;1,5;\nb;-2;\n",
    ],
)
def test_forms(read, text):
    table = read(text)
    assert table.names[:2] == ["name", "x"]
    assert [table.text(0), table.numbers(1)[0].tolist()] == [["Ätna", "b"], [1.5, -2]]


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["78,5", "-0,25", "1.234,5", "1,234"], [78.5, -0.25, 1234.5, 1.234]),
        (["78,5", "1.234", "-1.234.567"], [78.5, 1234, -1234567]),
        (["78,5", "1.5"], [78.5, 1.5]),
        (["1,234.5", "1,234", "1,234,567"], [1234.5, 1234, 1234567]),
        (["1 234,5", "1\u202f234", "1'234.5"], [1234.5, 1234, 1234.5]),
        (["\u22125", ".5", "5.", "+2e3"], [-5, 0.5, 5, 2000]),
        (["inf", "1_000", "5 km", "0x10", "2016-01-01"], None),
        (["", "NA", "NaN", "-", "null", "#N/A"], [np.nan] * 6),
    ],
)
def test_numbers_of_any_form(read, cells, values):
    found, wrong = read("\n".join(["a;x", *(f"1;{cell}" for cell in cells)])).numbers(1)
    assert wrong.all() if values is None else not wrong.any()
    np.testing.assert_array_equal(found, values or [np.nan] * len(cells))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\n# x\n;;\n", "it is empty"),
        (b"PK\x03\x04", "it is a spreadsheet or an archive; export it as CSV"),
        (b"a\0b\0", "it is no text in UTF-8"),
        (b"\xff\xfea", "it is no text in UTF-8"),
        (b'a,b\n1,2\n3,"4\n5,6\n', "line 3: a quote that is not closed"),
        (b"a,b\n-78,5,1,2\n", "line 2 has 4 cells, and the header 2; every row needs as many, and"),
        (b"a\n" + b"x" * 200_000, "line 2: field larger than"),
    ],
)
def test_no_table(read, content, reason):
    with pytest.raises(ValueError, match=reason):
        read(content)


@pytest.mark.parametrize(
    ("text", "used", "time"),
    [
        ("x,Date,TIME\n1,2016-01-31,12:30\n", {1, 2}, "2016-01-31T12:30:00"),
        ("date,time\n2016-01-31,2016-02-01T00:00\n", {1}, "2016-02-01T00:00:00"),
        ("date,hour,x\n2016-01-31,6,1\n", {0, 1}, "2016-01-31T06:00:00"),
        ("Year, Month,Day,Hour,Min,Sec\n2016,1, 5,6,7,08.3\n", {*range(6)}, "2016-01-05T06:07:08"),
        ("yr,mon,day\n2016,1.0,5\n", {0, 1, 2}, "2016-01-05T00:00:00"),
        ("year,month,day,time\n2016,1,5,06:07:08\n", {0, 1, 2, 3}, "2016-01-05T06:07:08"),
        ("time (UTC+13),x\n2016-02-01 06:00,1\n", {0}, "2016-01-31T17:00:00"),
        ("time (UTC+13),x\n2016-02-01 06:00Z,1\n", {0}, "2016-02-01T06:00:00"),
        ("time [days since 1950-01-01],x\n1.5,1\n", {0}, "1950-01-02T12:00:00"),
        ("time,x\n1454241600500,1\n", {0}, "2016-01-31T12:00:00"),
        ("time,x\n2016-01-31T12:00:00-06:00,1\n", {0}, "2016-01-31T18:00:00"),
    ],
)
def test_times(read, text, used, time):
    table = read(text)
    assert times_of(table) == [time]
    assert read_times(table)[1] == used


def test_what_is_interpreted_is_noted(read):
    table = read("a;x\n1;2\n1;1,234\n")
    with pytest.raises(ValueError, match="line 3: '1,234' in column 'x' is ambiguous"):
        table.numbers(1)
    assert table.numbers(1, counts=True)[0].tolist() == [2, 1234]
    assert table.notes[0].endswith("the first in line 3: '1,234', read as 1234.")
    assert read("y;x\n1.5;1,234\n").numbers(1)[0].tolist() == [1234]
    table = read("time,x\n2016-01-01,1\n2016-01-01T05+05:00,1\n1454241600,1\n2016-01-01T00Z,1\n")
    read_times(table)
    assert table.notes == [
        "1 time without an offset taken for UTC, the first in line 2: '2016-01-01'.",
        "1 time with an offset converted to UTC, the first in line 3: '2016-01-01T05+05:00'.",
        "1 number taken for seconds or smaller units since 1970, the first in line 4: "
        "'1454241600'.",
    ]
