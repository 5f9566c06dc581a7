"""The three stages in a row: what they write, on clear, unusual and unusable data."""

import json
import shutil
import sys
import types
from unittest import mock

import h5py
import numpy as np
import pytest

from RISCluster.data.sets import draw_split
from RISCluster.stages.pretrain import run_aec
from tests.conftest import blobs, write_samples
from tests.stages.conftest import FAST, column, content, metrics, refused, run_all, table

N = 32
COMMON = {"metrics.json", "config.ini", "provenance.json"}
LABELS = {"labels.csv", "latent.npy", "novelty.npz"}
EXPECTED = {
    "AEC": {"model.pt", "last.pt", "history.csv", "split.npz"},
    "GMM": {"model.npz", "selection.csv"} | LABELS,
    "DEC": {"model.pt", "last.pt", "history.csv", "cluster_performance.csv"}
    | {"soft_assignments.npy"} | LABELS,
}  # fmt: skip
HEADERS = {
    "AEC/history.csv": "epoch train_mse validation_mse learning_rate seconds samples_per_second",
    "DEC/history.csv": "epoch mse kl loss label_change learning_rate seconds samples_per_second",
    "GMM/selection.csv": "n_clusters bic aic silhouette inertia gap gap_std stability "
    "stability_std",
    "DEC/cluster_performance.csv": "label size share mean_probability silhouette_latent "
    "mse_to_mean inner_product_with_mean",
    "DEC/labels.csv": "index label probability starttime trace_id",
}


def test_run_folder_is_as_designed(finished):
    folder = finished().run_folder
    for name, header in HEADERS.items():
        assert (folder / name).read_text().splitlines()[0] == header.replace(" ", ",")
    for stage, names in EXPECTED.items():
        assert {path.name for path in (folder / stage).iterdir()} == names | COMMON
        provenance = json.loads((folder / stage / "provenance.json").read_text())
        assert (provenance["status"], provenance["inputs"]["run.seed"]) == ("complete", 2009)
    soft, rows = np.load(folder / "DEC/soft_assignments.npy"), table(folder / "DEC/labels.csv")
    np.testing.assert_allclose(soft.sum(1), 1, rtol=1e-5)
    assert [int(row["index"]) for row in rows] == list(range(96))
    found = rows[61]["starttime"], rows[61]["trace_id"]
    assert found == ("2016-01-01T00:01:01.000000Z", "XH.DR01..HHZ")
    assert [int(row["label"]) for row in rows] == soft.argmax(1).tolist()
    assert float(rows[3]["probability"]) == pytest.approx(soft[3].max(), abs=1e-6)
    sizes = metrics(folder / "DEC")["cluster_sizes"]
    assert column(folder / "DEC/cluster_performance.csv", "size") == [*map(str, sizes), "96"]


def test_known_classes_are_found(small_file, make_settings):
    words = ("aec.n_epochs=30", "aec.lr=0.003", "dec.n_epochs=5", "gmm.n_clusters=3", *FAST)
    folder = run_all(make_settings(f"data.file={small_file}", *words))
    assert metrics(folder / "AEC")["validation_mse"] < 0.3
    assert metrics(folder / "GMM")["accuracy"] > 0.95
    assert metrics(folder / "DEC")["accuracy"] > 0.95


def test_results_depend_neither_on_known_classes_nor_on_loadmode(finished, tmp_path):
    shutil.copy(finished().data.file, tmp_path / "bare.h5")
    with h5py.File(tmp_path / "bare.h5", "a") as file:
        del file["labels"]
    words = f"data.file={tmp_path / 'bare.h5'}", "run.name=bare", "data.loadmode=disk"
    folder = run_all(finished(*words))
    found, known = content(folder), content(finished().run_folder)
    names = [name for name in found if not name.endswith("metrics.json")]
    assert [name for name in names if found[name] != known[name]] == []
    assert "accuracy" not in metrics(folder / "DEC")


