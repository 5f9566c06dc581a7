"""Make a cube of power spectra (K time steps, C channels, F frequency bins)."""

import contextlib
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import scipy.signal

from .. import __version__
from ..data.layouts import SMALLEST, open_spectrograms
from ..data.storage import other_files, stamp
from ..data.times import SECOND, nanoseconds_to_iso
from ..errors import DataError, SettingsError
from ..io import is_remote, need, new_file, require_room
from ..parallel import Job, Parts, identity
from ..runtime import Progress, count, log
from ..settings import CubeSettings, RecordsSettings, Settings
from ..waveforms.build import is_done
from ..waveforms.read import warn_of
from .series import Series, choose_part, open_series

TAPERS = {"hann": "hann", "kaiser": ("kaiser", 5.7), "tukey": ("tukey", 0.25), "none": "boxcar"}
MIN_WINDOW, MIN_ROWS = 8, 4  # samples; frequencies that the network takes
CHUNK_VALUES, CHUNK_STEPS = 2**19, 16  # of a chunk of the cube, 2 MB; its steps, if there are any
BLOCK_VALUES = 2**24  # samples of the windows, and values of the cube, that are worked on at once
AXES = ["time", "channel", "frequency"]
MANY = 10_000  # chunks, from which Zarr has several in a file
# Settings by which a cube that exists is cut and rechunked
OF_CUBES = (
    *(f"records.{key}" for key in ("after", "before", "section", "band", "chunks")),
    "cube.times", "cube.channels", "data.dataset",
)  # fmt: skip
KEPT = ("window_s", "step_s", "sampling_rate")  # attributes of a part

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

    def span(self, steps: slice) -> tuple[int, int]:
        """First sample of time steps, and the one after their last."""
        return steps.start * self.step, (steps.stop - 1) * self.step + self.window

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

    shape: tuple[int, ...]  # time steps, channels and frequencies
    chunk: tuple[int, ...]
    size: tuple[int, int]  # time steps and channels of a block, which is worked on at once
    blocks: list[tuple[slice, slice]]  # time steps and channels


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
    blocks = [
        (slice(first, min(first + long, n_steps)), slice(left, min(left + wide, n_channels)))
        for first in range(0, n_steps, long)
        for left in range(0, n_channels, wide)
    ]
    return Tiles(shape, chunk, (long, wide), blocks)


