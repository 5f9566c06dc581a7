"""Rates of the three stages against a plain loop, in one run on one machine.

The plain loop does what common implementations do: a data set object that opens the HDF5 file for
every sample, default collation, contiguous layout, two numbers read back at every step, and the
whole autoencoder with gradients on to get latents. Both sides have the same network, samples,
batch size, optimiser and number of threads. Each has a process of its own; they take turns, and
the ratio is the median of those turn by turn.

    python benchmarks/three_stages.py                        a table; about ten minutes
    python benchmarks/three_stages.py --samples 4000 --json rates.json
"""

import argparse
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
import RISCluster  # noqa: F401  isort: skip  (sets up OpenMP before torch is loaded)
import h5py
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from RISCluster.data.layouts import open_spectrograms
from RISCluster.data.loading import Reader, load_set
from RISCluster.data.synthetic import write_demo
from RISCluster.data.transforms import Preparation
from RISCluster.distributed import Ranks
from RISCluster.models.autoencoder import AEC, DEC, ClusteringLayer, NetworkShape, initialise
from RISCluster.models.clustering import kl_divergence, target_distribution
from RISCluster.runtime import StopRequest, keep_freed_memory
from RISCluster.settings import load_settings
from RISCluster.training.common import Context
from RISCluster.training.encode import encode
from RISCluster.training.pretrain import pretrain
from RISCluster.training.refine import refine

ROOT = Path(__file__).parent.parent
BATCH = 64
CLUSTERS = 8


class OpenForEverySample(Dataset):
    """Opens the file for every sample, and scales it to unit norm."""

    def __init__(self, path: Path, n: int):
        self.path, self.n = path, n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> tuple[int, torch.Tensor]:
        with h5py.File(self.path, "r") as file:
            x = torch.from_numpy(file["spectrogram"][index])
        return index, (x / x.norm()).unsqueeze(0)


class Side:
    """What both sides can be asked to do."""

    def whole(self) -> None:
        """A short run of all stages but the mixture, which is scikit-learn's on both sides."""
        for _ in range(5):
            self.train()
        self.encode()
        for _ in range(2):
            self.dec_epoch()