def test_unusable_samples_are_left_out_and_labelled_minus_one(tmp_path, make_settings, capsys):
    spectrogram, classes = blobs(96)
    drawn = draw_split(96, 60, 0.2, 2009).both
    negative = int(np.setdiff1d(np.arange(96), [5, 40, 95, *drawn])[0])  # not trained on
    spectrogram[negative] *= -1
    spectrogram[5, 1, 1], spectrogram[40], spectrogram[95, 0, 0] = np.nan, 0, -np.inf
    path = write_samples(tmp_path / "holes.h5", spectrogram, labels=classes)
    folder = run_all(make_settings(f"data.file={path}", "data.train_samples=60", *FAST))
    assert "4 of 96 samples are unusable" in capsys.readouterr().out
    unusable = sorted([5, 40, 95, negative])
    for stage in ("GMM", "DEC"):
        labels = column(folder / stage / "labels.csv", "label")
        assert [i for i, label in enumerate(labels) if label == "-1"] == unusable
        assert metrics(folder / stage)["n_unusable"] == 4
    for name in ("latent", "soft_assignments"):
        missing = np.isnan(np.load(folder / f"DEC/{name}.npy"))
        assert np.flatnonzero(missing.all(1)).tolist() == unusable
        assert missing.any(1).sum() == 4


RUNS = {
    "denormals": ((blobs(N)[0] * 1e-42).astype(np.float32), *FAST),
    "saturated": ((blobs(N)[0] * 1e5).clip(0, 32767).astype(np.int16), *FAST),
    "three samples": (blobs(3)[0], "gmm.n_clusters=2"),
    "more clusters than distinct samples": (
        np.repeat(blobs(2)[0], N // 2, axis=0), "gmm.n_clusters=5", "dec.n_clusters=5",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RUNS)
def test_run_on_unusual_numbers_ends_with_finite_results(tmp_path, make_settings, name):
    spectrogram, *words = RUNS[name]
    path = write_samples(tmp_path / "set.h5", spectrogram)
    folder = run_all(make_settings(f"data.file={path}", "aec.n_epochs=2", *words))
    for stage in ("GMM", "DEC"):
        assert min(map(int, column(folder / stage / "labels.csv", "label"))) >= 0
        probability = np.array(column(folder / stage / "labels.csv", "probability"), float)
        assert ((probability >= 0) & (probability <= 1)).all()
        assert "NaN" not in (folder / stage / "metrics.json").read_text()
    for result in ("latent", "soft_assignments"):
        assert np.isfinite(np.load(folder / f"DEC/{result}.npy")).all()


@pytest.mark.parametrize(("spectrogram", "text"), [
    (np.zeros((9, 8, 8)), "all 9 samples are unusable"),
    (np.ones((9, 8, 8)), "of standard deviation 0, were drawn to train"),
    (np.ones((1, 8, 8)), "two at least, for training"),
    (-np.ones((9, 8, 8)), "has negative values"),
    (blobs(2)[0], "1 usable samples, of standard deviation"),
    (blobs(N)[0].astype(float) * 1e300, "samples are unusable"),
], ids=["zero", "constant", "one", "negative", "two", "too large for float32"])  # fmt: skip
def test_data_that_cannot_be_trained_on(tmp_path, make_settings, spectrogram, text):
    path = write_samples(tmp_path / "bad.h5", spectrogram)
    assert text in refused(run_aec, make_settings(f"data.file={path}"))


def test_paper_recipe(small_file, make_settings):
    folder = run_all(make_settings(f"data.file={small_file}", "run.recipe=paper", *FAST[1:]))
    latents = np.load(folder / "DEC/latent.npy")
    assert latents.shape == (96, 3)  # no fixed features
    assert (latents >= 0).all()
    history = {name: float(text) for name, text in table(folder / "DEC/history.csv")[0].items()}
    assert history["loss"] == pytest.approx(history["mse"] + 0.001 * history["kl"], rel=1e-4)


def test_tensorboard_gets_settings_losses_and_spectrograms(small_file, make_settings, monkeypatch):
    board = mock.MagicMock()
    module = types.SimpleNamespace(SummaryWriter=board)  # the package need not be installed
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    settings = make_settings(f"data.file={small_file}", "run.tensorboard=yes", "aec.n_epochs=1")
    run_aec(settings)
    board.assert_called_once_with(settings.run_folder / "AEC/tensorboard")
    assert "n_epochs=1" in board().add_text.call_args.args[1]
    assert board().add_scalar.call_args_list[0].args[0] == "AEC/train_mse"
    name, images, epoch = board().add_images.call_args.args
    assert (name, epoch, images.shape[1]) == ("AEC/spectrograms", 1, 1)
    assert 0 <= float(images.min()) <= float(images.max()) <= 1
