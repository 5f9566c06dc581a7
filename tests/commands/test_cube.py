import h5py
import pytest

from RISCluster.__main__ import main
from tests.fibre.fibre import START, noise, record


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
