"""Who labels the samples after refinement, and when the mixture is kept."""

import csv
import json

import numpy as np
import pytest
import torch

from RISCluster.__main__ import main
from RISCluster.clustering.mixture import Mixture
from RISCluster.io import open_rows
from RISCluster.stages import final_labels
from RISCluster.stages.cluster import read_mixture, run_gmm
from RISCluster.stages.pretrain import run_aec
from RISCluster.stages.refine import run_dec, whitening


def column(path, name):
    with path.open(newline="") as file:
        return [row[name] for row in csv.DictReader(file)]


def metrics(stage):
    return json.loads((stage / "metrics.json").read_text())


@pytest.fixture
def mixed(small_file, make_settings):
    """A run up to its mixtures: a function of further words that gives its settings."""
    run_aec(make_settings(f"data.file={small_file}"))
    run_gmm(make_settings(f"data.file={small_file}"))
    return lambda *words: make_settings(f"data.file={small_file}", *words)


def test_whitened_latents_lie_at_unit_distance():
    rng = np.random.default_rng(0)
    factor = rng.standard_normal((4, 4))
    covariance = factor @ factor.T + np.eye(4)
    mixture = Mixture(np.array([0.3, 0.7]), np.zeros((2, 4)), np.stack([covariance, covariance]))
    away = rng.multivariate_normal(np.zeros(4), covariance, 20000) @ whitening(mixture)
    assert np.square(away).sum(1).mean() == pytest.approx(1, abs=0.1)
    spread = np.sqrt(4 * np.square(away).mean(0))
    assert spread.min() > 0.6  # every direction counts, but for the narrowest


def test_latents_that_are_all_equal_can_be_whitened():
    mixture = Mixture(np.ones(1), np.zeros((1, 3)), np.zeros((1, 3, 3)))
    assert np.isfinite(whitening(mixture)).all()


@pytest.mark.parametrize("labels", ["mixture", "student"])
def test_refinement_that_parts_neighbours_is_not_kept(mixed, monkeypatch, capsys, tmp_path, labels):
    monkeypatch.setattr(final_labels, "AGREEMENT_TOLERANCE", -2.0)  # nothing is good enough
    monkeypatch.setattr(final_labels, "resamples", None)  # not called: nothing to calibrate
    settings = mixed(f"dec.labels={labels}")
    run_dec(settings)
    gmm, dec = (settings.run_folder / name for name in ("GMM", "DEC"))
    assert "refinement separates more nearest neighbours and is rejected" in capsys.readouterr().out
    for name in ("label", "probability"):
        assert column(dec / "labels.csv", name) == column(gmm / "labels.csv", name)
    np.testing.assert_array_equal(np.load(dec / "latent.npy"), np.load(gmm / "latent.npy"))
    found = metrics(dec)
    assert found["refined"] is False
    assert found["label_change_from_gmm"] == 0
    assert found["neighbour_agreement"] == found["neighbour_agreement_of_gmm"]
    encoder = torch.load(dec / "model.pt")["state"]["encoder.encoder.0.weight"]
    start = torch.load(settings.run_folder / "AEC/model.pt")["state"]["encoder.encoder.0.weight"]
    assert torch.equal(encoder, start)
    out = tmp_path / "again.csv"
    words = ["--run", str(settings.run_folder), "-o", str(out)]
    assert main(["predict", settings.data.file, *words]) == 0
    assert column(out, "label") == column(gmm / "labels.csv", "label")


def test_keeping_what_is_refined_can_be_asked_for(mixed, monkeypatch):
    monkeypatch.setattr(final_labels, "AGREEMENT_TOLERANCE", -2.0)
    settings = mixed("dec.keep=refined")
    run_dec(settings)
    assert metrics(settings.run_folder / "DEC")["refined"] is True
    latents = [np.load(settings.run_folder / stage / "latent.npy") for stage in ("GMM", "DEC")]
    assert not np.array_equal(*latents)


def test_refinement_that_tears_a_cluster_is_seen(mixed, monkeypatch):
    """A model whose centroids are shuffled noise labels no neighbours alike."""
    settings = mixed()
    run_dec(settings)
    dec, gmm = settings.run_folder / "DEC", settings.run_folder / "GMM"
    start = read_mixture(gmm / "model.npz", "auto")
    rng = np.random.default_rng(0)

    def torn(latents):
        return np.eye(len(start.weights))[rng.integers(0, len(start.weights), len(latents))]

    latents = [open_rows(folder / "latent.npy") for folder in (gmm, dec)]
    before, after = final_labels._agreements(settings, *latents, start, torn)
    assert before > 0.9
    assert abs(after) < 0.2
    assert metrics(dec)["refined"] is True


def test_labels_of_the_soft_assignment_can_be_asked_for(mixed):
    settings = mixed("dec.labels=student")
    run_dec(settings)
    dec = settings.run_folder / "DEC"
    state = torch.load(dec / "model.pt")["state"]
    z = torch.from_numpy(np.load(dec / "latent.npy")) @ state["clustering.metric"]
    closeness = 1 / (1 + torch.cdist(z, state["clustering.centroids"]).square())
    q = closeness / closeness.sum(1, keepdim=True)
    np.testing.assert_allclose(np.load(dec / "soft_assignments.npy"), q, atol=1e-5)
    assert column(dec / "labels.csv", "label") == [str(k) for k in q.argmax(1).tolist()]
