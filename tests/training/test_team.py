import threading

import numpy as np
import pytest
import torch

from RISCluster.models.autoencoder import AEC, DEC, ClusteringLayer, NetworkShape, initialise
from RISCluster.training import team
from RISCluster.training.common import summed_error
from RISCluster.training.team import Team


def losses(model, positions, x):
    reconstruction = model.decoder(model.encoder(x))
    return {"loss": summed_error(reconstruction, x), "positions": positions.sum().double()}


def network():
    model = AEC(NetworkShape(16, 20, 3, "linear"))
    initialise(model, 0)
    return model


def gradients(model):
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


@pytest.fixture(autouse=True)
def any_size(monkeypatch):
    monkeypatch.setattr(team, "SMALLEST_PART", 1)


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("n", [1, 2, 7, 16])
def test_gradients_are_those_of_the_whole_batch(threads, n):
    x = torch.rand(n, 1, 16, 20)
    alone, shared = network(), network()
    whole = Team(alone, 1).gradients(losses, torch.arange(n), x, n)
    team = Team(shared, threads)
    parts = team.gradients(losses, torch.arange(n), x, n)
    assert float(parts["loss"]) == pytest.approx(float(whole["loss"]), rel=1e-6)
    assert float(parts["positions"]) == n * (n - 1) / 2
    expected = gradients(alone)
    np.testing.assert_allclose(gradients(shared), expected, atol=1e-5 * float(expected.abs().max()))
    team.close()


def test_members_follow_the_weights_and_repeat_to_the_byte():
    x = torch.rand(16, 1, 16, 20)
    ends = []
    for _ in range(2):
        model = network()
        team = Team(model, 2)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=True)
        first = float(team.gradients(losses, torch.arange(16), x, 16)["loss"])
        for _ in range(20):
            team.gradients(losses, torch.arange(16), x, 16)
            optimizer.step()
        assert float(team.gradients(losses, torch.arange(16), x, 16)["loss"]) < 0.9 * first
        model.load_state_dict({name: value * 0 for name, value in model.state_dict().items()})
        zero = float(team.gradients(losses, torch.arange(16), x, 16)["loss"])
        assert zero == pytest.approx(float(summed_error(x * 0, x)), rel=1e-6)
        ends.append(gradients(model))
        team.close()
    assert torch.equal(*ends)


def test_centroids_have_gradients_too_and_each_thread_one_core():
    model = DEC(network(), ClusteringLayer(torch.rand(4, 3), torch.eye(3) / 1.5))
    seen = set()

    def with_clusters(member, positions, x):
        seen.add((threading.current_thread().name, torch.get_num_threads()))
        return {
            "loss": member.clustering(member.encoder(x)).square().sum()
            + losses(member, positions, x)["loss"]
        }

    before = torch.get_num_threads()
    team = Team(model, 2)
    team.gradients(with_clusters, torch.arange(8), torch.rand(8, 1, 16, 20), 8)
    assert float(model.clustering.centroids.grad.abs().max()) > 0
    assert len(seen) == 2
    assert {threads for _, threads in seen} == {1}
    assert torch.get_num_threads() == before
    team.close()


def test_small_batches_are_not_shared(monkeypatch):
    monkeypatch.setattr(team, "SMALLEST_PART", 16 * 20 * 8)
    shared = Team(network(), 2)
    assert [shared._parts(torch.rand(n, 1, 16, 20)) for n in (1, 15, 16, 99)] == [1, 1, 2, 2]
    shared.close()
    assert Team(network(), 5)._parts(torch.rand(99, 1, 16, 20)) == 1


def test_an_error_of_a_thread_comes_through():
    def fails(member, positions, x):
        raise ZeroDivisionError

    shared = Team(network(), 2)
    with pytest.raises(ZeroDivisionError):
        shared.gradients(fails, torch.arange(8), torch.rand(8, 1, 16, 20), 8)
    shared.close()
