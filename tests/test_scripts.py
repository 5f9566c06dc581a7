"""The scripts and commands as a user runs them."""

import re
import runpy
import subprocess
import sys

import pytest

from RISCluster.__main__ import main
from RISCluster.io import locked
from RISCluster.stages import session
from tests import conftest
from tests.conftest import ROOT, blobs, write_samples

SCRIPTS = ("AEC_train.py", "GMM_centroids.py", "DEC_train.py")
QUICK = (*conftest.QUICK, "gmm.n_clusters=3", "gmm.init=kmeans", "gmm.n_resamples=none")


def script(name: str, *words: str) -> int:
    return runpy.run_path(str(ROOT / name))["main"](list(words))


@pytest.fixture
def folder(here):
    """A working folder with a config.ini and a small set."""
    (here / "config.ini").write_text((ROOT / "config.ini").read_text())
    write_samples(here / "s.h5", blobs(48)[0])
    return here


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_shows_one_process_torchrun_and_resume(name):
    words = [sys.executable, "-X", "importtime", ROOT / name, "--help"]
    answer = subprocess.run(words, capture_output=True, text=True, check=True)
    for text in (f"python {name}", "torchrun --standalone", "the same command resumes it"):
        assert text in answer.stdout
    assert not re.search(r"\| (torch|numpy|sklearn|h5py|matplotlib)\n", answer.stderr)


def test_the_demo_set_is_written_by_its_command_or_where_it_is_missing(folder, monkeypatch, capsys):
    assert main(["demo", "--samples", "16", "--snr", "3", "--imbalance", "4", "-o", "d/x.h5"]) == 0
    assert "d/x.h5: 16 spectrograms of eight classes, 3 dB" in capsys.readouterr().out
    for words in ("-o config.ini/x.h5", "--samples 0", "--imbalance 0.5", "--snr loud"):
        assert main(["demo", *words.split()]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    write = session.write_demo
    monkeypatch.setattr(session, "write_demo", lambda path: write(path, n_samples=32))
    assert script("AEC_train.py", "aec.n_epochs=1", "run.figures=no", "run.device=cpu") == 0
    assert (folder / "Data/demo.h5").exists()
    assert "writing the synthetic demo set" in capsys.readouterr().out


def test_a_run_needs_its_name_alone_after_the_first_stage(folder, capsys):
    assert script("AEC_train.py", *QUICK, "data.file=s.h5", "aec.lr=0.001,0.003") == 0
    assert "are taken from this run" not in capsys.readouterr().out
    for name in SCRIPTS[1:]:
        assert script(name, "run.name=test") == 0
    assert "aec.lr = 0.001, 0.003; " in capsys.readouterr().out
    assert script("GMM_centroids.py", "run.name=test", "gmm.n_clusters=2-20") == 0
    out = capsys.readouterr().out
    assert "gmm.n_clusters was 3, is 2, 3, 4" in out
    assert "gmm.n_clusters = 3" not in out
    with locked(folder / "Outputs/test"):
        assert script("GMM_centroids.py", "run.name=test", "gmm.n_clusters=2") == 2
    assert "test: in use by another process" in capsys.readouterr().err


def test_three_stages_with_one_command(folder, capsys):
    (folder / "config.ini").unlink()
    (folder / "s.h5").rename("my set.h5")
    assert main(["run", "my set.h5", *QUICK[1:]]) == 0
    stages = [folder / "Outputs/my_set" / stage for stage in ("AEC", "GMM", "DEC")]
    assert all((stage / "metrics.json").exists() for stage in stages)
    capsys.readouterr()
    assert main(["run", "--name", "my_set"]) == 0
    assert main(["pretrain", "run.name=my_set"]) == 0
    assert capsys.readouterr().out.count("done already") == 4
    assert main(["run", "a.h5", "b.h5"]) == 2
    assert "a.h5: no such file" in capsys.readouterr().err
    assert main(["config"]) == 0
    assert capsys.readouterr().out == (ROOT / "config.ini").read_text()
