"""Make a cube of power spectra (K time steps, C channels, F frequency bins)."""

import contextlib
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import scipy.signal

from .. import __version__
from ..data.layouts import SMALLEST, open_spectrograms
from ..data.storage import open_storage, stamp
from ..data.times import SECOND, nanoseconds_to_iso, to_text
from ..errors import DataError, SettingsError
from ..io import is_remote, need, new_file, require_room
from ..parallel import Job, Parts, identity
from ..runtime import Progress, count, log
from ..settings import CubeSettings, RecordsSettings, Settings
from ..waveforms.build import is_done, require_ending
from ..waveforms.read import warn_of
from .series import Series, choose_part, open_series

TAPERS = {"hann": "hann", "kaiser": ("kaiser", 5.7), "tukey": ("tukey", 0.25), "none": "boxcar"}
MIN_WINDOW, MIN_ROWS = 8, 4  # samples; frequencies that the network takes
CHUNK_VALUES, CHUNK_STEPS = 2**19, 16  # of a chunk of the cube, 2 MB; its steps, if there are any
BLOCK_VALUES = 2**24  # samples of the windows, and values of the cube, that are worked on at once
AXES = ["time", "channel", "frequency"]
MANY = 10_000  # chunks, from which Zarr has several in a file
KEPT = ("units", "power", "window_s", "step_s", "sampling_rate")  # attributes of a part

Block = tuple[slice, slice, np.ndarray]  # time steps, channels, and their values


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
        traces = np.ascontiguousarray(samples.T)  # the last digits depend on the order in memory
        taper, overlap = TAPERS[self.taper], self.window - self.step
        with np.errstate(all="ignore"):
            *_, power = scipy.signal.spectrogram(
                traces, self.sampling_rate, taper, self.window, overlap
            )
            power = power[:, self.first : self.last].transpose(2, 0, 1).astype(np.float32, "C")
            power = np.log10(power) if self.log else power
        power[np.isinf(power)] = np.nan
        return power


