"""Make a cube of spectra: jobs of whole chunks, in parallel, written in order.

Letters: n samples, C channels, K time steps, F frequency bins.
"""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .. import __version__
from ..data.finding import stamp
from ..data.missing import other_files
from ..data.times import nanoseconds_to_iso
from ..errors import DataError, RunError, SettingsError
from ..io import need, new_file, require_room
from ..parallel import Job, Parts, identity
from ..runtime import Progress, count, log
from ..settings import Settings
from .clock import SECOND
from .series import Series, open_series, warn_of
from .spectra import Spectra, spectra_of

# Numbers, which set how much memory a worker takes, whatever the size of the cube
CHUNK_VALUES = 2**19  # of a chunk of the cube, 2 MB
CHUNK_STEPS = 16  # of a chunk, where there are so many
PART_VALUES = 2**23  # of the result of a job, 32 MB
BLOCK_VALUES = 2**24  # of the samples of a job, 64 MB as float32
HDF5_NAMES = (".h5", ".hdf5")
AXES = ["time", "channel", "frequency"]

Span = tuple[int, int]  # from the first to before the last


@dataclass(frozen=True)
class Task:
    """Input of a worker: a span of time steps and one of channels."""

    series: Series
    spectra: Spectra
    steps: Span
    channels: Span


def make_cube(
    paths: Sequence[Path],
    target: Path,
    settings: Settings,
    workers: int = 1,
    overwrite: bool = False,
) -> None:
    """Make a cube of spectra, by section [records] of the settings, the same for any `workers`.

    Finished parts are in ``<target>.parts`` until the target, a .zarr, .h5 or .hdf5, is complete.

    Raises
    ------
    DataError, SettingsError, RunError, Stopped
        Records or settings do not fit together, another target is there, or see `Parts.run`.
    """
    began = time.monotonic()
    files = [[stamp(path), *other_files(path)] for path in paths]
    choices = settings.inputs("records", "result")
    origin = identity({"settings": choices, "files": files})
    if target.exists() and not overwrite:
        if made_from(target) != origin:
            raise DataError(
                f"{target} is there, and was made from other files or settings; give another "
                "name, or --overwrite"
            )
        log.info(f"{target}: done already, from the same files and settings")
        Parts(target).clear()
        return
    series = open_series(paths, settings.records, workers)
    spectra = spectra_of(settings.records, series.sampling_rate)
    shape = (spectra.n_steps(series.n_samples), series.n_channels, len(spectra.frequency))
    shown = (
        f"{count(shape[0], 'time step')} x {count(shape[1], 'channel')} x "
        f"{count(shape[2], 'frequency', 'frequencies')}"
    )
    log.info(
        f"{count(series.n_samples, 'sample')} of {count(series.n_channels, 'channel')} at "
        f"{series.sampling_rate:g} Hz, to a cube of {shown}, {4 * math.prod(shape) / 1e9:.3g} GB"
    )
    chunk, job = tile(*shape, spectra.window, spectra.step)
    jobs = _jobs(series, spectra, shape[0], job, origin)
    parts = Parts(target)
    parts.run(jobs, calculate_part, workers, "calculating", "spectra")
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
    attributes = _attributes(series, spectra, choices | {"made_from": origin})
    _write(target, shape, chunk, attributes, _coordinates(series, spectra, shape[0]), parts, jobs)
    parts.remove()
    span = f"{series.n_samples / series.sampling_rate:g} s"
    if series.start is not None:
        end = series.start + round(series.n_samples * SECOND / series.sampling_rate)
        span = " to ".join(nanoseconds_to_iso([series.start, end]))
    log.info(
        f"{target}: {shown}, {spectra.frequency[0]:g} to {spectra.frequency[-1]:g} Hz; {span}; "
        f"{missing:.2%} of the steps are missing or {'somewhere ' * spectra.log}without power"
    )
    seconds, files = time.monotonic() - began, [target, *target.rglob("*")]
    size = sum(item.stat().st_size for item in files if item.is_file()) / 1e6
    speed = shape[0] * shape[1] / seconds
    log.info(f"{size:,.1f} MB in {seconds:.1f} s, {speed:,.3g} spectra/s")


