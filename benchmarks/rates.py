"""Rate of every part of the stages, and against the plain loops of common implementations.

    python benchmarks/rates.py                                   4,000 samples; some minutes
    python benchmarks/rates.py --plain --rows @                  the rows with a plain loop
    python benchmarks/rates.py --device cuda                     on a GPU
    python benchmarks/rates.py --turns 1 --sizes 2000,20000,200000 --plot growth.png

Columns: samples a second here; with --plain in what common implementations do (a data set object
that opens the HDF5 file for every sample, default collation, contiguous layout, two numbers read
back at every step, the whole autoencoder with gradients on to get latents), and the rate here over
that. Both take turns, after one call each; the ratio is the median of those turn by turn.
"""

import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from common import h5py, in_turns, np, numbers, parser, ratio, row, seconds  # isort: skip
import torch  # after OpenMP was set up
from torch.utils.data import DataLoader, Dataset

from RISCluster.clustering.initialisation import MAX_TREE_SIZE
from RISCluster.clustering.mixture import fit_kmeans, fit_mixture
from RISCluster.data.layouts import open_spectrograms
from RISCluster.data.loading import Preparation, Reader, SampleSet, load_set
from RISCluster.data.sets import draw_usable
from RISCluster.data.synthetic import write_demo
from RISCluster.distributed import Ranks
from RISCluster.evaluation.samples import mapped
from RISCluster.io import open_rows
from RISCluster.models.assignment import kl_divergence, target_distribution
from RISCluster.models.autoencoder import AEC, DEC, ClusteringLayer, NetworkShape, initialise
from RISCluster.plots import latent
from RISCluster.runtime import StopRequest, keep_freed_memory
from RISCluster.settings import load_settings
from RISCluster.stages.cluster import run_gmm
from RISCluster.stages.pretrain import run_aec
from RISCluster.stages.refine import run_dec
from RISCluster.training.common import Context
from RISCluster.training.encode import encode
from RISCluster.training.pretrain import pretrain
from RISCluster.training.refine import refine

BATCH, CLUSTERS = 64, 8
Work = Callable[[], object]


