"""Records of the windows of station-days: their data read, joined, processed and cut."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from os.path import commonprefix
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from ..data.measures import measure_spectrograms, measure_waveforms
from ..data.times import NOT_A_TIME, nanoseconds_to_iso, same_rate
from ..errors import DataError, RunError
from ..io import new_file
from .data_set import TIMES, Product
from .onsets import FIELDS
from .plan import StationDay
from .process import CONSTANT, Wave, join, process, without_marks
from .read import DAY, import_obspy, read_traces
from .responses import Epoch, cut_at_epochs, read_inventory
from .windows import Grid, Windows, cut, margin, min_samples, spectrograms

REASONS = {  # why windows, stretches of data or station-days are left out
    "gap": "at gaps",
    "end_of_data": "at ends of the data",
    "taper": "at tapered ends",
    "component": "without all components",
    "stretch_too_short": "stretches too short",
    "stretch_constant": "stretches constant",
    "stretch_without_response": "stretches without a response",
    "station_day_failed": "station-days failed",
}
Notes = list[tuple[str, str]]  # place and text, see `one_of_each`


def make_part(days: Sequence[StationDay], path: Path, product: Product) -> dict[str, Any]:
    """Write the records of station-days that are read together.

    Returns ``n_samples`` of each, ``counts`` of samples, windows and what was left out, and
    ``notes``. A station-day whose data raise an error has no records.
    """
    counts, notes, n_samples = Counter(station_days=len(days)), [], []
    size = product.record.itemsize
    try:
        with path.open("wb") as file:
            pieces = _read(days, product, notes)
            for day in days:
                start, own, own_notes = file.tell(), Counter(), []
                try:
                    others = [_other(part, product, own_notes) for part in day.others]
                    waves = _processed(day, pieces.pop(day), product, own, own_notes)
                    for found in _save(waves, day, product.settings.save_waveforms):
                        for records in _of_windows(*found, others, product, own):
                            file.write(records.data)
                except (OSError, RunError):  # of writing
                    raise
                except Exception as error:  # of any library that processes the data
                    file.seek(start)
                    file.truncate()
                    own = {"station_day_failed": 1}
                    own_notes = [(str(day), f"left out: {' '.join(str(error).split())[:200]}")]
                n_samples.append((file.tell() - start) // size)
                counts.update(own)
                notes += own_notes
    except OSError as error:  # those of reading are data errors
        raise RunError(
            f"{path}: can't be written: {error.strerror or error}; make room or change "
            "permissions, then run the same command again: finished parts are not repeated"
        ) from None
    counts.update(samples=sum(n_samples))
    return {"n_samples": n_samples, "counts": counts, "notes": notes}


def _read(
    days: Sequence[StationDay], product: Product, notes: Notes
) -> dict[StationDay, list[Wave]]:
    """Data of the day and of the margins around it."""
    around, numbered = margin(product.settings), isinstance(days[0].within, int)
    span = days[0].day - around, days[0].day + DAY + around
    ids = "" if numbered else commonprefix([day.within for day in days])
    found = {day: [] for day in days}
    for path in days[0].paths:
        try:
            traces = read_traces(path, *span, ids, numbered)
        except (DataError, OSError) as error:
            notes += [(str(day), f"{error}; left out on this day") for day in days]
            continue
        for day in days:
            for trace in traces.pop(day.within, []):
                rate, own = day.sampling_rate, float(trace.stats.sampling_rate)
                if same_rate(own, rate):
                    data, start = without_marks(trace.data), trace.stats.starttime.ns
                    found[day].append(Wave(start, rate, data, drift=rate / own - 1))
    return found


def _other(day: StationDay | None, product: Product, notes: Notes) -> list[Wave]:
    if day is None:
        return []
    waves = _stretches(day, _read([day], product, notes)[day], product, Counter(), notes)
    return [wave for wave, _ in _save(waves, day, product.settings.save_waveforms)]


def _save(waves: Iterator, day: StationDay, folder: str | None) -> Iterator[tuple[Wave, Any]]:
    """Pass stretches on, and write what of them is of the day, as miniSEED of 32-bit floats."""
    if folder is None:
        yield from waves
        return
    obspy, stream, span = import_obspy(), [], np.array([day.day, day.day + DAY])
    for wave, more in waves:
        first, last = wave.samples(span).clip(0, len(wave.data))
        trace = obspy.Trace(wave.data[first:last].astype(np.float32))
        trace.id, trace.stats.sampling_rate = day.trace_id, wave.sampling_rate
        trace.stats.starttime = obspy.UTCDateTime(ns=wave.time(int(first)))
        stream += [trace] if last > first else []
        yield wave, more
    start, end = (obspy.UTCDateTime(ns=int(time)).strftime("%Y%m%dT%H%M%SZ") for time in span)
    path = Path(folder).expanduser().joinpath(*day.trace_id.split(".")[:2])
    if stream:
        with new_file(path / f"{day.trace_id}__{start}__{end}.mseed") as partial:
            obspy.Stream(stream).write(str(partial), format="MSEED")


def example(day: StationDay, product: Product) -> tuple[Wave, Windows] | None:
    """The processed stretch of a station-day that has most windows."""
    waves = _processed(day, _read([day], product, [])[day], product, Counter(), [])
    return max(waves, key=lambda found: (len(found[1].start), len(found[0].data)), default=None)


def _processed(
    day: StationDay, pieces: list[Wave], product: Product, counts: Counter, notes: Notes
) -> Iterator[tuple[Wave, Windows]]:
    settings, grid = product.settings, product.grid
    given = pandas.DataFrame(day.given, columns=FIELDS) if day.given else None
    n_given = len(day.given)
    for wave, data_around in _stretches(day, pieces, product, counts, notes):
        windows = cut(wave, day.day, settings, grid, data_around, given)
        n_windows = len(windows.start) + windows.left_out.total()
        counts.update(windows.left_out, windows=n_windows)
        n_given -= n_windows
        if settings.method == "detect":
            overlapping = np.diff(windows.start) < grid.n_samples
            late = windows.onset < windows.start
            counts.update(overlapping=int(overlapping.sum()), late=int(late.sum()))
        yield wave, windows
    if given is not None:
        counts.update(gap=n_given, windows=n_given)


def _stretches(
    day: StationDay, pieces: list[Wave], product: Product, counts: Counter, notes: Notes
) -> Iterator[tuple[Wave, tuple[bool, bool]]]:
    """Processed stretches of the day, and whether there are data before and after each."""
    settings, grid, removed = product.settings, product.grid, Counter()
    parts = [(wave, None) for wave in join(pieces, removed, settings.constant_gap)]
    pieces.clear()
    for reason, n in removed.items():
        if n:
            see = "; see build.constant_gap" if reason.startswith(CONSTANT) else ""
            text = f"{n / day.sampling_rate:g} s of samples {reason} count as a gap{see}"
            notes.append((str(day), text))
    if settings.inventory is not None:
        parts = _with_responses(day, [wave for wave, _ in parts], product, counts, notes)
    for number in range(len(parts)):
        (wave, epoch), parts[number] = parts[number], None  # frees its memory
        seconds = len(wave.data) / wave.sampling_rate
        if wave.end <= day.day or wave.start >= day.day + DAY:
            continue
        if wave.data.min() == wave.data.max():
            counts["stretch_constant"] += 1
            text = f"a stretch of {seconds:.0f} s left out: all its samples are {wave.data[0]:g}"
            notes.append((str(day), text))
        elif seconds < min_samples(settings, grid) / grid.sampling_rate:
            counts["stretch_too_short"] += 1
        else:
            yield process(wave, settings, epoch), (number > 0, number < len(parts) - 1)


def _with_responses(
    day: StationDay, waves: list[Wave], product: Product, counts: Counter, notes: Notes
) -> list[tuple[Wave, Epoch]]:
    """Split waves where the response changes; leave out what has none to the unit of the set."""
    settings, parts, before = product.settings, [], None
    inventory = read_inventory(settings.inventory)
    epochs = inventory.epochs(day.trace_id, settings)
    for wave, epoch in chain.from_iterable(cut_at_epochs(wave, epochs) for wave in waves):
        start, end = max(wave.start, day.day), min(wave.end, day.day + DAY)
        first, last = nanoseconds_to_iso([start, end])
        text = ""
        if not (epoch and epoch.unit == product.unit):
            if start < end:
                counts["stretch_without_response"] += 1
                reason = inventory.why_none(epoch, product.unit)
                text = f"{reason}; left out from {first} to {last}"
            before = None
        else:
            parts.append((wave, epoch))
            if before not in (None, epoch) and start == wave.start < end:
                text = f"the response changes at {first}; no window spans the change"
            elif epoch.is_flat:
                text = f"only the sensitivity in {inventory.place}, by which counts are divided: "
                text += "correct where the response is flat"
            before = epoch
        notes += [(str(day), text)] if text else []
    return parts


def _of_windows(
    wave: Wave, windows: Windows, others: Sequence[list[Wave]], product: Product, counts: Counter
) -> Iterator[np.ndarray]:
    """Records of windows, in blocks; `others` are the stretches of each other component."""
    grid = product.grid
    for first in range(0, len(windows.start), product.block):
        rows = slice(first, first + product.block)
        start, onset, end, peak, event = (column[rows] for column in windows[:5])
        found = np.zeros(len(start), product.record)
        times = np.array([wave.time(int(x)) for x in start], dtype=np.int64)
        pairs = [[(part, part.samples(times)) for part in waves] for waves in others]
        cuts = [_cut_out(each, grid, len(start)) for each in ([(wave, start)], *pairs)]
        images, traces, known = (np.stack(x, axis=1) for x in zip(*cuts, strict=True))
        columns = {"spectrogram": images, "trace": traces, "event_id": event}
        traces = traces[:, 0]  # what is measured is the first component
        columns |= measure_spectrograms(images[:, 0], grid.frequency)
        columns |= measure_waveforms(traces, grid.sampling_rate)
        for name in {*columns} & {*found.dtype.names}:
            found[name] = columns[name].reshape(found[name].shape)
        peak = np.where(peak < 0, start + np.abs(traces).argmax(axis=1), peak)
        for name, samples in zip(TIMES, (start, onset, end, peak), strict=True):
            found[name] = [wave.time(int(x)) if x >= 0 else NOT_A_TIME for x in samples]
        found["peak_amplitude"] = np.abs(wave.data[peak])
        if not (complete := known.all(axis=1)).all():
            leaves_out = product.settings.missing_components == "leave_out"
            counts.update({"component" if leaves_out else "zeros": int((~complete).sum())})
            found = found[complete] if leaves_out else found
        yield found


def _cut_out(
    pairs: Sequence[tuple[Wave, np.ndarray]], grid: Grid, n: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spectrograms (n, F, T) and waveforms (n, S) of windows, and in which there are data, (n,).

    `pairs` are stretches with the samples in them at which the n windows begin.
    """
    images = np.zeros((n, grid.n_rows, grid.n_columns), dtype=np.float32)
    traces, known = np.zeros((n, grid.n_samples)), np.zeros(n, dtype=bool)
    for wave, start in pairs:
        fits = start - grid.before >= wave.edge
        fits &= start + grid.n_samples + grid.after <= len(wave.data) - wave.edge
        if fits.any():
            images[fits] = spectrograms(grid, wave.data, start[fits])
            traces[fits] = wave.data[start[fits][:, None] + np.arange(grid.n_samples)]
        known |= fits
    return images, traces, known
