"""Files to one series: headers are read, compared and put on one axis of time."""

import itertools
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from ..data.tables import natural_key
from ..data.times import leave_out_far_pieces, nanoseconds_to_iso, parse_time, same_rate
from ..errors import DataError, SettingsError
from ..runtime import Progress, count, log
from ..settings import RecordsSettings
from ..waveforms.read import Stretch, of_few_rates, scan
from .clock import AGREE, SINCE_1980, Segment
from .records import BadRecord, RecordHeader, read_header
from .series import SECOND, Piece, Series

HDF5_NAMES = (".h5", ".hdf5", ".hdf", ".nc")
MAX_LINES = 20  # about files of one kind
ORDERS = ("(time, channel)", "(channel, time)")


def open_series(paths: Sequence[Path], settings: RecordsSettings, workers: int = 1) -> Series:
    """All files as one series.

    Parameters
    ----------
    paths : sequence of Path
        HDF5 records of a fibre, or waveforms that obspy reads, recognised by their content.
    settings : RecordsSettings
    workers : int
        Processes that read headers of waveforms.

    Raises
    ------
    DataError
        Both kinds, no usable file, or files that do not fit together.
    """
    # A damaged file goes by its name.
    fibre = [path for path in paths if h5py.is_hdf5(path) or path.suffix.lower() in HDF5_NAMES]
    other = [path for path in paths if path not in set(fibre)]
    if fibre and other:
        raise DataError(
            f"{fibre[0]} is HDF5 and {other[0]} is not; give records of a fibre (HDF5) or "
            "waveforms of an array, not both"
        )
    return _join_records(fibre, settings) if fibre else _join_waveforms(other, workers)


def warn_of(lines: Sequence[str]) -> None:
    """The first lines, and how many more there are."""
    for line in lines[:MAX_LINES]:
        log.warning(line)
    if len(lines) > MAX_LINES:
        log.warning(f"{len(lines) - MAX_LINES:,} more lines as these")


# ---- records of a fibre -------------------------------------------------------------------------


def _join_records(paths: Sequence[Path], settings: RecordsSettings) -> Series:
    """HDF5 records as one series, without a seam where one continues another."""
    headers, bad = _read_headers(paths, settings)
    headers = _fitting(headers)
    _log_notes(headers)
    first = headers[0]
    series = Series(
        pieces=(),
        start=_given_start(settings.starttime),
        sampling_rate=float(np.median([header.sampling_rate for header in headers])),
        n_samples=0,
        n_channels=first.n_channels,
        unit=first.unit,
        distance=first.distance,
        time_axis=first.time_axis,
    )
    if first.start is None:
        log.info(
            "no start time in the files: joined in the order of their names, "
            + ("times count from 0" if series.start is None else f"from {_iso(series.start)}")
        )
        return _join_by_name(series, headers, bad)
    known = {header.start for header in headers}
    if len(headers) > 1 and len(known) == 1 and all(header.start_of_all for header in headers):
        log.info(
            f"all files name {_iso(first.start)}, the start of the measurement: joined in the "
            "order of their names from it; set records.starttime if they begin later"
        )
        start = first.start if series.start is None else series.start
        return _join_by_name(replace(series, start=start), headers, bad)
    return _join_by_time(series, headers)


def _iso(time: int) -> str:
    return nanoseconds_to_iso([time])[0]


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
    estimated = {header.sampling_rate for header in headers if header.estimated}
    usual: dict[float, float] = {}
    for rate in sorted({header.sampling_rate for header in headers}):
        near = (  # rates that differ by rounding, or of unsteady clocks, are one
            other
            for other in usual.values()
            if same_rate(rate, other)
            or ({rate, other} & estimated and abs(rate - other) <= AGREE * rate)
        )
        usual[rate] = next(near, rate)
    checks = [
        lambda header: (header.time_axis, f"is {ORDERS[header.time_axis]}"),
        lambda header: (header.n_channels, f"has {header.n_channels:,} channels"),
        lambda header: (usual[header.sampling_rate], f"is sampled at {header.sampling_rate:g} Hz"),
        lambda header: (
            header.start is None,
            f"has {'no' if header.start is None else 'a'} start time",
        ),
    ]
    fitting = list(headers)
    for check in checks:
        values = [check(header)[0] for header in fitting]
        value, n_files = Counter(values).most_common(1)[0]
        like = fitting[values.index(value)]
        for header, differs in zip(fitting, [other != value for other in values], strict=True):
            if not differs:
                continue
            line = f"{check(header)[1]}, but {like.path} {check(like)[1]}"
            if 2 * n_files <= len(fitting):
                raise DataError(
                    f"{header.path}: {line}; give only files that are alike: a cube of each kind"
                )
            log.warning(f"{header.path}: {line}, as most other files; the file is left out")
        fitting = [header for header in fitting if check(header)[0] == value]
    return fitting


def _log_notes(headers: Sequence[RecordHeader]) -> None:
    """Notes on files, each kind once."""
    files: dict[str, list[str]] = {}
    for header in headers:
        for note in header.notes:
            kind = re.sub(r"[\d.:,T-]*\d[\d.:,TZ-]*", "#", note)
            files.setdefault(kind, []).append(f"{header.path}: {note}")
    for lines in files.values():
        more = f" (and so in {len(lines) - 1:,} more files)" if len(lines) > 1 else ""
        log.warning(lines[0] + more)


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


