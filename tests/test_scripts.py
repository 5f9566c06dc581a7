"""The scripts as a user runs them: arguments, errors, signals, several processes."""

import csv
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT, blobs, write_samples

SCRIPTS = ("AEC_train.py", "GMM_centroids.py", "DEC_train.py")
QUICK = (
    "run.name=test", "run.figures=no", "run.device=cpu", "aec.n_features=3", "aec.n_epochs=6",
    "aec.batch_size=16", "gmm.n_clusters=3", "gmm.n_init=3", "dec.n_epochs=4",
    "dec.batch_size=16", "dec.tol=0",
)  # fmt: skip


def script(name: str, *words: str) -> int:
    return runpy.run_path(str(ROOT / name))["main"](list(words))


def command(name: str, *words: str, processes: int = 0) -> list[str]:
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    return [sys.executable, *(launch if processes else []), str(ROOT / name), *words]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def run(folder: Path, *arguments: str, processes: int = 0) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(*arguments, processes=processes),
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder with a config.ini."""
    (tmp_path / "config.ini").write_text((ROOT / "config.ini").read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_shows_one_process_torchrun_and_resume(name, capsys):
    with pytest.raises(SystemExit) as caught:
        script(name, "--help")
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert f"python {name}" in text
    assert "torchrun --standalone" in text
    assert "the same command resumes it" in text


def test_help_loads_nothing_heavy(tmp_path):
    code = (
        "import sys, runpy\n"
        f"sys.argv = ['x', '--help']\nsys.path.insert(0, {str(ROOT)!r})\n"
        f"try: runpy.run_path({str(ROOT / 'AEC_train.py')!r}, run_name='__main__')\n"
        "except SystemExit: pass\n"
        "heavy = ('torch', 'numpy', 'sklearn', 'h5py', 'matplotlib')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip().endswith("[]")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("data.file=none.h5",), "DataError: none.h5: no such file"),
        (("data.file=config.ini",), "can't be opened as HDF5"),
        (("aec.batchsize=3",), "did you mean 'batch_size'?"),
        (("--config", "none.ini"), "none.ini: no such settings file"),
        (("run.device=cuda:99", "data.file=s.h5"), "PyTorch sees"),
        (("data.file=s.h5", "data.dataset=nope"), "no data set 'nope' in this file; it has"),
        (("data.file=s.h5", "data.loadmode=device"), "needs a GPU"),
        (("data.file=s.h5", "run.folder=config.ini"), "the run folder can't be made or read"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(folder, capsys, words, text):
    write_samples(folder / "s.h5", blobs(8)[0])
    assert script("AEC_train.py", *words) == 2
    captured = capsys.readouterr()
    assert text in captured.err
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err + captured.out


@pytest.mark.parametrize("name", SCRIPTS[1:])
def test_stage_without_its_predecessor(folder, capsys, name):
    write_samples(folder / "s.h5", blobs(8)[0])
    assert script(name, "data.file=s.h5") == 2
    assert "run python AEC_train.py run.name=demo first" in capsys.readouterr().err
    assert script(name, "run.name=x") == 2
    assert "run python AEC_train.py run.name=x first" in capsys.readouterr().err
    assert not (folder / "Data").exists()  # the demo set, which nobody asked for


def test_demo_command_and_its_errors(folder, capsys):
    from RISCluster.__main__ import main

    assert main(["demo", "-o", "d/x.h5", "--samples", "16", "--snr", "3", "--imbalance", "4"]) == 0
    assert "d/x.h5: 16 spectrograms of eight classes, 3 dB" in capsys.readouterr().out
    assert main(["demo", "-o", "config.ini/x.h5", "--samples", "16"]) == 2
    for words in (["--samples", "0"], ["--imbalance", "0.5"], ["--snr", "loud"], ["--snr", "nan"]):
        assert main(["demo", *words]) == 2


def test_demo_set_is_written_when_it_is_the_input_and_missing(folder, monkeypatch, capsys):
    import RISCluster.stages.session as session

    write = session.write_demo
    monkeypatch.setattr(session, "write_demo", lambda path: write(path, n_samples=32))
    assert script("AEC_train.py", "aec.n_epochs=1", "run.figures=no", "run.device=cpu") == 0
    assert (folder / "Data/demo.h5").exists()
    assert "writing the synthetic demo set" in capsys.readouterr().out


FAST = ("gmm.init=kmeans", "gmm.n_resamples=none")


def test_a_run_needs_its_name_alone_after_the_first_stage(folder, capsys):
    write_samples(folder / "s.h5", blobs(48)[0])
    words = (*QUICK, *FAST, "data.file=s.h5", "aec.lr=0.001,0.003", "aec.n_epochs=2")
    assert script("AEC_train.py", *words) == 0
    assert "are taken from this run" not in capsys.readouterr().out
    for name in SCRIPTS[1:]:
        assert script(name, "run.name=test") == 0
    assert "aec.lr = 0.001, 0.003; " in capsys.readouterr().out
    for name in SCRIPTS:
        assert script(name, "run.name=test") == 0
    assert capsys.readouterr().out.count("done already") == 3
    assert script("GMM_centroids.py", "run.name=test", "gmm.n_clusters=2-20") == 0
    out = capsys.readouterr().out
    assert "gmm.n_clusters was 3, is 2, 3" in out
    assert "gmm.n_clusters = 3" not in out
    assert script("GMM_centroids.py", "run.name=tests") == 2
    assert "no run 'tests'; did you mean run.name=test?" in capsys.readouterr().err


def test_three_stages_with_one_command(folder, capsys):
    from RISCluster.__main__ import main

    (folder / "config.ini").unlink()
    write_samples(folder / "my set.h5", blobs(32)[0])
    words = [*QUICK[1:], *FAST, "aec.n_epochs=1", "dec.n_epochs=1"]
    assert main(["run", "my set.h5", *words]) == 0
    stages = [folder / "Outputs/my_set" / stage for stage in ("AEC", "GMM", "DEC")]
    assert all((stage / "metrics.json").exists() for stage in stages)
    capsys.readouterr()
    assert main(["run", "--name", "my_set"]) == 0
    assert main(["pretrain", "run.name=my_set"]) == 0
    assert capsys.readouterr().out.count("done already") == 4
    assert main(["run", "a.h5", "b.h5"]) == 2
    assert "one file is taken at a time" in capsys.readouterr().err


def test_the_settings_file_comes_with_the_package(capsys):
    from RISCluster.__main__ import main

    assert main(["config"]) == 0
    assert capsys.readouterr().out == (ROOT / "config.ini").read_text()


def losses(folder: Path, stage: str, *names: str) -> np.ndarray:
    with (folder / "Outputs/test" / stage / "history.csv").open() as file:
        return np.array([[float(row[name]) for name in names] for row in csv.DictReader(file)])


def labels(folder: Path, stage: str) -> list[str]:
    with (folder / "Outputs/test" / stage / "labels.csv").open() as file:
        return [row["label"] for row in csv.DictReader(file)]


def test_two_processes_equal_one(tmp_path):
    """Two gloo processes on the same global batches: same losses and labels, to rounding."""
    spectrogram, _ = blobs(89)  # odd, so that shares and the last batch are uneven
    spectrogram[10] = 0
    folders = []
    for processes in (0, 2):
        folder = tmp_path / f"p{processes}"
        folder.mkdir()
        (folder / "config.ini").write_text("[run]\n")
        write_samples(folder / "s.h5", spectrogram)
        for name in SCRIPTS:
            done = run(folder, name, "data.file=s.h5", *QUICK, processes=processes)
            assert done.returncode == 0, done.stdout + done.stderr
        folders.append(folder)
    for stage, names in (
        ("AEC", ("train_mse", "validation_mse")),
        ("DEC", ("mse", "kl", "loss", "label_change")),
    ):
        one, two = (losses(folder, stage, *names) for folder in folders)
        np.testing.assert_allclose(two, one, rtol=2e-3, atol=5e-5)
    assert labels(folders[0], "GMM") == labels(folders[1], "GMM")
    assert labels(folders[0], "DEC") == labels(folders[1], "DEC")
    assert labels(folders[1], "DEC")[10] == "-1"


def test_error_of_several_processes_ends_all(tmp_path):
    (tmp_path / "config.ini").write_text("[run]\n")
    write_samples(tmp_path / "s.h5", blobs(8)[0])
    for name, file, text in (
        ("AEC_train.py", "none.h5", "none.h5: no such file"),
        ("GMM_centroids.py", "s.h5", "AEC_train.py run.name=test first"),
    ):
        done = run(tmp_path, name, f"data.file={file}", *QUICK, processes=2)
        assert done.returncode != 0
        assert done.stderr.count(text) == 1
        assert "RuntimeError" not in done.stderr


def wait_for(path: Path, process: subprocess.Popen, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if path.exists():
            return
        time.sleep(0.01)
    raise AssertionError(f"{path} did not appear; exit code {process.poll()}")


RESULTS = {
    "AEC": ("model.pt", "split.npz"),
    "DEC": ("model.pt", "labels.csv", "latent.npy", "soft_assignments.npy"),
}


@pytest.fixture(scope="module")
def never_killed(tmp_path_factory):
    """Words of a run, and a folder with its data and with what it ends on in Outputs."""
    folder = tmp_path_factory.mktemp("whole")
    write_samples(folder / "s.h5", blobs(320)[0])
    (folder / "config.ini").write_text("[run]\n")
    base = ("data.file=s.h5", *QUICK, "aec.n_epochs=12", "dec.n_epochs=8")
    for name in SCRIPTS:
        assert run(folder, name, *base).returncode == 0
    return base, folder


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_killed_and_run_again_ends_with_the_same_bytes(tmp_path, never_killed, number):
    base, folder = never_killed
    for name in ("s.h5", "config.ini"):
        shutil.copy2(folder / name, tmp_path)
    for name, stage in (("AEC_train.py", "AEC"), ("GMM_centroids.py", ""), ("DEC_train.py", "DEC")):
        if stage:
            state = tmp_path / "Outputs/test" / stage / "last.pt"
            process = subprocess.Popen(
                command(name, *base), cwd=tmp_path, env=environment(),
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            wait_for(state, process)
            process.send_signal(number)
            message = process.communicate(timeout=60)[1]
            assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number)
            if number != signal.SIGKILL:
                assert "run the same command to go on" in message
                assert "Traceback" not in message
            assert not (state.parent / "metrics.json").exists()
        done = run(tmp_path, name, *base)
        assert done.returncode == 0, done.stderr
        assert not stage or "going on after epoch" in done.stdout
    for stage, names in RESULTS.items():
        for name in names:
            cut, whole = (top / "Outputs/test" / stage / name for top in (tmp_path, folder))
            assert cut.read_bytes() == whole.read_bytes(), f"{stage}/{name}"
    assert not list(tmp_path.rglob("*.partial"))
