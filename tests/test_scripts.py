"""The scripts and commands as a user runs them: arguments, errors, an interrupt."""

import os
import re
import runpy
import signal
import subprocess
import sys

import h5py
import pytest

from RISCluster.__main__ import main
from RISCluster.data.synthetic import write_demo
from RISCluster.distributed import Ranks
from RISCluster.stages import session
from tests.conftest import ROOT, blobs, write_samples

SCRIPTS = ("AEC_train.py", "GMM_centroids.py", "DEC_train.py")
QUICK = (
    "run.name=test", "run.figures=no", "run.device=cpu", "aec.n_features=3", "aec.n_epochs=2",
    "aec.batch_size=16", "gmm.n_clusters=3", "gmm.n_init=3", "gmm.init=kmeans",
    "gmm.n_resamples=none", "dec.n_epochs=2", "dec.batch_size=16", "dec.tol=0",
)  # fmt: skip


def script(name: str, *words: str) -> int:
    return runpy.run_path(str(ROOT / name))["main"](list(words))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder with a config.ini."""
    (tmp_path / "config.ini").write_text((ROOT / "config.ini").read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_shows_one_process_torchrun_and_resume(name):
    words = [sys.executable, "-X", "importtime", ROOT / name, "--help"]
    answer = subprocess.run(words, capture_output=True, text=True, check=True)
    for text in (f"python {name}", "torchrun --standalone", "the same command resumes it"):
        assert text in answer.stdout
    assert not re.search(r"\| (torch|numpy|sklearn|h5py|matplotlib)\n", answer.stderr)


@pytest.mark.parametrize(
    ("name", "words", "text"),
    [
        ("AEC_train.py", "data.file=none.h5", "DataError: none.h5: no such file"),
        ("AEC_train.py", "aec.batchsize=3", "did you mean aec.batch_size?"),
        ("AEC_train.py", "--config none.ini", "none.ini: can't be read as settings: No such file"),
        ("AEC_train.py", "run.device=cuda:99 data.file=s.h5", "PyTorch sees"),
        ("AEC_train.py", "data.file=s.h5 data.loadmode=device", "needs a GPU"),
        ("AEC_train.py", "data.file=s.h5 run.folder=config.ini", "can't be written"),
        ("DEC_train.py", "run.name=x", "run python AEC_train.py run.name=x first"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(folder, capsys, name, words, text):
    write_samples(folder / "s.h5", blobs(8)[0])
    assert script(name, *words.split()) == 2
    captured = capsys.readouterr()
    assert text in captured.err
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err + captured.out
    assert not (folder / "Data").exists()  # the demo set, which nobody asked for


def test_the_demo_command_its_errors_and_its_values(folder, capsys):
    demo = ["demo", "--samples", "16", "--snr", "3", "--imbalance", "4"]
    assert main([*demo, "-o", "d/x.h5"]) == 0
    assert "d/x.h5: 16 spectrograms of eight classes, 3 dB" in capsys.readouterr().out
    for words in (
        ["-o", "config.ini/x.h5"], ["--samples", "0"], ["--imbalance", "0.5"], ["--snr", "loud"],
    ):  # fmt: skip
        assert main(["demo", *words]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    with h5py.File(write_demo(folder / "x.h5", 16, 6.0, 0)) as file:  # always the same
        assert file["labels"][:8].tolist() == [3, 6, 4, 1, 2, 4, 1, 7]
        assert file["spectrogram"][:].sum(dtype=float) == pytest.approx(30094284.93, rel=1e-5)


def test_the_demo_set_is_written_when_it_is_the_input_and_missing(folder, monkeypatch, capsys):
    write = session.write_demo
    monkeypatch.setattr(session, "write_demo", lambda path: write(path, n_samples=32))
    assert script("AEC_train.py", "aec.n_epochs=1", "run.figures=no", "run.device=cpu") == 0
    assert (folder / "Data/demo.h5").exists()
    assert "writing the synthetic demo set" in capsys.readouterr().out


def test_a_run_needs_its_name_alone_after_the_first_stage(folder, capsys):
    write_samples(folder / "s.h5", blobs(48)[0])
    assert script("AEC_train.py", *QUICK, "data.file=s.h5", "aec.lr=0.001,0.003") == 0
    assert "are taken from this run" not in capsys.readouterr().out
    for name in SCRIPTS[1:]:
        assert script(name, "run.name=test") == 0
    assert "aec.lr = 0.001, 0.003; " in capsys.readouterr().out
    for name in SCRIPTS:
        assert script(name, "run.name=test") == 0
    assert capsys.readouterr().out.count("done already") == 3
    assert script("GMM_centroids.py", "run.name=test", "gmm.n_clusters=2-20") == 0
    out = capsys.readouterr().out
    assert "gmm.n_clusters was 3, is 2, 3, 4" in out
    assert "gmm.n_clusters = 3" not in out
    assert script("GMM_centroids.py", "run.name=tests") == 2
    assert "run python AEC_train.py run.name=tests first" in capsys.readouterr().err


def test_three_stages_with_one_command(folder, capsys):
    (folder / "config.ini").unlink()
    write_samples(folder / "my set.h5", blobs(32)[0])
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


def test_an_interrupted_stage_names_how_to_resume_and_resumes(folder, capsys, monkeypatch):
    write_samples(folder / "s.h5", blobs(48)[0])
    words, steps, add = ("data.file=s.h5", *QUICK, "aec.n_epochs=4"), [], Ranks.sum_gradients

    def sum_gradients(self, parameters):
        steps.append(1)
        if len(steps) == 5:
            os.kill(os.getpid(), signal.SIGINT)
        add(self, parameters)

    monkeypatch.setattr(Ranks, "sum_gradients", sum_gradients)
    assert script("AEC_train.py", *words) == 128 + signal.SIGINT
    message = capsys.readouterr().err
    assert "run the same command" in message
    assert "Traceback" not in message
    stage = folder / "Outputs/test/AEC"
    assert not (stage / "metrics.json").exists()
    assert script("AEC_train.py", *words) == 0
    assert "resuming after epoch 1, batch 2" in capsys.readouterr().out
    assert len((stage / "history.csv").read_text().splitlines()) == 5
