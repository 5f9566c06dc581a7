"""One station-day: from files to a part of the data set."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..data.times import NOT_A_TIME, nanoseconds_to_iso, same_rate
from ..errors import DataError, RunError
from ..settings import BuildSettings
from .detect import DAY, Neighbours, Windows, cut, margin, shortest
from .joining import CONSTANT, Wave, join, without_marks
from .parts import Block, append_block, block_samples, writing
from .planning import StationDay
from .process import process
from .responses import Epoch, Inventory, cut_at_epochs, read_inventory
from .sources import read_traces, read_traces_once
from .spectra import Grid, spectrograms

TOO_SHORT, DEAD, FAILED = "stretch_too_short", "stretch_constant", "station_day_failed"
NO_RESPONSE = "stretch_without_response"


@dataclass(frozen=True)
class Task:
    """What a worker takes.

    Attributes
    ----------
    station_day : StationDay
    settings : BuildSettings
    grid : Grid
    unit : str
        Of the data set.
    with_spectrograms : bool
        False for a catalogue alone.
    """

    station_day: StationDay
    settings: BuildSettings
    grid: Grid
    unit: str
    with_spectrograms: bool = True


@dataclass
class Account:
    """What came of a station-day.

    Attributes
    ----------
    n_samples, n_candidates : int
        Windows made, and windows or detections there were.
    left_out : Counter
        Windows and stretches left out, by reason.
    said : list of str
        Lines for the log.
    seconds : Counter
        Time by step.
    """

    n_samples: int = 0
    n_candidates: int = 0
    left_out: Counter = field(default_factory=Counter)
    said: list[str] = field(default_factory=list)
    seconds: Counter = field(default_factory=Counter)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Count the time of what is done inside."""
        start = time.perf_counter()
        yield
        self.seconds[step] += time.perf_counter() - start

    def summary(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "n_samples": self.n_samples,
            "n_candidates": self.n_candidates,
            "left_out": dict(self.left_out),
            "said": self.said,
            "seconds": dict(self.seconds),
        }


def work(task: Task, path: Path) -> dict[str, Any]:
    """Make the part of a station-day.

    Whatever is wrong with its data costs this station-day and a line.

    Parameters
    ----------
    task : Task
    path : Path
        Of the part.

    Returns
    -------
    dict
        `Account.summary`.

    Raises
    ------
    RunError
        The part can't be written.
    """
    try:
        account = Account()
        _make(task, path, account)
    except RunError:  # the disk, not the data
        raise
    except Exception as error:  # of any library that takes the data
        day = task.station_day
        text = " ".join(str(error).split())[:200]
        account = Account(left_out=Counter({FAILED: 1}))
        account.said.append(f"{day.trace_id} {day.date}: left out: {type(error).__name__}: {text}")
        with writing(path):
            path.write_bytes(b"")
    return account.summary()


def _make(task: Task, path: Path, account: Account) -> None:
    waves = _waves(task, account)
    with writing(path):
        path.write_bytes(b"")
    with path.open("ab") as file:
        for wave, neighbours in waves:
            with account.timed("cut"):
                windows = cut(wave, task.station_day.day, task.settings, task.grid, neighbours)
            account.left_out.update(windows.left_out)
            account.n_samples += len(windows.start)
            account.n_candidates += len(windows.start) + windows.left_out.total()
            for block in _blocks(wave, windows, task, account):
                with account.timed("write"), writing(path):
                    append_block(file, block)
                    file.flush()  # here, where a full disk becomes a line


def _blocks(wave: Wave, windows: Windows, task: Task, account: Account) -> Iterator[Block]:
    n = block_samples(task.grid)
    for first in range(0, len(windows.start), n):
        rows = slice(first, first + n)
        with account.timed("spectrograms"):
            spectrogram = np.empty((len(windows.start[rows]), 0, 0), np.float32)
            if task.with_spectrograms:
                spectrogram = spectrograms(task.grid, wave.data, windows.start[rows])
        with account.timed("cut"):
            block = _describe(wave, windows, rows, spectrogram, task)
        yield block


def _describe(
    wave: Wave, windows: Windows, rows: slice, spectrogram: np.ndarray, task: Task
) -> Block:
    start, peak = windows.start[rows], windows.peak[rows]
    trace = None
    if task.settings.traces or task.settings.method == "slide":
        trace = wave.data[start[:, None] + np.arange(task.grid.n_samples)]
    if task.settings.method == "slide":
        peak = start + np.abs(trace).argmax(axis=1)
    samples = {"start": start, "onset": windows.onset[rows], "end": windows.end[rows]}
    samples["peak"] = peak
    times = {name: _times(wave, values) for name, values in samples.items()}
    if task.settings.method == "slide":  # nothing was detected
        times["onset"][:] = times["end"][:] = NOT_A_TIME
    return Block(
        times,
        np.abs(wave.data[peak]).astype(np.float32),
        spectrogram,
        trace.astype(np.float32) if task.settings.traces else None,
    )


