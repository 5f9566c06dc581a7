"""Make a cube of power spectra (K time steps, C channels, F frequency bins)."""

import contextlib
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.signal

from .. import __version__
from ..data.layouts import SMALLEST, open_spectrograms
from ..data.storage import open_storage, other_files, stamp
from ..data.times import nanoseconds_to_iso, to_text
from ..errors import DataError, SettingsError
from ..io import is_remote, need, new_file, require_room
from ..parallel import Job, Parts, identity
from ..runtime import Progress, count, log
from ..settings import CubeSettings, RecordsSettings, Settings
from .records import SECOND
from .series import Series, choose_part, open_series, warn_of

TAPERS = {"hann": "hann", "kaiser": ("kaiser", 5.7), "tukey": ("tukey", 0.25), "none": "boxcar"}
MIN_WINDOW, MIN_ROWS = 8, 4  # samples; frequencies that the network takes
# Numbers, which set how much memory a worker takes, whatever the size of the cube
CHUNK_VALUES, CHUNK_STEPS = 2**19, 16  # of a chunk of the cube, 2 MB; its steps, if there are any
PART_VALUES = 2**23  # of the result of a job, 32 MB
BLOCK_VALUES = 2**24  # of the samples of a job, 64 MB as float32
WINDOW_VALUES = 2**20  # of the windows worked on at a time
AXES = ["time", "channel", "frequency"]
MANY = 10_000  # chunks, from which Zarr has several in a file
KEPT = ("units", "power", "window_s", "step_s", "sampling_rate")  # attributes of a part

