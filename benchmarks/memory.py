"""Peak memory and time of stages on files larger than memory, and of reports.

    python benchmarks/memory.py cube --sizes 2,20          GB; peak memory of each stage
    python benchmarks/memory.py samples --sizes 10,100     GB
    python benchmarks/memory.py report --sizes 2500,400000 samples; the report of a short run

Files in GB are 100 MB repeated by an HDF5 virtual data set, so that they need no disk; reading
takes their full length. A cube is 100 channels of 100 frequencies in windows of 4 time steps;
samples are the demo set's, 87 x 100. Reports are of 32 x 32 bins of 34 stations over three years.
"""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from common import SCRIPTS, command, h5py, measured, np, numbers, parser, row, stage, write_set

from RISCluster.data.synthetic import write_demo

SHORT = ("run.figures=no", "aec.n_epochs=1", "dec.n_epochs=1", "gmm.n_init=3")


def main() -> None:
    options = parser(__doc__)
    options.add_argument("what", choices=("cube", "samples", "report"))
    options.add_argument("--sizes", type=numbers, help="several with commas (see above)")
    options.add_argument("--train-samples", type=int, default=50_000)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if given.what == "report":
            report(Path(name), given.sizes or [2500, 400_000])
        else:
            words = (f"data.train_samples={given.train_samples}", "data.loadmode=disk")
            stages(Path(name), given.what, given.sizes or [2, 20], words)


def stages(folder: Path, what: str, sizes: list[float], words: tuple[str, ...]) -> None:
    """Peak memory of the stages on long files."""
    if what == "cube":
        step, channel, frequency = np.ogrid[:2500, :100, :100]
        kind = (step // 40 + channel // 10) % 4  # spectra that take turns over time and channels
        noise = np.random.default_rng(0).random((2500, 100, 100), dtype="f4")
        data = np.exp(-((frequency - 12 - 22 * kind) ** 2) / 40.0).astype("f4") + 0.3 * noise
        name, shape = "data", data.shape
        with h5py.File(folder / "source.h5", "w") as file:
            file.create_dataset(name, data=data, chunks=(250, 100, 100))
    else:
        name, shape = "spectrogram", (2880, 87, 100)
        write_demo(folder / "source.h5", n_samples=shape[0])
    print(row(["peak memory, GB (seconds)", *(f"{size:g} GB" for size in sizes)], 14))
    for script in SCRIPTS:
        cells = []
        for size in sizes:
            n = max(1, round(size * 1e9 / (4 * np.prod(shape))))
            layout = h5py.VirtualLayout((shape[0] * n, *shape[1:]), "f4")
            for part in range(n):
                source = h5py.VirtualSource("source.h5", name, shape)
                layout[shape[0] * part : shape[0] * (part + 1)] = source
            with h5py.File(folder / f"{n}.h5", "w") as file:
                file.create_virtual_dataset(name, layout)
            own = (f"data.file={n}.h5", f"run.name=r{n}", "gmm.n_clusters=4", *SHORT, *words)
            taken, _, peak = measured(stage(script, *own), folder)
            cells.append(f"{peak:.2f} ({taken:.0f})")
        print(row([script, *cells], 14), flush=True)


def report(folder: Path, sizes: list[float]) -> None:
    """The report does not depend on how long a run was trained: stages are short."""
    print(row(["samples", "seconds", "of CPU", "peak GB", "page MB"], 9))
    words = ("data.train_samples=4000", "gmm.n_clusters=3", "gmm.fit_samples=4000", *SHORT)
    for n in map(int, sizes):
        rng = np.random.default_rng(0)
        times = np.sort(rng.uniform(0, 3 * 365 * 86400, n)) + 1.4e9
        stations = [f"XH.DR{station:02d}..HHZ".encode() for station in rng.integers(34, size=n)]
        axes = {"frequency": np.arange(32) * 0.5 + 3, "time": np.arange(32) * 0.125}
        path, labels = folder / f"{n}.h5", np.arange(n) % 3
        write_set(path, n, (32, 32), starttime=times, trace_id=stations, labels=labels, **axes)
        for script in SCRIPTS:
            measured(stage(script, f"data.file={path}", f"run.name=r{n}", *words), folder)
        run = folder / f"Outputs/r{n}"
        used = measured(command("report", "--run", str(run)), folder)
        page = (run / "report.html").stat().st_size
        print(row([f"{n:,}", *used, page / 1e6], 9), flush=True)


if __name__ == "__main__":
    main()
