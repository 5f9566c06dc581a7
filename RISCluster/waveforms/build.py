"""Build a data set of spectrograms from waveform files: plan, make the parts, put them together."""

import configparser
import csv
import json
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from .. import __version__
from ..data.storage import find_files, stamp
from ..data.times import leave_out_far_pieces, nanoseconds_to_iso, same_rate
from ..errors import DataError, SettingsError
from ..io import new_file, require_room
from ..parallel import Job, Parts, identity
from ..runtime import count, log
from ..settings import BuildSettings, Settings
from .detect import check_settings
from .process import PASS
from .read import SECOND, Stretch, duration, import_obspy, matching, read_traces_cached, scan
from .responses import inventory_checksum, read_inventory
from .spectra import Grid, make_grid
from .station_day import (
    DEAD,
    FAILED,
    NO_RESPONSE,
    TIMES,
    TOO_SHORT,
    Columns,
    StationDay,
    Task,
    chunk_samples,
    read_blocks,
    read_together,
    station_days,
    with_response,
    work,
    writing,
)

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
CACHE = 64 * 2**20  # bytes of HDF5 chunks
RIS_CHUNK = 20  # samples
CODES = ("network", "station", "location", "channel")
TIME_COLUMNS = ("starttime", "onset", "end", "peak_time")
CATALOGUE = ("index", "trace_id", *TIME_COLUMNS, "peak_amplitude", "unit")


class Built(NamedTuple):
    """Numbers of samples, of windows or detections, of traces with samples, and of station-days.

    `left_out` counts windows and stretches by `REASONS`.
    """

    n_samples: int
    n_candidates: int
    n_traces: int
    n_station_days: int
    left_out: Counter


def build(
    words: Sequence[str],
    target: str | Path,
    settings: Settings,
    layout: str = "samples",
    workers: int = 1,
    overwrite: bool = False,
    catalogue_only: bool = False,
) -> Built | None:
    """Build a data set from waveforms; None where it exists, from the same files and settings.

    Parameters
    ----------
    words : sequence of str
        Files, folders and patterns, of any format that obspy reads.
    target : path
        HDF5 file to write; the catalogue is beside it, with the suffix ``.csv``.
    settings : Settings
    layout : {"samples", "ris"}
    workers : int
        Number of processes.
    overwrite : bool
        Replace a target that was made from other files or with other settings.
    catalogue_only : bool
        Write only the catalogue, without making spectrograms.
    """
    import_obspy()
    begin = time.monotonic()
    target = Path(target).expanduser()
    _check_target(target, catalogue_only)
    check_settings(settings.build)
    paths = _inputs(words, target)
    depends = settings.inputs("build", "result")
    depends["build.inventory"] = inventory_checksum(settings.build.inventory)
    made_from = identity([depends, layout, [stamp(path) for path in paths]])
    if catalogue_only:
        settings = replace(settings, build=replace(settings.build, traces=False))
        depends["catalogue_only"] = True
    if not overwrite and _is_done(target, made_from, catalogue_only):
        return None
    days, rate, depends["unit"] = _plan(paths, settings.build, workers)
    grid, unit = make_grid(settings.build, rate), depends["unit"]
    days = read_together(days)
    tasks = [Task(day, settings.build, grid, unit, not catalogue_only) for day in days]
    parts = Parts(target)
    jobs = _make_parts(parts, tasks, depends, workers)
    built = _count(parts, jobs)
    if not built.n_samples:
        parts.remove()
        raise DataError(_nothing(built, settings.build))
    content = Content(grid, unit, settings.build, _attributes(settings, built, made_from))
    done = [(parts.path(job), job.task.station_day.trace_id) for job in jobs]
    layout = None if catalogue_only else layout
    tally = put_together(target, done, built.n_samples, content, layout)
    parts.remove()
    _report(built, tally, content, time.monotonic() - begin)
    catalogue = catalogue_of(target)
    both = f"{target} and its catalogue {catalogue}"
    log.info(both if layout else f"{catalogue}: the catalogue alone")
    return built


