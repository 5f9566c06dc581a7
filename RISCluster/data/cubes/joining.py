"""Files to one series: headers are read, checked against each other and put on one axis of time."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import h5py

from ...errors import DataError, SettingsError
from ...progress import Progress, log
from ...sections import RecordsSettings
from ..times import leave_out_far_pieces, nanoseconds_to_iso
from ..waveforms.planning import natural_order, of_few_rates
from ..waveforms.sources import Stretch, scan
from .records import BadRecord, RecordHeader, nanoseconds, read_header
from .series import SECOND, ArraySeries, FibreSeries, Piece, Series, require_one_rate

HDF5_NAMES = (".h5", ".hdf5", ".hdf")


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


def _is_hdf5(path: Path) -> bool:
    """By content; a damaged file by its name."""
    return h5py.is_hdf5(path) or path.suffix.lower() in HDF5_NAMES


# ---- records of a fibre -------------------------------------------------------------------------


def join_records(paths: Sequence[Path], settings: RecordsSettings) -> FibreSeries:
    """HDF5 records as one series, without a seam where one continues another.

    Raises
    ------
    DataError
        No file is usable, or they differ in rate, channels, or in whether they know their time.
    """
    headers, bad = _read_headers(paths, settings)
    time_axis = _time_axis(headers)
    first = headers[0]
    require_one_rate([(str(header.path), header.sampling_rate) for header in headers])
    for header in headers[1:]:
        if header.shape[1 - time_axis] != first.shape[1 - time_axis]:
            raise DataError(
                f"{header.path}: {header.shape[1 - time_axis]} channels, but {first.path} has "
                f"{first.shape[1 - time_axis]}; all records must have the same: "
                "leave those out that have not"
            )
    series = FibreSeries(
        pieces=(),
        start=None,
        sampling_rate=first.sampling_rate,
        n_samples=0,
        n_channels=first.shape[1 - time_axis],
        unit=first.unit,
        spacing=first.spacing,
        time_axis=time_axis,
    )
    files = [_File(header, header.shape[time_axis]) for header in headers]
    start = _given_start(settings.starttime)
    if all(header.start is None for header in headers):
        return _join_by_name(series, files, bad, start)
    return _join_by_time(series, files, start)


@dataclass(frozen=True)
class _File:
    header: RecordHeader
    n_samples: int

    def piece(self, first: int, skip: int = 0) -> Piece:
        n = self.n_samples - skip
        return Piece(self.header.path, self.header.dataset, first, n, skip)


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
    for error in errors.values():
        log.warning(f"{error}; the file is left out")
    return headers, list(errors)


def _given_start(text: str) -> int | None:
    if text == "auto":
        return None
    start = nanoseconds(text)
    if start is None:
        raise SettingsError(
            f"[records] starttime = {text} is not allowed; allowed: auto, or a time as "
            "2020-07-24T00:00:00"
        )
    return start


def _time_axis(headers: Sequence[RecordHeader]) -> int:
    """What the files say; else by the longer side of the largest, for the last may be short."""
    told = {header.time_axis: header for header in headers if header.time_axis is not None}
    if len(told) > 1:
        raise DataError(
            f"{told[0].path} is (time, channel) and {told[1].path} is (channel, time); set "
            "records.order if one is wrong, or make a cube of each"
        )
    if told:
        return next(iter(told))
    largest = max(headers, key=lambda header: header.shape[0] * header.shape[1])
    axis = 0 if largest.shape[0] >= largest.shape[1] else 1
    log.info(
        f"{largest.path}: shape {largest.shape}, and nothing says which is time: the longer is "
        f"taken, {('time,channel', 'channel,time')[axis]}; set records.order if it is wrong"
    )
    return axis


def _join_by_name(
    series: FibreSeries, files: Sequence[_File], bad: Sequence[Path], start: int | None
) -> FibreSeries:
    """Files without times, one after the other; a bad one is as long as most of the others."""
    since = "times count from 0" if start is None else f"from {nanoseconds_to_iso([start])[0]}"
    log.info(f"no start time in the files: joined in the order of their names, {since}")
    usual = Counter(file.n_samples for file in files).most_common(1)[0][0]
    known = {file.header.path: file for file in files}
    pieces, first = [], 0
    for path in sorted([*known, *bad]):
        if path in known:
            pieces.append(known[path].piece(first))
            first += known[path].n_samples
        else:
            log.warning(f"{path}: {usual:,} missing samples stand for it, as in most other files")
            first += usual
    return replace(series, pieces=tuple(pieces), start=start, n_samples=first)


def _join_by_time(series: FibreSeries, files: Sequence[_File], start: int | None) -> FibreSeries:
    """Files by their times; what overlaps the file before is dropped, what lacks is a gap."""
    for file in files:
        if file.header.start is None:
            raise DataError(
                f"{file.header.path}: no start time, but other files have one; set it in the file, "
                "or leave the file out"
            )
    files = sorted(files, key=lambda file: (file.header.start, file.header.path))
    rate, origin = series.sampling_rate, files[0].header.start
    pieces: list[Piece] = []
    grid, end, drift = 0, origin, 0  # samples; ns after the last sample; samples
    for file in files:
        away = round((file.header.start - end) * rate / SECOND)  # samples; half of one is none
        true = round((file.header.start - origin) * rate / SECOND)
        if away > 0:
            grid = max(true, grid + 1)
        skip = max(0, -away)
        if skip:
            dropped = min(skip, file.n_samples)
            log.warning(
                f"{file.header.path}: begins {-away / rate:g} s before {pieces[-1].path} ends; its "
                f"first {dropped:,} samples of {file.n_samples:,} are dropped"
            )
        if skip >= file.n_samples:
            continue
        pieces.append(file.piece(grid, skip))
        drift = max(drift, abs(grid - skip - true))
        grid = pieces[-1].stop
        end = max(end, file.header.start + round(file.n_samples * SECOND / rate))
    if drift > 1:
        log.warning(
            "start times in the files and the sampling rate drift apart by up to "
            f"{drift / rate:g} s"
        )
    _say_gaps(pieces, rate)
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
        log.warning(
            f"{len(gaps):,} gaps between files, {missing / rate:g} s in all, the first after "
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
    for line in lines:
        log.warning(line)
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
    for line in lines:
        log.warning(line)
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
