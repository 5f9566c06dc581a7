"""The AEC stage: initial weights, fixed features, failures of training."""

import h5py
import numpy as np
import pytest
import torch

from RISCluster.stages.cluster import run_gmm
from RISCluster.stages.pretrain import run_aec
from tests.stages.conftest import metrics, refused


def network(folder):
    return torch.load(folder / "AEC/model.pt", weights_only=True)["network"]


def test_every_stage_has_the_same_fixed_features(finished, capsys):
    folder = finished().run_folder
    assert network(folder)["fixed"] == {"smoothed": 10, "modulation": 10}
    before, refined = (np.load(folder / stage / "latent.npy") for stage in ("GMM", "DEC"))
    assert before.shape == (96, 23)
    np.testing.assert_array_equal(before[:, 3:], refined[:, 3:])
    assert not np.array_equal(before[:, :3], refined[:, :3])
    spread = before.astype(float).var(0)
    learnt, smoothed, modulation = spread[:3].sum(), spread[3:13].sum(), spread[13:].sum()
    np.testing.assert_allclose([smoothed, modulation], learnt, rtol=0.2)
    for align in ("yes", "no"):  # a choice of the user
        run_aec(finished(f"run.name={align}", f"aec.align_times={align}", "aec.n_epochs=1"))
        assert f"are {'' if align == 'yes' else 'not '}aligned: " in capsys.readouterr().out


def test_a_file_without_a_time_axis_has_none_unless_asked_for(small_file, make_settings, capsys):
    with h5py.File(small_file, "a") as file:
        del file["time"]
    for wanted, n in (("auto", 0), ("4", 4)):
        words = "aec.n_epochs=1", f"aec.n_components={wanted}", "aec.align_times=yes"
        run_aec(settings := make_settings(f"data.file={small_file}", *words))
        assert network(settings.run_folder)["fixed"] == {"smoothed": n, "modulation": n}
        out = capsys.readouterr().out
        assert ("data.time_step" in out) == ("has no effect" in out) == (n == 0)


def test_initial_weights_of_a_run_and_of_the_reference(finished, tmp_path):
    ours = finished().run_folder / "AEC/model.pt"
    words = ("run.name=w", f"aec.initial_weights={ours}", "aec.n_epochs=0")
    run_aec(finished(*words))
    taken = finished(*words).run_folder
    first, again = (torch.load(path)["state"] for path in (ours, taken / "AEC/model.pt"))
    assert all(torch.equal(first[name], again[name]) for name in first)
    known, found = (metrics(one)["validation_mse"] for one in (ours.parent, taken / "AEC"))
    assert found == pytest.approx(known, rel=1e-6)
    run_gmm(finished(*words))
    bare = tmp_path / "reference.pt"
    torch.save({f"module.{name}": value for name, value in first.items()}, bare)
    run_aec(finished("run.name=r", f"aec.initial_weights={bare}", "aec.n_epochs=1"))
    words = ("run.name=x", f"aec.initial_weights={bare}", "aec.n_features=4")
    assert "encoder.encoder.11.weight has shape (3," in refused(run_aec, finished(*words))
    for wrong in ("aec.initial_weights=none.pt", "aec.n_epochs=0"):
        assert "no such file; allowed: a file, or none" in refused(run_aec, finished(wrong))


@pytest.mark.parametrize(("words", "text"), [
    (["run.precision=bf16"], "precision = bf16 needs a GPU"),
    (["aec.lr=1e30", "aec.batch_size=96", "aec.n_epochs=3"], "lower aec.lr"),
])  # fmt: skip
def test_training_that_can_not_succeed_leaves_no_state(small_file, make_settings, words, text):
    settings = make_settings(f"data.file={small_file}", *words)
    assert text in refused(run_aec, settings)
    assert not (settings.run_folder / "AEC/last.pt").exists()
