"""Making a cube of spectra: jobs of whole chunks, in parallel, written in order.

Letters: C channels, K time steps, F frequency bins.
"""

import itertools
import math
import time
from collections.abc import Iterable, Iterator, Sequence
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
from .joining import open_series, warn_of
from .series import SECOND, Series
from .spectra import Spectra, spectra_of

# Numbers of float32. They set how much memory a worker takes, whatever the size of the cube.
CHUNK_VALUES = 2**19  # a chunk of the cube, 2 MB
CHUNK_STEPS = 16  # of one chunk, where there are so many
PART_VALUES = 2**23  # the result of a job, 32 MB
BLOCK_VALUES = 2**24  # samples read at a time, 64 MB
JOB_VALUES = 2**26  # samples read by a job
HDF5_NAMES = (".h5", ".hdf5")
AXES = ["time", "channel", "frequency"]

Span = tuple[int, int]  # from the first to before the last


@dataclass(frozen=True)
class Task:
    """Input of a worker for one part: a span of time steps and one of channels."""

    series: Series
    spectra: Spectra
    steps: Span
    channels: Span


@dataclass(frozen=True)
class CubeLayout:
    """A cube without its values.

    Attributes
    ----------
    shape, chunks : (int, int, int)
        Of (time, channel, frequency).
    coordinates : dict of str to (ndarray, str)
        Values along an axis and their unit, by the axis' name in the file.
    channel_names : tuple of str or None
    attributes : dict
        Of the data set; plain values.
    """

    shape: tuple[int, int, int]
    chunks: tuple[int, int, int]
    coordinates: dict[str, tuple[np.ndarray, str]]
    channel_names: tuple[str, ...] | None
    attributes: dict[str, Any]


def make_cube(
    paths: Sequence[Path],
    target: Path,
    settings: Settings,
    workers: int = 1,
    overwrite: bool = False,
) -> None:
    """Make a cube of spectra out of records.

    Parameters
    ----------
    paths : sequence of Path
        See `open_series`.
    target : Path
        Ends in ``.zarr``, ``.h5`` or ``.hdf5``. Finished parts are in ``<target>.parts`` until it
        is complete.
    settings : Settings
        Its section ``[records]``.
    workers : int
        Processes; the cube is the same for any number.
    overwrite : bool
        Replace a target made from anything else.

    Raises
    ------
    DataError, SettingsError, RunError, Stopped
        Records or settings do not fit together, another target is there, or see `Parts.run`.
    """
    began = time.monotonic()
    origin = _origin_of(paths, settings)
    if not overwrite and _is_done(target, origin):
        Parts(target).clear()
        return
    series = open_series(paths, settings.records, workers)
    spectra = spectra_of(settings.records, series.sampling_rate)
    n_steps = spectra.n_steps(series.n_samples)
    chunk, job = tile(n_steps, series.n_channels, spectra)
    layout = _layout(series, spectra, n_steps, chunk, settings, origin)
    log.info(
        f"{count(series.n_samples, 'sample')} of {count(series.n_channels, 'channel')} at "
        f"{series.sampling_rate:g} Hz, to a cube of {_shape(layout)}, "
        f"{4 * math.prod(layout.shape) / 1e9:.3g} GB"
    )
    jobs = _jobs(series, spectra, n_steps, job, origin)
    parts = Parts(target)
    parts.run(jobs, calculate_part, workers, "calculating", "spectra")
    summaries = [parts.summary(job) for job in jobs]
    lost = sorted({line for summary in summaries for line in summary["lost"]})
    missing = sum(summary["missing"] for summary in summaries)
    if missing == n_steps * series.n_channels:
        parts.remove()  # what is missing may be there the next time
        reason = lost[0] if lost else "every window touches a gap, or has no power"
        raise DataError(
            f"{target}: would have no value, and is not written ({reason}); mend that, or take a "
            "shorter records.window"
        )
    warn_of(lost)
    write_cube(target, layout, _in_order(parts, jobs))
    parts.remove()
    _report(target, layout, series, missing, time.monotonic() - began)


def _origin_of(paths: Sequence[Path], settings: Settings) -> str:
    """Identity of the input: settings, and name, size and time of every file and its sources."""
    files = [[stamp(path), *other_files(path)] for path in paths]
    return identity({"settings": settings.inputs("records", "result"), "files": files})


def _is_done(target: Path, origin: str) -> bool:
    if not target.exists():
        return False
    if made_from(target) == origin:
        log.info(f"{target}: done already, from the same files and settings")
        return True
    raise DataError(
        f"{target} is there, and was made from other files or settings; give another name, or "
        "--overwrite"
    )


# ---- jobs ---------------------------------------------------------------------------------------


