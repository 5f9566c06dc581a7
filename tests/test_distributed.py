"""Ranks as processes that communicate by gloo, each compared with what one process gives."""

import re

import pytest
import torch

from RISCluster import distributed
from RISCluster.distributed import PeerLost
from RISCluster.errors import SettingsError, Stopped
from tests.processes import on_ranks


def _communicate(ranks):
    r, last = ranks.rank, ranks.world - 1
    double = torch.tensor([r + 1.0, 0.1], dtype=torch.float64)

    def fail():
        if r == last:
            raise Stopped("enough", 15)

    with pytest.raises(Stopped, match="^enough$") as caught:
        ranks.gather_results(fail)
    layer = torch.nn.Linear(2, 1)
    if len(rows := ranks.local_rows(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))):  # none on the third
        layer(rows).sum().backward()
    ranks.sum_gradients(layer.parameters())
    return {
        "sum": (ranks.sum(double) is double, double.tolist()),
        "gather": ranks.gather_results(lambda: None if r == 1 else {"rank": r}),
        "broadcast": ranks.broadcast({"of": r}),
        "any": [ranks.any(r == last), ranks.any(False), ranks.any(True)],
        "code": caught.value.exit_code,
        "gradients": [parameter.grad.tolist() for parameter in layer.parameters()],
    }


def test_sums_gathers_and_errors(tmp_path):
    for one in on_ranks(tmp_path, 3, _communicate):
        assert one["sum"] == (True, [6, pytest.approx(0.3, rel=1e-12)])
        assert one["gather"] == [{"rank": 0}, None, {"rank": 2}]
        assert one["broadcast"] == {"of": 0}
        assert one["any"] == [True, False, True]
        assert one["code"] == 143
        assert one["gradients"] == [[[4.0, 6.0]], [2.0]]


def _after_rank_1_left(ranks):
    """The error of each communication when another process has ended."""
    works = (lambda: ranks.sum(torch.ones(1)), lambda: ranks.gather_results(lambda: 1))
    return [str(pytest.raises(PeerLost, work).value) for work in works if ranks.is_first]


def test_a_lost_process_is_an_error_for_users(tmp_path):
    text = "torchrun: another process of this run has ended or can't be reached; files .*"
    texts = on_ranks(tmp_path, 2, _after_rank_1_left)[0]
    assert [bool(re.fullmatch(text, found)) for found in texts] == [True, True]


@pytest.mark.parametrize(("found", "setting", "local_rank", "text"), [
    (1, "auto", 1, "PyTorch sees 1 GPU(s), and process 1 of this machine needs cuda:1; start"),
    (1, "cuda:1", 0, "cuda:1: PyTorch sees 1 GPU(s)"),
    (2, "cuda:1", 1, "cuda:1: 2 processes need a GPU each; allowed: auto, cuda, cpu"),
])  # fmt: skip
def test_a_missing_gpu(monkeypatch, found, setting, local_rank, text):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: found > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: found)
    # Every process refuses a GPU that the last one lacks, or the first would wait for it.
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(local_rank + 1))
    with pytest.raises(SettingsError, match=re.escape(text)), distributed.start_ranks(setting):
        pass