def _times(wave: Wave, samples: np.ndarray) -> np.ndarray:
    return np.array([wave.time(int(sample)) for sample in samples], dtype=np.int64)


# ---- from files to processed waves --------------------------------------------------------------


def _waves(task: Task, account: Account) -> Iterator[tuple[Wave, Neighbours]]:
    """Processed waves that have data of the day, one at a time."""
    day, settings = task.station_day.day, task.settings
    with account.timed("read"):
        taken_out: Counter = Counter()
        waves = join(_pieces(task, account), taken_out, settings.constant_gap)
    here = task.station_day
    for why, n in taken_out.items():
        if n:
            account.said.append(
                f"{here.trace_id} {here.date}: {n / here.sampling_rate:g} s of samples {why} are "
                f"taken for a gap{'; see build.constant_gap' if why.startswith(CONSTANT) else ''}"
            )
    parts = _with_epochs(waves, task, account)
    for number in range(len(parts)):
        (wave, epoch), neighbours = parts[number], Neighbours(number > 0, number < len(parts) - 1)
        parts[number] = None  # its memory is needed
        if wave.end <= day or wave.start >= day + DAY:
            continue
        if _is_left_out(wave, task, account):
            continue
        with account.timed("process"):
            wave = process(wave, settings, epoch and epoch.remover)
        yield wave, neighbours


def _with_epochs(
    waves: list[Wave], task: Task, account: Account
) -> list[tuple[Wave, Epoch | None]]:
    """Waves cut where their response changes; what has none of the set's unit is left out."""
    if task.settings.inventory is None:
        return [(wave, None) for wave in waves]
    here, day = task.station_day, task.station_day.day
    inventory = read_inventory(task.settings.inventory)
    epochs, _ = inventory.epochs(here.trace_id, task.settings)
    parts, before = [], None
    while waves:
        for wave, epoch in cut_at_epochs(waves.pop(0), epochs):
            today = wave.start < day + DAY and wave.end > day
            usable = epoch is not None and epoch.remover and epoch.remover.unit == task.unit
            if usable:
                parts.append((wave, epoch))
                if day <= wave.start < day + DAY and before is not None and before != epoch:
                    account.said.append(
                        f"{here.trace_id} {here.date}: the response changes at "
                        f"{_moment(epoch.start)}; the data are cut there, and no window reaches "
                        "across"
                    )
            elif today:
                account.left_out[NO_RESPONSE] += 1
                account.said.append(_without_response(wave, epoch, inventory, task))
            before = epoch if usable else None
    return parts


def _without_response(wave: Wave, epoch: Epoch | None, inventory: Inventory, task: Task) -> str:
    here = task.station_day
    if epoch is None:
        why = inventory.why_none(here.trace_id)
    else:
        why = epoch.why_not or f"{here.trace_id}: its response is to {epoch.remover.unit}"
    start, end = max(wave.start, here.day), min(wave.end, here.day + DAY)
    return f"{why}; left out from {_moment(start)} to {_moment(end)}"


def _moment(time: int) -> str:
    return nanoseconds_to_iso(np.array([time]))[0]


def _is_left_out(wave: Wave, task: Task, account: Account) -> bool:
    """Whether a wave is constant or too short for a window."""
    seconds = len(wave.data) / wave.sampling_rate
    if wave.data.min() == wave.data.max():
        account.left_out[DEAD] += 1
        account.said.append(
            f"{task.station_day.trace_id} {task.station_day.date}: a stretch of {seconds:.0f} s "
            f"left out: all its samples are {wave.data[0]:g}"
        )
        return True
    if seconds < shortest(task.settings, task.grid) / task.grid.sampling_rate:
        account.left_out[TOO_SHORT] += 1
        return True
    return False


def _pieces(task: Task, account: Account) -> list[Wave]:
    """What the files hold of the day and the margin about it."""
    here, around = task.station_day, margin(task.settings)
    numbered, alone = isinstance(here.within, int), here.together is None
    read = read_traces if alone else read_traces_once
    ids = "" if numbered else here.within if alone else here.together
    pieces = []
    for path in here.paths:
        try:
            span = here.day - around, here.day + DAY + around
            traces = read(path, *span, ids, numbered)
        except DataError as error:
            account.said.append(f"{here.trace_id} {here.date}: {error}; left out on this day")
            continue
        for trace in traces.get(here.within, []):
            rate = float(trace.stats.sampling_rate)
            if same_rate(rate, here.sampling_rate):
                start, drift = trace.stats.starttime.ns, here.sampling_rate / rate - 1
                data = without_marks(trace.data)
                pieces.append(Wave(start, here.sampling_rate, data, drift=drift))
    return pieces
