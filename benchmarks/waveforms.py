"""Rate of building a data set from waveforms against a plain loop, in one run on one machine.

The plain loop reads every file with obspy, removes the trend, filters, detects, computes each
window's spectrogram with scipy.signal.spectrogram, appends it to a list, and writes the list at
the end. Both have the same settings and find the same detections, but for one or two at ends of
the data, which the loop does not keep apart. They take turns, each in a
process of its own; the ratio is the median of those turn by turn.

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
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

SYNTHETIC = ("build.sampling_rate=auto", "build.on=6", "build.off=3", "build.lta=20")
RUTFORD = (
    "build.sampling_rate=auto",
    "build.bandpass=20-200",
    "build.sta=0.05",
    "build.lta=2",
    "build.on=6",
    "build.off=3",
    "build.dead_time=0.5",
    "build.taper=2",
    "build.length=1.6",
    "build.segment=0.064",
    "build.overlap=0.75",
    "build.frequencies=12-328",
)
RATE = 100.0  # Hz, of the synthetic stations
EVENTS = 4000  # a day


def write_synthetic(folder: Path, n_stations: int) -> None:
    """Days of noise with short events, as miniSEED."""
    import numpy as np
    import obspy

    n = round(86_400 * RATE)
    for station in range(n_stations):
        rng = np.random.default_rng(station)
        data = 100 * rng.standard_normal(n)
        wavelet_time = np.arange(-100, 101) / RATE
        wavelet = np.exp(-((wavelet_time / 0.1) ** 2)) * np.cos(2 * np.pi * 10 * wavelet_time)
        for place in rng.integers(5000, n - 5000, EVENTS):
            data[place - 100 : place + 101] += 20_000 * wavelet
        trace = obspy.Trace(data.astype(np.int32), {"network": "XX", "station": f"S{station}"})
        trace.stats.channel, trace.stats.sampling_rate = "HHZ", RATE
        trace.stats.starttime = obspy.UTCDateTime("2016-01-01")
        trace.write(str(folder / f"S{station}.mseed"), format="MSEED")


def plain_loop(paths: list[Path], target: Path, words: list[str]) -> dict:
    """What a script of thirty lines does."""
    import h5py
    import numpy as np
    import obspy
    from obspy.signal.trigger import recursive_sta_lta, trigger_onset
    from scipy.signal import spectrogram

    from RISCluster.settings import load_settings

    build = load_settings(None, words).build
    images, starts = [], []
    for path in paths:
        for trace in obspy.read(str(path)).merge():
            rate = trace.stats.sampling_rate
            trace.detrend("linear")
            trace.taper(None, "hann", build.taper)
            low, high = build.bandpass
            trace.filter("bandpass", freqmin=low, freqmax=high, corners=4, zerophase=True)
            n, segment = round(build.length * rate), round(build.segment * rate)
            overlap = round(build.overlap * segment)
            reach = (overlap + 1) // 2
            if build.method == "detect":
                lta = round(build.lta * rate)
                detector = recursive_sta_lta(trace.data, round(build.sta * rate), lta)
                begins, last = [], -np.inf
                for on, off in trigger_onset(detector, build.on, build.off):
                    if on > last + build.dead_time * rate:
                        last = off
                        begins.append(on + np.abs(trace.data[on : off + 1]).argmax() - n // 2)
            else:
                begins = range(0, len(trace.data) - n, round(build.step * rate))
            edge = round(build.taper * rate) + reach
            for begin in begins:
                if begin < edge or begin + n + edge > len(trace.data):
                    continue
                frequency, _, power = spectrogram(
                    trace.data[begin - reach : begin + n + reach],
                    fs=rate,
                    window=("kaiser", build.kaiser_beta),
                    nperseg=segment,
                    noverlap=overlap,
                    nfft=build.nfft,
                    detrend=False,
                )
                low, high = build.frequencies
                images.append(power[(frequency >= low) & (frequency <= high)].astype(np.float32))
                starts.append(str(trace.stats.starttime + begin / rate))
    with h5py.File(target, "w") as file:
        file["spectrogram"] = np.stack(images)
        file["starttime"] = starts
    return {"n": len(images)}


def built(paths: list[Path], target: Path, words: list[str], workers: int) -> dict:
    """This package."""
    from RISCluster.settings import load_settings
    from RISCluster.waveforms.build import build

    settings = load_settings(None, words)
    result = build([str(path) for path in paths], target, settings, workers=workers)
    return {"n": result.n_samples, "steps": dict(result.seconds)}


def in_a_process(how: str, folder: Path, target: Path, words: list[str]) -> dict:
    """One turn; time is counted from after the imports that both need."""
    command = [sys.executable, __file__, "--turn", how, str(folder), str(target), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def turn(how: str, folder: Path, target: Path, words: list[str]) -> None:
    import h5py  # noqa: F401
    import obspy.signal.trigger  # noqa: F401
    import scipy.signal  # noqa: F401

    from RISCluster.data.storage import find_files

    paths = find_files([str(folder)])
    begin = time.perf_counter()
    if how == "plain":
        found = plain_loop(paths, target, words)
    else:
        found = built(paths, target, words, int(how))
    seconds = time.perf_counter() - begin
    print(json.dumps({**found, "seconds": seconds, "bytes": target.stat().st_size}))
    target.unlink()
    target.with_suffix(".csv").unlink(missing_ok=True)


def compare(folder: Path, words: list[str], turns: int) -> None:
    """Print a table of rates, ratios and the share of time by step."""
    ways = {"plain loop": "plain", "build, 1 worker": "1", "build, 2 workers": "2"}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    last = {}
    with tempfile.TemporaryDirectory() as place:
        for _ in range(turns):
            for name, how in ways.items():
                last[name] = in_a_process(how, folder, Path(place) / "set.h5", words)
                seconds[name].append(last[name]["seconds"])
    print("| | windows | s | windows/s | ratio |\n|---|---|---|---|---|")
    for name, times in seconds.items():
        middle = statistics.median(times)
        ratio = statistics.median(
            plain / own for plain, own in zip(seconds["plain loop"], times, strict=True)
        )
        n = last[name]["n"]
        print(f"| {name} | {n:,} | {middle:.2f} | {n / middle:,.0f} | {ratio:.2f} |")
    alone = last["build, 1 worker"]
    rest = alone["seconds"] - sum(alone["steps"].values())
    shares = {**alone["steps"], "plan, put together": rest}
    print(", ".join(f"{key} {100 * s / alone['seconds']:.0f} %" for key, s in shares.items()))


def many_traces(workers: int) -> None:
    """Print the time that files with ever more traces take, which is to be as their number."""
    import numpy as np
    import obspy

    rng = np.random.default_rng(0)
    words = ["method=slide", "step=2", "length=2", "segment=0.4", "taper=0"]
    with tempfile.TemporaryDirectory() as place:
        print("| traces | s | ms/trace |\n|---|---|---|")
        for n in (100, 400, 1600, 3200):
            path, target = Path(place) / f"{n}.mseed", Path(place) / f"{n}.h5"
            header = {"network": "XX", "channel": "HHZ", "sampling_rate": RATE}
            header["starttime"] = obspy.UTCDateTime("2020-01-01")
            obspy.Stream(
                obspy.Trace(rng.integers(-999, 999, 3000, np.int32), header | {"station": f"{k}"})
                for k in range(n)
            ).write(str(path), format="MSEED")
            begin = time.perf_counter()
            built([path], target, [f"build.{word}" for word in words], workers)
            seconds = time.perf_counter() - begin
            print(f"| {n:,} | {seconds:.1f} | {1000 * seconds / n:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="a folder of waveforms; build.key=value settings")
    parser.add_argument("--rutford", action="store_true")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--stations", type=int, default=2, help="synthetic ones")
    parser.add_argument("--traces", action="store_true", help="many traces in one file")
    parser.add_argument("--turn", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.turn:
        folder, target, *words = arguments.words
        turn(arguments.turn, Path(folder), Path(target), words)
        return
    if arguments.traces:
        many_traces(workers=1)
        return
    settings = [word for word in arguments.words if "=" in word]
    folders = [word for word in arguments.words if "=" not in word]
    words = [*(RUTFORD if arguments.rutford else SYNTHETIC), *settings]
    if folders:
        compare(Path(folders[0]), words, arguments.turns)
        return
    with tempfile.TemporaryDirectory() as place:
        write_synthetic(Path(place), arguments.stations)
        for method in ("build.method=detect", "build.method=slide"):
            print(method)
            compare(Path(place), [*words, method], arguments.turns)


if __name__ == "__main__":
    main()
