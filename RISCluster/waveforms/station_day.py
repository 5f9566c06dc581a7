"""Station-days, one trace on one UTC day each: found in headers, made into parts of a data set."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..data.storage import stamp
from ..data.times import NOT_A_TIME, nanoseconds_to_iso, same_rate
from ..errors import DataError, RunError
from ..runtime import count
from ..settings import BuildSettings
from .detect import Neighbours, Windows, cut, margin, min_samples
from .joining import CONSTANT, Wave, join, without_marks
from .process import process
from .read import DAY, SECOND, Stretch, of_few_rates, read_traces, read_traces_cached
from .responses import UNITS, Epoch, Inventory, Remover, cut_at_epochs, read_inventory
from .spectra import Grid, spectrograms

TOO_SHORT, DEAD, FAILED = "stretch_too_short", "stretch_constant", "station_day_failed"
NO_RESPONSE = "stretch_without_response"
TIMES = ("start", "onset", "end", "peak")  # columns in ns since 1970-01-01 UTC
COLUMNS = (*TIMES, "amplitude", "spectrogram")
READ_BYTES = 2**27  # of traces that are read at once from files with many
BLOCK_BYTES = 16 * 2**20  # of spectrograms in memory, and of an HDF5 chunk
MAX_CHUNK = 64  # samples

Columns = dict[str, np.ndarray]  # of k windows, by `COLUMNS`, and "trace", (k, n), where stored


@dataclass(frozen=True)
class StationDay:
    """One trace on one UTC day.

    `together` is the beginning of the trace ids that are read at once with this one.
    """

    trace_id: str
    day: int  # midnight, ns since 1970-01-01 UTC
    sampling_rate: float  # as recorded, Hz
    paths: tuple[Path, ...]  # files with data of the day and of the margins around it
    within: str | int  # see `Stretch`
    n_bytes: int = 0  # of its samples in double precision
    together: str | None = None

    def __str__(self) -> str:
        return f"{self.trace_id} {self.date}"

    @property
    def date(self) -> str:
        """The day as ``2016-01-31``."""
        return nanoseconds_to_iso([self.day])[0][:10]


@dataclass(frozen=True)
class Task:
    """A station-day and what to make of it; `unit` is that of the data set."""

    station_day: StationDay
    settings: BuildSettings
    grid: Grid
    unit: str
    with_spectrograms: bool = True


def station_days(
    stretches: Sequence[Stretch], settings: BuildSettings
) -> tuple[list[StationDay], list[str]]:
    """Station-days with data, by trace id, then day; and warnings.

    Where a trace has more than one sampling rate on a day, that with most data is taken.
    """
    by_day: dict[tuple[str, int], list[Stretch]] = defaultdict(list)
    around = margin(settings)
    for item in of_few_rates(stretches):
        first, last = (item.start - around) // DAY, (item.end - 1 + around) // DAY
        for number in range(first, last + 1):
            by_day[item.trace_id, number * DAY].append(item)
    found, dropped = [], Counter()
    for (trace_id, day), here in sorted(by_day.items()):
        today = [item for item in here if item.start < day + DAY and item.end > day]
        if not today:
            continue
        time = Counter()
        for item in today:
            time[item.sampling_rate] += min(item.end, day + DAY) - max(item.start, day)
        rate = max(time, key=lambda rate: (time[rate], rate))
        dropped.update((trace_id, other, rate) for other in time if other != rate)
        here = [item for item in here if item.sampling_rate == rate]
        paths = tuple(sorted({item.path for item in here}))
        span = sum(
            min(item.end, day + DAY + around) - max(item.start, day - around) for item in here
        )
        n_bytes = round(span / SECOND * rate) * 8
        found.append(StationDay(trace_id, day, rate, paths, today[0].within, n_bytes))
    lines = [
        f"{trace_id}: data at {other:g} Hz left out on {n} of its days, where most is at "
        f"{rate:g} Hz"
        for (trace_id, other, rate), n in sorted(dropped.items())
    ]
    return found, lines


def read_together(days: Sequence[StationDay]) -> list[StationDay]:
    """Order station-days so that a file with many traces is read once for many of them.

    Those of one day and the same files are read together, as many as fit in memory.
    """
    groups: dict[tuple, list[StationDay]] = defaultdict(list)
    for day in days:
        groups[day.paths, day.day, isinstance(day.within, int)].append(day)
    found = []
    for key in sorted(groups):
        group = groups[key]
        if len(group) == 1:
            found += group
        elif key[2]:  # by position, so that the whole file is read
            found += [replace(day, together="") for day in group]
        else:
            found += _by_common_start(group)
    return found


def _by_common_start(group: Sequence[StationDay]) -> list[StationDay]:
    """Station-days with the longest beginning of ids that limits each reading to READ_BYTES."""
    if len(group) == 1:
        return list(group)
    start = os.path.commonprefix([day.within for day in group])
    if sum(day.n_bytes for day in group) <= READ_BYTES:
        return [replace(day, together=start) for day in group]
    parts: dict[str, list[StationDay]] = defaultdict(list)
    for day in group:
        parts[day.within[: len(start) + 1]].append(day)
    return [day for part in parts.values() for day in _by_common_start(part)]


# ---- responses ----------------------------------------------------------------------------------


def with_response(
    days: Sequence[StationDay], inventory: Inventory, settings: BuildSettings
) -> tuple[list[StationDay], str, list[str]]:
    """Station-days with a valid response to the unit of the data set; that unit; and warnings.

    The unit is ``build.output`` where any instrument records ground motion, otherwise that of most
    station-days.
    """
    found: list[tuple[StationDay, list[Remover]]] = []
    missing, lines = defaultdict(list), list(inventory.lines)
    for day in days:
        epochs, warned = inventory.epochs(day.trace_id, settings)
        lines += [line for line in warned if line not in lines]
        here = [epoch for epoch in epochs if epoch.start < day.day + DAY and epoch.end > day.day]
        removers = [epoch.remover for epoch in here if epoch.remover]
        if removers:
            found.append((day, removers))
        else:
            reason = here[0].why_not if here else inventory.why_none(day.trace_id)
            missing[reason].append(day.date)
    for reason, dates in missing.items():
        span = f"{count(len(dates), 'day')}, {dates[0]} to {dates[-1]}"
        lines.append(f"{reason}; left out on {span if len(dates) > 1 else dates[0]}")
    if not found:
        return [], "", lines
    units = Counter(unit for _, removers in found for unit in {one.unit for one in removers})
    wanted = UNITS[settings.output]
    unit = wanted if wanted in units else units.most_common(1)[0][0]
    if unit != wanted:
        lines.append(
            f"{settings.inventory}: has responses to {unit}, which is not {settings.output}: "
            f"build.output does not apply, and the data set is in {unit}"
        )
    kept = [day for day, removers in found if any(one.unit == unit for one in removers)]
    return kept, unit, lines + _about_responses(found, unit, settings)


def _about_responses(
    found: Sequence[tuple[StationDay, list[Remover]]], unit: str, settings: BuildSettings
) -> list[str]:
    """Warnings for each other unit, and where only sensitivities are known."""
    others: dict[str, set[str]] = defaultdict(set)
    flat, at = set(), set()
    for day, removers in found:
        for one in removers:
            if one.unit != unit:
                others[one.unit].add(day.trace_id)
            elif one.is_flat:
                flat.add(day.trace_id)
                at.add(one.response.instrument_sensitivity.frequency)
    lines = [
        f"{_some(traces)}: left out where the response is to {other}, for this data set is in "
        f"{unit}; build.trace_ids makes one of these traces alone"
        for other, traces in others.items()
    ]
    if flat:
        given = ", ".join(f"{frequency:g}" for frequency in sorted(at - {None})[:4])
        lines.append(
            f"{settings.inventory}: has sensitivities alone, no stages, for {_some(flat)}: counts "
            "are divided by them, which holds where the response is flat"
            f"{given and f' as at {given} Hz'}"
        )
    return lines


def _some(trace_ids: Iterable[str]) -> str:
    names = sorted(trace_ids)
    return f"{', '.join(names[:8])}{' ...' if len(names) > 8 else ''}"


# ---- parts of a data set ------------------------------------------------------------------------


def chunk_samples(n_rows: int, n_columns: int) -> int:
    """Spectrograms of an HDF5 chunk."""
    return int(np.clip(BLOCK_BYTES // (4 * n_rows * n_columns), 1, MAX_CHUNK))


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise errors of the disk as RunError."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # h5py raises the second on closing
        if isinstance(error, RunError):
            raise
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise RunError(
            f"{path}: can't be written: {reason}; make room or change permissions, then run the "
            "same command again: what is done is kept"
        ) from None


def append_block(file: BinaryIO, columns: Columns) -> None:
    """Append arrays in NumPy's format."""
    for name in (*COLUMNS, *(["trace"] if "trace" in columns else [])):
        array = np.ascontiguousarray(columns[name])
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.data)  # its errors have a reason, unlike those of np.save
    file.flush()


