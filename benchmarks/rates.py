"""Rate of every part of the stages against what this machine and PyTorch can do, in one run.

    python benchmarks/rates.py                                   4,000 samples; some minutes
    python benchmarks/rates.py --device cuda                     on a GPU
    python benchmarks/rates.py --rates-only --turns 1 --sizes 2000,20000,200000 --plot growth.png

Columns: rate here; that of a bare loop of PyTorch on samples that are prepared and in place
already (where there is such a thing); the limit that arithmetic or memory sets, measured by a
matrix product, a copy and a sequential read in the same process; peak memory. Each row has a
process of its own. `three_stages.py` has the comparison with a plain loop.
"""

import argparse
import json
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
import RISCluster  # noqa: F401  isort: skip  (sets up OpenMP before torch is loaded)
import numpy as np
import torch

from RISCluster.clustering.initialisation import MAX_MAP_SIZE
from RISCluster.clustering.mixture import fit_kmeans, fit_mixture
from RISCluster.data.layouts import open_spectrograms
from RISCluster.data.loading import HeldSet, Reader, load_set
from RISCluster.data.synthetic import write_demo
from RISCluster.data.transforms import Preparation
from RISCluster.distributed import Ranks
from RISCluster.evaluation.mapping import mapped
from RISCluster.evaluation.metrics import MEASURED, silhouettes
from RISCluster.evaluation.representatives import drawn_members, medoids
from RISCluster.io import open_rows
from RISCluster.models.autoencoder import AEC, DEC, ClusteringLayer, NetworkShape, initialise
from RISCluster.models.clustering import target_distribution
from RISCluster.plots import latent, samples
from RISCluster.runs.labels import usable_sample
from RISCluster.runtime import StopRequest, keep_freed_memory
from RISCluster.settings import load_settings
from RISCluster.stages.cluster import run_gmm
from RISCluster.stages.pretrain import run_aec
from RISCluster.stages.refine import run_dec
from RISCluster.training.common import Context
from RISCluster.training.encode import encode
from RISCluster.training.pretrain import pretrain
from RISCluster.training.refine import refine

# Of the paper's network at 87 x 100, counted by hand from its layers.
FLOP_TRAIN, FLOP_ENCODE = 34.0e6, 5.8e6
BYTES = 4 * 87 * 100
CLUSTERS = 8
LONG = 20.0  # seconds; what takes longer is not warmed up

Measured = tuple[float, float | None, float | None]  # seconds here, seconds bare, samples/s at most


