"""Fixed features of a run."""

import json

import h5py
import numpy as np
import torch

from RISCluster.__main__ import main
from RISCluster.stages.cluster import run_gmm
from RISCluster.stages.pretrain import run_aec
from RISCluster.stages.refine import run_dec


def network(folder):
    return torch.load(folder / "AEC/model.pt", weights_only=True)["network"]


def test_every_stage_and_new_data_have_the_same_features(small_file, make_settings, tmp_path):
    settings = make_settings(f"data.file={small_file}")
    for stage in (run_aec, run_gmm, run_dec):
        stage(settings)
    folder = settings.run_folder
    assert network(folder)["fixed"] == {"smoothed": 10, "modulation": 10}
    sizes = json.loads((folder / "AEC/metrics.json").read_text())["n_components"]
    assert sizes == {"smoothed": 10, "modulation": 10}
    before = np.load(folder / "GMM/latent.npy")
    refined = np.load(folder / "DEC/latent.npy")
    assert before.shape == (96, 23)
    np.testing.assert_array_equal(before[:, 3:], refined[:, 3:])
    if json.loads((folder / "DEC/metrics.json").read_text())["refined"]:
        assert not np.array_equal(before[:, :3], refined[:, :3])
    spread = before.astype(float).var(0)
    learnt, smoothed, modulation = spread[:3].sum(), spread[3:13].sum(), spread[13:].sum()
    np.testing.assert_allclose([smoothed, modulation], learnt, rtol=0.2)
    out = tmp_path / "new.csv"
    assert main(["predict", str(small_file), "--run", str(folder), "-o", str(out)]) == 0
    np.testing.assert_allclose(np.load(out.with_suffix(".latent.npy")), refined, atol=1e-4)


def test_a_file_without_a_time_axis_has_none_unless_asked_for(small_file, make_settings, capsys):
    said = "has no time axis: no principal components stand beside the latents"
    with h5py.File(small_file, "a") as file:
        del file["time"]
    settings = make_settings(f"data.file={small_file}", "aec.n_epochs=1")
    run_aec(settings)
    assert network(settings.run_folder)["fixed"] == {"smoothed": 0, "modulation": 0}
    assert said in capsys.readouterr().out
    settings = make_settings(f"data.file={small_file}", "aec.n_epochs=1", "aec.n_components=4")
    run_aec(settings)
    assert said not in capsys.readouterr().out
    assert network(settings.run_folder)["fixed"] == {"smoothed": 4, "modulation": 4}


def test_the_papers_recipe_has_none(small_file, make_settings):
    settings = make_settings(f"data.file={small_file}", "aec.n_epochs=1", "run.recipe=paper")
    run_aec(settings)
    assert network(settings.run_folder)["fixed"] == {"smoothed": 0, "modulation": 0}