def read_blocks(path: Path, with_traces: bool) -> Iterator[Columns]:
    """Blocks of a part, in the order of writing."""
    size, names = path.stat().st_size, (*COLUMNS, *(["trace"] if with_traces else []))
    with path.open("rb") as file:
        while file.tell() < size:
            yield {name: np.lib.format.read_array(file) for name in names}


# ---- work on a station-day ----------------------------------------------------------------------


def work(task: Task, path: Path) -> dict[str, Any]:
    """Make the part of a station-day, without windows where its data raise an error.

    Returns
    -------
    dict
        ``n_samples``; ``n_candidates``, windows or detections; ``left_out``, counts by reason;
        ``said``, warnings.
    """
    try:
        return _make(task, path)
    except RunError:  # the disk, not the data
        raise
    except Exception as error:  # of any library that reads or processes the data
        text = " ".join(str(error).split())[:200]
        line = f"{task.station_day}: left out: {type(error).__name__}: {text}"
        with writing(path):
            path.write_bytes(b"")
        return _summary() | {"left_out": {FAILED: 1}, "warnings": [line]}


def _summary() -> dict[str, Any]:
    return {"n_samples": 0, "n_candidates": 0, "left_out": Counter(), "warnings": []}


def _make(task: Task, path: Path) -> dict[str, Any]:
    summary = _summary()
    with writing(path):
        path.write_bytes(b"")
    with path.open("ab") as file:
        for wave, neighbours in _waves(task, summary):
            windows = cut(wave, task.station_day.day, task.settings, task.grid, neighbours)
            summary["left_out"].update(windows.left_out)
            summary["n_samples"] += len(windows.start)
            summary["n_candidates"] += len(windows.start) + windows.left_out.total()
            for columns in _blocks(wave, windows, task):
                with writing(path):
                    append_block(file, columns)
    return summary


