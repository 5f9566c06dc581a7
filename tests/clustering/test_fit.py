"""Mixtures of every number of clusters: in processes, kept over interruptions, and equal."""

import os
import signal

import numpy as np
import pytest

from RISCluster import parallel as jobs
from RISCluster.clustering import fit as fits
from RISCluster.clustering.fit import Basis, Fits
from RISCluster.errors import RunError, Stopped
from RISCluster.runtime import StopRequest, start_log
from RISCluster.settings import load_settings
from tests.clustering.test_stability import three_clouds

NUMBERS = [1, 2, 3, 5]


def settings(*words):
    return load_settings(None, ["gmm.n_resamples=2", "gmm.n_init=5", *words]).gmm


def made(folder, stop=None):
    folder.mkdir(exist_ok=True)
    found = Fits(folder / "fits", settings(), 0, stop or StopRequest())
    found.basis(three_clouds(60)[0])
    return found


def test_processes_change_nothing(tmp_path, monkeypatch, capsys):
    start_log()
    monkeypatch.setattr(fits, "processors", lambda: 2)
    here = made(tmp_path / "here")
    mixtures, rows = here.of(NUMBERS)
    monkeypatch.setattr(fits, "MIN_PARALLEL", 0)
    there = made(tmp_path / "there")
    pool, used = jobs._pool, []
    monkeypatch.setattr(jobs, "_pool", lambda workers: used.append(workers) or pool(workers))
    others, other_rows = there.of(NUMBERS)
    assert used == [2]
    assert str(rows) == str(other_rows)  # as text, for NaN is not itself
    for k in NUMBERS:
        for name, values in mixtures[k].arrays().items():
            np.testing.assert_array_equal(values, others[k].arrays()[name])
    said = capsys.readouterr().out
    assert [said.count(f"K = {k}: bic") for k in NUMBERS] == [2] * len(NUMBERS)
    there.remove()
    assert list((tmp_path / "there").iterdir()) == []


@pytest.mark.parametrize("words", [(), ("init=kmeans",), ("n_resamples=none",)])
def test_a_basis_is_read_as_it_was_drawn(tmp_path, words):
    latents = three_clouds(60)[0]
    drawn = Basis.draw(latents, settings(*(f"gmm.{word}" for word in words)), 0, StopRequest())
    drawn.save(tmp_path / "basis.npz")
    read = Basis.load(tmp_path / "basis.npz")
    np.testing.assert_array_equal(read.latents, latents)
    assert len(read.maps) == (0 if "init=kmeans" in words else 12)
    assert (read.halves is None) == ("n_resamples=none" in words)
    pairs = list(zip(drawn.maps, read.maps, strict=True))
    if read.halves is not None:
        assert [mapped is None for _, mapped in read.halves.parts] == ["init=kmeans" in words] * 2
        np.testing.assert_array_equal(read.halves.index, drawn.halves.index)
        np.testing.assert_array_equal(read.halves.labelled, latents[read.halves.index])
        for (part, mapped), (other, other_mapped) in zip(
            drawn.halves.parts, read.halves.parts, strict=True
        ):
            np.testing.assert_array_equal(part, other)
            pairs += [] if mapped is None else [(mapped, other_mapped)]
    for one, other in pairs:
        for name, value in one.arrays().items():
            np.testing.assert_array_equal(value, other.arrays()[name])


def test_a_damaged_basis_is_made_again(tmp_path, capsys):
    start_log()
    latents = three_clouds(60)[0]
    path = tmp_path / "fits.npz"
    found = made(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    found.basis(latents)
    assert "it is made again" in capsys.readouterr().out
    assert path.read_bytes() == whole


def test_stopped_between_mixtures(tmp_path, monkeypatch):
    fit, done = fits.fit_number, []

    def signalled(inputs, path):
        done.append(inputs[-1])
        if len(done) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return fit(inputs, path)

    monkeypatch.setattr(fits, "fit_number", signalled)
    found = made(tmp_path)
    said = r"^fitting mixtures: 2 of \d parts are done and saved in .*fits\.parts"
    with pytest.raises(Stopped, match=said):
        found.of(NUMBERS)
    mixtures, _ = found.of(NUMBERS)
    assert done == NUMBERS  # none of them twice
    assert [len(mixtures[k].weights) for k in NUMBERS] == NUMBERS


def die_at_three(inputs, path):
    if inputs[-1] == 3:
        os._exit(9)
    return fits.fit_number(inputs, path)


def test_killed_worker_of_the_mixtures(tmp_path, monkeypatch):
    """It is said what to do, and what it was fitted to is kept."""
    monkeypatch.setattr(fits, "processors", lambda: 2)
    monkeypatch.setattr(fits, "MIN_PARALLEL", 0)
    found = made(tmp_path)
    before = (tmp_path / "fits.npz").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(fits, "fit_number", die_at_three)
        with pytest.raises(RunError, match="killed.*taskset -c 0"):
            found.of(NUMBERS)
    assert (tmp_path / "fits.npz").read_bytes() == before
    mixtures, _ = found.of(NUMBERS)
    assert [len(mixtures[k].weights) for k in NUMBERS] == NUMBERS


def test_stopped_between_maps_and_mixtures(tmp_path):
    stop = StopRequest()
    found = made(tmp_path, stop)
    stop.signal_number = signal.SIGTERM
    with pytest.raises(Stopped, match="^GMM stage: the maps are kept in"):
        found.of(NUMBERS)
