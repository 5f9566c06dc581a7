import json
import shutil

import numpy as np
import pytest

from RISCluster.clustering.selection import contradictions, read_rows
from RISCluster.clustering.stability import MAX_RESAMPLE_SIZE
from RISCluster.errors import CheckpointError
from RISCluster.report.context_run import settings_rows
from RISCluster.report.figures import Results
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


def test_tiles_data_stages_and_settings(run_folder):
    change_metrics(run_folder, "DEC", accuracy=0.98765)
    with open_run(run_folder) as run:
        found, sizes, n = Section("run", run), run.final.sizes, run.stages["AEC"].metrics
        tiles = found.tiles()
        known = run.final.table["probability"][run.final.labels >= 0]
        share = (known < 0.5).mean()
        assert (tiles["Samples"], tiles["Clusters"], tiles["Accuracy"]) == ("96", "3", "0.988")
        assert f"of {sizes.min()} to {sizes.max()} samples" in found.text
        assert "1.04% of all, labelled -1" in found.text
        assert tiles["Doubtful labels"] == (f"{share:.1%}" if share else "0")
        assert tiles["Refined"] == ("yes" if run.final.metrics["refined"] else "no")
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
        names = {row[0].partition(".")[0] for row in settings_rows(run)}
        assert names == {"run", "data", "aec", "gmm", "dec"}
    change_metrics(run_folder, "DEC", refined=False)
    with open_run(run_folder) as run:
        assert Section("run", run).tiles()["Refined"] == "no"


def test_times_that_are_not_known_or_wrong(made_run):
    with open_run(made_run) as run:
        table = run.final.table

        def span():
            return dict(Section("run", run).table("Data")[1:])["Time span"]

        table.loc[3, "starttime"] = np.datetime64("2262-01-01")
        assert span().startswith("2016-01-01 00:00:00 to 2016-12-01")
        assert span().endswith("; 1 sample years away, as of 2262-01-01 00:00:00")
        table.loc[:94, "starttime"] = np.datetime64("NaT")
        assert span().endswith("(under 1 s); 95 samples without a time")
        table.loc[:, "starttime"] = np.datetime64("NaT")
        assert span() == "no sample has a time"


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
        text = Section("citing", run).text
        assert "refined" not in text
        assert "Gaussian mixtures" in text
        assert "bins" not in text
    shutil.rmtree(run_folder / "GMM")
    with open_run(run_folder) as run:
        found = Section("run", run)
        assert "No sample is labelled yet" in found.text
        assert {"Samples", "Validation loss"} <= set(found.tiles())
        assert list(Section("training", run).figures) == ["AEC_loss", "AEC_reconstructions"]
        assert "Gaussian" not in Section("citing", run).text


def test_the_map_of_a_cube(run_folder):
    with open_run(run_folder) as run:
        assert not Section("run", run).figures
        (run_folder / "DEC/labels.h5").write_bytes(b"damaged, which shows when it is drawn")
        assert list(Section("run", run).figures) == ["DEC_map"]


# ---- training and choice of K ----


def test_training(run_folder):
    (run_folder / "AEC/sweep.csv").write_text(
        "combination,validation_mse\nlr=0.001,0.25\nlr=0.01,0.5\n"
    )
    change_metrics(run_folder, "AEC", dead_features=[0, 2], sweep_best="lr=0.001")
    change_metrics(run_folder, "DEC", refined=False, label_change_from_gmm=0.125)
    with open_run(run_folder) as run:
        found = Section("training", run)
    assert list(found.figures) == ["AEC_loss", "AEC_reconstructions", "DEC_history"]
    history = np.genfromtxt(run_folder / "AEC/history.csv", delimiter=",", names=True)
    rows = dict(found.table("Autoencoder"))
    assert rows["Epochs"] == str(len(history))
    assert rows["Best epoch"] == f"{history['epoch'][history['validation_mse'].argmin()]:.0f}"
    assert rows["Dead features"] == "2"
    assert "2 latent features are dead, the same for every sample: 0, 2" in found.notes[0]
    assert "was rejected" in found.notes[1]
    refined = dict(found.table("Refinement"))
    assert refined["Labels that differ from the mixture's, share"] == "0.1250"
    assert found.table("Sweep of AEC")[1:] == [
        ["lr=0.001", "0.2500", "taken"], ["lr=0.01", "0.5000", ""]
    ]  # fmt: skip


COLUMNS = ("bic", "aic", "silhouette", "inertia", "gap", "gap_std", "stability", "stability_std")
VALUES = {
    "bic": [9, 3, 4, 6], "aic": [-2, -3, -4, -5], "silhouette": [0.1] * 4,
    "inertia": [10, 4, 3, 2], "gap": [2, 3, 4, 5], "gap_std": [0.1] * 4,
    "stability": [0.9, 0.96, 0.95, 0.6], "stability_std": [0.05] * 4,
}  # fmt: skip
NOTHING = ["nan"] * 4


def choice(folder, values, *stages):
    """The section of a run with these criteria for K of 2 and more."""
    rows = zip(*(values[name] for name in COLUMNS if name in values), strict=True)
    lines = [f"{k}," + ",".join(map(str, row)) for k, row in enumerate(rows, 2)]
    header = ["n_clusters", *(name for name in COLUMNS if name in values)]
    (folder / "selection.csv").write_text("\n".join([",".join(header), *lines]) + "\n")
    object.__setattr__(stages[0], "path", folder)
    return Section("choice", made.run(*stages))


