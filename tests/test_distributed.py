"""Ranks as processes that talk through gloo, each checked against what one process gives."""

import itertools
import multiprocessing
import traceback

import numpy as np
import pytest
import torch
import torch.distributed as dist

from RISCluster import distributed
from RISCluster.data.layouts import open_spectrograms
from RISCluster.data.loading import HeldSet, Reader, StreamedSet
from RISCluster.data.transforms import Preparation
from RISCluster.distributed import PeerLost, Ranks, choose_device
from RISCluster.errors import DataError, SettingsError, Stopped, TrainingError
from RISCluster.models.autoencoder import AEC, DEC, ClusteringLayer, NetworkShape, initialise
from RISCluster.runtime import StopRequest
from RISCluster.settings import load_settings
from RISCluster.training import encode as encoding
from RISCluster.training.common import Context
from RISCluster.training.refine import refine
from tests.conftest import ROOT, blobs, write_samples

CPU = torch.device("cpu")
ALONE = Ranks(0, 1, CPU)
SECONDS = 60  # after which a process that hangs is ended

_server = multiprocessing.get_context("forkserver")  # torch is loaded once, for all processes
_server.set_forkserver_preload([__name__, "torch.distributed.elastic"])


def _process(rank, world, folder, work, arguments, answers):
    torch.set_num_threads(1)
    try:
        dist.init_process_group(
            "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world
        )
        answers.put((rank, work(Ranks(rank, world, CPU), *arguments)))
        dist.barrier()
        dist.destroy_process_group()
    except BaseException:
        answers.put((rank, traceback.format_exc()))
        raise


@pytest.fixture
def on_ranks(tmp_path):
    """Results of a function of `Ranks` on 2 or more processes, in their order."""
    numbers = itertools.count()

    def run(world, work, *arguments):
        folder = tmp_path / f"start{next(numbers)}"
        folder.mkdir()
        answers = _server.Queue()
        processes = [
            _server.Process(target=_process, args=(r, world, folder, work, arguments, answers))
            for r in range(world)
        ]
        for process in processes:
            process.start()
        try:
            found = dict(answers.get(timeout=SECONDS) for _ in processes)
            for process in processes:
                process.join(SECONDS)
        finally:
            for process in processes:
                process.kill()
                process.join()
        assert [process.exitcode for process in processes] == [0] * world, found
        return [found[rank] for rank in range(world)]

    return run


# ---- one process --------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "world"), [(0, 3), (1, 3), (10, 1), (10, 3), (12, 4), (3, 7)])
def test_local_rows_and_shards_hold_everything_once(n, world):
    ranks = [Ranks(rank, world, CPU) for rank in range(world)]
    rows = [r.local_rows(torch.arange(n)).tolist() for r in ranks]
    assert rows == [list(range(rank, n, world)) for rank in range(world)]
    shards = [range(*r.shard(n)) for r in ranks]
    assert list(itertools.chain(*shards)) == list(range(n))
    for parts in (rows, shards):
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_one_process_gets_back_what_it_gives():
    tensor, part = torch.tensor([1.0, 2.0]), np.array([3, 4])
    assert ALONE.sum(tensor) is tensor
    assert tensor.tolist() == [1, 2]
    assert ALONE.gather(part) is part
    assert ALONE.gather_parts("a") == ["a"]
    assert ALONE.gather_results(lambda: "a") == ["a"]
    assert ALONE.broadcast("a") == "a"
    assert [ALONE.any(True), ALONE.any(False)] == [True, False]
    ALONE.barrier()
    with pytest.raises(DataError, match="bad"):
        ALONE.gather_results(_fail)


def _fail():
    raise DataError("bad")


# ---- talks between processes --------------------------------------------------------------------


def _talk(ranks):
    r, world = ranks.rank, ranks.world
    double = torch.tensor([r + 1.0, 1e-12], dtype=torch.float64)
    return {
        "sum": ranks.sum(torch.tensor([r + 1, 10])).tolist(),
        "sum in double": (ranks.sum(double) is double, double.tolist()),
        "gather": ranks.gather(np.full((r, 2), r, dtype=np.float32)),  # none of rank 0
        "gather_parts": ranks.gather_parts(None if r == 1 else {"rank": r}),
        "gather_results": ranks.gather_results(lambda: r * 10),
        "from_first": ranks.broadcast({"of": r}),
        "any": [ranks.any(r == world - 1), ranks.any(False), ranks.any(True)],
        "is_first": ranks.is_first,
        "wait": ranks.barrier(),
    }


