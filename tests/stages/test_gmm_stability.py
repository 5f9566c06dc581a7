import numpy as np
import pytest

from RISCluster.clustering import fit as fits
from RISCluster.clustering.selection import choose, read_rows
from RISCluster.errors import SettingsError
from RISCluster.stages.cluster import run_gmm
from RISCluster.stages.pretrain import run_aec


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
    with pytest.raises(SettingsError, match=r"set gmm\.stability = 4, or select by another"):
        run_gmm(make_settings(*words))
