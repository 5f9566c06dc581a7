import numpy as np
import pandas
import pytest
import torch
from sklearn.metrics import calinski_harabasz_score, silhouette_samples

from RISCluster.data.layouts import open_spectrograms
from RISCluster.data.loading import Preparation, SampleSet
from RISCluster.evaluation import performance
from RISCluster.runs.run import open_run
from tests.conftest import write_samples


def deviations(path, labels):
    with open_spectrograms(path, "auto", "auto") as file:
        index, plain = np.arange(file.n_samples), Preparation("linear", "none")
        return performance.deviations(file, plain, index, [(labels, 3)])[0]


def test_measure_by_hand():
    values, labels = np.array([1.0, 3.0, 10.0, np.nan, 9.0]), np.array([0, 0, 1, 1, -1])
    found = performance.measure(values, labels, 4)
    np.testing.assert_allclose(found, [2, 10, np.nan, np.nan, 14 / 3])


def test_calinski_harabasz(monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 4, 5)).astype(np.float32)
    index, labels = np.arange(50) * 2, np.full(100, -1)
    labels[index] = rng.integers(0, 3, 50)
    device = torch.device("cpu")
    samples = SampleSet(index, torch.from_numpy(x)[:, None], torch.arange(50), device)
    expected = calinski_harabasz_score(x.reshape(50, -1), labels[index])
    assert performance.calinski_harabasz(samples, labels, 20) == pytest.approx(expected, rel=1e-5)
    assert np.isnan(performance.calinski_harabasz(samples, np.zeros(100, int), 20))
    monkeypatch.setattr(performance, "HELD", 30 * 20 * 8)
    assert performance.calinski_harabasz(samples, labels, 20) != pytest.approx(expected, rel=1e-2)


def test_deviations_by_hand(tmp_path):
    flat = np.zeros((4, 16), np.float32)
    flat[0, 0], flat[1, 1], flat[2, 2], flat[3, 2] = 1, 1, 2, 4
    path = write_samples(tmp_path / "s.h5", flat.reshape(4, 4, 4))
    labels = np.array([0, 0, 1, 1])
    means, found = deviations(path, labels)
    assert means[:2, 0, :3].tolist() == [[0.5, 0.5, 0], [0, 0, 3]]
    assert np.isnan(means[2]).all()
    np.testing.assert_allclose(found["mse"], [0.5 / 16, 0.5 / 16, 1 / 16, 1 / 16])
    np.testing.assert_allclose(found["inner_product"], [np.sqrt(0.5), np.sqrt(0.5), 1, 1])
    expected = silhouette_samples(flat.astype(float), labels)
    np.testing.assert_allclose(found["silhouette_data"], expected, atol=1e-6)


def test_samples_that_fit_in_memory_are_measured_and_unusable_ones_are_not(tmp_path, monkeypatch):
    spectrogram = np.random.default_rng(0).random((20, 4, 4)).astype(np.float32)
    spectrogram[3] = np.nan
    path, labels = write_samples(tmp_path / "s.h5", spectrogram), np.arange(20) % 2
    found = deviations(path, labels)[1]
    assert found.index[found.isna().any(axis=1)].tolist() == [3]
    monkeypatch.setattr(performance, "HELD", 5 * 16 * 4)
    assert 4 <= deviations(path, labels)[1]["mse"].notna().sum() <= 5


def test_of_a_run(made_run):
    with open_run(made_run) as run:
        gmm, dec = performance.performance_of(run)
        for found, stage in ((gmm, run.stages["GMM"]), (dec, run.stages["DEC"])):
            own = found.measures["silhouette_latent"][-1]
            assert (found.stage, found.sizes.tolist()) == (stage.name, [*stage.sizes, 95])
            assert own == pytest.approx(stage.metrics["silhouette_latent"], abs=1e-6)
    rows = pandas.read_csv(made_run / "DEC/cluster_performance.csv")
    assert rows["label"].tolist() == ["0", "1", "2", "all"]
    for column, name in (
        ("mse_to_mean", "mse"), ("inner_product_with_mean", "inner_product"),
        ("silhouette_latent", "silhouette_latent"), ("mean_probability", "probability"),
    ):  # fmt: skip
        np.testing.assert_allclose(rows[column], dec.measures[name], rtol=1e-5, err_msg=column)
    table = performance.performance_table(dec, {1: "wind"})
    assert [row[0] for row in table["rows"]] == ["0", "1 wind", "2", "all"]
