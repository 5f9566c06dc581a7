"""How fast cubes are read, against h5py and zarr reading the same blocks.

    python benchmarks/cubes.py

A cube here is 100 channels of 100 frequencies, windows of 4 time steps.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from RISCluster.data.layouts import open_spectrograms
from RISCluster.data.reading import read_ahead
from RISCluster.runtime import keep_freed_memory

CHUNK = (256, 100, 100)
BLOCK = 3 * CHUNK[0]  # time steps, 31 MB
TURNS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--gigabytes", type=float, default=1.0, help="size of the cubes to read")
    arguments = parser.parse_args()
    keep_freed_memory()  # as the stages do; for both sides alike
    with tempfile.TemporaryDirectory() as folder:
        rates(Path(folder), arguments.gigabytes)


# ---- reading ------------------------------------------------------------------------------------


def rates(folder: Path, gigabytes: float) -> None:
    steps = int(gigabytes * 1e9 / 40_000 / BLOCK) * BLOCK
    print(f"cubes of {steps} x 100 x 100 float32, {steps * 40_000 / 1e9:.2f} GB, in the page cache")
    print(f"{'GB/s, medians of ' + str(TURNS):28} {'library':>8} {'samples':>8} {'ratio':>6}")
    for name, path in write_cubes(folder, steps):
        pairs = [(timed(by_library, path), timed(as_samples, path)) for _ in range(TURNS)]
        library, ours = np.median(pairs, axis=0)
        ratio = np.median([b / a for a, b in pairs])
        size = steps * 40_000 / 1e9
        print(f"{name:28} {size / library:8.2f} {size / ours:8.2f} {1 / ratio:6.2f}")
        if path.is_file():
            path.unlink()


def write_cubes(folder: Path, steps: int) -> Iterator[tuple[str, Path]]:
    """Name and path of each kind of cube, with values as spectra have them."""
    import zarr

    def values(start: int) -> np.ndarray:
        rng = np.random.default_rng(start)
        return rng.exponential(size=(BLOCK, 100, 100)).astype("f4")

    for name, options in (
        ("HDF5", {}),
        ("HDF5, gzip 4 and shuffle", {"compression": 4, "shuffle": 1}),
    ):
        with h5py.File(folder / "c.h5", "w") as file:
            data = file.create_dataset("data", (steps, 100, 100), "f4", chunks=CHUNK, **options)
            for start in range(0, steps, BLOCK):
                data[start : start + BLOCK] = values(start)
        yield name, folder / "c.h5"
    for zarr_format in (2, 3):
        path = folder / f"c{zarr_format}.zarr"
        group = zarr.open_group(str(path), mode="w", zarr_format=zarr_format)
        data = group.create_array("data", shape=(steps, 100, 100), chunks=CHUNK, dtype="f4")
        for start in range(0, steps, BLOCK):
            data[start : start + BLOCK] = values(start)
        yield f"Zarr {zarr_format}, as the library does", path


def timed(work: Callable[[Path], None], path: Path) -> float:
    begin = time.perf_counter()
    work(path)
    return time.perf_counter() - begin


def by_library(path: Path) -> None:
    import zarr

    file = h5py.File(path) if path.is_file() else zarr.open_group(str(path), mode="r")
    for start in range(0, file["data"].shape[0], BLOCK):
        file["data"][start : start + BLOCK]


def as_samples(path: Path) -> None:
    with open_spectrograms(path) as file:
        n = sum(len(part) for part, _ in read_ahead(file.read_blocks(np.arange(file.n_samples))))
        assert n == file.n_samples


if __name__ == "__main__":
    main()
