"""Waveforms for the tests, and short ways to build from them."""

from pathlib import Path

import h5py
import numpy as np
import pandas

from RISCluster.settings import load_settings
from RISCluster.waveforms.build import build
from RISCluster.waveforms.read import DAY, SECOND, import_obspy

RATE = 50.0
MIDNIGHT = 1_451_606_400 * SECOND  # 2016-01-01T00:00:00Z
NOON = MIDNIGHT + DAY // 2
QUICK = ["build.sampling_rate=auto", "build.lta=5", "build.taper=2", "build.on=6", "build.off=2"]


def settings(*words: str):
    return load_settings(None, [*QUICK, *words])


def run(place, target, *words, **options):
    return build([str(place)], target, settings(*words), **options)


def noise(seconds: float, rate: float, seed: int = 0, scale: float = 100.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.rint(scale * rng.standard_normal(round(seconds * rate))).astype(np.int32)


def with_events(data: np.ndarray, rate: float, seconds, size: float = 20_000.0) -> np.ndarray:
    """Add short wavelets of 10 Hz whose largest amplitude is at the given times."""
    data = data.copy()
    for moment in seconds:
        time = np.arange(len(data)) / rate - moment
        wavelet = np.exp(-((time / 0.08) ** 2)) * np.cos(2 * np.pi * 10 * time)
        data += np.rint(size * wavelet).astype(data.dtype)
    return data


def eventful(seconds=120, events=(30, 60, 90), rate=RATE, seed=0, size=20_000.0):
    return with_events(noise(seconds, rate, seed), rate, events, size)


def write(path: Path, *pieces, **options) -> Path:
    """Write (trace id, start in ns, sampling rate, data) as one file of miniSEED."""
    obspy = import_obspy()
    stream = obspy.Stream()
    for trace_id, start, rate, data in pieces:
        trace = obspy.Trace(np.ascontiguousarray(data))
        trace.id = trace_id
        trace.stats.sampling_rate, trace.stats.starttime = rate, obspy.UTCDateTime(ns=int(start))
        stream.append(trace)
    stream.write(str(path), format="MSEED", **options)
    return path


def contents(path: Path) -> dict[str, np.ndarray]:
    """All data sets of a file."""
    with h5py.File(path, "r") as file:
        return {name: file[name][()] for name in file}


def equal(one, two):
    """Whether two data sets have the same values."""
    np.testing.assert_equal(contents(one), contents(two))


def rows(path: Path) -> list[dict[str, str]]:
    return pandas.read_csv(path, dtype=str, na_filter=False).to_dict("records")
