import pytest

from RISCluster.__main__ import main
from tests.waveforms.fdsn_server import Centre


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def words(folder, url="http://127.0.0.1:65000", **changes):
    values = {
        "network": "XX", "station": "AAA,BBB", "channel": "HHZ", "start": "2020-01-01",
        "end": "2020-01-01T02:00:00+01:00", "provider": url, "output": str(folder),
    }  # fmt: skip
    return ["download", *(f"--{key}={value}" for key, value in (values | changes).items())]


def test_summary_and_next_command(tmp_path, capsys):
    with Centre({"AAA": ["HHZ"], "BBB": ["HHZ"]}) as centre:
        assert main(words(tmp_path, centre.url)) == 0
        out = capsys.readouterr().out
        assert "2 new files (0.1 MB), 0 existed, 0 missing; 2 stations" in out
        assert (
            f"next: python -m RISCluster build {tmp_path} -o {tmp_path.name}.h5 "
            f"build.inventory={tmp_path / 'stations'}"
        ) in out
        assert "2 files, 2 to fetch" in out
        assert main(words(tmp_path, centre.url)) == 0
        assert "0 new files (0.0 MB), 2 existed" in capsys.readouterr().out
    # 02:00 one hour east of Greenwich is 01:00 UTC.
    assert (tmp_path / "XX/AAA/XX.AAA..HHZ__20200101T000000Z__20200101T010000Z.mseed").exists()


def test_a_failure_is_one_line_and_an_exit_code(tmp_path, capsys):
    with Centre({"AAA": ["HHZ"], "BBB": ["HHZ"]}) as centre:
        centre.faults["BBB"] = "500"
        assert main(words(tmp_path, centre.url)) == 2
    out, error = capsys.readouterr()
    assert "missing: XX.BBB..HHZ: 1 of 1 file: Service responds: Internal server" in out
    assert ("1 new file" in out, "next:" in out, error.count("\n")) == (True, False, 1)
    assert "(XX.BBB: Service responds: Internal server error); run the same" in error


def test_area_and_empty_location_reach_the_data_centre(tmp_path, monkeypatch):
    seen = []
    with Centre({"AAA": ["HHZ"], "BBB": ["HHZ"]}) as centre:
        plain = centre.stations
        monkeypatch.setattr(centre, "stations", lambda query: seen.append(query) or plain(query))
        box = [*words(tmp_path, centre.url, location="--"), "--box", "-85", "-75", "160", "180"]
        assert main(box) == 0
        circle = [*words(tmp_path, centre.url, location=""), "--circle", "-80", "170", "5.5"]
        assert main(circle) == 0
    assert seen[0]["location"] == "--"
    first, second = [query for query in seen if query["level"] == "channel"]
    assert (first["minlatitude"], first["maxlongitude"]) == ("-85.0", "180.0")
    assert (second["latitude"], second["maxradius"]) == ("-80.0", "5.5")
    assert second["location"] == "--"


BOTH = "--box", "0", "1", "0", "1", "--circle", "0", "0", "1"


@pytest.mark.parametrize(
    ("changes", "more", "text"),
    [
        ({"start": "yesterday"}, (), "--start: invalid time value: 'yesterday'"),
        ({"end": "2019-12-31"}, (), "--end is not after --start"),
        ({}, ("--box", "1", "2", "3"), "--box: expected 4 arguments"),
        ({}, BOTH, "--box and --circle are both given"),
        ({}, (), "http://127.0.0.1:65000: can't list stations: No FDSN services"),
    ],
)
def test_bad_arguments_are_one_line(tmp_path, refused, changes, more, text):
    refused([*words(tmp_path, **changes), *more], text)