def test_talks(on_ranks):
    world = 3
    total = world * (world + 1) // 2
    for rank, found in enumerate(on_ranks(world, _talk)):
        assert found["sum"] == [total, 10 * world]
        assert found["sum in double"] == (True, [total, pytest.approx(world * 1e-12, rel=1e-12)])
        expected = np.repeat(np.arange(world), np.arange(world)).astype(np.float32)
        np.testing.assert_array_equal(found["gather"], np.stack([expected, expected], 1))
        assert found["gather"].dtype == np.float32
        expected = [None if r == 1 else {"rank": r} for r in range(world)]
        assert found["gather_parts"] == expected
        assert found["gather_results"] == [10 * r for r in range(world)]
        assert found["from_first"] == {"of": 0}
        assert found["any"] == [True, False, True]
        assert found["is_first"] == (rank == 0)


def _gradients(ranks):
    """Gradients of a linear layer's summed output; the last rank's share is empty."""
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    layer = torch.nn.Linear(2, 1)
    layer.frozen = torch.nn.Parameter(torch.ones(1), requires_grad=False)
    share = ranks.local_rows(x)
    if len(share):
        layer(share).sum().backward()
    had = layer.weight.grad is not None
    ranks.sum_gradients(layer.parameters())
    return had, layer.weight.grad.tolist(), layer.bias.grad.tolist(), layer.frozen.grad


def test_gradients_are_summed_over_ranks_with_an_empty_share(on_ranks):
    expected = ([[4.0, 6.0]], [2.0], None)
    assert on_ranks(3, _gradients) == [(True, *expected), (True, *expected), (False, *expected)]


def _errors_in_turn(ranks):
    """What each rank catches when some of them fail, and that they still agree afterwards."""
    failing = {
        "rank 1": lambda: _fail() if ranks.rank == 1 else 0,
        "two": lambda: _raise(TrainingError(f"of {ranks.rank}")) if ranks.rank else 0,
        "stop": lambda: _raise(Stopped("enough", 15)) if ranks.rank == 2 else 0,
    }
    caught = []
    for work in failing.values():
        try:
            ranks.gather_results(work)
        except (DataError, TrainingError, Stopped) as error:
            caught.append((type(error), str(error), error.exit_code))
    return caught, ranks.gather_results(lambda: ranks.rank)


def _raise(error):
    raise error


def test_an_error_of_one_rank_is_raised_by_all(on_ranks):
    expected = [(DataError, "bad", 2), (TrainingError, "of 1", 2), (Stopped, "enough", 143)]
    assert on_ranks(3, _errors_in_turn) == [(expected, [0, 1, 2])] * 3


def _after_rank_1_left(ranks):
    """The error of each communication when another process has ended."""
    if ranks.rank == 1:
        dist.destroy_process_group()
        dist.barrier = lambda: None  # the end of `_process` is for those who stay
        dist.destroy_process_group = lambda: None
        return []
    layer = torch.nn.Linear(1, 1)
    talks = (
        lambda: ranks.sum(torch.ones(1)),
        lambda: ranks.sum_gradients(layer.parameters()),
        lambda: ranks.gather(np.zeros(1)),
        lambda: ranks.gather_results(lambda: 1),
        lambda: ranks.any(False),
        lambda: ranks.broadcast(1),
        lambda: ranks.barrier(),
    )
    found = []
    for talk in talks:
        try:
            talk()
        except PeerLost as error:
            found.append(str(error))
    dist.barrier = lambda: None
    return found


def test_a_lost_process_is_an_error_for_users(on_ranks):
    found = on_ranks(2, _after_rank_1_left)[0]
    assert len(found) == 7
    for text in found:
        assert text.startswith("torchrun: another process of this run has ended or can't be")
        assert "\n" not in text


# ---- encoding -----------------------------------------------------------------------------------


def _network() -> AEC:
    model = AEC(NetworkShape(16, 20, 3, "linear"))
    initialise(model, 0)
    return model


def _encode(ranks, path, output, block_rows):
    """Latents of a file by `encode` and by `encode_to`, with blocks of a few rows."""
    encoding.BLOCK_ROWS, encoding.BATCH = block_rows, 1  # layers sum alike whatever the batch
    encoder = _network().encoder
    with open_spectrograms(path) as file:
        samples = StreamedSet(Reader(file, Preparation("linear", "none"), CPU))
        encoding.encode_to(output, encoder, samples, ranks)
        return encoding.encode(encoder, samples, ranks)


