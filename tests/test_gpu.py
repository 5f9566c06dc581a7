"""CUDA branches on emulated GPUs: devices, host waits, launches, memory, and results of the CPU."""

import shutil

import numpy as np
import pandas
import pytest
import torch
import torch.distributed as dist

from RISCluster.data import loading
from RISCluster.data.layouts import open_spectrograms
from RISCluster.data.loading import Preparation, Reader, SampleSet, load_set
from RISCluster.distributed import Ranks
from RISCluster.errors import Stopped
from RISCluster.models.autoencoder import AEC, DEC, ClusteringLayer, NetworkShape, initialise
from RISCluster.models.features import FixedFeatureSizes
from RISCluster.runtime import StopRequest
from RISCluster.settings import load_settings
from RISCluster.stages.cluster import run_gmm
from RISCluster.stages.predict import open_predictor, predict
from RISCluster.stages.pretrain import run_aec
from RISCluster.stages.refine import run_dec
from RISCluster.training.common import Context, Training
from RISCluster.training.encode import encode
from RISCluster.training.pretrain import pretrain, with_defaults
from RISCluster.training.refine import refine
from tests.conftest import blobs, quick_settings, write_samples
from tests.emulated_cuda import EmulatedCuda
from tests.training.test_training import StopAfter

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
ALONE = Ranks(0, 1, GPU)
N, FIXED = 60, FixedFeatureSizes(2, 2)
# Adam turns rounding of gradients near zero into steps of up to the learning rate.
FAST = "gmm.init=kmeans gmm.n_resamples=none gmm.n_clusters=3 aec.n_components=2 aec.lr=0.0005"
FAST += " aec.schedule=constant"  # with BETAS weights of small gradients follow rounding
PREPARATION = Preparation("sqrt", "vec_norm", torch.full((16, 20), 0.1), 2.0)


@pytest.fixture
def gpu():
    with EmulatedCuda() as emulated:
        yield emulated


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    x, classes = blobs(96)
    x[5] = 0
    return write_samples(tmp_path_factory.mktemp("data") / "small.h5", x, labels=classes)


class Trial:
    """Training of a small network, 4 steps an epoch."""

    def __init__(self, folder, kind, device=GPU, precision="fp32", world=1, stop=None):
        x = torch.from_numpy(blobs(N)[0]).unsqueeze(1)
        x = (x - x.mean()) / x.std()
        self.kind, model = kind, AEC(NetworkShape(16, 20, 3, "linear", FIXED))
        initialise(model, 0)
        model.encoder.fixed.fit(x, x[:, 0].mean(0), 1.0, 1.0, 0, True)
        known = model.encoder.fixed(x)
        if kind == "dec":
            centroids = torch.randn(3, 7, generator=torch.Generator().manual_seed(0))
            model = DEC(model, ClusteringLayer(centroids, torch.eye(7) / 3 + 0.07))
        self.model, self.fixed = model.to(device), known.to(device)
        self.samples = SampleSet(np.arange(N), x.to(device), torch.arange(N, device=device), device)
        words = ["aec.n_epochs=3", "aec.batch_size=16", "dec.n_epochs=3", "dec.batch_size=16"]
        self.settings = load_settings(None, [*words, "dec.tol=0", "dec.updates_per_epoch=1"])
        self.context = Context(folder, Ranks(0, world, device), stop or StopRequest(), 1, precision)

    def run(self):
        """The network after training."""
        if self.kind == "aec":
            validation = self.samples.take(np.arange(20))
            pretrain(self.model, self.samples, validation, self.settings.aec, self.context, 1.0)
        else:
            refine(self.model, self.samples, self.settings.dec, self.context, self.fixed)
        return {name: value.cpu() for name, value in self.model.state_dict().items()}


