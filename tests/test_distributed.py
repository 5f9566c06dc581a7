"""Ranks as processes that communicate by gloo, each compared with what one process gives."""

import itertools

import numpy as np
import pytest
import torch

from RISCluster import distributed
from RISCluster.data.layouts import open_spectrograms
from RISCluster.data.loading import HeldSet, Reader, StreamedSet
from RISCluster.data.transforms import Preparation
from RISCluster.distributed import PeerLost, Ranks, choose_device
from RISCluster.errors import DataError, RISClusterError, SettingsError, Stopped, TrainingError
from RISCluster.models.autoencoder import AEC, NetworkShape, initialise
from RISCluster.training import encode as encoding
from tests.conftest import blobs, write_samples
from tests.processes import on_ranks

CPU = torch.device("cpu")
ALONE = Ranks(0, 1, CPU)


@pytest.mark.parametrize(("n", "world"), [(0, 3), (1, 3), (10, 1), (10, 3), (12, 4), (3, 7)])
def test_local_rows_and_shards_have_every_row_once(n, world):
    ranks = [Ranks(rank, world, CPU) for rank in range(world)]
    rows = [r.local_rows(torch.arange(n)).tolist() for r in ranks]
    assert rows == [list(range(rank, n, world)) for rank in range(world)]
    shards = [range(*r.shard(n)) for r in ranks]
    assert list(itertools.chain(*shards)) == list(range(n))
    for parts in (rows, shards):
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


# ---- communication ------------------------------------------------------------------------------


def _raise(error):
    raise error


def _communicate(ranks):
    r, last = ranks.rank, ranks.world - 1
    double = torch.tensor([r + 1.0, 1e-12], dtype=torch.float64)
    failing = (  # errors of one rank, of several, and of the last
        lambda: _raise(DataError("bad")) if r == 1 else 0,
        lambda: _raise(TrainingError(f"of {r}")) if r else 0,
        lambda: _raise(Stopped("enough", 15)) if r == last else 0,
    )
    caught = []
    for work in failing:
        try:
            ranks.gather_results(work)
        except RISClusterError as error:
            caught.append((type(error), str(error), error.exit_code))
    return {
        "sum": (ranks.sum(double) is double, double.tolist()),
        "gather": ranks.gather_results(lambda: None if r == 1 else {"rank": r}),
        "broadcast": ranks.broadcast({"of": r}),
        "any": [ranks.any(r == last), ranks.any(False), ranks.any(True)],
        "is_first": ranks.is_first,
        "barrier": ranks.barrier(),
        "caught": caught,
        "gradients": _gradients(ranks),
    }


def _gradients(ranks):
    """Gradients of a linear layer's summed output; the third rank has no rows."""
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    layer = torch.nn.Linear(2, 1)
    layer.frozen = torch.nn.Parameter(torch.ones(1), requires_grad=False)
    if len(rows := ranks.local_rows(x)):
        layer(rows).sum().backward()
    ranks.sum_gradients(layer.parameters())
    gradients = [parameter.grad for parameter in layer.parameters()]
    return [None if gradient is None else gradient.tolist() for gradient in gradients]


@pytest.mark.parametrize("world", [1, 3])
def test_sums_gathers_and_errors(tmp_path, world):
    found = [_communicate(ALONE)] if world == 1 else on_ranks(tmp_path, world, _communicate)
    for rank, one in enumerate(found):
        total = world * (world + 1) / 2
        assert one["sum"] == (True, [total, pytest.approx(world * 1e-12, rel=1e-12)])
        assert one["gather"] == [None if r == 1 else {"rank": r} for r in range(world)]
        assert one["broadcast"] == {"of": 0}
        assert one["any"] == [True, False, True]
        assert one["is_first"] == (rank == 0)
        stopped = (Stopped, "enough", 143)
        others = [(DataError, "bad", 2), (TrainingError, "of 1", 2)] if world > 1 else []
        assert one["caught"] == [*others, stopped]
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
    found = on_ranks(tmp_path, 2, _after_rank_1_left)[0]
    assert len(found) == 2
    for text in found:
        assert text.startswith("torchrun: another process of this run has ended or can't be")
        assert "\n" not in text