class Bench:
    """Makes the work of each part for `n` random samples on a device."""

    def __init__(self, path: Path, n: int, device: str, folder: Path):
        self.path, self.n, self.folder = path, n, folder
        self.ranks = Ranks(0, 1, torch.device(device))
        self.rng = np.random.default_rng(0)

    def samples(self) -> SampleSet:
        """On the device, as `load_set` would hold them."""
        x = torch.rand(self.n, 1, 87, 100, device=self.ranks.device)
        rows = torch.arange(self.n, device=self.ranks.device)
        return SampleSet(np.arange(self.n), x, rows, self.ranks.device)

    def network(self) -> AEC:
        model = AEC(NetworkShape(87, 100, 9, "linear"))
        initialise(model, 0)
        return model.to(self.ranks.device)

    def dec(self) -> DEC:
        centroids = torch.from_numpy(self.rng.standard_normal((CLUSTERS, 9))).float()
        return DEC(self.network(), ClusteringLayer(centroids)).to(self.ranks.device)

    def latents(self) -> tuple[np.ndarray, np.ndarray]:
        """Of clusters, also in a file, and random labels."""
        centres = 6 * self.rng.standard_normal((CLUSTERS, 9))
        z = centres[np.arange(self.n) % CLUSTERS] + self.rng.standard_normal((self.n, 9))
        np.save(self.folder / "latent.npy", z.astype(np.float32))
        return z, self.rng.integers(0, CLUSTERS, self.n)

    def context(self) -> Context:
        (self.folder / "last.pt").unlink(missing_ok=True)
        return Context(self.folder, self.ranks, StopRequest(), seed=0)

    def load(self) -> Work:
        def work() -> None:
            with open_spectrograms(self.path) as file:
                reader = Reader(file, Preparation("sqrt", "vec_norm"), self.ranks.device)
                mode = "ram" if self.ranks.device.type == "cpu" else "device"
                load_set(reader, np.arange(self.n), mode, self.ranks)

        return work

    def train(self, batch: int = BATCH) -> Work:
        samples, model = self.samples(), self.network()
        words = ["aec.n_epochs=1", f"aec.batch_size={batch}", f"aec.patience={10**6}"]
        settings, few = load_settings(None, words).aec, samples.take(np.arange(64))
        return lambda: pretrain(model, samples, few, settings, self.context(), 1.0)

    def encode(self) -> Work:
        samples, model = self.samples(), self.network()
        return lambda: encode(model.encoder, samples, self.ranks)

    def dec_epoch(self) -> Work:
        samples, model = self.samples(), self.dec()
        settings = load_settings(None, ["dec.n_epochs=1", "dec.tol=0"]).dec
        return lambda: refine(model, samples, settings, self.context())

    def loops(self) -> Work:
        """A short run of all stages but the mixture."""
        works = [*[self.train()] * 5, self.encode(), *[self.dec_epoch()] * 2]
        return lambda: [work() for work in works]

    def mixtures(self) -> Work:
        z, _ = self.latents()
        return lambda: fit_mixture(z, fit_kmeans(z, CLUSTERS, 10, 0).labels_, CLUSTERS)

    def embedding(self) -> Work:
        _, labels = self.latents()

        def work() -> None:
            latents, titles = open_rows(self.folder / "latent.npy"), [*map(str, range(CLUSTERS))]
            index = draw_usable(labels >= 0, MAX_TREE_SIZE, 0)
            points = mapped(latents[index], "tsne", 0)
            latent.embedding(points, labels[index], titles, "").savefig(self.folder / "e.png")

        return work

    def whole(self) -> Work:
        """All three stages with their figures and files: 5 epochs, K from 2 to 10, 2 epochs."""

        def work() -> None:
            with tempfile.TemporaryDirectory() as folder:
                words = [f"run.folder={folder}", f"data.file={self.path}", "aec.n_epochs=5"]
                words += ["gmm.n_clusters=2-10", "gmm.n_init=10", "dec.n_epochs=2", "dec.tol=0"]
                settings = load_settings(None, [*words, f"run.device={self.ranks.device.type}"])
                for stage in (run_aec, run_gmm, run_dec):
                    stage(settings)

        return work


