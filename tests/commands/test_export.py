import h5py
import pytest

from RISCluster.__main__ import main
from RISCluster.catalogue.export import FIELDS
from RISCluster.runs.run import open_run


@pytest.fixture
def export(run_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *words: main(["export", "--run", str(run_folder), *words])


def test_csv(export, tmp_path, capsys):
    assert export("--format", "csv", "-o", "out.csv") == 0
    assert "out.csv: 96 samples of" in capsys.readouterr().out
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[0] == ",".join(FIELDS)
    assert len(lines) == 97


def test_formats_stages_filters(export, tmp_path, capsys):
    words = ("--format", "hdf5", "-o", "x.h5", "--stage", "gmm", "--clusters", "0, 1")
    assert export(*words, "--min-probability", "0.2", "report.seasons=1-6,7-12") == 0
    with h5py.File(tmp_path / "x.h5") as file:
        assert file.attrs["stage"] == "GMM"
        assert set(file["label"][:]) == {0, 1}
        assert set(file["season"].asstr()[:]) == {"Jan-Jun", "Jul-Dec"}
    pytest.importorskip("obspy")
    assert export("--format", "quakeml", "-o", "x.xml") == 0
    assert "x.xml: 95 events of" in capsys.readouterr().out


def test_overwrite(export, tmp_path, capsys):
    (tmp_path / "out.csv").write_text("mine")
    assert export("--format", "csv", "-o", "out.csv") == 2
    assert "out.csv: exists; give another name with -o, or --overwrite" in capsys.readouterr().err
    assert (tmp_path / "out.csv").read_text() == "mine"
    assert export("--format", "csv", "-o", "out.csv", "--overwrite") == 0
    assert (tmp_path / "out.csv").read_text().startswith("index,")


def test_never_over_the_run_or_its_data(export, run_folder, tmp_path, capsys):
    labels = run_folder / "DEC/labels.csv"
    before = labels.read_bytes()
    assert export("--format", "csv", "-o", str(labels), "--overwrite") == 2
    assert "is a file of the run" in capsys.readouterr().err
    assert labels.read_bytes() == before
    with open_run(run_folder) as run:
        data = run.file.path
    assert export("--format", "csv", "-o", str(data), "--overwrite") == 2
    assert "is the data of the run" in capsys.readouterr().err


def test_what_is_missing_is_said(export, run_folder, tmp_path, capsys):
    (run_folder / "DEC/model.pt").write_bytes(b"other")
    assert export("--format", "csv", "-o", "x.csv", "data.file=nowhere.h5") == 0
    out = capsys.readouterr().out
    assert "DEC/model.pt: has changed" in out
    assert "nowhere.h5: no such file" in out
    assert "96 samples of" in out
    assert out.endswith("stage GMM\n")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["file.h5"], "file.h5: not a setting; allowed: section.key=value words"),
        (["report.stationz=x"], "has no key 'stationz'; did you mean report.stations?"),
        (["--clusters", "1,x"], "--clusters 1,x is not allowed; allowed: numbers of clusters"),
        (["--clusters", ","], "--clusters , is not allowed"),
        (["--clusters", "9"], "--clusters 9: "),
        (["--min-probability", "2"], "--min-probability 2 is not allowed; allowed: 0 to 1"),
        (["--min-probability", "nan"], "--min-probability nan is not allowed"),
    ],
)
def test_errors_are_one_line(export, words, text, capsys):
    assert export("--format", "csv", "-o", "x.csv", *words) == 2
    message = capsys.readouterr().err
    assert text in message
    assert message.count("\n") == 1


def test_no_such_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", "--run", "Outputs/x", "--format", "csv", "-o", "x.csv"]) == 2
    assert "no such run folder" in capsys.readouterr().err
    assert main(["export", "--run", "Outputs/x", "--format", "csv", "-o", "."]) == 2
    assert "is a folder; give another name" in capsys.readouterr().err
