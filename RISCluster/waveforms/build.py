"""Build a data set of spectrograms from waveform files.

Headers are read first, and give station-days: one trace on one UTC day each. Each is made into a
part, a file of records, in its own job. The parts are put together into the data set.
"""

import contextlib
import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pandas as pd

from .. import __version__
from ..data.storage import find_files, stamp
from ..data.times import NOT_A_TIME, leave_out_far_pieces, nanoseconds_to_iso, same_rate
from ..errors import DataError, RunError, SettingsError
from ..io import new_file, require_room
from ..parallel import Job, Parts, identity
from ..runtime import count, log
from ..settings import BuildSettings, Settings, as_text
from . import process as processing
from . import read, responses
from .process import Wave
from .read import DAY
from .windows import (
    Grid,
    Windows,
    check_settings,
    cut,
    make_grid,
    margin,
    min_samples,
    spectrograms,
)  # fmt: skip

FAR_CLOCK = 3650  # days without data, beyond which a clock is wrong
REASONS = {  # why windows, stretches of data or station-days are left out
    "gap": "at gaps",
    "end_of_data": "at ends of the data",
    "taper": "at tapered ends",
    "stretch_too_short": "stretches too short",
    "stretch_constant": "stretches constant",
    "stretch_without_response": "stretches without a response",
    "station_day_failed": "station-days failed",
}
TIMES = ("starttime", "onset", "end", "peak_time")  # of a window, ns since 1970-01-01 UTC
CODES = ("network", "station", "location", "channel")
READ_BYTES = 2**27  # of traces that are read at once from files with many
BLOCK_BYTES = 16 * 2**20  # of records in memory, and of an HDF5 chunk
MAX_CHUNK = 64  # samples
CACHE = 64 * 2**20  # bytes of HDF5 chunks


