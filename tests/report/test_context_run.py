import json
import shutil

import numpy as np
import pytest

from RISCluster.clustering.selection import contradictions, read_rows
from RISCluster.clustering.stability import MAX_RESAMPLE_SIZE
from RISCluster.errors import CheckpointError
from RISCluster.report.context_run import data_rows, draw_reconstructions, settings_rows
from RISCluster.runs.run import open_run
from tests import made
from tests.report.html import MAKE, Section


def change_metrics(folder, stage, **values):
    """Edit metrics.json, and drop the checksums that no longer fit."""
    path, provenance = folder / stage / "metrics.json", folder / stage / "provenance.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    content = json.loads(provenance.read_text())
    content["results"].pop("metrics.json", None)
    content.pop("checksum", None)
    provenance.write_text(json.dumps(content))


# ---- run ----


def test_tiles_are_those_of_the_final_labels(run_folder):
    change_metrics(run_folder, "DEC", accuracy=0.98765)
    with open_run(run_folder) as run:
        found, sizes = Section("run", run), run.final.sizes
        tiles, known = found.tiles(), run.final.table["probability"][run.final.labels >= 0]
        share = (known < 0.5).mean()
        assert tiles["Samples"] == "96"
        assert tiles["Clusters"] == "3"
        assert f"of {sizes.min()} to {sizes.max()} samples" in found.text
        assert "1.04% of all, labelled -1" in found.text
        assert tiles["Doubtful labels"] == (f"{share:.1%}" if share else "0")
        assert tiles["Accuracy"] == "0.988"
        assert tiles["Refined"] == ("yes" if run.final.metrics["refined"] else "no")
    change_metrics(run_folder, "DEC", refined=False)
    with open_run(run_folder) as run:
        assert Section("run", run).tiles()["Refined"] == "no"


def test_data_stages_and_settings(run_folder):
    with open_run(run_folder) as run:
        found, n = Section("run", run), run.stages["AEC"].metrics
        rows = dict(found.table("Data")[1:])
        assert rows["Samples"] == "96 of 16 x 20 (frequency x time)"
        assert rows["Frequency"] == "1 to 8.5 Hz, step 0.5 Hz"
        assert rows["Time"] == "0 to 1.9 s, step 0.1 s"
        assert rows["Time span"].startswith("2016-01-01 00:00:00 to 2016-12-01 23:00:")
        assert rows["Stations"] == "4, 4 traces"
        assert rows["Known classes"] == "3, for scoring"
        assert rows["Trained on"] == f"{n['n_train']} samples, validated on {n['n_validation']}"
        assert [row[0] for row in found.table("Stages")[1:]] == ["AEC", "GMM", "DEC"]
        versions = {row[0]: row[1] for row in found.table("Versions")}
        assert versions["torch"] == run.stages["AEC"].provenance["versions"]["torch"]
        changed = {row[0]: tuple(row[1:3]) for row in found.table("differ from the defaults")}
        assert changed["aec.n_features"] == ("3", "9")
        assert changed["run.figures"] == ("no", "yes")
        assert "aec.lr" not in changed
        names = {row[0] for row in settings_rows(run)}
        assert "gmm.select" in names
        assert not [name for name in names if name.startswith(("build.", "cube.", "report."))]


def test_times_that_are_not_known_or_wrong(run_folder):
    with open_run(run_folder) as run:
        run.final.table.loc[3, "starttime"] = np.datetime64("2262-01-01")
        span = dict(data_rows(run))["Time span"]
        assert span.startswith("2016-01-01 00:00:00 to 2016-12-01")
        assert span.endswith("; 1 sample years away, as of 2262-01-01 00:00:00")
        run.final.table.loc[:94, "starttime"] = np.datetime64("NaT")
        span = dict(data_rows(run))["Time span"]
        assert span.endswith("(under 1 s); 95 samples without a time")
        run.final.table["starttime"] = np.datetime64("NaT")
        assert dict(data_rows(run))["Time span"] == "no sample has a time"


