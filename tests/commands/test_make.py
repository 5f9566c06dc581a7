"""Data sets and cubes from waveforms and records, and what data centres have."""

from pathlib import Path

import h5py
import pytest

from RISCluster.__main__ import main
from RISCluster.commands.arguments import save_figure
from tests.fibre.fibre import START, noise, record
from tests.waveforms.waves import MIDNIGHT, QUICK, RATE, eventful, rows, write


@pytest.fixture
def source(here):
    return write(here / "a.mseed", ("XX.AAA..HHZ", MIDNIGHT, RATE, eventful()))


def test_data_set_and_settings_of_a_file(source, here, capsys):
    words = ["build", str(source), *QUICK, "--workers", "1", "-o"]
    assert main([*words, "set.h5"]) == 0
    assert len(rows(here / "set.csv")) == 3
    out = capsys.readouterr().out
    assert "3 windows of 87 x 100 from 1 trace in" in out
    assert "no events are associated: set.h5: has 1 station; association needs" in out
    assert "next: python AEC_train.py run.name=set data.file=set.h5" in out
    lines = "\n".join(word.removeprefix("build.") for word in QUICK)
    (here / "my.ini").write_text(f"[build]\n{lines}\nlength = 2\n")
    assert main(["build", "--config", "my.ini", "-o", "two.h5", str(source)]) == 0
    with h5py.File(here / "two.h5") as file:
        assert file["spectrogram"].shape == (3, 87, 50)


def test_events_of_several_stations(here, capsys):
    for name in ("A", "B", "C"):
        write(here / f"{name}.mseed", (f"XX.{name}..HHZ", MIDNIGHT, RATE, eventful()))
    words = ["*.mseed", *QUICK, "--workers", "1", "events.window=0.5", "events.min_stations=3"]
    assert main(["build", *words, "-o", "set.h5"]) == 0
    text = "3 events at 3 or more of 3 stations, with 9 of 9 samples"
    assert text in capsys.readouterr().out
    assert [row["event_id"] for row in rows(here / "set.csv")] == ["0", "1", "2"] * 3
    assert main(["build", *words, "-o", "no.h5", "events.associate=no"]) == 0
    assert text not in capsys.readouterr().out
    assert main(["associate", "no.h5", *words[-2:]]) == 0
    assert text in capsys.readouterr().out
    assert (here / "no.csv").read_text() == (here / "set.csv").read_text()


def test_picture_alone(source, here, capsys, monkeypatch):
    figures, place = [], "RISCluster.commands.make.save_figure"
    monkeypatch.setattr(place, lambda *words: figures.append(words[0]) or save_figure(*words))
    words = ["build", str(source), *QUICK]
    for more in ("build.on=6", "build.method=slide", "build.on=1e6"):
        assert main([*words, "--picture", "w.png", more]) == 0
    assert capsys.readouterr().out.endswith("figure: w.png\n")
    assert sorted(path.name for path in here.iterdir()) == ["a.mseed", "w.png"]
    assert [len(figure.axes) for figure in figures] == [2, 1, 2]
    wave, detector = figures[0].axes
    assert wave.get_title() == "XX.AAA..HHZ 2016-01-01: 3 windows"
    onset, end = (line.get_xdata()[0] for line in wave.lines[1:])
    assert -0.3 < onset < 0.2 < end  # 0 s is the middle of the window
    assert [line.get_ydata()[0] for line in detector.lines[-2:]] == [6, 2]


def test_a_catalogue_is_chosen_by_exact_limits(source, capsys, refused):
    Path("a.csv").write_text("onset\n2016-01-01T00:00:10.25\n2016-01-01T00:00:10.75\n")
    limits = "--start", "2016-01-01T00:00:10.5", "--end", "2016-01-01T00:00:10.750001"
    clean = ["catalogue", "a.csv", "-o", "few.csv", *limits]
    assert main(clean) == 0
    assert "few.csv: 1 row of 2; left out: 1 by time or amplitude" in capsys.readouterr().out
    refused(clean, "few.csv: exists already; give another name")
    text = "build.catalogue = few.csv: is the table beside few.h5; give another name with -o"
    refused(["build", source, "-o", "few.h5", "build.catalogue=few.csv"], text)


@pytest.fixture
def records(here):
    (here / "records").mkdir()
    for number in range(2):
        record(here / "records" / f"{number}.h5", noise(100, 4, seed=number), START + number)
    return here / "records"


def test_words_in_any_order(records, tmp_path, capsys):
    (tmp_path / "my.ini").write_text("[records]\nwindow = 0.5\nstep = 0.25\n")
    words = ["cube", "-o", "cube.h5", "records", "--workers", "1", "records.band=10-40"]
    assert main([*words, "--config", "my.ini"]) == 0
    with h5py.File(tmp_path / "cube.h5") as file:
        assert file["data"].shape == (7, 4, 16)
    out = capsys.readouterr().out
    assert "7 time steps x 4 channels x 16 frequencies, 10 to 40 Hz" in out
    assert "next: python AEC_train.py --config my.ini run.name=cube data.file=cube.h5" in out


def test_the_cube_among_the_records_is_not_taken_for_one(records, capsys, refused):
    words = ["cube", str(records), "-o", str(records / "cube.h5"), "--workers", "1"]
    assert main(words) == 0
    assert main(words) == 0
    assert "done already" in capsys.readouterr().out
    cube = records / "cube.h5"
    refused(["cube", cube, "-o", cube], "no records but the cube itself")


def download(folder, url, location="*"):
    query = f"--network XX --station AAA,BBB --channel HHZ --location={location} --provider {url}"
    span = "--start 2020-01-01 --end 2020-01-01T02:00:00+01:00"
    return ["download", *f"{query} {span}".split(), "--output", str(folder)]


def test_summary_and_next_command(centre, tmp_path, capsys):
    following = f"build {tmp_path} -o {tmp_path.name}.h5 build.inventory={tmp_path / 'stations'}"
    for text in ("2 new files (0.1 MB), 0 existed, 0 missing; 2 stations", "0 new files (0.0 MB)"):
        assert main(download(tmp_path, centre.url)) == 0
        out = capsys.readouterr().out
        assert text in out
        assert f"next: python -m RISCluster {following}" in out
    # 02:00 one hour east of Greenwich is 01:00 UTC.
    assert (tmp_path / "XX/AAA/XX.AAA..HHZ__20200101T000000Z__20200101T010000Z.mseed").exists()


def test_a_failure_is_one_line_and_an_exit_code(centre, tmp_path, capsys):
    centre.faults["BBB"] = "500"
    assert main(download(tmp_path, centre.url)) == 2
    out, error = capsys.readouterr()
    assert "missing: XX.BBB..HHZ: 1 of 1 file: Service responds: Internal server" in out
    assert ("1 new file" in out, "next:" in out, error.count("\n")) == (True, False, 1)
    assert "(XX.BBB: Service responds: Internal server error); run the same" in error


def test_area_and_empty_location_reach_the_data_centre(centre, tmp_path, monkeypatch):
    seen, plain = [], centre.stations
    monkeypatch.setattr(centre, "stations", lambda query: seen.append(query) or plain(query))
    for location, area in (("--", "--box -85 -75 160 180"), ("", "--circle -80 170 5.5")):
        assert main([*download(tmp_path, centre.url, location), *area.split()]) == 0
    first, second = [query for query in seen if query["level"] == "channel"]
    assert (first["minlatitude"], first["maxlongitude"]) == ("-85.0", "180.0")
    assert (second["latitude"], second["maxradius"]) == ("-80.0", "5.5")
    assert first["location"] == second["location"] == "--"