class Plain(Side):
    """The plain loops."""

    def __init__(self, path: Path, n: int):
        self.data = OpenForEverySample(path, n)
        aec = new_network().to(memory_format=torch.contiguous_format)
        self.model = DEC(aec, ClusteringLayer(start_centroids()))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)

    def aec(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The whole autoencoder, in contiguous layout throughout."""
        z = self.model.encoder(x)
        decoder = self.model.decoder
        image = decoder.decoder(decoder.latent2dec(z).view(-1, 128, 3, 3))
        return image[:, :, 4:-4, 1:], z

    def load(self) -> None:
        for _ in DataLoader(self.data, batch_size=BATCH):
            pass

    def train(self) -> None:
        for _, x in DataLoader(self.data, batch_size=BATCH, shuffle=True):
            self.optimizer.zero_grad()
            reconstruction, _ = self.aec(x)
            loss = torch.nn.functional.mse_loss(reconstruction, x)
            loss.backward()
            self.optimizer.step()
            loss.item()

    def encode(self) -> torch.Tensor:
        latents = []
        for _, x in DataLoader(self.data, batch_size=BATCH):
            _, z = self.aec(x)
            latents.append(z.detach())
        return torch.cat(latents)

    def dec_epoch(self) -> None:
        loader = DataLoader(self.data, batch_size=BATCH)
        due = (0, len(loader) // 2)
        for step, (index, x) in enumerate(loader):
            if step in due:
                target = target_distribution(self.model.clustering(self.encode()).detach())
            self.optimizer.zero_grad()
            reconstruction, z = self.aec(x)
            q = self.model.clustering(z)
            mse = torch.nn.functional.mse_loss(reconstruction, x)
            loss = mse + 1e-3 * kl_divergence(target[index], q) / len(x)
            loss.backward()
            self.optimizer.step()
            loss.item(), mse.item()


class Ours(Side):
    """The package's loops, on samples held in memory, as the stages hold them."""

    def __init__(self, path: Path, n: int, folder: Path):
        self.ranks = Ranks(0, 1, torch.device("cpu"))
        self.file = open_spectrograms(path)
        self.index = np.arange(n)
        self.folder = folder
        self.samples = self.load()
        few = self.samples.take(np.arange(BATCH))
        one_epoch = ["aec.n_epochs=1", "dec.n_epochs=1", "dec.tol=0"]
        self.settings = load_settings(ROOT / "config.ini", one_epoch)
        self.context = Context(folder, self.ranks, StopRequest(), seed=0)
        self.aec, self.validation = new_network(), few

    def load(self):
        reader = Reader(self.file, Preparation("linear", "vec_norm"), self.ranks.device)
        return load_set(reader, self.index, "ram", self.ranks)[0]

    def _fresh(self) -> None:
        (self.folder / "last.pt").unlink(missing_ok=True)

    def train(self) -> None:
        self._fresh()
        settings, context = self.settings.aec, self.context
        pretrain(self.aec, self.samples, self.validation, settings, context, 1.0)

    def encode(self) -> None:
        encode(self.aec.encoder, self.samples, self.ranks)

    def dec_epoch(self) -> None:
        self._fresh()
        model = DEC(self.aec, ClusteringLayer(start_centroids()))
        refine(model, self.samples, self.settings.dec, self.context)


def new_network() -> AEC:
    model = AEC(NetworkShape(87, 100, 9, "linear"))
    initialise(model, 0)
    return model


def start_centroids() -> torch.Tensor:
    return torch.randn(CLUSTERS, 9, generator=torch.Generator().manual_seed(0))


SIDE: Plain | Ours  # of a worker process


def start_worker(kind: type, arguments: tuple) -> None:
    global SIDE
    if kind is Ours:
        keep_freed_memory()  # as the stages do
    SIDE = kind(*arguments)


def seconds(task: str) -> float:
    began = time.perf_counter()
    getattr(SIDE, task)()
    return time.perf_counter() - began


class Worker:
    """One side in a process of its own, so that neither feels the other's settings."""

    def __init__(self, kind: type, *arguments: object):
        context = multiprocessing.get_context("spawn")
        self.pool = context.Pool(1, start_worker, (kind, arguments))

    def seconds(self, task: str) -> float:
        return self.pool.apply(seconds, (task,))

    def close(self) -> None:
        self.pool.terminate()


def compare(name: str, n: int, task: str, sides: tuple[Worker, Worker], rounds: int) -> dict:
    plain, ours = sides
    for side in sides:
        side.seconds(task)  # warm-up: caches, thread pools, the library's choice of kernels
    times = [(plain.seconds(task), ours.seconds(task)) for _ in range(rounds)]
    plain_times, our_times = zip(*times, strict=True)
    row = {
        "what": name,
        "samples": n,
        "plain_per_s": n / statistics.median(plain_times),
        "ours_per_s": n / statistics.median(our_times),
        "ratio": statistics.median(a / b for a, b in times),
        "ratios": [a / b for a, b in times],
    }
    print(
        f"{name:<32}{row['plain_per_s']:>12,.0f}{row['ours_per_s']:>12,.0f}{row['ratio']:>8.1f}"
        f"   ({min(row['ratios']):.1f} to {max(row['ratios']):.1f})",
        flush=True,
    )
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--samples", type=int, default=4000, help="samples to train and encode")
    parser.add_argument("--loaded", type=int, default=20000, help="samples to load")
    parser.add_argument("--rounds", type=int, default=5, help="turns each side takes")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    arguments = parser.parse_args()
    n, loaded, rounds = arguments.samples, arguments.loaded, arguments.rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = write_demo(folder / "set.h5", n_samples=max(n, loaded))
        print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads, batch {BATCH}")
        print(f"{'samples/s, median':<32}{'plain':>12}{'ours':>12}{'ratio':>8}   (range)")
        many = Worker(Plain, path, loaded), Worker(Ours, path, loaded, folder)
        rows = [compare("load from HDF5", loaded, "load", many, rounds)]
        few = Worker(Plain, path, n), Worker(Ours, path, n, folder)
        rows += [
            compare("AEC training", n, "train", few, rounds),
            compare("encoding, samples in memory", n, "encode", few, rounds),
            compare("DEC epoch, two refreshes", n, "dec_epoch", few, rounds),
            compare("5 AEC epochs, encode, 2 DEC", n, "whole", few, rounds),
        ]
        for worker in (*many, *few):
            worker.close()
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
