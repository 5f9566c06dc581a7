"""Mixtures of every number of clusters: in processes, cached over interruptions, and equal."""

import os
import signal

import numpy as np
import pytest

from RISCluster.clustering import fit as fits
from RISCluster.clustering.fit import Basis, Fits
from RISCluster.errors import RunError, Stopped
from RISCluster.runtime import StopRequest, start_log
from RISCluster.settings import load_settings
from tests.clustering.test_mixture import three_clouds

NUMBERS = [1, 2, 3, 5]


def settings(*words):
    return all_settings(*words).gmm


def all_settings(*words):
    return load_settings(None, ["run.seed=0", "gmm.n_resamples=2", "gmm.n_init=5", *words])


def made(folder, stop=None):
    folder.mkdir(exist_ok=True)
    found = Fits(folder / "fits", all_settings(), stop or StopRequest())
    found.basis(three_clouds(60)[0], (2,))
    return found


def test_processes_change_nothing(tmp_path, monkeypatch, capsys):
    start_log()
    monkeypatch.setattr(fits, "processors", lambda: 2)
    mixtures, rows = made(tmp_path / "here").of(NUMBERS)
    monkeypatch.setattr(fits, "MIN_PARALLEL", 0)
    there = made(tmp_path / "there")
    others, other_rows = there.of(NUMBERS)
    assert str(rows) == str(other_rows)  # as text, for NaN is not itself
    for k in NUMBERS:
        for name, values in mixtures[k].arrays().items():
            np.testing.assert_array_equal(values, others[k].arrays()[name])
    out = capsys.readouterr().out
    assert [out.count(f"K = {k}: bic") for k in NUMBERS] == [2] * len(NUMBERS)
    there.remove()
    assert list((tmp_path / "there").iterdir()) == []


@pytest.mark.parametrize("words", [(), ("gmm.init=kmeans",), ("gmm.n_resamples=none",)])
def test_a_basis_is_read_as_it_was_drawn(tmp_path, words):
    latents = three_clouds(60)[0]
    Basis.draw(latents, (2,), settings(*words), 0, StopRequest()).save(tmp_path / "basis.npz")
    read = Basis.load(tmp_path / "basis.npz")
    read.save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "basis.npz").read_bytes()
    np.testing.assert_array_equal(read.latents, latents)
    assert (read.trees is None) == ("gmm.init=kmeans" in words)
    assert (read.halves(settings(*words), 0) is None) == ("gmm.n_resamples=none" in words)


def test_stopped_before_and_between_mixtures(tmp_path, monkeypatch):
    stop, fit, done = StopRequest(), fits.fit_number, []

    def signalled(inputs, path):
        done.append(inputs[-1])
        if len(done) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return fit(inputs, path)

    monkeypatch.setattr(fits, "fit_number", signalled)
    found = made(tmp_path, stop)
    stop.signal_number = signal.SIGTERM
    with pytest.raises(Stopped, match="^GMM stage: the maps are saved in"):
        found.of(NUMBERS)
    stop.signal_number = 0
    with pytest.raises(Stopped, match=r"^Fitting mixtures: stopped; .*fits\.parts"):
        found.of(NUMBERS)
    mixtures, _ = found.of(NUMBERS)
    assert done == NUMBERS[::-1]  # the largest first, none of them twice
    assert [len(mixtures[k].weights) for k in NUMBERS] == NUMBERS


def die_at_three(inputs, path):
    if inputs[-1] == 3:
        os._exit(9)
    return fits.fit_number(inputs, path)


def test_killed_worker(tmp_path, monkeypatch):
    monkeypatch.setattr(fits, "processors", lambda: 2)
    monkeypatch.setattr(fits, "MIN_PARALLEL", 0)
    found = made(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(fits, "fit_number", die_at_three)
        with pytest.raises(RunError, match="killed.*taskset"):
            found.of(NUMBERS)
    mixtures, _ = found.of(NUMBERS)
    assert [len(mixtures[k].weights) for k in NUMBERS] == NUMBERS