def tile(n_steps: int, n_channels: int, n_rows: int, window: int, step: int) -> tuple[Span, Span]:
    """Time steps and channels of a chunk, about 2 MB with all frequencies, and of a job.

    A job is whole chunks.
    """
    rows = max(1, CHUNK_VALUES // n_rows)  # of one step and channel each
    most = min(rows // min(CHUNK_STEPS, n_steps), BLOCK_VALUES // window)
    channels = _even(n_channels, max(1, most))
    steps = _even(n_steps, max(1, min(rows, BLOCK_VALUES // step) // channels))
    samples = (steps - 1) * step + window
    most = min(PART_VALUES // (steps * n_rows), BLOCK_VALUES // samples)
    wide = min(n_channels, channels * max(1, most // channels))
    most = min(PART_VALUES // (wide * n_rows), (BLOCK_VALUES // wide - window) // step + 1)
    return (steps, channels), (steps * max(1, most // steps), wide)


def _even(n: int, most: int) -> int:
    """Length of equal chunks, so that the last is not mostly padding."""
    return -(-n // -(-n // most))


def _jobs(series: Series, spectra: Spectra, n_steps: int, size: Span, origin: str) -> list[Job]:
    jobs = []
    for first in range(0, n_steps, size[0]):
        steps = first, min(n_steps, first + size[0])
        needed = series.between(*spectra.samples_of(steps))
        for left in range(0, series.n_channels, size[1]):
            channels = left, min(series.n_channels, left + size[1])
            inputs = [origin, __version__, steps, channels]
            # The identity is in the name: a part of other settings is never taken for this one.
            name = f"{identity(inputs)}-{first:09d}-{left:06d}.npy"
            n_spectra = (steps[1] - first) * (channels[1] - left)
            jobs.append(Job(name, Task(needed, spectra, steps, channels), inputs, n_spectra))
    return jobs


def calculate_part(task: Task, path: Path) -> dict[str, Any]:
    """Spectra of a task as a file of NumPy.

    Returns a dict of ``missing``, spectra without a value or power, and ``lost``, lines about files
    that can't be read.
    """
    samples, lost = task.series.read(*task.spectra.samples_of(task.steps), *task.channels)
    power = task.spectra.calculate(samples)
    missing = int((np.isnan(power).any(axis=2) | ~power.any(axis=2)).sum())
    with new_file(path) as partial, partial.open("wb") as file:
        np.save(file, power)
    return {"missing": missing, "lost": lost}


# ---- the cube -----------------------------------------------------------------------------------


def require_cube_name(target: Path) -> None:
    """Refuse a name of another format, and a Zarr folder where zarr is missing.

    Raises
    ------
    SettingsError, MissingPackage
    """
    if target.suffix.lower() == ".zarr":
        need("zarr")
    elif target.suffix.lower() not in HDF5_NAMES:
        raise SettingsError(
            f"command line: -o {target} is not allowed; allowed: a name that ends in .zarr, "
            f"{' or '.join(HDF5_NAMES)}"
        )


def made_from(target: Path) -> str | None:
    """Attribute ``made_from`` of a cube; None where there is none."""
    try:
        with _opened(target, "r") as root:
            return root["data"].attrs.get("made_from")
    except (OSError, KeyError, ValueError, TypeError):
        return None


@contextmanager
def _opened(path: Path, mode: str, target: Path | None = None) -> Iterator[Any]:
    """Root group of HDF5 or, by the name of the target, of Zarr."""
    if (target or path).suffix.lower() == ".zarr":
        yield need("zarr").open_group(path, mode=mode)
    else:
        with h5py.File(path, mode) as file:
            yield file


def _attributes(series: Series, spectra: Spectra, choices: dict[str, Any]) -> dict[str, Any]:
    """Attributes of the data set, among them the settings as plain values."""
    unit = f"({series.unit})^2/Hz" if series.unit else "power per Hz"
    plain = {
        name: [float(x) for x in value] if isinstance(value, (list, tuple)) else value
        for name, value in choices.items()
    }
    return {
        "units": f"log10({unit})" if spectra.log else unit,
        "dimensions": AXES,
        "window_s": spectra.window / spectra.sampling_rate,
        "step_s": spectra.step / spectra.sampling_rate,
        "sampling_rate": spectra.sampling_rate,
        "power": "log" if spectra.log else "linear",
        "program": f"RISCluster {__version__}",
    } | {name: "none" if value is None else value for name, value in plain.items()}


def _coordinates(
    series: Series, spectra: Spectra, n_steps: int
) -> dict[str, tuple[np.ndarray, str]]:
    """Values along each axis and their unit, by the name in the file."""
    seconds, unit = np.arange(n_steps) * (spectra.step / spectra.sampling_rate), "s"
    if series.start is not None:
        # Whole seconds apart, for the rest would lose digits beside them.
        whole, rest = divmod(series.start, SECOND)
        seconds, unit = whole + (seconds + rest / SECOND), "seconds since 1970-01-01T00:00:00Z"
    location = (series.distance, "m")
    if series.distance is None:
        location = (np.arange(series.n_channels, dtype=float), "channel")
    frequency = (spectra.frequency, "Hz")
    return {"time_coords": (seconds, unit), "loc_coords": location, "freq_coords": frequency}


def _write(
    target: Path,
    shape: tuple[int, ...],
    chunk: Span,
    attributes: dict[str, Any],
    coordinates: dict[str, tuple[np.ndarray, str]],
    parts: Parts,
    jobs: Sequence[Job],
) -> None:
    """Write the cube in order; a target that was there is intact where that fails."""
    layout = {"shape": shape, "chunks": (*chunk, shape[2]), "dtype": np.float32}
    names = jobs[0].task.series.channel_names
    is_zarr = target.suffix.lower() == ".zarr"
    if not is_zarr:
        require_room(target, 4 * math.prod(shape))
    total = sum(job.size for job in jobs)
    with new_file(target) as path, Progress("writing", total, "spectra") as progress:
        try:
            with _opened(path, "w", target) as root:
                if is_zarr:
                    data = root.create_array(
                        "data", **layout, fill_value=np.nan, dimension_names=AXES
                    )
                else:
                    data = root.create_dataset("data", **layout, fillvalue=np.nan)
                data.attrs.update(attributes)
                group = root.create_group("metadata")
                for name, (values, unit) in coordinates.items():
                    group[name] = values
                    group[name].attrs["units"] = unit
                if names is not None and is_zarr:
                    array = group.create_array("channel_names", shape=(len(names),), dtype=str)
                    array[:] = np.array(names, dtype=object)
                elif names is not None:
                    group["channel_names"] = [name.encode() for name in names]
                for job in jobs:
                    place = slice(*job.task.steps), slice(*job.task.channels)
                    data[place] = np.load(parts.path(job), allow_pickle=False)
                    progress.add(job.size)
        except (RunError, DataError):
            raise
        except (RuntimeError, ValueError) as error:  # h5py's, of a full disk on closing
            raise OSError(str(error)) from None
