"""Efficiency of `build` on a Dask cluster of this machine, and the cost of a part without work.

python benchmarks/cluster.py --days 12 --workers 1,2
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import distributed
import numpy as np
import obspy

from RISCluster.parallel import Job, Parts
from RISCluster.settings import load_settings
from RISCluster.waveforms.build import build

RATE = 100.0  # Hz


def make_days(folder: Path, n: int) -> None:
    """Station-days of noise with a wavelet of 10 Hz every ten minutes."""
    rng, one = np.random.default_rng(0), np.arange(-1, 1, 1 / RATE)
    wavelet = 20_000 * np.exp(-((one / 0.08) ** 2)) * np.cos(2 * np.pi * 10 * one)
    for number in range(n):
        data = 100 * rng.standard_normal(int(86_400 * RATE))
        for at in range(60_000, len(data) - 1000, 60_000):
            data[at : at + len(one)] += wavelet
        trace = obspy.Trace(data.astype(np.int32))
        trace.id, trace.stats.sampling_rate = f"XX.S{number:03d}..HHZ", RATE
        trace.stats.starttime = obspy.UTCDateTime(2016, 1, 1)
        trace.write(str(folder / f"{number}.mseed"), format="MSEED")


def empty(task: int, path: Path) -> dict:
    """A part without work."""
    path.write_text(str(task))
    return {}


def main() -> None:
    """Print seconds and efficiency by number of workers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=12, help="station-days of 100 Hz")
    parser.add_argument("--workers", default="1,2", help="numbers of workers")
    parser.add_argument("--parts", type=int, default=300, help="parts without work")
    parser.add_argument(
        "--turns", type=int, default=3, help="repetitions, of which the fastest counts"
    )
    chosen = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "days").mkdir()
        make_days(folder / "days", chosen.days)
        first = None
        for n in map(int, chosen.workers.split(",")):
            options = {"n_workers": n, "threads_per_worker": 1, "dashboard_address": None}
            with distributed.LocalCluster(**options) as cluster:
                words = "run.backend=dask", f"run.scheduler={cluster.scheduler_address}"
                settings = load_settings(None, words)
                seconds = []
                for turn in range(chosen.turns + 1):  # the first loads the modules
                    began = time.monotonic()
                    build([str(folder / "days")], folder / f"{n}-{turn}.h5", settings)
                    seconds.append(time.monotonic() - began)
                parts, began = Parts(folder / "empty", settings.run), time.monotonic()
                parts.run(
                    [Job(f"{i}", i, i) for i in range(chosen.parts)], empty, 0, "Parts", "parts"
                )
                each = (time.monotonic() - began) / chosen.parts
                parts.remove()
            best = min(seconds[1:])
            first = first or best * n
            print(
                f"{n} workers: {best:.1f} s for {chosen.days} station-days, efficiency "
                f"{first / best / n:.2f}; {1e3 * each:.0f} ms for a part without work"
            )


if __name__ == "__main__":
    main()