def spectra_of(settings: RecordsSettings, rate: float) -> Spectra:
    """Spectra in whole samples and rows; SettingsError where these are too few."""
    window, step = round(settings.window * rate), round(settings.step * rate)
    if window < MIN_WINDOW or step < 1:
        raise SettingsError(
            f"[records] window = {settings.window:g}, step = {settings.step:g} s are {window} and "
            f"{step} samples at {rate:g} Hz; allowed: {MIN_WINDOW} and 1 or more"
        )
    spacing, slack = rate / window, 1e-6  # of a row
    low, high = settings.band or (0, rate / 2)
    first = math.ceil(low / spacing - slack)
    last = min(window // 2, math.floor(high / spacing + slack)) + 1
    if last - first < MIN_ROWS or high > rate / 2 * (1 + 1e-9):
        raise SettingsError(
            f"[records] band = {settings.band} has {max(0, last - first)} rows of those every "
            f"{spacing:g} Hz up to {rate / 2:g} Hz, half the sampling rate; allowed: {MIN_ROWS} "
            "rows or more up to there: take another band or a longer window"
        )
    return Spectra(rate, window, step, settings.taper, first, last, settings.power == "log")


class Tiles(NamedTuple):
    """How a cube is divided; see `tile`."""

    chunk: tuple[int, ...]  # time steps, channels and frequencies
    size: tuple[int, int]  # time steps and channels of a block, which is worked on at once

    def blocks(self, n_steps: int, n_channels: int) -> Iterator[tuple[slice, slice]]:
        """Time steps and channels of the blocks of a cube."""
        for first in range(0, n_steps, self.size[0]):
            for left in range(0, n_channels, self.size[1]):
                last, right = first + self.size[0], left + self.size[1]
                yield slice(first, min(n_steps, last)), slice(left, min(n_channels, right))


def make_cube(
    paths: list[Path], target: Path, settings: Settings, workers: int = 1, overwrite: bool = False
) -> None:
    """Make a cube of spectra, by section [records] of the settings, the same for any `workers`.

    Finished parts are in ``<target>.parts`` until the target is complete.
    """
    records, parts = settings.records, Parts(target, settings.run)
    choices = settings.inputs("records", "result")
    made_from = identity([choices, [[stamp(path)] for path in paths]])
    if not overwrite and is_done([target], made_from):
        parts.remove()
        return
    series = open_series(paths, records, workers)
    spectra = spectra_of(records, series.sampling_rate)
    shape = (spectra.n_steps(series.n_samples), series.n_channels, len(spectra.frequency))
    tiles = tile(shape, max(spectra.window, spectra.step), records.chunks)
    jobs = [_job(series, spectra, *block, made_from) for block in tiles.blocks(*shape[:2])]
    if not parts.run(jobs, _calculate_part, workers, "calculating", "spectra"):
        return
    summaries = [parts.summary(job) for job in jobs]
    lost = sorted({tuple(note) for summary in summaries for note in summary["lost"]})
    missing = sum(summary["missing"] for summary in summaries) / (shape[0] * shape[1])
    if missing == 1:
        parts.remove()  # what is missing may be there the next time
        reason = ": ".join(lost[0]) if lost else "every window touches a gap, or has no power"
        raise DataError(
            f"{target}: would have no value, and is not written ({reason}); check the files, or "
            "take a shorter records.window"
        )
    warn_of(lost)
    axes = _axes_of(series, spectra, shape[0])
    unit = f"({series.unit})^2/Hz" if series.unit else "power per Hz"
    attributes = {name: value for name, value in choices.items() if value is not None} | {
        "units": f"log10({unit})" if spectra.log else unit,
        "power": records.power,
        "window_s": spectra.window / spectra.sampling_rate,
        "step_s": spectra.step / spectra.sampling_rate,
        "sampling_rate": spectra.sampling_rate,
        "made_from": made_from,
    }
    blocks = ((*job.task[2:], np.load(parts.path(job))) for job in jobs)
    write_cube(target, shape, tiles, axes, attributes, blocks)
    parts.remove()
    span = "times unknown"
    if series.start is not None:
        span = " to ".join(nanoseconds_to_iso(axes["times"][[0, -1]]))
    log.info(
        f"{target}: {_shape_text(shape)}, {spectra.frequency[0]:g} to {spectra.frequency[-1]:g} "
        f"Hz; {span}; {missing:.2%} of the steps are missing or without power"
    )


def _axes_of(series: Series, spectra: Spectra, n_steps: int) -> dict[str, Any]:
    """Axes of a cube for `write_cube`; a time step is at the first sample of its window."""
    seconds, times = np.arange(n_steps) * (spectra.step / spectra.sampling_rate), None
    if series.start is not None:
        times = series.start + np.rint(seconds * SECOND).astype(np.int64)
    return {
        "times": times, "seconds": seconds, "distance": series.distance,
        "names": series.channel_names, "frequency": spectra.frequency,
    }  # fmt: skip


def _shape_text(shape: tuple[int, ...]) -> str:
    """Sizes with their names."""
    names = ("time step", "channel", "frequency"), ("", "", "frequencies")
    return " x ".join(map(count, shape, *names))


def tile(shape: tuple, samples: int = 1, chosen: Any = "auto") -> Tiles:
    """Chunks of a cube, with all frequencies or as `chosen`, and blocks of several of them.

    `samples` are those of a time step, which limit the size of a block.
    """
    n_steps, n_channels, n_rows = shape
    most = max(1, BLOCK_VALUES // max(n_rows, samples))  # spectra of a block
    rows = max(1, min(CHUNK_VALUES // n_rows, most))  # spectra of a chunk
    channels = _even(n_channels, max(1, rows // min(CHUNK_STEPS, n_steps)))
    steps = _even(n_steps, max(1, rows // channels))
    wide = min(n_channels, channels * max(1, most // (steps * channels)))
    long = steps * max(1, most // (steps * wide))
    chunk = (steps, channels, n_rows) if chosen == "auto" else tuple(map(min, chosen, shape))
    return Tiles(chunk, (long, wide))


def _even(n: int, most: int) -> int:
    """Length of equal chunks, so that the last is not mostly padding."""
    return -(-n // -(-n // most))


def _job(series: Series, spectra: Spectra, steps: slice, channels: slice, made_from: str) -> Job:
    """The job of a block of the cube."""
    span = steps.start * spectra.step, (steps.stop - 1) * spectra.step + spectra.window
    task = series.between(*span), spectra, steps, channels
    box = steps.start, steps.stop, channels.start, channels.stop
    size = (steps.stop - steps.start) * (channels.stop - channels.start)
    name = f"{steps.start:09d}-{channels.start:06d}.npy"
    return Job(name, task, [made_from, __version__, box], size)


def _calculate_part(task: tuple[Series, Spectra, slice, slice], path: Path) -> dict[str, Any]:
    """Write spectra as a file of NumPy; how many are missing, and notes on lost samples."""
    series, spectra, steps, channels = task
    span = steps.start * spectra.step, (steps.stop - 1) * spectra.step + spectra.window
    samples, lost = series.read(*span, channels.start, channels.stop)
    power = spectra.calculate(samples)
    missing = int((np.isnan(power).any(axis=2) | ~power.any(axis=2)).sum())
    with new_file(path) as partial, partial.open("wb") as file:
        np.save(file, power)
    return {"missing": missing, "lost": lost}


def require_cube_name(target: Path) -> None:
    """Refuse a name of another format, and a Zarr folder where zarr is missing."""
    require_ending(target, ".zarr", ".h5", ".hdf5")
    if target.suffix.lower() == ".zarr":
        need("zarr")


def write_cube(
    target: Path, shape: tuple, tiles: Tiles, axes: dict[str, Any],
    attributes: dict[str, Any], blocks: Iterator[Block],
) -> None:  # fmt: skip
    """Write a cube in blocks; a target that was there is intact where that fails.

    `axes` are ``times`` (ns since 1970), ``seconds``, ``distance`` (m), ``frequency`` (Hz) and
    ``names`` of channels, where known.
    """
    with new_file(target) as path, contextlib.ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is not in the specification of Zarr 3 yet
        if target.suffix.lower() == ".zarr":
            root = need("zarr").open_group(path, mode="w")
            options = {"fill_value": np.nan, "dimension_names": AXES}
            if math.prod(-(-n // k) for n, k in zip(shape, tiles.chunk, strict=True)) > MANY:
                whole = zip((*tiles.size, shape[2]), tiles.chunk, strict=True)
                options["shards"] = tuple(-(-n // k) * k for n, k in whole)
            create = root.create_array
        else:
            require_room(target, 4 * math.prod(shape))
            root, options = stack.enter_context(h5py.File(path, "w")), {"fillvalue": np.nan}
            create = root.create_dataset
        data = create("data", shape=shape, chunks=tiles.chunk, dtype=np.float32, **options)
        data.attrs.update(dimensions=AXES, program=f"RISCluster {__version__}", **attributes)
        root.attrs["Conventions"] = "CF-1.8"
        _write_axes(root, data, axes)
        progress = stack.enter_context(Progress("writing", shape[0] * shape[1], "spectra"))
        for steps, channels, values in blocks:
            data[steps, channels] = values
            progress.add(values.shape[0] * values.shape[1])
        if target.suffix.lower() == ".zarr":  # so that it can be read where folders are not listed
            need("zarr").consolidate_metadata(root.store)


def _write_axes(root: Any, data: Any, axes: dict[str, Any]) -> None:
    """Coordinates beside the data, as xarray finds them, and in ``metadata``, as in CryoCube."""
    times, distance, names = (axes.get(name) for name in ("times", "distance", "names"))
    numbers, frequency = np.arange(data.shape[1]), (axes.get("frequency"), "Hz")
    place = (numbers * 1.0, "channel") if distance is None else (distance, "m")
    names = None if names is None else np.array(names, dtype=object)
    time = seconds = axes.get("seconds"), "s"
    if times is not None:
        time = times, "nanoseconds since 1970-01-01"
        seconds = times / 1e9, "seconds since 1970-01-01T00:00:00Z"
    root.require_group("metadata")
    for name, dimension, (values, unit) in (  # path, its dimension or ''
        ("time", "time", time), ("channel", "channel", (numbers, "")),
        ("frequency", "frequency", frequency), ("distance", "channel", (distance, "m")),
        ("channel_name", "channel", (names, "")), ("metadata/time_coords", "", seconds),
        ("metadata/loc_coords", "", place), ("metadata/freq_coords", "", frequency),
        ("metadata/channel_names", "", (names, "")),
    ):  # fmt: skip
        if values is None:
            continue
        is_text = values.dtype == object
        if isinstance(root, h5py.File):
            kind = h5py.string_dtype() if is_text else values.dtype
            array = root.create_dataset(name, data=values, dtype=kind)
            if name in AXES:
                array.make_scale(name)
                data.dims[AXES.index(name)].attach_scale(array)
            elif dimension:
                array.dims[0].attach_scale(root[dimension])
        else:
            labels, kind = [dimension] if dimension else None, str if is_text else values.dtype
            array = root.create_array(name, shape=values.shape, dtype=kind, dimension_names=labels)
            array[:] = values
        if unit:
            array.attrs["units"] = unit
    if beside := [name for name in ("distance", "channel_name") if name in root]:
        data.attrs["coordinates"] = " ".join(beside)


def holds_cube(path: Path) -> bool:
    """Whether a file is a cube and no record: a Zarr store, or HDF5 whose largest array is one."""
    if is_remote(path) or path.suffix.lower() == ".zarr":
        return True
    if not path.is_file() or not h5py.is_hdf5(path):
        return False
    with contextlib.closing(open_storage(path, "the cube")) as storage:
        largest = max(storage.arrays.values(), key=lambda array: array.size or 0, default=None)
        return largest is not None and largest.ndim == 3


def cut_cube(path: Path, target: Path, settings: Settings, overwrite: bool = False) -> None:
    """Write a part of a cube, in other chunks or another format."""
    records, cube, dataset = settings.records, settings.cube, settings.data.dataset
    files = [path] if path.is_file() else [x for x in path.rglob("*z*") if x.is_file()]
    inputs = settings.inputs("records", "result"), str(cube.channels), str(cube.times), dataset
    made_from = identity([inputs, str(path), sorted(map(stamp, files))])
    if not overwrite and is_done([target], made_from):
        return
    whole = CubeSettings(window=SMALLEST, stride=1, channels=cube.channels, times=cube.times)
    with open_spectrograms(path, "cube", dataset, whole) as file:
        times = None if file.times is None else file.times[file.steps].tolist()
        distance = file.distance if file.distance_unit == "m" else None
        sizes = len(file.steps), times and times.__getitem__, file.n_channels, distance
        part, chosen = choose_part(path, records, *sizes)
        steps, channels = file.steps[part], file.channels[chosen]
        low, high = records.band or (-np.inf, np.inf)
        rows = np.flatnonzero((file.frequency >= low) & (file.frequency <= high))
        if len(rows) < MIN_ROWS:
            raise DataError(
                f"{path}: records.band = {records.band} takes {count(len(rows), 'frequency bin')} "
                f"of {file.frequency[0]:g} to {file.frequency[-1]:g}; allowed: {MIN_ROWS} or more"
            )
        names = None if file.names is None else np.array(file.channel_names())
        frequency = file.frequency if file.frequency_unit == "Hz" else None
        of_axes = {
            "times": (file.times, steps), "seconds": (file.seconds, steps),
            "distance": (distance, chosen), "names": (names, chosen),
            "frequency": (frequency, rows),
        }  # fmt: skip
        axes = {key: x[places] for key, (x, places) in of_axes.items() if x is not None}
        attributes = {
            key: to_text(x) if isinstance(x, bytes) else np.asarray(x).tolist()  # for Zarr
            for key, x in file.attributes.items()
            if key in KEPT
        }
        attributes |= {"made_from": made_from, "cut_from": str(path)}
        shape = len(steps), len(channels), len(rows)
        tiles = tile(shape, chosen=records.chunks)
        places = tiles.blocks(*shape[:2])
        blocks = ((x, y, _read_part(file, steps[x], channels[y])[..., rows]) for x, y in places)
        write_cube(target, shape, tiles, axes, attributes, blocks)
    log.info(f"{target}: {_shape_text(shape)}, cut from {path}")


def _read_part(file: Any, steps: np.ndarray, channels: np.ndarray) -> np.ndarray:
    """Spectra of ascending steps and channels of a cube, (K, C, F), float32."""
    box = [(int(x[0]), int(x[-1]) + 1) for x in (steps, channels)]
    values = file.stored.read(f"time steps {steps[0]} to {steps[-1]}", *box)
    return values[steps - steps[0]][:, channels - channels[0]].astype(np.float32)
