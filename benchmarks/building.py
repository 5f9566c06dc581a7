"""Data sets and cubes: making them against plain loops, reading them against h5py and zarr.

    python benchmarks/building.py read [--gigabytes 1]
    python benchmarks/building.py cube [--channels 1000] [--seconds 240] [--workers 1]
    python benchmarks/building.py waves [FOLDER] [--rutford] [build.key=value ...]
    python benchmarks/building.py traces                   100 to 3,200 traces of 30 s in one file

Read: 100 channels of 100 frequencies, windows of 4 time steps, in blocks of the same size. Cube:
synthetic records, float32 (time, channel), a file for every 30 s; the plain loop holds the whole
record in memory, calls scipy.signal.spectrogram for one channel after the other, and writes all at
once. Waves: two synthetic stations, a day each, or a folder (--rutford: the settings for icequakes
at 1000 Hz); the plain loop reads every file with obspy, removes the trend, filters, detects,
computes the spectrogram of each window, and writes them at the end. Both sides have the same
settings and find the same detections, but for one or two at ends of the data. All take turns; what
is made has a process of its own, its start counted.
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
RATE, WINDOW, STEP, FILE_SECONDS = 500.0, 500, 250, 30  # of records: Hz, samples, samples, s
RECORDS = (f"records.window={WINDOW / RATE}", f"records.step={STEP / RATE}")
SYNTHETIC = ("build.sampling_rate=auto", "build.on=6", "build.off=3", "build.lta=20")
RUTFORD = (
    "build.sampling_rate=auto", "build.bandpass=20-200", "build.sta=0.05", "build.lta=2",
    "build.on=6", "build.off=3", "build.dead_time=0.5", "build.taper=2", "build.length=1.6",
    "build.segment=0.064", "build.overlap=0.75", "build.frequencies=12-328",
)  # fmt: skip
SLIDE = ("build.method=slide", "build.step=2", "build.length=2", "build.segment=0.4",
         "build.taper=0")  # fmt: skip
WAVE_RATE = 100.0  # Hz, of the synthetic stations
EVENTS = 4000  # a day


def run(arguments: list[str]) -> float:
    """Seconds of a command."""

    def work() -> None:
        subprocess.run(
            arguments, cwd=ROOT, env=environment(None), check=True, stdout=subprocess.DEVNULL
        )

    return seconds(work)


def plain_side(*words: object) -> list[str]:
    """Command line of a plain loop of this file."""
    return [sys.executable, __file__, *map(str, words)]


def compare(sides: dict[str, list[str]], turns: int, titles: list[str], amounts: dict) -> None:
    """Print seconds and rates of commands, the first of which is the plain loop."""
    works = {name: lambda arguments=arguments: run(arguments) for name, arguments in sides.items()}
    found = in_turns(works, turns)
    print(row([f"medians of {turns}", "s", *(f"{title}/s" for title in titles), "x plain"]))
    for name, times in found.items():
        s = statistics.median(times)
        rates = [(amount() if callable(amount) else amount) / s for amount in amounts[name]]
        print(row([name, s, *rates, ratio(found[next(iter(sides))], times)]), flush=True)


# ---- reading ------------------------------------------------------------------------------------


def read(folder: Path, gigabytes: float, turns: int) -> None:
    import RISCluster.data.loading  # noqa: F401  (not timed)
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

    for name, options in (("HDF5", {}), ("HDF5, gzip 4", {"compression": 4, "shuffle": 1})):
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


# ---- cubes --------------------------------------------------------------------------------------


def cube(folder: Path, given: object) -> None:
    rng, source = np.random.default_rng(1), folder / "in"
    source.mkdir()
    for number in range(max(1, given.seconds // FILE_SECONDS)):
        with h5py.File(source / f"{number:05d}.h5", "w") as file:
            shape = (int(FILE_SECONDS * RATE), given.channels)
            data = file.create_dataset("data", data=rng.standard_normal(shape, np.float32))
            data.attrs.update({"fs": RATE, "dx": 4.0, "dims": "time,channel"})
            data.attrs["start"] = 1.6e9 + number * FILE_SECONDS
    size = sum(path.stat().st_size for path in source.iterdir()) / 1e9
    n_steps = int((max(given.seconds, FILE_SECONDS) * RATE - WINDOW) // STEP + 1)
    sides = {"plain loop": plain_side("plain_cube", source, folder / "p.h5")}
    for kind in ("h5", "zarr"):
        target = str(folder / f"cube.{kind}")
        words = (*RECORDS, "-o", target, "--overwrite", f"--workers={given.workers}")
        sides[kind] = command("cube", str(source), *words)
    amounts = dict.fromkeys(sides, (size, n_steps * given.channels))
    compare(sides, given.turns, ["GB", "spectra"], amounts)


def plain_cube(source: Path, target: Path) -> None:
    samples = []
    for path in sorted(source.iterdir()):
        with h5py.File(path) as file:
            samples.append(file["data"][:])
    record = np.concatenate(samples)
    power = [spectrogram(x, RATE, "hann", WINDOW, WINDOW - STEP)[2].T for x in record.T]
    with h5py.File(target, "w") as file:
        file["data"] = np.stack(power, axis=1)


# ---- data sets of waveforms ---------------------------------------------------------------------


def trace(data: np.ndarray, station: str) -> object:
    """A trace of a synthetic station."""
    import obspy

    header = {"network": "XX", "station": station, "channel": "HHZ", "sampling_rate": WAVE_RATE}
    return obspy.Trace(data.astype(np.int32), header | {"starttime": obspy.UTCDateTime(2016, 1, 1)})


def write_stations(folder: Path, n_stations: int, n_seconds: int) -> None:
    """Noise with short events, as miniSEED."""
    n, time = round(n_seconds * WAVE_RATE), np.arange(-100, 101) / WAVE_RATE
    wavelet = 20_000 * np.exp(-((time / 0.1) ** 2)) * np.cos(2 * np.pi * 10 * time)
    for station in range(n_stations):
        rng = np.random.default_rng(station)
        data = 100 * rng.standard_normal(n)
        for place in rng.integers(5000, n - 5000, EVENTS * n_seconds // 86_400):
            data[place - 100 : place + 101] += wavelet
        trace(data, f"S{station}").write(str(folder / f"S{station}.mseed"), format="MSEED")


def waves(folder: Path, source: Path, words: list[str], turns: int) -> None:
    targets = {name: folder / f"{name.replace(' ', '')}.h5" for name in
               ("plain loop", "1 worker", "2 workers")}  # fmt: skip
    sides = {"plain loop": plain_side("plain_waves", source, targets["plain loop"], *words)}
    for name in list(targets)[1:]:
        words_of = ("-o", str(targets[name]), "--overwrite", f"--workers={name[0]}", *words)
        sides[name] = command("build", str(source), *words_of)

    def n_windows(path: Path) -> int:
        with h5py.File(path) as file:
            return len(file["spectrogram"])

    amounts = {name: [lambda path=path: n_windows(path)] for name, path in targets.items()}
    compare(sides, turns, ["windows"], amounts)


def plain_waves(source: Path, target: Path, words: list[str]) -> None:
    """What a short script does."""
    import obspy

    from RISCluster.data.storage import find_files
    from RISCluster.settings import load_settings

    build = load_settings(None, words).build
    images, starts = [], []
    for path in find_files([str(source)]):
        for item in obspy.read(str(path)).merge():
            rate = item.stats.sampling_rate
            item.detrend("linear")
            item.taper(None, "hann", build.taper)
            low, high = build.bandpass
            item.filter("bandpass", freqmin=low, freqmax=high, corners=4, zerophase=True)
            n, segment = round(build.length * rate), round(build.segment * rate)
            overlap = round(build.overlap * segment)
            reach = (overlap + 1) // 2
            edge = round(build.taper * rate) + reach
            for begin in begins(item.data, rate, n, build):
                if begin < edge or begin + n + edge > len(item.data):
                    continue
                frequency, _, power = spectrogram(
                    item.data[begin - reach : begin + n + reach], rate,
                    ("kaiser", build.kaiser_beta), segment, overlap, build.nfft, detrend=False,
                )  # fmt: skip
                low, high = build.frequencies
                images.append(power[(frequency >= low) & (frequency <= high)].astype(np.float32))
                starts.append(str(item.stats.starttime + begin / rate))
    with h5py.File(target, "w") as file:
        file["spectrogram"], file["starttime"] = np.stack(images), starts


def begins(data: np.ndarray, rate: float, n: int, build: object) -> list[int]:
    """First samples of the windows."""
    from obspy.signal.trigger import recursive_sta_lta, trigger_onset

    if build.method != "detect":
        return list(range(0, len(data) - n, round(build.step * rate)))
    detector = recursive_sta_lta(data, round(build.sta * rate), round(build.lta * rate))
    found, last = [], -np.inf
    for on, off in trigger_onset(detector, build.on, build.off):
        if on > last + build.dead_time * rate:
            last = off
            found.append(on + np.abs(data[on : off + 1]).argmax() - n // 2)
    return found


def many_traces(folder: Path) -> None:
    """The time that files with more and more traces take should be proportional."""
    import obspy

    rng = np.random.default_rng(0)
    print(row(["traces", "s", "ms/trace"]))
    for n in (100, 400, 1600, 3200):
        path, target = folder / f"{n}.mseed", folder / f"{n}.h5"
        traces = [trace(rng.integers(-999, 999, 3000), f"{number}") for number in range(n)]
        obspy.Stream(traces).write(str(path), format="MSEED")
        words = ("-o", str(target), "build.sampling_rate=auto", "--workers=1", *SLIDE)
        taken = run(command("build", str(path), *words))
        print(row([f"{n:,}", taken, 1000 * taken / n]), flush=True)


def main() -> None:
    options = parser(__doc__)
    whats = ("read", "cube", "waves", "traces", "plain_cube", "plain_waves")
    options.add_argument("what", choices=whats, metavar="|".join(whats[:4]))
    options.add_argument("words", nargs="*", help="a folder of waveforms; build.key=value settings")
    options.add_argument("--gigabytes", type=float, default=1.0)
    options.add_argument("--channels", type=int, default=1000)
    options.add_argument("--seconds", type=int, help="of records (240), or of each station (86400)")
    options.add_argument("--stations", type=int, default=2, help="synthetic ones")
    options.add_argument("--workers", type=int, default=1)
    options.add_argument("--rutford", action="store_true")
    options.add_argument("--turns", type=int, default=3)
    given = options.parse_args()
    words = [word for word in given.words if "=" in word]
    paths = [Path(word).absolute() for word in given.words if "=" not in word]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if given.what == "plain_cube":
            plain_cube(*paths)
        elif given.what == "plain_waves":
            plain_waves(*paths, words)
        elif given.what == "read":
            read(folder, given.gigabytes, given.turns)
        elif given.what == "cube":
            given.seconds = given.seconds or 240
            cube(folder, given)
        elif given.what == "traces":
            many_traces(folder)
        else:
            words = [*(RUTFORD if given.rutford else SYNTHETIC), *words]
            if not paths:
                (folder / "in").mkdir()
                write_stations(folder / "in", given.stations, given.seconds or 86_400)
            for method in ("detect", "slide") if not paths else ("",):
                more = [f"build.method={method}"] if method else []
                print(*more)
                waves(folder, *(paths or [folder / "in"]), [*words, *more], given.turns)


if __name__ == "__main__":
    main()