@pytest.mark.parametrize(("kind", "most"), [("aec", 66), ("dec", 111)])
def test_steps_wait_for_nothing_and_launch_little(tmp_path, gpu, monkeypatch, kind, most):
    seen, step = [], Training.optimizer_step

    def record(training, *words):
        step(training, *words)
        seen.append((training.step, dict(gpu.waits), sum(gpu.launches.values())))
        gpu.clear()

    monkeypatch.setattr(Training, "optimizer_step", record)
    Trial(tmp_path / "r", kind).run()
    assert seen[0][1]  # the loss of the first step of an epoch is read
    within = [(waits, launches) for step, waits, launches in seen if step > 1]
    assert len(within) == 9
    assert not any(waits for waits, _ in within), within
    assert max(launches for _, launches in within) <= most


@pytest.mark.parametrize("kind", ["aec", "dec"])
@pytest.mark.parametrize(("first", "then"), [(GPU, GPU), (GPU, CPU), (CPU, GPU)])
def test_resume_on_any_device(tmp_path, gpu, kind, first, then):
    whole = Trial(tmp_path / "whole", kind).run()
    with pytest.raises(Stopped):
        Trial(tmp_path / "cut", kind, first, stop=StopAfter(2)).run()
    found = Trial(tmp_path / "cut", kind, then).run()
    tolerance = 0 if first == then else 1e-3  # CPUs have a convolution of their own
    for name, value in whole.items():
        torch.testing.assert_close(found[name], value, msg=name, rtol=tolerance, atol=tolerance)


def test_mixed_precision_leaves_soft_assignments_exact(tmp_path, gpu, monkeypatch):
    trial, seen = Trial(tmp_path / "r", "dec", precision="bf16", stop=StopAfter(0)), []
    fixed, forward = trial.model.encoder.fixed(trial.samples.x).cpu(), ClusteringLayer.forward
    trial.fixed = None  # computed in the step

    def record(layer, z):
        q = forward(layer, z)
        with torch.autocast("cuda", enabled=False):
            exact = forward(layer, z.detach().float())
        if torch.is_grad_enabled():
            seen.append([x.detach().cpu() for x in (z, q, exact)])
        return q

    monkeypatch.setattr(ClusteringLayer, "forward", record)
    with pytest.raises(Stopped):  # bf16 gradients of CPUs can be NaN
        trial.run()
    assert seen
    for z, q, exact in seen:
        assert z.dtype == q.dtype == torch.float32
        torch.testing.assert_close(q, exact, atol=1e-6, rtol=0)
        distance = (z[:, None, 3:] - fixed).abs().amax(2).amin(1)  # to the sample it is of
        assert distance.max() < 1e-5


@pytest.mark.parametrize("kind", ["aec", "dec"])
def test_collectives_get_tensors_of_the_gpu(tmp_path, gpu, monkeypatch, kind):
    devices = []

    def all_gather_object(parts, part):
        parts[:] = [part] * len(parts)

    monkeypatch.setattr(dist, "all_reduce", lambda tensor: devices.append(tensor.device))
    monkeypatch.setattr(dist, "all_gather_object", all_gather_object)
    trial = Trial(tmp_path / "r", kind, world=2)
    latents = trial.model.encoder(trial.samples.x).detach() if kind == "dec" else None
    monkeypatch.setattr("RISCluster.training.refine.encode", lambda *_: latents)
    trial.run()
    assert len(devices) > 12
    assert set(devices) == {GPU}


def test_out_of_memory_in_a_collective_is_no_lost_process(monkeypatch):
    def fail(tensor):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(dist, "all_reduce", fail)
    with pytest.raises(torch.OutOfMemoryError):
        Ranks(0, 2, CPU).sum(torch.ones(1))


def test_encoding_waits_once(tmp_path, gpu):
    trial = Trial(tmp_path / "r", "aec")
    gpu.clear()
    z = encode(trial.model.encoder, trial.samples, ALONE, trial.fixed)
    assert (z.device, tuple(z.shape)) == (GPU, (N, 7))
    assert sum(gpu.waits.values()) == 1, gpu.waits


def test_batches_are_larger_on_a_gpu():
    given = load_settings(None).aec
    expected = (50, 16, 320, 320), (1000, 16, 32, 50), (3200, 32, 20, 50), (500_000, 1024, 20, 40)
    for n, batch_size, *epochs in expected:
        settings, without = (with_defaults(given, n, GPU, has_fixed=x) for x in (True, False))
        assert [settings.n_epochs, without.n_epochs] == epochs
        assert (settings.schedule, settings.batch_size) == ("onecycle", batch_size)
        assert settings.lr == pytest.approx(0.0055 * (batch_size / 64) ** 0.5)
        assert with_defaults(given, n, CPU).batch_size == min(batch_size, 64)


