"""Peak memory of the three stages on files larger than memory, and what streaming costs.

    python benchmarks/memory.py cube --gigabytes 2,20
    python benchmarks/memory.py samples --gigabytes 10,100
    python benchmarks/memory.py rate             training from disk against training from memory

Long files are 100 MB repeated by an HDF5 virtual data set, so that they need no disk; reading takes
their full length. A cube is 100 channels of 100 frequencies in windows of 4 time steps; samples are
the demo set's, 87 x 100.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from RISCluster.data.synthetic import write_demo

ROOT = Path(__file__).parent.parent
SCRIPTS = ("AEC_train.py", "GMM_centroids.py", "DEC_train.py")
SHORT = ("aec.n_epochs=1", "dec.n_epochs=1", "gmm.n_clusters=4", "gmm.n_init=3",
         "data.loadmode=disk")  # fmt: skip
TURNS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("cube", "samples", "rate"))
    parser.add_argument("--gigabytes", default="2,20", metavar="GB,GB")
    parser.add_argument("--train-samples", type=int, default=50_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.what == "rate":
            rate(Path(folder))
        else:
            sizes = [float(text) for text in arguments.gigabytes.split(",")]
            memory(Path(folder), arguments.what, sizes, arguments.train_samples)


def memory(folder: Path, what: str, sizes: list[float], train_samples: int) -> None:
    source, name = (cube_source if what == "cube" else samples_source)(folder)
    titles = " ".join(f"{size:>11g} GB" for size in sizes)
    print(f"{'peak memory, GB (seconds)':28} {titles}")
    for script in SCRIPTS:
        cells = []
        for size in sizes:
            repeats = max(1, round(size * 1e9 / (4 * np.prod(source))))
            path = write_long(folder, source, name, repeats)
            words = (f"data.file={path}", f"run.name=r{repeats}", *SHORT)
            begin = time.perf_counter()
            peak = peak_memory(script, folder, *words, f"data.train_samples={train_samples}")
            cells.append(f"{peak / 1e9:.2f} ({time.perf_counter() - begin:.0f})")
        print(f"{script:28} " + " ".join(f"{cell:>14}" for cell in cells), flush=True)


def peak_memory(script: str, folder: Path, *words: str) -> float:
    """Bytes at most that a stage holds, seen by a process of its own that waits for it."""
    code = (
        "import resource, subprocess, sys; "
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    command = [sys.executable, str(ROOT / script), "--config", str(ROOT / "config.ini"), *words]
    answer = subprocess.run(
        [sys.executable, "-c", code, *command],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return int(answer.stdout) * (1 if sys.platform == "darwin" else 1024)


def cube_source(folder: Path) -> tuple[tuple[int, int, int], str]:
    """100 MB: four kinds of spectra that take turns over time and channels."""
    step, channel, frequency = np.ogrid[:2500, :100, :100]
    kind = (step // 40 + channel // 10) % 4
    noise = np.random.default_rng(0).random((2500, 100, 100), dtype="f4")
    data = np.exp(-((frequency - 12 - 22 * kind) ** 2) / 40.0).astype("f4") + 0.3 * noise
    with h5py.File(folder / "source.h5", "w") as file:
        file.create_dataset("data", data=data, chunks=(250, 100, 100))
    return data.shape, "data"


def samples_source(folder: Path) -> tuple[tuple[int, int, int], str]:
    """100 MB of the demo set."""
    write_demo(folder / "source.h5", n_samples=2880)
    return (2880, 87, 100), "spectrogram"


def write_long(folder: Path, source: tuple[int, int, int], name: str, repeats: int) -> str:
    n = source[0]
    layout = h5py.VirtualLayout((n * repeats, *source[1:]), "f4")
    part = h5py.VirtualSource("source.h5", name, source)
    for number in range(repeats):
        layout[n * number : n * (number + 1)] = part
    with h5py.File(folder / f"long{repeats}.h5", "w") as file:
        file.create_virtual_dataset(name, layout)
    return f"long{repeats}.h5"


# ---- rate ---------------------------------------------------------------------------------------


def rate(folder: Path) -> None:
    """Samples a second of an epoch after the first, from memory and from disk, in turns."""
    write_demo(folder / "demo.h5", n_samples=20_000)
    rates: dict[str, list[float]] = {"ram": [], "disk": []}
    for turn in range(TURNS):
        for mode, found in rates.items():
            run = f"{mode}{turn}"
            words = (f"data.loadmode={mode}", f"run.name={run}", "aec.n_epochs=3")
            command = [sys.executable, str(ROOT / "AEC_train.py"), "--config"]
            command += [str(ROOT / "config.ini"), "data.file=demo.h5", "run.figures=no", *words]
            subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
            with (folder / "Outputs" / run / "AEC/history.csv").open() as file:
                epochs = [float(row["samples_per_second"]) for row in csv.DictReader(file)]
            found.append(float(np.median(epochs[1:])))
    for mode, found in rates.items():
        print(f"{mode:5} {np.median(found):8,.0f} samples/s, batch 64, 20,000 samples of 87 x 100")
    ratios = np.divide(rates["disk"], rates["ram"])
    print(f"disk over ram, median of {TURNS} turns: {np.median(ratios):.2f}")


if __name__ == "__main__":
    main()
