"""What a GPU does with every part, in each load mode, and with a whole default run.

    python benchmarks/gpu.py                       8 minutes at most, on the first GPU
    python benchmarks/gpu.py --device cpu --samples 400 --rows 256 --batches 64

Measured, on a GPU after its tests: rates and memory of an epoch of pretraining and of refinement,
and of encoding, by batch size and load mode; a step with channels_last, bf16, TF32, cudnn.benchmark
on and off; the time line of a default run. ``gpu.json`` and ``gpu.html`` are written as it goes.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).parent))
from common import ROOT, command, environment, np, parser, seconds  # isort: skip
import pandas
import torch  # after OpenMP was set up

from RISCluster.data.layouts import open_spectrograms
from RISCluster.data.loading import Preparation, Reader, SampleSet, load_set
from RISCluster.data.synthetic import write_demo
from RISCluster.distributed import Ranks, choose_device
from RISCluster.models import autoencoder
from RISCluster.models.autoencoder import AEC, DEC, ClusteringLayer, NetworkShape, initialise
from RISCluster.models.features import FixedFeatureSizes
from RISCluster.runtime import StopRequest, keep_freed_memory
from RISCluster.settings import load_settings
from RISCluster.training.common import Context, summed_error
from RISCluster.training.encode import encode
from RISCluster.training.pretrain import pretrain
from RISCluster.training.refine import refine

SECONDS = 2.0  # of a measurement, about
CLUSTERS = 8
Table = list[dict[str, object]]


def main() -> None:
    """Measure everything, and write the results after each part."""
    words = parser(__doc__)
    words.add_argument("--device", default="auto")
    words.add_argument("--samples", type=int, default=50_000, help="of the default run")
    words.add_argument("--rows", type=int, default=16_384, help="samples of the other parts")
    words.add_argument("--batches", default="64,256,1024")
    words.add_argument("--output", type=Path, default=Path("gpu"))
    options = words.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    device = choose_device(options.device)
    batches = [int(text) for text in options.batches.split(",")]
    about = {"torch": torch.__version__, "cpu threads": torch.get_num_threads()}
    about |= {"python": platform.python_version(), "platform": platform.platform()}
    about["device"] = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    found: dict[str, object] = {"machine": about}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.rows, device)
        parts: dict[str, Callable[[], object]] = {
            "tests": lambda: run_tests() if device.type == "cuda" else [],
            "rates": lambda: list(bench.rates(batches)),
            "variants": lambda: list(bench.variants(batches)),
            "run": lambda: default_run(Path(folder), options),
        }
        for name, work in parts.items():
            began = time.perf_counter()
            found[name] = work()
            found["machine"][f"seconds of {name}"] = round(time.perf_counter() - began, 1)
            write(options.output, found)
    print(options.output / "gpu.html")


def run_tests() -> Table:
    """Last lines of the tests that need a GPU, or emulate one."""
    words = [sys.executable, "-m", "pytest", "-q", "-rfs", "tests/models", "tests/test_gpu.py"]
    done = subprocess.run(words, cwd=ROOT, env=environment(None), capture_output=True, text=True)
    return [{"line": line} for line in done.stdout.splitlines()[-12:]]


class Bench:
    """Parts on `n` samples of the demo set, on a device."""

    def __init__(self, folder: Path, n: int, device: torch.device):
        self.folder, self.n, self.device = folder, n, device
        self.ranks, self.on_gpu = Ranks(0, 1, device), device.type == "cuda"
        self.path, self.precision = write_demo(folder / "rows.h5", n_samples=n), "fp32"

    def measured(self, work: Callable[[], object], n: int) -> dict[str, float]:
        """Samples a second, seconds of the first call, and peak memory on the GPU."""
        if self.on_gpu:
            torch.cuda.reset_peak_memory_stats(self.device)
        first = self._seconds(work)
        times = [first] if first > 2 * SECONDS else []
        while not times or (sum(times) < SECONDS and len(times) < 5):
            times.append(self._seconds(work))
        memory = torch.cuda.max_memory_allocated(self.device) / 1e6 if self.on_gpu else 0.0
        return {"samples/s": n / min(times), "first, s": first, "memory, MB": memory}

    def _seconds(self, work: Callable[[], object]) -> float:
        return seconds(lambda: (work(), self.on_gpu and torch.cuda.synchronize(self.device)))

    def network(self) -> AEC:
        fixed = FixedFeatureSizes(10, 10)
        model = AEC(NetworkShape(87, 100, 9, "linear", fixed))
        initialise(model, 0)
        return model.to(self.device)

    def context(self, precision: str = "fp32") -> Context:
        (self.folder / "last.pt").unlink(missing_ok=True)
        return Context(self.folder, self.ranks, StopRequest(), 0, precision)

    @contextmanager
    def samples(self, mode: str) -> Iterator[SampleSet]:
        with open_spectrograms(self.path) as file:
            reader = Reader(file, Preparation("sqrt", "vec_norm"), self.device)
            yield load_set(reader, np.arange(self.n), mode, self.ranks)[0]

    def rates(self, batches: list[int]) -> Iterator[dict[str, object]]:
        """Epochs of pretraining and refinement, and encoding, in each load mode."""
        for mode in ("device", "ram", "disk") if self.on_gpu else ("ram", "disk"):
            with self.samples(mode) as samples:
                n = len(samples)
                for batch in batches:
                    for part, work in (("AEC", self.pretrained), ("DEC", self.refined)):
                        found = self.measured(partial(work, samples, batch), n)
                        yield {"part": f"{part} epoch", "mode": mode, "batch": batch} | found
                model = self.network()
                known = encode(model.encoder, samples, self.ranks)[:, 9:].clone()
                for part, fixed in (("encode", None), ("encode, fixed features known", known)):
                    work = partial(encode, model.encoder, samples, self.ranks, fixed)
                    yield {"part": part, "mode": mode, "batch": ""} | self.measured(work, n)

    def pretrained(self, samples: SampleSet, batch: int) -> None:
        words = ["aec.n_epochs=1", f"aec.batch_size={batch}"]
        few = samples.take(samples.index[:64])
        settings = load_settings(None, words).aec
        pretrain(self.network(), samples, few, settings, self.context(), 1.0)

    def refined(self, samples: SampleSet, batch: int) -> None:
        words = ["dec.n_epochs=1", "dec.tol=0", f"dec.batch_size={batch}"]
        centroids = torch.randn(CLUSTERS, 29, generator=torch.Generator().manual_seed(0))
        model = DEC(self.network(), ClusteringLayer(centroids)).to(self.device)
        fixed = torch.zeros(len(samples), 20, device=self.device)
        refine(model, samples, load_settings(None, words).dec, self.context(), fixed)

    def variants(self, batches: list[int]) -> Iterator[dict[str, object]]:
        """A training step with one choice changed at a time."""
        cudnn = torch.backends.cudnn
        choices = {
            "as it is": (),
            "contiguous layout": (autoencoder, "MEMORY_FORMAT", torch.contiguous_format),
        }
        if self.on_gpu:
            choices["cudnn.benchmark"] = cudnn, "benchmark", True
            choices["no TF32"] = cudnn, "allow_tf32", False
            choices["bf16"] = self, "precision", "bf16"
        for batch in batches:
            for name, choice in choices.items():
                with mock.patch.object(*choice) if choice else nullcontext():
                    yield {"step": name, "batch": batch} | self._step(batch)

    def _step(self, batch: int) -> dict[str, float]:
        model, context = self.network(), self.context(self.precision)
        optimizer = torch.optim.Adam(model.parameters(), fused=True)
        x = torch.randn(batch, 1, 87, 100, device=self.device)
        steps = max(1, self.n // batch)

        def work() -> None:
            for _ in range(steps):
                optimizer.zero_grad(set_to_none=True)
                with context.autocast():
                    loss = summed_error(model(x)[0], x) / batch
                loss.backward()
                optimizer.step()

        return self.measured(work, steps * batch)


def default_run(folder: Path, options: argparse.Namespace) -> Table:
    """Lines of the log of a default run, each with the seconds since its start."""
    path = write_demo(folder / "run.h5", n_samples=options.samples)
    words = ["run", str(path), f"run.folder={folder}", f"run.device={options.device}"]
    lines, began = [], time.perf_counter()
    process = subprocess.Popen(
        command(*words), cwd=folder, env=environment(None), stdout=subprocess.PIPE, text=True
    )
    for line in process.stdout:
        lines.append({"s": round(time.perf_counter() - began, 1), "line": line.strip()[:200]})
    return [*lines, {"s": "", "line": f"exit code {process.wait()}"}]


def write(folder: Path, found: dict[str, object]) -> None:
    """The results as JSON and as a page."""
    (folder / "gpu.json").write_text(json.dumps(found, indent=1))
    page = ["<!DOCTYPE html><meta charset='utf-8'><style>td{padding:0 1em}</style>"]
    for name, rows in found.items():
        table = pandas.Series(rows).to_frame() if isinstance(rows, dict) else pandas.DataFrame(rows)
        page.append(f"<h2>{name}</h2>{table.to_html(float_format='{:,.4g}'.format)}")
    (folder / "gpu.html").write_text("\n".join(page))


if __name__ == "__main__":
    main()
