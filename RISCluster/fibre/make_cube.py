"""Make a cube of power spectra (K time steps, C channels, F frequency bins)."""

import math
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import scipy.fft
import scipy.signal

from .. import __version__
from ..data.layouts import SMALLEST, open_spectrograms
from ..data.storage import DIMENSIONS, PACKING, open_storage, other_files, stamp
from ..data.times import nanoseconds_to_iso, to_text
from ..errors import DataError, SettingsError
from ..io import is_remote, need, new_file, require_room
from ..parallel import Job, Parts, identity
from ..runtime import Progress, count, log
from ..settings import CubeSettings, RecordsSettings, Settings
from .clock import SECOND
from .cut import cut_series, take_channels, take_span
from .series import Series, open_series, warn_of

TAPERS = {"hann": "hann", "kaiser": ("kaiser", 5.7), "tukey": ("tukey", 0.25), "none": "boxcar"}
MIN_WINDOW, MIN_ROWS = 8, 4  # samples; frequencies that the network takes
# Numbers, which set how much memory a worker takes, whatever the size of the cube
CHUNK_VALUES, CHUNK_STEPS = 2**19, 16  # of a chunk of the cube, 2 MB; its steps, if there are any
PART_VALUES = 2**23  # of the result of a job, 32 MB
BLOCK_VALUES = 2**24  # of the samples of a job, 64 MB as float32
CACHED_VALUES = 2**17  # of the windows worked on at a time, to stay in the cache
AXES = ["time", "channel", "frequency"]
MANY = 10_000  # chunks, from which Zarr has several in a file
# Settings that came later: cubes that were made without them are the same
LATER = {f"records.{key}" for key in ("name_times", "after", "before", "section", "chunks")}
NOT_COPIED = {*PACKING, *DIMENSIONS, "coordinates", "made_from", "program"}  # attributes

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
    choices, parts = _choices(settings), Parts(target, settings.run)
    files = [[stamp(path), *other_files(path)] for path in paths]
    origin = identity({"settings": choices, "files": files})
    if is_done(target, origin, overwrite):
        parts.remove()
        return
    series = cut_series(open_series(paths, settings.records, workers), settings.records)
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
    _write(target, settings, (*chunk, shape[2]), size, shape, choices, parts, jobs)
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


def _choices(settings: Settings) -> dict[str, Any]:
    """Settings that determine the cube."""
    found = settings.inputs("records", "result")
    return {name: x for name, x in found.items() if name not in LATER or x not in (None, "auto")}


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


def is_done(target: Path, origin: str, overwrite: bool) -> bool:
    """Whether the target was made from the same; DataError where it was from something else."""
    if not target.exists() or overwrite:
        return False
    if made_from(target) != origin:
        raise DataError(
            f"{target} is there, and was made from other files or settings; give another name, or "
            "--overwrite"
        )
    log.info(f"{target}: done already, from the same files and settings")
    return True


def _write(
    target: Path, settings: Settings, chunks: tuple, size: Span, shape: tuple, choices: dict,
    parts: Parts, jobs: Sequence[Job],
) -> None:  # fmt: skip
    series, spectra, *_ = jobs[0].task
    rate, unit = spectra.sampling_rate, f"({series.unit})^2/Hz" if series.unit else "power per Hz"
    attributes = {
        "units": f"log10({unit})" if spectra.log else unit,
        "window_s": spectra.window / rate,
        "step_s": spectra.step / rate,
        "sampling_rate": rate,
    }
    for name, value in choices.items():
        pair = isinstance(value, (list, tuple))
        attributes[name] = list(map(float, value)) if pair else "none" if value is None else value
    seconds, times = np.arange(shape[0]) * (spectra.step / rate), None
    if series.start is not None:
        times = series.start + np.rint(seconds * SECOND).astype(np.int64)
    axes = Axes(times, seconds, series.distance, spectra.frequency, series.channel_names)
    blocks = (
        (*(slice(*span) for span in job.task[2:]), np.load(parts.path(job), allow_pickle=False))
        for job in jobs
    )
    layout = chunks, size
    write_cube(target, shape, layout, settings.records.chunks, axes, attributes, blocks)


