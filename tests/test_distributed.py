"""Ranks as processes that communicate by gloo, each compared with what one process gives."""

import pytest
import torch

from RISCluster import distributed
from RISCluster.distributed import PeerLost, Ranks
from RISCluster.errors import DataError, RISClusterError, SettingsError, Stopped
from tests.processes import on_ranks

CPU = torch.device("cpu")


def _communicate(ranks):
    r, last = ranks.rank, ranks.world - 1
    double = torch.tensor([r + 1.0, 1e-12], dtype=torch.float64)

    def fail(error, at):
        if r == at:
            raise error

    caught = []
    for error, at in ((DataError("bad"), 1), (Stopped("enough", 15), last)):
        try:
            ranks.gather_results(lambda error=error, at=at: fail(error, at))
        except RISClusterError as error:
            caught.append((type(error), str(error), error.exit_code))
    return {
        "sum": (ranks.sum(double) is double, double.tolist()),
        "gather": ranks.gather_results(lambda: None if r == 1 else {"rank": r}),
        "broadcast": ranks.broadcast({"of": r}),
        "any": [ranks.any(r == last), ranks.any(False), ranks.any(True)],
        "caught": caught,
        "gradients": _gradients(ranks),
    }


def _gradients(ranks):
    """Gradients of a linear layer's summed output; the third rank has no rows."""
    layer = torch.nn.Linear(2, 1)
    layer.frozen = torch.nn.Parameter(torch.ones(1), requires_grad=False)
    if len(rows := ranks.local_rows(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))):
        layer(rows).sum().backward()
    ranks.sum_gradients(layer.parameters())
    return [None if x.grad is None else x.grad.tolist() for x in layer.parameters()]


@pytest.mark.parametrize("world", [1, 3])
def test_sums_gathers_and_errors(tmp_path, world):
    alone = Ranks(0, 1, CPU)
    found = [_communicate(alone)] if world == 1 else on_ranks(tmp_path, world, _communicate)
    for one in found:
        total = world * (world + 1) / 2
        assert one["sum"] == (True, [total, pytest.approx(world * 1e-12, rel=1e-12)])
        assert one["gather"] == [None if r == 1 else {"rank": r} for r in range(world)]
        assert one["broadcast"] == {"of": 0}
        assert one["any"] == [True, False, True]
        others = [(DataError, "bad", 2)] if world > 1 else []
        assert one["caught"] == [*others, (Stopped, "enough", 143)]
        assert sorted(one["gradients"], key=str) == [None, [2.0], [[4.0, 6.0]]]


def _after_rank_1_left(ranks):
    """The error of each communication when another process has ended."""
    found = []
    for work in (lambda: ranks.sum(torch.ones(1)), lambda: ranks.gather_results(lambda: 1)):
        if ranks.is_first:
            with pytest.raises(PeerLost) as caught:
                work()
            found.append(str(caught.value))
    return found


def test_a_lost_process_is_an_error_for_users(tmp_path):
    for text in on_ranks(tmp_path, 2, _after_rank_1_left)[0]:
        assert text.startswith("torchrun: another process of this run has ended or can't be")
        assert "\n" not in text


@pytest.mark.parametrize(
    ("found", "setting", "local_rank", "text"),
    [
        (1, "auto", 1, "PyTorch sees 1 GPU(s), and process 1 of this machine needs cuda:1; start"),
        (1, "cuda:1", 0, "cuda:1: PyTorch sees 1 GPU(s)"),
        (0, "cuda", 0, "PyTorch sees 0 GPU(s), and process 0 of this machine needs cuda:0; start"),
        (2, "cuda:1", 1, "cuda:1: 2 processes need a GPU each; allowed: auto, cuda, cpu"),
    ],
)
def test_a_missing_gpu(monkeypatch, found, setting, local_rank, text):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: found > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: found)
    # Every process refuses a GPU that the last one lacks, or the first would wait for it.
    variables = {"WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": local_rank + 1, "LOCAL_RANK": 0}
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(SettingsError) as caught, distributed.start_ranks(setting):
        pass
    assert text in str(caught.value)