class Bench:
    """What the rows measure, on one device."""

    def __init__(self, path: Path, n: int, task: "Task", folder: Path):
        keep_freed_memory()
        self.path, self.n, self.turns, self.folder = path, n, task.turns, folder
        self.rates_only, device = task.rates_only, task.device
        self.ranks = Ranks(0, 1, torch.device(device))
        self.rng = np.random.default_rng(0)

    # ---- helpers ----

    def seconds(self, work: Callable[[], object]) -> float:
        """Median time of some turns, after one that warms up where it is short."""
        times = []
        for _ in range(self.turns + 1):
            times.append(self._once(work))
            if len(times) == self.turns and times[0] > LONG:
                return statistics.median(times)
        return statistics.median(times[1:])

    def compared(
        self, ours: Callable[[], object], other: Callable[[], object]
    ) -> tuple[float, float | None]:
        """`seconds` of both, in turns where the other is wanted."""
        if self.rates_only:
            return self.seconds(ours), None
        times = [(self._once(ours), self._once(other)) for _ in range(self.turns + 1)]
        return tuple(statistics.median(column) for column in zip(*times[1:], strict=True))

    def limit(self, rate: Callable[[], float], cost: float) -> float | None:
        """Samples a second that a measured rate allows, where that is wanted."""
        return None if self.rates_only else rate() / cost

    def _once(self, work: Callable[[], object]) -> float:
        self._wait()
        begin = time.perf_counter()
        work()
        self._wait()
        return time.perf_counter() - begin

    def _wait(self) -> None:
        if self.ranks.device.type == "cuda":
            torch.cuda.synchronize()

    def matrix_rate(self) -> float:
        """Operations a second of a product of large matrices."""
        size = 2048 if self.ranks.device.type == "cpu" else 8192
        a = torch.rand(size, size, device=self.ranks.device)
        return 2 * size**3 / self.seconds(lambda: a @ a)

    def copy_rate(self) -> float:
        """Bytes a second that a copy reads and writes."""
        a = torch.rand(2**26, device=self.ranks.device)
        b = torch.empty_like(a)
        return 2 * 4 * len(a) / self.seconds(lambda: b.copy_(a))

    def samples(self) -> HeldSet:
        """Random samples on the device, as `load_set` would hold them."""
        x = torch.rand(self.n, 1, 87, 100, device=self.ranks.device)
        rows = torch.arange(self.n, device=self.ranks.device)
        return HeldSet(np.arange(self.n), x, rows, self.ranks.device)

    def network(self) -> AEC:
        model = AEC(NetworkShape(87, 100, 9, "linear"))
        initialise(model, 0)
        return model.to(self.ranks.device)

    def dec(self) -> DEC:
        centroids = torch.from_numpy(self.rng.standard_normal((CLUSTERS, 9))).float()
        return DEC(self.network(), ClusteringLayer(centroids)).to(self.ranks.device)

    def latents(self) -> np.ndarray:
        labels = self.rng.integers(0, CLUSTERS, self.n)
        centres = 6 * self.rng.standard_normal((CLUSTERS, 9))
        return centres[labels] + self.rng.standard_normal((self.n, 9))

    def context(self) -> Context:
        (self.folder / "last.pt").unlink(missing_ok=True)
        return Context(self.folder, self.ranks, StopRequest(), seed=0)

    # ---- rows ----

    def load(self) -> Measured:
        """Open the file and bring every sample to memory, prepared."""

        def work() -> None:
            with open_spectrograms(self.path) as file:
                reader = Reader(file, Preparation("sqrt", "vec_norm"), self.ranks.device)
                mode = "ram" if self.ranks.device.type == "cpu" else "device"
                load_set(reader, np.arange(self.n), mode, self.ranks)

        def read() -> None:
            buffer = bytearray(2**22)
            left = self.n * BYTES
            with self.path.open("rb", buffering=0) as file:
                while left > 0:
                    left -= file.readinto(buffer) or left

        seconds, limit = self.compared(work, read)
        return seconds, None, limit and self.n / limit

    def transform(self) -> Measured:
        """Square root, unit norm, standardising; of samples in memory, some at a time."""
        x = self.samples().x[:, 0]
        mean = x.mean(0)
        prepare = Preparation("sqrt", "vec_norm", mean, 0.01)
        work = self.seconds(lambda: [prepare(part) for part in x.split(128)])
        return work, None, self.limit(self.copy_rate, 2 * BYTES)

    def train(self, batch: int) -> Measured:
        """An epoch of the autoencoder, its state saved at the end."""
        samples, model = self.samples(), self.network()
        words = ["aec.n_epochs=1", f"aec.batch_size={batch}", f"aec.patience={10**6}"]
        settings = load_settings(None, words).aec
        few = samples.take(np.arange(64))

        def work() -> None:
            pretrain(model, samples, few, settings, self.context(), 1.0)

        bare = self.network()
        optimizer = torch.optim.Adam(bare.parameters(), lr=1e-3, fused=True)

        def plain() -> None:
            for x in samples.x.split(batch):
                optimizer.zero_grad(set_to_none=True)
                torch.nn.functional.mse_loss(bare(x)[0], x).backward()
                optimizer.step()

        return *self.compared(work, plain), self.limit(self.matrix_rate, FLOP_TRAIN)

    def encode(self) -> Measured:
        """Latents of every sample."""
        samples, model = self.samples(), self.network()

        def work() -> None:
            encode(model.encoder, samples, self.ranks, what="")

        def plain() -> None:
            with torch.inference_mode():
                for x in samples.x.split(256):
                    model.encoder(x)

        return *self.compared(work, plain), self.limit(self.matrix_rate, FLOP_ENCODE)

    def refresh(self) -> Measured:
        """Soft assignment and target distribution of latents that are there."""
        model = self.dec()
        z = torch.from_numpy(self.latents()).float().to(self.ranks.device)
        with torch.no_grad():
            return self.seconds(lambda: target_distribution(model.clustering(z))), None, None

    def dec_epoch(self) -> Measured:
        """An epoch of DEC with two refreshes."""
        samples, model = self.samples(), self.dec()
        settings = load_settings(None, ["dec.n_epochs=1", "dec.tol=0"]).dec
        work = self.seconds(lambda: refine(model, samples, settings, self.context()))
        return work, None, self.limit(self.matrix_rate, FLOP_TRAIN + 2 * FLOP_ENCODE)

    def mixtures(self) -> Measured:
        """K-means of ten restarts and a mixture, for one K."""
        latents = self.latents()

        def work() -> None:
            fit_mixture(latents, fit_kmeans(latents, CLUSTERS, 10, 0).labels_, CLUSTERS)

        return self.seconds(work), None, None

    def silhouette(self) -> Measured:
        """Of as many samples as a stage measures."""
        latents = self.latents()[:MEASURED]
        labels = self.rng.integers(0, CLUSTERS, len(latents))
        return self.seconds(lambda: silhouettes(latents, labels)), None, None

    def embedding(self) -> Measured:
        """t-SNE of at most 3,000 latents, and its figure."""
        np.save(self.folder / "latent.npy", self.latents().astype(np.float32))
        labels = self.rng.integers(0, CLUSTERS, self.n)

        def work() -> None:
            latents, sizes = open_rows(self.folder / "latent.npy"), np.ones(CLUSTERS, int)
            index = usable_sample(labels, MAX_MAP_SIZE, 0)
            points = mapped(latents[index], "tsne", 0)
            latent.embedding(points, labels[index], sizes, "").savefig(self.folder / "e.png")

        return self.seconds(work), None, None

    def gallery(self) -> Measured:
        """Typical members of each cluster found, read, drawn and written."""
        latents = self.latents().astype(np.float32)
        np.save(self.folder / "latent.npy", latents)
        labels = self.rng.integers(0, CLUSTERS, self.n)

        def work() -> None:
            rows, members = open_rows(self.folder / "latent.npy"), []
            with open_spectrograms(self.path) as file:
                for drawn in drawn_members(labels, CLUSTERS, 400, 0):
                    index = drawn[medoids(rows[drawn].astype(float), np.ones(len(drawn)), 8)]
                    images = [file.read(int(i), int(i) + 1) for i in index]
                    members.append(np.concatenate(images))
                sizes = np.bincount(labels).tolist()
                page = samples.gallery(file, members, list(range(CLUSTERS)), sizes, 8, "")
                page.savefig(self.folder / "g.png", dpi=120)

        return self.seconds(work), None, None

    def whole(self) -> Measured:
        """All three stages with their figures and files: 5 epochs, K from 2 to 10, 2 epochs."""

        def work() -> None:
            with tempfile.TemporaryDirectory() as folder:
                words = [f"run.folder={folder}", f"data.file={self.path}", "aec.n_epochs=5"]
                words += ["gmm.n_clusters=2-10", "gmm.n_init=10", "dec.n_epochs=2", "dec.tol=0"]
                words += [f"run.device={self.ranks.device.type}"]
                settings = load_settings(None, words)
                for stage in (run_aec, run_gmm, run_dec):
                    stage(settings)

        return self.seconds(work), None, None