class Plain(Dataset):
    """The plain loops, and the data set that opens the file for every sample."""

    def __init__(self, path: Path, n: int):
        self.path, self.n = path, n
        aec = AEC(NetworkShape(87, 100, 9, "linear"))
        initialise(aec, 0)
        layer = ClusteringLayer(torch.randn(CLUSTERS, 9))
        self.model = DEC(aec.to(memory_format=torch.contiguous_format), layer)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> tuple[int, torch.Tensor]:
        with h5py.File(self.path, "r") as file:
            x = torch.from_numpy(file["spectrogram"][index])
        return index, (x / x.norm()).unsqueeze(0)

    def aec(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The whole autoencoder, in contiguous layout throughout."""
        z = self.model.encoder(x)
        decoder = self.model.decoder
        image = decoder.decoder(decoder.latent2dec(z).view(-1, 128, 3, 3))
        return image[:, :, 4:-4, 1:], z

    def step(self, loss: torch.Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        loss.item()

    def load(self) -> None:
        for _ in DataLoader(self, batch_size=BATCH):
            pass

    def train(self) -> None:
        for _, x in DataLoader(self, batch_size=BATCH, shuffle=True):
            self.step(torch.nn.functional.mse_loss(self.aec(x)[0], x))

    def encode(self) -> torch.Tensor:
        return torch.cat([self.aec(x)[1].detach() for _, x in DataLoader(self, BATCH)])

    def dec_epoch(self) -> None:
        loader = DataLoader(self, batch_size=BATCH)
        for number, (index, x) in enumerate(loader):
            if number in (0, len(loader) // 2):
                target = target_distribution(self.model.clustering(self.encode()).detach())
            reconstruction, z = self.aec(x)
            mse = torch.nn.functional.mse_loss(reconstruction, x)
            kl = kl_divergence(target[index], self.model.clustering(z))
            self.step(mse + 1e-3 * kl / len(x))
            mse.item()

    def loops(self) -> None:
        for work in (*[self.train] * 5, self.encode, *[self.dec_epoch] * 2):
            work()


# Method and its arguments; rows with @ have a plain loop of the same name.
ROWS: dict[str, tuple] = {
    "open and load @": ("load",),
    "AEC training, batch 64 @": ("train", 64),
    "AEC training, batch 256": ("train", 256),
    "AEC training, batch 512": ("train", 512),
    "AEC training, batch 2048": ("train", 2048),
    "encode @": ("encode",),
    "DEC epoch, batch 64 @": ("dec_epoch",),
    "5 AEC, encode, 2 DEC @": ("loops",),
    "k-means and mixture, one K": ("mixtures",),
    "t-SNE and its figure": ("embedding",),
    "whole run": ("whole",),
}


def measure(what: str, path: Path, n: int, given: object) -> tuple[float, float, float]:
    """Samples a second here and in the plain loop, and their ratio; NaN without one."""
    method, *arguments = ROWS[what]
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(path, n, given.device, Path(folder))
        works = {"here": getattr(bench, method)(*arguments)}
        if given.plain and "@" in what:
            works["plain"] = getattr(Plain(path, n), method)

        def timed(work: Work) -> float:
            return seconds(lambda: (work(), given.device == "cuda" and torch.cuda.synchronize()))

        works = {name: lambda work=work: timed(work) for name, work in works.items()}
        if given.turns > 1:
            in_turns(works, 1)
        times = in_turns(works, given.turns)
    here, plain = (times.get(side, [float("nan")]) for side in ("here", "plain"))
    ratios = ratio(plain, here) if "plain" in times else float("nan")
    return n / statistics.median(here), n / statistics.median(plain), ratios


def plot(rows: list[tuple[str, int, float]], path: Path) -> None:
    """Seconds of each row over the number of samples."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes, last = figure.subplots(), {}
    for number, what in enumerate(ROWS):
        own = [(n, n / rate) for name, n, rate in rows if name == what]
        if len(own) > 1:
            colour, marker = colormaps["tab20"](number), "os^Dv<>pPX*"[number]
            label = what.removesuffix(" @")
            (line,) = axes.loglog(*zip(*own, strict=True), marker + "-", color=colour, label=label)
            last[line] = own[-1][1]
    axes.set(xlabel="Samples of 87 x 100", ylabel="Seconds (training: of an epoch)")
    axes.grid(alpha=0.25)
    slowest_first = sorted(last, key=last.get, reverse=True)
    figure.legend(handles=slowest_first, loc="outside right center", frameon=False, fontsize=8)
    figure.savefig(path, dpi=100)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--sizes", default=[4000], type=numbers, metavar="N,N", help="samples")
    options.add_argument("--device", default="cpu")
    options.add_argument("--turns", type=int, default=3)
    options.add_argument("--rows", default="", help="only rows whose name has this in it")
    options.add_argument("--plain", action="store_true", help="also plain loops, on the CPU")
    options.add_argument("--plot", type=Path)
    given = options.parse_args()
    keep_freed_memory()  # as the stages do
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads, {given.device}")
    print(row(["medians", "samples", "here /s", "plain /s", "ratio"], 10))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for n in map(int, given.sizes):
            path = write_demo(Path(folder) / "set.h5", n_samples=n)
            for what in (name for name in ROWS if given.rows in name):
                found = measure(what, path, n, given)
                rows.append((what, n, found[0]))
                print(row([what, f"{n:,}", *found], 10), flush=True)
    if given.plot:
        plot(rows, given.plot)


if __name__ == "__main__":
    main()