@pytest.mark.parametrize(
    ("n", "block_rows", "unusable"),
    [
        (2, 4, [0]),  # fewer samples than ranks
        (20, 3, [0, 6, 7, 8, 19]),  # ranks have 6, 7 and 7: blocks end unevenly; one is lost
        (21, 7, [20]),  # every span is one block to the row
    ],
)
def test_encoding_by_three_is_that_of_one(on_ranks, tmp_path, monkeypatch, n, block_rows, unusable):
    monkeypatch.setattr(encoding, "BLOCK_ROWS", block_rows)
    monkeypatch.setattr(encoding, "BATCH", 1)
    spectrogram = blobs(n)[0]
    spectrogram[unusable] = 0
    path = write_samples(tmp_path / "s.h5", spectrogram)
    one, three = tmp_path / "one.npy", tmp_path / "three.npy"
    expected = _encode(ALONE, path, one, block_rows)
    assert np.flatnonzero(np.isnan(expected).any(1)).tolist() == unusable
    close = {"rtol": 1e-4, "atol": 1e-6}  # another number of threads rounds otherwise
    for latents in on_ranks(3, _encode, path, three, block_rows):
        np.testing.assert_allclose(latents, expected, **close)
    assert one.stat().st_size == three.stat().st_size
    np.testing.assert_allclose(np.load(three), expected, **close)
    assert not list(tmp_path.glob("*.partial"))


def _diverged(ranks, output):
    """What each rank catches where one sample of rank 1 alone has no finite latent."""
    x = torch.from_numpy(blobs(9)[0]).unsqueeze(1)
    x[4] = torch.inf
    samples = HeldSet(np.arange(9), x, torch.arange(9), CPU)
    caught = []
    encoder = _network().encoder
    for work in (
        lambda: encoding.encode(encoder, samples, ranks),
        lambda: encoding.encode_to(output, encoder, samples, ranks),
    ):
        try:
            work()
        except TrainingError as error:
            caught.append(str(error))
    return caught, output.exists(), ranks.gather_results(lambda: ranks.rank)


def test_latents_that_are_not_finite_on_one_rank_end_all_alike(on_ranks, tmp_path):
    """A sweep catches this error and continues, on all ranks together."""
    for caught, exists, agreed in on_ranks(3, _diverged, tmp_path / "latent.npy"):
        assert len(caught) == 2
        assert all("latents that are not finite" in text for text in caught)
        assert not exists
        assert agreed == [0, 1, 2]


# ---- refinement ---------------------------------------------------------------------------------


def _refine(ranks, folder):
    """Label changes, labels and target of a refinement that starts far from its end."""
    x = torch.from_numpy(blobs(61)[0]).unsqueeze(1)
    samples = HeldSet(np.arange(61), (x - x.mean(0)) / x.std(), torch.arange(61), CPU)
    words = ["dec.n_epochs=4", "dec.batch_size=10", "dec.tol=0", "dec.gamma=0.1", "dec.lr=0.001"]
    settings = load_settings(ROOT / "config.ini", words)
    model = _network()
    with torch.no_grad():
        clustering = ClusteringLayer(model.encoder(samples.x[[0, 3, 6]]))  # all of one class
    context = Context(folder, ranks, StopRequest(), seed=1)
    result = refine(DEC(model, clustering), samples, settings.dec, context)
    return result.changes, result.labels.numpy(), result.target.numpy()


def test_labels_that_change_are_counted_over_all_ranks(on_ranks, tmp_path):
    folders = [tmp_path / name for name in ("one", "three")]
    for folder in folders:
        folder.mkdir()
    changes, labels, target = _refine(ALONE, folders[0])
    assert len([change for change in changes if change > 0.03]) >= 2
    for found in on_ranks(3, _refine, folders[1]):
        assert found[0] == changes
        np.testing.assert_array_equal(found[1], labels)
        np.testing.assert_allclose(found[2], target, atol=1e-4)
        np.testing.assert_allclose(found[2].sum(0), target.sum(0), rtol=1e-4)


# ---- the device ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "setting", "local_rank", "text"),
    [
        (1, "auto", 1, "2 processes need a GPU each, and PyTorch sees 1; start 1, or set run.dev"),
        (2, "cuda", 3, "4 processes need a GPU each, and PyTorch sees 2; start 2, or set run.dev"),
        (1, "cuda:1", 1, "cuda:1: PyTorch sees 1 GPU(s); allowed: auto, cpu, cuda, cuda:0 to"),
        (0, "cuda", 0, "PyTorch sees 0 GPU(s); allowed: auto, cpu"),
    ],
)
def test_a_gpu_that_is_not_there(monkeypatch, found, setting, local_rank, text):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: found > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: found)
    with pytest.raises(SettingsError) as caught:
        choose_device(setting, local_rank)
    assert text in str(caught.value)


def test_every_process_refuses_a_gpu_that_the_last_one_lacks(monkeypatch):
    """Or the first one would wait for the last, which has left."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for name, value in (("WORLD_SIZE", "2"), ("LOCAL_WORLD_SIZE", "2"), ("LOCAL_RANK", "0")):
        monkeypatch.setenv(name, value)
    with (
        pytest.raises(SettingsError, match="2 processes need a GPU each"),
        distributed.start_ranks("auto"),
    ):
        pass
