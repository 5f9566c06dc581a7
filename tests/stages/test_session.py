"""Inputs of a stage, repetition, sweeps, and the closing lines."""

import re
import shutil
from unittest import mock

import h5py
import numpy as np
import pytest
import torch

from RISCluster.errors import RunError
from RISCluster.plots import figures
from RISCluster.report import make_report
from RISCluster.run_folder import StageFolder
from RISCluster.settings import read_ini
from RISCluster.stages import cluster, pretrain
from RISCluster.stages.cluster import run_gmm
from RISCluster.stages.pretrain import run_aec
from RISCluster.stages.refine import run_dec
from tests.conftest import blobs, write_samples
from tests.stages.conftest import FAST, STAGES, column, content, metrics, refused, run_all, table


def test_finished_stages_are_left_alone(finished, capsys):
    folder = finished().run_folder
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    run_all(finished())
    moved = finished().data.file.replace("small", "moved")
    with h5py.File(finished().data.file) as old, h5py.File(moved, "w") as new:
        for name in old:
            old.copy(name, new)
    run_all(finished(f"data.file={moved}", "data.loadmode=disk", "run.figures=yes"))
    run_all(finished("cube.window=9"))  # not a cube
    assert capsys.readouterr().out.count("done already") == 9
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_changed_settings_of_the_mixture_label_anew(finished, capsys):
    run_dec(finished("gmm.select=silhouette", "aec.lr=0.1"))
    out = capsys.readouterr().out
    assert ("done already" in out, out.count("has no effect on the DEC stage")) == (True, 2)
    assert re.search("gmm.select=.* with bic; .*python GMM_.* gmm.select=silhouette\n", out)
    run_dec(finished("gmm.covariance_shrinkage=50", "aec.lr=0.1", "dec.lr=0.2"))
    out, stored = capsys.readouterr().out, read_ini(finished().run_folder / "DEC/config.ini")
    assert ("done already" in out, out.count("has no effect")) == (False, 1)
    assert (stored["aec.lr"], stored["dec.lr"]) == ("auto", "0.2")


def test_changed_columns_are_copied_and_scored_without_a_fit(finished, monkeypatch, capsys):
    folder, made, ids = finished().run_folder, [], np.arange(96) // 4
    monkeypatch.setattr(make_report, "write_report", made.append)
    monkeypatch.setattr("RISCluster.io.BLOCK_ROWS", 50)
    before, ids[:4] = content(folder), -1
    word = f"data.file={shutil.copy(finished().data.file, folder.parent / 'moved.h5')}"
    with h5py.File(folder.parent / "moved.h5", "a") as file:
        file["labels"][:], file["event_id"] = np.arange(96) == 0, ids
    run_aec(finished(word))
    assert "done already" in capsys.readouterr().out
    assert "labels, times or ids in data.file changed" in refused(run_dec, finished(word))
    with monkeypatch.context() as patch:
        patch.setattr(StageFolder, "complete", mock.Mock(side_effect=RunError("power cut")))
        assert "power cut" in refused(run_gmm, finished(word))
    for stage in (run_gmm, run_dec, run_dec):
        stage(finished(word, "run.figures=yes"))
    assert (made, len([*folder.glob("[A-Z]*")])) == ([folder], 3)  # no stage was begun anew
    assert f"data.file={read_ini(folder / 'DEC/config.ini')['data.file']}" == word
    for stage in ("GMM", "DEC"):
        found, path = metrics(folder / stage), folder / stage / "labels.csv"
        assert (found["accuracy"] < 0.9, found["n_events"]) == (True, 23)
        assert column(path, "event_id") == [*map(str, ids)]
        rows = before[f"{stage}/labels.csv"].decode().splitlines()
        assert [line.rpartition(",")[0] for line in path.read_text().splitlines()] == rows


def test_other_data_or_network_or_an_older_stage_is_refused(finished, tmp_path):
    folder = finished().run_folder
    before = content(folder)
    other = write_samples(tmp_path / "other.h5", blobs(96, seed=5)[0])
    message = refused(run_gmm, finished(f"data.file={other}"))
    assert "the AEC stage has other inputs: the samples of data.file changed; " in message
    message = refused(run_dec, finished("aec.n_features=4"))
    assert "aec.n_features was 3, is 4; run python AEC_train.py run.name=test" in message
    assert content(folder) == before
    run_aec(finished("aec.lr=0.01"))
    (renamed,) = (path for path in folder.glob("AEC_*") if path.is_dir())
    assert (renamed / "model.pt").read_bytes() == before["AEC/model.pt"]
    message = refused(run_dec, finished("aec.lr=0.01"))
    assert re.search(r"AEC/model.pt changed; run python GMM_centroids.py .* again", message)


