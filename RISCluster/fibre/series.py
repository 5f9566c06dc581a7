"""Records of a fibre, or waveforms of an array, as one series of samples (n, channels C)."""

import contextlib
import re
import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from os.path import commonprefix
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas

from ..data.storage import sample_packing
from ..data.tables import natural_key
from ..data.times import SECOND, nanoseconds_to_iso, parse_time, refuse_far_gap
from ..errors import DataError
from ..io import load_hdf5_filters
from ..runtime import Progress, count, log
from ..settings import RecordsSettings
from ..waveforms.process import MIN_RUN, Wave, join
from ..waveforms.read import Notes, note_of, of_few_rates, read_traces, scan, warn_of
from .records import AGREE, LEAST_JUMP, SINCE_1980, Record, read_record, read_with_dascore

HDF5_NAMES = (".h5", ".hdf5", ".hdf", ".nc")
CONSTANT_GAP = 1.0  # s of one value between waveforms that are taken for a gap
# Of pieces without a gap: data set or trace id, first sample in the series, number of samples, and
# samples of the data set before it
COLUMNS = ["path", "name", "first", "n_samples", "skip"]
# Digits of the directives of strptime
DIGITS = dict.fromkeys("ymdHMS", "2") | {"Y": "4", "j": "3", "f": "1,6"}


@dataclass(frozen=True)
class Series:
    """Samples of all channels on one axis of time, in files until they are read."""

    pieces: pandas.DataFrame  # see `COLUMNS`
    start: int | None  # ns since 1970, None where unknown
    sampling_rate: float  # Hz
    n_samples: int
    n_channels: int
    unit: str  # empty where unknown
    dtype: np.dtype = np.dtype(np.float64)  # in which samples lose no digits
    distance: np.ndarray | None = None  # (C,) m, None where unknown
    time_axis: int = 0  # of HDF5 records
    channel_names: tuple[str, ...] | None = None  # of waveforms
    first_channel: int = 0  # of the files

    def between(self, start: int, stop: int) -> "Series":
        """The same series with only the pieces that have samples of `start` to before `stop`."""
        first = self.pieces["first"]
        inside = (first < stop) & (first + self.pieces["n_samples"] > start)
        return replace(self, pieces=self.pieces[inside])

    def read(self, start: int, stop: int, low: int, high: int) -> tuple[np.ndarray, Notes]:
        """Samples `start` to before `stop` of channels `low` to before `high`, (n, C).

        NaN where samples are missing or can't be read, and why.
        """
        out = np.full((high - low, stop - start), np.nan, self.dtype).T
        read = _read_records if self.channel_names is None else _read_traces
        return out, list(read(self.between(start, stop), out, start, low + self.first_channel))


def open_series(paths: Sequence[Path], settings: RecordsSettings, workers: int = 1) -> Series:
    """HDF5 records of a fibre, or waveforms that obspy reads: the part that the settings choose.

    DataError where no file is usable, or files do not fit together.
    """
    # A damaged file goes by its name.
    if any(h5py.is_hdf5(path) or path.suffix.lower() in HDF5_NAMES for path in paths):
        return _cut(_join_records(paths, settings), settings)
    return _cut(_join_waveforms(paths, settings, workers), settings)


def time_in_name(path: Path, pattern: str) -> int:
    """Time in the name of a file by a pattern of strptime, ns since 1970 UTC, or a DataError."""
    form = re.escape(pattern)
    for letter, digits in DIGITS.items():
        form = form.replace(f"%{letter}", rf"\d{{{digits}}}")
    try:
        found = re.search(form, path.name)
        time = datetime.strptime(found[0] if found else "", pattern).replace(tzinfo=UTC)
    except ValueError:
        raise DataError(
            f"{path}: its name has no time as records.name_times = {pattern}; set another "
            "pattern, or none"
        ) from None
    return parse_time(time.isoformat())


def choose_part(
    place: Any, settings: RecordsSettings, n_steps: int, time_at: Callable[[int], int] | None,
    n_channels: int, distance: np.ndarray | None,
) -> tuple[slice, np.ndarray]:  # fmt: skip
    """Steps from records.after to before records.before, and channels in records.section.

    `time_at` gives the time of a step, ns since 1970; None where times are unknown.
    """
    limits, section, steps = (settings.after, settings.before), settings.section, [0, n_steps]
    channels, times, metres = np.arange(n_channels), "unknown times", "unknown positions"
    if time_at is not None:
        times = " to ".join(nanoseconds_to_iso([time_at(0), time_at(n_steps - 1)]))
    if distance is not None:
        metres = f"{distance.min():g} to {distance.max():g} m"
    for side, limit in enumerate(limits):
        if limit is not None and time_at is not None:
            steps[side] = bisect_left(range(n_steps), parse_time(limit), key=time_at)
    if section is not None and distance is not None:
        channels = np.flatnonzero((distance >= section.low) & (distance <= section.high))
    is_unknown = (limits != (None, None) and time_at is None) or (section and distance is None)
    if is_unknown or steps[0] >= steps[1] or not len(channels):
        raise DataError(
            f"{place}: no data from records.after = {limits[0]} to records.before = {limits[1]} in "
            f"records.section = {section}; allowed: {times}; {metres} (where unknown, set "
            "records.starttime, records.name_times or records.channel_spacing)"
        )
    return slice(*steps), channels