class Axes(NamedTuple):
    """Coordinates of a cube, each None where it is unknown."""

    times: np.ndarray | None  # ns since 1970
    seconds: np.ndarray | None  # from the first step
    distance: np.ndarray | None  # m
    frequency: np.ndarray | None  # Hz
    names: Sequence[str] | None  # of channels


def write_cube(
    target: Path, shape: tuple, layout: tuple[tuple, Span], chosen: Any, axes: Axes,
    attributes: dict[str, Any], blocks: Iterator[tuple[slice, slice, np.ndarray]],
) -> None:  # fmt: skip
    """Write a cube in blocks; a target that was there is intact where that fails.

    xarray finds labelled axes in the root group, and CryoCube its own in ``metadata``. `layout` are
    chunks, and time steps and channels of a shard; `chosen` chunks, or ``auto``.
    """
    is_zarr, (chunks, size) = target.suffix.lower() == ".zarr", layout
    kind = {"fill_value": np.nan, "dimension_names": AXES} if is_zarr else {"fillvalue": np.nan}
    if chosen != "auto":
        chunks = tuple(map(min, chosen, shape))
    elif is_zarr and math.prod(-(-n // k) for n, k in zip(shape, chunks, strict=True)) > MANY:
        kind["shards"] = size[0], -(-size[1] // chunks[1]) * chunks[1], shape[2]
    if not is_zarr:  # HDF5 can't close a file on a full disk
        require_room(target, 4 * math.prod(shape))
    with (
        new_file(target) as path,
        Progress("writing", shape[0] * shape[1], "spectra") as progress,
        _opened(path, "w", target) as root,
    ):
        create = root.create_array if is_zarr else root.create_dataset
        data = create("data", shape=shape, chunks=chunks, dtype=np.float32, **kind)
        data.attrs.update(dimensions=AXES, program=f"RISCluster {__version__}", **attributes)
        root.attrs["Conventions"] = "CF-1.8"
        _write_axes(root, data, axes, shape)
        for steps, channels, values in blocks:
            data[steps, channels] = values
            progress.add(values.shape[0] * values.shape[1])
        if is_zarr:  # so that it can be read where folders can't be listed
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # not in the specification of Zarr 3 yet
                need("zarr").consolidate_metadata(root.store)


def _write_axes(root: Any, data: Any, axes: Axes, shape: tuple) -> None:
    """Coordinates in the root group, with names of their dimensions, and as CryoCube has them."""
    numbers = np.arange(shape[1])
    root.require_group("metadata")
    time = seconds = None if axes.seconds is None else (axes.seconds, "s")
    if axes.times is not None:
        time = axes.times, "nanoseconds since 1970-01-01"
        seconds = axes.times / 1e9, "seconds since 1970-01-01T00:00:00Z"
    metres = None if axes.distance is None else (axes.distance, "m")
    frequency = None if axes.frequency is None else (axes.frequency, "Hz")
    names = None if axes.names is None else (np.array(axes.names, dtype=object), "")
    for name, dimension, column in (
        ("time", "time", time), ("channel", "channel", (numbers, "")),
        ("frequency", "frequency", frequency), ("distance", "channel", metres),
        ("channel_name", "channel", names), ("metadata/time_coords", "", seconds),
        ("metadata/loc_coords", "", metres or (numbers.astype(float), "channel")),
        ("metadata/freq_coords", "", frequency), ("metadata/channel_names", "", names),
    ):  # fmt: skip
        if column is None:
            continue
        values, unit = column
        if isinstance(root, h5py.File):
            kind = h5py.string_dtype() if values.dtype == object else values.dtype
            array = root.create_dataset(name, data=values, dtype=kind)
            if name in AXES:
                array.make_scale(name)
                data.dims[AXES.index(name)].attach_scale(array)
            elif dimension:
                array.dims[0].attach_scale(root[dimension])
        else:
            labels = {"dimension_names": [dimension]} if dimension else {}
            kind = str if values.dtype == object else values.dtype
            array = root.create_array(name, shape=values.shape, dtype=kind, **labels)
            array[:] = values
        if unit:
            array.attrs["units"] = unit
    beside = [name for name in ("distance", "channel_name") if name in root]
    if beside:
        data.attrs["coordinates"] = " ".join(beside)


# ---- a cube that exists -------------------------------------------------------------------------


def holds_cube(path: Path) -> bool:
    """Whether a file is a cube and no record: a Zarr store, or HDF5 whose largest array is one."""
    if is_remote(path) or path.suffix.lower() == ".zarr":
        return True
    if not path.is_file() or not h5py.is_hdf5(path):
        return False
    storage = open_storage(path, "the cube")
    sizes = [(array.size or 0, array.ndim) for array in storage.arrays.values()]
    storage.close()
    return max(sizes, default=(0, 0))[1] == 3


def cut_cube(path: Path, target: Path, settings: Settings, overwrite: bool = False) -> None:
    """Write a part of a cube, in other chunks or another format."""
    records, cube, dataset = settings.records, settings.cube, settings.data.dataset
    files = [path] if path.is_file() else [x for x in path.rglob("*z*") if x.is_file()]
    inputs = _choices(settings) | {"cube": [str(cube.channels), str(cube.times), dataset]}
    origin = identity([inputs, str(path), sorted(map(stamp, files))])
    if is_done(target, origin, overwrite):
        return
    whole = CubeSettings(window=SMALLEST, stride=1, channels=cube.channels, times=cube.times)
    with open_spectrograms(path, "cube", dataset, whole) as file:
        steps, times = file.steps, None if file.times is None else file.times[file.steps]
        ends = None if times is None else times[[0, -1]].tolist()
        low, high = take_span(path, records, len(steps), ends, lambda at: times.searchsorted(at))
        steps, distance = steps[low:high], file.distance if file.distance_unit == "m" else None
        chosen = take_channels(path, records, distance, file.n_channels)
        low, high = records.band or (-np.inf, np.inf)
        rows = np.flatnonzero((file.frequency >= low) & (file.frequency <= high))
        if len(rows) < MIN_ROWS:
            raise DataError(
                f"{path}: records.band = {records.band} takes {count(len(rows), 'frequency bin')} "
                f"of {file.frequency[0]:g} to {file.frequency[-1]:g}; allowed: {MIN_ROWS} or more"
            )
        names = file.channel_names()
        axes = Axes(
            None if file.times is None else file.times[steps],
            None if file.seconds is None else file.seconds[steps],
            None if distance is None else distance[chosen],
            file.frequency[rows] if file.frequency_unit == "Hz" else None,
            None if file.names is None else [names[number] for number in chosen],
        )
        channels, shape = file.channels[chosen], (len(steps), len(chosen), len(rows))
        chunk, size = tile(*shape, 1, 1)

        def blocks() -> Iterator[tuple[slice, slice, np.ndarray]]:
            for first in range(0, shape[0], size[0]):
                some = steps[first : first + size[0]]
                for left in range(0, shape[1], size[1]):
                    near = channels[left : left + size[1]]
                    ranges = (some[0], some[-1] + 1), (near[0], near[-1] + 1)
                    what = f"time steps {some[0]} to {some[-1]}"
                    values = file.stored.read(what, *(tuple(map(int, x)) for x in ranges))
                    values = values[some - some[0]][:, near - near[0]][..., rows]
                    place = slice(first, first + len(some)), slice(left, left + len(near))
                    yield *place, values.astype(np.float32)

        kept = {
            name: to_text(x) if isinstance(x, bytes) else np.asarray(x).tolist()  # for Zarr
            for name, x in file.attributes.items()
            if name not in NOT_COPIED
        }
        kept |= {"made_from": origin, "cut_from": str(path)}
        layout = (*chunk, shape[2]), size
        write_cube(target, shape, layout, records.chunks, axes, kept, blocks())
    names = ("time step", "channel", "frequency"), ("", "", "frequencies")
    log.info(f"{target}: {' x '.join(map(count, shape, *names))}, cut from {path}")