def test_bad_input_leaves_finished_stages_as_they_are(finished, tmp_path):
    folder = finished().run_folder
    before, other = content(folder), tmp_path / "other.pt"
    torch.save({"encoder.encoder.11.weight": torch.zeros(3, 3)}, other)
    for stage, words in (
        (run_aec, ("data.loadmode=device", "aec.lr=0.01")),
        (run_aec, (f"aec.initial_weights={other}",)),
        (run_gmm, ("gmm.n_clusters=500",)),
        (run_dec, ("dec.n_clusters=2,9",)),
    ):
        refused(stage, finished(*words))
        assert content(folder) == before
        assert {path.name for path in folder.iterdir()} == {"AEC", "GMM", "DEC"}


def test_sweep_resumes_where_it_stopped_and_takes_the_best(finished, monkeypatch, capsys):
    words = ("aec.lr=1e-05,1e30,0.003", "dec.gamma=0,0.5", "run.name=sweep", *FAST)
    train, calls = pretrain._train, []

    def dying(session, data):
        calls.append(session.path.name)
        if len(calls) == 3:
            raise RunError("power cut")
        train(session, data)

    monkeypatch.setattr(pretrain, "_train", dying)
    with pytest.raises(RunError):
        run_aec(finished(*words))
    made = finished(*words).run_folder / "AEC/sweep/lr=1e-05/metrics.json"
    before = made.stat().st_mtime_ns
    run_aec(finished(*words, "run.figures=yes"))
    assert made.stat().st_mtime_ns == before
    folder = run_all(finished(*words))
    out = capsys.readouterr().out
    assert "lr=1e+30 failed and is left out" in out
    assert "could not be made" not in out
    assert (folder / "figures/AEC_loss.png").exists()
    rows = table(folder / "AEC/sweep.csv")
    scores = {row["combination"]: float(row["validation_mse"]) for row in rows}
    assert scores.keys() == {"lr=1e-05", "lr=0.003"}
    assert scores["lr=0.003"] < scores["lr=1e-05"]
    best = folder / "AEC/sweep/lr=0.003/model.pt"
    assert (folder / "AEC/model.pt").read_bytes() == best.read_bytes()
    names = ("gamma=0", "gamma=0.5")
    scores = {n: metrics(folder / "DEC/sweep" / n)["calinski_harabasz_data"] for n in names}
    assert metrics(folder / "DEC")["sweep_best"] == max(scores, key=scores.get)


def test_figures_report_and_closing_lines(finished, empty_figures, monkeypatch, capsys):
    settings = finished("run.figures=yes", "run.figure_format=svg", "aec.n_epochs=2", *FAST)
    monkeypatch.setattr(make_report, "write_report", lambda folder: folder / "report.html")
    monkeypatch.setattr(cluster, "contradictions", lambda rows, chosen, by: [f"K of {len(rows)}"])
    monkeypatch.setitem(figures.FIGURES, "AEC_reconstructions", lambda _: 1 / 0)
    for stage in STAGES:  # a failing figure stops none
        stage(settings)
    assert {path.name for path in (settings.run_folder / "figures").iterdir()} == {
        "AEC_loss.svg", "GMM_selection.svg", "GMM_gallery.svg", "GMM_embedding.npz",
        "GMM_embedding.svg",
    }  # fmt: skip
    out = capsys.readouterr().out
    assert "figures could not be made: ZeroDivisionError" in out
    assert f"report: {settings.run_folder}/report.html" in out
    assert "  K of 3\n" in out
    assert "the autoencoder has learnt no more than the mean spectrogram" in out
    lines = r"  result: (.*), in .*/(\w+)\n\S+  quality: (.*)\n\S+  next: (.*)\n"
    results, stages, qualities, following = zip(*re.findall(lines, out), strict=True)
    assert (results[0], *stages) == ("autoencoder of 77 samples, 2 epochs", "AEC", "GMM", "DEC")
    assert all("silhouette latent " in quality for quality in qualities[1:])
    assert [command.split()[1] for command in following[:2]] == ["GMM_centroids.py", "DEC_train.py"]
    assert following[2].endswith(" -o test_new_labels.csv")