class Product(NamedTuple):
    """What all samples of a data set have in common."""

    settings: BuildSettings
    grid: Grid
    unit: str
    with_spectrograms: bool

    @property
    def record(self) -> np.dtype:
        """Type of a sample in a part."""
        fields = [*((name, np.int64) for name in TIMES), ("peak_amplitude", np.float32)]
        if self.with_spectrograms:
            fields.append(("spectrogram", np.float32, (self.grid.n_rows, self.grid.n_columns)))
        if self.settings.traces and self.with_spectrograms:
            fields.append(("trace", np.float32, (self.grid.n_samples,)))
        return np.dtype(fields)

    @property
    def block(self) -> int:
        """Number of samples that are handled at once."""
        return max(1, BLOCK_BYTES // self.record.itemsize)


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
    n_bytes: int = 0  # of samples in its files, in double precision
    together: str | None = None

    def __str__(self) -> str:
        return f"{self.trace_id} {_iso(self.day)[:10]}"


def build(
    words: Sequence[str],
    target: str | Path,
    settings: Settings,
    layout: str = "samples",
    workers: int = 1,
    overwrite: bool = False,
    catalogue_only: bool = False,
) -> Counter | None:
    """Build a data set (.h5) and its catalogue beside it (.csv) from waveforms.

    `words` are files, folders and patterns, `layout` is ``samples`` or ``ris``. Returns numbers of
    samples, windows, traces, station_days and of what was left out by `REASONS`; None where the
    target exists, from the same files and settings.
    """
    read.import_obspy()
    begin, target = time.monotonic(), Path(target).expanduser()
    if target.suffix.lower() not in (".h5", ".hdf5", ".csv")[: 2 + catalogue_only]:
        raise SettingsError(
            f"command line: -o {target} is not allowed; allowed: a file ending in .h5 or .hdf5 "
            "(the catalogue is written beside it as .csv)"
        )
    check_settings(settings.build)
    paths = _inputs(words, target)
    inputs = settings.inputs("build", "result")
    if settings.build.inventory is not None:
        files = responses.inventory_files(settings.build.inventory)
        inputs["build.inventory"] = [stamp(path) for path in files]
    made_from = identity([inputs, layout, [stamp(path) for path in paths]])
    if not overwrite and _is_done(target, made_from, catalogue_only):
        return None
    days, rate, unit = _plan(paths, settings.build, workers)
    product = Product(settings.build, make_grid(settings.build, rate), unit, not catalogue_only)
    inputs |= {"unit": unit, "catalogue_only": catalogue_only}
    parts, jobs = Parts(target), [_job(day, inputs) for day in read_together(days)]
    try:
        parts.run(jobs, partial(make_part, product=product), workers, "building", "station-days")
    finally:
        read.read_traces_cached.cache_clear()
    jobs.sort(key=lambda job: (job.task.trace_id, job.task.day))
    counts = Counter(station_days=len(jobs))
    for job in jobs:
        counts.update(parts.summary(job)["counts"])
    counts["traces"] = len({j.task.trace_id for j in jobs if parts.path(j).stat().st_size})
    if not counts["samples"]:
        parts.remove()
        raise DataError(
            f"no window in {count(len(jobs), 'station-day')}: {counts['windows']:,} found; left "
            f"out: {_left_out(counts)}; lower build.on = {settings.build.on:g}, or shorten "
            "build.length, build.taper and build.lta to fit into the data"
        )
    attributes = {
        **{f"build.{key}": as_text(value) for key, value in vars(settings.build).items()},
        **{f"left_out.{reason}": counts[reason] for reason in REASONS},
        "source": "spectrograms of waveforms, made by RISCluster",
        "version": __version__, "made_from": made_from,
    }  # fmt: skip
    done = [(parts.path(job), job.task.trace_id) for job in jobs]
    layout = None if catalogue_only else layout
    put_together(target, done, counts["samples"], product, attributes, layout)
    parts.remove()
    _report(counts, product, time.monotonic() - begin)
    of = "the catalogue alone" if catalogue_only else f"the catalogue of {target}"
    log.info(f"{target.with_suffix('.csv')}: {of}")
    return counts


def _is_done(target: Path, made_from: str, catalogue_only: bool) -> bool:
    """Whether the target exists as it would be made; DataError where it exists otherwise."""
    table, found = target.with_suffix(".csv"), None
    with contextlib.suppress(OSError), h5py.File(target, "r") as file:
        found = file.attrs.get("made_from")
    existing = [path for path in (target, table)[catalogue_only:] if path.exists()]
    if existing and (found != made_from or catalogue_only):
        raise DataError(
            f"{existing[0]}: exists, made from other files or settings; give another name with -o, "
            "or --overwrite to replace it"
        )
    if len(existing) < 2:
        return False
    log.info(f"{target}: done already, from the same files with the same settings")
    Parts(target).clear()
    return True


def _inputs(words: Sequence[str], target: Path) -> list[Path]:
    """Files to read, without those that this command writes."""
    own = {target.resolve(), Parts(target).folder.resolve()}
    paths = [
        path
        for path in find_files(words)
        if own.isdisjoint([path.resolve(), *path.resolve().parents])
    ]
    if not paths:
        raise DataError(f"{' '.join(words)}: no waveforms among these files; give others")
    return paths


def _job(day: StationDay, inputs: Any) -> Job:
    inputs = [inputs, day.trace_id, day.day, [stamp(path) for path in day.paths]]
    safe = "".join(char if char.isalnum() or char in "._-" else "_" for char in day.trace_id)
    if safe != day.trace_id:
        safe += f".{identity(day.trace_id)[:8]}"
    return Job(f"{safe}.{_iso(day.day)[:10]}", day, inputs)


def _iso(time: int) -> str:
    return nanoseconds_to_iso([time])[0]


def _plan(
    paths: Sequence[Path], settings: BuildSettings, workers: int
) -> tuple[list[StationDay], float, str]:
    """Station-days, and the sampling rate and unit of all after processing."""
    inventory = settings.inventory and responses.read_inventory(settings.inventory)
    stretches, lines = read.scan(paths, workers)
    for line in lines:
        log.warning(line)
    if not stretches:
        raise DataError(f"{paths[0]}: no waveforms in {count(len(paths), 'file')}; give others")
    stretches = read.matching(stretches, settings.trace_ids)
    try:
        spans = [(item.start, item.end, str(item.path)) for item in stretches]
        good, lines = leave_out_far_pieces(spans, FAR_CLOCK)
        stretches = [stretches[at] for at in good]
    except DataError as error:  # which clocks are wrong is not known
        lines = [str(error)]
    days, more = station_days(stretches, settings)
    unit, others = "counts", []
    if inventory:
        days, unit, others = with_response(days, inventory, settings)
    for line in [*lines, *more, *others]:
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


def station_days(
    stretches: Sequence[read.Stretch], settings: BuildSettings
) -> tuple[list[StationDay], list[str]]:
    """Station-days with data, by trace id, then day; and warnings.

    Where a trace has more than one sampling rate on a day, that with most data is used.
    """
    by_day, around = defaultdict(list), margin(settings)
    for item in read.of_few_rates(stretches):
        first, last = (item.start - around) // DAY, (item.end - 1 + around) // DAY
        for number in range(first, last + 1):
            by_day[item.trace_id, number * DAY].append(item)
    found, dropped = [], Counter()
    for (trace_id, day), near in sorted(by_day.items()):
        time = Counter()
        for item in near:
            if item.start < day + DAY and item.end > day:
                time[item.sampling_rate] += min(item.end, day + DAY) - max(item.start, day)
        if not time:
            continue
        rate = max(time, key=lambda rate: (time[rate], rate))
        dropped.update((trace_id, other, rate) for other in time if other != rate)
        near = [item for item in near if item.sampling_rate == rate]
        paths = tuple(sorted({item.path for item in near}))
        n_bytes = 8 * sum(item.n_samples for item in near)
        found.append(StationDay(trace_id, day, rate, paths, near[0].within, n_bytes))
    return found, [
        f"{trace_id}: data at {other:g} Hz left out on {n} of its days, most is at {rate:g} Hz"
        for (trace_id, other, rate), n in sorted(dropped.items())
    ]


def read_together(days: Sequence[StationDay]) -> list[StationDay]:
    """Order station-days so that a file with many traces is read once for many of them.

    Those of one day and the same files are read together, as many as fit in memory.
    """
    groups = defaultdict(list)
    for day in days:
        groups[day.paths, day.day, isinstance(day.within, int)].append(day)
    return [day for key in sorted(groups) for day in _by_common_start(groups[key], key[2])]


def _by_common_start(group: Sequence[StationDay], numbered: bool) -> list[StationDay]:
    """Station-days with the longest beginning of ids that limits each reading to READ_BYTES."""
    if len(group) == 1:
        return list(group)
    start = "" if numbered else os.path.commonprefix([day.within for day in group])
    if numbered or sum(day.n_bytes for day in group) <= READ_BYTES:
        return [replace(day, together=start) for day in group]
    parts = defaultdict(list)
    for day in group:
        parts[day.within[: len(start) + 1]].append(day)
    return [day for part in parts.values() for day in _by_common_start(part, numbered)]


def with_response(
    days: Sequence[StationDay], inventory: responses.Inventory, settings: BuildSettings
) -> tuple[list[StationDay], str, list[str]]:
    """Station-days of traces with a response to the unit of the data set; that unit; and warnings.

    The unit is ``build.output`` where any instrument records ground motion, otherwise that of most
    station-days.
    """
    epochs = {day.trace_id: inventory.epochs(day.trace_id, settings) for day in days}
    removers = {
        trace_id: [epoch.remover for epoch in items if epoch.remover]
        for trace_id, items in epochs.items()
    }
    units = Counter(remover.unit for day in days for remover in removers[day.trace_id])
    unit, lines, unusable = responses.UNITS[settings.output], list(inventory.lines), set()
    flat = []
    if units and unit not in units:
        unit = units.most_common(1)[0][0]
        lines.append(
            f"{settings.inventory}: has responses to {unit}, which is not {settings.output}: "
            f"build.output does not apply, and the data set is in {unit}"
        )
    for trace_id, own in removers.items():
        if unit not in {remover.unit for remover in own}:
            unusable.add(trace_id)
            reason = inventory.why_none(trace_id, next(iter(epochs[trace_id]), None), unit)
            lines.append(f"{reason}; left out")
        elif any(remover.is_flat for remover in own):
            flat.append(trace_id)
    if flat:
        more = f" and {len(flat) - 3:,} more" if len(flat) > 3 else ""
        lines.append(
            f"{settings.inventory}: has only the sensitivity for {', '.join(flat[:3])}{more}: "
            "counts are divided by it, which holds where the response is flat"
        )
    return [day for day in days if day.trace_id not in unusable], unit, lines


def _output_rate(days: Sequence[StationDay], settings: BuildSettings) -> float:
    """Sampling rate of all waveforms after processing, Hz, that the other settings fit."""
    rates = {day.sampling_rate: day for day in reversed(days)}
    rate, lowest = settings.sampling_rate, min(rates)
    if rate == "auto" and len(rates) > 1:
        examples = ", ".join(f"{own:g} Hz ({rates[own].paths[0]})" for own in sorted(rates)[:4])
        raise DataError(
            f"build.sampling_rate = auto: traces have different sampling rates: {examples}; set it "
            "to a number of Hz, or use one kind of trace with build.trace_ids"
        )
    rate = lowest if rate == "auto" else rate
    nyquist, example = min(rate, lowest) / 2, rates[lowest]
    for key in ("bandpass", "frequencies"):
        band = getattr(settings, key)
        if band and (band.high > nyquist or (key == "bandpass" and band.high == nyquist)):
            raise SettingsError(
                f"build.{key} = {band} Hz reaches {nyquist:g} Hz, the Nyquist frequency, with "
                f"{example.trace_id} ({example.paths[0].name}) at {lowest:g} Hz and "
                f"build.sampling_rate = {settings.sampling_rate}; set it lower, or leave traces "
                "out with build.trace_ids"
            )
    if settings.method == "slide" and settings.step * rate < 1:
        raise SettingsError(
            f"build.step = {settings.step:g} s is less than a sample at {rate:g} Hz; allowed: "
            f"{1 / rate:g} or more"
        )
    band, limit = settings.frequencies or settings.bandpass, processing.PASS * nyquist
    if band and band.high > limit and not all(same_rate(own, rate) for own in rates):
        log.warning(f"resampling to {rate:g} Hz weakens {band} Hz above {limit:g} Hz")
    return rate


def make_part(day: StationDay, path: Path, product: Product) -> dict[str, Any]:
    """Write the records of a station-day; none of them where its data raise an error.

    Returns ``counts`` of samples, windows and what was left out, and ``warnings``.
    """
    counts, lines = Counter(), []
    try:
        with path.open("wb") as file:
            for wave, data_around in _waves(day, product, counts, lines):
                windows = cut(wave, day.day, product.settings, product.grid, data_around)
                n = len(windows.start)
                counts.update(windows.left_out, samples=n, windows=n + windows.left_out.total())
                if product.settings.method == "detect":
                    overlapping = np.diff(windows.start) < product.grid.n_samples
                    late = windows.onset < windows.start
                    counts.update(overlapping=int(overlapping.sum()), late=int(late.sum()))
                for records in _records(wave, windows, product):
                    file.write(records.data)
                    file.flush()
    except OSError as error:  # those of reading are data errors
        raise RunError(
            f"{path}: can't be written: {error.strerror or error}; make room or change "
            "permissions, then run the same command again: finished parts are not made again"
        ) from None
    except Exception as error:  # of any library that reads or processes the data
        path.write_bytes(b"")
        text = " ".join(str(error).split())[:200]
        counts, lines = {"station_day_failed": 1}, [f"{day}: left out: {text}"]
    return {"counts": counts, "warnings": lines}


def _records(wave: Wave, windows: Windows, product: Product) -> Iterator[np.ndarray]:
    """Records of windows, in blocks."""
    grid, is_sliding = product.grid, product.settings.method == "slide"
    for first in range(0, len(windows.start), product.block):
        rows = slice(first, first + product.block)
        start, onset, end, peak = (column[rows] for column in windows[:4])
        found = np.zeros(len(start), product.record)
        if product.with_spectrograms:
            found["spectrogram"] = spectrograms(grid, wave.data, start)
        if is_sliding or "trace" in found.dtype.names:
            traces = wave.data[start[:, None] + np.arange(grid.n_samples)]
        if "trace" in found.dtype.names:
            found["trace"] = traces
        if is_sliding:
            peak = start + np.abs(traces).argmax(axis=1)
        for name, samples in zip(TIMES, (start, onset, end, peak), strict=True):
            found[name] = [wave.time(int(sample)) for sample in samples]
        if is_sliding:  # nothing was detected
            found["onset"] = found["end"] = NOT_A_TIME
        found["peak_amplitude"] = np.abs(wave.data[peak])
        yield found


def _waves(
    day: StationDay, product: Product, counts: Counter, lines: list[str]
) -> Iterator[tuple[Wave, tuple[bool, bool]]]:
    """Processed waves with data of the day, and whether there are data before and after each."""
    settings, grid, removed = product.settings, product.grid, Counter()
    waves = processing.join(_pieces(day, settings, lines), removed, settings.constant_gap)
    for reason, n in removed.items():
        if n:
            see = "; see build.constant_gap" if reason.startswith(processing.CONSTANT) else ""
            lines.append(
                f"{day}: {n / day.sampling_rate:g} s of samples {reason} count as a gap{see}"
            )
    parts = [(wave, None) for wave in waves]
    if settings.inventory is not None:
        parts = _with_removers(waves, day, product, counts, lines)
    del waves
    for number in range(len(parts)):
        (wave, remover), parts[number] = parts[number], None  # frees its memory
        seconds = len(wave.data) / wave.sampling_rate
        if wave.end <= day.day or wave.start >= day.day + DAY:
            continue
        if wave.data.min() == wave.data.max():
            counts["stretch_constant"] += 1
            lines.append(
                f"{day}: a stretch of {seconds:.0f} s left out: all its samples are "
                f"{wave.data[0]:g}"
            )
        elif seconds < min_samples(settings, grid) / grid.sampling_rate:
            counts["stretch_too_short"] += 1
        else:
            around = number > 0, number < len(parts) - 1
            yield processing.process(wave, settings, remover), around


def _pieces(day: StationDay, settings: BuildSettings, lines: list[str]) -> list[Wave]:
    """Data of the day and of the margins around it."""
    around, numbered = margin(settings), isinstance(day.within, int)
    span, pieces = (day.day - around, day.day + DAY + around), []
    for path in day.paths:
        try:
            if day.together is None:
                traces = read.read_traces(path, *span, "" if numbered else day.within, numbered)
            else:
                traces = read.read_traces_cached(path, *span, day.together, numbered, *stamp(path))
        except (DataError, OSError) as error:
            lines.append(f"{day}: {error}; left out on this day")
            continue
        for trace in traces.get(day.within, []):
            rate, own = day.sampling_rate, float(trace.stats.sampling_rate)
            if same_rate(own, rate):
                data = processing.without_marks(trace.data)
                pieces.append(Wave(trace.stats.starttime.ns, rate, data, drift=rate / own - 1))
    return pieces


def _with_removers(
    waves: list[Wave], day: StationDay, product: Product, counts: Counter, lines: list[str]
) -> list[tuple[Wave, responses.Remover]]:
    """Split waves where the response changes; leave out what has none to the unit of the set."""
    inventory = responses.read_inventory(product.settings.inventory)
    epochs, parts, before = inventory.epochs(day.trace_id, product.settings), [], None
    for wave, epoch in chain.from_iterable(responses.cut_at_epochs(w, epochs) for w in waves):
        start, end = max(wave.start, day.day), min(wave.end, day.day + DAY)
        if epoch and epoch.remover and epoch.remover.unit == product.unit:
            parts.append((wave, epoch.remover))
            if before not in (None, epoch) and start == wave.start < end:
                lines.append(
                    f"{day}: the response changes at {_iso(epoch.start)}; the data are cut there, "
                    "and no window reaches across"
                )
            before = epoch
            continue
        before = None
        if start < end:
            counts["stretch_without_response"] += 1
            reason = inventory.why_none(day.trace_id, epoch, product.unit)
            lines.append(f"{reason}; left out from {_iso(start)} to {_iso(end)}")
    return parts


def _left_out(counts: Counter) -> str:
    words = (f"{counts[key]:,} {text}" for key, text in REASONS.items() if counts[key])
    return ", ".join(words) or "none"


def _report(counts: Counter, product: Product, seconds: float) -> None:
    """Log numbers and rate, and a warning where windows overlap or begin late."""
    grid, settings, n = product.grid, product.settings, counts["samples"]
    log.info(
        f"{count(n, 'window')} of {grid.n_rows} x {grid.n_columns} from "
        f"{count(counts['traces'], 'trace')} in {seconds:.1f} s, {n / seconds:,.0f} samples/s; "
        f"left out: {_left_out(counts)}"
    )
    if counts["overlapping"]:
        log.warning(
            f"{counts['overlapping']:,} of {count(n, 'window')} overlap the one before on the same "
            f"trace: set build.dead_time ({settings.dead_time:g} s) to build.length "
            f"({settings.length:g} s) or more"
        )
    if counts["late"]:
        log.warning(
            f"{counts['late']:,} of {count(n, 'window')} begin after the onset of their detection: "
            f"set build.length ({settings.length:g} s) longer"
        )


def put_together(
    target: Path, parts: Sequence[tuple[Path, str]], n: int, product: Product,
    attributes: dict[str, Any], layout: str | None,
) -> None:  # fmt: skip
    """Write n samples of parts (file, trace id) and their catalogue, each complete or not at all.

    Without a `layout` the catalogue alone is written.
    """
    first, axes = 0, {"frequency": "Hz", "time": "s"}
    with contextlib.ExitStack() as stack:
        table_path = stack.enter_context(new_file(target.with_suffix(".csv")))
        if layout:
            require_room(target, n * product.record.itemsize)
            path = stack.enter_context(new_file(target))
            file = stack.enter_context(h5py.File(path, "w", rdcc_nbytes=CACHE))
            file.attrs.update(attributes)
        for block, trace_id in _blocks(parts, product):
            rows = slice(first, first + len(block))
            table = pd.DataFrame({
                "index": range(first, rows.stop), "trace_id": trace_id,
                **{name: nanoseconds_to_iso(block[name]) for name in TIMES},
                "peak_amplitude": [f"{value:.7g}" for value in block["peak_amplitude"]],
                "unit": product.unit,
            })  # fmt: skip
            table.to_csv(table_path, mode="a", header=not first, index=False, lineterminator="\n")
            columns = LAYOUTS[layout](product, block, table) if layout else {}
            for name, values in columns.items():
                if name not in file:
                    _create(file, name, values, n, product)
                file[name][rows] = values
            first = rows.stop
        for name, unit in axes.items() if layout == "samples" else ():
            file[name] = getattr(product.grid, name)
            file[name].attrs["units"] = unit


def _blocks(
    parts: Sequence[tuple[Path, str]], product: Product
) -> Iterator[tuple[np.ndarray, str]]:
    """Records of all parts in order, in blocks, and their trace id."""
    for path, trace_id in parts:
        with path.open("rb") as file:
            while len(block := np.fromfile(file, product.record, product.block)):
                yield block, trace_id


def _samples(product: Product, block: np.ndarray, table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Layout `samples`: ``/spectrogram``, and a data set for each column."""
    names = TIMES if product.settings.method == "detect" else ("starttime", "peak_time")
    return {
        "trace_id": table.trace_id.to_numpy(object),
        **{name: table[name].to_numpy("S27") for name in names},
        **{name: block[name] for name in block.dtype.names if name not in TIMES},
    }


def _ris(product: Product, block: np.ndarray, table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Layout `ris`: axes in the first column and the last row, a catalogue of JSON texts."""
    grid, rate = product.grid, product.grid.sampling_rate
    images = np.zeros((len(block), grid.n_rows + 1, grid.n_columns + 1), np.float32)
    images[:, :-1, 1:] = block["spectrogram"]
    images[:, :-1, 0], images[:, -1, 1:] = grid.frequency, grid.time
    names = {"starttime": "starttime", "onset": "dt_on", "end": "dt_off", "peak_time": "dt_peak"}
    entries = [
        json.dumps({
            **dict(zip(CODES, row["trace_id"].split("."), strict=True)),
            **{key: row[name] for name, key in names.items() if row[name]},
            "peak": float(amplitude), "unit": product.unit,
            "fs": rate, "delta": 1 / rate, "npts": grid.n_samples,
        })
        for row, amplitude in zip(table.to_dict("records"), block["peak_amplitude"], strict=True)
    ]  # fmt: skip
    group = f"{grid.n_samples / rate:.1f}"
    found = {f"{group}/Spectrogram": images, f"{group}/Catalogue": np.array(entries, object)}
    return found | ({f"{group}/Trace": block["trace"]} if product.settings.traces else {})


LAYOUTS = {"samples": _samples, "ris": _ris}


def _create(file: h5py.File, name: str, values: np.ndarray, n: int, product: Product) -> None:
    """Create a data set of n rows such as these, with its attributes."""
    grid, rate, unit = product.grid, product.grid.sampling_rate, product.unit
    power = f"{f'({unit})' if '/' in unit else unit}^2/Hz"
    attributes = {
        **dict.fromkeys(TIMES, {"units": "UTC, ISO 8601"}),
        "peak_amplitude": {"units": unit},
        "trace": {"units": unit, "sampling_rate": rate},
        "spectrogram": {
            "units": power, "sampling_rate": rate, "window_s": grid.segment / rate,
            "hop_s": grid.hop / rate, "nfft": grid.nfft,
        },
        "Spectrogram": {"TimeUnits": "s", "FreqUnits": "Hz", "AmplUnits": power},
        "Trace": {"TimeUnits": "s", "AmplUnits": unit},
    }  # fmt: skip
    kind, chunks = h5py.string_dtype() if values.dtype == object else values.dtype, None
    if values.ndim > 1:
        fit = BLOCK_BYTES // (values[0].size * values.itemsize)
        chunks = (min(n, int(np.clip(fit, 1, MAX_CHUNK))), *values.shape[1:])
    created = file.create_dataset(name, (n, *values.shape[1:]), kind, chunks=chunks)
    created.attrs.update(attributes.get(name.rpartition("/")[2], {}))
