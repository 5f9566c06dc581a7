"""The AEC stage: initial weights, fixed features, failures of training."""

import h5py
import numpy as np
import pytest
import torch

from RISCluster.__main__ import main
from RISCluster.stages import pretrain
from RISCluster.stages.cluster import run_gmm
from RISCluster.stages.pretrain import run_aec
from tests.stages.conftest import metrics, refused


def network(folder):
    return torch.load(folder / "AEC/model.pt", weights_only=True)["network"]


def test_every_stage_and_new_data_have_the_same_fixed_features(finished, tmp_path):
    folder = finished().run_folder
    sizes = {"smoothed": 10, "modulation": 10}
    assert network(folder)["fixed"] == metrics(folder / "AEC")["n_components"] == sizes
    before, refined = (np.load(folder / stage / "latent.npy") for stage in ("GMM", "DEC"))
    assert before.shape == (96, 23)
    np.testing.assert_array_equal(before[:, 3:], refined[:, 3:])
    assert not np.array_equal(before[:, :3], refined[:, :3])
    spread = before.astype(float).var(0)
    learnt, smoothed, modulation = spread[:3].sum(), spread[3:13].sum(), spread[13:].sum()
    np.testing.assert_allclose([smoothed, modulation], learnt, rtol=0.2)
    out = tmp_path / "new.csv"
    assert main(["predict", finished().data.file, "--run", str(folder), "-o", str(out)]) == 0
    np.testing.assert_allclose(np.load(out.with_suffix(".latent.npy")), refined, atol=1e-4)


def test_a_file_without_a_time_axis_has_none_unless_asked_for(small_file, make_settings, capsys):
    with h5py.File(small_file, "a") as file:
        del file["time"]
    for wanted, n in (("auto", 0), ("4", 4)):
        words = (f"data.file={small_file}", "aec.n_epochs=1", f"aec.n_components={wanted}")
        settings = make_settings(*words)
        run_aec(settings)
        assert network(settings.run_folder)["fixed"] == {"smoothed": n, "modulation": n}
        assert ("data.time_step" in capsys.readouterr().out) == (n == 0)


def test_initial_weights_of_a_run_and_of_the_reference(finished, tmp_path):
    ours = finished().run_folder / "AEC/model.pt"
    words = ("run.name=w", f"aec.initial_weights={ours}", "aec.n_epochs=0")
    run_aec(finished(*words))
    taken = finished(*words).run_folder
    first, again = (torch.load(path)["state"] for path in (ours, taken / "AEC/model.pt"))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert metrics(taken / "AEC")["validation_mse"] == pytest.approx(
        metrics(ours.parent)["validation_mse"], rel=1e-6
    )
    run_gmm(finished(*words))
    bare = tmp_path / "reference.pt"
    torch.save({f"module.{name}": value for name, value in first.items()}, bare)
    run_aec(finished("run.name=r", f"aec.initial_weights={bare}", "aec.n_epochs=1"))
    words = ("run.name=x", f"aec.initial_weights={bare}", "aec.n_features=4")
    assert "encoder.encoder.11.weight has shape (3," in refused(run_aec, finished(*words))
    for wrong in ("aec.initial_weights=none.pt", "aec.n_epochs=0"):
        assert "no such file; allowed: a file, or none" in refused(run_aec, finished(wrong))


def test_mixed_precision_is_for_gpus(small_file, make_settings):
    settings = make_settings(f"data.file={small_file}", "run.precision=bf16")
    assert "precision = bf16 needs a GPU" in refused(run_aec, settings)


def test_deterministic_algorithms(make_settings, small_file, monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    seen, train = [], pretrain.pretrain

    def look(*arguments):
        seen.append(torch.are_deterministic_algorithms_enabled())
        return train(*arguments)

    monkeypatch.setattr(pretrain, "pretrain", look)
    for name, wanted in (("a", "yes"), ("b", "no")):
        words = (f"run.name={name}", "aec.n_epochs=1", f"run.deterministic={wanted}")
        run_aec(make_settings(f"data.file={small_file}", *words))
    assert seen == [True, False]


def test_dead_features_and_a_network_that_learns_nothing(
    small_file, make_settings, monkeypatch, capsys
):
    initialise = pretrain.initialise

    def dead(model, seed):
        initialise(model, seed)
        model.encoder.encoder[-2].bias.data[:] = -1e3

    monkeypatch.setattr(pretrain, "initialise", dead)
    settings = make_settings(f"data.file={small_file}", "aec.latent_activation=relu")
    run_aec(settings)
    out = capsys.readouterr().out
    assert "learnt no more than the mean spectrogram" in out
    assert metrics(settings.run_folder / "AEC")["dead_features"] == [0, 1, 2]


@pytest.mark.parametrize("epochs", [1, 3])
def test_training_that_diverges_is_an_error_and_leaves_no_state(small_file, make_settings, epochs):
    words = (f"data.file={small_file}", "aec.lr=1e30", f"aec.n_epochs={epochs}")
    settings = make_settings(*words, "aec.batch_size=96")
    assert "lower aec.lr" in refused(run_aec, settings)
    assert not (settings.run_folder / "AEC/last.pt").exists()
