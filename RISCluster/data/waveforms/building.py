"""Waveform files to a data set: plan, make the parts, put them together."""

import configparser
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from ... import __version__
from ...config import BuildSettings, Settings
from ...errors import DataError, SettingsError
from ...jobs import Job, Parts, identity
from ...progress import log
from ..finding import find_files, stamp
from .cutting import check_settings
from .output import Content, Part, catalogue_of, put_together
from .planning import StationDay, output_rate, station_days, together, weakened, with_response
from .responses import inventory_checksum, read_inventory, unit_of
from .sources import forget_traces, matching, obspy_for_reading, scan
from .spectra import make_grid
from .stationday import DEAD, FAILED, TOO_SHORT, Task, work

REASONS = {
    "gap": "windows at gaps",
    "end_of_data": "at ends of the data",
    "taper": "at tapered ends",
    TOO_SHORT: "stretches too short",
    DEAD: "stretches constant",
    FAILED: "station-days failed",
}


@dataclass(frozen=True)
class Built:
    """What was built.

    Attributes
    ----------
    n_samples, n_candidates, n_traces, n_station_days : int
        Windows made; windows or detections there were; traces with windows; station-days.
    left_out : Counter
        By reason, see `REASONS`.
    seconds : Counter
        Time by step, summed over workers.
    """

    n_samples: int
    n_candidates: int
    n_traces: int
    n_station_days: int
    left_out: Counter
    seconds: Counter


def build(
    words: Sequence[str],
    target: str | Path,
    settings: Settings,
    layout: str = "samples",
    workers: int = 1,
    overwrite: bool = False,
) -> Built | None:
    """Make a data set out of waveforms.

    Parameters
    ----------
    words : sequence of str
        Files, folders and patterns, of anything that obspy reads.
    target : path
        File to write; its catalogue is beside it, with the suffix ``.csv``.
    settings : Settings
        Of which ``[build]`` is read.
    layout : {"samples", "ris"}
    workers : int
        Processes; the result is the same.
    overwrite : bool
        Replace a target that was made otherwise.

    Returns
    -------
    Built or None
        None where the target was there, made from the same files with the same settings.

    Raises
    ------
    SettingsError
        Settings contradict each other or the data.
    DataError
        There are no waveforms, they do not go together, no window is found, or the target is
        there and was made otherwise.
    RunError
        Something can't be written.
    Stopped
        SIGINT or SIGTERM came; what is done is kept.
    MissingPackage
        Obspy is not installed.
    """
    obspy_for_reading()
    begin = time.monotonic()
    target = Path(target).expanduser()
    _check_target(target)
    check_settings(settings.build)
    paths = _inputs(words, target)
    depends = _depends(settings)
    made_from = identity([depends, layout, [stamp(path) for path in paths]])
    if not overwrite and _is_there(target, made_from):
        log.info(f"{target}: done already, from the same files with the same settings")
        Parts(target).clear()
        return None
    days, rate = _plan(paths, settings.build, workers)
    grid = make_grid(settings.build, rate)
    jobs = [_job(day, depends, Task(day, settings.build, grid)) for day in together(days)]
    parts = Parts(target)
    try:
        parts.run(jobs, work, workers, "building", "station-days")
    finally:
        forget_traces()
    jobs.sort(key=lambda job: (job.inputs.station_day.trace_id, job.inputs.station_day.day))
    built = _count(parts, jobs)
    if not built.n_samples:
        parts.remove()
        raise DataError(_nothing(built, settings.build))
    attributes = _attributes(settings, built, made_from)
    content = Content(grid, unit_of(settings.build), settings.build.traces, attributes)
    done = [
        Part(parts.path(job), job.inputs.station_day.trace_id, parts.summary(job)["n_samples"])
        for job in jobs
    ]
    put_together(target, done, content, layout)
    parts.remove()
    _report(target, built, content, time.monotonic() - begin)
    return built


# ---- target and identity ------------------------------------------------------------------------


def _check_target(target: Path) -> None:
    if target.suffix.lower() not in (".h5", ".hdf5"):
        raise SettingsError(
            f"command line: -o {target} is not allowed; allowed: a file ending in .h5 or .hdf5 "
            "(the catalogue is written beside it as .csv)"
        )
    if target.is_dir():
        raise DataError(f"{target}: is a folder; give the name of a file with -o")


def _is_there(target: Path, made_from: str) -> bool:
    """Whether the target is there and is what would be made.

    Raises
    ------
    DataError
        It is there and is something else.
    """
    catalogue = catalogue_of(target)
    if target.exists():
        if _made_from(target) != made_from:
            raise DataError(
                f"{target}: is there, made from other files or with other settings; give another "
                "name with -o, or --overwrite to replace it"
            )
        return catalogue.exists()
    if catalogue.exists():
        raise DataError(
            f"{catalogue}: is there without {target.name}, and would be written anew; give another "
            "name with -o, or --overwrite to replace it"
        )
    return False


def _made_from(target: Path) -> str | None:
    try:
        with h5py.File(target, "r") as file:
            return file.attrs.get("made_from")
    except OSError:
        return None