def _make_parts(
    parts: Parts, tasks: Sequence[Task], depends: dict[str, Any], workers: int
) -> list[Job]:
    """Make the parts of all station-days; their jobs by trace id, then day."""
    jobs = [_job(task, depends) for task in tasks]
    try:
        parts.run(jobs, work, workers, "building", "station-days")
    finally:
        read_traces_cached.cache_clear()
    return sorted(jobs, key=lambda job: (job.task.station_day.trace_id, job.task.station_day.day))


# ---- target and inputs --------------------------------------------------------------------------


def catalogue_of(target: Path) -> Path:
    """Path of the catalogue beside a data set."""
    return target.with_suffix(".csv")


def _check_target(target: Path, catalogue_only: bool) -> None:
    allowed = (".h5", ".hdf5", ".csv") if catalogue_only else (".h5", ".hdf5")
    if target.suffix.lower() not in allowed:
        raise SettingsError(
            f"command line: -o {target} is not allowed; allowed: a file ending in .h5 or .hdf5 "
            "(the catalogue is written beside it as .csv)"
        )
    if target.is_dir():
        raise DataError(f"{target}: is a folder; give the name of a file with -o")


def _is_done(target: Path, made_from: str, catalogue_only: bool) -> bool:
    """Whether the target exists as it would be made; DataError where it exists otherwise."""
    catalogue, place, problem = catalogue_of(target), target, None
    if catalogue_only:
        place, problem = catalogue, "is there" if catalogue.exists() else None
    elif target.exists() and _made_from(target) != made_from:
        problem = "is there, made from other files or with other settings"
    elif catalogue.exists() and not target.exists():
        place, problem = catalogue, f"is there without {target.name}, and would be written anew"
    if problem:
        raise DataError(
            f"{place}: {problem}; give another name with -o, or --overwrite to replace it"
        )
    if catalogue_only or not (target.exists() and catalogue.exists()):
        return False
    log.info(f"{target}: done already, from the same files with the same settings")
    Parts(target).clear()
    return True


def _made_from(target: Path) -> str | None:
    try:
        with h5py.File(target, "r") as file:
            return file.attrs.get("made_from")
    except OSError:
        return None


def _inputs(words: Sequence[str], target: Path) -> list[Path]:
    """Files to read, without those that this command writes."""
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


def _job(task: Task, settings: dict[str, Any]) -> Job:
    day = task.station_day
    depends = [settings, day.trace_id, day.day, [stamp(path) for path in day.paths]]
    safe = "".join(char if char.isalnum() or char in "._-" else "_" for char in day.trace_id)
    if safe != day.trace_id:
        safe += f".{identity(day.trace_id)[:8]}"
    return Job(f"{safe}.{day.date}.h5", task, depends)


# ---- plan ---------------------------------------------------------------------------------------


def _plan(
    paths: Sequence[Path], settings: BuildSettings, workers: int
) -> tuple[list[StationDay], float, str]:
    """Station-days, and the sampling rate and unit of all after processing."""
    inventory = None if settings.inventory is None else read_inventory(settings.inventory)
    stretches, lines = scan(paths, workers)
    for line in lines:
        log.warning(line)
    if not stretches:
        raise DataError(
            f"{paths[0]}{' ...' if len(paths) > 1 else ''}: no waveforms in "
            f"{count(len(paths), 'file')}; allowed: anything that obspy reads"
        )
    stretches, lines = _with_good_clocks(matching(stretches, settings.trace_ids))
    days, more = station_days(stretches, settings)
    lines, unit = lines + more, "counts"
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
    return days, _output_rate(days, settings), unit


def _with_good_clocks(stretches: Sequence[Stretch]) -> tuple[list[Stretch], list[str]]:
    """Leave out the few that are decades from the others, as of a clock without GPS (1980)."""
    spans = [(item.start, item.end, str(item.path)) for item in stretches]
    try:
        good, lines = leave_out_far_pieces(spans, FAR_CLOCK)
    except DataError as error:  # not few: which are wrong is not known
        return list(stretches), [str(error)]
    return [stretches[at] for at in good], lines


