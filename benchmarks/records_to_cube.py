"""Fibre records to a cube of spectra, against a plain loop in the same run.

    python benchmarks/records_to_cube.py [--channels 1000] [--seconds 240] [--workers 1]

Synthetic records, float32 (time, channel), one file for every 30 s. The plain loop holds the whole
record in memory, calls scipy.signal.spectrogram for one channel after the other, and writes what
it got to HDF5 at once. All take turns, each in a process of its own, its start counted.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import scipy.signal

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

RATE = 500.0  # Hz
WINDOW, STEP = 500, 250  # samples
FILE_SECONDS = 30
ROUNDS = 3


def write_records(folder: Path, seconds: int, channels: int) -> list[Path]:
    rng = np.random.default_rng(1)
    paths = []
    for number in range(seconds // FILE_SECONDS):
        path = folder / f"{number:05d}.h5"
        samples = rng.standard_normal((int(FILE_SECONDS * RATE), channels), dtype=np.float32)
        with h5py.File(path, "w") as file:
            data = file.create_dataset("data", data=samples)
            data.attrs["fs"], data.attrs["dx"] = RATE, 4.0
            data.attrs["dims"] = "time,channel"
            data.attrs["start"] = 1.6e9 + number * FILE_SECONDS
        paths.append(path)
    return paths


def plain(paths: list[str], target: str) -> None:
    samples = []
    for path in paths:
        with h5py.File(path) as file:
            samples.append(file["data"][:])
    record = np.concatenate(samples)
    spectra = []
    for channel in range(record.shape[1]):
        _, _, power = scipy.signal.spectrogram(
            record[:, channel], RATE, "hann", WINDOW, WINDOW - STEP
        )
        spectra.append(power.T)
    with h5py.File(target, "w") as file:
        file["data"] = np.stack(spectra, axis=1)


def words(kind: str, paths: list[Path], folder: Path, workers: int) -> list[str]:
    """Command line of one of the candidates."""
    if kind == "plain":
        return [str(Path(__file__)), "--plain", str(folder / "plain.h5"), *map(str, paths)]
    settings = [f"records.window={WINDOW / RATE}", f"records.step={STEP / RATE}"]
    target = str(folder / f"cube.{kind}")
    return [
        "-m",
        "RISCluster",
        "cube",
        *map(str, paths),
        *settings,
        "-o",
        target,
        "--overwrite",
    ] + [f"--workers={workers}"]


def seconds_of(arguments: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def calculation(paths: list[Path]) -> tuple[float, float]:
    """Seconds of the transforms alone: this package's, and the plain loop's."""
    from RISCluster.fibre.make_cube import spectra_of
    from RISCluster.settings import load_settings

    settings = load_settings(
        None, (f"records.window={WINDOW / RATE}", f"records.step={STEP / RATE}")
    )
    spectra = spectra_of(settings.records, RATE)
    with h5py.File(paths[0]) as file:
        record = file["data"][:]
    began = time.perf_counter()
    spectra.calculate(record)
    between = time.perf_counter()
    for channel in range(record.shape[1]):
        scipy.signal.spectrogram(record[:, channel], RATE, "hann", WINDOW, WINDOW - STEP)
    return between - began, time.perf_counter() - between


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--channels", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=240)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = write_records(folder, arguments.seconds, arguments.channels)
        raw = sum(path.stat().st_size for path in paths) / 1e9
        n_steps = int((arguments.seconds * RATE - WINDOW) // STEP + 1)
        n_spectra = n_steps * arguments.channels
        print(f"{raw:.3g} GB of records, {n_spectra:,} spectra, medians of {ROUNDS}")
        times: dict[str, list[float]] = {"plain": [], "h5": [], "zarr": []}
        for _ in range(ROUNDS):
            for kind, taken in times.items():
                taken.append(seconds_of(words(kind, paths, folder, arguments.workers)))
        for kind, taken in times.items():
            seconds = statistics.median(taken)
            ratios = [a / b for a, b in zip(times["plain"], taken, strict=True)]
            print(
                f"{kind:6} {seconds:6.2f} s  {raw / seconds:6.3f} GB/s  "
                f"{n_spectra / seconds:10,.0f} spectra/s  {statistics.median(ratios):5.2f} x plain"
            )
        ours, theirs = zip(*(calculation(paths) for _ in range(ROUNDS)), strict=True)
        ratio = statistics.median(theirs) / statistics.median(ours)
        print(f"transforms alone: {ratio:.2f} x plain")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--plain"]:
        plain(sys.argv[3:], sys.argv[2])
    else:
        main()
