import pytest

from RISCluster.__main__ import main
from tests.waveforms.waves import MIDNIGHT, QUICK, noise, rows, with_events, write

RATE = 50.0


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = with_events(noise(120, RATE), RATE, (30, 60, 90))
    return write(tmp_path / "a.mseed", ("XX.AAA..HHZ", MIDNIGHT, RATE, data))


def test_build(source, tmp_path, capsys):
    words = ["build", str(source), *QUICK, "-o", "set.h5", "--workers", "1"]
    assert main(words) == 0
    assert len(rows(tmp_path / "set.csv")) == 3
    out = capsys.readouterr().out
    assert "3 windows of 87 x 100 from 1 trace in" in out
    assert "next: python AEC_train.py run.name=set data.file=set.h5" in out
    assert main(words) == 0
    assert "done already" in capsys.readouterr().out


def test_settings_come_from_a_file(source, tmp_path):
    lines = "\n".join(word.removeprefix("build.") for word in QUICK)
    (tmp_path / "my.ini").write_text(f"[build]\n{lines}\nlength = 2\n")
    assert (
        main(["build", "--config", "my.ini", "-o", "set.h5", "--layout", "ris", str(source)]) == 0
    )
    import h5py

    with h5py.File(tmp_path / "set.h5") as file:
        assert file["2.0/Spectrogram"].shape == (3, 88, 51)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "SettingsError: command line: no waveforms given"),
        (["none.mseed"], "DataError: none.mseed: no such file"),
        (["a.mseed", "build.lenght=3"], "SettingsError: command line: [build] has no key 'lenght'"),
        (["a.mseed", "build.sta=60"], "SettingsError: build.sta = 60 s must be less than"),
        (
            ["a.mseed", "build.nfft=8"],
            "SettingsError: build.segment = 0.4 s is 20 samples at 50 Hz",
        ),
        (
            ["a.mseed", "build.inventory=x.xml"],
            "SettingsError: build.inventory = x.xml: no such file",
        ),
        (["a.mseed", "build.on=1e6"], "DataError: no window in 1 station-day: 0 found"),
    ],
)
def test_faults_are_one_line(source, words, line, capsys):
    assert main(["build", *words, "-o", "set.h5", "--workers", "1"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(line)
    assert error.count("\n") == 1


def test_the_catalogue_alone(source, tmp_path, capsys):
    words = ["build", str(source), *QUICK, "-o"]
    assert main([*words, "set.h5", "--workers", "1"]) == 0
    capsys.readouterr()
    assert main([*words, "only.csv", "--workers", "1", "--catalogue-only"]) == 0
    out = capsys.readouterr().out
    assert "only.csv: the catalogue alone" in out
    assert "next:" not in out
    assert (tmp_path / "only.csv").read_text() == (tmp_path / "set.csv").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {
        "a.mseed",
        "set.h5",
        "set.csv",
        "only.csv",
    }
    assert main([*words, "only.csv", "--catalogue-only"]) == 2
    assert (
        "only.csv: exists, made from other files or settings; give another name"
        in capsys.readouterr().err
    )
    assert main([*words, "only.h5", "--catalogue-only", "--overwrite"]) == 0
    assert not (tmp_path / "only.h5").exists()
    assert main([*words, "set.csv"]) == 2
