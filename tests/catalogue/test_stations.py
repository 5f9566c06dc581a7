import numpy as np
import pytest

from RISCluster.catalogue.stations import read_stations
from RISCluster.errors import DataError


@pytest.fixture
def stations(tmp_path):
    def read(text):
        (tmp_path / "st.csv").write_text(text)
        return read_stations(tmp_path / "st.csv")

    return read


def test_tables(stations):
    for text in (
        "network,station,latitude,longitude\nXH,DR01,-78.5,-179.5\n",
        "#Network | Station | Latitude | Longitude\nXH|DR01|-78.5|-179.5\n",
        "\nLON;Sta;NET;Lat;extra\n180,5;DR01;XH;-78,5;x\n",
    ):
        found = stations(text)
        assert (found.places, found.notes) == ({"XH.DR01": (-78.5, -179.5)}, [])


def test_rows_that_are_left_out_or_repeated(stations):
    bad = "XH,A,-91,0\nXH,B,1,400\nXH,C,x,0\nXH,,1,1\nXH,E,1,nan\n\n"
    found = stations(f"net,sta,lat,lon\n{bad}XH,F,3,2\nXH,F,1,2\n")
    assert found.places == {"XH.F": (1, 2)}
    assert "st.csv: 5 stations left out, the first in line 2; needed are" in found.notes[0]


def test_codes_without_a_network(stations):
    found = stations("name,lat,lon\nA,1,2\n")
    assert found.locate(["A", "XH.A"]).tolist() == [[1, 2], [1, 2]]
    assert np.isnan(found.locate(["B"])).all()
    found = stations("net,sta,lat,lon\nXH,A,1,2\nYY,B,3,4\nZZ,B,5,6\n")
    assert found.locate(["A", "ZZ.B"]).tolist() == [[1, 2], [5, 6]]
    assert np.isnan(found.locate(["B", "YY.A"])).all()  # two have it; another network's
    assert found.locate([]).shape == (0, 2)


def test_unreadable_tables(stations):
    for text, reason in (
        ("net,sta,x,lon\n", "no column latitude; it has net, sta, x, lon; allowed"),
        ("net,sta,lat,lon\nXH,A,-91,0\n", r"coordinates \(.*1 station left out, the first in line"),
        ("<nothing/>", "can't be read as StationXML"),
    ):
        with pytest.raises(DataError, match=reason):
            stations(text)


def test_stationxml_and_a_folder_of_it(tmp_path):
    obspy = pytest.importorskip("obspy")
    from obspy.core.inventory import Inventory, Network, Station

    def write(name, code, latitude, longitude, year):
        start = obspy.UTCDateTime(year, 1, 1)
        station = Station(code, latitude, longitude, 0, start_date=start)
        (tmp_path / "XH").mkdir(exist_ok=True)
        path = str(tmp_path / "XH" / name)
        Inventory([Network("XH", [station])], "test").write(path, "STATIONXML")

    write("a.xml", "DR01", -77, 11, 2015)
    assert read_stations(tmp_path / "XH/a.xml").places == {"XH.DR01": (-77, 11)}
    write("c.xml", "DR01", -78, 10, 2001)  # the place of the latest epoch counts
    write("b.xml", "DR02", 10, -20, 2001)
    assert read_stations(tmp_path).places == {"XH.DR01": (-77, 11), "XH.DR02": (10, -20)}
