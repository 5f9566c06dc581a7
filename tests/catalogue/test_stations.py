import numpy as np
import pytest

from RISCluster.catalogue.stations import read_stations
from RISCluster.errors import DataError

XML = """<?xml version="1.0" encoding="UTF-8"?>
<FDSNStationXML xmlns="http://www.fdsn.org/xml/station/1" schemaVersion="1.1">
<Source>test</Source><Created>2020-01-01T00:00:00</Created>
<Network code="{net}"><Station code="{sta}"{start}><Latitude>{lat}</Latitude>
<Longitude>{lon}</Longitude><Elevation>0</Elevation><Site><Name>x</Name></Site>
</Station></Network></FDSNStationXML>"""


def xml(path, net, sta, lat, lon, start=""):
    start = f' startDate="{start}-01-01T00:00:00"' if start else ""
    path.write_text(XML.format(net=net, sta=sta, lat=lat, lon=lon, start=start))
    return path


def table(tmp_path, text):
    path = tmp_path / "st.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "network,station,latitude,longitude\nXH,DR01,-78.5,-179.5\n",
        "\nLON;Sta;NET;Lat;extra\n180.5;DR01;XH;-78.5;x\n",
        "#Network | Station | Latitude | Longitude\nXH|DR01|-78.5|-179.5\n",
        '"network","station","latitude","longitude"\n"XH","DR01","-78.5","-179.5"\n',
    ],
)
def test_tables(tmp_path, text):
    found = read_stations(table(tmp_path, text))
    assert found.places == {"XH.DR01": (-78.5, -179.5)}
    assert found.notes == []


def test_rows_that_are_left_out_or_repeated(tmp_path):
    text = (
        "net,sta,lat,lon\nXH,A,-91,0\nXH,B,1,400\nXH,C,x,0\nXH,,1,1\nXH,D\nXH,E,1,nan\n\nXH,F,3,2\n"
        "XH,F,1,2\n"
    )
    found = read_stations(table(tmp_path, text))
    assert found.places == {"XH.F": (1, 2)}
    assert "st.csv: 1 row with another number of cells than the header left out" in found.notes[0]
    assert "st.csv: 5 stations left out, the first in line 2; needed are" in found.notes[1]
    assert found.notes[2].endswith("XH.F has several places; that in line 10 is used.")


def test_codes_without_a_network(tmp_path):
    found = read_stations(table(tmp_path, "name,lat,lon\nA,1,2\n"))
    assert found.locate(["A", "XH.A", "B"])[:2].tolist() == [[1, 2], [1, 2]]
    assert np.isnan(found.locate(["B"])).all()
    text = "net,sta,lat,lon\nXH,A,1,2\nYY,B,3,4\nZZ,B,5,6\n"
    found = read_stations(table(tmp_path, text))
    assert found.locate(["A", "ZZ.B"]).tolist() == [[1, 2], [5, 6]]
    assert np.isnan(found.locate(["B", "YY.A"])).all()  # two have it; another network's


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "can't be read as a table: it is empty"),
        ("net,sta,x,lon\n", "no column latitude; it has net, sta, x, lon; allowed"),
        ("net,sta,lat,lon\nXH,A,-91,0\n", r"coordinates \(.*1 station left out, the first in line"),
        ("net,sta,lat,lon\n", "holds no station with coordinates"),
        ("<nothing/>", "can't be read as StationXML"),
    ],
)
def test_unreadable_tables(tmp_path, text, reason):
    with pytest.raises(DataError, match=reason):
        read_stations(table(tmp_path, text))


def test_stationxml_and_a_folder_of_it(tmp_path):
    pytest.importorskip("obspy")
    folder = tmp_path / "stations" / "XH"
    folder.mkdir(parents=True)
    one = xml(folder / "a.xml", "XH", "DR01", -78.5, 179.5)
    xml(folder / "b.xml", "YY", "B", 10, -20)
    assert read_stations(one).places == {"XH.DR01": (-78.5, 179.5)}
    found = read_stations(tmp_path / "stations")
    assert found.places == {"XH.DR01": (-78.5, 179.5), "YY.B": (10, -20)}
    # The place of the latest epoch, and what is damaged is left out.
    more = tmp_path / "more"
    more.mkdir()
    xml(more / "a.xml", "XH", "DR01", -77, 11, start=2015)
    xml(more / "c.xml", "XH", "DR01", -78, 10, start=2001)
    xml(more / "b.xml", "XH", "DR03", 95, 0)
    (more / "d.xml").write_text("<nothing/>")
    found = read_stations(more)
    assert found.places["XH.DR01"] == (-77, 11)
    for name, note in zip(("b.xml", "d.xml"), found.notes, strict=False):
        assert f"{name}: can't be read as StationXML" in note
    assert "XH.DR01 has several places; that in the epoch from 2015" in found.notes[2]