def test_what_is_missing_is_noted(run_folder):
    shutil.rmtree(run_folder / "DEC")
    with open_run(run_folder, ["data.file=nowhere.h5"]) as run:
        found = Section("run", run)
        assert "there is no DEC stage" in found.notes[0]
        assert "nowhere.h5" in found.notes[1]
        assert "there is no DEC stage" in found.text
        rows = dict(found.table("Data"))
        assert rows["File"] == "nowhere.h5"
        assert "Frequency" not in rows
    shutil.rmtree(run_folder / "GMM")
    with open_run(run_folder) as run:
        found = Section("run", run)
        assert "No sample is labelled yet" in found.text
        assert {"Samples", "Validation loss"} <= set(found.tiles())
        assert list(Section("training", run).figures) == ["AEC_loss", "AEC_reconstructions"]


def test_the_map_of_a_cube(run_folder):
    with open_run(run_folder) as run:
        assert not Section("run", run).figures
        (run_folder / "DEC/labels.h5").write_bytes(b"damaged, which shows when it is drawn")
        assert list(Section("run", run).figures) == ["DEC_map"]


# ---- training ----


def test_training(run_folder):
    (run_folder / "AEC/sweep.csv").write_text(
        "combination,validation_mse\nlr=0.001,0.25\nlr=0.01,0.5\n"
    )
    change_metrics(run_folder, "AEC", dead_features=[0, 2], sweep_best="lr=0.001")
    change_metrics(run_folder, "DEC", refined=False, label_change_from_gmm=0.125)
    with open_run(run_folder) as run:
        found = Section("training", run)
        assert list(found.figures) == ["AEC_loss", "AEC_reconstructions", "DEC_history"]
        for picture in found.figures.values():
            assert picture.draw().axes
        history = np.genfromtxt(run_folder / "AEC/history.csv", delimiter=",", names=True)
        rows = dict(found.table("Autoencoder"))
        assert rows["Epochs"] == str(len(history))
        assert rows["Best epoch"] == f"{history['epoch'][history['validation_mse'].argmin()]:.0f}"
        assert rows["Dead features"] == "2"
        assert "2 latent features are dead, the same for every sample: 0, 2" in found.notes[0]
        assert "was not kept" in found.notes[1]
        refined = dict(found.table("Refinement"))
        assert refined["Labels that differ from the mixture's, share"] == "0.1250"
        assert found.table("Sweep of AEC")[1:] == [
            ["lr=0.001", "0.2500", "taken"], ["lr=0.01", "0.5000", ""]
        ]  # fmt: skip


def test_reconstructions_are_those_of_the_stage(run_folder):
    """The samples on the left are prepared as for training."""
    with open_run(run_folder) as run:
        figure = draw_reconstructions(run, run.stages["AEC"])
        split = np.load(run_folder / "AEC/split.npz")["validation"]
        left = [axes for axes in figure.axes if axes.get_ylabel().startswith("sample")]
        assert len(left) == 6
        first = int(left[0].get_ylabel().split("\n")[0].removeprefix("sample "))
        assert first == split[0]
        image = left[0].collections[0].get_array().reshape(16, 20)
        root = np.sqrt(run.file.read(first, first + 1)[0])
        np.testing.assert_allclose(image, root / np.linalg.norm(root), atol=1e-5)


# ---- choice of K ----


def with_selection(folder, rows, *stages):
    """A run whose selection.csv has these rows."""
    (folder / "GMM").mkdir()
    header = "n_clusters,bic,aic,silhouette,inertia,gap,gap_std"
    (folder / "GMM/selection.csv").write_text("\n".join([header, *rows]) + "\n")
    object.__setattr__(stages[0], "path", folder / "GMM")
    return made.run(*stages)


def test_choice_of_a_run(made_run):
    with open_run(made_run) as run:
        found, chosen = Section("choice", run), run.stages["GMM"].n_clusters
    assert f"K = {chosen} was selected by BIC." in found.text
    assert [row[0] for row in found.table("Choice of each criterion")[1:]] == [
        "BIC", "AIC", "silhouette", "gap statistic", "knee of the inertia", "stability"
    ]  # fmt: skip
    values = found.table("every K")
    assert values[0][-2:] == ["stability", "stability s.d."]
    assert [row[0] for row in values[1:]] == ["2", "3", "4"]
    figure = found.figures["GMM_selection"].draw()
    assert f"K = {chosen} is selected" in figure.get_suptitle()


