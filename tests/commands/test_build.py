from pathlib import Path

import h5py
import pytest

from RISCluster.__main__ import main
from RISCluster.commands.arguments import save_figure
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
    figures = []
    monkeypatch.setattr(
        "RISCluster.commands.make.save_figure", lambda *a: (figures.append(a[0]), save_figure(*a))
    )
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
