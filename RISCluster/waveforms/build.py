"""Waveform files to a data set: plan, make the parts, put them together."""

import configparser
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py

from .. import __version__
from ..data.finding import find_files, stamp
from ..data.times import leave_out_far_pieces
from ..errors import DataError, SettingsError
from ..parallel import Job, Parts, identity
from ..runtime import count, log
from ..settings import BuildSettings, Settings
from .detect import check_settings
from .output import Content, Part, Tally, catalogue_of, put_together
from .planning import StationDay, output_rate, station_days, together, weakened, with_response
from .responses import inventory_checksum, read_inventory
from .sources import Stretch, forget_traces, matching, obspy_for_reading, scan
from .spectra import make_grid
from .stationday import DEAD, FAILED, NO_RESPONSE, TOO_SHORT, Task, work

FAR_CLOCK = 3650  # days without data, beyond which a clock is wrong
REASONS = {
    "gap": ("window at a gap", "windows at gaps"),
    "end_of_data": ("at an end of the data", "at ends of the data"),
    "taper": ("at a tapered end", "at tapered ends"),
    TOO_SHORT: ("stretch too short", "stretches too short"),
    DEAD: ("stretch constant", "stretches constant"),
    NO_RESPONSE: ("stretch without a response", "stretches without a response"),
    FAILED: ("station-day failed", "station-days failed"),
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
    catalogue_only: bool = False,
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
    catalogue_only : bool
        Write the catalogue alone, which is that of the data set, without making spectrograms.

    Returns
    -------
    Built or None
        None where the target was there, made from the same files with the same settings.

    Raises
    ------
    SettingsError
        Settings contradict each other or the data.
    DataError
        Waveforms do not go together, no window is found, or the target was made otherwise.
    RISClusterError
        Something can't be written, a request to stop came, or obspy is not installed.
    """
    obspy_for_reading()
    begin = time.monotonic()
    target = Path(target).expanduser()
    _check_target(target, catalogue_only)
    check_settings(settings.build)
    paths = _inputs(words, target)
    depends = _depends(settings)
    made_from = identity([depends, layout, [stamp(path) for path in paths]])
    if catalogue_only:
        settings = replace(settings, build=replace(settings.build, traces=False))
        depends["catalogue_only"] = True
    if not overwrite and _is_done(target, made_from, catalogue_only):
        return None
    days, rate, depends["unit"] = _plan(paths, settings.build, workers)
    grid, unit = make_grid(settings.build, rate), depends["unit"]
    tasks = [Task(day, settings.build, grid, unit, not catalogue_only) for day in together(days)]
    parts = Parts(target)
    jobs = _run(parts, [_job(task.station_day, depends, task) for task in tasks], days, workers)
    built = _count(parts, jobs)
    if not built.n_samples:
        parts.remove()
        raise DataError(_nothing(built, settings.build))
    detected = settings.build.method == "detect"
    attributes = _attributes(settings, built, made_from)
    content = Content(grid, unit, settings.build.traces, detected, attributes)
    tally = put_together(target, _done(parts, jobs), content, None if catalogue_only else layout)
    parts.remove()
    _report(built, content, time.monotonic() - begin)
    for line in _advice(tally, built.n_samples, settings.build):
        log.warning(line)
    _next(target, catalogue_only)
    return built


def _is_done(target: Path, made_from: str, catalogue_only: bool) -> bool:
    if catalogue_only:
        _require_no(catalogue_of(target))
        return False
    if _is_there(target, made_from):
        log.info(f"{target}: done already, from the same files with the same settings")
        Parts(target).clear()
        return True
    return False


def _run(parts: Parts, jobs: list[Job], days: Sequence[StationDay], workers: int) -> list[Job]:
    """Do the jobs; they come back in the order of the days."""
    try:
        parts.run(jobs, work, workers, "building", "station-days")
    finally:
        forget_traces()
    order = {(day.trace_id, day.day): number for number, day in enumerate(days)}
    return sorted(
        jobs, key=lambda job: order[job.inputs.station_day.trace_id, job.inputs.station_day.day]
    )


def _done(parts: Parts, jobs: Sequence[Job]) -> list[Part]:
    return [
        Part(parts.path(job), job.inputs.station_day.trace_id, parts.summary(job)["n_samples"])
        for job in jobs
    ]


def _next(target: Path, catalogue_only: bool) -> None:
    if catalogue_only:
        log.info(f"{catalogue_of(target)}: the catalogue alone")
        return
    log.info(f"{target} and its catalogue {catalogue_of(target)}")


# ---- target and identity ------------------------------------------------------------------------


def _check_target(target: Path, catalogue_only: bool) -> None:
    allowed = (".h5", ".hdf5", ".csv") if catalogue_only else (".h5", ".hdf5")
    if target.suffix.lower() not in allowed:
        raise SettingsError(
            f"command line: -o {target} is not allowed; allowed: a file ending in .h5 or .hdf5 "
            "(the catalogue is written beside it as .csv)"
        )
    if target.is_dir():
        raise DataError(f"{target}: is a folder; give the name of a file with -o")


def _require_no(catalogue: Path) -> None:
    if catalogue.exists():
        raise DataError(
            f"{catalogue}: is there; give another name with -o, or --overwrite to replace it"
        )


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
) -> tuple[list[StationDay], float, str]:
    """Station-days to do, and the sampling rate and unit of all after processing."""
    inventory = None if settings.inventory is None else read_inventory(settings.inventory)
    stretches, lines = scan(paths, workers)
    for line in lines:
        log.warning(line)
    if not stretches:
        raise DataError(
            f"{paths[0]}{' ...' if len(paths) > 1 else ''}: no waveforms in "
            f"{count(len(paths), 'file')}; allowed: anything that obspy reads"
        )
    stretches, clocks = _with_good_clocks(matching(stretches, settings.trace_ids))
    days, lines = station_days(stretches, settings)
    lines, unit = clocks + lines, "counts"
    if inventory is not None:
        days, unit, more = with_response(days, inventory, settings)
        lines += more
    for line in lines:
        log.warning(line)
    if not days:
        raise DataError(
            f"{settings.inventory}: has a response for none of the traces; set build.inventory to "
            "one that has, or to none"
        )
    log.info(
        f"{count(len({day.trace_id for day in days}), 'trace')}, "
        f"{count(len(days), 'station-day')} in {count(len(paths), 'file')}"
    )
    rate = output_rate(days, settings)
    for line in weakened(days, rate, settings):
        log.warning(line)
    return days, rate, unit


def _with_good_clocks(stretches: Sequence[Stretch]) -> tuple[list[Stretch], list[str]]:
    """Without the few that are decades from the others; with a line where they are not few.

    Records of events may be years apart; clocks without GPS are of 1980, or off by 1024 weeks.
    """
    spans = [(item.start, item.end, str(item.path)) for item in stretches]
    try:
        kept, lines = leave_out_far_pieces(spans, FAR_CLOCK)
    except DataError as error:
        return list(stretches), [str(error)]
    return [stretches[at] for at in kept], lines


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
    words = [count(left_out[key], *words) for key, words in REASONS.items() if left_out[key]]
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
        f"no window in {count(built.n_station_days, 'station-day')}: {built.n_candidates:,} "
        f"{what}; left out: {_left_out_words(built.left_out)}; {change}"
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


def _report(built: Built, content: Content, seconds: float) -> None:
    grid = content.grid
    log.info(
        f"{count(built.n_samples, 'window')} of {grid.n_rows} x {grid.n_columns} from "
        f"{count(built.n_traces, 'trace')} in {seconds:.1f} s, "
        f"{built.n_samples / seconds:,.0f} samples/s; left out: {_left_out_words(built.left_out)}"
    )


def _advice(tally: Tally, n: int, settings: BuildSettings) -> Iterator[str]:
    """Lines on windows that overlap, and on those that begin too late."""
    if tally.overlapping:
        yield (
            f"{tally.overlapping:,} of {count(n, 'window')} overlap the one before on the same "
            "trace, so that one event may be in the data set twice: set build.dead_time "
            f"({settings.dead_time:g} s) to build.length ({settings.length:g} s) or more, or "
            "build.length shorter"
        )
    if tally.late:
        yield (
            f"{tally.late:,} of {count(n, 'window')} begin after the onset of their detection, "
            f"which is up to {tally.longest_rise:.3g} s before its peak, in the middle: set "
            f"build.length ({settings.length:g} s) longer"
        )