ROWS: dict[str, tuple[str, tuple]] = {
    "open and load": ("load", ()),
    "transform": ("transform", ()),
    "AEC training, batch 64": ("train", (64,)),
    "AEC training, batch 256": ("train", (256,)),
    "AEC training, batch 512": ("train", (512,)),
    "AEC training, batch 2048": ("train", (2048,)),
    "encode": ("encode", ()),
    "target refresh": ("refresh", ()),
    "DEC epoch, batch 64": ("dec_epoch", ()),
    "k-means and mixture, one K": ("mixtures", ()),
    "silhouette": ("silhouette", ()),
    "t-SNE and its figure": ("embedding", ()),
    "gallery": ("gallery", ()),
    "whole run": ("whole", ()),
}


@dataclass(frozen=True)
class Task:
    """How rows are measured."""

    device: str
    turns: int
    rates_only: bool


def measure(row: str, path: Path, n: int, task: Task) -> dict:
    """A row, in a process of its own."""
    method, arguments = ROWS[row]
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(path, n, task, Path(folder))
        seconds, bare, most = getattr(bench, method)(*arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    on_device = torch.cuda.max_memory_allocated() if task.device != "cpu" else 0
    return {
        "what": row, "samples": n, "per_s": n / seconds, "bare_per_s": bare and n / bare,
        "limit_per_s": most, "peak_bytes": peak, "peak_device_bytes": on_device,
    }  # fmt: skip


def show(row: dict) -> None:
    def cell(key: str) -> str:
        return f"{row[key]:>14,.0f}" if row[key] else f"{'':>14}"

    shares = "".join(
        f"{row['per_s'] / row[key]:>8.2f}" if row[key] else f"{'':>8}"
        for key in ("bare_per_s", "limit_per_s")
    )
    size = (row["peak_bytes"] + row["peak_device_bytes"]) / 1e9
    print(
        f"{row['what']:<28}{row['samples']:>9,}{cell('per_s')}{cell('bare_per_s')}"
        f"{cell('limit_per_s')}{shares}{size:>8.2f}",
        flush=True,
    )


def plot(rows: list[dict], path: Path) -> None:
    """Seconds of each row over the number of samples."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.subplots()
    lines = {}
    for number, what in enumerate(ROWS):
        mine = [row for row in rows if row["what"] == what]
        if len(mine) > 1:
            n = [row["samples"] for row in mine]
            seconds = [row["samples"] / row["per_s"] for row in mine]
            colour, marker = colormaps["tab20"](number), "os^Dv<>pPX*hd8"[number]
            (line,) = axes.loglog(n, seconds, marker + "-", color=colour, label=what)
            lines[line] = seconds[-1]
    axes.set(xlabel="Samples of 87 x 100", ylabel="Seconds (training: of an epoch)")
    axes.grid(alpha=0.25)
    slowest_first = sorted(lines, key=lines.get, reverse=True)
    axes.legend(
        handles=slowest_first, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8
    )
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", default="4000", metavar="N,N", help="samples")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--rows", default="", help="only rows whose name has this in it")
    parser.add_argument("--rates-only", action="store_true", help="no bare loops, no limits")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads, {arguments.device}")
    print(
        f"{'medians':<28}{'samples':>9}{'here /s':>14}{'bare /s':>14}{'limit /s':>14}{'of bare':>8}"
        f"{'of lim.':>8}{'GB':>8}"
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for n in (int(text) for text in arguments.sizes.split(",")):
            path = write_demo(Path(folder) / "set.h5", n_samples=n)
            for row in ROWS:
                if arguments.rows in row:
                    task = Task(arguments.device, arguments.turns, arguments.rates_only)
                    context = multiprocessing.get_context("spawn")
                    with context.Pool(1) as pool:
                        rows.append(pool.apply(measure, (row, path, n, task)))
                    show(rows[-1])
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")
    if arguments.plot:
        plot(rows, arguments.plot)


if __name__ == "__main__":
    main()
