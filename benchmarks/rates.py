"""Rate of every part of the stages against plain loops and against what the machine can do.

    python benchmarks/rates.py                                   4,000 samples; some minutes
    python benchmarks/rates.py --plain --rows @                  the rows with a plain loop
    python benchmarks/rates.py --device cuda                     on a GPU
    python benchmarks/rates.py --rates-only --turns 1 --sizes 2000,20000,200000 --plot growth.png

Columns: samples a second here; in a bare loop of PyTorch on samples that are prepared and in place;
with --plain, in what common implementations do (a data set object that opens the HDF5 file for
every sample, default collation, contiguous layout, two numbers read back at every step, the whole
autoencoder with gradients on to get latents); the limit that arithmetic or memory sets, measured
by a matrix product, a copy and a sequential read. Then the rate here over these, and peak memory.
Every side has a process of its own; they take turns, and ratios are medians of those turn by turn.
"""

import multiprocessing
import resource
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
from RISCluster.data.loading import HeldSet, Reader, load_set
from RISCluster.data.synthetic import write_demo
from RISCluster.data.transforms import Preparation
from RISCluster.distributed import Ranks
from RISCluster.evaluation.mapping import mapped
from RISCluster.evaluation.metrics import MEASURED, silhouettes
from RISCluster.evaluation.representatives import typical_members
from RISCluster.io import open_rows
from RISCluster.models.autoencoder import AEC, DEC, ClusteringLayer, NetworkShape, initialise
from RISCluster.models.clustering import kl_divergence, target_distribution
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
BATCH, CLUSTERS = 64, 8
LONG = 20.0  # seconds; what takes longer is not warmed up
Work = Callable[[], object]


