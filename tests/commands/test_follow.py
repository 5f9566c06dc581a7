"""Labels of files that arrive in a folder."""

import os
import shutil
import signal
import threading
import time

import numpy as np
import pandas
import pytest

from RISCluster.__main__ import main
from RISCluster.stages import follow as module
from tests.commands.test_predict import predict, rows_of
from tests.conftest import blobs, write_samples
from tests.processes import run_processes


@pytest.fixture
def folder(tmp_path):
    """Three files, as of three days."""
    (tmp_path / "new/sub").mkdir(parents=True)
    for number, name in enumerate(("a.h5", "b.h5", "sub/c.h5")):
        times = [f"2016-02-{number + 1:02d}T00:00:{i:02d}Z".encode() for i in range(30)]
        more = {} if number == 1 else {"starttime": times}
        path = write_samples(tmp_path / "new" / name, blobs(30, seed=number)[0], **more)
        os.utime(path, (number + 1, number + 1))
    return tmp_path / "new"


def follow(run, folder, *words):
    output = str(folder.parent / "c.csv")
    return main(["predict", "--follow", str(folder), "--run", str(run), "-o", output, *words])


def once(run, folder, *words):
    assert follow(run, folder, "--interval", "0", *words) == 0


def test_each_file_is_labelled_once(trained, folder, capsys):
    run, output = trained[0], folder.parent / "c.csv"
    late = (folder / "sub/c.h5").rename(folder / "c.part")
    (folder / "d.h5").write_bytes((folder / "a.h5").read_bytes()[:3000])  # still being copied
    once(run, folder)
    assert "d.h5" in capsys.readouterr().out
    first = output.read_bytes()
    assert predict(folder / "a.h5", run, folder.parent / "a.csv") == 0
    alone, rows = rows_of(folder.parent / "a.csv"), rows_of(output)
    assert [{name: row[name] for name in alone[0]} for row in rows[:30]] == alone
    assert [row["file"] for row in rows] == ["a.h5"] * 30 + ["b.h5"] * 30
    assert rows[30]["starttime"] == rows[0]["onset"] == ""
    late.rename(folder / "sub/c.h5")
    shutil.copy(folder / "a.h5", folder / "d.h5")  # whole, but the data of another file
    write_samples(folder / "b.h5", blobs(40, seed=9)[0])
    once(run, folder)
    out = capsys.readouterr().out
    assert "d.h5: the same data as a.h5" in out
    assert "b.h5: has changed; give it another name" in out
    assert output.read_bytes().startswith(first)
    assert [row["file"] for row in rows_of(output)[60:]] == ["sub/c.h5"] * 30
    journal = rows_of(folder.parent / "c.files.csv")
    assert [row["samples"] for row in journal] == ["30", "30", "30", "0"]
    assert not list(folder.parent.glob(".c*"))


@pytest.mark.parametrize("at", [0, 3, 6, 8, 10])
def test_a_killed_process_leaves_no_double_and_no_gap(trained, folder, monkeypatch, at):
    """The process ends in some step of writing."""
    output, n = folder.parent / "c.csv", 0
    once(trained[0], folder)
    paths = output, folder.parent / "c.files.csv"
    whole = [path.read_bytes() for path in paths]
    for path in paths:
        path.unlink()

    def kill(_):
        nonlocal n
        n += 1
        if n > at:
            raise KeyboardInterrupt

    monkeypatch.setattr(module.os, "fsync", kill)
    assert follow(trained[0], folder, "--interval", "0") == 130
    monkeypatch.undo()
    (folder.parent / ".c.csv.killed").mkdir()
    once(trained[0], folder)
    assert not list(folder.parent.glob(".c*"))
    assert [path.read_bytes() for path in paths] == whole


def test_it_waits_for_files_that_grow_and_stops_on_a_signal(trained, folder, capsys):
    output, grown = folder.parent / "c.csv", []
    whole = write_samples(folder.parent / "late.h5", blobs(25, seed=7)[0]).read_bytes()

    def arrive():
        with (folder / "late.h5").open("wb", buffering=0) as file:
            for start in range(0, len(whole), len(whole) // 6):
                file.write(whole[start : start + len(whole) // 6])
                time.sleep(0.1)
        end = time.monotonic() + 20
        while time.monotonic() < end and not (output.exists() and b"late" in output.read_bytes()):
            time.sleep(0.05)
        grown.append(time.monotonic() < end)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=arrive)
    thread.start()
    assert follow(trained[0], folder, "--interval", "0.3") == 128 + signal.SIGTERM
    thread.join()
    assert grown == [True]
    assert "run the same command to continue" in capsys.readouterr().err
    assert len(pandas.read_csv(output)) == 115


def test_drift_calls_for_training_anew(trained, folder, capsys, monkeypatch):
    monkeypatch.setattr(module, "RECENT", 60)
    once(trained[0], folder)
    assert "train a new run" not in capsys.readouterr().out
    x = blobs(60, seed=3)[0]
    x[:20] = np.random.default_rng(0).random((20, 16, 20))
    write_samples(folder / "other.h5", x)
    once(trained[0], folder)
    assert "of the latest 60 samples are outliers, more than --drift" in capsys.readouterr().out


def test_what_can_not_be_followed_is_refused(trained, folder, refused):
    run, output = trained[0], folder.parent / "c.csv"
    words = ["--run", run, "-o", output, "--interval", "0"]
    refused(["predict", "--follow", folder / "no", *words], "no such folder; give the one in which")
    refused(["predict", "x.h5", "--follow", folder, *words], "give files to label as one set, or")
    refused(["predict", "--follow", folder, *words, "--overwrite"], "--overwrite is not allowed")
    output.write_text("mine\n")
    refused(["predict", "--follow", folder, *words], "is not the catalogue of c.files.csv")
    output.unlink()
    once(run, folder)
    journal = folder.parent / "c.files.csv"
    model = rows_of(journal)[0]["model"]
    journal.write_text(journal.read_text().replace(model, "0" * 16))
    refused(["predict", "--follow", folder, *words], "is not the catalogue")


def test_several_processes_label_as_one(trained, folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    words = ["--run", str(trained[0]), "-o"]
    assert predict(trained[1], trained[0], folder.parent / "one.csv") == 0
    several = ["predict", str(trained[1]), *words, "two.csv", "run.figures=no"]
    codes, _, out, err = run_processes(folder.parent, 2, main, several)
    assert codes == [0, 0], err
    assert out.count("two.csv: labels") == 1
    one, two = (rows_of(folder.parent / f"{name}.csv") for name in ("one", "two"))
    assert [(x["index"], x["label"]) for x in one] == [(x["index"], x["label"]) for x in two]
    latents = [np.load(f"{name}.latent.npy") for name in ("one", "two")]
    np.testing.assert_allclose(*latents, atol=1e-5)
