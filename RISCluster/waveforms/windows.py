"""Windows of a station-day, around detections or sliding, with their spectrograms and measures.

Column k of a window has its centre (k + 1/2) hops after the window's start; the segments of the
first and the last column reach (segment - hop) / 2 samples beyond the window.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from os.path import commonprefix
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas
from scipy import fft, signal

from ..data.measures import MEASURES, measure_spectrograms, measure_waveforms
from ..data.times import DAY, NOT_A_TIME, SECOND, nanoseconds_to_iso, same_rate
from ..errors import DataError, RunError, SettingsError
from ..io import new_file, write_errors
from ..settings import BuildSettings
from .process import CONSTANT, MIN_DRIFT, UNITS, Wave, join, process, samples_of, with_responses
from .read import Notes, import_obspy, note_of, read_traces

TIMES = ("starttime", "onset", "end", "peak_time")  # of a window, ns since 1970-01-01 UTC
FIELDS = ("onset", "end", "peak", "event")  # of an onset of a catalogue, ns; -1 for no event
BLOCK_BYTES = 16 * 2**20  # of records in memory, and of an HDF5 chunk
SHORTER = "make build.length, build.taper and build.lta shorter, to fit into the data"
REASONS = {  # why windows, stretches of data or station-days are left out, and what to do
    "edge": ("at gaps, ends or tapered ends of the data", SHORTER),
    "component": ("without all components", "choose others with build.components"),
    "stretch_too_short": ("stretches too short", SHORTER),
    "stretch_constant": ("stretches constant", "give data that vary"),
    "stretch_without_response": ("stretches without a response", "give responses to ground motion "
                                 "with build.inventory, or build.inventory=none for counts"),
    "station_day_failed": ("station-days failed", "see the lines above"),
}  # fmt: skip


class StationDay(NamedTuple):
    """One trace, of one sampling rate, on one UTC day."""

    trace_id: str
    day: int  # midnight, ns since 1970-01-01 UTC
    sampling_rate: float  # as recorded, Hz
    paths: tuple[Path, ...]  # files with data of the day and of the margins around it
    n_bytes: int  # of samples in its files, in double precision
    given: tuple[tuple[int, ...], ...] = ()  # onsets of a catalogue, see `FIELDS`
    others: tuple["StationDay", ...] = ()  # of the other components

    def __str__(self) -> str:
        return f"{self.trace_id} {nanoseconds_to_iso([self.day])[0][:10]}"


class Grid(NamedTuple):
    """What all samples of a data set have in common; times are in samples."""

    settings: BuildSettings
    sampling_rate: float  # Hz, of processed waves
    unit: str  # of processed waves
    n_samples: int  # of a window
    segment: int
    hop: int  # between the starts of two segments
    before: int  # needed before a window
    after: int  # and after it
    rows: np.ndarray  # (F,), numbers of the frequencies that are stored
    frequency: np.ndarray  # (F,), Hz
    time: np.ndarray  # (T,), s from the start of a window
    record: np.dtype  # of a sample in a part
    block: int  # samples that are handled at once


def make_grid(settings: BuildSettings, sampling_rate: float, with_events: bool = False) -> Grid:
    """Convert settings from seconds to samples; SettingsError where they contradict each other."""
    is_both = settings.method == "slide" and settings.catalogue is not None
    too_short = settings.trigger != "z" and settings.sta >= settings.lta
    if is_both or (is_detected(settings) and (too_short or settings.off > settings.on)):
        raise SettingsError(
            f"[build] sta = {settings.sta:g}, lta = {settings.lta:g}, on = {settings.on:g}, off = "
            f"{settings.off:g}, method = {settings.method}, catalogue = {settings.catalogue} are "
            "not allowed; allowed: sta below lta, off at most on, and no catalogue with slide"
        )
    n, nfft = round(settings.length * sampling_rate), settings.nfft
    segment = round(settings.segment * sampling_rate)
    hop = segment - round(settings.overlap * segment)
    first, last = 0, nfft // 2
    if settings.frequencies is not None:
        low, high = (frequency * nfft / sampling_rate for frequency in settings.frequencies)
        first, last = int(np.ceil(round(low, 9))), min(last, int(np.floor(round(high, 9))))
    rows, n_columns = np.arange(first, last + 1), n // max(1, hop)
    if not (2 <= segment <= min(n, nfft) and hop >= 1 and min(len(rows), n_columns) >= 4):
        raise SettingsError(
            f"[build] at {sampling_rate:g} Hz a window has {n} samples, a segment {segment}, a "
            f"step {hop}, and a spectrogram {len(rows)} x {n_columns}; allowed: segments of 2 "
            f"samples to the window and to nfft = {nfft}, a step of 1 or more, and 4 x 4 or more: "
            "change length, segment, overlap, nfft or frequencies"
        )
    before = (segment - hop) // 2
    after = max(0, (n_columns - 1) * hop - before + segment - n)
    components = [len(settings.components)] if settings.components else []
    fields = [(name, np.int64) for name in TIMES]
    fields += [(name, np.float32) for name in ("peak_amplitude", *MEASURES)]
    fields += [("event_id", np.int64)] * with_events
    fields.append(("spectrogram", np.float32, (*components, len(rows), n_columns)))
    if settings.traces is not False:
        fields.append(("trace", np.float32, (*components, n)))
    record, n_values = np.dtype(fields), math.prod(components) * (len(rows) * n_columns + n)
    return Grid(
        settings, sampling_rate,
        "counts" if settings.inventory is None else UNITS[settings.output],
        n, segment, hop, before, after, rows, rows * sampling_rate / nfft,
        (np.arange(n_columns) + 0.5) * hop / sampling_rate,
        record, max(1, BLOCK_BYTES // max(record.itemsize, 4 * n_values)),
    )  # fmt: skip


def spectrograms(grid: Grid, data: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """One-sided power spectral densities of windows by their first samples: (k, F, T), float32.

    As scipy.signal's ``scaling="density"``, without detrending; common segments are computed once.
    """
    nfft, rows = grid.settings.nfft, grid.rows
    columns = (starts - grid.before)[:, None] + grid.hop * np.arange(len(grid.time))
    first, which = np.unique(columns, return_inverse=True)
    segments = np.lib.stride_tricks.sliding_window_view(data, grid.segment)[first]
    window = signal.get_window(("kaiser", grid.settings.kaiser_beta), grid.segment)
    scale = np.where((rows == 0) | (2 * rows == nfft), 1.0, 2.0)
    scale /= grid.sampling_rate * (window**2).sum()
    spectrum = fft.rfft(segments * window, nfft)[:, rows[0] : rows[-1] + 1]
    power = ((spectrum.real**2 + spectrum.imag**2) * scale).astype(np.float32)
    return np.ascontiguousarray(power[which.reshape(columns.shape)].transpose(0, 2, 1))


class Windows(NamedTuple):
    """Usable windows of one wave, as sample numbers, each (k,), int64; -1 where not known."""

    start: np.ndarray
    onset: np.ndarray  # first sample of the detection
    end: np.ndarray  # its last sample
    peak: np.ndarray  # its largest amplitude
    event: np.ndarray  # its number in the catalogue


def is_detected(settings: BuildSettings) -> bool:
    """Whether windows are those of the detector, neither sliding nor of a catalogue."""
    return settings.method == "detect" and settings.catalogue is None


def average(settings: BuildSettings) -> float:
    """Length of the longest average of the detector, s; 0 without it."""
    longest = settings.sta if settings.trigger == "z" else settings.lta
    return longest if is_detected(settings) else 0.0


def time_before(settings: BuildSettings) -> float:
    """Time of a window before an onset of the catalogue, s."""
    return settings.length / 4 if settings.before == "auto" else settings.before


def margin(settings: BuildSettings) -> int:
    """Time before and after a day that its windows depend on, ns.

    An average of the detector forgets by a factor of e in its length: after ten, e^-10 is left.
    """
    seconds = settings.taper + settings.length + settings.segment + 1.0 + 10 * average(settings)
    seconds += 2 * settings.dead_time if is_detected(settings) else time_before(settings)
    return int(np.ceil(seconds)) * SECOND


def cut(wave: Wave, day: StationDay, grid: Grid, counts: Counter) -> Windows:
    """Windows of a processed wave that belong to a day; `counts` has those at edges too.

    A detection belongs to the day of its peak, a sliding window to that of its start.
    """
    settings = grid.settings
    if day.given:
        given = pandas.DataFrame(day.given, columns=FIELDS)
        given = given[given["onset"].between(wave.start, wave.end, "left")]
        onset, end, peak = (
            wave.samples(given[name].to_numpy()) for name in ("onset", "end", "peak")
        )
        before = round(time_before(settings) * wave.sampling_rate)
        start = np.where(peak >= 0, peak - grid.n_samples // 2, onset - before)
        event = given["event"].to_numpy()
    elif settings.method == "detect":
        onset, end, peak = detect(wave, settings).T
        times = np.array([wave.time(int(sample)) for sample in peak], dtype=np.int64)
        today = (times >= day.day) & (times < day.day + DAY)
        onset, end, peak = onset[today], end[today], peak[today]
        start, event = peak - grid.n_samples // 2, np.full(len(peak), -1)
    else:
        step = settings.step * SECOND
        after_midnight = np.rint(np.arange(np.ceil(DAY / step)) * step).astype(np.int64)
        start = wave.samples(day.day + after_midnight)
        start = start[(start >= 0) & (start < len(wave.data))]
        onset = end = peak = event = np.full(len(start), -1)
    fits = fits_into(wave, start, grid)
    windows = Windows(*(column[fits] for column in (start, onset, end, peak, event)))
    counts.update(windows=len(fits), edge=int((~fits).sum()))
    if settings.method == "detect":
        overlapping = np.diff(windows.start) < grid.n_samples
        late = windows.onset < windows.start
        counts.update(overlapping=int(overlapping.sum()), late=int(late.sum()))
    return windows


def fits_into(wave: Wave, start: np.ndarray, grid: Grid) -> np.ndarray:
    """Whether the windows that begin at samples need no others than those that are not tapered."""
    stop = start + grid.n_samples + grid.after
    return (start - grid.before >= wave.edge) & (stop <= len(wave.data) - wave.edge)


def characteristic(wave: Wave, settings: BuildSettings) -> np.ndarray:
    """Values of the detector in a wave's untapered part; none where that is too short."""
    trigger = import_obspy("obspy.signal.trigger")
    rate = wave.sampling_rate
    data = np.ascontiguousarray(wave.data[wave.edge : len(wave.data) - wave.edge])
    if len(data) <= samples_of(average(settings), rate):
        return data[:0]
    short = max(1, round(settings.sta * rate))
    if settings.trigger == "z":
        return trigger.z_detect(data, short)
    long = max(short + 1, round(settings.lta * rate))
    return getattr(trigger, f"{settings.trigger}_sta_lta")(data, short, long)