def _cut(series: Series, settings: RecordsSettings) -> Series:
    place, rate, start = series.pieces["path"].iloc[0], series.sampling_rate, series.start
    time_at = None if start is None else lambda k: start + round(k * SECOND / rate)
    sizes = series.n_samples, time_at, series.n_channels, series.distance
    part, channels = choose_part(place, settings, *sizes)
    pieces = series.between(part.start, part.stop).pieces
    return replace(
        series,
        pieces=pieces.assign(first=pieces["first"] - part.start),
        start=None if time_at is None else time_at(part.start),
        n_samples=part.stop - part.start,
        n_channels=len(channels),
        first_channel=int(channels[0]),
        distance=None if series.distance is None else series.distance[channels],
    )


def _join_records(paths: Sequence[Path], settings: RecordsSettings) -> Series:
    """Records as one series, without a seam where one continues another."""
    records, notes, bad = [], [], None
    with Progress("reading headers", len(paths), "files") as progress:
        for path in paths:
            try:
                record = read_record(path, settings)
                if settings.name_times is not None:
                    record = replace(record, start=time_in_name(path, settings.name_times))
                records.append(record)
                notes += [(str(path), note) for note in record.notes]
            except DataError as error:
                bad = bad or error
                notes.append(note_of(path, error, "; the file is left out"))
            progress.add(1)
    if not records:
        raise bad
    warn_of(notes)
    first, starts = records[0], {record.start for record in records}
    rate = float(np.median([record.sampling_rate for record in records]))
    for record in records:
        is_alike = abs(record.sampling_rate / first.sampling_rate - 1) <= AGREE
        if not is_alike or _kind(record) != _kind(first):
            raise DataError(
                f"{record.path}: {_kind(record)}, {record.sampling_rate:g} Hz, but {first.path} "
                f"has {_kind(first)}, {first.sampling_rate:g} Hz; give only files of one kind"
            )
    if len(records) > 1 and len(starts) == 1:
        raise DataError(
            f"{first.path}: its start is unknown, or that of all {len(records):,} files; set "
            "records.name_times to read them from the names of the files"
        )
    pieces, start = _place(records, rate)
    if settings.starttime != "auto":
        start = parse_time(settings.starttime)
    elif not SINCE_1980 < start / SECOND < time.time() + 86400:
        log.warning(
            f"{pieces[0][0]}: its start is unknown, or before 1980 or in the future: times count "
            "from 0; set records.starttime or records.name_times"
        )
        start = None
    return Series(
        pandas.DataFrame(pieces, columns=COLUMNS), start, rate, pieces[-1][2] + pieces[-1][3],
        first.n_channels, first.unit, np.result_type(*(x.dtype for x in records)), first.distance,
        first.time_axis,
    )  # fmt: skip


def _kind(record: Record) -> str:
    order = ("(time, channel)", "(channel, time)")[record.time_axis]
    start = "no start" if record.start is None else "a start"
    return f"{record.n_channels:,} channels, {order}, {start}"


def _place(records: list[Record], rate: float) -> tuple[list[tuple], int]:
    """Pieces by their times, and the first of these.

    What overlaps the file before is dropped, what lacks is a gap.
    """
    parts = [
        ((record.start or 0) + after, skip, n_samples, record)
        for record in records
        for after, skip, n_samples in record.segments
    ]
    parts.sort(key=lambda part: part[0])
    spans = [(start, start + round(n / rate * SECOND), str(x.path)) for start, _, n, x in parts]
    refuse_far_gap(spans)
    origin, stop, pieces, seams = parts[0][0], 0, [], []
    for start, skip, n_samples, record in parts:
        away = (start - origin) * rate / SECOND - stop  # samples after the last one
        if abs(away) >= LEAST_JUMP:
            away = round(away)
            seams.append((away, record.path))
            stop += max(0, away)
            skip, n_samples = skip - min(0, away), n_samples + min(0, away)
        if n_samples > 0:
            pieces.append((record.path, record.dataset, stop, n_samples, skip))
            stop += n_samples
    if seams:
        gaps, overlaps = [n for n, _ in seams if n > 0], [-n for n, _ in seams if n < 0]
        log.warning(
            f"{seams[0][1]}: the first of {count(len(gaps), 'gap')} of {sum(gaps) / rate:g} s in "
            f"all, which are NaN in the cube, and {count(len(overlaps), 'overlap')} of "
            f"{sum(overlaps) / rate:g} s, whose later samples are dropped"
        )
    return pieces, origin


