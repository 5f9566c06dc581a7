import csv

import numpy as np
import pytest
import torch

from RISCluster.data.loading import SampleSet
from RISCluster.distributed import Ranks
from RISCluster.errors import Stopped
from RISCluster.models.autoencoder import AEC, DEC, ClusteringLayer, NetworkShape, initialise
from RISCluster.runtime import StopRequest
from RISCluster.settings import load_settings
from RISCluster.training import pretrain as pretraining
from RISCluster.training import refine as refining
from RISCluster.training.common import Context
from tests.conftest import blobs

CPU = torch.device("cpu")


class StopAfter(StopRequest):
    """A signal that comes after a number of batches."""

    def __init__(self, n=10**6):
        self.n = n

    @property
    def signal_number(self):
        self.n -= 1
        return 15 if self.n < 0 else 0


def held(n=60, seed=0) -> SampleSet:
    x = torch.from_numpy(blobs(n, seed)[0]).unsqueeze(1)
    return SampleSet(np.arange(n) * 10, (x - x.mean(0)) / x.std(), torch.arange(n), CPU)


def train(folder, kind="aec", *words, stop=None, samples=None):
    """Train a network of a kind in a folder; the network and the result."""
    folder.mkdir(exist_ok=True)
    quick = ["aec.n_epochs=4", "aec.batch_size=16", "dec.n_epochs=3", "dec.batch_size=16"]
    settings = load_settings(None, [*quick, "dec.tol=0", *words])
    context = Context(folder, Ranks(0, 1, CPU), stop or StopAfter(), seed=1)
    samples, model = samples or held(), AEC(NetworkShape(16, 20, 3, "linear"))
    initialise(model, 0)
    if kind == "aec":
        own = samples, held(20, 1), settings.aec, context, 1.0
        return model, pretraining.pretrain(model, *own)
    centroids = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    model = DEC(model, ClusteringLayer(centroids))
    return model, refining.refine(model, samples, settings.dec, context)


def history(folder) -> list[dict]:
    """Rows without the columns of times."""
    with (folder / "history.csv").open() as file:
        return [{k: v for k, v in row.items() if "second" not in k} for row in csv.DictReader(file)]


@pytest.mark.parametrize("kind", ["aec", "dec"])
def test_interrupted_equals_never_interrupted(tmp_path, kind):
    whole, _ = train(tmp_path / "whole", kind)
    for stops in ((5, 0, 0), (10,)):  # two batches after the first: an epoch ends
        folder = tmp_path / f"cut{len(stops)}"
        for stop in stops:
            with pytest.raises(Stopped) as caught:
                train(folder, kind, stop=StopAfter(stop))
            assert caught.value.exit_code == 143
        model, _ = train(folder, kind)
        assert history(folder) == history(tmp_path / "whole")
        torch.testing.assert_close(model.state_dict(), whole.state_dict(), rtol=0, atol=0)


def test_training_lowers_the_loss_and_keeps_the_best_weights(tmp_path):
    model, result = train(tmp_path, "aec", "aec.n_epochs=30", "aec.lr=0.003")
    losses = [float(row["validation_mse"]) for row in history(tmp_path)]
    assert min(losses) < 0.7 * losses[0]
    rates = [float(row["learning_rate"]) for row in history(tmp_path)]
    steps = np.arange(3, 120, 4)  # the last ones of each epoch
    np.testing.assert_allclose(rates, 0.003 * np.minimum(steps / 12, (120 - steps) / 108), 1e-6)
    assert torch.load(tmp_path / "last.pt")["optimizer"]["param_groups"][0]["betas"] == (0.9, 0.9)
    model.load_state_dict(result.best_weights)
    x = held(20, 1).x
    with torch.no_grad():
        mse = float((model(x)[0] - x).square().mean())
    assert (mse, min(losses)) == pytest.approx((result.best, result.best), rel=1e-5)


@pytest.mark.parametrize(("losses", "epochs"), [
    ([0.5, 0.4, 0.45, 0.41, 0.44], 5),  # patience 3 after the best, of epoch 2
    ([1.2] + [1.0] * 9 + [0.5] + [0.6] * 3, 14),  # the plateau does not count
    ([1.0] + [1.1] * 30, 31),  # but for ten times the patience
])  # fmt: skip
def test_patience(tmp_path, monkeypatch, losses, epochs):
    given = iter(losses)
    monkeypatch.setattr(pretraining, "mean_squared_error", lambda *_: next(given))
    words = ("aec.patience=3", "aec.n_epochs=60", "aec.lr=0.001", "aec.schedule=constant")
    _, result = train(tmp_path, "aec", *words, samples=held(8))
    state = torch.load(tmp_path / "last.pt")
    assert (len(result.history), state["stop_reason"]) == (epochs, "patience")
    assert state["optimizer"]["param_groups"][0]["betas"] == (0.9, 0.999)


def test_dec_looks_targets_up_by_position(tmp_path, monkeypatch):
    """With a target that is the position, the divergence sees the positions of each batch."""
    samples, seen = held(), []
    monkeypatch.setattr(refining, "target_distribution", lambda q: torch.arange(60.0)[:, None])

    def spy(p, q):
        seen.extend(p[:, 0].long().tolist())
        return q.sum() * 0

    monkeypatch.setattr(refining, "kl_divergence", spy)
    train(tmp_path, "dec", "dec.n_epochs=1", samples=samples)
    batches = [positions for positions, _ in samples.epoch(1, 0, 16, Ranks(0, 1, CPU))]
    assert seen == torch.cat(batches).tolist()
    assert sorted(seen) == list(range(60)) != seen


def test_dec_loss_is_mse_plus_gamma_kl(tmp_path):
    samples = held(8)
    words = ("dec.gamma=0.7", "dec.n_epochs=2", "dec.lr=1e-12", "dec.updates_per_epoch=1")
    model, result = train(tmp_path, "dec", *words, samples=samples)
    with torch.no_grad():
        q, y, _ = model(samples.x)
    p = result.target
    kl, mse = float((p * (p / q).log()).sum()) / 8, float((y - samples.x).square().mean())
    found = [float(history(tmp_path)[1][name]) for name in ("mse", "kl", "loss")]
    assert found == pytest.approx([mse, kl, mse + 0.7 * kl], rel=1e-4, abs=1e-7)


def test_dec_refreshes_as_often_as_set_and_stops_on_tol(tmp_path):
    _, result = train(tmp_path / "a", "dec", "dec.updates_per_epoch=4", "dec.n_epochs=3")
    assert (len(result.changes), len(history(tmp_path / "a"))) == (4 * 3 - 1, 3)
    _, once = train(tmp_path / "b", "dec", "dec.tol=1", "dec.updates_per_epoch=2")
    assert len(once.changes) == len(history(tmp_path / "b")) == 1
    assert torch.load(tmp_path / "b/last.pt")["stop_reason"] == "tol"