def _even(n: int, most: int) -> int:
    """Length of equal chunks, so that the last is not mostly padding."""
    return -(-n // -(-n // most))


def make_cube(
    paths: list[Path], target: Path, settings: Settings, workers: int = 1, overwrite: bool = False
) -> None:
    """Make a cube of spectra, by section [records] of the settings, the same for any `workers`.

    Finished parts are in ``<target>.parts`` until the target is complete.
    """
    records, parts = settings.records, Parts(target, settings.run)
    choices = settings.inputs("records", "result")
    made_from = identity([choices, [[stamp(path), *other_files(path)] for path in paths]])
    if not overwrite and is_done([target], made_from):
        return
    if target.suffix.lower() == ".zarr":
        need("zarr")  # before hours of work
    series = open_series(paths, records)
    spectra = spectra_of(records, series.sampling_rate)
    window, step = spectra.window, spectra.step
    if series.n_samples < window:
        raise DataError(
            f"[records] window = {records.window:g} s is longer than the record of "
            f"{series.n_samples / series.sampling_rate:g} s; take a shorter one"
        )
    n_steps = (series.n_samples - window) // step + 1
    shape = (n_steps, series.n_channels, len(spectra.frequency))
    tiles = tile(shape, max(window, step), records.chunks)
    jobs = [_job(series, spectra, *block, made_from) for block in tiles.blocks]
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
    unit = f"({series.unit})^2/Hz" if series.unit else "power per Hz"
    attributes = {name: value for name, value in choices.items() if value is not None} | {
        "units": f"log10({unit})" if spectra.log else unit, "power": records.power,
        "window_s": window / spectra.sampling_rate, "step_s": step / spectra.sampling_rate,
        "sampling_rate": spectra.sampling_rate, "made_from": made_from,
    }  # fmt: skip
    axes = {"seconds": np.arange(n_steps) * (step / spectra.sampling_rate)}  # of first samples
    axes |= {"distance": series.distance, "frequency": spectra.frequency}
    if series.start is not None:
        axes["times"] = series.start + np.rint(axes["seconds"] * SECOND).astype(np.int64)
    blocks = ((*job.task[2:], np.load(parts.path(job))) for job in jobs)
    write_cube(target, tiles, axes, attributes, blocks)
    parts.remove()
    if missing:
        log.info(f"{target}: {missing:.2%} of the spectra are missing or without power")


def _job(series: Series, spectra: Spectra, steps: slice, channels: slice, made_from: str) -> Job:
    """The job of a block of the cube."""
    task = series.between(*spectra.span(steps)), spectra, steps, channels
    box = steps.start, steps.stop, channels.start, channels.stop
    size = (steps.stop - steps.start) * (channels.stop - channels.start)
    name = f"{steps.start:09d}-{channels.start:06d}.npy"
    return Job(name, task, [made_from, __version__, box], size)


def _calculate_part(task: tuple[Series, Spectra, slice, slice], path: Path) -> dict[str, Any]:
    """Write spectra as a file of NumPy; how many are missing, and notes on lost samples."""
    series, spectra, steps, channels = task
    samples, lost = series.read(*spectra.span(steps), channels.start, channels.stop)
    power = spectra.calculate(samples)
    missing = int((np.isnan(power).any(axis=2) | ~power.any(axis=2)).sum())
    with new_file(path) as partial, partial.open("wb") as file:
        np.save(file, power)
    return {"missing": missing, "lost": lost}


def write_cube(
    target: Path, tiles: Tiles, axes: dict[str, Any], attributes: dict, blocks: Iterator[Block]
) -> None:
    """Write a cube in blocks; a target that was there is intact where that fails.

    `axes` are ``times`` (ns since 1970), ``seconds``, ``distance`` (m), ``frequency`` (Hz) and
    ``names`` of channels, where known.
    """
    shape, is_zarr = tiles.shape, target.suffix.lower() == ".zarr"
    with new_file(target) as path, contextlib.ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is not in the specification of Zarr 3 yet
        if is_zarr:
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
        if is_zarr:  # so that it can be read where folders are not listed
            need("zarr").consolidate_metadata(root.store)
    text = f"{target}: {shape[0]:,} time steps x {shape[1]:,} channels x {shape[2]:,} frequencies"
    if "frequency" in axes:
        text += f", {axes['frequency'][0]:g} to {axes['frequency'][-1]:g} Hz"
    if "times" in axes:
        text += f"; {' to '.join(nanoseconds_to_iso(axes['times'][[0, -1]]))}"
    log.info(text)


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
        ("channel_names", "channel", (names, "")), ("metadata/time_coords", "", seconds),
        ("metadata/loc_coords", "", place), ("metadata/freq_coords", "", frequency),
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
    if beside := [name for name in ("distance", "channel_names") if name in root]:
        data.attrs["coordinates"] = " ".join(beside)


def holds_cube(path: Path, dataset: str) -> bool:
    """Whether a path is a cube and no record: a Zarr store, or a file that opens as one."""
    if is_remote(path) or path.suffix.lower() == ".zarr":
        return True
    whole = CubeSettings(window=SMALLEST, stride=1)
    with contextlib.suppress(DataError), open_spectrograms(path, "cube", dataset, whole):
        return True
    return False


def cut_cube(path: Path, target: Path, settings: Settings, words: Sequence[str] = ()) -> None:
    """Write a part of a cube, in other chunks or another format; SettingsError for other words."""
    names = [word.partition("=")[0].lower() for word in words]
    if unused := [x for x in names if x.startswith("records.") and x not in OF_CUBES]:
        raise SettingsError(
            f"command line: {', '.join(unused)}: no effect on {path}, as a cube that exists is "
            f"only cut and rechunked; allowed: {', '.join(OF_CUBES)}"
        )
    records, cube = settings.records, settings.cube
    whole = CubeSettings(window=SMALLEST, stride=1, channels=cube.channels, times=cube.times)
    with open_spectrograms(path, "cube", settings.data.dataset, whole) as file:
        times = None if file.times is None else file.times[file.steps]
        distance = file.distance if file.distance_unit == "m" else None
        time_at = None if times is None else times.tolist().__getitem__
        sizes = len(file.steps), time_at, file.n_channels, distance
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
        kept = {key: x for key, x in file.attributes.items() if key in KEPT}
        kept = {key: float(x) for key, x in kept.items() if isinstance(x, (float, np.number))}

        def read(block: tuple[slice, slice]) -> Block:
            numbers = [x[part] for x, part in zip((steps, channels), block, strict=True)]
            (first, last), (left, right) = ((int(x[0]), int(x[-1]) + 1) for x in numbers)
            what = f"time steps {first} to {last - 1}"
            values = file.stored.read(what, (first, last), (left, right))
            values = values[numbers[0] - first][:, numbers[1] - left][..., rows]
            return *block, values.astype(np.float32)

        tiles = tile((len(steps), len(channels), len(rows)), chosen=records.chunks)
        attributes = kept | {"units": file.amplitude_unit, "cut_from": str(path)}
        write_cube(target, tiles, axes, attributes, map(read, tiles.blocks))


# ---- a synthetic cube ---------------------------------------------------------------------------

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
    spectra = np.array([np.exp(-0.5 * ((FREQUENCY - f) / s) ** 2) for f, s in BANDS])
    power = 1 + 10 ** (snr_db / 10) * np.einsum("kmc,kf->mcf", strength, spectra)
    power = (power * rng.gamma(6, 1 / 6, power.shape) / FREQUENCY).astype(np.float32)
    times = START + np.rint(np.arange(n_steps) * STEP * SECOND).astype(np.int64)
    axes = {"times": times, "distance": np.arange(N_CHANNELS) * SPACING, "frequency": FREQUENCY}
    about = {"units": "arbitrary power", "snr_db": snr_db, "seed": seed}
    blocks = iter([(slice(None), slice(None), power)])
    write_cube(path, tile(power.shape), axes, about, blocks)
    with h5py.File(path, "a") as file:
        labels = np.where(strength.max(axis=0) > 0.4, strength.argmax(axis=0) + 1, 0)
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