def _read_records(
    series: Series, out: np.ndarray, start: int, channel: int
) -> Iterator[tuple[str, str]]:
    """Fill `out` (n, C), which begins at a sample and a channel; why samples are missing."""
    load_hdf5_filters()
    for piece in series.pieces.itertuples():
        low, high = max(start, piece.first), min(start + len(out), piece.first + piece.n_samples)
        rows, first = out[low - start : high - start], low - piece.first + piece.skip
        box = [(first, first + len(rows)), (channel, channel + out.shape[1])]
        try:
            if isinstance(piece.name, tuple):
                values = read_with_dascore(piece.path, piece.name, *box[0])
                rows[:] = values[:, slice(*box[1])]
                continue
            with h5py.File(piece.path, "r") as file:
                dataset, turn = file[piece.name], 1 - 2 * series.time_axis
                part = tuple(slice(*side) for side in box[::turn])
                values = sample_packing(dataset).unpack(dataset[part])
                rows[:] = values if turn == 1 else values.T
        except Exception as error:  # readers raise many kinds for damaged bytes
            rows[:] = np.nan
            reason = " ".join(str(error).split())
            yield str(piece.path), f"samples can't be read, they count as missing: {reason}"


def _join_waveforms(paths: Sequence[Path], settings: RecordsSettings, workers: int) -> Series:
    """Waveforms from the earliest start to the latest end, a channel a trace id."""
    stretches, notes = scan(paths, workers)
    if not stretches:
        with contextlib.suppress(DataError):  # of a format that DASCore reads
            return _join_records(paths, settings)
        raise DataError(
            f"{paths[0]}: none of {len(paths):,} files is usable ({notes[0][1]}); allowed: what "
            "obspy or DASCore reads (extra 'das')"
        )
    warn_of(notes)
    stretches = of_few_rates(stretches)
    first, rate = stretches[0], stretches[0].sampling_rate
    for item in stretches:
        if item.sampling_rate != rate:
            raise DataError(
                f"{item.trace_id}: {item.sampling_rate:g} Hz, but {first.trace_id} {rate:g} Hz; "
                "a cube needs one sampling rate: make one for each"
            )
    refuse_far_gap([(x.start, x.end, str(x.path)) for x in stretches])
    origin = min(item.start for item in stretches)
    names = sorted({item.trace_id for item in stretches}, key=natural_key)
    rows = [
        (x.path, x.trace_id, _sample_at(x.start - origin, rate), x.n_samples, 0) for x in stretches
    ]
    pieces = pandas.DataFrame(rows, columns=COLUMNS)
    n_samples = int((pieces["first"] + pieces["n_samples"]).max())
    return Series(pieces, origin, rate, n_samples, len(names), "count", channel_names=tuple(names))


def _sample_at(nanoseconds: int, rate: float) -> int:
    """Nearest sample, the earlier one of two."""
    return int(np.ceil(nanoseconds * rate / SECOND - 0.5 - 1e-6))


def _read_traces(
    series: Series, out: np.ndarray, start: int, channel: int
) -> Iterator[tuple[str, str]]:
    """As `_read_records`, each file once for all its channels; see `join` for overlaps and gaps."""
    rate, n_channels = series.sampling_rate, out.shape[1]
    more = 2 * max(MIN_RUN, CONSTANT_GAP * rate)  # where constant values may begin
    edges = [
        series.start + round(at * SECOND / rate) for at in (start - more, start + len(out) + more)
    ]
    numbers = {name: k for k, name in enumerate(series.channel_names[channel:][:n_channels])}
    waves: dict[int, list[Wave]] = defaultdict(list)
    pieces = series.pieces[series.pieces["name"].isin(numbers)]
    for path, names in pieces.groupby("path", sort=False)["name"]:
        try:
            traces = read_traces(path, *edges, commonprefix(list(names)))
        except DataError as error:
            yield note_of(path, error, "; its samples count as missing")
            continue
        for name in names.unique():
            waves[numbers[name]] += [
                Wave(trace.stats.starttime.ns, rate, trace.data) for trace in traces.get(name, [])
            ]
    for number, parts in waves.items():
        taken_out: Counter[str] = Counter()
        for wave in join(parts, taken_out, CONSTANT_GAP):
            first = _sample_at(wave.start - series.start, rate) - start
            rows = out[max(0, first) : max(0, first + len(wave.data)), number]
            rows[:] = wave.data[max(0, -first) :][: len(rows)]
        name = series.channel_names[channel + number]
        yield from ((name, f"samples {why} count as missing") for why, n in taken_out.items() if n)
