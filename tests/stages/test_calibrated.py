"""Probabilities at the temperature that half-samples call for, wherever a run has them."""

import csv
import json

import numpy as np
import pytest

from RISCluster.__main__ import main
from RISCluster.clustering import fit as fits
from RISCluster.clustering.mixture import Mixture
from RISCluster.runs.run import open_run
from RISCluster.stages import final_labels
from RISCluster.stages.cluster import read_mixture, run_gmm
from RISCluster.stages.pretrain import run_aec
from RISCluster.stages.refine import run_dec

HOT = 3000.0  # the clusters of the small file are far apart


def column(path, name, kind=float):
    with path.open(newline="") as file:
        return np.array([kind(row[name]) for row in csv.DictReader(file)])


def of_stages(settings, *, refined=True):
    for stage in (run_aec, run_gmm, run_dec)[: 3 if refined else 2]:
        stage(settings)
    return settings.run_folder


@pytest.fixture
def heated(small_file, make_settings, monkeypatch):
    """A run whose temperature comes out high, however sure the half-samples are."""
    for module in (fits, final_labels):
        monkeypatch.setattr(module, "temperature", lambda *_: HOT)
    return of_stages(make_settings(f"data.file={small_file}", "dec.keep=refined"))


def test_every_result_of_a_run_is_at_its_temperature(heated, small_file, tmp_path):
    for stage in ("GMM", "DEC"):
        folder = heated / stage
        assert json.loads((folder / "metrics.json").read_text())["temperature"] == HOT
        with open_run(heated) as run:
            mixture = run.stages[stage].mixture
        latents = np.load(folder / "latent.npy").astype(float)
        densities = mixture.log_densities(latents)
        tempered = np.exp((densities - densities.max(1, keepdims=True)) / HOT)
        tempered /= tempered.sum(1, keepdims=True)
        written = column(folder / "labels.csv", "probability")
        np.testing.assert_allclose(written, tempered.max(1), atol=1e-5)
        assert 0.4 < written.mean() < 0.99
        assert (column(folder / "labels.csv", "label", int) == densities.argmax(1)).all()
        words = [
            "--run",
            str(heated),
            "--stage",
            stage.lower(),
            "-o",
            str(tmp_path / f"{stage}.csv"),
        ]
        assert main(["predict", str(small_file), *words]) == 0
        again = column(tmp_path / f"{stage}.csv", "probability")
        np.testing.assert_allclose(again, written, atol=1e-4)
    soft = np.load(heated / "DEC/soft_assignments.npy")
    np.testing.assert_allclose(soft, tempered, atol=1e-5)


def test_found_and_kept_for_every_number_of_clusters(small_file, make_settings):
    folder = of_stages(make_settings(f"data.file={small_file}"), refined=False)
    path = folder / "GMM/model.npz"
    with np.load(path) as arrays:
        numbers = arrays["n_clusters"]
        found = [float(arrays[f"temperature_{k}"]) for k in numbers]
    assert min(found) >= 1
    assert max(found) > 1  # the data have three classes, and more clusters than that were fitted
    assert [read_mixture(path, int(k)).temperature for k in numbers] == found


def test_refined_ones_by_half_samples_of_the_unrefined(small_file, make_settings, monkeypatch):
    given = []

    def kept(latents, *rest):
        given.append(latents)
        return resamples(latents, *rest)

    resamples = final_labels.resamples
    monkeypatch.setattr(final_labels, "resamples", kept)
    asked = []
    monkeypatch.setattr(final_labels, "temperature", lambda *words: asked.append(words) or 2.0)
    folder = of_stages(make_settings(f"data.file={small_file}", "dec.keep=refined"))
    before, refined = (np.load(folder / stage / "latent.npy") for stage in ("GMM", "DEC"))
    assert not np.array_equal(before, refined)
    np.testing.assert_array_equal(given[0], before)
    mixture, latents, labels = asked[0]
    np.testing.assert_array_equal(latents, refined)  # all of them, in their order
    assert labels.shape == (4, len(refined))


def test_left_out_with_the_half_samples(small_file, make_settings, monkeypatch):
    for module in (fits, final_labels):
        monkeypatch.setattr(module, "resamples", None)  # not called
    folder = of_stages(make_settings(f"data.file={small_file}", "gmm.n_resamples=none"))
    for stage in ("GMM", "DEC"):
        assert json.loads((folder / stage / "metrics.json").read_text())["temperature"] == 1


def test_mixtures_written_before_there_were_temperatures(tmp_path):
    mixture = Mixture(np.ones(1), np.zeros((1, 2)), np.eye(2)[None], 5.0)
    arrays = mixture.arrays("_1")
    assert Mixture.from_arrays(arrays, "_1").temperature == 5
    del arrays["temperature_1"]
    assert Mixture.from_arrays(arrays, "_1").temperature == 1


def test_refined_by_soft_assignment_has_none(small_file, make_settings):
    words = (f"data.file={small_file}", "dec.labels=student", "dec.keep=refined")
    folder = of_stages(make_settings(*words))
    assert "temperature" not in json.loads((folder / "DEC/metrics.json").read_text())
