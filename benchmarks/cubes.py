"""Cubes: reading against h5py and zarr, and making them from records against a plain loop.

    python benchmarks/cubes.py read [--gigabytes 1]
    python benchmarks/cubes.py make [--channels 1000] [--seconds 240] [--workers 1]

Read: 100 channels of 100 frequencies, windows of 4 time steps, in blocks of the same size. Made:
synthetic records, float32 (time, channel), a file for every 30 s; the plain loop holds the whole
record in memory, calls scipy.signal.spectrogram for one channel after the other, and writes all at
once. All take turns; those that make a cube have a process of their own, its start counted.
"""

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from common import (
    ROOT,
    command,
    environment,
    h5py,
    in_turns,
    np,
    parser,
    ratio,
    row,
    seconds,
)
from scipy.signal import spectrogram

CHUNK = (256, 100, 100)
BLOCK = 3 * CHUNK[0]  # time steps, 31 MB
RATE, WINDOW, STEP, FILE_SECONDS = 500.0, 500, 250, 30  # Hz, samples, samples, s
RECORDS = (f"records.window={WINDOW / RATE}", f"records.step={STEP / RATE}")


def main() -> None:
    options = parser(__doc__)
    options.add_argument("what", choices=("read", "make", "plain"), metavar="read|make")
    options.add_argument("paths", nargs="*", type=Path, help="of the plain loop: records, target")
    options.add_argument("--gigabytes", type=float, default=1.0)
    options.add_argument("--channels", type=int, default=1000)
    options.add_argument("--seconds", type=int, default=240)
    options.add_argument("--workers", type=int, default=1)
    options.add_argument("--turns", type=int, default=5)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.what == "plain":
            plain(*given.paths)
        elif given.what == "read":
            read(Path(folder), given.gigabytes, given.turns)
        else:
            make(Path(folder), given)


# ---- reading ------------------------------------------------------------------------------------


def read(folder: Path, gigabytes: float, turns: int) -> None:
    from RISCluster.runtime import keep_freed_memory

    keep_freed_memory()  # as the stages do; for both sides alike
    n_steps = max(1, int(gigabytes * 1e9 / 40_000 / BLOCK)) * BLOCK
    size = n_steps * 40_000 / 1e9
    print(f"cubes of {n_steps} x 100 x 100 float32, {size:.2f} GB, in the page cache")
    print(row([f"GB/s, medians of {turns}", "library", "samples", "ratio"], 9))
    for name, path in write_cubes(folder, n_steps):
        works = {
            "library": lambda path=path: seconds(lambda: by_library(path)),
            "samples": lambda path=path: seconds(lambda: as_samples(path)),
        }
        found = in_turns(works, turns)
        rates = [size / statistics.median(times) for times in found.values()]
        print(row([name, *rates, ratio(found["library"], found["samples"])], 9), flush=True)


def write_cubes(folder: Path, n_steps: int) -> Iterator[tuple[str, Path]]:
    """Name and path of each kind of cube, with values as spectra have them."""
    import zarr

    def fill(data: object) -> None:
        for start in range(0, n_steps, BLOCK):
            values = np.random.default_rng(start).exponential(size=(BLOCK, 100, 100))
            data[start : start + BLOCK] = values.astype("f4")

    for name, options in (
        ("HDF5", {}),
        ("HDF5, gzip 4, shuffle", {"compression": 4, "shuffle": 1}),
    ):
        with h5py.File(folder / "c.h5", "w") as file:
            fill(file.create_dataset("data", (n_steps, 100, 100), "f4", chunks=CHUNK, **options))
        yield name, folder / "c.h5"
    for version in (2, 3):
        path = folder / f"c{version}.zarr"
        group = zarr.open_group(str(path), mode="w", zarr_format=version)
        fill(group.create_array("data", shape=(n_steps, 100, 100), chunks=CHUNK, dtype="f4"))
        yield f"Zarr {version}", path


def by_library(path: Path) -> None:
    import zarr

    file = h5py.File(path) if path.is_file() else zarr.open_group(str(path), mode="r")
    for start in range(0, file["data"].shape[0], BLOCK):
        file["data"][start : start + BLOCK]


def as_samples(path: Path) -> None:
    from RISCluster.data.layouts import open_spectrograms
    from RISCluster.data.loading import read_ahead

    with open_spectrograms(path) as file:
        n = sum(len(part) for part, _ in read_ahead(file.read_blocks(np.arange(file.n_samples))))
        assert n == file.n_samples


# ---- making -------------------------------------------------------------------------------------


def make(folder: Path, given: object) -> None:
    rng = np.random.default_rng(1)
    (folder / "in").mkdir()
    for number in range(max(1, given.seconds // FILE_SECONDS)):
        with h5py.File(folder / f"in/{number:05d}.h5", "w") as file:
            shape = (int(FILE_SECONDS * RATE), given.channels)
            data = file.create_dataset("data", data=rng.standard_normal(shape, np.float32))
            data.attrs.update({"fs": RATE, "dx": 4.0, "dims": "time,channel"})
            data.attrs["start"] = 1.6e9 + number * FILE_SECONDS
    size = sum(path.stat().st_size for path in (folder / "in").iterdir()) / 1e9
    n_steps = int((max(given.seconds, FILE_SECONDS) * RATE - WINDOW) // STEP + 1)
    n_spectra = n_steps * given.channels

    def of(kind: str) -> list[str]:
        if kind == "plain":
            return [sys.executable, __file__, "plain", str(folder / "in"), str(folder / "p.h5")]
        words = (*RECORDS, "-o", str(folder / f"cube.{kind}"), "--overwrite")
        return command("cube", str(folder / "in"), *words, f"--workers={given.workers}")

    def run(kind: str) -> None:
        subprocess.run(
            of(kind), cwd=ROOT, env=environment(None), check=True, stdout=subprocess.DEVNULL
        )

    kinds = ("plain", "h5", "zarr")
    found = in_turns({k: lambda k=k: seconds(lambda: run(k)) for k in kinds}, given.turns)
    print(f"{size:.3g} GB of records, {n_spectra:,} spectra, medians of {given.turns}")
    print(row(["", "s", "GB/s", "spectra/s", "x plain"]))
    for kind, times in found.items():
        s = statistics.median(times)
        print(row([kind, s, size / s, n_spectra / s, ratio(found["plain"], times)]))
    print(f"transforms alone: {transforms(folder / 'in/00000.h5', given.turns):.2f} x plain")


def plain(source: Path, target: Path) -> None:
    samples = []
    for path in sorted(source.iterdir()):
        with h5py.File(path) as file:
            samples.append(file["data"][:])
    power = plain_transforms(np.concatenate(samples))
    with h5py.File(target, "w") as file:
        file["data"] = np.stack(power, axis=1)


def plain_transforms(record: np.ndarray) -> list[np.ndarray]:
    return [spectrogram(x, RATE, "hann", WINDOW, WINDOW - STEP)[2].T for x in record.T]


def transforms(path: Path, turns: int) -> float:
    """Rate of the transforms alone over that of the plain loop."""
    from RISCluster.fibre.make_cube import spectra_of
    from RISCluster.settings import load_settings

    spectra = spectra_of(load_settings(None, RECORDS).records, RATE)
    with h5py.File(path) as file:
        record = file["data"][:]
    works = {
        "plain": lambda: seconds(lambda: plain_transforms(record)),
        "own": lambda: seconds(lambda: spectra.calculate(record)),
    }
    found = in_turns(works, turns)
    return ratio(found["plain"], found["own"])


if __name__ == "__main__":
    main()
