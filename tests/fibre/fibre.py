"""Small records of a fibre and settings for tests."""

from pathlib import Path

import h5py
import numpy as np

from RISCluster.settings import Settings, load_settings

RATE = 100.0  # Hz
START = 1_600_000_000  # s since 1970
SECOND = 10**9  # ns


def noise(n_samples: int, n_channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n_samples, n_channels), dtype=np.float32)


def record(path: Path, samples: np.ndarray, start=START, **attributes) -> Path:
    """A file of (time, channel) with the attributes most records have, and a start unless None."""
    with h5py.File(path, "w") as file:
        data = file.create_dataset("data", data=samples)
        data.attrs.update({"fs": RATE, "dims": "time,channel"} | attributes)
        if start is not None:
            data.attrs["start"] = start
    return path


def records_settings(*words: str) -> Settings:
    """Settings with words of [records]; windows are of 1 s at 0.5 s by default."""
    return load_settings(None, [f"records.{word}" for word in words])


AUTO = records_settings().records
