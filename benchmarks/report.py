"""Seconds and peak memory of the report of a run, on made-up data.

    python benchmarks/report.py --samples 2500,400000

Eight kinds of bumps in 32 x 32 bins, of 34 stations over three years, and a run of three stages
that are as short as they can be: the report does not depend on how long they were trained.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from RISCluster.runtime import Progress

ROOT = Path(__file__).parent.parent
BINS, KINDS, STATIONS, YEARS = 32, 8, 34, 3
BLOCK = 20_000
SCRIPTS = ("AEC_train.py", "GMM_centroids.py", "DEC_train.py")
SHORT = (
    "run.figures=no", "data.train_samples=4000", "aec.n_epochs=2", "gmm.n_clusters=6-10",
    "gmm.n_init=3", "gmm.fit_samples=4000", "dec.n_clusters=8", "dec.n_epochs=1",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--samples", default="2500,400000", metavar="N,N")
    arguments = parser.parse_args()
    print(f"{'samples':>10} {'seconds':>8} {'of CPU':>8} {'peak GB':>8} {'page MB':>8}")
    for n in map(int, arguments.samples.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            write_data(Path(folder) / "data.h5", n)
            run = make_run(Path(folder))
            begin = time.perf_counter()
            peak, busy = report(run)
            seconds, size = time.perf_counter() - begin, (run / "report.html").stat().st_size
            print(
                f"{n:>10,} {seconds:>8.0f} {busy:>8.0f} {peak / 1e9:>8.2f} {size / 1e6:>8.1f}",
                flush=True,
            )


def write_data(path: Path, n: int) -> None:
    rng = np.random.default_rng(0)
    kind = rng.integers(KINDS, size=n)
    seconds = np.sort(rng.uniform(0, YEARS * 365 * 86400, n)) + 1.4e9
    with h5py.File(path, "w") as file, Progress("Writing", n) as progress:
        data = file.create_dataset("spectrogram", (n, BINS, BINS), "f2")
        file["frequency"], file["time"] = np.arange(BINS) * 0.5 + 3, np.arange(BINS) * 0.125
        file["starttime"], file["labels"] = seconds, kind
        stations = rng.integers(STATIONS, size=n)
        file["trace_id"] = [f"XH.DR{station:02d}..HHZ".encode() for station in stations]
        for start in range(0, n, BLOCK):
            data[start : start + BLOCK] = bumps(kind[start : start + BLOCK], rng)
            progress.add(min(BLOCK, n - start))


def bumps(kind: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A spectrogram of each kind, (n, F, T): bumps in different places, and noise."""
    f, t = np.mgrid[:BINS, :BINS]
    angle = 2 * np.pi * kind / KINDS
    centre = [16 + 9 * wave(angle) + rng.normal(0, 1, len(kind)) for wave in (np.sin, np.cos)]
    width = rng.uniform(8, 20, len(kind))[:, None, None]
    away = (f - centre[0][:, None, None]) ** 2 + (t - centre[1][:, None, None]) ** 2
    return np.exp(-away / width) + 0.3 * rng.random(away.shape)


def make_run(folder: Path) -> Path:
    words = (f"data.file={folder / 'data.h5'}", f"run.folder={folder}", "run.name=made", *SHORT)
    for script in SCRIPTS:
        command = [sys.executable, str(ROOT / script), "--config", str(ROOT / "config.ini"), *words]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return folder / "made"


def report(run: Path) -> tuple[float, float]:
    """Write the report in a process of its own; bytes that it held at most, seconds of CPU."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
        "used = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print(used.ru_maxrss, used.ru_utime + used.ru_stime)"
    )
    command = [sys.executable, "-m", "RISCluster", "report", "--run", str(run)]
    answer = subprocess.run(
        [sys.executable, "-c", code, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True,
        check=True,
    )  # fmt: skip
    print(answer.stdout, file=sys.stderr)
    largest, busy = answer.stdout.split()[-2:]
    return int(largest) * (1 if sys.platform == "darwin" else 1024), float(busy)


if __name__ == "__main__":
    main()