class Bench:
    """Makes the work of each part, here and in a bare loop, for `n` random samples on a device."""

    def __init__(self, path: Path, n: int, device: str, folder: Path):
        self.path, self.n, self.folder = path, n, folder
        self.ranks = Ranks(0, 1, torch.device(device))
        self.rng = np.random.default_rng(0)

    def samples(self) -> HeldSet:
        """On the device, as `load_set` would hold them."""
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

    def latents(self) -> tuple[np.ndarray, np.ndarray]:
        """Of clusters, also in a file, and random labels."""
        centres = 6 * self.rng.standard_normal((CLUSTERS, 9))
        z = centres[np.arange(self.n) % CLUSTERS] + self.rng.standard_normal((self.n, 9))
        np.save(self.folder / "latent.npy", z.astype(np.float32))
        return z, self.rng.integers(0, CLUSTERS, self.n)

    def context(self) -> Context:
        (self.folder / "last.pt").unlink(missing_ok=True)
        return Context(self.folder, self.ranks, StopRequest(), seed=0)

    def timed(self, work: Work) -> float:
        """Seconds, on a GPU until it is done."""

        def whole() -> None:
            work()
            if self.ranks.device.type == "cuda":
                torch.cuda.synchronize()

        return seconds(whole)

    def limit(self, what: str, cost: float) -> float:
        """Samples a second that a product of matrices, a copy or a sequential read allows."""
        device = self.ranks.device
        if what == "read":
            work, amount = self.path.read_bytes, self.path.stat().st_size
        elif what == "copy":
            a = torch.rand(2**26, device=device)
            b = torch.empty_like(a)
            work, amount = lambda: b.copy_(a), 2 * 4 * len(a)
        else:
            size = 2048 if device.type == "cpu" else 8192
            a = torch.rand(size, size, device=device)
            work, amount = lambda: a @ a, 2 * size**3
        return amount / statistics.median([self.timed(work) for _ in range(4)][1:]) / cost

    # ---- parts: the work here, and in a bare loop ----

    def load(self) -> tuple[Work, None]:
        def work() -> None:
            with open_spectrograms(self.path) as file:
                reader = Reader(file, Preparation("sqrt", "vec_norm"), self.ranks.device)
                mode = "ram" if self.ranks.device.type == "cpu" else "device"
                load_set(reader, np.arange(self.n), mode, self.ranks)

        return work, None

    def transform(self) -> tuple[Work, None]:
        x = self.samples().x[:, 0]
        prepare = Preparation("sqrt", "vec_norm", x.mean(0), 0.01)
        return lambda: [prepare(part) for part in x.split(128)], None

    def train(self, batch: int = BATCH) -> tuple[Work, Work]:
        samples, model, bare = self.samples(), self.network(), self.network()
        words = ["aec.n_epochs=1", f"aec.batch_size={batch}", f"aec.patience={10**6}"]
        settings, few = load_settings(None, words).aec, samples.take(np.arange(64))
        optimizer = torch.optim.Adam(bare.parameters(), lr=1e-3, fused=True)

        def loop() -> None:
            for x in samples.x.split(batch):
                optimizer.zero_grad(set_to_none=True)
                torch.nn.functional.mse_loss(bare(x)[0], x).backward()
                optimizer.step()

        return lambda: pretrain(model, samples, few, settings, self.context(), 1.0), loop

    def encode(self) -> tuple[Work, Work]:
        samples, model = self.samples(), self.network()

        def loop() -> None:
            with torch.inference_mode():
                for x in samples.x.split(256):
                    model.encoder(x)

        return lambda: encode(model.encoder, samples, self.ranks), loop

    def refresh(self) -> tuple[Work, None]:
        model = self.dec()
        z = torch.from_numpy(self.latents()[0]).float().to(self.ranks.device)
        return torch.no_grad()(lambda: target_distribution(model.clustering(z))), None

    def dec_epoch(self) -> tuple[Work, None]:
        samples, model = self.samples(), self.dec()
        settings = load_settings(None, ["dec.n_epochs=1", "dec.tol=0"]).dec
        return lambda: refine(model, samples, settings, self.context()), None

    def loops(self) -> tuple[Work, None]:
        """A short run of all stages but the mixture."""
        works = [*[self.train()[0]] * 5, self.encode()[0], *[self.dec_epoch()[0]] * 2]
        return lambda: [work() for work in works], None

    def mixtures(self) -> tuple[Work, None]:
        z, _ = self.latents()
        return lambda: fit_mixture(z, fit_kmeans(z, CLUSTERS, 10, 0).labels_, CLUSTERS), None

    def silhouette(self) -> tuple[Work, None]:
        z, labels = self.latents()
        return lambda: silhouettes(z[:MEASURED], labels[:MEASURED]), None

    def embedding(self) -> tuple[Work, None]:
        _, labels = self.latents()

        def work() -> None:
            latents, sizes = open_rows(self.folder / "latent.npy"), np.ones(CLUSTERS, int)
            index = usable_sample(labels, MAX_TREE_SIZE, 0)
            points = mapped(latents[index], "tsne", 0)
            latent.embedding(points, labels[index], sizes, "").savefig(self.folder / "e.png")

        return work, None

    def gallery(self) -> tuple[Work, None]:
        """Typical members of each cluster found, read, drawn and written."""
        _, labels = self.latents()

        def work() -> None:
            rows, members = open_rows(self.folder / "latent.npy"), []
            with open_spectrograms(self.path) as file:
                for label in range(CLUSTERS):
                    drawn = np.flatnonzero(labels == label)[:400]
                    index = drawn[typical_members(rows[drawn].astype(float), 8)]
                    members.append(np.concatenate([file.read(int(i), int(i) + 1) for i in index]))
                sizes = np.bincount(labels).tolist()
                page = samples.gallery(file, members, list(range(CLUSTERS)), sizes, 8, "")
                page.savefig(self.folder / "g.png", dpi=120)

        return work, None

    def whole(self) -> tuple[Work, None]:
        """All three stages with their figures and files: 5 epochs, K from 2 to 10, 2 epochs."""

        def work() -> None:
            with tempfile.TemporaryDirectory() as folder:
                words = [f"run.folder={folder}", f"data.file={self.path}", "aec.n_epochs=5"]
                words += ["gmm.n_clusters=2-10", "gmm.n_init=10", "dec.n_epochs=2", "dec.tol=0"]
                settings = load_settings(None, [*words, f"run.device={self.ranks.device.type}"])
                for stage in (run_aec, run_gmm, run_dec):
                    stage(settings)

        return work, None


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
        works = (*[self.train] * 5, self.encode, *[self.dec_epoch] * 2)
        [work() for work in works]


# Method, limit and its cost a sample, arguments; rows with @ have a plain loop of the same name.
ROWS: dict[str, tuple] = {
    "open and load @": ("load", "read", BYTES),
    "transform": ("transform", "copy", 2 * BYTES),
    "AEC training, batch 64 @": ("train", "matrix", FLOP_TRAIN, 64),
    "AEC training, batch 256": ("train", "matrix", FLOP_TRAIN, 256),
    "AEC training, batch 512": ("train", "matrix", FLOP_TRAIN, 512),
    "AEC training, batch 2048": ("train", "matrix", FLOP_TRAIN, 2048),
    "encode @": ("encode", "matrix", FLOP_ENCODE),
    "target refresh": ("refresh", "", 0),
    "DEC epoch, batch 64 @": ("dec_epoch", "matrix", FLOP_TRAIN + 2 * FLOP_ENCODE),
    "5 AEC, encode, 2 DEC @": ("loops", "", 0),
    "k-means and mixture, one K": ("mixtures", "", 0),
    "silhouette": ("silhouette", "", 0),
    "t-SNE and its figure": ("embedding", "", 0),
    "gallery": ("gallery", "", 0),
    "whole run": ("whole", "", 0),
}
SIDE: tuple[Bench, Work | None]  # of a worker process


