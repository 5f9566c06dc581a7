import pytest

from RISCluster.__main__ import main
from tests.waveforms.fdsn_server import Centre


@pytest.fixture
def centre(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Centre({"AAA": ["HHZ"], "BBB": ["HHZ"]}) as running:
        yield running


def words(folder, url, location="*"):
    query = f"--network XX --station AAA,BBB --channel HHZ --location={location} --provider {url}"
    span = "--start 2020-01-01 --end 2020-01-01T02:00:00+01:00"
    return ["download", *f"{query} {span}".split(), "--output", str(folder)]


def test_summary_and_next_command(centre, tmp_path, capsys):
    following = f"build {tmp_path} -o {tmp_path.name}.h5 build.inventory={tmp_path / 'stations'}"
    for text in ("2 new files (0.1 MB), 0 existed, 0 missing; 2 stations", "0 new files (0.0 MB)"):
        assert main(words(tmp_path, centre.url)) == 0
        out = capsys.readouterr().out
        assert text in out
        assert f"next: python -m RISCluster {following}" in out
    # 02:00 one hour east of Greenwich is 01:00 UTC.
    assert (tmp_path / "XX/AAA/XX.AAA..HHZ__20200101T000000Z__20200101T010000Z.mseed").exists()


def test_a_failure_is_one_line_and_an_exit_code(centre, tmp_path, capsys):
    centre.faults["BBB"] = "500"
    assert main(words(tmp_path, centre.url)) == 2
    out, error = capsys.readouterr()
    assert "missing: XX.BBB..HHZ: 1 of 1 file: Service responds: Internal server" in out
    assert ("1 new file" in out, "next:" in out, error.count("\n")) == (True, False, 1)
    assert "(XX.BBB: Service responds: Internal server error); run the same" in error


def test_area_and_empty_location_reach_the_data_centre(centre, tmp_path, monkeypatch):
    seen, plain = [], centre.stations
    monkeypatch.setattr(centre, "stations", lambda query: seen.append(query) or plain(query))
    for location, area in (("--", "--box -85 -75 160 180"), ("", "--circle -80 170 5.5")):
        assert main([*words(tmp_path, centre.url, location), *area.split()]) == 0
    first, second = [query for query in seen if query["level"] == "channel"]
    assert (first["minlatitude"], first["maxlongitude"]) == ("-85.0", "180.0")
    assert (second["latitude"], second["maxradius"]) == ("-80.0", "5.5")
    assert first["location"] == second["location"] == "--"
