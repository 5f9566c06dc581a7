"""Labels of files that arrive in a folder."""

import os
import shutil
import signal
import threading
import time

import numpy as np
import pytest

from RISCluster.__main__ import main
from RISCluster.io import locked
from RISCluster.stages import predict as module
from tests.commands.test_predict import predict
from tests.conftest import blobs, write_samples
from tests.processes import run_processes
from tests.stages.conftest import column, table


@pytest.fixture
def folder(tmp_path):
    """Three files, as of three days."""
    (tmp_path / "new/sub").mkdir(parents=True)
    for number, name in enumerate(("b.h5", "a.h5", "sub/c.h5")):
        times = [f"2016-02-{number + 1:02d}T00:00:{i:02d}Z".encode() for i in range(30)]
        more = {} if number == 1 else {"starttime": times}
        path = write_samples(tmp_path / "new" / name, blobs(30, seed=number)[0], **more)
        os.utime(path, (number + 1, number + 1))
    return tmp_path / "new"


@pytest.fixture
def follow(trained, folder):
    """Label what is there, or as by further words; the exit code."""
    words = "--follow", folder, "--run", trained[0], "-o", folder.parent / "c.csv", "--interval"
    return lambda interval="0", *more: main(["predict", *map(str, words), interval, *more])


def test_each_file_is_labelled_once(trained, folder, follow, capsys):
    output = folder.parent / "c.csv"
    late = (folder / "sub/c.h5").rename(folder / "c.part")
    (folder / "d.h5").write_bytes((folder / "b.h5").read_bytes()[:3000])  # still being copied
    shutil.copy(folder / "b.h5", folder / ".e.h5")  # hidden
    assert follow() == 0
    assert "d.h5" in capsys.readouterr().out
    first = output.read_bytes()
    assert predict(folder / "b.h5", trained[0], folder.parent / "a.csv") == 0
    alone, rows = table(folder.parent / "a.csv"), table(output)
    assert [{name: row[name] for name in alone[0]} for row in rows[:30]] == alone
    assert [row["file"] for row in rows] == ["b.h5"] * 30 + ["a.h5"] * 30
    assert rows[30]["starttime"] == rows[0]["onset"] == ""
    late.rename(folder / "sub/c.h5")
    shutil.copy(folder / "b.h5", folder / "d.h5")  # whole, but the data of another file
    write_samples(folder / "a.h5", blobs(40, seed=9)[0])
    assert follow() == 0
    out = capsys.readouterr().out
    assert "d.h5: the same data as b.h5" in out
    assert "a.h5: has changed; give it another name" in out
    assert out.count("left out") == 1
    assert output.read_bytes().startswith(first)
    assert [row["file"] for row in table(output)[60:]] == ["sub/c.h5"] * 30
    journal = table(folder.parent / "c.files.csv")
    assert [row["samples"] for row in journal] == ["30", "30", "30", "0"]
    assert not list(folder.parent.glob(".c*"))


@pytest.mark.parametrize("at", [0, 3, 6, 8, 10])
def test_a_killed_process_leaves_no_double_and_no_gap(folder, follow, monkeypatch, at):
    """The process ends in some step of writing."""
    paths, calls = [folder.parent / name for name in ("c.csv", "c.files.csv")], iter(range(99))
    assert follow() == 0
    whole = [path.read_bytes() for path in paths]
    for path in paths:
        path.unlink()

    def kill(_):
        if next(calls) >= at:
            raise KeyboardInterrupt

    monkeypatch.setattr(module.os, "fsync", kill)
    assert follow() == 130
    monkeypatch.undo()
    (folder.parent / ".c.csv.killed").mkdir()
    assert follow() == 0
    assert not list(folder.parent.glob(".c*"))
    assert [path.read_bytes() for path in paths] == whole


def test_it_waits_for_files_that_grow_and_stops_on_a_signal(folder, follow, capsys):
    output = folder.parent / "c.csv"
    whole = write_samples(folder.parent / "late.h5", blobs(25, seed=7)[0]).read_bytes()

    def wait_for(name):
        end = time.monotonic() + 20
        while not (output.exists() and name in output.read_bytes()) and time.monotonic() < end:
            time.sleep(0.05)

    def arrive():
        wait_for(b"sub/c.h5")
        with (folder / "late.h5").open("wb", buffering=0) as file:
            for start in range(0, len(whole), len(whole) // 20):
                file.write(whole[start : start + len(whole) // 20])
                time.sleep(0.05)
        wait_for(b"late.h5")
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=arrive)
    thread.start()
    assert follow("0.5") == 128 + signal.SIGTERM
    thread.join()
    out, err = capsys.readouterr()
    assert "left out" not in out  # it was not tried before it was whole
    assert "run the same command to continue" in err
    assert len(table(output)) == 115


def test_a_signal_while_a_file_is_labelled_leaves_it_out(folder, follow, monkeypatch):
    score = module._score
    monkeypatch.setattr(module, "_score", lambda *words: os.kill(os.getpid(), 15) or score(*words))
    assert follow() == 128 + signal.SIGTERM
    assert (folder.parent / "c.csv").read_bytes() == b""


def test_drift_calls_for_training_anew(folder, follow, capsys, monkeypatch):
    monkeypatch.setattr(module, "RECENT", 60)
    assert follow("0", "--drift", "0.25") == 0
    assert "train a new run" not in capsys.readouterr().out
    x = blobs(60, seed=3)[0]
    x[:20] = np.random.default_rng(0).random((20, 16, 20))
    write_samples(folder / "other.h5", x)
    assert follow("0", "--drift", "0.25") == 0
    assert "of the latest 60 samples are outliers, more than --drift" in capsys.readouterr().out


def test_the_catalogue_of_something_else_is_refused(trained, folder, follow, refused):
    output, journal = folder.parent / "c.csv", folder.parent / "c.files.csv"
    words = ["predict", "--follow", folder, "--run", trained[0], "-o", output, "--interval", 0]
    output.write_text("mine\n")
    refused(words, "is not the catalogue of c.files.csv")
    output.unlink()
    assert follow() == 0
    with locked(output):
        refused(words, "in use by another process")
    model = table(journal)[0]["model"]
    for path, old, new in ((output, "\n", ""), (journal, model, "0" * 16)):
        whole = path.read_text()
        path.write_text(whole.replace(old, new))
        refused(words, "is not the catalogue")
        path.write_text(whole)


def test_several_processes_label_as_one(trained, here):
    run, data = map(str, trained)
    several = ["predict", data, "--run", run, "-o", "two.csv", "run.figures=no"]
    codes, _, out, err = run_processes(here, 2, main, several)
    assert codes == [0, 0], err
    assert out.count("two.csv: labels") == 1
    paths = "two.csv", f"{run}/DEC/labels.csv", "two.latent.npy", f"{run}/DEC/latent.npy"
    labels = [column(here / path, "label") for path in paths[:2]]
    assert labels[0] == labels[1]
    np.testing.assert_allclose(*map(np.load, paths[2:]), atol=1e-5)