def _inputs(words: Sequence[str], target: Path) -> list[Path]:
    """Files to read; what this command itself writes is none of them."""
    folder = Parts(target).folder.resolve()
    paths = [
        path
        for path in find_files(words)
        if path.resolve() != target.resolve() and folder not in path.resolve().parents
    ]
    if not paths:
        raise DataError(
            f"{' '.join(words)}: no waveforms among these files; allowed: anything that obspy reads"
        )
    return paths


def _depends(settings: Settings) -> dict[str, Any]:
    """Settings that results depend on; of the inventory its content, not its place."""
    found = settings.affecting("build", "result")
    found["build.inventory"] = inventory_checksum(settings.build.inventory)
    return found


def _job(day: StationDay, settings: dict[str, Any], task: Task) -> Job:
    depends = [settings, day.trace_id, day.day, [stamp(path) for path in day.paths]]
    safe = "".join(char if char.isalnum() or char in "._-" else "_" for char in day.trace_id)
    if safe != day.trace_id:
        safe += f".{identity(day.trace_id)[:8]}"
    return Job(f"{safe}.{day.date}.h5", task, depends)


# ---- plan ---------------------------------------------------------------------------------------


def _plan(
    paths: Sequence[Path], settings: BuildSettings, workers: int
) -> tuple[list[StationDay], float]:
    """Station-days to do, and the sampling rate of all after processing."""
    inventory = None if settings.inventory is None else read_inventory(settings.inventory)
    stretches, lines = scan(paths, workers)
    for line in lines:
        log.warning(line)
    if not stretches:
        raise DataError(
            f"{paths[0]}{' ...' if len(paths) > 1 else ''}: no waveforms in {len(paths):,} files; "
            "allowed: anything that obspy reads"
        )
    days, lines = station_days(matching(stretches, settings.trace_ids), settings)
    if inventory is not None:
        days, more = with_response(days, inventory, settings)
        lines += more
    for line in lines:
        log.warning(line)
    if not days:
        raise DataError(
            f"{settings.inventory}: has a response for none of the traces; set build.inventory to "
            "one that has, or to none"
        )
    log.info(
        f"{len({day.trace_id for day in days}):,} traces, {len(days):,} station-days in "
        f"{len(paths):,} files"
    )
    rate = output_rate(days, settings)
    for line in weakened(days, rate, settings):
        log.warning(line)
    return days, rate


# ---- account ------------------------------------------------------------------------------------


def _count(parts: Parts, jobs: Sequence[Job]) -> Built:
    summaries = [parts.summary(job) for job in jobs]
    left_out, seconds = Counter(), Counter()
    for summary in summaries:
        left_out.update(summary["left_out"])
        seconds.update(summary["seconds"])
    traces = {
        job.inputs.station_day.trace_id
        for job, summary in zip(jobs, summaries, strict=True)
        if summary["n_samples"]
    }
    return Built(
        sum(summary["n_samples"] for summary in summaries),
        sum(summary["n_candidates"] for summary in summaries),
        len(traces),
        len(jobs),
        left_out,
        seconds,
    )


def _left_out_words(left_out: Counter) -> str:
    words = [f"{left_out[key]:,} {words}" for key, words in REASONS.items() if left_out[key]]
    return ", ".join(words) or "none"


def _nothing(built: Built, settings: BuildSettings) -> str:
    what = "detections" if settings.method == "detect" else "windows"
    if built.n_candidates:
        change = "a shorter build.length, taper or segment would fit more"
    elif built.left_out[TOO_SHORT]:
        change = "a stretch must hold two tapers and a window, for detection also build.lta"
    elif settings.method == "detect":
        change = f"lower build.on = {settings.on:g}, or see whether build.bandpass fits the events"
    else:
        change = "see whether the files hold what they should"
    return (
        f"no window in {built.n_station_days:,} station-days: {built.n_candidates:,} {what}; left "
        f"out: {_left_out_words(built.left_out)}; {change}"
    )


def _attributes(settings: Settings, built: Built, made_from: str) -> dict[str, Any]:
    """Attributes of the file: every setting as config.ini has it, counts, version, identity."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(settings.as_ini())
    return {
        **{f"build.{key}": value for key, value in parser.items("build")},
        **{f"left_out.{reason}": built.left_out[reason] for reason in REASONS},
        "source": "spectrograms of waveforms, made by RISCluster",
        "version": __version__,
        "made_from": made_from,
    }


def _report(target: Path, built: Built, content: Content, seconds: float) -> None:
    grid = content.grid
    log.info(
        f"{built.n_samples:,} windows of {grid.n_rows} x {grid.n_columns} from {built.n_traces:,} "
        f"traces in {seconds:.1f} s, {built.n_samples / seconds:,.0f} samples/s; left out: "
        f"{_left_out_words(built.left_out)}"
    )
    log.info(f"{target} and its catalogue {catalogue_of(target)}")
    log.info(f"next: python AEC_train.py data.file={target}")
