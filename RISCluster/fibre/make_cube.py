"""Making a cube of spectra: jobs of whole chunks, in parallel, put together in order.

Letters: C channels, K time steps, F frequency bins.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..data.finding import stamp
from ..data.holes import other_files
from ..data.times import nanoseconds_to_iso
from ..errors import DataError
from ..io import new_file
from ..parallel import Job, Parts, identity
from ..runtime import Progress, count, log
from ..settings import RecordsSettings, Settings
from .joining import open_series, warn_of
from .output import AXES, CubeLayout, Place, made_from, size_on_disk, write_cube
from .series import SECOND, Series
from .spectra import Spectra, spectra_of

# Numbers of float32. They set how much memory a worker takes, whatever is to be done.
CHUNK_VALUES = 2**19  # a chunk of the cube, 2 MB
CHUNK_STEPS = 16  # of one chunk, where there are so many
PART_VALUES = 2**23  # the result of a job, 32 MB
BLOCK_VALUES = 2**24  # samples read at a time, 64 MB
JOB_VALUES = 2**26  # samples read by a job


@dataclass(frozen=True)
class Tiling:
    """How a cube is cut.

    Attributes
    ----------
    chunk, job : (int, int)
        Time steps and channels of a chunk of the cube, and of a job: whole chunks.
    """

    chunk: tuple[int, int]
    job: tuple[int, int]


@dataclass(frozen=True)
class Task:
    """What a worker needs for one part: time steps and channels from first to before last."""

    series: Series
    spectra: Spectra
    steps: tuple[int, int]
    channels: tuple[int, int]

    @property
    def place(self) -> Place:
        """In the cube."""
        return slice(*self.steps), slice(*self.channels)


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
        Ends in ``.zarr``, ``.h5`` or ``.hdf5``. What was made is kept beside it in
        ``<target>.parts`` until it is whole.
    settings : Settings
        Its section ``[records]``.
    workers : int
        Processes; the cube is the same for any number.
    overwrite : bool
        Replace a target made from anything else.

    Raises
    ------
    DataError
        Records that do not fit together, or another target is there.
    SettingsError
        Settings that do not fit the records.
    RunError, Stopped
        See `Parts.run`.
    """
    began = time.monotonic()
    origin = origin_of(paths, settings)
    if _is_done(target, origin, overwrite):
        Parts(target).clear()
        return
    series = open_series(paths, settings.records, workers)
    spectra = spectra_of(settings.records, series.sampling_rate)
    n_steps = spectra.n_steps(series.n_samples)
    tiling = tile(n_steps, series.n_channels, spectra)
    layout = _layout(series, spectra, n_steps, tiling, settings, origin)
    log.info(_say_what(layout, series))
    jobs = _jobs(series, spectra, n_steps, tiling, origin)
    parts = Parts(target)
    parts.run(jobs, calculate_part, workers, "calculating", "spectra")
    summaries = [parts.summary(job) for job in jobs]
    lost = sorted({line for summary in summaries for line in summary["lost"]})
    missing = sum(summary["missing"] for summary in summaries)
    if missing == sum(job.size for job in jobs):
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


def origin_of(paths: Sequence[Path], settings: Settings) -> str:
    """Identity of what goes into a cube: settings, and name, size and time of every file.

    Of files that have their samples in other files, those as well.
    """
    files = [[stamp(path), *other_files(path)] for path in paths]
    return identity({"settings": settings.affecting("records", "result"), "files": files})


def _is_done(target: Path, origin: str, overwrite: bool) -> bool:
    if not target.exists() or overwrite:
        return False
    if made_from(target) == origin:
        log.info(f"{target}: done already, from the same files and settings")
        return True
    raise DataError(
        f"{target} is there, and was made from other files or settings; give another name, or "
        "--overwrite"
    )


# ---- what is to be done -------------------------------------------------------------------------


