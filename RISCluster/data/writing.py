"""Writing the `samples` layout."""

from pathlib import Path

import h5py

from ..errors import DataError
from ..io import remove_quietly
from .synthetic import (
    CLASS_NAMES,
    HOP,
    NFFT,
    SAMPLING_RATE,
    WINDOW,
    SyntheticSet,
    make_synthetic_set,
)

DEMO_FILE = "Data/demo.h5"
DEMO_SAMPLES = 4000
DEMO_SNR = 6.0  # dB
DEMO_SEED = 2009


def write_demo(
    path: str | Path,
    n_samples: int = DEMO_SAMPLES,
    snr_db: float = DEMO_SNR,
    seed: int = DEMO_SEED,
    imbalance: float = 1.0,
) -> Path:
    """Write a synthetic set of known classes; see `make_synthetic_set` for the parameters.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    DataError
        The file can't be written.
    """
    path = Path(path)
    samples = make_synthetic_set(n_samples, snr_db, seed, imbalance)
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(partial, "w") as file:
            _fill(file, samples)
            file.attrs["source"] = "synthetic spectrograms of known classes, made by RISCluster"
            file.attrs["snr_db"], file.attrs["seed"] = snr_db, seed
        partial.replace(path)
    except OSError as error:
        remove_quietly(partial)
        raise DataError(
            f"{path}: can't be written: {error.strerror or error}; make room or change "
            "permissions, then run again"
        ) from None
    return path


def _fill(file: h5py.File, samples: SyntheticSet) -> None:
    n, f, t = samples.spectrogram.shape
    chunk = min(n, 64)
    spectrogram = file.create_dataset("spectrogram", data=samples.spectrogram, chunks=(chunk, f, t))
    spectrogram.attrs["units"] = "arbitrary power"
    spectrogram.attrs["sampling_rate"] = SAMPLING_RATE
    spectrogram.attrs["window_s"] = WINDOW / SAMPLING_RATE
    spectrogram.attrs["hop_s"] = HOP / SAMPLING_RATE
    spectrogram.attrs["nfft"] = NFFT
    file.create_dataset("frequency", data=samples.frequency).attrs["units"] = "Hz"
    file.create_dataset("time", data=samples.time).attrs["units"] = "s"
    iso = [f"{time}Z".encode() for time in samples.starttime]
    file.create_dataset("starttime", data=iso).attrs["units"] = "UTC, ISO 8601"
    file.create_dataset("trace_id", data=[name.encode() for name in samples.trace_id])
    file.create_dataset("labels", data=samples.labels).attrs["class_names"] = list(CLASS_NAMES)
