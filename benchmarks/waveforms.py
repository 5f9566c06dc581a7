"""Rate of building a data set from waveforms against a plain loop, in one run on one machine.

The plain loop reads every file with obspy, removes the trend, filters, detects, computes each
window's spectrogram with scipy.signal.spectrogram, appends it to a list, and writes the list at
the end. Both have the same settings and find the same detections, but for one or two at ends of
the data, which the loop does not treat apart. They take turns, each in a process of its own.

    python benchmarks/waveforms.py                         two stations, a day each, synthetic
    python benchmarks/waveforms.py FOLDER --rutford        the settings for icequakes at 1000 Hz
    python benchmarks/waveforms.py FOLDER build.on=10 ...  other settings
    python benchmarks/waveforms.py --traces                100 to 3,200 traces of 30 s in one file
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from common import environment, h5py, in_turns, np, parser, ratio, row, seconds

SYNTHETIC = ("build.sampling_rate=auto", "build.on=6", "build.off=3", "build.lta=20")
RUTFORD = (
    "build.sampling_rate=auto", "build.bandpass=20-200", "build.sta=0.05", "build.lta=2",
    "build.on=6", "build.off=3", "build.dead_time=0.5", "build.taper=2", "build.length=1.6",
    "build.segment=0.064", "build.overlap=0.75", "build.frequencies=12-328",
)  # fmt: skip
RATE = 100.0  # Hz, of the synthetic stations
EVENTS = 4000  # a day
WAYS = {"plain loop": "plain", "build, 1 worker": "1", "build, 2 workers": "2"}


def trace(data: np.ndarray, station: str) -> object:
    """A trace of a synthetic station."""
    import obspy

    header = {"network": "XX", "station": station, "channel": "HHZ", "sampling_rate": RATE}
    return obspy.Trace(data.astype(np.int32), header | {"starttime": obspy.UTCDateTime(2016, 1, 1)})


def write_synthetic(folder: Path, n_stations: int) -> None:
    """Days of noise with short events, as miniSEED."""
    n, time = round(86_400 * RATE), np.arange(-100, 101) / RATE
    wavelet = 20_000 * np.exp(-((time / 0.1) ** 2)) * np.cos(2 * np.pi * 10 * time)
    for station in range(n_stations):
        rng = np.random.default_rng(station)
        data = 100 * rng.standard_normal(n)
        for place in rng.integers(5000, n - 5000, EVENTS):
            data[place - 100 : place + 101] += wavelet
        trace(data, f"S{station}").write(str(folder / f"S{station}.mseed"), format="MSEED")


# ---- the two sides ------------------------------------------------------------------------------


def plain_loop(paths: list[Path], target: Path, words: list[str]) -> dict:
    """What a short script does."""
    import obspy
    from scipy.signal import spectrogram

    from RISCluster.settings import load_settings

    build = load_settings(None, words).build
    images, starts = [], []
    for path in paths:
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
        file["spectrogram"] = np.stack(images)
        file["starttime"] = starts
    return {"n": len(images)}


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


def built(paths: list[Path], target: Path, words: list[str], workers: int) -> dict:
    """This package."""
    from RISCluster.settings import load_settings
    from RISCluster.waveforms.build import build

    result = build(
        [str(path) for path in paths], target, load_settings(None, words), workers=workers
    )
    return {"n": result["samples"]}


def turn(how: str, folder: Path, target: Path, words: list[str]) -> None:
    """In a process of its own: one side, timed after the imports that both need."""
    import obspy.signal.trigger  # noqa: F401
    import scipy.signal  # noqa: F401

    from RISCluster.data.storage import find_files

    paths, found = find_files([str(folder)]), {}

    def work() -> None:
        one = plain_loop(paths, target, words) if how == "plain" else None
        found.update(one or built(paths, target, words, int(how)))

    found["seconds"] = seconds(work)
    print(json.dumps(found))
    target.unlink()
    target.with_suffix(".csv").unlink(missing_ok=True)


# ---- tables -------------------------------------------------------------------------------------


def compare(folder: Path, words: list[str], turns: int) -> None:
    """Print a table of rates and ratios."""
    last: dict[str, dict] = {}
    with tempfile.TemporaryDirectory() as place:

        def once(name: str) -> float:
            arguments = ["--turn", WAYS[name], str(folder), str(Path(place) / "set.h5"), *words]
            done = subprocess.run([sys.executable, __file__, *arguments], stdout=subprocess.PIPE,
                                  env=environment(None), text=True, check=True)  # fmt: skip
            last[name] = json.loads(done.stdout.splitlines()[-1])
            return last[name]["seconds"]

        found = in_turns({name: lambda name=name: once(name) for name in WAYS}, turns)
    print(row(["", "windows", "s", "windows/s", "ratio"]))
    for name, times in found.items():
        middle, n = statistics.median(times), last[name]["n"]
        print(row([name, n, middle, n / middle, ratio(found["plain loop"], times)]))


def many_traces() -> None:
    """Print the time that files with more and more traces take: it should be proportional."""
    import obspy

    rng = np.random.default_rng(0)
    words = ["method=slide", "step=2", "length=2", "segment=0.4", "taper=0"]
    words = [f"build.{word}" for word in words]
    print(row(["traces", "s", "ms/trace"]))
    with tempfile.TemporaryDirectory() as place:
        for n in (100, 400, 1600, 3200):
            path, target = Path(place) / f"{n}.mseed", Path(place) / f"{n}.h5"
            traces = [trace(rng.integers(-999, 999, 3000), f"{number}") for number in range(n)]
            obspy.Stream(traces).write(str(path), format="MSEED")
            taken = seconds(lambda path=path, target=target: built([path], target, words, 1))
            print(row([f"{n:,}", taken, 1000 * taken / n]), flush=True)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("words", nargs="*", help="a folder of waveforms; build.key=value settings")
    options.add_argument("--rutford", action="store_true")
    options.add_argument("--turns", type=int, default=3)
    options.add_argument("--stations", type=int, default=2, help="synthetic ones")
    options.add_argument("--traces", action="store_true", help="many traces in one file")
    options.add_argument("--turn", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.turn:
        folder, target, *words = given.words
        turn(given.turn, Path(folder), Path(target), words)
    elif given.traces:
        many_traces()
    else:
        words = [*(RUTFORD if given.rutford else SYNTHETIC)]
        words += [word for word in given.words if "=" in word]
        folders = [word for word in given.words if "=" not in word]
        if folders:
            compare(Path(folders[0]), words, given.turns)
            return
        with tempfile.TemporaryDirectory() as place:
            write_synthetic(Path(place), given.stations)
            for method in ("build.method=detect", "build.method=slide"):
                print(method)
                compare(Path(place), [*words, method], given.turns)


if __name__ == "__main__":
    main()