def test_contradictions_and_runs_without_stability(tmp_path):
    rows = ["2,1,1,0.1,9,1,1", "3,0,1,0.2,3,1,1", "4,2,1,0.3,2,1,1", "5,3,1,0.4,1,1,1"]
    gmm, dec = made.stage("GMM", [0, 1, 2]), made.stage("DEC", [0, 1])
    found = Section("choice", with_selection(tmp_path, rows, gmm, dec))
    (text,) = contradictions(read_rows(tmp_path / "GMM/selection.csv"), 3, "bic")
    assert found.notes[0] == f"The {text[4:]}."
    assert "2 clusters (dec.n_clusters), not the 3 selected" in found.notes[1]
    assert f"at most {MAX_RESAMPLE_SIZE:,} latents" in found.text
    assert "not computed" in found.table("Choice of each")[-1][2]
    assert found.table("every K")[0][-1] == "gap s.e."


def test_nothing_to_choose(tmp_path):
    found = Section(
        "choice", with_selection(tmp_path, ["2,1,1,1,1,1,1"], made.stage("GMM", [0, 1]))
    )
    assert "One number of clusters was fitted, K = 2." in found.text
    assert MAKE["choice"](made.run(made.stage("DEC", [0, 1]))) is None
    (tmp_path / "GMM/selection.csv").unlink()
    gmm = made.stage("GMM", [0, 1])
    object.__setattr__(gmm, "path", tmp_path / "GMM")
    with pytest.raises(CheckpointError, match=r"selection\.csv"):
        MAKE["choice"](made.run(gmm))


# ---- citing ----


def test_methods_of_a_run(run_folder):
    with open_run(run_folder) as run:
        found = Section("citing", run)
        epochs, chosen = run.stages["AEC"].metrics["epochs"], run.stages["GMM"].n_clusters
    for part in (
        "We clustered 95 spectrograms of 16 x 20 bins (1 more was unusable and left out)",
        "Square roots of the amplitudes were taken, and each spectrogram was scaled to unit L2",
        "3 latent features",
        "by 10 principal components of the smoothed spectrograms, taken once as they are and once "
        "relative to the background (the median amplitude at each frequency), and 10 of their "
        "modulation spectra",
        f"training ended after {epochs} epochs (Adam, batches of 16, initial learning rate 0.001)",
        "started from the clusters on which 12 t-SNE maps of them agree, with 2 to 4 clusters",
        f"criterion selected {chosen}",
        "Encoder and 3 clusters were then refined",
        "gamma = 1",
        "10.1029/2021JB021716",
        "10.1785/0220200164",
        "PyTorch",
        "@inproceedings{xie2016,",
    ):
        assert part in found.text, part


def test_methods_of_other_runs(run_folder):
    for key, value, part in (
        ("refined", False, "was not kept: the labels are those of the Gaussian mixture"),
        ("refined", True, "It changed 25.0% of the mixture's labels."),
    ):
        change_metrics(run_folder, "DEC", **{key: value}, label_change_from_gmm=0.25)
        with open_run(run_folder) as run:
            assert part in Section("citing", run).text
    for number in (1, None):
        change_metrics(run_folder, "GMM", n_maps=number)
        change_metrics(run_folder, "AEC", n_components=number and {"smoothed": 0, "modulation": 0})
        with open_run(run_folder) as run:
            text = Section("citing", run).text
        assert "started from a t-SNE map of them, with 2" in text
        assert "modulation" not in text
        assert "23 latent features" in text
    shutil.rmtree(run_folder / "DEC")
    with open_run(run_folder, ["data.file=nowhere.h5"]) as run:
        text = Section("citing", run).text
        assert "refined" not in text
        assert "Gaussian mixtures" in text
        assert "bins" not in text
    shutil.rmtree(run_folder / "GMM")
    with open_run(run_folder) as run:
        assert "Gaussian" not in Section("citing", run).text
