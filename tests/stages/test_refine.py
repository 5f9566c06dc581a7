"""The DEC stage: start, choice of the labels, calibrated probabilities."""

from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import torch

from RISCluster.__main__ import main
from RISCluster.clustering import fit as fits
from RISCluster.clustering.mixture import Mixture
from RISCluster.errors import Stopped
from RISCluster.models.features import FixedFeatures
from RISCluster.runs.run import open_run
from RISCluster.stages import refine
from RISCluster.stages.cluster import read_mixture, run_gmm
from RISCluster.stages.refine import run_dec
from tests.stages.conftest import column, metrics, refused

HOT = 3000.0  # the clusters of the small file are far apart


def test_whitened_latents_lie_at_unit_distance():
    rng = np.random.default_rng(0)
    factor = rng.standard_normal((4, 4))
    covariance = factor @ factor.T + np.eye(4)
    mixture = Mixture(np.array([0.3, 0.7]), np.zeros((2, 4)), np.stack([covariance, covariance]))
    away = rng.multivariate_normal(np.zeros(4), covariance, 20000) @ mixture.whitening()
    assert np.square(away).sum(1).mean() == pytest.approx(1, abs=0.1)
    spread = np.sqrt(4 * np.square(away).mean(0))
    assert spread.min() > 0.6  # every direction counts, but for the narrowest
    equal = Mixture(np.ones(1), np.zeros((1, 3)), np.zeros((1, 3, 3)))
    assert np.isfinite(equal.whitening()).all()


def test_centroids_start_at_the_means_of_the_mixture(finished):
    settings = finished("dec.latent_scale=none", "dec.lr=1e-12", "dec.n_epochs=1")
    run_dec(settings)
    state = torch.load(settings.run_folder / "DEC/model.pt")["state"]
    means = read_mixture(settings.run_folder / "GMM/model.npz", "auto").means
    np.testing.assert_array_equal(state["clustering.metric"], np.eye(23))
    np.testing.assert_allclose(state["clustering.centroids"], means, atol=1e-5)


def test_fixed_features_are_not_computed_again(finished, monkeypatch):
    monkeypatch.setattr(FixedFeatures, "forward", lambda *_: pytest.fail("computed again"))
    monkeypatch.setattr(refine, "_label", mock.Mock(side_effect=Stopped("labelling", 15)))
    with pytest.raises(Stopped):
        run_dec(finished("dec.gamma=2"))


def test_number_of_clusters(finished):
    settings = finished("dec.n_clusters=4")
    run_dec(settings)
    assert metrics(settings.run_folder / "DEC")["n_clusters"] == 4
    message = refused(run_dec, finished("dec.n_clusters=7"))
    assert "n_clusters = 7: refinement needs one of the mixtures" in message
    assert "allowed: 2, 3, 4; fit" in message
    run_gmm(finished("gmm.n_clusters=1"))
    assert "auto: refinement needs" in refused(run_dec, finished("gmm.n_clusters=1"))


@pytest.mark.parametrize("labels", ["mixture", "student"])
def test_worse_refinement_is_rejected(finished, monkeypatch, capsys, tmp_path, labels):
    monkeypatch.setattr(fits, "AGREEMENT_TOLERANCE", -2.0)  # nothing is good enough
    monkeypatch.setattr(fits, "calibrate", None)  # not called: nothing to calibrate
    settings, table = finished(f"dec.labels={labels}", "dec.gamma=0.5"), tmp_path / "again.csv"
    run_dec(settings)
    gmm, dec = (settings.run_folder / name for name in ("GMM", "DEC"))
    assert "refinement separates more nearest neighbours and is rejected" in capsys.readouterr().out
    for name in ("label", "probability"):
        assert column(dec / "labels.csv", name) == column(gmm / "labels.csv", name)
    assert (dec / "latent.npy").read_bytes() == (gmm / "latent.npy").read_bytes()
    found = metrics(dec)
    assert (found["refined"], found["label_change_from_gmm"]) == (False, 0)
    assert found["neighbour_agreement"] == found["neighbour_agreement_of_gmm"]
    words = ["--run", str(settings.run_folder), "-o", str(table)]
    assert main(["predict", settings.data.file, *words]) == 0
    assert column(table, "label") == column(gmm / "labels.csv", "label")