def _blocks(wave: Wave, windows: Windows, task: Task) -> Iterator[Columns]:
    """Columns of windows, in blocks of whole HDF5 chunks."""
    fit = BLOCK_BYTES // (4 * task.grid.n_rows * task.grid.n_columns)
    n = fit // MAX_CHUNK * MAX_CHUNK or max(1, fit)
    for first in range(0, len(windows.start), n):
        rows = slice(first, first + n)
        start, peak, trace = windows.start[rows], windows.peak[rows], None
        spectrogram = np.empty((len(start), 0, 0), np.float32)
        if task.with_spectrograms:
            spectrogram = spectrograms(task.grid, wave.data, start)
        slide = task.settings.method == "slide"
        if task.settings.traces or slide:
            trace = wave.data[start[:, None] + np.arange(task.grid.n_samples)]
        if slide:
            peak = start + np.abs(trace).argmax(axis=1)
        samples = (start, windows.onset[rows], windows.end[rows], peak)
        columns = {name: _times(wave, own) for name, own in zip(TIMES, samples, strict=True)}
        if slide:  # nothing was detected
            columns["onset"][:] = columns["end"][:] = NOT_A_TIME
        columns["amplitude"] = np.abs(wave.data[peak]).astype(np.float32)
        columns["spectrogram"] = spectrogram
        if task.settings.traces:
            columns["trace"] = trace.astype(np.float32)
        yield columns


def _times(wave: Wave, samples: np.ndarray) -> np.ndarray:
    return np.array([wave.time(int(sample)) for sample in samples], dtype=np.int64)


