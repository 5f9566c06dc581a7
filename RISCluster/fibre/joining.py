"""Files to one series: headers are read, checked against each other and put on one axis of time."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..data.times import leave_out_far_pieces, nanoseconds_to_iso, parse_time, same_rate
from ..errors import DataError, SettingsError
from ..runtime import Progress, count, log
from ..settings import RecordsSettings
from ..waveforms.planning import natural_order, of_few_rates
from ..waveforms.sources import Stretch, scan
from .clock import AGREE, SINCE_1980
from .records import BadRecord, RecordHeader, read_header
from .series import SECOND, ArraySeries, FibreSeries, Piece, Series, require_one_rate

HDF5_NAMES = (".h5", ".hdf5", ".hdf", ".nc")
MOST_LINES = 20  # about files of one kind
ORDERS = ("(time, channel)", "(channel, time)")


def open_series(paths: Sequence[Path], settings: RecordsSettings, workers: int = 1) -> Series:
    """All files as one series.

    Parameters
    ----------
    paths : sequence of Path
        HDF5 records of a fibre, or waveforms that obspy reads; told apart by content.
    settings : RecordsSettings
    workers : int
        Processes that read headers of waveforms.

    Raises
    ------
    DataError
        Both kinds, no usable file, or files that do not fit together.
    """
    fibre = [path for path in paths if _is_hdf5(path)]
    other = [path for path in paths if not _is_hdf5(path)]
    if fibre and other:
        raise DataError(
            f"{fibre[0]} is HDF5 and {other[0]} is not; give records of a fibre (HDF5) or "
            "waveforms of an array, not both"
        )
    return join_records(fibre, settings) if fibre else join_waveforms(other, workers)


def warn_of(lines: Sequence[str]) -> None:
    """The first lines, and how many more there are."""
    for line in lines[:MOST_LINES]:
        log.warning(line)
    if len(lines) > MOST_LINES:
        log.warning(f"{len(lines) - MOST_LINES:,} more lines as these")


def _is_hdf5(path: Path) -> bool:
    """By content; a damaged file by its name."""
    return h5py.is_hdf5(path) or path.suffix.lower() in HDF5_NAMES


# ---- records of a fibre -------------------------------------------------------------------------


def join_records(paths: Sequence[Path], settings: RecordsSettings) -> FibreSeries:
    """HDF5 records as one series, without a seam where one continues another.

    Raises
    ------
    DataError
        No file is usable, or no more than half of them agree in rate, channels, order, or in
        whether they know their time.
    """
    headers, bad = _read_headers(paths, settings)
    headers = _fitting(headers)
    _say_notes(headers)
    first = headers[0]
    series = FibreSeries(
        pieces=(),
        start=None,
        sampling_rate=float(np.median([header.sampling_rate for header in headers])),
        n_samples=0,
        n_channels=first.n_channels,
        unit=first.unit,
        distance=first.distance,
        time_axis=first.time_axis,
    )
    start = _given_start(settings.starttime)
    if all(header.start is None for header in headers):
        log.info(
            "no start time in the files: joined in the order of their names, "
            + ("times count from 0" if start is None else f"from {_iso(start)}")
        )
        return _join_by_name(series, headers, bad, start)
    known = {header.start for header in headers}
    if len(headers) > 1 and len(known) == 1 and all(header.start_of_all for header in headers):
        log.info(
            f"all files name {_iso(first.start)}, the start of the measurement: joined in the "
            "order of their names from it; set records.starttime if they begin later"
        )
        return _join_by_name(series, headers, bad, first.start if start is None else start)
    return _join_by_time(series, headers, start)


def _iso(time: int) -> str:
    return nanoseconds_to_iso(np.array([time]))[0]


def _read_headers(
    paths: Sequence[Path], settings: RecordsSettings
) -> tuple[list[RecordHeader], list[Path]]:
    headers, errors = [], {}
    with Progress("reading headers", len(paths), "files") as progress:
        for path in paths:
            try:
                headers.append(read_header(path, settings))
            except BadRecord as error:
                errors[path] = error
            progress.add(1)
    if not headers:
        raise next(iter(errors.values()))
    warn_of([f"{error}; the file is left out" for error in errors.values()])
    return headers, list(errors)


def _fitting(headers: Sequence[RecordHeader]) -> list[RecordHeader]:
    """Those that fit together, without the few that differ from more than half."""
    rates = [header.sampling_rate for header in headers]
    usual = {rate: rate for rate in rates}
    for rate in sorted(usual):  # rates that differ by rounding, or of unsteady clocks, are one
        near = [
            other
            for other in usual.values()
            if same_rate(rate, other) or _estimated_alike(headers, rate, other)
        ]
        usual[rate] = near[0]
    checks: list[tuple[Callable[[RecordHeader], Any], Callable[[RecordHeader], str]]] = [
        (
            lambda header: header.time_axis,
            lambda header: f"is {ORDERS[header.time_axis]}",
        ),
        (lambda header: header.n_channels, lambda header: f"has {header.n_channels:,} channels"),
        (
            lambda header: usual[header.sampling_rate],
            lambda header: f"is sampled at {header.sampling_rate:g} Hz",
        ),
        (
            lambda header: header.start is None,
            lambda header: "has no start time" if header.start is None else "has a start time",
        ),
    ]
    kept = list(headers)
    for key, describe in checks:
        (value, n_files), *_ = Counter(map(key, kept)).most_common(1)
        like = next(header for header in kept if key(header) == value)
        for header in kept:
            if key(header) == value:
                continue
            line = f"{describe(header)}, but {like.path} {describe(like)}"
            if 2 * n_files <= len(kept):
                raise DataError(
                    f"{header.path}: {line}; give only files that are alike: a cube of each kind"
                )
            log.warning(f"{header.path}: {line}, as most other files; the file is left out")
        kept = [header for header in kept if key(header) == value]
    return kept


def _estimated_alike(headers: Sequence[RecordHeader], a: float, b: float) -> bool:
    """Whether rates that come from time stamps alone differ by no more than clocks do."""
    estimated = {header.sampling_rate for header in headers if header.estimated}
    return bool({a, b} & estimated) and abs(a - b) <= AGREE * max(a, b)


def _say_notes(headers: Sequence[RecordHeader]) -> None:
    """Notes on files, each kind once."""
    files: dict[str, list[tuple[Path, str]]] = {}
    for header in headers:
        for note in header.notes:
            files.setdefault(re.sub(r"[\d.:,T-]*\d[\d.:,TZ-]*", "#", note), []).append(
                (header.path, note)
            )
    for found in files.values():
        path, note = found[0]
        more = f" (and so in {len(found) - 1:,} more files)" if len(found) > 1 else ""
        log.warning(f"{path}: {note}{more}")


def _given_start(text: str) -> int | None:
    if text == "auto":
        return None
    start = parse_time(text)
    if start is None:
        raise SettingsError(
            f"[records] starttime = {text} is not allowed; allowed: auto, or a time as "
            "2020-07-24T00:00:00"
        )
    return start


def _by_number(path: Path) -> list[Any]:
    """To sort by: numbers in a name by their value."""
    parts = re.split(r"(\d+)", str(path))
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _join_by_name(
    series: FibreSeries, headers: Sequence[RecordHeader], bad: Sequence[Path], start: int | None
) -> FibreSeries:
    """Files without times, one after the other; a bad one is as long as most of the others."""
    lengths = {header.path: header.shape[header.time_axis] for header in headers}
    usual = Counter(lengths.values()).most_common(1)[0][0]
    names = {header.path: header.dataset for header in headers}
    pieces, first = [], 0
    for path in sorted([*names, *bad], key=_by_number):
        if path in names:
            pieces.append(Piece(path, names[path], first, lengths[path]))
        else:
            log.warning(f"{path}: {usual:,} missing samples stand for it, as in most other files")
        first += lengths.get(path, usual)
    return replace(series, pieces=tuple(pieces), start=start, n_samples=first)


def _join_by_time(
    series: FibreSeries, headers: Sequence[RecordHeader], start: int | None
) -> FibreSeries:
    """Files by their times; what overlaps the file before is dropped, what lacks is a gap."""
    rate = series.sampling_rate
    parts = sorted(
        ((part, header) for header in headers for part in header.segments),
        key=lambda item: (item[0].start, item[1].path, item[0].first),
    )
    kept, lines = leave_out_far_pieces(
        [
            (part.start, part.start + round(part.n_samples * SECOND / rate), str(header.path))
            for part, header in parts
        ]
    )
    warn_of(lines)
    parts = [parts[number] for number in kept]
    origin = parts[0][0].start
    pieces: list[Piece] = []
    overlaps: list[str] = []
    grid, end, drift = 0, origin, 0  # samples; ns after the last sample; samples
    for part, header in parts:
        away = round((part.start - end) * rate / SECOND)  # samples; half of one is none
        true = round((part.start - origin) * rate / SECOND)
        if away > 0:
            grid = max(true, grid + 1)
        skip = min(max(0, -away), part.n_samples)
        if skip:
            overlaps.append(
                f"{header.path}: begins {-away / rate:g} s before {pieces[-1].path} ends; its "
                f"first {skip:,} samples of {part.n_samples:,} are dropped"
            )
        if skip >= part.n_samples:
            continue
        n_samples = part.n_samples - skip
        pieces.append(Piece(header.path, header.dataset, grid, n_samples, part.first + skip))
        drift = max(drift, abs(grid - skip - true))
        grid = pieces[-1].stop
        end = max(end, part.start + round(part.n_samples * SECOND / rate))
    warn_of(overlaps)
    if drift > 1:
        log.warning(
            "start times in the files and the sampling rate drift apart by up to "
            f"{drift / rate:g} s"
        )
    _say_gaps(pieces, rate)
    if start is None and not SINCE_1980 < origin / SECOND < time.time() + 86400:
        log.warning(
            f"{pieces[0].path}: starts {_iso(origin)}: the clock was not set; set records.starttime"
        )
    start = origin if start is None else start
    return replace(series, pieces=tuple(pieces), start=start, n_samples=grid)


def _say_gaps(pieces: Sequence[Piece], rate: float) -> None:
    gaps = [
        (before, after)
        for before, after in zip(pieces, pieces[1:], strict=False)
        if after.first > before.stop
    ]
    if gaps:
        missing = sum(after.first - before.stop for before, after in gaps)
        within = sum(before.path == after.path for before, after in gaps)
        where = "inside files" if within == len(gaps) else "between files"
        log.warning(
            f"{count(len(gaps), 'gap')} {where}, {missing / rate:g} s in all, the first "
            f"{'in' if gaps[0][0].path == gaps[0][1].path else 'after'} "
            f"{gaps[0][0].path}: windows that touch them are NaN in the cube"
        )


# ---- waveforms of an array ----------------------------------------------------------------------


def join_waveforms(paths: Sequence[Path], workers: int = 1) -> ArraySeries:
    """Waveforms as one series from the earliest start to the latest end, a channel a trace id.

    Raises
    ------
    DataError
        No file is usable, or sampling rates differ.
    """
    stretches, lines = scan(paths, workers)
    warn_of(lines)
    if not stretches:
        reason = lines[0] if lines else f"{paths[0]}: no waveform in it"
        raise DataError(
            f"{' '.join(map(str, paths[:3]))}{' ...' if len(paths) > 3 else ''}: none of "
            f"{len(paths):,} files is usable; {reason}; allowed: anything that obspy reads"
        )
    stretches = of_few_rates(stretches)
    rate = require_one_rate([(item.trace_id, item.sampling_rate) for item in stretches])
    spans = [(item.start, item.end, str(item.path)) for item in stretches]
    near, lines = leave_out_far_pieces(spans)
    warn_of(lines)
    stretches = [stretches[at] for at in near]
    names = tuple(sorted({item.trace_id for item in stretches}, key=natural_order))
    numbers = {name: number for number, name in enumerate(names)}
    origin = min(item.start for item in stretches)
    pieces = tuple(
        sorted(
            _trace_pieces(stretches, origin, rate, numbers),
            key=lambda piece: (piece.first, str(piece.path), piece.channel),
        )
    )
    _say_overlaps(pieces, names)
    return ArraySeries(
        pieces=pieces,
        start=origin,
        sampling_rate=rate,
        n_samples=max(piece.stop for piece in pieces),
        n_channels=len(names),
        unit="count",
        channel_names=names,
    )


def _trace_pieces(
    stretches: Sequence[Stretch], origin: int, rate: float, numbers: dict[str, int]
) -> Iterator[Piece]:
    """By their start times; one that continues another has no seam with it for rounding."""
    last: dict[str, tuple[int, int]] = {}
    for item in sorted(stretches, key=lambda item: item.start):
        true = (item.start - origin) * rate / SECOND
        first = round(true)
        stop, end = last.get(item.trace_id, (first, item.start))
        if abs(item.start - end) * rate < SECOND / 2 and abs(stop - true) < 1:
            first = stop
        last[item.trace_id] = max((first + item.n_samples, item.end), (stop, end))
        channel = numbers[item.trace_id]
        yield Piece(
            item.path, item.within, first, item.n_samples, channel=channel, start=item.start
        )


def _say_overlaps(pieces: Sequence[Piece], names: Sequence[str]) -> None:
    stop: dict[int, Piece] = {}
    for piece in pieces:
        before = stop.get(piece.channel)
        if before is not None and piece.first < before.stop:
            overlap = min(before.stop, piece.stop) - piece.first
            log.warning(
                f"{piece.path}: {names[piece.channel]} overlaps {before.path} by {overlap:,} "
                "samples, which are taken from the latter"
            )
        if before is None or piece.stop > before.stop:
            stop[piece.channel] = piece
