import h5py
import pytest

from RISCluster.__main__ import main
from tests.fibre.fibre import START, noise, record


@pytest.fixture
def records(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "records").mkdir()
    for number in range(2):
        samples = noise(100, 4, seed=number)
        record(tmp_path / "records" / f"{number}.h5", samples, START + number)
    return tmp_path / "records"


def test_words_in_any_order(records, tmp_path, capsys):
    (tmp_path / "my.ini").write_text("[records]\nwindow = 0.5\nstep = 0.25\n")
    words = ["cube", "-o", "cube.h5", "records", "--workers", "1", "records.band=10-40"]
    assert main([*words, "--config", "my.ini"]) == 0
    with h5py.File(tmp_path / "cube.h5") as file:
        assert file["data"].shape == (7, 4, 16)
    out = capsys.readouterr().out
    assert "7 time steps x 4 channels x 16 frequencies, 10 to 40 Hz" in out
    assert "next: python AEC_train.py --config my.ini run.name=cube data.file=cube.h5" in out
    assert main([*words, "--config", "my.ini"]) == 0
    assert "done already" in capsys.readouterr().out


def test_the_cube_among_the_records_is_not_taken_for_one(records, capsys):
    words = ["cube", str(records), "-o", str(records / "cube.h5"), "--workers", "1"]
    assert main(words) == 0
    assert main(words) == 0
    assert "done already" in capsys.readouterr().out
    assert main(["cube", str(records / "cube.h5"), "-o", str(records / "cube.h5")]) == 2
    assert "the cube itself is the only file found" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["records", "-o", "cube.txt"], "ends in .zarr, .h5 or .hdf5"),
        (["-o", "cube.h5"], "no records given"),
        (["nothing", "-o", "cube.h5"], "nothing: no such file"),
        (["records", "-o", "cube.h5", "records.window=9"], "longer than the record of 2 s"),
        (["records", "-o", "cube.h5", "records.windo=9"], "did you mean records.window"),
        (["records", "-o", "cube.h5", "records.sampling_rate=0"], "a number above 0"),
    ],
)
def test_one_line_for_what_is_wrong(records, capsys, words, line):
    assert main(["cube", *words, "--workers", "1"]) == 2
    error = capsys.readouterr().err.strip()
    assert line in error
    assert "\n" not in error
