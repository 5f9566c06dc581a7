"""Records of a fibre as one series of samples (n, channels C)."""

import re
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas

from ..data.storage import sample_packing
from ..data.times import SECOND, nanoseconds_to_iso, parse_time, refuse_far_gap
from ..errors import DataError, SettingsError
from ..io import load_hdf5_filters
from ..runtime import Progress, log
from ..settings import RecordsSettings
from ..waveforms.read import Notes, note_of, warn_of
from .records import AGREE, LEAST_JUMP, SINCE_1980, Record, read_record, read_with_dascore

# Of pieces without a gap: first sample in the series, and samples of the data set before the piece
COLUMNS = ["path", "dataset", "first", "n_samples", "skip"]
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
    dtype: np.dtype  # in which samples lose no digits
    distance: np.ndarray | None  # (C,) m, None where unknown
    time_axis: int  # of HDF5 records
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
        load_hdf5_filters()
        out, lost = np.full((high - low, stop - start), np.nan, self.dtype).T, []
        channels = slice(low + self.first_channel, high + self.first_channel)
        turn = 1 - 2 * self.time_axis
        for piece in self.between(start, stop).pieces.itertuples():
            first, last = max(start, piece.first), min(stop, piece.first + piece.n_samples)
            rows, skip = out[first - start : last - start], piece.skip - piece.first
            box = slice(first + skip, last + skip), channels
            try:
                if isinstance(piece.dataset, tuple):
                    changed = piece.path.stat().st_mtime_ns
                    rows[:] = read_with_dascore(piece.path, piece.dataset, changed)[box]
                    continue
                with h5py.File(piece.path, "r") as file:
                    dataset = file[piece.dataset]
                    values = sample_packing(dataset).unpack(dataset[box[::turn]])
                    rows[:] = values if turn == 1 else values.T
            except Exception as error:  # readers raise many kinds for damaged bytes
                reason = " ".join(str(error).split())
                lost.append((str(piece.path), f"samples can't be read, they are missing: {reason}"))
        return out, lost


def open_series(paths: Sequence[Path], settings: RecordsSettings) -> Series:
    """The part of records that the settings choose.

    DataError where no file is usable, or files do not fit together.
    """
    series = _join(paths, settings)
    rate, start, distance = series.sampling_rate, series.start, series.distance
    time_at = None if start is None else lambda k: start + round(k * SECOND / rate)
    sizes = series.n_samples, time_at, series.n_channels, distance
    part, channels = choose_part(paths[0], settings, *sizes)
    pieces = series.between(part.start, part.stop).pieces
    return replace(
        series,
        pieces=pieces.assign(first=pieces["first"] - part.start),
        start=time_at and time_at(part.start),
        n_samples=part.stop - part.start,
        n_channels=len(channels),
        first_channel=int(channels[0]),
        distance=None if distance is None else distance[channels],
    )


def choose_part(
    place: Any, settings: RecordsSettings, n_steps: int, time_at: Callable[[int], int] | None,
    n_channels: int, distance: np.ndarray | None,
) -> tuple[slice, np.ndarray]:  # fmt: skip
    """Steps from records.after to before records.before, and channels in records.section.

    `time_at` gives the time of a step, ns since 1970; None where times are unknown.
    """
    limits, section, steps = (settings.after, settings.before), settings.section, [0, n_steps]
    channels, times, metres = np.arange(n_channels), "unknown times", "unknown positions"
    is_known = (limits == (None, None) or time_at) and (section is None or distance is not None)
    if time_at is not None:
        times = " to ".join(nanoseconds_to_iso([time_at(0), time_at(n_steps - 1)]))
        for side, limit in enumerate(limits):
            if limit is not None:
                steps[side] = bisect_left(range(n_steps), parse_time(limit), key=time_at)
    if distance is not None:
        metres = f"{distance.min():g} to {distance.max():g} m"
        low, high = section or (-np.inf, np.inf)
        channels = np.flatnonzero((distance >= low) & (distance <= high))
    if not is_known or steps[0] >= steps[1] or not len(channels):
        raise DataError(
            f"{place}: no data from records.after = {limits[0]} to records.before = {limits[1]} in "
            f"records.section = {section}; allowed: {times}; {metres} (where unknown, set "
            "records.starttime, records.name_times or records.channel_spacing)"
        )
    return slice(*steps), channels


def time_in_name(path: Path, pattern: str) -> int:
    """Time in a file's name, ns since 1970 UTC; DataError or SettingsError where there is none."""
    form, letters = re.escape(pattern), re.findall("%(.)", pattern)
    has_year = {*letters} & {*"yY"}
    if not has_year or len({*letters}) < len(letters):
        why = "has a directive twice" if has_year else "gives no year"
        raise SettingsError(
            f"[records] name_times = {pattern} {why}; allowed: each directive once, with the year "
            "(%Y or %y), and month and day (%m, %d) or day of the year (%j) if files are shorter"
        )
    for letter, digits in DIGITS.items():
        form = form.replace(f"%{letter}", rf"\d{{{digits}}}")
    try:
        found = re.search(form, path.name)
        time = datetime.strptime(found[0] if found else "", pattern).replace(tzinfo=UTC)
    except ValueError:
        raise DataError(
            f"{path}: its name has no time as records.name_times = {pattern}; set another, or none"
        ) from None
    return parse_time(time.isoformat())


def _join(paths: Sequence[Path], settings: RecordsSettings) -> Series:
    """Records as one series, without a seam where one continues another."""
    records, bad = [], []
    with Progress("reading headers", len(paths), "files") as progress:
        for path in paths:
            try:
                record = read_record(path, settings)
                if settings.name_times is not None:
                    record = replace(record, start=time_in_name(path, settings.name_times))
                records.append(record)
            except DataError as error:
                bad.append((path, error))
            progress.add(1)
    if not records:
        raise bad[0][1]
    warn_of(note_of(path, error, "; the file is left out") for path, error in bad)
    first, starts = records[0], {record.start for record in records}
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
            "records.name_times to read date and time from the names of the files"
        )
    rate = float(np.median([record.sampling_rate for record in records]))
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

    Samples that overlap the file before are dropped; missing samples are a gap.
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
        gaps, overlaps = (sum(max(0, sign * n) for n, _ in seams) / rate for sign in (1, -1))
        log.warning(
            f"{seams[0][1]}: the first of the gaps and overlaps of these records: {gaps:g} s are "
            f"missing (NaN in the cube), {overlaps:g} s of later samples are dropped"
        )
    return pieces, origin
