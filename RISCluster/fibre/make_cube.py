"""Make a cube of power spectra (K time steps, C channels, F frequency bins)."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.fft
import scipy.signal

from .. import __version__
from ..data.storage import other_files, stamp
from ..data.times import nanoseconds_to_iso
from ..errors import DataError, SettingsError
from ..io import need, new_file, require_room
from ..parallel import Job, Parts, identity
from ..runtime import Progress, count, log
from ..settings import RecordsSettings, Settings
from .clock import SECOND
from .series import Series, open_series, warn_of

TAPERS = {"hann": "hann", "kaiser": ("kaiser", 5.7), "tukey": ("tukey", 0.25), "none": "boxcar"}
MIN_WINDOW, MIN_ROWS = 8, 4  # samples; frequencies that the network takes
# Numbers, which set how much memory a worker takes, whatever the size of the cube
CHUNK_VALUES, CHUNK_STEPS = 2**19, 16  # of a chunk of the cube, 2 MB; its steps, if there are any
PART_VALUES = 2**23  # of the result of a job, 32 MB
BLOCK_VALUES = 2**24  # of the samples of a job, 64 MB as float32
CACHED_VALUES = 2**17  # of the windows worked on at a time, to stay in the cache
AXES = ["time", "channel", "frequency"]

Span = tuple[int, int]  # from the first to before the last


@dataclass(frozen=True)
class Spectra:
    """One-sided spectra of sliding windows, from row `first` to before row `last`."""

    sampling_rate: float  # Hz
    window: int  # samples
    step: int  # samples
    taper: str  # of `TAPERS`
    first: int
    last: int
    log: bool  # decimal logarithm

    @property
    def frequency(self) -> np.ndarray:
        """Hz of the rows, (F,), float64."""
        return np.arange(self.first, self.last) * (self.sampling_rate / self.window)

    def n_steps(self, n_samples: int) -> int:
        """Whole windows in a record; DataError where there is none."""
        if n_samples < self.window:
            raise DataError(
                f"[records] window = {self.window / self.sampling_rate:g} s is longer than the "
                f"record of {n_samples / self.sampling_rate:g} s; take a shorter one"
            )
        return (n_samples - self.window) // self.step + 1

    def calculate(self, samples: np.ndarray) -> np.ndarray:
        """Power of every window of samples (n, C), in unit^2/Hz or its logarithm: (K, C, F).

        NaN for windows with a missing sample, beyond float32, and in the logarithm for no power.
        """
        taper = scipy.signal.get_window(TAPERS[self.taper], self.window)
        scale = np.full(self.window // 2 + 1, 2 / (self.sampling_rate * (taper**2).sum()))
        scale[0] /= 2  # as the Nyquist frequency, it has no negative twin
        scale[self.window // 2 :] /= 2 - self.window % 2
        scale, taper = scale[self.first : self.last].astype(np.float32), taper.astype(np.float32)
        n_steps = self.n_steps(len(samples))
        out = np.empty((n_steps, samples.shape[1], len(scale)), dtype=np.float32)
        together = max(1, CACHED_VALUES // self.window)
        for channel, trace in enumerate(np.ascontiguousarray(samples.T)):
            windows = np.lib.stride_tricks.sliding_window_view(trace, self.window)[:: self.step]
            for at in range(0, n_steps, together):
                rows = slice(at, at + together)
                with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
                    tapered = windows[rows] - windows[rows].mean(axis=1, keepdims=True)
                    tapered = tapered.astype(np.float32, copy=False) * taper
                    spectrum = scipy.fft.rfft(tapered, overwrite_x=True)[:, self.first : self.last]
                    power = (np.square(spectrum.real) + np.square(spectrum.imag)) * scale
                    out[rows, channel] = np.log10(power) if self.log else power
        out[np.isinf(out)] = np.nan
        return out


def spectra_of(settings: RecordsSettings, sampling_rate: float) -> Spectra:
    """Spectra in whole samples and rows; SettingsError where these are too few."""
    lengths = {}
    for key, least in (("window", MIN_WINDOW), ("step", 1)):
        seconds = getattr(settings, key)
        exact = seconds * sampling_rate
        lengths[key] = n = round(exact)
        if n < least:
            raise SettingsError(
                f"[records] {key} = {seconds:g} s is {exact:g} samples at {sampling_rate:g} Hz; "
                f"allowed: {least} or more, {least / sampling_rate:g} s"
            )
        if abs(n - exact) > 1e-6 * exact:
            log.info(
                f"{key} of {seconds:g} s is not a whole number of samples: {n} are taken, "
                f"{n / sampling_rate:.6g} s"
            )
    spacing, band, slack = sampling_rate / lengths["window"], settings.band, 1e-6  # of a row
    first, last = 0, lengths["window"] // 2 + 1
    if band is not None:
        first = int(np.ceil(band.low / spacing - slack))
        last = min(last, int(np.floor(band.high / spacing + slack)) + 1)
    if last - first < MIN_ROWS or (band and band.high > sampling_rate / 2 * (1 + 1e-9)):
        raise SettingsError(
            f"[records] band = {band} has {max(0, last - first)} rows of those every {spacing:g} "
            f"Hz up to {sampling_rate / 2:g} Hz, half the sampling rate; allowed: {MIN_ROWS} rows "
            "or more up to there: take another band or a longer window"
        )
    is_log = settings.power == "log"
    return Spectra(sampling_rate, *lengths.values(), settings.taper, first, last, is_log)


# ---- jobs ---------------------------------------------------------------------------------------


def make_cube(
    paths: list[Path], target: Path, settings: Settings, workers: int = 1, overwrite: bool = False
) -> None:
    """Make a cube of spectra, by section [records] of the settings, the same for any `workers`.

    Finished parts are in ``<target>.parts`` until the target is complete.
    """
    began = time.monotonic()
    choices, parts = settings.inputs("records", "result"), Parts(target, settings.run)
    files = [[stamp(path), *other_files(path)] for path in paths]
    origin = identity({"settings": choices, "files": files})
    if target.exists() and not overwrite:
        if made_from(target) != origin:
            raise DataError(
                f"{target} is there, and was made from other files or settings; give another "
                "name, or --overwrite"
            )
        log.info(f"{target}: done already, from the same files and settings")
        parts.remove()
        return
    series = open_series(paths, settings.records, workers)
    spectra = spectra_of(settings.records, series.sampling_rate)
    shape = (spectra.n_steps(series.n_samples), series.n_channels, len(spectra.frequency))
    names = ("time step", "channel", "frequency"), ("", "", "frequencies")
    shown = " x ".join(map(count, shape, *names))
    log.info(
        f"{count(series.n_samples, 'sample')} at {series.sampling_rate:g} Hz, to a cube of "
        f"{shown}, {4 * math.prod(shape) / 1e9:.3g} GB"
    )
    chunk, size = tile(*shape, spectra.window, spectra.step)
    jobs = _jobs(series, spectra, shape[0], size, origin)
    if not parts.run(jobs, calculate_part, workers, "calculating", "spectra"):
        return
    summaries = [parts.summary(job) for job in jobs]
    lost = sorted({line for summary in summaries for line in summary["lost"]})
    missing = sum(summary["missing"] for summary in summaries) / (shape[0] * shape[1])
    if missing == 1:
        parts.remove()  # what is missing may be there the next time
        reason = lost[0] if lost else "every window touches a gap, or has no power"
        raise DataError(
            f"{target}: would have no value, and is not written ({reason}); check the files, or "
            "take a shorter records.window"
        )
    warn_of(lost)
    choices |= {"made_from": origin, "power": settings.records.power}
    _write(target, (*chunk, shape[2]), shape, choices, parts, jobs)
    parts.remove()
    span, seconds = f"{series.n_samples / series.sampling_rate:g} s", time.monotonic() - began
    if series.start is not None:
        end = series.start + round(series.n_samples * SECOND / series.sampling_rate)
        span = " to ".join(nanoseconds_to_iso([series.start, end]))
    log.info(
        f"{target}: {shown}, {spectra.frequency[0]:g} to {spectra.frequency[-1]:g} Hz; {span}; "
        f"{missing:.2%} of the steps are missing or {'somewhere ' * spectra.log}without power; "
        f"{shape[0] * shape[1] / seconds:,.3g} spectra/s"
    )


def tile(n_steps: int, n_channels: int, n_rows: int, window: int, step: int) -> tuple[Span, Span]:
    """Time steps and channels of a chunk with all frequencies, and of a job of whole chunks."""
    rows = max(1, CHUNK_VALUES // n_rows)  # of one step and channel each
    most = min(rows // min(CHUNK_STEPS, n_steps), BLOCK_VALUES // window)
    channels = _even(n_channels, max(1, most))
    most = min(rows // channels, (BLOCK_VALUES // channels - window) // step + 1)
    steps = _even(n_steps, max(1, most))
    most = min(PART_VALUES // (steps * n_rows), BLOCK_VALUES // ((steps - 1) * step + window))
    wide = min(n_channels, channels * max(1, most // channels))
    most = min(PART_VALUES // (wide * n_rows), (BLOCK_VALUES // wide - window) // step + 1)
    return (steps, channels), (steps * max(1, most // steps), wide)


def _even(n: int, most: int) -> int:
    """Length of equal chunks, so that the last is not mostly padding."""
    return -(-n // -(-n // most))


def _jobs(series: Series, spectra: Spectra, n_steps: int, size: Span, origin: str) -> list[Job]:
    """Jobs, each with a task of series, spectra, span of time steps, and span of channels."""
    jobs = []
    for first in range(0, n_steps, size[0]):
        last = min(n_steps, first + size[0])
        samples = first * spectra.step, (last - 1) * spectra.step + spectra.window
        needed = series.between(*samples)
        for left in range(0, series.n_channels, size[1]):
            channels = left, min(series.n_channels, left + size[1])
            inputs = [origin, __version__, (first, last), channels]
            name = f"{first:09d}-{left:06d}.npy"
            task = needed, spectra, (first, last), channels
            jobs.append(Job(name, task, inputs, (last - first) * (channels[1] - left)))
    return jobs


def calculate_part(task: tuple[Series, Spectra, Span, Span], path: Path) -> dict[str, Any]:
    """Write spectra as a file of NumPy; how many are missing, and lines about lost samples."""
    series, spectra, (first, last), channels = task
    stop = (last - 1) * spectra.step + spectra.window
    samples, lost = series.read(first * spectra.step, stop, *channels)
    power = spectra.calculate(samples)
    missing = int((np.isnan(power).any(axis=2) | ~power.any(axis=2)).sum())
    with new_file(path) as partial, partial.open("wb") as file:
        np.save(file, power)
    return {"missing": missing, "lost": lost}


# ---- the cube -----------------------------------------------------------------------------------


def require_cube_name(target: Path) -> None:
    """Refuse a name of another format, and a Zarr folder where zarr is missing."""
    if target.suffix.lower() == ".zarr":
        need("zarr")
    elif target.suffix.lower() not in (".h5", ".hdf5"):
        raise SettingsError(
            f"command line: -o {target} is not allowed; allowed: a name that ends in .zarr, .h5 or "
            ".hdf5"
        )


def made_from(target: Path) -> str | None:
    """Attribute ``made_from`` of a cube; None where there is none."""
    try:
        with _opened(target, "r", target) as root:
            return root["data"].attrs.get("made_from")
    except (OSError, KeyError, ValueError, TypeError):
        return None


@contextmanager
def _opened(path: Path, mode: str, target: Path) -> Iterator[Any]:
    """Root group of HDF5 or, by the name of the target, of Zarr."""
    if target.suffix.lower() == ".zarr":
        yield need("zarr").open_group(path, mode=mode)
    else:
        with h5py.File(path, mode) as file:
            yield file


def _coordinates(series: Series, spectra: Spectra, n_steps: int) -> dict[str, tuple]:
    """Values along each axis and their unit, by the name in the file."""
    seconds, unit = np.arange(n_steps) * (spectra.step / spectra.sampling_rate), "s"
    if series.start is not None:
        # Whole seconds apart, for the rest would lose digits beside them.
        whole, rest = divmod(series.start, SECOND)
        seconds, unit = whole + (seconds + rest / SECOND), "seconds since 1970-01-01T00:00:00Z"
    numbers = np.arange(series.n_channels, dtype=float), "channel"
    return {
        "time_coords": (seconds, unit),
        "loc_coords": numbers if series.distance is None else (series.distance, "m"),
        "freq_coords": (spectra.frequency, "Hz"),
    }


def _write(
    target: Path, chunks: tuple, shape: tuple, choices: dict, parts: Parts, jobs: Sequence[Job]
) -> None:
    """Write the cube in order; a target that was there is intact where that fails."""
    (series, spectra, *_), is_zarr = jobs[0].task, target.suffix.lower() == ".zarr"
    rate, unit = spectra.sampling_rate, f"({series.unit})^2/Hz" if series.unit else "power per Hz"
    attributes = {
        "units": f"log10({unit})" if spectra.log else unit,
        "dimensions": AXES,
        "window_s": spectra.window / rate,
        "step_s": spectra.step / rate,
        "sampling_rate": rate,
        "program": f"RISCluster {__version__}",
    }
    for name, value in choices.items():
        pair = isinstance(value, (list, tuple))
        attributes[name] = list(map(float, value)) if pair else "none" if value is None else value
    layout = {"fill_value": np.nan, "dimension_names": AXES} if is_zarr else {"fillvalue": np.nan}
    if not is_zarr:  # HDF5 can't close a file on a full disk
        require_room(target, 4 * math.prod(shape))
    total = sum(job.size for job in jobs)
    with (
        new_file(target) as path,
        Progress("writing", total, "spectra") as progress,
        _opened(path, "w", target) as root,
    ):
        create = root.create_array if is_zarr else root.create_dataset
        data = create("data", shape=shape, chunks=chunks, dtype=np.float32, **layout)
        data.attrs.update(attributes)
        group = root.create_group("metadata")
        for name, (values, unit) in _coordinates(series, spectra, shape[0]).items():
            group[name] = values
            group[name].attrs["units"] = unit
        if (names := series.channel_names) and is_zarr:
            texts = group.create_array("channel_names", shape=(len(names),), dtype=str)
            texts[:] = np.array(names, dtype=object)
        elif names:
            group["channel_names"] = [name.encode() for name in names]
        for job in jobs:
            steps, channels = job.task[2:]
            data[slice(*steps), slice(*channels)] = np.load(parts.path(job), allow_pickle=False)
            progress.add(job.size)
