"""Mixtures of every number of clusters: in processes, saved over interruptions, and equal."""

import os
import signal

import numpy as np
import pytest

from RISCluster.clustering import fit as fits
from RISCluster.clustering import initialisation
from RISCluster.clustering.fit import fit_mixtures, remove_fits
from RISCluster.errors import Stopped
from RISCluster.runtime import StopRequest, start_log
from RISCluster.settings import load_settings
from tests.clustering.test_mixture import three_clouds

NUMBERS = [1, 2, 3, 5]


def fitted(folder, *words, stop=None):
    folder.mkdir(exist_ok=True)
    settings = load_settings(None, ["run.seed=0", "gmm.n_resamples=2", "gmm.n_init=5", *words])
    return fit_mixtures(folder, three_clouds(60)[0], (2,), NUMBERS, settings, stop or StopRequest())


@pytest.mark.parametrize("words", [(), ("gmm.init=kmeans", "gmm.n_resamples=none")])
def test_processes_change_nothing(tmp_path, monkeypatch, capsys, words):
    start_log()
    monkeypatch.setattr(fits, "cpu_count", lambda: 2)
    mixtures, rows, trees = fitted(tmp_path / "here", *words)
    monkeypatch.setattr(fits, "MIN_PARALLEL", 0)
    others, other_rows, _ = fitted(tmp_path / "there", *words)
    assert str(rows) == str(other_rows)  # as text, for NaN is not itself
    for k in NUMBERS:
        np.testing.assert_equal(mixtures[k].arrays(), others[k].arrays())
    out = capsys.readouterr().out
    assert [out.count(f"K = {k}: bic") for k in NUMBERS] == [2] * len(NUMBERS)
    assert (trees is None) == bool(words)
    assert np.isnan([row.stability for row in rows]).tolist() == [True] + [bool(words)] * 3
    remove_fits(tmp_path / "there")
    assert list((tmp_path / "there").iterdir()) == []


def test_stopped_before_and_between_mixtures(tmp_path, monkeypatch):
    stop, fit, done = StopRequest(), fits.fit_number, []

    def signalled(inputs, path):
        done.append(inputs[-1])
        if len(done) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return fit(inputs, path)

    monkeypatch.setattr(fits, "fit_number", signalled)
    stop.signal_number = signal.SIGTERM
    with pytest.raises(Stopped, match="^GMM stage: the trees of clusters are saved in"):
        fitted(tmp_path, stop=stop)
    monkeypatch.setattr(initialisation, "tsne", None)  # no map is made again
    with pytest.raises(Stopped, match=r"^Fitting mixtures: stopped; .*fits\.parts"):
        fitted(tmp_path)
    mixtures, _, _ = fitted(tmp_path)
    assert done == NUMBERS[::-1]  # the largest first, none of them twice
    assert [len(mixtures[k].weights) for k in NUMBERS] == NUMBERS
