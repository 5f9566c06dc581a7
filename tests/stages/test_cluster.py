"""Resamples in the GMM stage, and requests to stop while maps are made."""

import os
import signal
from inspect import unwrap

import numpy as np
import pytest

from RISCluster.clustering import fit as fits
from RISCluster.clustering import initialisation, stability
from RISCluster.clustering.selection import choose, read_rows
from RISCluster.errors import SettingsError, Stopped
from RISCluster.stages.cluster import run_gmm
from RISCluster.stages.pretrain import run_aec
from RISCluster.stages.refine import run_dec


def test_selected_by_stability(make_settings, small_file):
    settings = make_settings(f"data.file={small_file}", "gmm.select=stability")
    run_aec(settings)
    run_gmm(settings)
    rows = read_rows(settings.run_folder / "GMM/selection.csv")
    assert all(np.isfinite([row.stability, row.stability_std]).all() for row in rows)
    mixture = np.load(settings.run_folder / "GMM/model.npz")
    assert len(mixture["weights"]) == choose(rows, "stability")


def test_left_out(make_settings, small_file, monkeypatch):
    monkeypatch.setattr(fits, "resamples", None)  # not called
    settings = make_settings(f"data.file={small_file}", "gmm.n_resamples=none")
    run_aec(settings)
    run_gmm(settings)
    rows = read_rows(settings.run_folder / "GMM/selection.csv")
    assert np.isnan([row.stability for row in rows]).all()


def test_not_computed_but_asked_for(make_settings, small_file):
    words = (f"data.file={small_file}", "gmm.select=stability", "gmm.n_resamples=none")
    with pytest.raises(SettingsError, match=r"set gmm\.n_resamples = 4, or select by another"):
        run_gmm(make_settings(*words))


STAGES = (run_aec, run_gmm, run_dec)


@pytest.mark.parametrize(
    ("number", "what", "most"),
    [(1, "Mapping latents", 4), (1, "Mapping half-samples", 3), (2, "Mapping half-samples", 3)],
)
def test_stops_soon_and_goes_on(number, what, most, make_settings, small_file, monkeypatch):
    mapped = unwrap(initialisation.neighbour_map)  # one that was drawn before takes no time
    draw, done = initialisation.draw_maps, []

    def asked_to_stop(*words):
        done.append(words)
        if len(done) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return mapped(*words)

    def draw_or_stop(asked, said, stop):
        with monkeypatch.context() as patch:
            if said == what:
                patch.setattr(initialisation, "neighbour_map", asked_to_stop)
            return draw(asked, said, stop)

    settings = make_settings(f"data.file={small_file}", "dec.keep=refined")
    for stage in STAGES[:number]:
        stage(settings)
    monkeypatch.setattr(initialisation, "processors", lambda: 1)
    for module in (initialisation, stability):
        monkeypatch.setattr(module, "draw_maps", draw_or_stop)
    with pytest.raises(Stopped, match="^mapping .*; run the same command to go on$") as error:
        STAGES[number](settings)
    assert error.value.exit_code == 128 + signal.SIGTERM
    assert 0 < len(done) < most  # one that was under way, and one that the thread took up
    monkeypatch.undo()
    STAGES[number](settings)
    assert (settings.run_folder / ("GMM", "DEC")[number - 1] / "labels.csv").exists()
