"""Peak memory and time: stages on files larger than memory, reports, long trainings.

    python benchmarks/memory.py cube --sizes 2,20          GB; peak memory of each stage
    python benchmarks/memory.py samples --sizes 10,100     GB
    python benchmarks/memory.py report --sizes 2500,400000 samples; the report of a short run
    python benchmarks/memory.py rate                       training from disk over from memory
    python benchmarks/memory.py long --sizes 10000         epochs; memory and open files (Linux)

Files in GB are 100 MB repeated by an HDF5 virtual data set, so that they need no disk; reading
takes their full length. A cube is 100 channels of 100 frequencies in windows of 4 time steps;
samples are the demo set's, 87 x 100. Reports are of 32 x 32 bins of 34 stations over three years.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from common import (
    SCRIPTS,
    command,
    environment,
    h5py,
    in_turns,
    measured,
    np,
    numbers,
    parser,
    ratio,
    row,
    stage,
    write_set,
)

from RISCluster.data.synthetic import write_demo

SHORT = ("run.figures=no", "aec.n_epochs=1", "dec.n_epochs=1", "gmm.n_init=3")
LOOKS, TURNS = 20, 3


def main() -> None:
    options = parser(__doc__)
    options.add_argument("what", choices=("cube", "samples", "report", "rate", "long"))
    options.add_argument("--sizes", type=numbers, help="several with commas (see above)")
    options.add_argument("--train-samples", type=int, default=50_000)
    options.add_argument("--tensorboard", action="store_true", help="of a long training")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.what == "rate":
            rate(folder, int((given.sizes or [20_000])[0]))
        elif given.what == "report":
            report(folder, given.sizes or [2500, 400_000])
        elif given.what == "long":
            long_training(folder, int((given.sizes or [10_000])[0]), given.tensorboard)
        else:
            words = (f"data.train_samples={given.train_samples}", "data.loadmode=disk")
            stages(folder, given.what, given.sizes or [2, 20], words)


# ---- stages on long files -----------------------------------------------------------------------


def stages(folder: Path, what: str, sizes: list[float], words: tuple[str, ...]) -> None:
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
            used = measured(stage(script, *own), folder)
            cells.append(f"{used.peak_bytes / 1e9:.2f} ({used.seconds:.0f})")
        print(row([script, *cells], 14), flush=True)


def rate(folder: Path, n: int) -> None:
    """Samples a second of an epoch after the first, from memory and from disk, in turns."""
    write_demo(folder / "demo.h5", n_samples=n)

    def epoch(mode: str) -> float:
        words = ("data.file=demo.h5", f"data.loadmode={mode}", f"run.name={time.time_ns()}")
        measured(stage(SCRIPTS[0], *words, *SHORT, "aec.n_epochs=3"), folder)
        history = next((folder / "Outputs").glob(f"{words[2][9:]}/AEC/history.csv"))
        column = np.genfromtxt(history, delimiter=",", names=True)["samples_per_second"]
        return n / float(np.median(column[1:]))

    found = in_turns({mode: lambda mode=mode: epoch(mode) for mode in ("ram", "disk")}, TURNS)
    for mode, seconds in found.items():
        print(f"{mode:5} {n / statistics.median(seconds):8,.0f} samples/s, {n:,} of 87 x 100")
    print(f"disk over ram, median of {TURNS} turns: {ratio(found['ram'], found['disk']):.2f}")


# ---- reports ------------------------------------------------------------------------------------


def report(folder: Path, sizes: list[float]) -> None:
    """The report does not depend on how long a run was trained: stages are short."""
    print(row(["samples", "seconds", "of CPU", "peak GB", "page MB"], 9))
    words = ("data.train_samples=4000", "gmm.n_clusters=3", "gmm.fit_samples=4000", *SHORT)
    for n in map(int, sizes):
        rng = np.random.default_rng(0)
        times = np.sort(rng.uniform(0, 3 * 365 * 86400, n)) + 1.4e9
        stations = [f"XH.DR{station:02d}..HHZ".encode() for station in rng.integers(34, size=n)]
        axes = {"frequency": np.arange(32) * 0.5 + 3, "time": np.arange(32) * 0.125}
        path = folder / f"{n}.h5"
        write_set(path, n, (32, 32), starttime=times, trace_id=stations,
                  labels=np.arange(n) % 3, **axes)  # fmt: skip
        for script in SCRIPTS:
            measured(stage(script, f"data.file={path}", f"run.name=r{n}", *words), folder)
        run = folder / f"Outputs/r{n}"
        used = measured(command("report", "--run", str(run)), folder)
        page = (run / "report.html").stat().st_size
        print(row([f"{n:,}", *used[:2], used.peak_bytes / 1e9, page / 1e6], 9), flush=True)


# ---- a long training ----------------------------------------------------------------------------


def long_training(folder: Path, epochs: int, tensorboard: bool) -> None:
    """48 samples, a checkpoint and a line of history an epoch; twenty looks at the process."""
    write_set(folder / "s.h5", 48, (8, 8))
    words = ("data.file=s.h5", "run.name=long", f"aec.n_epochs={epochs}", "aec.batch_size=16",
             "aec.n_features=2", "aec.patience=1000000000", "aec.schedule=constant",
             f"run.tensorboard={'yes' if tensorboard else 'no'}")  # fmt: skip
    process = subprocess.Popen(
        stage(SCRIPTS[0], *SHORT[:1], *words), cwd=folder, env=environment(),
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    history, step = folder / "Outputs/long/AEC/history.csv", max(1, epochs // LOOKS)
    print(row(["epoch", "memory MB", "open files", "epochs/s"]))
    due, began = step, time.monotonic()
    while process.poll() is None:
        time.sleep(0.1)
        done = len(history.read_text().splitlines()) - 1 if history.exists() else 0
        if done >= due:
            due += step
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
            n_open = len(os.listdir(f"/proc/{process.pid}/fd"))
            memory = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
            print(row([f"{done:,}", memory, n_open, done / (time.monotonic() - began)]), flush=True)
    if process.returncode:
        sys.exit(f"the training ended with {process.returncode}")


if __name__ == "__main__":
    main()
