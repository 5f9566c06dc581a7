import csv

import numpy as np
import pytest
import torch
from sklearn.metrics import silhouette_samples

from RISCluster.data.layouts import open_spectrograms
from RISCluster.data.transforms import Preparation
from RISCluster.evaluation import data_space, performance
from RISCluster.evaluation.metrics import measure
from RISCluster.evaluation.performance import compare_stages, performance_of, performance_table
from RISCluster.runs.run import open_run
from tests.conftest import write_samples

PLAIN = Preparation("linear", "none")


@pytest.fixture
def run(run_folder):
    with open_run(run_folder) as opened:
        yield opened


def deviations(path, preparation, *labellings, seed=None):
    with open_spectrograms(path, "auto", "auto") as file:
        index = np.arange(file.n_samples)
        return data_space.deviations(file, preparation, index, labellings, seed)


def test_measure_by_hand():
    values, labels = np.array([1.0, 3.0, 10.0, np.nan, 9.0]), np.array([0, 0, 1, 1, -1])
    found = measure(values, labels, np.array([4, 1, 7, 0]))
    np.testing.assert_allclose(found.values, [2, 10, np.nan, np.nan, 14 / 3])
    # sd 1.414 over sqrt(2), and half of the cluster measured
    assert found.errors[0] == pytest.approx(np.sqrt(2) / np.sqrt(2) * np.sqrt(0.5))
    assert found.errors[1] == 0
    assert np.isnan(found.errors[2:4]).all()
    assert found.n == 3
    exact = measure(np.arange(4.0), np.array([0, 0, 1, 1]), np.array([2, 2]))
    assert exact.errors.tolist() == [0, 0, 0]
    assert exact.values.tolist() == [0.5, 2.5, 1.5]


def test_deviations_by_hand(tmp_path):
    flat = np.zeros((4, 16), np.float32)
    flat[0, 0], flat[1, 1], flat[2, 2], flat[3, 2] = 1, 1, 2, 4
    path = write_samples(tmp_path / "s.h5", flat.reshape(4, 4, 4))
    labels = np.array([0, 0, 1, 1])
    first, second = deviations(path, PLAIN, labels, labels[::-1], seed=0)
    assert first.means[0].ravel()[:3].tolist() == [0.5, 0.5, 0]
    assert first.means[1].ravel()[:3].tolist() == [0, 0, 3]
    np.testing.assert_allclose(first.mse, [0.5 / 16, 0.5 / 16, 1 / 16, 1 / 16])
    np.testing.assert_allclose(first.mae, [1 / 16] * 4)
    np.testing.assert_allclose(first.inner_product, [np.sqrt(0.5), np.sqrt(0.5), 1, 1])
    assert second.means[1].ravel()[:3].tolist() == [0.5, 0.5, 0]
    expected = silhouette_samples(flat.astype(float), labels)
    np.testing.assert_allclose(first.silhouettes, expected, atol=1e-6)


def test_standardisation_is_left_out(tmp_path):
    spectrogram = np.random.default_rng(0).random((6, 4, 4)).astype(np.float32)
    path = write_samples(tmp_path / "s.h5", spectrogram)
    labels = np.array([0, 0, 0, 1, 1, 1])
    (one,) = deviations(path, Preparation("sqrt", "vec_norm"), labels)
    (other,) = deviations(path, Preparation("sqrt", "vec_norm", torch.ones(4, 4), 0.1), labels)
    np.testing.assert_array_equal(one.mse, other.mse)
    np.testing.assert_array_equal(one.inner_product, other.inner_product)
    assert len(one.silhouettes) == 0


def test_few_samples_are_held(tmp_path, monkeypatch):
    monkeypatch.setattr(data_space, "HELD", 4 * 16 * 5)
    spectrogram = np.random.default_rng(0).random((20, 4, 4)).astype(np.float32)
    spectrogram[3] = 0  # unusable
    path = write_samples(tmp_path / "s.h5", spectrogram)
    labels = np.arange(20) % 2
    (found,) = deviations(path, PLAIN, labels, seed=0)
    assert 4 <= len(found.held) == len(found.silhouettes) <= 5
    assert 3 not in found.held
    expected = silhouette_samples(spectrogram.reshape(20, 16)[found.held], labels[found.held])
    np.testing.assert_allclose(found.silhouettes, expected, atol=1e-5)
    assert np.isnan(found.mse).nonzero()[0].tolist() == [3]


def test_of_a_run(run):
    gmm, dec = performance_of(run)
    assert (gmm.stage, dec.stage) == ("GMM", "DEC")
    for found, stage in ((gmm, run.stages["GMM"]), (dec, run.final)):
        assert found.sizes.tolist() == [*stage.sizes, 95]
        assert (found.measures["mse"].errors[:-1][stage.sizes > 0] == 0).all()
        silhouette = found.measures["silhouette_latent"].values[-1]
        assert silhouette == pytest.approx(stage.metrics["silhouette_latent"], abs=1e-6)
    # unit norm: |x - mean|^2 over 320 bins
    assert 0 < dec.measures["mse"].values[-1] < 4 / 320
    assert (dec.measures["inner_product"].values > 0.5).all()
    # as in the table of the stage
    with (run.final.path / "cluster_performance.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == ["0", "1", "2", "all"]
    for column, name in (
        ("mse_to_mean", "mse"),
        ("inner_product_with_mean", "inner_product"),
        ("silhouette_latent", "silhouette_latent"),
        ("mean_probability", "probability"),
    ):
        values = [float(row[column]) for row in rows]
        np.testing.assert_allclose(values, dec.measures[name].values, rtol=1e-5, err_msg=column)


def test_sampled(run, monkeypatch):
    exact = performance_of(run)[-1].measures["mse"]
    monkeypatch.setattr(performance, "MEASURED", 60)
    found = performance_of(run)[-1]
    mse = found.measures["mse"]
    assert mse.n == 60
    assert (mse.errors > 0).all()
    assert (np.abs(mse.values - exact.values) < 5 * mse.errors).all()
    table = performance_table(found, {})
    assert table["header"][3:6] == ["Mean probability", "Inner product with mean", "±"]
    assert "MSE to mean: 60" in table["note"]
    assert all(len(row) == len(table["header"]) for row in table["rows"])


def test_tables(run):
    gmm, dec = performance_of(run)
    table = performance_table(dec, {1: "wind"})
    assert [row[0] for row in table["rows"]] == ["0", "1 wind", "2", "all"]
    assert table["clusters"] == [0, 1, 2, None]
    assert table["rows"][-1][1:3] == [95, 1.0]
    assert "±" not in table["header"]
    more = {
        name: performance.Measure(np.r_[one.values, 9], np.r_[one.errors, 9], one.n)
        for name, one in gmm.measures.items()
    }
    wider = performance.Performance("GMM", np.r_[gmm.sizes[:-1], 0, 95], more)
    both = compare_stages([wider, dec], {1: "wind"})
    assert both["header"][:4] == ["Cluster", "Size, GMM", "Size, DEC", "Mean probability, GMM"]
    assert both["rows"][1][0] == "1 wind"
    assert both["rows"][-1][:3] == ["all", 95, 95]
    assert both["rows"][len(gmm.sizes) - 1][2] is None
    assert "equal labels mean nothing" in both["note"]
    assert compare_stages([dec], {}) is None


def test_without_data(run_folder):
    with open_run(run_folder, ["data.file=nowhere.h5"]) as run:
        found = performance_of(run)[-1]
    assert list(found.measures) == ["probability", "silhouette_latent"]
    assert "data space" not in performance_table(found, {})["note"]