@pytest.mark.parametrize(
    ("title", "values", "k", "words"),
    [
        ("BIC", {}, "3", "BIC is lowest at K = 3: one more Gaussian"),
        ("AIC", {}, "5", "AIC is still falling at K = 5, the last one fitted"),
        ("silhouette", {}, "2", "highest at K = 2, 0.10: clusters that touch"),
        ("silhouette", {"silhouette": [0.1, 0.7, 0, 0]}, "3", "0.70: compact clusters"),
        ("silhouette", {"silhouette": NOTHING}, "–", "has no value: it needs two clusters"),
        ("gap statistic", {}, "–", "still rises by more than its standard error at K = 5"),
        ("gap statistic", {"gap": [1, 2, 2, 2]}, "3", "selects K = 3, the first whose gap"),
        ("knee of the inertia", {}, "3", "furthest below the chord between the ends"),
        ("knee of the inertia", {}, "3", "here 2 to 5"),
        ("knee of the inertia", {"inertia": [1] * 4}, "–", "has no knee"),
        ("stability", {}, "4", "Rand index of 0.95 (standard deviation 0.05"),
        ("stability", {"stability": NOTHING}, "–", "Stability was not computed"),
        ("stability", {"stability": [0.5, 0.4, 0.49, 0.2]}, "4", "of 0.50 (K = 4 is the largest"),
    ],
)
def test_a_sentence_on_each_criterion(tmp_path, title, values, k, words):
    found = choice(tmp_path, VALUES | values, made.stage("GMM", [0, 1, 2]))
    verdicts = {row[0]: row[1:] for row in found.table("Choice of each criterion")[1:]}
    assert verdicts[title][0] == k
    assert words in verdicts[title][1]


def test_summary_and_contradictions(tmp_path):
    gmm, dec = made.stage("GMM", [0, 1, 2]), made.stage("DEC", [0, 1])
    found = choice(tmp_path, VALUES, gmm, dec)
    assert (
        "K = 3 was selected by BIC. Within 1 of it: silhouette, knee of the inertia, stability. "
        "Others would select: AIC 5."
    ) in found.text
    assert found.table("every K")[0][-2:] == ["stability", "stability s.d."]
    assert list(found.figures) == ["GMM_selection"]
    old = {name: VALUES[name] for name in COLUMNS[:6]}
    values = old | {"silhouette": [0.1, 0.2, 0.3, 0.4]}
    found = choice(tmp_path, values, gmm, dec)
    (text,) = contradictions(read_rows(tmp_path / "selection.csv"), 3, "bic")
    assert found.notes[0] == f"{text[0].upper()}{text[1:]}."
    assert "2 clusters (dec.n_clusters), not the 3 selected" in found.notes[1]
    assert f"at most {MAX_RESAMPLE_SIZE:,} latents" in found.text
    assert found.table("every K")[0][-1] == "gap s.e."
    one = {name: [1] for name in COLUMNS}
    text = choice(tmp_path, one, made.stage("GMM", [0, 1])).text
    assert text == "One number of clusters was fitted, K = 2."


def test_nothing_to_choose(tmp_path):
    assert MAKE["choice"](Results(made.run(made.stage("DEC", [0, 1])))) is None
    gmm = made.stage("GMM", [0, 1])
    object.__setattr__(gmm, "path", tmp_path)
    with pytest.raises(CheckpointError, match=r"selection\.csv"):
        MAKE["choice"](Results(made.run(gmm)))


# ---- citing ----


def test_methods_of_a_run(made_run):
    with open_run(made_run) as run:
        text = Section("citing", run).text
        epochs, chosen = run.stages["AEC"].metrics["epochs"], run.stages["GMM"].n_clusters
    for part in (
        "We clustered 95 spectrograms of 16 x 20 bins (1 more was unusable and left out)",
        "Square roots of the amplitudes were taken, and each spectrogram was scaled to unit L2",
        "3 latent features",
        "by 10 principal components of the smoothed spectrograms, taken once as they are and once "
        "relative to the background (the median amplitude at each frequency), and 10 of their "
        "modulation spectra",
        f"training ended after {epochs} epochs (Adam, batches of 16, maximum learning rate 0.004)",
        "(Ward's method on combinations of features and on t-SNE maps), with 2 to 4",
        f"criterion selected {chosen}",
        "Encoder and 3 clusters were then refined",
        "gamma = 1",
        "10.1029/2021JB021716",
        "10.1785/0220200164",
        "PyTorch",
        "@inproceedings{xie2016,",
    ):
        assert part in text, part


@pytest.mark.parametrize(
    ("stage", "values", "part"),
    [
        ("DEC", {"refined": False}, "was rejected: the labels are those of the Gaussian mixture"),
        ("DEC", {"refined": True, "label_change_from_gmm": 0.25}, "It changed 25.0% of"),
        ("GMM", {"n_views": 5}, "started from the consensus of 5 clusterings of them"),
        ("GMM", {"n_maps": 12}, "started from the clusters on which 12 t-SNE maps of them agree"),
        ("GMM", {"n_views": None}, "started from the consensus of several clusterings"),
        ("AEC", {"n_components": {"smoothed": 0, "modulation": 0}}, "23 latent features"),
        ("AEC", {"n_components": None}, "23 latent features"),
    ],
)
def test_methods_of_other_runs(run_folder, stage, values, part):
    change_metrics(run_folder, stage, **values)
    with open_run(run_folder) as run:
        assert part in Section("citing", run).text