def test_labels_of_the_soft_assignment(finished, monkeypatch):
    monkeypatch.setattr(fits, "AGREEMENT_TOLERANCE", -2.0)  # has no effect on dec.keep=refined
    settings = finished("dec.labels=student", "dec.keep=refined")
    run_dec(settings)
    dec = settings.run_folder / "DEC"
    state = torch.load(dec / "model.pt")["state"]
    z = torch.from_numpy(np.load(dec / "latent.npy")) @ state["clustering.metric"]
    closeness = 1 / (1 + torch.cdist(z, state["clustering.centroids"]).square())
    q = closeness / closeness.sum(1, keepdim=True)
    np.testing.assert_allclose(np.load(dec / "soft_assignments.npy"), q, atol=1e-5)
    assert column(dec / "labels.csv", "label") == [str(k) for k in q.argmax(1).tolist()]
    assert ("temperature" in metrics(dec), metrics(dec)["refined"]) == (False, True)


def hot(mixture, *_):
    return replace(mixture, temperature=HOT, smoothing=0.1)


def test_every_result_of_a_run_is_at_its_temperature(finished, monkeypatch, tmp_path):
    monkeypatch.setattr(fits, "calibrate", hot)
    settings = finished("dec.keep=refined", "gmm.n_init=2")
    run, table = settings.run_folder, tmp_path / "again.csv"
    for stage in (run_gmm, run_dec):
        stage(settings)
    for name in ("GMM", "DEC"):
        assert [metrics(run / name)[x] for x in ("temperature", "smoothing")] == [HOT, 0.1]
        with open_run(run) as opened:
            mixture = opened.stages[name].mixture
        densities = mixture.log_densities(np.load(run / name / "latent.npy").astype(float))
        tempered = np.exp((densities - densities.max(1, keepdims=True)) / HOT)
        tempered = 0.9 * tempered / tempered.sum(1, keepdims=True) + 0.1 / tempered.shape[1]
        written = np.array(column(run / name / "labels.csv", "probability"), float)
        np.testing.assert_allclose(written, tempered.max(1), atol=1e-5)
        assert 0.4 < written.mean() < 0.99
        words = ["--run", str(run), "--stage", name.lower(), "-o", str(table), "--overwrite"]
        assert main(["predict", settings.data.file, *words]) == 0
        again = np.array(column(table, "probability"), float)
        np.testing.assert_allclose(again, written, atol=1e-4)
    np.testing.assert_allclose(np.load(run / "DEC/soft_assignments.npy"), tempered, atol=1e-5)


def test_refined_mixture_is_calibrated_by_the_unrefined_latents(finished, monkeypatch, capsys):
    settings = finished("dec.keep=refined", "gmm.fit_samples=60")
    labels, asked = mock.Mock(side_effect=fits.labellings), mock.Mock(side_effect=hot)
    monkeypatch.setattr(fits, "labellings", labels)
    monkeypatch.setattr(fits, "calibrate", asked)
    run_gmm(settings)
    run_dec(settings)
    before, refined = (np.load(settings.run_folder / s / "latent.npy") for s in ("GMM", "DEC"))
    mixture, latents, votes = asked.call_args.args
    index = [np.flatnonzero((refined == row).all(1))[0] for row in latents.astype("f4")]
    drawn = labels.call_args_list[0].args[0]
    np.testing.assert_array_equal(before[index], drawn.labelled)
    expected = fits.labellings(drawn, len(mixture.weights), 5, 0, 2.0)
    np.testing.assert_array_equal(votes, expected)
    monkeypatch.setattr(fits, "calibrate", None)  # not called without votes, as of 1.0.0
    monkeypatch.setattr(refine, "read_votes", lambda *_: None)
    run_dec(finished("dec.keep=refined", "gmm.fit_samples=60", "dec.n_epochs=1"))
    assert "no half-samples in GMM/: probabilities are calibrated" in capsys.readouterr().out
    assert metrics(settings.run_folder / "DEC")["temperature"] == HOT