def _output_rate(days: Sequence[StationDay], settings: BuildSettings) -> float:
    """Sampling rate of all waveforms after processing, Hz, that the other settings fit."""
    rates: dict[float, StationDay] = {}
    for day in days:
        rates.setdefault(day.sampling_rate, day)
    rate = settings.sampling_rate
    if rate == "auto" and len(rates) > 1:
        examples = [
            f"{rate:g} Hz ({rates[rate].trace_id} in {rates[rate].paths[0]})"
            for rate in sorted(rates)[:4]
        ]
        raise DataError(
            "build.sampling_rate = auto: traces have different sampling rates: "
            f"{', '.join(examples)}; set it to a number of Hz, or take one kind of trace with "
            "build.trace_ids"
        )
    if rate == "auto":
        rate = next(iter(rates))
    lowest = min(rates)
    if lowest < rate:
        _check_band(settings, lowest, f"{rates[lowest].trace_id} ({rates[lowest].paths[0].name})")
    _check_band(settings, rate, "the waveforms")
    if settings.method == "slide" and settings.step * rate < 1:
        raise SettingsError(
            f"build.step = {settings.step:g} s is less than a sample at {rate:g} Hz; allowed: "
            f"{1 / rate:g} or more"
        )
    resampled = [own for own in rates if not same_rate(own, rate)]
    band = settings.frequencies or settings.bandpass
    limit = PASS * min(rate, *resampled, np.inf) / 2
    if resampled and band is not None and band.high > limit:
        log.warning(
            f"resampling from {min(resampled):g} Hz to {rate:g} Hz weakens frequencies above "
            f"{limit:g} Hz, and {band} Hz are asked for"
        )
    return rate


def _check_band(settings: BuildSettings, rate: float, of: str) -> None:
    for key in ("bandpass", "frequencies"):
        band = getattr(settings, key)
        if band is None or band.high < rate / 2 or (key == "frequencies" and band.high == rate / 2):
            continue
        raise SettingsError(
            f"build.{key} = {band} Hz reaches to or above {rate / 2:g} Hz, the Nyquist frequency "
            f"of {of} at {rate:g} Hz; set it lower, or leave traces out with build.trace_ids"
        )


# ---- counts and messages ------------------------------------------------------------------------