@pytest.mark.parametrize(("mode", "most"), [("device", 1), ("ram", 0), ("disk", 7)])
def test_batches_are_on_the_gpu(data, gpu, mode, most):
    with open_spectrograms(data) as file:
        samples, unusable = load_set(Reader(file, PREPARATION, GPU), np.arange(96), mode, ALONE)
        assert unusable.tolist() == [5]
        for batches in (samples.epoch(0, 0, 16, ALONE), samples.in_order(0, 95, 16)):
            gpu.clear()
            parts = list(batches)
            assert {x.device for part in parts for x in part} == {GPU}
            assert sum(len(positions) for positions, _ in parts) == 95
            assert sum(gpu.waits.values()) <= most, gpu.waits  # for the order, once an epoch


def test_reading_waits_once_for_a_thousand_samples(tmp_path, gpu):
    with open_spectrograms(write_samples(tmp_path / "s.h5", blobs(2000)[0])) as file:
        gpu.clear()
        blocks = Reader(file, PREPARATION, GPU).blocks(np.arange(2000))
        assert [len(index) for index, _ in blocks] == [1024, 976]
    assert gpu.waits["copy to cpu"] == 2, gpu.waits


@pytest.mark.parametrize("room", [0.5, 1.02])  # for half of the set; for no more than the set
def test_full_gpu_falls_back_to_memory(tmp_path, gpu, monkeypatch, room):
    path, choose = write_samples(tmp_path / "s.h5", blobs(2000)[0]), loading.choose_loadmode

    def optimistic(setting, n_bytes, device):  # other processes take what was free
        return "device" if device == GPU else choose(setting, n_bytes, device)

    monkeypatch.setattr(loading, "choose_loadmode", optimistic)
    monkeypatch.setattr(loading, "GPU_ROWS", 128)
    gpu.memory = room * 2000 * 4 * 16 * 20
    with open_spectrograms(path) as file:
        samples, _ = load_set(Reader(file, PREPARATION, GPU), np.arange(2000), "auto", ALONE)
        assert (samples.x.device, len(samples)) == (CPU, 2000)
        del samples
    assert gpu.allocated == 0


def results(data, folder, *words):
    """Weights, latents and labels of the three stages."""
    settings, found = quick_settings(folder, f"data.file={data}", *FAST.split(), *words), {}
    for stage in (run_aec, run_gmm, run_dec):
        stage(settings)
    for stage in ("GMM", "DEC"):
        path = settings.run_folder / stage
        found[f"{stage} labels"] = torch.tensor(pandas.read_csv(path / "labels.csv").label)
        found[f"{stage} latents"] = torch.from_numpy(np.load(path / "latent.npy")).nan_to_num()
    for stage in ("AEC", "DEC"):
        found[stage] = torch.load(settings.run_folder / stage / "model.pt")["state"]
    return found


@pytest.fixture(scope="module")
def on_cpu(data, tmp_path_factory):
    return results(data, tmp_path_factory.mktemp("cpu"))


@pytest.mark.parametrize("mode", ["device", "disk"])
def test_run_equals_that_of_the_cpu(data, tmp_path, on_cpu, gpu, mode):
    found = results(data, tmp_path, f"data.loadmode={mode}", "run.device=cuda")
    torch.testing.assert_close(found, on_cpu, rtol=1e-2, atol=1e-3)
    folder = tmp_path / "Outputs/test"
    for stage in ("GMM", "DEC"):
        new = tmp_path / f"{stage}.csv"
        with open_predictor(folder, stage, ["run.device=cuda"]) as run:
            predict(run, data, new, False)
        assert len(new.read_text().splitlines()) == 97
    assert '"gpu": "emulated GPU"' in (folder / "DEC/provenance.json").read_text()
    shutil.rmtree(folder)
    del run
    assert gpu.allocated < 10_000
