import csv

import numpy as np
import pytest
import torch

from RISCluster.data.loading import HeldSet
from RISCluster.distributed import Ranks
from RISCluster.errors import Stopped, TrainingError
from RISCluster.models.autoencoder import AEC, DEC, ClusteringLayer, NetworkShape, initialise
from RISCluster.runtime import StopRequest
from RISCluster.settings import load_settings
from RISCluster.training import refine as dec
from RISCluster.training.common import Context
from RISCluster.training.pretrain import AecTrainer
from RISCluster.training.refine import DecTrainer
from tests.conftest import ROOT, blobs

CPU = torch.device("cpu")


def held(n=60, seed=0) -> HeldSet:
    x = torch.from_numpy(blobs(n, seed)[0]).unsqueeze(1)
    return HeldSet(np.arange(n) * 10, (x - x.mean(0)) / x.std(), torch.arange(n), CPU)


def network(seed=0) -> AEC:
    model = AEC(NetworkShape(16, 20, 3, "linear"))
    initialise(model, seed)
    return model


def trainer(folder, kind="aec", *words):
    folder.mkdir(exist_ok=True)
    quick = ["aec.n_epochs=4", "aec.batch_size=16", "dec.n_epochs=3", "dec.batch_size=16"]
    settings = load_settings(ROOT / "config.ini", [*quick, "dec.tol=0", *words])
    context = Context(folder, Ranks(0, 1, CPU), StopRequest(), seed=1)
    if kind == "aec":
        return AecTrainer(network(), held(), held(20, 1), settings.aec, context, variance=1.0)
    clustering = ClusteringLayer(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))
    return DecTrainer(DEC(network(), clustering), held(), settings.dec, context)


def history(folder) -> list[dict]:
    with (folder / "history.csv").open() as file:
        return list(csv.DictReader(file))


def results(folder, work):
    """Weights at the end, and the history without the columns that tell the time."""
    weights = {name: value.clone() for name, value in work.model.state_dict().items()}
    times = ("seconds", "samples_per_second")
    rows = [{k: v for k, v in row.items() if k not in times} for row in history(folder)]
    return weights, rows


def run_with_stops(folder, kind, stops):
    """Run to the end, stopping after each of `stops` steps; a new trainer each time."""
    for stop in stops:
        work = trainer(folder, kind)
        made = work._make_step

        def counting(*arguments, work=work, made=made, left=[stop]):  # noqa: B006
            left[0] -= 1
            if left[0] == 0:
                work.context.stop.signal_number = 15
            return made(*arguments)

        work._make_step = counting
        with pytest.raises(Stopped) as caught:
            work.run()
        assert caught.value.exit_code == 143
    work = trainer(folder, kind)
    work.run()
    return results(folder, work)


@pytest.mark.parametrize("kind", ["aec", "dec"])
@pytest.mark.parametrize("stops", [(1,), (4,), (6, 1, 2), (11,)])
def test_interrupted_equals_never_interrupted(tmp_path, kind, stops):
    whole = trainer(tmp_path / "whole", kind)
    whole.run()
    expected, rows = results(tmp_path / "whole", whole)
    weights, rows_after = run_with_stops(tmp_path / "cut", kind, stops)
    assert rows_after == rows
    for name, value in expected.items():
        assert torch.equal(value, weights[name]), name


def test_killed_after_the_history_but_before_the_state(tmp_path):
    work = trainer(tmp_path / "a")
    work.run()
    expected = results(tmp_path / "a", work)
    cut = trainer(tmp_path / "b", "aec")
    save, calls = cut.save, []

    def dying():
        calls.append(1)
        if len(calls) == 2:
            raise SystemError("killed")
        save()

    cut.save = dying
    with pytest.raises(SystemError):
        cut.run()
    assert len(history(tmp_path / "b")) == 2  # the second row has no state to go with it
    again = trainer(tmp_path / "b")
    again.run()
    assert results(tmp_path / "b", again)[1] == expected[1]


def test_training_lowers_the_loss_and_keeps_the_best_weights(tmp_path):
    work = trainer(tmp_path, "aec", "aec.n_epochs=30", "aec.lr=0.003")
    work.run()
    losses = [float(row["validation_mse"]) for row in history(tmp_path)]
    assert min(losses) < 0.7 * losses[0]
    assert work.best == pytest.approx(min(losses), rel=1e-6)
    work.model.load_state_dict(work.best_weights)
    x = work.validation.x
    with torch.no_grad():
        mse = float((work.model(x)[0] - x).square().mean())
    assert mse == pytest.approx(work.best, rel=1e-5)


