"""Data sets and cubes, made against plain loops, and on a Dask cluster.

    python benchmarks/building.py cube [--channels 1000] [--seconds 240] [--workers 1]
    python benchmarks/building.py waves [FOLDER] [--stations 2] [build.key=value ...]
    python benchmarks/building.py dask [--stations 12]

Cube: synthetic records, float32 (time, channel), a file for every 30 s; the plain loop holds the
whole record in memory, calls scipy.signal.spectrogram for one channel after the other, and writes
all at once. Waves: synthetic stations, a day each, or a folder; the plain loop reads every file
with obspy, removes the trend, filters, detects, computes the spectrogram of each window, and writes
them at the end. Both sides have the same settings and find the same detections, but for one or two
at ends of the data. They take turns; each has a process of its own, its start counted.
Dask: `build` with one and two workers of one thread, the cluster's start not counted, and the cost
of a part without work.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from common import ROOT, command, environment, h5py, in_turns, np, parser, ratio, row, seconds
from scipy.signal import spectrogram

RATE, WINDOW, STEP, FILE_SECONDS = 500.0, 500, 250, 30  # of records: Hz, samples, samples, s
RECORDS = (f"records.window={WINDOW / RATE}", f"records.step={STEP / RATE}")
DETECT = ("build.sampling_rate=auto", "build.on=6", "build.off=3", "build.lta=20")
WAVE_RATE = 100.0  # Hz, of the synthetic stations
EVENTS = 4000  # a day


def run(arguments: list[str]) -> float:
    """Seconds of a command."""
    options = {"cwd": ROOT, "env": environment(None), "check": True}
    return seconds(lambda: subprocess.run(arguments, stdout=subprocess.DEVNULL, **options))


def compare(sides: dict[str, list[str]], turns: int, titles: list[str],
            amounts: Callable[[str], tuple[float, ...]]) -> None:  # fmt: skip
    """Print seconds and rates of commands, the first of which is the plain loop."""
    works = {name: lambda arguments=arguments: run(arguments) for name, arguments in sides.items()}
    found = in_turns(works, turns)
    print(row([f"medians of {turns}", "s", *(f"{title}/s" for title in titles), "x plain"]))
    for name, times in found.items():
        s = statistics.median(times)
        rates = [amount / s for amount in amounts(name)]
        print(row([name, s, *rates, ratio(found["plain loop"], times)]), flush=True)


# ---- cubes --------------------------------------------------------------------------------------


def cube(folder: Path, given: object) -> None:
    rng, source, n_seconds = np.random.default_rng(1), folder / "in", given.seconds or 240
    source.mkdir()
    for number in range(max(1, n_seconds // FILE_SECONDS)):
        with h5py.File(source / f"{number:05d}.h5", "w") as file:
            shape = (int(FILE_SECONDS * RATE), given.channels)
            data = file.create_dataset("data", data=rng.standard_normal(shape, np.float32))
            data.attrs.update({"fs": RATE, "dx": 4.0, "dims": "time,channel"})
            data.attrs["start"] = 1.6e9 + number * FILE_SECONDS
    size = sum(path.stat().st_size for path in source.iterdir()) / 1e9
    n_steps = int((max(n_seconds, FILE_SECONDS) * RATE - WINDOW) // STEP + 1)
    sides = {"plain loop": [sys.executable, __file__, "plain_cube", str(source), f"{folder}/p.h5"]}
    for kind in ("h5", "zarr"):
        target = str(folder / f"cube.{kind}")
        words = (*RECORDS, "-o", target, "--overwrite", f"--workers={given.workers}")
        sides[kind] = command("cube", str(source), *words)
    amounts = size, n_steps * given.channels
    compare(sides, given.turns, ["GB", "spectra"], lambda name: amounts)


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


def write_stations(folder: Path, n_stations: int, n_seconds: int) -> None:
    """Noise with short events, as miniSEED."""
    import obspy

    n, time = round(n_seconds * WAVE_RATE), np.arange(-100, 101) / WAVE_RATE
    wavelet = 20_000 * np.exp(-((time / 0.1) ** 2)) * np.cos(2 * np.pi * 10 * time)
    for station in range(n_stations):
        rng = np.random.default_rng(station)
        data = 100 * rng.standard_normal(n)
        for place in rng.integers(5000, n - 5000, EVENTS * n_seconds // 86_400):
            data[place - 100 : place + 101] += wavelet
        trace = obspy.Trace(data.astype(np.int32), {"sampling_rate": WAVE_RATE})
        trace.id, trace.stats.starttime = f"XX.S{station}..HHZ", obspy.UTCDateTime(2016, 1, 1)
        trace.write(str(folder / f"S{station}.mseed"), format="MSEED")


def waves(folder: Path, source: Path, words: list[str], turns: int) -> None:
    names = ("plain loop", "1 worker", "2 workers")
    targets = {name: str(folder / f"{name.replace(' ', '')}.h5") for name in names}
    plain = [sys.executable, __file__, "plain_waves", str(source), targets["plain loop"], *words]
    sides = {"plain loop": plain}
    for name in names[1:]:
        words_of = ("-o", targets[name], "--overwrite", f"--workers={name[0]}", *words)
        sides[name] = command("build", str(source), *words_of)

    def n_windows(name: str) -> tuple[int]:
        with h5py.File(targets[name]) as file:
            return (len(file["spectrogram"]),)

    compare(sides, turns, ["windows"], n_windows)


def plain_waves(source: Path, target: Path, words: list[str]) -> None:
    """What a short script does."""
    import obspy
    from obspy.signal.trigger import recursive_sta_lta, trigger_onset

    from RISCluster.settings import load_settings

    build, images, starts = load_settings(None, words).build, [], []
    for path in sorted(source.iterdir()):
        for item in obspy.read(str(path)).merge():
            rate = item.stats.sampling_rate
            item.detrend("linear")
            item.taper(None, "hann", build.taper)
            low, high = build.bandpass
            item.filter("bandpass", freqmin=low, freqmax=high, corners=4, zerophase=True)
            n, segment = round(build.length * rate), round(build.segment * rate)
            overlap = round(build.overlap * segment)
            reach, last = (overlap + 1) // 2, -np.inf
            edge = round(build.taper * rate) + reach
            detector = recursive_sta_lta(
                item.data, round(build.sta * rate), round(build.lta * rate)
            )
            for on, off in trigger_onset(detector, build.on, build.off):
                if on <= last + build.dead_time * rate:
                    continue
                last, begin = off, on + np.abs(item.data[on : off + 1]).argmax() - n // 2
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


# ---- a Dask cluster of this machine -------------------------------------------------------------


def empty(task: int, path: Path) -> dict:
    """A part without work."""
    path.write_text(str(task))
    return {}


def dask(folder: Path, source: Path, n_days: int, turns: int) -> None:
    import distributed

    from RISCluster.parallel import Job, Parts
    from RISCluster.settings import load_settings
    from RISCluster.waveforms.build import build

    os.environ["OMP_NUM_THREADS"] = "1"
    jobs, first = [Job(f"{i}", i, i) for i in range(300)], None
    for n in (1, 2):
        one = {"n_workers": n, "threads_per_worker": 1, "dashboard_address": None}
        with distributed.LocalCluster(**one) as cluster:
            words = "run.backend=dask", f"run.scheduler={cluster.scheduler_address}"
            settings, times = load_settings(None, words), []
            for turn in range(turns + 1):
                target = folder / f"{n}-{turn}.h5"
                times.append(seconds(lambda: build([str(source)], target, settings)))  # noqa: B023
            parts = Parts(folder / "empty", settings.run)
            each = seconds(lambda: parts.run(jobs, empty, 0, "Parts", "parts"))  # noqa: B023
            parts.remove()
        best = min(times[1:])  # the first loads the modules
        first = first or best
        efficiency, milliseconds = first / best / n, 1e3 * each / len(jobs)
        print(f"{n} workers: {best:.1f} s for {n_days} station-days, efficiency {efficiency:.2f}")
        print(f"{milliseconds:.0f} ms for a part without work")


def main() -> None:
    options = parser(__doc__)
    whats = ("cube", "waves", "dask", "plain_cube", "plain_waves")
    options.add_argument("what", choices=whats, metavar="|".join(whats[:3]))
    options.add_argument("words", nargs="*", help="a folder of waveforms; build.key=value settings")
    options.add_argument("--channels", type=int, default=1000)
    options.add_argument("--seconds", type=int, help="of records (240), or of each station (86400)")
    options.add_argument("--stations", type=int, default=2, help="synthetic ones")
    options.add_argument("--workers", type=int, default=1)
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
        elif given.what == "cube":
            cube(folder, given)
        else:
            if not paths:
                (folder / "in").mkdir()
                write_stations(folder / "in", given.stations, given.seconds or 86_400)
            source = (paths or [folder / "in"])[0]
            if given.what == "dask":
                dask(folder, source, given.stations, given.turns)
            else:
                waves(folder, source, [*DETECT, *words], given.turns)


if __name__ == "__main__":
    main()
