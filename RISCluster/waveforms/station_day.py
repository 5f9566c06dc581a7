"""Station-days with data, from the headers of files; the records of their windows."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from os.path import commonprefix
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas

from ..data.measures import MEASURES, measure_spectrograms, measure_waveforms
from ..data.times import DAY, NOT_A_TIME, nanoseconds_to_iso, same_rate
from ..errors import DataError, RunError, SettingsError
from ..io import new_file, write_errors
from ..runtime import count, log
from ..settings import BuildSettings
from .onsets import FIELDS, onsets_at
from .process import CONSTANT, MIN_DRIFT, Wave, join, process, with_responses, without_marks
from .read import Notes, Stretch, import_obspy, matching, of_few_rates, read_traces, scan, warn_of
from .windows import Grid, Windows, cut, fits_into, margin, min_samples, spectrograms

TIMES = ("starttime", "onset", "end", "peak_time")  # of a window, ns since 1970-01-01 UTC
BLOCK_BYTES = 16 * 2**20  # of records in memory, and of an HDF5 chunk
REASONS = {  # why windows, stretches of data or station-days are left out
    "edge": "at gaps, ends or tapered ends of the data",
    "component": "without all components",
    "stretch_too_short": "stretches too short",
    "stretch_constant": "stretches constant",
    "stretch_without_response": "stretches without a response",
    "station_day_failed": "station-days failed",
}
HORIZONTAL = {"1": "N", "2": "E"}  # components that are not oriented to the north and east
READ_BYTES = 2**27  # of traces that are read at once from files with many


class StationDay(NamedTuple):
    """One trace, of one sampling rate, on one UTC day."""

    trace_id: str
    day: int  # midnight, ns since 1970-01-01 UTC
    sampling_rate: float  # as recorded, Hz
    paths: tuple[Path, ...]  # files with data of the day and of the margins around it
    n_bytes: int  # of samples in its files, in double precision
    given: tuple[tuple[int, ...], ...] = ()  # onsets of a catalogue, see `onsets.FIELDS`
    others: tuple["StationDay | None", ...] = ()  # of the other components; None for a missing one

    def __str__(self) -> str:
        return f"{self.trace_id} {nanoseconds_to_iso([self.day])[0][:10]}"

    @property
    def all(self) -> list["StationDay"]:
        """Itself, and those of other components that there are."""
        return [self, *filter(None, self.others)]


def plan(
    paths: Sequence[Path], settings: BuildSettings, workers: int, stations: Any = None
) -> tuple[list[list[StationDay]], float]:
    """Station-days by `read_together`, and the sampling rate of all after processing."""
    stretches, notes = scan(paths, workers)
    warn_of(notes)
    if not stretches:
        names = ", ".join(map(str, paths[:3])) or "command line"
        raise DataError(f"{names}: no waveforms in {count(len(paths), 'file')}; give others")
    days = _station_days(of_few_rates(matching(stretches, settings.trace_ids)), settings)
    days = days if settings.components is None else _with_components(days, settings)
    days = days if settings.catalogue is None else _with_onsets(days, settings, stations)
    every = [part for day in days for part in day.all]
    log.info(
        f"{count(len({day.trace_id for day in every}), 'trace')}, "
        f"{count(len(days), 'station-day')} in {count(len(paths), 'file')}"
    )
    rate, groups = _output_rate(every, settings), defaultdict(list)
    for day in days:
        groups[day.paths, day.day].append(day)
    return [part for key in sorted(groups) for part in read_together(groups[key])], rate


def _station_days(stretches: Sequence[Stretch], settings: BuildSettings) -> list[StationDay]:
    """Station-days by trace id, then day."""
    by_day, around, found = defaultdict(list), margin(settings), []
    for item in stretches:
        first, last = (item.start - around) // DAY, (item.end - 1 + around) // DAY
        for number in range(first, last + 1):
            by_day[item.trace_id, number * DAY, item.sampling_rate].append(item)
    for (trace_id, day, rate), near in sorted(by_day.items()):
        if any(item.start < day + DAY and item.end > day for item in near):
            paths = tuple(sorted({item.path for item in near}))
            n_bytes = 8 * sum(item.n_samples for item in near)
            found.append(StationDay(trace_id, day, rate, paths, n_bytes))
    return found


def _with_components(days: Sequence[StationDay], settings: BuildSettings) -> list[StationDay]:
    """Station-days of the first component, with those of the others; the rule for missing ones."""
    names, groups, found, notes = settings.components, defaultdict(dict), [], []
    by_station = any(len(name) > 1 for name in names)
    for day in days:  # 1 and 2 come before letters, which replace them
        _, station, _, channel = day.trace_id.split(".")
        last = channel[-1:] if channel[-1:] in names else HORIZONTAL.get(channel[-1:])
        own, rest = (station, channel) if by_station else (last, day.trace_id[:-1])
        if own in names:
            groups[rest, day.day, day.sampling_rate][own] = day
    for _, group in sorted(groups.items()):
        missing = [name for name in names if name not in group]
        if missing and (names[0] in missing or settings.missing_components != "zeros"):
            one = str(next(iter(group.values())))
            notes.append((one, f"left out: no component {', '.join(missing)}"))
        else:
            first, *others = map(group.get, names)
            found.append(first._replace(others=tuple(others)))
    warn_of(notes)
    if not found:
        raise DataError(
            f"build.components = {', '.join(names)}: no trace has all of them on one day, "
            f"as {days[0]}; allowed: last letters of channels, as ZNE, or station codes with commas"
        )
    return found


def _with_onsets(
    days: Sequence[StationDay], settings: BuildSettings, stations: Any
) -> list[StationDay]:
    """Station-days that have onsets in the catalogue, by the time of the peak where it is known."""
    onsets, found = onsets_at(sorted({day.trace_id for day in days}), settings, stations), []
    for day in days:
        if day.trace_id in onsets:
            rows = onsets[day.trace_id]
            time = rows["peak"].where(rows["peak"] != NOT_A_TIME, rows["onset"])
            own = rows[time.between(day.day, day.day + DAY, "left")]
            if len(own):
                found.append(day._replace(given=tuple(own.itertuples(index=False, name=None))))
    if not found:
        (first,) = nanoseconds_to_iso([min(rows["onset"].min() for rows in onsets.values())])
        raise DataError(
            f"build.catalogue = {settings.catalogue}: its onsets, from {first}, are on no day with "
            f"data, as {days[0]}; give another catalogue, or other files"
        )
    return found


def read_together(days: list[StationDay]) -> list[list[StationDay]]:
    """Groups of station-days of one day and the same files, of about `READ_BYTES` at most."""
    n_groups = -(-sum(day.n_bytes for day in days) // READ_BYTES)
    size = -(-len(days) // max(1, n_groups))
    return [days[first : first + size] for first in range(0, len(days), size)]


def _output_rate(days: Sequence[StationDay], settings: BuildSettings) -> float:
    """Sampling rate of all waveforms after processing, Hz, that the other settings fit."""
    rates = {day.sampling_rate: day for day in days}
    rate, lowest = settings.sampling_rate, min(rates)
    if rate == "auto" and len(rates) > 1:
        examples = ", ".join(f"{own:g} Hz ({rates[own].paths[0]})" for own in sorted(rates)[:4])
        raise DataError(
            f"build.sampling_rate = auto: traces have different sampling rates: {examples}; set it "
            "to a number of Hz, or use one kind of trace with build.trace_ids"
        )
    rate = lowest if rate == "auto" else rate
    nyquist = min(rate, lowest) / 2
    for key in ("bandpass", "frequencies"):
        band = getattr(settings, key)
        if band and (band.high > nyquist or (key == "bandpass" and band.high == nyquist)):
            raise SettingsError(
                f"build.{key} = {band} Hz reaches {nyquist:g} Hz, the Nyquist frequency; set it "
                f"lower, or leave traces out with build.trace_ids, as {rates[lowest].trace_id} at "
                f"{lowest:g} Hz"
            )
    return rate


class Product(NamedTuple):
    """What all samples of a data set have in common."""

    settings: BuildSettings
    grid: Grid
    unit: str
    with_events: bool  # numbers of a catalogue

    @property
    def components(self) -> tuple[int, ...]:
        """Number of components, (C,); empty for a single one."""
        return () if self.settings.components is None else (len(self.settings.components),)

    @property
    def record(self) -> np.dtype:
        """Type of a sample in a part."""
        fields = [(name, np.int64) for name in TIMES]
        fields += [(name, np.float32) for name in ("peak_amplitude", *MEASURES)]
        fields += [("event_id", np.int64)] * self.with_events
        shape = *self.components, self.grid.n_rows, self.grid.n_columns
        fields.append(("spectrogram", np.float32, shape))
        if self.settings.traces is not False:
            fields.append(("trace", np.float32, (*self.components, self.grid.n_samples)))
        return np.dtype(fields)

    @property
    def block(self) -> int:
        """Number of samples that are handled at once."""
        n_values = self.grid.n_rows * self.grid.n_columns + self.grid.n_samples
        n_values *= math.prod(self.components)
        return max(1, BLOCK_BYTES // max(self.record.itemsize, 4 * n_values))


def make_part(days: Sequence[StationDay], path: Path, product: Product) -> dict[str, Any]:
    """Write the records of station-days that are read together; none of one that raises an error.

    Returns ``n_samples`` of each, ``counts`` of windows and of what was left out, and ``notes``.
    """
    counts, notes, n_samples = Counter(station_days=len(days)), [], []
    with write_errors(path), path.open("wb") as file:
        pieces = _read(days, product, notes)
        for day in days:
            start = file.tell()
            try:
                others = [_other_waves(other, product, notes) for other in day.others]
                for found in _processed(day, pieces.pop(day), product, counts, notes):
                    for records in _of_windows(*found, others, product, counts):
                        file.write(records.data)
            except (OSError, RunError):  # of writing
                raise
            except Exception as error:  # of any library that processes the data
                file.seek(start)
                file.truncate()
                counts["station_day_failed"] += 1
                notes.append((str(day), f"left out: {' '.join(str(error).split())[:200]}"))
            n_samples.append((file.tell() - start) // product.record.itemsize)
    counts.update(samples=sum(n_samples))
    return {"n_samples": n_samples, "counts": counts, "notes": notes}


def _read(
    days: Sequence[StationDay], product: Product, notes: Notes
) -> dict[StationDay, list[Wave]]:
    """Data of the day and of the margins around it."""
    around, ids = margin(product.settings), commonprefix([day.trace_id for day in days])
    span = days[0].day - around, days[0].day + DAY + around
    found = {day: [] for day in days}
    for path in days[0].paths:
        try:
            traces = read_traces(path, *span, ids)
        except (DataError, OSError) as error:
            reason = str(error).removeprefix(f"{path}: ")
            notes += [(f"{day}, {path}", f"{reason}; left out on this day") for day in days]
            continue
        for day in days:
            for trace in traces.get(day.trace_id, []):
                rate, own = day.sampling_rate, float(trace.stats.sampling_rate)
                if same_rate(rate, own):
                    rate = rate if abs(own / rate - 1) * len(trace) < MIN_DRIFT else own
                    data = without_marks(trace.data)
                    found[day].append(Wave(trace.stats.starttime.ns, rate, data))
    return found


def _other_waves(day: StationDay | None, product: Product, notes: Notes) -> list[Wave]:
    """Processed stretches of another component, none where that is missing."""
    if day is None:
        return []
    pieces = _read([day], product, notes)[day]
    return [*_stretches(day, pieces, product, Counter(), notes)]


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
    for wave in _stretches(day, pieces, product, counts, notes):
        windows = cut(wave, day.day, settings, grid, given)
        n_windows = len(windows.start) + windows.n_at_edges
        counts.update(edge=windows.n_at_edges, windows=n_windows)
        n_given -= n_windows
        if settings.method == "detect":
            overlapping = np.diff(windows.start) < grid.n_samples
            late = windows.onset < windows.start
            counts.update(overlapping=int(overlapping.sum()), late=int(late.sum()))
        yield wave, windows
    if given is not None:  # onsets where there are no data
        counts.update(edge=n_given, windows=n_given)


def _stretches(
    day: StationDay, pieces: list[Wave], product: Product, counts: Counter, notes: Notes
) -> Iterator[Wave]:
    """Processed stretches of the day."""
    settings, grid, removed, name = product.settings, product.grid, Counter(), str(day)
    waves = join(pieces, removed, settings.constant_gap)
    pieces.clear()
    for reason, n in removed.items():
        if n:
            see = "; see build.constant_gap" if reason == CONSTANT else ""
            place = f"{name}, {n / day.sampling_rate:g} s"
            notes.append((place, f"samples {reason} count as a gap{see}"))
    parts = [(wave, None, "") for wave in waves]
    if settings.inventory is not None:
        parts = with_responses(waves, day.trace_id, settings)
    del waves
    while parts:  # each frees its memory
        wave, response, note = parts.pop(0)
        if wave.end <= day.day or wave.start >= day.day + DAY:
            continue
        notes += [(name, note)] if note else []
        if settings.inventory is not None and response is None:
            counts["stretch_without_response"] += 1
        elif wave.data.min() == wave.data.max():
            counts["stretch_constant"] += 1
            notes.append((name, "left out: all samples of a stretch have one value"))
        elif len(wave.data) / wave.sampling_rate < min_samples(settings, grid) / grid.sampling_rate:
            counts["stretch_too_short"] += 1
        else:
            wave, saved = process(wave, settings, response), settings.save_waveforms
            if saved is not None:
                _save(wave, day, Path(saved).expanduser())
            yield wave


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
    """Spectrograms (n, F, T) and waveforms (n, S) of windows, and in which there are data, (n,)."""
    images = np.zeros((n, grid.n_rows, grid.n_columns), dtype=np.float32)
    traces, known = np.zeros((n, grid.n_samples)), np.zeros(n, dtype=bool)
    for wave, start in pairs:
        fits = fits_into(wave, start, grid)
        if fits.any():
            images[fits] = spectrograms(grid, wave.data, start[fits])
            traces[fits] = wave.data[start[fits][:, None] + np.arange(grid.n_samples)]
        known |= fits
    return images, traces, known