def start(side: str, what: str, path: Path, n: int, device: str, folder: Path) -> None:
    """In a worker: make what one side of a row needs."""
    global SIDE
    method, _, _, *arguments = ROWS[what]
    bench = Bench(path, n, device, folder)
    if side == "plain":
        SIDE = bench, getattr(Plain(path, n), method)
        return
    keep_freed_memory()  # as the stages do
    SIDE = bench, getattr(bench, method)(*arguments)[side == "bare"]


def once() -> float | None:
    """Seconds of the work of a worker; None where it has none."""
    return SIDE[1] and SIDE[0].timed(SIDE[1])


def limit_and_peak(what: str, limited: bool) -> tuple[float | None, int]:
    bench, (_, limit, cost, *_) = SIDE[0], ROWS[what]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    peak += torch.cuda.max_memory_allocated() if bench.ranks.device.type == "cuda" else 0
    return bench.limit(limit, cost) if limited and limit else None, peak


def measure(what: str, path: Path, n: int, given: object) -> dict:
    """A row: samples a second of every side and at most, and peak bytes."""
    sides = ["here", *([] if given.rates_only else ["bare"])]
    sides += ["plain"] if given.plain and "@" in what else []
    spawn = multiprocessing.get_context("spawn")
    found = {"what": what, "samples": n}
    with tempfile.TemporaryDirectory() as folder:
        task = (what, path, n, given.device, Path(folder))
        pools = {side: spawn.Pool(1, start, (side, *task)) for side in sides}
        first = {side: pool.apply(once) for side, pool in pools.items()}
        works = {s: lambda p=pool: p.apply(once) for s, pool in pools.items() if first[s]}
        times = {side: [value] for side, value in first.items()}
        if given.turns > 1 or first["here"] < LONG:
            times = in_turns(works, given.turns)
        for side in works:
            found[f"{side}_per_s"] = n / statistics.median(times[side])
            found[f"{side}_ratio"] = ratio(times[side], times["here"])
        found["limit_per_s"], found["peak"] = pools["here"].apply(
            limit_and_peak, (what, not given.rates_only)
        )
        for pool in pools.values():
            pool.terminate()
    if found["limit_per_s"]:
        found["limit_ratio"] = found["here_per_s"] / found["limit_per_s"]
    return found


def plot(rows: list[dict], path: Path) -> None:
    """Seconds of each row over the number of samples."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes, last = figure.subplots(), {}
    for number, what in enumerate(ROWS):
        own = [(r["samples"], r["samples"] / r["here_per_s"]) for r in rows if r["what"] == what]
        if len(own) > 1:
            colour, marker = colormaps["tab20"](number), "os^Dv<>pPX*hd8."[number]
            label = what.removesuffix(" @")
            (line,) = axes.loglog(*zip(*own, strict=True), marker + "-", color=colour, label=label)
            last[line] = own[-1][1]
    axes.set(xlabel="Samples of 87 x 100", ylabel="Seconds (training: of an epoch)")
    axes.grid(alpha=0.25)
    slowest_first = sorted(last, key=last.get, reverse=True)
    axes.legend(
        handles=slowest_first, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8
    )
    figure.savefig(path, dpi=100)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--sizes", default=[4000], type=numbers, metavar="N,N", help="samples")
    options.add_argument("--device", default="cpu")
    options.add_argument("--turns", type=int, default=3)
    options.add_argument("--rows", default="", help="only rows whose name has this in it")
    options.add_argument("--plain", action="store_true", help="also plain loops, on the CPU")
    options.add_argument("--rates-only", action="store_true", help="no bare loops, no limits")
    options.add_argument("--plot", type=Path)
    given = options.parse_args()
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads, {given.device}")
    others = ("bare", "plain", "limit")
    titles = [f"{name} /s" for name in ("here", *others)] + [f"of {name}" for name in others]
    print(row(["medians", "samples", *titles, "GB"], 10))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for n in map(int, given.sizes):
            path = write_demo(Path(folder) / "set.h5", n_samples=n)
            for what in (name for name in ROWS if given.rows in name):
                found = measure(what, path, n, given)
                rows.append(found)
                keys = [f"{name}_per_s" for name in ("here", *others)]
                cells = [found.get(key) or "" for key in keys + [f"{x}_ratio" for x in others]]
                print(row([what, f"{n:,}", *cells, found["peak"] / 1e9], 10), flush=True)
    if given.plot:
        plot(rows, given.plot)


if __name__ == "__main__":
    main()
