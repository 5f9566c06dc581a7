"""A synthetic cube of a fibre with known sources."""

from pathlib import Path

import h5py
import numpy as np

from ..data.times import SECOND
from .make_cube import tile, write_cube

CLASSES = ("noise", "vehicle", "pump", "earthquake")
BANDS = ((4, 3), (24, 1), (14, 3))  # Hz, centre and standard deviation, of the last three
N_CHANNELS, SPACING, STEP = 64, 10.0, 0.5  # m, s
FREQUENCY = np.arange(1.0, 41.0)  # Hz
START = 1_577_836_800 * SECOND  # 2020-01-01


def write_demo_cube(path: Path, n_samples: int, snr_db: float, seed: int) -> None:
    """Write a cube of about `n_samples` windows of four steps, and the source of each step.

    Vehicles drive along the fibre, pumps run at one place, earthquakes reach all channels; the
    power in their bands is `snr_db` over the background. ``/labels`` (time, channel) are indices
    into `CLASSES`.
    """
    rng, n_steps = np.random.default_rng(seed), max(64, 4 * n_samples // N_CHANNELS)
    strength = _sources(rng, n_steps)
    labels = np.where(strength.max(axis=0) > 0.4, strength.argmax(axis=0) + 1, 0)
    spectra = np.array([np.exp(-0.5 * ((FREQUENCY - f) / s) ** 2) for f, s in BANDS])
    power = 1 + 10 ** (snr_db / 10) * np.einsum("kmc,kf->mcf", strength, spectra)
    power = (power * rng.gamma(6, 1 / 6, power.shape) / FREQUENCY).astype(np.float32)
    seconds, shape = np.arange(n_steps) * STEP, power.shape
    times = START + np.rint(seconds * SECOND).astype(np.int64)
    axes = {"times": times, "distance": np.arange(N_CHANNELS) * SPACING, "frequency": FREQUENCY}
    about = {"units": "arbitrary power", "snr_db": snr_db, "seed": seed}
    blocks = iter([(slice(None), slice(None), power)])
    write_cube(path, shape, tile(shape), axes, about, blocks)
    with h5py.File(path, "a") as file:
        file["labels"] = labels.astype("i1")
        file["labels"].attrs["class_names"] = CLASSES
        for dimension, name in enumerate(("time", "channel")):
            file["labels"].dims[dimension].attach_scale(file[name])


def _sources(rng: np.random.Generator, n_steps: int) -> np.ndarray:
    """Relative power of vehicles, pumps and earthquakes, (3, M, C), 0 to 1."""
    t, x = np.mgrid[0:n_steps, 0:N_CHANNELS]
    found = np.zeros((3, n_steps, N_CHANNELS))
    for _ in range(max(1, n_steps // 64)):
        starts, places = rng.integers(n_steps, size=3), rng.integers(N_CHANNELS, size=3)
        speed = rng.choice([-1, 1]) * rng.uniform(0.6, 1.5)  # channels a step
        car = np.exp(-0.5 * ((x - places[0] - speed * (t - starts[0])) / 5) ** 2)
        runs = (t >= starts[1]) & (t < starts[1] + rng.integers(40, 120))
        since = t - starts[2] - np.abs(x - places[2]) / 8
        shaking = np.where(since >= 0, np.exp(-np.maximum(since, 0) / 8), 0)
        found = np.maximum(found, [car, runs & (np.abs(x - places[1]) < 6), shaking])
    return found
