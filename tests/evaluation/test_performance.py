import csv

import numpy as np
import pytest
import torch
from sklearn.metrics import calinski_harabasz_score, silhouette_samples

from RISCluster.data.layouts import open_spectrograms
from RISCluster.data.loading import HeldSet
from RISCluster.data.transforms import Preparation
from RISCluster.evaluation import performance
from RISCluster.evaluation.performance import (
    calinski_harabasz,
    compare_stages,
    measure,
    performance_of,
    performance_table,
)
from RISCluster.runs.run import open_run
from tests.conftest import write_samples


@pytest.fixture
def run(made_run):
    with open_run(made_run) as opened:
        yield opened


def deviations(path, labels):
    with open_spectrograms(path, "auto", "auto") as file:
        index, plain = np.arange(file.n_samples), Preparation("linear", "none")
        return performance.deviations(file, plain, index, [(labels, 3)], seed=0)[0]


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


def test_calinski_harabasz():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 4, 5)).astype(np.float32)
    index, labels = np.arange(50) * 2, np.full(100, -1)
    labels[index] = rng.integers(0, 3, 50)
    device = torch.device("cpu")
    samples = HeldSet(index, torch.from_numpy(x)[:, None], torch.arange(50), device)
    expected = calinski_harabasz_score(x.reshape(50, -1), labels[index])
    assert calinski_harabasz(samples, labels, 4) == pytest.approx(expected, rel=1e-5)
    assert np.isnan(calinski_harabasz(samples, np.zeros(100, int), 4))


def test_deviations_by_hand(tmp_path):
    flat = np.zeros((4, 16), np.float32)
    flat[0, 0], flat[1, 1], flat[2, 2], flat[3, 2] = 1, 1, 2, 4
    path = write_samples(tmp_path / "s.h5", flat.reshape(4, 4, 4))
    labels = np.array([0, 0, 1, 1])
    means, found = deviations(path, labels)
    assert means[0].ravel()[:3].tolist() == [0.5, 0.5, 0]
    assert means[1].ravel()[:3].tolist() == [0, 0, 3]
    assert np.isnan(means[2]).all()
    np.testing.assert_allclose(found["mse"], [0.5 / 16, 0.5 / 16, 1 / 16, 1 / 16])
    np.testing.assert_allclose(found["mae"], [1 / 16] * 4)
    np.testing.assert_allclose(found["inner_product"], [np.sqrt(0.5), np.sqrt(0.5), 1, 1])
    expected = silhouette_samples(flat.astype(float), labels)
    np.testing.assert_allclose(found["silhouette_data"], expected, atol=1e-6)


def test_silhouettes_of_as_many_as_can_be_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(performance, "HELD", 5 * 16 * 4)
    spectrogram = np.random.default_rng(0).random((20, 4, 4)).astype(np.float32)
    spectrogram[3] = np.nan
    path, labels = write_samples(tmp_path / "s.h5", spectrogram), np.arange(20) % 2
    _, found = deviations(path, labels)
    known = np.flatnonzero(found["silhouette_data"].notna())
    assert 4 <= len(known) <= 5
    expected = silhouette_samples(spectrogram.reshape(20, 16)[known], labels[known])
    np.testing.assert_allclose(found["silhouette_data"][known], expected, atol=1e-5)
    assert np.flatnonzero(found["mse"].isna()).tolist() == [3]


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


def test_tables_of_all_and_of_some_samples_and_without_data(run, made_run, monkeypatch):
    gmm, dec = performance_of(run)
    table = performance_table(dec, {1: "wind"})
    assert [row[0] for row in table["rows"]] == ["0", "1 wind", "2", "all"]
    assert (table["clusters"], table["rows"][-1][1:3]) == ([0, 1, 2, None], [95, 1.0])
    assert "\N{PLUS-MINUS SIGN}" not in table["header"]
    both = compare_stages([gmm, dec], {1: "wind"})
    assert both["header"][:4] == ["Cluster", "Size, GMM", "Size, DEC", "Mean probability, GMM"]
    assert (both["rows"][1][0], both["rows"][-1][:3]) == ("1 wind", ["all", 95, 95])
    assert compare_stages([dec], {}) is None
    monkeypatch.setattr(performance, "MEASURED", 60)
    found, exact = performance_of(run)[-1], dec.measures["mse"]
    mse = found.measures["mse"]
    assert mse.n == 60
    assert (np.abs(mse.values - exact.values) < 5 * mse.errors).all()
    table = performance_table(found, {})
    assert table["header"][3:6] == [
        "Mean probability",
        "Inner product with mean",
        "\N{PLUS-MINUS SIGN}",
    ]
    assert "MSE to mean: 60" in table["note"]
    with open_run(made_run, ["data.file=nowhere.h5"]) as other:
        found = performance_of(other)[-1]
    assert list(found.measures) == ["probability", "silhouette_latent"]
    assert "data space" not in performance_table(found, {})["note"]