def _count(parts: Parts, jobs: Sequence[Job]) -> Built:
    total, left_out, traces = Counter(), Counter(), set()
    for job in jobs:
        summary = parts.summary(job)
        left_out.update(summary["left_out"])
        total.update({name: summary[name] for name in ("n_samples", "n_candidates")})
        if summary["n_samples"]:
            traces.add(job.task.station_day.trace_id)
    return Built(total["n_samples"], total["n_candidates"], len(traces), len(jobs), left_out)


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
    """Attributes of the file: settings as in config.ini, counts, version, identity."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(settings.as_ini())
    return {
        **{f"build.{key}": value for key, value in parser.items("build")},
        **{f"left_out.{reason}": built.left_out[reason] for reason in REASONS},
        "source": "spectrograms of waveforms, made by RISCluster",
        "version": __version__,
        "made_from": made_from,
    }


@dataclass
class Tally:
    """Detected windows that overlap the one before, or start after the onset; largest rise, s."""

    overlapping: int = 0
    late: int = 0
    longest_rise: float = 0.0
    _last: tuple[str, int] = ("", 0)

    def add(self, trace_id: str, columns: Columns, length: int) -> None:
        """Add windows of `length` ns, in order of time within a trace."""
        start, onset = columns["start"], columns["onset"]
        last = self._last[1] if self._last[0] == trace_id else start[0] - length
        self.overlapping += int((np.diff(start, prepend=last) < length).sum())
        self.late += int((onset < start).sum())
        rise = int((columns["peak"] - onset).max()) / SECOND
        self.longest_rise = max(self.longest_rise, rise)
        self._last = trace_id, int(start[-1])


def _report(built: Built, tally: Tally, content: "Content", seconds: float) -> None:
    """Log numbers and rate; warnings for windows that overlap, and for those that start late."""
    grid, settings, n = content.grid, content.settings, built.n_samples
    log.info(
        f"{count(n, 'window')} of {grid.n_rows} x {grid.n_columns} from "
        f"{count(built.n_traces, 'trace')} in {seconds:.1f} s, {n / seconds:,.0f} samples/s; "
        f"left out: {_left_out_words(built.left_out)}"
    )
    if tally.overlapping:
        log.warning(
            f"{tally.overlapping:,} of {count(n, 'window')} overlap the one before on the same "
            "trace, so that one event may be in the data set twice: set build.dead_time "
            f"({settings.dead_time:g} s) to build.length ({settings.length:g} s) or more, or "
            "build.length shorter"
        )
    if tally.late:
        log.warning(
            f"{tally.late:,} of {count(n, 'window')} begin after the onset of their detection, "
            f"which is up to {tally.longest_rise:.3g} s before its peak, in the middle: set "
            f"build.length ({settings.length:g} s) longer"
        )


# ---- output -------------------------------------------------------------------------------------


class Content(NamedTuple):
    """Properties of a data set besides its samples."""

    grid: Grid
    unit: str
    settings: BuildSettings
    attributes: dict[str, Any]

    @property
    def power_unit(self) -> str:
        """Unit of the spectrograms."""
        unit = f"({self.unit})" if "/" in self.unit else self.unit
        return f"{unit}^2/Hz"


def put_together(
    target: Path,
    parts: Sequence[tuple[Path, str]],
    n: int,
    content: Content,
    layout: str | None,
) -> Tally:
    """Write n samples of parts (file, trace id) and their catalogue, each complete or not at all.

    Without a `layout` the catalogue alone is written.
    """
    grid, settings, tally, first = content.grid, content.settings, Tally(), 0
    length = duration(grid.n_samples, grid.sampling_rate)
    with ExitStack() as stack:
        table_path = stack.enter_context(new_file(catalogue_of(target)))
        if layout:
            numbers = (grid.n_rows + 1) * (grid.n_columns + 1) + grid.n_samples * settings.traces
            require_room(target, 4 * n * numbers)
            path = stack.enter_context(new_file(target))
        stack.enter_context(writing(target))
        table = stack.enter_context(table_path.open("w", newline="", encoding="utf-8"))
        catalogue = csv.writer(table, lineterminator="\n")
        catalogue.writerow(CATALOGUE)
        if layout:
            file = stack.enter_context(h5py.File(path, "w", rdcc_nbytes=CACHE))
            file.attrs.update(content.attributes)
            writer = LAYOUTS[layout](file, n, content)
        for part, trace_id in parts:
            for columns in read_blocks(part, settings.traces):
                rows = slice(first, first + len(columns["start"]))
                times = {name: nanoseconds_to_iso(columns[name]) for name in TIMES}
                if layout:
                    writer.write(rows, trace_id, columns, times)
                catalogue.writerows(
                    (first + k, trace_id, *moments, f"{amplitude:.7g}", content.unit)
                    for k, (*moments, amplitude) in enumerate(
                        zip(*times.values(), columns["amplitude"], strict=True)
                    )
                )
                if settings.method == "detect":
                    tally.add(trace_id, columns, length)
                first = rows.stop
    return tally


class SamplesWriter:
    """Layout `samples`: ``/spectrogram``, its axes, and a dataset for each column."""

    def __init__(self, file: h5py.File, n: int, content: Content):
        grid = content.grid
        shape, rate = (grid.n_rows, grid.n_columns), grid.sampling_rate
        self._columns = {
            "spectrogram": file.create_dataset(
                "spectrogram",
                (n, *shape),
                np.float32,
                chunks=(min(n, chunk_samples(*shape)), *shape),
            ),
            "trace_id": file.create_dataset("trace_id", (n,), h5py.string_dtype()),
            "peak_amplitude": file.create_dataset("peak_amplitude", (n,), np.float32),
        }
        self._times = {"starttime": "start", "peak_time": "peak"}
        if content.settings.method == "detect":
            self._times |= {"onset": "onset", "end": "end"}
        for name in self._times:
            self._columns[name] = file.create_dataset(name, (n,), "S27")
            self._columns[name].attrs["units"] = "UTC, ISO 8601"
        self._columns["peak_amplitude"].attrs["units"] = content.unit
        attributes = self._columns["spectrogram"].attrs
        attributes["units"], attributes["sampling_rate"] = content.power_unit, rate
        attributes["window_s"] = grid.segment / rate
        attributes["hop_s"], attributes["nfft"] = grid.hop / rate, grid.nfft
        file.create_dataset("frequency", data=grid.frequency).attrs["units"] = "Hz"
        file.create_dataset("time", data=grid.time).attrs["units"] = "s"
        if content.settings.traces:
            trace = file.create_dataset("trace", (n, grid.n_samples), np.float32)
            trace.attrs["sampling_rate"], trace.attrs["units"] = rate, content.unit
            self._columns["trace"] = trace

    def write(
        self, rows: slice, trace_id: str, columns: Columns, times: dict[str, list[str]]
    ) -> None:
        """Write the rows of a block."""
        self._columns["spectrogram"][rows] = columns["spectrogram"]
        self._columns["peak_amplitude"][rows] = columns["amplitude"]
        for name, kind in self._times.items():
            self._columns[name][rows] = np.array(times[kind], "S27")
        self._columns["trace_id"][rows] = trace_id
        if "trace" in columns:
            self._columns["trace"][rows] = columns["trace"]


class RisWriter:
    """Layout `ris`: axes in the first column and the last row, a catalogue of JSON texts."""

    def __init__(self, file: h5py.File, n: int, content: Content):
        self._content, grid = content, content.grid
        group = file.create_group(f"{grid.n_samples / grid.sampling_rate:.1f}")
        shape, chunk = (grid.n_rows + 1, grid.n_columns + 1), min(n, RIS_CHUNK)
        self._spectrogram = group.create_dataset(
            "Spectrogram", (n, *shape), np.float32, chunks=(chunk, *shape)
        )
        units = {"TimeUnits": "s", "FreqUnits": "Hz", "AmplUnits": content.power_unit}
        self._spectrogram.attrs.update(units)
        self._catalogue = group.create_dataset("Catalogue", (n,), h5py.string_dtype())
        if content.settings.traces:
            self._trace = group.create_dataset(
                "Trace", (n, grid.n_samples), np.float32, chunks=(chunk, grid.n_samples)
            )
            self._trace.attrs.update({"TimeUnits": "s", "AmplUnits": content.unit})

    def write(
        self, rows: slice, trace_id: str, columns: Columns, times: dict[str, list[str]]
    ) -> None:
        """Write the rows of a block."""
        grid, unit = self._content.grid, self._content.unit
        n, rate = len(columns["start"]), grid.sampling_rate
        images = np.zeros((n, grid.n_rows + 1, grid.n_columns + 1), np.float32)
        images[:, :-1, 1:] = columns["spectrogram"]
        images[:, :-1, 0], images[:, -1, 1:] = grid.frequency, grid.time
        self._spectrogram[rows] = images
        if "trace" in columns:
            self._trace[rows] = columns["trace"]
        names = {"starttime": "start", "dt_on": "onset", "dt_off": "end", "dt_peak": "peak"}
        if self._content.settings.method != "detect":
            del names["dt_on"], names["dt_off"]
        self._catalogue[rows] = [
            json.dumps({
                **dict(zip(CODES, trace_id.split("."), strict=True)),
                **{name: times[kind][k] for name, kind in names.items()},
                "peak": float(columns["amplitude"][k]), "unit": unit,
                "fs": rate, "delta": 1 / rate, "npts": grid.n_samples,
            })
            for k in range(n)
        ]  # fmt: skip


LAYOUTS = {"samples": SamplesWriter, "ris": RisWriter}