def detect(wave: Wave, settings: BuildSettings) -> np.ndarray:
    """First sample, last sample and peak of the events in a wave's untapered part, (k, 3)."""
    trigger_onset = import_obspy("obspy.signal.trigger").trigger_onset
    dead, events = round(settings.dead_time * wave.sampling_rate), []
    values, data = characteristic(wave, settings), wave.data[wave.edge :]
    for on, off in trigger_onset(values, settings.on, settings.off):
        if not events or on > events[-1][1] + dead:
            events.append((on, off, on + np.abs(data[on : off + 1]).argmax()))
    return np.array(events, dtype=np.int64).reshape(-1, 3) + wave.edge


def make_part(days: Sequence[StationDay], path: Path, grid: Grid) -> dict[str, Any]:
    """Write the records of station-days that are read together; none of one with an error."""
    counts, notes, n_samples = Counter(station_days=len(days)), [], []
    with write_errors(path), path.open("wb") as file:
        pieces = _read(days, grid.settings, notes)
        for day in days:
            start = file.tell()
            try:
                others = [
                    [*_stretches(x, _read([x], grid.settings, notes)[x], grid, Counter(), notes)]
                    for x in day.others
                ]
                for found in _windows_of(day, pieces.pop(day), grid, counts, notes):
                    for records in _records(*found, others, grid, counts):
                        file.write(records.data)
            except (OSError, RunError):  # of writing
                raise
            except Exception as error:  # of any library that processes the data
                file.seek(start)
                file.truncate()
                counts["station_day_failed"] += 1
                notes.append((str(day), f"left out: {' '.join(str(error).split())[:200]}"))
            n_samples.append((file.tell() - start) // grid.record.itemsize)
    counts.update(samples=sum(n_samples))
    return {"n_samples": n_samples, "counts": counts, "notes": notes}


def _read(days: Sequence[StationDay], settings: BuildSettings, notes: Notes) -> dict:
    """Waves of each of some station-days of the same files, with the margins around the day."""
    around, ids = margin(settings), commonprefix([day.trace_id for day in days])
    span = days[0].day - around, days[0].day + DAY + around
    found = {day: [] for day in days}
    for path in days[0].paths:
        try:
            traces = read_traces(path, *span, ids)
        except (DataError, OSError) as error:
            reason = note_of(path, error, "; left out on this day")[1]
            notes += [(f"{day}, {path}", reason) for day in days]
            continue
        for day in days:
            for trace in traces.get(day.trace_id, []):
                rate, own = day.sampling_rate, float(trace.stats.sampling_rate)
                if same_rate(rate, own):
                    rate = rate if abs(own / rate - 1) * len(trace) < MIN_DRIFT else own
                    found[day].append(Wave(trace.stats.starttime.ns, rate, trace.data))
    return found


def example(day: StationDay, grid: Grid) -> tuple[Wave, Windows] | None:
    """The processed wave of a station-day that has most windows, and these."""
    waves = _windows_of(day, _read([day], grid.settings, [])[day], grid, Counter(), [])
    return max(waves, key=lambda found: (len(found[1].start), len(found[0].data)), default=None)


def _windows_of(
    day: StationDay, pieces: list[Wave], grid: Grid, counts: Counter, notes: Notes
) -> Iterator[tuple[Wave, Windows]]:
    """Processed stretches of the day with their windows."""
    before = counts["windows"]
    for wave in _stretches(day, pieces, grid, counts, notes):
        yield wave, cut(wave, day, grid, counts)
    n_without = max(0, len(day.given) - (counts["windows"] - before))  # onsets without data
    counts.update(edge=n_without, windows=n_without)


def _stretches(
    day: StationDay, pieces: list[Wave], grid: Grid, counts: Counter, notes: Notes
) -> Iterator[Wave]:
    """Processed stretches of the day."""
    settings, removed, name = grid.settings, Counter(), str(day)
    edge, long = (samples_of(s, grid.sampling_rate) for s in (settings.taper, average(settings)))
    n_needed = 2 * edge + max(long + 1, grid.before + grid.n_samples + grid.after)
    waves = join(pieces, removed, settings.constant_gap)
    pieces.clear()
    for reason, n in removed.items():
        if n:
            see = "; see build.constant_gap" if reason == CONSTANT else ""
            place = f"{name}, {n / day.sampling_rate:g} s"
            notes.append((place, f"samples {reason} count as a gap{see}"))
    for wave, response, note in with_responses(waves, day.trace_id, settings):
        if wave.end <= day.day or wave.start >= day.day + DAY:
            continue
        notes += [(name, note)] if note else []
        if settings.inventory is not None and response is None:
            counts["stretch_without_response"] += 1
        elif wave.data.min() == wave.data.max():
            counts["stretch_constant"] += 1
            notes.append((name, "left out: all samples of a stretch have one value"))
        elif len(wave.data) / wave.sampling_rate < n_needed / grid.sampling_rate:
            counts["stretch_too_short"] += 1
        else:
            counts["stretches"] += 1
            done = process(wave, settings, response)
            if settings.save_waveforms is not None:
                _save(done, day, Path(settings.save_waveforms).expanduser())
            yield done


def _save(wave: Wave, day: StationDay, folder: Path) -> None:
    """Write what of a stretch is of the day, as miniSEED of 32-bit floats."""
    obspy = import_obspy()
    first, last = wave.samples(np.array([day.day, day.day + DAY])).clip(0, len(wave.data))
    if first >= last:
        return
    trace = obspy.Trace(wave.data[first:last].astype(np.float32))
    trace.id, trace.stats.sampling_rate = day.trace_id, wave.sampling_rate
    trace.stats.starttime = start = obspy.UTCDateTime(ns=wave.time(int(first)))
    name = f"{day.trace_id}__{start.strftime('%Y%m%dT%H%M%SZ')}.mseed"
    with new_file(folder.joinpath(*day.trace_id.split(".")[:2], name)) as partial:
        trace.write(str(partial), format="MSEED")


def _records(
    wave: Wave, windows: Windows, others: Sequence[list[Wave]], grid: Grid, counts: Counter
) -> Iterator[np.ndarray]:
    """Records of windows, in blocks; `others` are the stretches of each other component."""
    for first in range(0, len(windows.start), grid.block):
        start, onset, end, peak, event = (x[first : first + grid.block] for x in windows)
        times = np.array([wave.time(int(x)) for x in start], dtype=np.int64)
        found, size = np.zeros(len(start), grid.record), (len(start), 1 + len(others))
        images = np.zeros((*size, len(grid.rows), len(grid.time)), dtype=np.float32)
        traces, known = np.zeros((*size, grid.n_samples)), np.zeros(size, dtype=bool)
        for k, waves in enumerate([[wave], *others]):
            for part in waves:
                at = part.samples(times)
                fits = fits_into(part, at, grid)
                known[fits, k] = True
                if fits.any():
                    images[fits, k] = spectrograms(grid, part.data, at[fits])
                    traces[fits, k] = part.data[at[fits][:, None] + np.arange(grid.n_samples)]
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
        complete = known.all(axis=1)
        counts["component"] += int((~complete).sum())
        yield found[complete]