Span = tuple[int, int]  # from the first to before the last
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
        n_steps, together = self.n_steps(len(samples)), max(1, WINDOW_VALUES // self.window)
        out = np.empty((n_steps, samples.shape[1], self.last - self.first), dtype=np.float32)
        with np.errstate(all="ignore"):
            for at in range(0, n_steps, together):
                part = samples[at * self.step :][: (together - 1) * self.step + self.window]
                for channel, trace in enumerate(part.T):
                    *_, power = scipy.signal.spectrogram(
                        trace, self.sampling_rate, TAPERS[self.taper], self.window,
                        self.window - self.step,
                    )  # fmt: skip
                    out[at : at + together, channel] = power[self.first : self.last].T
            out = np.log10(out) if self.log else out
        out[np.isinf(out)] = np.nan
        return out


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


# ---- jobs ---------------------------------------------------------------------------------------


def make_cube(
    paths: list[Path], target: Path, settings: Settings, workers: int = 1, overwrite: bool = False
) -> None:
    """Make a cube of spectra, by section [records] of the settings, the same for any `workers`.

    Finished parts are in ``<target>.parts`` until the target is complete.
    """
    records = settings.records
    choices, parts = settings.inputs("records", "result"), Parts(target, settings.run)
    origin = identity([choices, [[stamp(path), *other_files(path)] for path in paths]])
    if is_done(target, origin, overwrite):
        parts.remove()
        return
    series = open_series(paths, records, workers)
    spectra = spectra_of(records, series.sampling_rate)
    shape = (spectra.n_steps(series.n_samples), series.n_channels, len(spectra.frequency))
    layout = tile(shape, spectra.window, spectra.step, records.chunks)
    jobs = _jobs(series, spectra, shape[0], layout[1], origin)
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
    seconds, span = np.arange(shape[0]) * (spectra.step / spectra.sampling_rate), "times unknown"
    times, names = None, series.channel_names
    if series.start is not None:
        times = series.start + np.rint(seconds * SECOND).astype(np.int64)
        span = " to ".join(nanoseconds_to_iso(times[[0, -1]]))
    axes = {"times": times, "seconds": seconds, "distance": series.distance, "names": names}
    axes["frequency"] = spectra.frequency
    unit = f"({series.unit})^2/Hz" if series.unit else "power per Hz"
    attributes = {name: value for name, value in choices.items() if value is not None} | {
        "units": f"log10({unit})" if spectra.log else unit,
        "power": records.power,
        "window_s": spectra.window / spectra.sampling_rate,
        "step_s": spectra.step / spectra.sampling_rate,
        "sampling_rate": spectra.sampling_rate,
        "made_from": origin,
    }
    blocks = ((*(slice(*x) for x in job.task[2:]), np.load(parts.path(job))) for job in jobs)
    write_cube(target, shape, layout, axes, attributes, blocks)
    parts.remove()
    log.info(
        f"{target}: {_shape_text(shape)}, {spectra.frequency[0]:g} to {spectra.frequency[-1]:g} "
        f"Hz; {span}; {missing:.2%} of the steps are missing or without power"
    )


def _shape_text(shape: tuple[int, ...]) -> str:
    """Sizes with their names."""
    names = ("time step", "channel", "frequency"), ("", "", "frequencies")
    return " x ".join(map(count, shape, *names))


def tile(shape: tuple, window: int = 1, step: int = 1, chosen: Any = "auto") -> tuple[tuple, Span]:
    """Chunk of a cube, with all frequencies; time steps and channels of a job of whole chunks.

    Other chunks may be `chosen`. `window` and `step` are in samples of a time step.
    """
    n_steps, n_channels, n_rows = shape
    rows = max(1, CHUNK_VALUES // n_rows)  # of one step and channel each
    most = min(rows // min(CHUNK_STEPS, n_steps), BLOCK_VALUES // window)
    channels = _even(n_channels, max(1, most))
    most = min(rows // channels, (BLOCK_VALUES // channels - window) // step + 1)
    steps = _even(n_steps, max(1, most))
    most = min(PART_VALUES // (steps * n_rows), BLOCK_VALUES // ((steps - 1) * step + window))
    wide = min(n_channels, channels * max(1, most // channels))
    most = min(PART_VALUES // (wide * n_rows), (BLOCK_VALUES // wide - window) // step + 1)
    chunk = (steps, channels, n_rows) if chosen == "auto" else tuple(map(min, chosen, shape))
    return chunk, (steps * max(1, most // steps), wide)


def _even(n: int, most: int) -> int:
    """Length of equal chunks, so that the last is not mostly padding."""
    return -(-n // -(-n // most))


def _jobs(series: Series, spectra: Spectra, n_steps: int, size: Span, origin: str) -> list[Job]:
    """Jobs, each with a task of series, spectra, span of time steps, and span of channels."""
    jobs = []
    for first in range(0, n_steps, size[0]):
        last = min(n_steps, first + size[0])
        needed = series.between(first * spectra.step, (last - 1) * spectra.step + spectra.window)
        for left in range(0, series.n_channels, size[1]):
            channels = left, min(series.n_channels, left + size[1])
            inputs = [origin, __version__, (first, last), channels]
            task, n = (needed, spectra, (first, last), channels), channels[1] - left
            jobs.append(Job(f"{first:09d}-{left:06d}.npy", task, inputs, (last - first) * n))
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


def is_done(target: Path, origin: str, overwrite: bool) -> bool:
    """Whether the target was made from the same; DataError where it was from something else."""
    if not target.exists() or overwrite:
        return False
    found = None
    with contextlib.suppress(DataError), contextlib.closing(open_storage(target, "-o")) as storage:
        found = getattr(storage.get("data"), "attrs", {}).get("made_from")
    if found != origin:
        raise DataError(
            f"{target} is there, and was made from other files or settings; give another name, or "
            "--overwrite"
        )
    log.info(f"{target}: done already, from the same files and settings")
    return True


def write_cube(
    target: Path, shape: tuple, layout: tuple[tuple, Span], axes: dict[str, Any],
    attributes: dict[str, Any], blocks: Iterator[Block],
) -> None:  # fmt: skip
    """Write a cube in blocks; a target that was there is intact where that fails.

    xarray finds labelled axes in the root group, and CryoCube its own in ``metadata``. `layout` is
    that of `tile`. `axes` are ``times`` (ns since 1970), ``seconds``, ``distance`` (m),
    ``frequency`` (Hz) and ``names`` of channels, where known.
    """
    is_zarr, (chunks, size) = target.suffix.lower() == ".zarr", layout
    kind = {"fill_value": np.nan, "dimension_names": AXES} if is_zarr else {"fillvalue": np.nan}
    if is_zarr and math.prod(-(-n // k) for n, k in zip(shape, chunks, strict=True)) > MANY:
        shard = *size, shape[2]
        kind["shards"] = tuple(-(-n // k) * k for n, k in zip(shard, chunks, strict=True))
    if not is_zarr:
        require_room(target, 4 * math.prod(shape))
    with new_file(target) as path, contextlib.ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is not in the specification of Zarr 3 yet
        root = need("zarr").open_group(path, mode="w") if is_zarr else h5py.File(path, "w")
        if not is_zarr:
            stack.enter_context(root)
        create = root.create_array if is_zarr else root.create_dataset
        data = create("data", shape=shape, chunks=chunks, dtype=np.float32, **kind)
        data.attrs.update(dimensions=AXES, program=f"RISCluster {__version__}", **attributes)
        root.attrs["Conventions"] = "CF-1.8"
        _write_axes(root, data, axes, shape[1])
        progress = stack.enter_context(Progress("writing", shape[0] * shape[1], "spectra"))
        for steps, channels, values in blocks:
            data[steps, channels] = values
            progress.add(values.shape[0] * values.shape[1])
        if is_zarr:  # so that it can be read where folders can't be listed
            need("zarr").consolidate_metadata(root.store)


def _write_axes(root: Any, data: Any, axes: dict[str, Any], n_channels: int) -> None:
    """Coordinates in the root group, with names of their dimensions, and as CryoCube has them."""
    numbers, times = np.arange(n_channels), axes.get("times")
    columns = [(times, "nanoseconds since 1970-01-01"), (axes.get("seconds"), "s")]
    if times is not None:
        columns[1] = times / 1e9, "seconds since 1970-01-01T00:00:00Z"
    metres, frequency = (axes.get("distance"), "m"), (axes.get("frequency"), "Hz")
    names = None if axes.get("names") is None else np.array(axes["names"], dtype=object)
    root.require_group("metadata")
    for name, dimension, (values, unit) in (
        ("time", "time", columns[times is None]), ("channel", "channel", (numbers, "")),
        ("frequency", "frequency", frequency), ("distance", "channel", metres),
        ("channel_name", "channel", (names, "")), ("metadata/time_coords", "", columns[1]),
        ("metadata/loc_coords", "", (numbers * 1.0, "channel") if metres[0] is None else metres),
        ("metadata/freq_coords", "", frequency), ("metadata/channel_names", "", (names, "")),
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
    inputs = settings.inputs("records", "result"), str(cube.channels), str(cube.times), dataset
    origin = identity([inputs, str(path), sorted(map(stamp, files))])
    if is_done(target, origin, overwrite):
        return
    whole = CubeSettings(window=SMALLEST, stride=1, channels=cube.channels, times=cube.times)
    with open_spectrograms(path, "cube", dataset, whole) as file:
        times = None if file.times is None else file.times[file.steps].tolist()
        distance = file.distance if file.distance_unit == "m" else None
        sizes = len(file.steps), times and times.__getitem__, file.n_channels, distance
        part, chosen = choose_part(path, records, *sizes)
        steps = file.steps[part]
        low, high = records.band or (-np.inf, np.inf)
        rows = np.flatnonzero((file.frequency >= low) & (file.frequency <= high))
        if len(rows) < MIN_ROWS:
            raise DataError(
                f"{path}: records.band = {records.band} takes {count(len(rows), 'frequency bin')} "
                f"of {file.frequency[0]:g} to {file.frequency[-1]:g}; allowed: {MIN_ROWS} or more"
            )
        names = None if file.names is None else np.array(file.channel_names())
        axes = {"times": (file.times, steps), "seconds": (file.seconds, steps)}
        axes |= {"distance": (distance, chosen), "names": (names, chosen)}
        if file.frequency_unit == "Hz":
            axes["frequency"] = file.frequency, rows
        axes = {key: x[places] for key, (x, places) in axes.items() if x is not None}
        kept = {
            key: to_text(x) if isinstance(x, bytes) else np.asarray(x).tolist()  # for Zarr
            for key, x in file.attributes.items()
            if key in KEPT
        }
        kept |= {"made_from": origin, "cut_from": str(path)}
        shape = len(steps), len(chosen), len(rows)
        layout = tile(shape, chosen=records.chunks)
        blocks = _blocks(file, steps, file.channels[chosen], rows, layout[1])
        write_cube(target, shape, layout, axes, kept, blocks)
    log.info(f"{target}: {_shape_text(shape)}, cut from {path}")


def _blocks(
    file: Any, steps: np.ndarray, channels: np.ndarray, rows: np.ndarray, size: Span
) -> Iterator[Block]:
    """Values of some steps, channels and frequencies of a cube, in blocks."""
    for first in range(0, len(steps), size[0]):
        some = steps[first : first + size[0]]
        for left in range(0, len(channels), size[1]):
            near = channels[left : left + size[1]]
            box = [(int(x[0]), int(x[-1]) + 1) for x in (some, near)]
            values = file.stored.read(f"time steps {some[0]} to {some[-1]}", *box)
            values = values[some - some[0]][:, near - near[0]][..., rows]
            place = slice(first, first + len(some)), slice(left, left + len(near))
            yield *place, values.astype(np.float32)