# ---- encoding -----------------------------------------------------------------------------------

# Samples, rows of a block, unusable samples: fewer samples than ranks; shards of 6, 7 and 7 rows
# whose blocks end unevenly, one without a usable sample; shards of one block.
SETS = ((2, 4, [0]), (20, 3, [0, 6, 7, 8, 19]), (21, 7, [20]))


def _encode_sets(ranks, folder):
    """Latents by `encode` and `encode_to`, and errors where rank 1 alone has an infinite sample."""
    torch.set_num_threads(1)  # another number rounds differently
    encoding.BATCH = {"cpu": 1}  # for the same sums in batches of any size
    model = AEC(NetworkShape(16, 20, 3, "linear"))
    initialise(model, 0)
    found, caught, output = [], [], folder / f"{ranks.world}.npy"
    for number, (_, encoding.BLOCK_ROWS, _) in enumerate(SETS):
        with open_spectrograms(folder / f"{number}.h5") as file:
            samples = StreamedSet(Reader(file, Preparation("linear", "none"), CPU))
            encoding.encode_to(output, model.encoder, samples, ranks)
            latents = encoding.encode(model.encoder, samples, ranks).numpy()
            found.append((latents, np.load(output)))
    x = torch.from_numpy(blobs(9)[0]).unsqueeze(1)
    x[4] = torch.inf
    samples = HeldSet(np.arange(9), x, torch.arange(9), CPU)
    for work in (encoding.encode, lambda *words: encoding.encode_to(folder / "x.npy", *words)):
        try:
            work(model.encoder, samples, ranks)
        except TrainingError as error:
            caught.append(str(error))
    return found, caught, ranks.gather_results(lambda: ranks.rank)


def test_encoding_by_three_is_that_of_one(tmp_path, monkeypatch):
    monkeypatch.setattr(encoding, "BLOCK_ROWS", encoding.BLOCK_ROWS)
    monkeypatch.setattr(encoding, "BATCH", encoding.BATCH)
    for number, (n, _, unusable) in enumerate(SETS):
        spectrogram = blobs(n)[0]
        spectrogram[unusable] = 0
        write_samples(tmp_path / f"{number}.h5", spectrogram)
    expected = _encode_sets(ALONE, tmp_path)[0]
    for (latents, _), (_, _, unusable) in zip(expected, SETS, strict=True):
        assert np.flatnonzero(np.isnan(latents).any(1)).tolist() == unusable
    for found, caught, agreed in on_ranks(tmp_path, 3, _encode_sets, tmp_path):
        for one, three in zip(expected, found, strict=True):
            np.testing.assert_allclose(three, one, rtol=1e-4, atol=1e-6)
        assert len(caught) == 2  # all ranks continue alike, as a sweep does
        assert all("latents that are not finite" in text for text in caught)
        assert agreed == [0, 1, 2]
    assert not list(tmp_path.glob("*.partial")) + list(tmp_path.glob("x.npy"))


# ---- the device ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "setting", "local_rank", "text"),
    [
        (1, "auto", 1, "PyTorch sees 1 GPU(s), and process 1 of this machine needs cuda:1; start"),
        (1, "cuda:1", 0, "cuda:1: PyTorch sees 1 GPU(s)"),
        (0, "cuda", 0, "PyTorch sees 0 GPU(s), and process 0 of this machine needs cuda:0; start"),
    ],
)
def test_a_missing_gpu(monkeypatch, found, setting, local_rank, text):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: found > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: found)
    with pytest.raises(SettingsError) as caught:
        choose_device(setting, local_rank)
    assert text in str(caught.value)
    # Every process refuses a GPU that the last one lacks, or the first would wait for it.
    variables = {"WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": local_rank + 1, "LOCAL_RANK": 0}
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(SettingsError, match="PyTorch sees"), distributed.start_ranks(setting):
        pass