def scripted(work, losses):
    """Replace training and validation by a list of validation losses."""
    import RISCluster.training.pretrain as module

    work._make_step = lambda positions, x, n: (
        work.sums.add("n", torch.tensor(1.0)) or (work.sums.add("loss", torch.tensor(1.0)) or {})
    )
    given = iter(losses)
    return module, lambda *_: next(given)


@pytest.mark.parametrize(
    ("losses", "epochs", "halved"),
    [
        ([0.5, 0.4, 0.45, 0.41, 0.44], 5, 2),  # patience 3 after the best, of epoch 2
        ([0.5, 0.4, 0.45, 0.39, 0.44, 0.4, 0.4], 7, 3),
        ([1.2] + [1.0] * 9 + [0.5] + [0.6] * 3, 14, 2),  # the plateau does not count
        ([1.0] + [1.1] * 30, 31, 0),  # but for ten times the patience
    ],
)
def test_patience(tmp_path, monkeypatch, losses, epochs, halved):
    work = trainer(tmp_path, "aec", "aec.patience=3", "aec.n_epochs=60")
    module, validate = scripted(work, losses)
    monkeypatch.setattr(module, "mean_squared_error", validate)
    work.run()
    assert work.epoch == epochs
    assert work.finished
    assert work.optimizer.param_groups[0]["lr"] == pytest.approx(0.001 / 2**halved)


def test_constant_schedule_keeps_the_rate(tmp_path, monkeypatch):
    work = trainer(tmp_path, "aec", "aec.patience=3", "aec.schedule=constant")
    module, validate = scripted(work, [0.5, 0.6, 0.6, 0.6])
    monkeypatch.setattr(module, "mean_squared_error", validate)
    work.run()
    assert work.optimizer.param_groups[0]["lr"] == 0.001


def test_loss_that_is_not_finite_stops_before_the_step(tmp_path):
    work = trainer(tmp_path)
    work.samples.x[33] = float("inf")
    before = {name: value.clone() for name, value in work.model.state_dict().items()}
    with pytest.raises(TrainingError, match=r"the loss is (inf|nan) in epoch 1, batch \d"):
        work.run()
    assert all(torch.isfinite(value).all() for value in work.model.state_dict().values())
    assert before.keys() == work.model.state_dict().keys()


def test_dec_looks_targets_up_by_position(tmp_path):
    work = trainer(tmp_path, "dec")
    work.before_step()
    seen = []
    losses = work.losses

    def spy(model, positions, x):
        assert torch.equal(x, work.samples.x[positions])
        seen.append(positions)
        return losses(model, positions, x)

    work.losses = spy
    work.run()
    assert sorted(torch.cat(seen[:4]).tolist()) == list(range(60))
    assert not torch.equal(torch.cat(seen[:4]), torch.arange(60))


def test_dec_loss_is_mse_plus_gamma_kl_over_the_batch(tmp_path):
    work = trainer(tmp_path, "dec", "dec.gamma=0.7")
    work.refresh()
    positions = torch.tensor([5, 2, 9])
    x = work.samples.x[positions]
    with torch.no_grad():
        losses = work.losses(work.model, positions, x)
        q, y, _ = work.model(x)
    p = work.target[positions]
    kl = float((p * (p / q).log()).sum()) / 3
    mse = float((y - x).square().mean())
    assert float(losses["mse"]) / 3 == pytest.approx(mse, rel=1e-5)
    assert float(losses["kl"]) / 3 == pytest.approx(kl, rel=1e-4, abs=1e-7)
    assert float(losses["loss"]) / 3 == pytest.approx(mse + 0.7 * kl, rel=1e-5)


def test_dec_refreshes_as_often_as_set_and_stops_on_tol(tmp_path):
    work = trainer(tmp_path / "a", "dec", "dec.updates_per_epoch=4", "dec.n_epochs=3")
    work.run()
    assert len(work.changes) == 4 * 3 - 1
    assert work.epoch == 3
    once = trainer(tmp_path / "b", "dec", "dec.tol=1", "dec.updates_per_epoch=2")
    once.run()
    assert once.finished
    assert "less than tol" in once.why or once.changes[-1] < 1
    assert len(history(tmp_path / "b")) == 1


def test_cluster_that_empties_is_said_once(tmp_path, monkeypatch):
    work = trainer(tmp_path, "dec")
    with torch.no_grad():
        work.model.clustering.centroids[1] = 1e6
    said = []
    monkeypatch.setattr(dec.log, "warning", said.append)
    work.run()
    assert sum("empty since epoch 1: cluster" in line and "1" in line for line in said) == 1