def _waves(task: Task, summary: dict[str, Any]) -> Iterator[tuple[Wave, Neighbours]]:
    """Processed waves with data of the day, one at a time."""
    here, settings, day = task.station_day, task.settings, task.station_day.day
    taken_out: Counter = Counter()
    waves = join(_pieces(task, summary), taken_out, settings.constant_gap)
    for reason, n in taken_out.items():
        if n:
            see = "; see build.constant_gap" if reason.startswith(CONSTANT) else ""
            summary["warnings"].append(
                f"{here}: {n / here.sampling_rate:g} s of samples {reason} are taken for a gap{see}"
            )
    parts = _with_epochs(waves, task, summary)
    for number in range(len(parts)):
        (wave, epoch), neighbours = parts[number], Neighbours(number > 0, number < len(parts) - 1)
        parts[number] = None  # frees its memory
        if wave.end <= day or wave.start >= day + DAY or _is_left_out(wave, task, summary):
            continue
        yield process(wave, settings, epoch and epoch.remover), neighbours


def _pieces(task: Task, summary: dict[str, Any]) -> list[Wave]:
    """Data of the day and of the margins around it."""
    here, around = task.station_day, margin(task.settings)
    numbered, alone = isinstance(here.within, int), here.together is None
    ids = "" if numbered else here.within if alone else here.together
    span = here.day - around, here.day + DAY + around
    pieces = []
    for path in here.paths:
        try:
            if alone:
                traces = read_traces(path, *span, ids, numbered)
            else:
                traces = read_traces_cached(path, *span, ids, numbered, *stamp(path))
        except DataError as error:
            summary["warnings"].append(f"{here}: {error}; left out on this day")
            continue
        for trace in traces.get(here.within, []):
            rate = float(trace.stats.sampling_rate)
            if same_rate(rate, here.sampling_rate):
                start, drift = trace.stats.starttime.ns, here.sampling_rate / rate - 1
                data = without_marks(trace.data)
                pieces.append(Wave(start, here.sampling_rate, data, drift=drift))
    return pieces


def _with_epochs(
    waves: list[Wave], task: Task, summary: dict[str, Any]
) -> list[tuple[Wave, Epoch | None]]:
    """Split waves where the response changes; leave out what has none to the unit of the set."""
    if task.settings.inventory is None:
        return [(wave, None) for wave in waves]
    here, day = task.station_day, task.station_day.day
    inventory = read_inventory(task.settings.inventory)
    epochs, _ = inventory.epochs(here.trace_id, task.settings)
    parts, before = [], None
    while waves:
        for wave, epoch in cut_at_epochs(waves.pop(0), epochs):
            usable = epoch is not None and epoch.remover and epoch.remover.unit == task.unit
            if usable:
                parts.append((wave, epoch))
                if day <= wave.start < day + DAY and before is not None and before != epoch:
                    summary["warnings"].append(
                        f"{here}: the response changes at {_iso(epoch.start)}; the data are cut "
                        "there, and no window reaches across"
                    )
            elif wave.start < day + DAY and wave.end > day:
                summary["left_out"][NO_RESPONSE] += 1
                summary["warnings"].append(_without_response(wave, epoch, inventory, task))
            before = epoch if usable else None
    return parts


def _without_response(wave: Wave, epoch: Epoch | None, inventory: Inventory, task: Task) -> str:
    here = task.station_day
    if epoch is None:
        reason = inventory.why_none(here.trace_id)
    else:
        reason = epoch.why_not or f"{here.trace_id}: its response is to {epoch.remover.unit}"
    start, end = max(wave.start, here.day), min(wave.end, here.day + DAY)
    return f"{reason}; left out from {_iso(start)} to {_iso(end)}"


def _iso(time: int) -> str:
    return nanoseconds_to_iso([time])[0]


def _is_left_out(wave: Wave, task: Task, summary: dict[str, Any]) -> bool:
    """Whether a wave is constant or too short for a window."""
    seconds = len(wave.data) / wave.sampling_rate
    if wave.data.min() == wave.data.max():
        summary["left_out"][DEAD] += 1
        summary["warnings"].append(
            f"{task.station_day}: a stretch of {seconds:.0f} s left out: all its samples are "
            f"{wave.data[0]:g}"
        )
        return True
    if seconds < min_samples(task.settings, task.grid) / task.grid.sampling_rate:
        summary["left_out"][TOO_SHORT] += 1
        return True
    return False