def tile(n_steps: int, n_channels: int, spectra: Spectra) -> Tiling:
    """Chunks of about 2 MB with all frequencies, and jobs of whole chunks.

    Parameters
    ----------
    n_steps, n_channels : int
    spectra : Spectra

    Returns
    -------
    Tiling
    """
    rows = max(1, CHUNK_VALUES // spectra.n_frequencies)  # of one step and channel each
    chunk_channels = _even(n_channels, max(1, rows // min(CHUNK_STEPS, n_steps)))
    chunk_steps = _even(n_steps, max(1, rows // chunk_channels))
    chunk_values = chunk_steps * chunk_channels * spectra.n_frequencies
    job_channels = chunk_channels * max(1, PART_VALUES // chunk_values)
    job_channels = min(n_channels, job_channels)
    chunk_values = chunk_steps * job_channels * spectra.n_frequencies
    chunk_samples = chunk_steps * spectra.step * job_channels
    times = max(1, min(PART_VALUES // chunk_values, JOB_VALUES // chunk_samples))
    return Tiling((chunk_steps, chunk_channels), (chunk_steps * times, job_channels))


def _even(n: int, most: int) -> int:
    """Length of equal chunks, lest the last be mostly padding."""
    return -(-n // -(-n // most))


def _jobs(series: Series, spectra: Spectra, n_steps: int, tiling: Tiling, origin: str) -> list[Job]:
    jobs = []
    job_steps, job_channels = tiling.job
    for first in range(0, n_steps, job_steps):
        last = min(n_steps, first + job_steps)
        start, stop = first * spectra.step, (last - 1) * spectra.step + spectra.window
        needed = series.between(start, stop)
        for left in range(0, series.n_channels, job_channels):
            right = min(series.n_channels, left + job_channels)
            task = Task(needed, spectra, (first, last), (left, right))
            depends = [origin, __version__, task.steps, task.channels]
            # The identity is in the name: a part of other settings is never taken for this one.
            name = f"{identity(depends)}-{first:09d}-{left:06d}.npy"
            jobs.append(Job(name, task, depends, (last - first) * (right - left)))
    return jobs


# ---- the work of a job --------------------------------------------------------------------------


def calculate_part(task: Task, path: Path) -> dict[str, Any]:
    """Spectra of some time steps and channels, as a file of NumPy.

    Parameters
    ----------
    task : Task
    path : Path

    Returns
    -------
    dict
        ``missing``: time steps times channels without a value or power; ``lost``: lines about
        files that can't be read.
    """
    spectra, (first, last), (left, right) = task.spectra, task.steps, task.channels
    out = np.empty((last - first, right - left, spectra.n_frequencies), dtype=np.float32)
    lost: dict[str, None] = {}
    for steps, channels in _blocks(task):
        start, stop = steps[0] * spectra.step, (steps[1] - 1) * spectra.step + spectra.window
        samples, lines = task.series.read(start, stop, *channels)
        lost.update(dict.fromkeys(lines))
        place = (
            slice(steps[0] - first, steps[1] - first),
            slice(channels[0] - left, channels[1] - left),
        )
        spectra.calculate(samples, out[place])
    missing = int((np.isnan(out).any(axis=2) | ~out.any(axis=2)).sum())
    with new_file(path) as partial, partial.open("wb") as file:
        np.save(file, out)
    return {"missing": missing, "lost": list(lost)}


def _blocks(task: Task) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Time steps and channels whose samples fit in memory together."""
    window, step = task.spectra.window, task.spectra.step
    (first, last), (left, right) = task.steps, task.channels
    n_channels = min(right - left, max(1, BLOCK_VALUES // window))
    n_steps = max(1, (BLOCK_VALUES // n_channels - window) // step + 1)
    for start in range(first, last, n_steps):
        for channel in range(left, right, n_channels):
            yield (
                (start, min(last, start + n_steps)),
                (channel, min(right, channel + n_channels)),
            )


# ---- putting together ---------------------------------------------------------------------------


def _in_order(parts: Parts, jobs: Sequence[Job]) -> Iterator[tuple[Place, np.ndarray]]:
    with Progress("writing", sum(job.size for job in jobs), "spectra") as progress:
        for job in jobs:
            yield job.inputs.place, np.load(parts.path(job), allow_pickle=False)
            progress.add(job.size)


def _layout(
    series: Series,
    spectra: Spectra,
    n_steps: int,
    tiling: Tiling,
    settings: Settings,
    origin: str,
) -> CubeLayout:
    seconds = np.arange(n_steps) * (spectra.step / spectra.sampling_rate)
    time_unit = "s"
    if series.start is not None:
        # Whole seconds apart, for the rest would lose digits beside them.
        whole, rest = divmod(series.start, SECOND)
        seconds = whole + (seconds + rest / SECOND)
        time_unit = "seconds since 1970-01-01T00:00:00Z"
    metres = series.distance
    return CubeLayout(
        shape=(n_steps, series.n_channels, spectra.n_frequencies),
        chunks=(*tiling.chunk, spectra.n_frequencies),
        time=seconds,
        time_unit=time_unit,
        location=np.arange(series.n_channels, dtype=float) if metres is None else metres,
        location_unit="channel" if metres is None else "m",
        frequency=spectra.frequency,
        channel_names=series.channel_names,
        attributes=_attributes(series, spectra, settings.records, origin)
        | {name: _plain(value) for name, value in settings.affecting("records", "result").items()},
    )


def _attributes(
    series: Series, spectra: Spectra, settings: RecordsSettings, origin: str
) -> dict[str, Any]:
    units = f"({series.unit})^2/Hz" if series.unit else "power per Hz"
    return {
        "units": f"log10({units})" if spectra.log else units,
        "dimensions": AXES,
        "window_s": spectra.window / spectra.sampling_rate,
        "step_s": spectra.step / spectra.sampling_rate,
        "sampling_rate": spectra.sampling_rate,
        "power": settings.power,
        "made_from": origin,
        "program": f"RISCluster {__version__}",
    }


def _plain(value: Any) -> Any:
    """As an attribute of either format can have it."""
    if value is None:
        return "none"
    return [float(item) for item in value] if isinstance(value, (list, tuple)) else value


# ---- what is said -------------------------------------------------------------------------------


def _say_what(layout: CubeLayout, series: Series) -> str:
    size = 4 * np.prod(layout.shape, dtype=float) / 1e9
    return (
        f"{count(series.n_samples, 'sample')} of {count(series.n_channels, 'channel')} at "
        f"{series.sampling_rate:g} Hz, to a cube of {_shape(layout)}, {size:.3g} GB"
    )


def _shape(layout: CubeLayout) -> str:
    steps, channels, rows = layout.shape
    return (
        f"{count(steps, 'time step')} x {count(channels, 'channel')} x "
        f"{count(rows, 'frequency', 'frequencies')}"
    )


def _report(target: Path, layout: CubeLayout, series: Series, missing: int, seconds: float) -> None:
    steps, channels, _ = layout.shape
    frequency = layout.frequency
    if series.start is None:
        span = f"{series.n_samples / series.sampling_rate:g} s"
    else:
        end = series.start + round(series.n_samples * SECOND / series.sampling_rate)
        span = " to ".join(nanoseconds_to_iso([series.start, end]))
    log.info(
        f"{target}: {_shape(layout)}, {frequency[0]:g} to {frequency[-1]:g} Hz; {span}; "
        f"{missing / (steps * channels):.2%} of the steps are missing or "
        f"{'somewhere ' if layout.attributes['power'] == 'log' else ''}without power"
    )
    log.info(
        f"{size_on_disk(target) / 1e6:,.1f} MB in {seconds:.1f} s, "
        f"{steps * channels / seconds:,.3g} spectra/s"
    )
