"""Mixtures of every number of clusters: in threads, saved over interruptions, and equal."""

import os
import signal
from dataclasses import replace

import numpy as np
import pytest

from RISCluster.clustering import fit, initialisation
from RISCluster.clustering.mixture import Mixture, fit_kmeans, fit_mixture
from RISCluster.errors import Stopped
from RISCluster.runtime import StopRequest, start_log
from RISCluster.settings import load_settings
from tests.clustering.test_mixture import three_clouds

NUMBERS = [1, 2, 3, 5]


def fitted(folder, *words, stop=None):
    folder.mkdir(exist_ok=True)
    settings = load_settings(None, ["run.seed=0", "gmm.n_resamples=2", "gmm.n_init=5", *words])
    latents, stop = three_clouds(60)[0], stop or StopRequest()
    return fit.fit_mixtures(folder, latents, (2,), NUMBERS, settings, stop)


@pytest.mark.parametrize("words", [(), ("gmm.init=kmeans", "gmm.n_resamples=none")])
def test_threads_change_nothing(tmp_path, monkeypatch, capsys, words):
    start_log()
    monkeypatch.setattr(fit, "cpu_count", lambda: 1)
    mixtures, rows, trees, votes, voted = fitted(tmp_path / "here", *words)
    monkeypatch.setattr(fit, "cpu_count", lambda: 3)
    others, other_rows, *_ = fitted(tmp_path / "there", *words)
    assert str(rows) == str(other_rows)  # as text, for NaN is not itself
    for k in NUMBERS:
        np.testing.assert_equal(mixtures[k].arrays(), others[k].arrays())
    out = capsys.readouterr().out
    assert [out.count(f"K = {k}: bic") for k in NUMBERS] == [2] * len(NUMBERS)
    assert (trees is None, len(voted)) == ((True, 0) if words else (False, 60))
    expected = {} if words else dict.fromkeys(NUMBERS[1:], (2, 60))
    assert {k: each.shape for k, each in votes.items()} == expected
    assert np.isnan([row.stability for row in rows]).tolist() == [True] + [bool(words)] * 3
    fit.remove_fits(tmp_path / "there")
    assert list((tmp_path / "there").iterdir()) == []


def test_stopped_before_and_between_mixtures(tmp_path, monkeypatch):
    stop, fit_number, done = StopRequest(), fit.fit_number, []

    def signalled(task, path):
        done.append(task[-1])
        if len(done) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return fit_number(task, path)

    monkeypatch.setattr(fit, "fit_number", signalled)
    monkeypatch.setattr(fit, "cpu_count", lambda: 1)
    stop.signal_number = signal.SIGTERM
    with pytest.raises(Stopped, match="^GMM stage: the trees of clusters are saved in"):
        fitted(tmp_path, "gmm.n_resamples=none", stop=stop)
    monkeypatch.setattr(initialisation, "tsne", None)  # no map is made again
    with pytest.raises(Stopped, match=r"^Fitting mixtures: stopped; .*fits\.parts"):
        fitted(tmp_path, "gmm.n_resamples=none")
    mixtures = fitted(tmp_path, "gmm.n_resamples=none").mixtures
    assert done == NUMBERS[::-1]  # the largest first, none of them twice
    assert [len(mixtures[k].weights) for k in NUMBERS] == NUMBERS


@pytest.mark.parametrize(("blocks", "with_trees"), [((2, 3), True), ((2, 3), False), ((5,), True)])
def test_three_clouds_are_stable_as_three(blocks, with_trees):
    clouds, rng = three_clouds(240)[0], np.random.default_rng(0)
    latents = np.hstack([clouds, 2 * clouds, rng.standard_normal((240, 1))])
    drawn = fit.resamples(latents, blocks, 4, 0, with_trees)
    features = [[2, 3, 4], [0, 1]] if len(blocks) > 1 else [[0, 1, 2, 3, 4]] * 2
    assert [own.tolist() for own, *_ in drawn.parts] == features * 2
    assert [part.shape for _, part, _ in drawn.parts] == [(120, len(f)) for f in features] * 2
    np.testing.assert_array_equal(drawn.labelled, latents[drawn.index])
    maps = [half and len(half.points) for *_, half in drawn.parts]
    assert maps == [(120 if len(blocks) == 1 else 0) if with_trees else None] * 4
    found = {k: fit.labellings(drawn, k, 5, 0, 2.0) for k in (1, 3, 6, 121)}
    assert found[1] is found[121] is None
    (mean, spread), (of_six, _) = fit.stability(found[3]), fit.stability(found[6])
    assert mean - spread > 0.97 > 0.95 > of_six


def test_clusters_of_one_block_alone_are_not_stable():
    rows = np.random.default_rng(1).permutation(240)  # the blocks have nothing in common
    latents = np.hstack([three_clouds(240)[0], 5 * three_clouds(240)[0][rows]])
    mixture = fit_mixture(latents, fit_kmeans(latents, 3, 5, 0).labels_, 3)
    # The clusters are those of the larger block, which half of the half-samples leave out.
    for blocks, *expected in (((4,), 1, 1), ((2, 2), 1 / 3, 2 / 3)):
        votes = fit.labellings(drawn := fit.resamples(latents, blocks, 4, 0, False), 3, 5, 0, 2.0)
        probability = fit.calibrate(mixture, drawn.labelled, votes).posterior(latents).max(1).mean()
        assert [fit.stability(votes)[0], probability] == pytest.approx(expected, abs=0.05)


def test_mean_over_all_pairs():
    # Three fits of two clusters that put 4 latents as aabb, aabb and abab. The adjusted Rand
    # index of the first two is 1, and of the third with either (0 - 2/3) / (2 - 2/3) = -0.5.
    mean, spread = fit.stability(np.array([[0, 0, 1, 1], [1, 1, 0, 0], [0, 1, 0, 1]]))
    assert (mean, spread) == pytest.approx((0, np.sqrt((1 + 0.25 + 0.25) / 3)), abs=1e-12)


def test_temperature_and_smoothing_from_which_labels_were_drawn():
    """Points on a line, and labels drawn from the posterior of two clusters."""
    two = Mixture(np.full(2, 0.5), np.array([[-1.0], [1.0]]), np.full((2, 1, 1), 0.25))
    points = np.random.default_rng(0).uniform(-2, 2, (20_000, 1))
    for truth, smoothing in ((0.3, 0.0), (1.5, 0.0), (20.0, 0.0), (1.5, 0.2), (3.0, 0.1)):
        drawn = replace(two, temperature=truth, smoothing=smoothing)
        random = np.random.default_rng(1).random((4, 20_000))
        labels = (random < drawn.posterior(points)[:, 1]).astype(int)
        labels[1::2] = 1 - labels[1::2]  # the numbers of clusters mean nothing
        found = fit.calibrate(replace(two, temperature=7.0, smoothing=0.3), points, labels)
        expected = replace(drawn, temperature=max(1.0, truth)).posterior(points)
        np.testing.assert_allclose(found.posterior(points), expected, atol=0.02)
        if truth < 20:  # else the posterior is nearly linear, and either of both does
            pair = found.temperature, found.smoothing
            assert pair == pytest.approx((max(1, truth), smoothing), rel=0.1, abs=0.02)
