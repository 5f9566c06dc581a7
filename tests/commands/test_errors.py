"""Mistakes of users end in one line that names them, and write nothing; and the help."""

import shutil

import numpy as np
import pytest

from RISCluster.__main__ import main
from RISCluster.commands.arguments import make_parsers
from tests.conftest import write_small_file
from tests.fibre.fibre import record
from tests.waveforms.waves import MIDNIGHT, noise, write

CENTRE = "http://127.0.0.1:65000"
DOWNLOAD = "download --network XX --station AAA --channel HHZ --start 2020-01-01 --end 2020-01-02 "
DOWNLOAD += f"--provider {CENTRE} -o out"
EXPORT = "export --run run --format csv -o x.csv"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, made_run):
    path = tmp_path_factory.mktemp("errors")
    write(path / "a.mseed", ("XX.AAA..HHZ", MIDNIGHT, 50.0, noise(120, 50.0)))
    record(path / "das.h5", np.zeros((200, 4)))
    write_small_file(path / "small.h5")
    shutil.copytree(made_run, path / "run")
    return path


@pytest.mark.parametrize(("words", "text"), [
    ("", "arguments are required: COMMAND; see python -m RISCluster --help"),
    ("biuld", "invalid choice: 'biuld' .choose from"),
    ("build -o set.h5", "SettingsError: command line: no waveforms given"),
    ("build a.mseed", "no -o FILE.h5 given; give it, or --picture FILE.png"),
    ("build a.mseed -o set.h5 build.sta=60", "SettingsError: [build] sta = 60, lta = 30, on = 15"),
    ("build a.mseed -o set.h5 --workers 1.5", "1.5 is not allowed; allowed: whole numbers from 0"),
    ("cube das.h5 -o cube.txt", "a name that ends with .zarr or .h5 or .hdf5"),
    ("cube -o cube.h5", "no records given"),
    ("cube a.mseed -o cube.h5", "a.mseed: is miniSEED; make .* with python -m RISCluster build$"),
    ("cube small.h5 -o x.h5", "layout samples.; cubes are made of fibre records or a cube: give"),
    ("cube das.h5 -o cube.h5 records.window=9", "longer than the record of 2 s"),
    (f"{DOWNLOAD} --start yesterday", "--start: invalid time value: 'yesterday'"),
    (f"{DOWNLOAD} --end 2019-12-31", "--end is not after --start"),
    (f"{DOWNLOAD} --box 0 1 0 1 --circle 0 0 1", "--box and --circle are both given"),
    (DOWNLOAD, f"{CENTRE}: can't list stations: No FDSN services"),
    ("info small.h5 --picture small.h5/x.png", "can't be written"),
    ("info missing.h5", "DataError: missing.h5: no such file"),
    ("predict --follow no --run run -o l.csv", "--follow needs a folder that exists"),
    ("predict x.h5 --follow . --run run -o l.csv", "give files to label as one set, or"),
    ("predict --follow . --run run -o l.csv --overwrite", "--overwrite is not allowed"),
    ("pretrain --config no.ini", "no.ini: can't be read as settings: No such file"),
    ("pretrain run.device=cuda:99 data.file=small.h5", "PyTorch sees"),
    ("pretrain data.file=small.h5 run.folder=das.h5", "can't be written"),
    ("refine run.name=x", "run python AEC_train.py run.name=x first"),
    ("info small.h5 das.h5 --picture x.png", "--picture is of one file"),
    ("report --run run more", "no setting 'more'; write section.key=value"),
    ("report --run .", ".: holds runs .run., and is none itself; give .* report --run run$"),
    ("report --run run/GMM", "run/GMM: holds no complete stage of a run; run"),
    ("report --run none", "none: no such run folder; give one such as Outputs/demo"),
    (f"{EXPORT} report.stationz=x", "no setting 'report.stationz' .did you mean report.stations?"),
    (f"{EXPORT} --clusters 9", "--clusters 9: "),
    (f"{EXPORT} --min-probability 2", "2 is not allowed; allowed: numbers from 0 to 1"),
    ("compare run run", "give two or more different run folders"),
])  # fmt: skip
def test_one_line(folder, refused, monkeypatch, words, text):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    before = sorted(folder.rglob("*"))
    refused(words.split(), text)
    assert sorted(folder.rglob("*")) == before


def test_help_of_every_command(capsys):
    commands = make_parsers()[1]
    texts = {"": [f"    {name}" for name in commands]}
    texts |= {name: [f"python -m RISCluster {name}"] for name in commands}
    for words, expected in texts.items():
        with pytest.raises(SystemExit, match="0"):
            main([*words.split(), "--help"])
        out = capsys.readouterr().out
        assert [text for text in expected if text not in out] == []