def _join_by_name(series: Series, headers: Sequence[RecordHeader], bad: Sequence[Path]) -> Series:
    """Files without times, one after the other; a bad one is as long as most of the others."""
    lengths = {header.path: header.shape[header.time_axis] for header in headers}
    usual = Counter(lengths.values()).most_common(1)[0][0]
    names = {header.path: header.dataset for header in headers}
    pieces, first = [], 0
    for path in sorted([*names, *bad], key=lambda path: natural_key(str(path))):
        if path in names:
            pieces.append(Piece(path, names[path], first, lengths[path]))
        else:
            log.warning(f"{path}: {usual:,} missing samples stand for it, as in most other files")
        first += lengths.get(path, usual)
    return replace(series, pieces=tuple(pieces), n_samples=first)


def _join_by_time(series: Series, headers: Sequence[RecordHeader]) -> Series:
    """Files by their times; what overlaps the file before is dropped, what lacks is a gap."""
    rate = series.sampling_rate
    parts = sorted(
        ((part, header) for header in headers for part in header.segments),
        key=lambda item: (item[0].start, item[1].path, item[0].first),
    )

    def end_of(part: Segment) -> int:
        return part.start + round(part.n_samples * SECOND / rate)

    parts = _without_far(parts, [(part.start, end_of(part), header.path) for part, header in parts])
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
        grid, end = pieces[-1].stop, max(end, end_of(part))
    warn_of(overlaps)
    if drift > 1:
        log.warning(
            "start times in the files and the sampling rate drift apart by up to "
            f"{drift / rate:g} s"
        )
    _log_gaps(pieces, rate)
    if series.start is None and not SINCE_1980 < origin / SECOND < time.time() + 86400:
        log.warning(
            f"{pieces[0].path}: starts {_iso(origin)}: the clock was not set; set records.starttime"
        )
    start = origin if series.start is None else series.start
    return replace(series, pieces=tuple(pieces), start=start, n_samples=grid)


def _without_far(items: Sequence, spans: Sequence[tuple[int, int, Path]]) -> list:
    """Items without those whose time span is that of a wrong clock, which are logged."""
    near, lines = leave_out_far_pieces([(start, end, str(path)) for start, end, path in spans])
    warn_of(lines)
    return [items[number] for number in near]


def _log_gaps(pieces: Sequence[Piece], rate: float) -> None:
    gaps = [pair for pair in itertools.pairwise(pieces) if pair[1].first > pair[0].stop]
    if not gaps:
        return
    missing = sum(after.first - before.stop for before, after in gaps)
    inside = [before.path == after.path for before, after in gaps]
    log.warning(
        f"{count(len(gaps), 'gap')} {'inside' if all(inside) else 'between'} files, "
        f"{missing / rate:g} s in all, the first {'in' if inside[0] else 'after'} "
        f"{gaps[0][0].path}: windows that touch them are NaN in the cube"
    )


# ---- waveforms of an array ----------------------------------------------------------------------


def _join_waveforms(paths: Sequence[Path], workers: int) -> Series:
    """Waveforms from the earliest start to the latest end, a channel a trace id."""
    stretches, lines = scan(paths, workers)
    warn_of(lines)
    if not stretches:
        reason = lines[0] if lines else f"{paths[0]}: no waveform in it"
        raise DataError(
            f"{' '.join(map(str, paths[:3]))}{' ...' if len(paths) > 3 else ''}: none of "
            f"{len(paths):,} files is usable; {reason}; allowed: anything that obspy reads"
        )
    stretches = of_few_rates(stretches)
    rate = _one_rate(stretches)
    stretches = _without_far(stretches, [(item.start, item.end, item.path) for item in stretches])
    names = tuple(sorted({item.trace_id for item in stretches}, key=natural_key))
    origin = min(item.start for item in stretches)
    pieces = sorted(
        _trace_pieces(stretches, origin, rate, names),
        key=lambda piece: (piece.first, str(piece.path), piece.channel),
    )
    _log_overlaps(pieces, names)
    return Series(
        pieces=tuple(pieces),
        start=origin,
        sampling_rate=rate,
        n_samples=max(piece.stop for piece in pieces),
        n_channels=len(names),
        unit="count",
        channel_names=names,
    )


def _one_rate(stretches: Sequence[Stretch]) -> float:
    first = stretches[0]
    for other in stretches:
        if not same_rate(other.sampling_rate, first.sampling_rate):
            raise DataError(
                f"{other.trace_id}: sampled at {other.sampling_rate:g} Hz, but {first.trace_id} at "
                f"{first.sampling_rate:g} Hz; a cube needs one sampling rate: make one for each"
            )
    return first.sampling_rate


def _trace_pieces(
    stretches: Sequence[Stretch], origin: int, rate: float, names: Sequence[str]
) -> Iterator[Piece]:
    """By their start times; one that continues another has no seam with it for rounding."""
    channels = {name: number for number, name in enumerate(names)}
    last: dict[str, tuple[int, int]] = {}
    for item in sorted(stretches, key=lambda item: item.start):
        true = (item.start - origin) * rate / SECOND
        first = round(true)
        stop, end = last.get(item.trace_id, (first, item.start))
        if abs(item.start - end) * rate < SECOND / 2 and abs(stop - true) < 1:
            first = stop
        last[item.trace_id] = max((first + item.n_samples, item.end), (stop, end))
        channel = channels[item.trace_id]
        yield Piece(
            item.path, item.within, first, item.n_samples, channel=channel, start=item.start
        )


def _log_overlaps(pieces: Sequence[Piece], names: Sequence[str]) -> None:
    latest: dict[int, Piece] = {}
    for piece in pieces:
        before = latest.setdefault(piece.channel, piece)
        if before is not piece and piece.first < before.stop:
            overlap = min(before.stop, piece.stop) - piece.first
            log.warning(
                f"{piece.path}: {names[piece.channel]} overlaps {before.path} by {overlap:,} "
                "samples, which are taken from the latter"
            )
        latest[piece.channel] = max(before, piece, key=lambda item: item.stop)