def tile(n_steps: int, n_channels: int, spectra: Spectra) -> tuple[Span, Span]:
    """Time steps and channels of a chunk, about 2 MB with all frequencies, and of a job.

    A job is whole chunks.
    """
    rows = max(1, CHUNK_VALUES // spectra.n_frequencies)  # of one step and channel each
    chunk_channels = _even(n_channels, max(1, rows // min(CHUNK_STEPS, n_steps)))
    chunk_steps = _even(n_steps, max(1, rows // chunk_channels))
    chunk_values = chunk_steps * chunk_channels * spectra.n_frequencies
    job_channels = min(n_channels, chunk_channels * max(1, PART_VALUES // chunk_values))
    chunk_values = chunk_steps * job_channels * spectra.n_frequencies
    chunk_samples = chunk_steps * spectra.step * job_channels
    times = max(1, min(PART_VALUES // chunk_values, JOB_VALUES // chunk_samples))
    return (chunk_steps, chunk_channels), (chunk_steps * times, job_channels)


def _even(n: int, most: int) -> int:
    """Length of equal chunks, so that the last is not mostly padding."""
    return -(-n // -(-n // most))


def _spans(span: Span, step: int) -> list[Span]:
    return [(first, min(span[1], first + step)) for first in range(*span, step)]


def _jobs(series: Series, spectra: Spectra, n_steps: int, size: Span, origin: str) -> list[Job]:
    jobs = []
    for steps in _spans((0, n_steps), size[0]):
        needed = series.between(*spectra.samples_of(steps))
        for channels in _spans((0, series.n_channels), size[1]):
            depends = [origin, __version__, steps, channels]
            # The identity is in the name: a part of other settings is never taken for this one.
            name = f"{identity(depends)}-{steps[0]:09d}-{channels[0]:06d}.npy"
            n_spectra = (steps[1] - steps[0]) * (channels[1] - channels[0])
            jobs.append(Job(name, Task(needed, spectra, steps, channels), depends, n_spectra))
    return jobs


def calculate_part(task: Task, path: Path) -> dict[str, Any]:
    """Spectra of some time steps and channels, as a file of NumPy.

    Returns
    -------
    dict
        ``missing``: time steps times channels without a value or power; ``lost``: lines about
        files that can't be read.
    """
    spectra, (first, last), (left, right) = task.spectra, task.steps, task.channels
    out = np.empty((last - first, right - left, spectra.n_frequencies), dtype=np.float32)
    lost: dict[str, None] = {}
    # Steps and channels whose samples fit in memory together.
    n_channels = min(right - left, max(1, BLOCK_VALUES // spectra.window))
    n_steps = max(1, (BLOCK_VALUES // n_channels - spectra.window) // spectra.step + 1)
    blocks = itertools.product(_spans(task.steps, n_steps), _spans(task.channels, n_channels))
    for steps, channels in blocks:
        samples, lines = task.series.read(*spectra.samples_of(steps), *channels)
        lost.update(dict.fromkeys(lines))
        rows = slice(steps[0] - first, steps[1] - first)
        spectra.calculate(samples, out[rows, channels[0] - left : channels[1] - left])
    missing = int((np.isnan(out).any(axis=2) | ~out.any(axis=2)).sum())
    with new_file(path) as partial, partial.open("wb") as file:
        np.save(file, out)
    return {"missing": missing, "lost": list(lost)}


# ---- the cube -----------------------------------------------------------------------------------


def _layout(
    series: Series, spectra: Spectra, n_steps: int, chunk: Span, settings: Settings, origin: str
) -> CubeLayout:
    seconds = np.arange(n_steps) * (spectra.step / spectra.sampling_rate)
    time_unit = "s"
    if series.start is not None:
        # Whole seconds apart, for the rest would lose digits beside them.
        whole, rest = divmod(series.start, SECOND)
        seconds = whole + (seconds + rest / SECOND)
        time_unit = "seconds since 1970-01-01T00:00:00Z"
    location = (series.distance, "m")
    if series.distance is None:
        location = (np.arange(series.n_channels, dtype=float), "channel")
    power_unit = f"({series.unit})^2/Hz" if series.unit else "power per Hz"
    attributes = {
        "units": f"log10({power_unit})" if spectra.log else power_unit,
        "dimensions": AXES,
        "window_s": spectra.window / spectra.sampling_rate,
        "step_s": spectra.step / spectra.sampling_rate,
        "sampling_rate": spectra.sampling_rate,
        "power": settings.records.power,
        "made_from": origin,
        "program": f"RISCluster {__version__}",
    }
    for name, value in settings.inputs("records", "result").items():
        pair = isinstance(value, (list, tuple))
        attributes[name] = list(map(float, value)) if pair else "none" if value is None else value
    return CubeLayout(
        shape=(n_steps, series.n_channels, spectra.n_frequencies),
        chunks=(*chunk, spectra.n_frequencies),
        coordinates={
            "time_coords": (seconds, time_unit),
            "loc_coords": location,
            "freq_coords": (spectra.frequency, "Hz"),
        },
        channel_names=series.channel_names,
        attributes=attributes,
    )


def _is_zarr(target: Path) -> bool:
    return target.suffix.lower() == ".zarr"


def require_cube_name(target: Path) -> None:
    """Refuse a name of another format, and a Zarr folder where zarr is missing.

    Raises
    ------
    SettingsError, MissingPackage
    """
    if _is_zarr(target):
        need("zarr")
    elif target.suffix.lower() not in HDF5_NAMES:
        raise SettingsError(
            f"command line: -o {target} is not allowed; allowed: a name that ends in .zarr, "
            f"{' or '.join(HDF5_NAMES)}"
        )


def made_from(target: Path) -> str | None:
    """Attribute ``made_from`` of a cube; None where there is none."""
    try:
        if _is_zarr(target):
            return need("zarr").open_group(target, mode="r")["data"].attrs.get("made_from")
        with h5py.File(target, "r") as file:
            return file["data"].attrs.get("made_from")
    except (OSError, KeyError, ValueError, TypeError):
        return None


def write_cube(
    target: Path, layout: CubeLayout, parts: Iterable[tuple[tuple[slice, slice], np.ndarray]]
) -> None:
    """Write a cube: parts are a place in time and channel, and values (time, channel, frequency).

    Raises
    ------
    RunError
        It can't be written; a target that was there is intact.
    """
    if not _is_zarr(target):
        require_room(target, 4 * math.prod(layout.shape))
    with new_file(target) as path:
        try:
            with (_zarr if _is_zarr(target) else _hdf5)(path, layout) as data:
                for place, values in parts:
                    data[place] = values
        except (RunError, DataError):
            raise
        except (RuntimeError, ValueError) as error:  # h5py's, of a full disk on closing
            raise OSError(str(error)) from None


def _in_order(
    parts: Parts, jobs: Sequence[Job]
) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
    with Progress("writing", sum(job.size for job in jobs), "spectra") as progress:
        for job in jobs:
            place = slice(*job.task.steps), slice(*job.task.channels)
            yield place, np.load(parts.path(job), allow_pickle=False)
            progress.add(job.size)


@contextmanager
def _hdf5(path: Path, layout: CubeLayout) -> Iterator[Any]:
    with h5py.File(path, "w") as file:
        data = file.create_dataset(
            "data", layout.shape, np.float32, chunks=layout.chunks, fillvalue=np.nan
        )
        data.attrs.update(layout.attributes)
        group = file.create_group("metadata")
        for name, (values, unit) in layout.coordinates.items():
            group.create_dataset(name, data=values).attrs["units"] = unit
        if layout.channel_names is not None:
            group["channel_names"] = [name.encode() for name in layout.channel_names]
        yield data


@contextmanager
def _zarr(path: Path, layout: CubeLayout) -> Iterator[Any]:
    root = need("zarr").create_group(path, zarr_format=3)
    data = root.create_array(
        "data",
        shape=layout.shape,
        chunks=layout.chunks,
        dtype=np.float32,
        fill_value=np.nan,
        dimension_names=AXES,
        attributes=layout.attributes,
    )
    group = root.create_group("metadata")
    for name, (values, unit) in layout.coordinates.items():
        group.create_array(name, data=values, attributes={"units": unit})
    if layout.channel_names is not None:
        names = group.create_array("channel_names", shape=(len(layout.channel_names),), dtype=str)
        names[:] = np.array(layout.channel_names, dtype=object)
    yield data


def _shape(layout: CubeLayout) -> str:
    steps, channels, rows = layout.shape
    return (
        f"{count(steps, 'time step')} x {count(channels, 'channel')} x "
        f"{count(rows, 'frequency', 'frequencies')}"
    )


def _report(target: Path, layout: CubeLayout, series: Series, missing: int, seconds: float) -> None:
    n_spectra, frequency = layout.shape[0] * layout.shape[1], layout.coordinates["freq_coords"][0]
    span = f"{series.n_samples / series.sampling_rate:g} s"
    if series.start is not None:
        end = series.start + round(series.n_samples * SECOND / series.sampling_rate)
        span = " to ".join(nanoseconds_to_iso([series.start, end]))
    log.info(
        f"{target}: {_shape(layout)}, {frequency[0]:g} to {frequency[-1]:g} Hz; {span}; "
        f"{missing / n_spectra:.2%} of the steps are missing or "
        f"{'somewhere ' if layout.attributes['power'] == 'log' else ''}without power"
    )
    files = target.rglob("*") if target.is_dir() else [target]
    size = sum(item.stat().st_size for item in files if item.is_file())
    log.info(f"{size / 1e6:,.1f} MB in {seconds:.1f} s, {n_spectra / seconds:,.3g} spectra/s")
