"""Records of a fibre, or waveforms of an array, as one series of samples (n, channels C)."""

import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os.path import commonprefix
from pathlib import Path

import h5py
import numpy as np

from ..data.storage import read_box, sample_packing
from ..data.tables import natural_key
from ..data.times import leave_out_far_pieces, nanoseconds_to_iso, parse_time, same_rate
from ..errors import DataError, SettingsError
from ..io import load_hdf5_filters
from ..runtime import Progress, count, log
from ..settings import RecordsSettings
from ..waveforms.process import MIN_RUN, Wave, join, without_marks
from ..waveforms.read import of_few_rates, read_traces, scan
from .clock import AGREE, SECOND, SINCE_1980
from .records import Record, read_record

HDF5_NAMES = (".h5", ".hdf5", ".hdf", ".nc")
MAX_LINES = 20  # about files of one kind
CONSTANT_GAP = 1.0  # s of one value between waveforms that are taken for a gap


@dataclass(frozen=True)
class Piece:
    """Samples of one file without a gap: of a data set, or of a trace as `Stretch.within`."""

    path: Path
    name: str | int
    first: int  # sample of the series
    n_samples: int
    skip: int = 0  # samples of the data set before it
    channel: int = 0  # of a trace


@dataclass(frozen=True)
class Series:
    """Samples of all channels on one axis of time, in files until they are read."""

    pieces: tuple[Piece, ...]
    start: int | None  # ns since 1970, None where unknown
    sampling_rate: float  # Hz
    n_samples: int
    n_channels: int
    unit: str  # empty where unknown
    dtype: str = "float64"  # of what is read: float32 where that has all digits
    distance: np.ndarray | None = None  # (C,) m, None where unknown
    time_axis: int = 0  # of HDF5 records
    channel_names: tuple[str, ...] | None = None  # of waveforms

    @cached_property
    def _edges(self) -> np.ndarray:
        edges = [(piece.first, piece.first + piece.n_samples) for piece in self.pieces]
        return np.array(edges, dtype=np.int64)

    def between(self, start: int, stop: int) -> "Series":
        """The same series with only the pieces that have samples of `start` to before `stop`."""
        inside = np.flatnonzero((self._edges[:, 0] < stop) & (self._edges[:, 1] > start))
        return replace(self, pieces=tuple(self.pieces[number] for number in inside))

    def read(self, start: int, stop: int, low: int, high: int) -> tuple[np.ndarray, list[str]]:
        """Samples `start` to before `stop` of channels `low` to before `high`, (n, C).

        NaN where samples are missing or can't be read, and a line for each reason.
        """
        out = np.full((stop - start, high - low), np.nan, dtype=self.dtype)
        read = _read_records if self.channel_names is None else _read_traces
        return out, list(dict.fromkeys(read(self.between(start, stop), out, start, low)))


def open_series(paths: Sequence[Path], settings: RecordsSettings, workers: int = 1) -> Series:
    """HDF5 records of a fibre, or waveforms that obspy reads, as one series.

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
    given = None if settings.starttime == "auto" else parse_time(settings.starttime)
    if given is None and settings.starttime != "auto":
        raise SettingsError(
            f"[records] starttime = {settings.starttime} is not allowed; allowed: auto, or a time "
            "as 2020-07-24T00:00:00"
        )
    records, bad = [], {}
    with Progress("reading headers", len(paths), "files") as progress:
        for path in paths:
            try:
                records.append(read_record(path, settings))
            except DataError as error:
                bad[path] = error
            progress.add(1)
    if not records:
        raise next(iter(bad.values()))
    warn_of([f"{error}; the file is left out" for error in bad.values()])
    records = _fitting(records)
    _log_notes(records)
    first, starts = records[0], {record.start for record in records}
    rate = float(np.median([record.sampling_rate for record in records]))
    of_all = len(records) > 1 and len(starts) == 1 and first.start_of_all
    if first.start is None or of_all:
        start = first.start if given is None else given
        begin = "times count from 0" if start is None else f"from {nanoseconds_to_iso([start])[0]}"
        log.info(
            f"no start times of single files: joined in the order of their names, {begin}; set "
            "records.starttime if they begin at another time"
        )
        pieces = _in_order_of_names(records, list(bad))
    else:
        pieces, start = _in_order_of_time(records, rate)
        if given is None and not SINCE_1980 < start / SECOND < time.time() + 86400:
            log.warning(
                f"{pieces[0].path}: starts {nanoseconds_to_iso([start])[0]}: the clock was not "
                "set; set records.starttime"
            )
        start = start if given is None else given
    exact = np.result_type(first.dtype, np.float32) == np.float32
    dtype, n_samples = "float32" if exact else "float64", pieces[-1].first + pieces[-1].n_samples
    return Series(
        tuple(pieces), start, rate, n_samples, first.n_channels, first.unit, dtype, first.distance,
        first.time_axis,
    )  # fmt: skip


def _fitting(records: list[Record]) -> list[Record]:
    """Those that fit together, without the few that differ from more than half."""
    rate = float(np.median([record.sampling_rate for record in records]))

    def kind(record: Record) -> str:
        other, estimated = record.sampling_rate, any(item.estimated for item in records)
        same = abs(other - rate) <= AGREE * rate if estimated else same_rate(other, rate)
        return (
            f"has {record.n_channels:,} channels as "
            f"{('(time, channel)', '(channel, time)')[record.time_axis]} at "
            f"{rate if same else other:g} Hz with{'out' if record.start is None else ''} a start"
        )

    kinds = [kind(record) for record in records]
    usual, n_files = Counter(kinds).most_common(1)[0]
    like = records[kinds.index(usual)].path
    for record, found in zip(records, kinds, strict=True):
        if found != usual and 2 * n_files <= len(records):
            raise DataError(
                f"{record.path}: {found}, but {like} {usual}; give only files that are alike: a "
                "cube of each kind"
            )
        if found != usual:
            log.warning(
                f"{record.path}: {found}, but {like} {usual}, as most files; it is left out"
            )
    return [record for record, found in zip(records, kinds, strict=True) if found == usual]


def _log_notes(records: Sequence[Record]) -> None:
    """Notes on files, each kind once."""
    files: dict[str, list[str]] = defaultdict(list)
    for record in records:
        for note in record.notes:
            kind = re.sub(r"[\d.:,T-]*\d[\d.:,TZ-]*", "#", note)
            files[kind].append(f"{record.path}: {note}")
    for lines in files.values():
        more = f" (and so in {len(lines) - 1:,} more files)" if len(lines) > 1 else ""
        log.warning(lines[0] + more)


def _in_order_of_names(records: Sequence[Record], bad: Sequence[Path]) -> list[Piece]:
    """Files without times, one after the other; a bad one is as long as most of the others."""
    known = {item.path: item for item in records}
    lengths = {item.path: item.n_samples for item in records}
    usual = Counter(lengths.values()).most_common(1)[0][0]
    pieces, first = [], 0
    for path in sorted([*known, *bad], key=lambda path: natural_key(str(path))):
        if path in known:
            pieces.append(Piece(path, known[path].dataset, first, lengths[path]))
        else:
            log.warning(f"{path}: {usual:,} missing samples stand for it, as in most other files")
        first += lengths.get(path, usual)
    return pieces


def _in_order_of_time(records: Sequence[Record], rate: float) -> tuple[list[Piece], int]:
    """Pieces by their times, and the first of these.

    What overlaps the file before is dropped, what lacks is a gap.
    """
    parts = [
        (part.start, part.start + round(part.n_samples * SECOND / rate), record, part)
        for record in records
        for part in record.segments
    ]
    parts.sort(key=lambda part: (part[0], part[2].path, part[3].first))
    near, lines = leave_out_far_pieces([(*part[:2], str(part[2].path)) for part in parts])
    warn_of(lines)
    origin = end = parts[near[0]][0]
    pieces: list[Piece] = []
    overlaps, gaps, drift, stop = [], [], 0, 0
    for start, part_end, record, part in (parts[number] for number in near):
        away = round((start - end) * rate / SECOND)  # samples; half of one is none
        true = round((start - origin) * rate / SECOND)
        if away > 0:
            gaps.append((max(true, stop + 1) - stop, record.path, pieces[-1].path))
            stop += gaps[-1][0]
        skip = min(max(0, -away), part.n_samples)
        if skip:
            overlaps.append(
                f"{record.path}: begins {-away / rate:g} s before {pieces[-1].path} ends; its "
                f"first {skip:,} samples of {part.n_samples:,} are dropped"
            )
        if skip < part.n_samples:
            n_samples = part.n_samples - skip
            pieces.append(Piece(record.path, record.dataset, stop, n_samples, part.first + skip))
            drift = max(drift, abs(stop - skip - true))
            stop, end = stop + n_samples, max(end, part_end)
    warn_of(overlaps)
    if drift > 1:
        log.warning(f"start times and sampling rate drift apart by up to {drift / rate:g} s")
    if gaps:
        inside = [path == before for _, path, before in gaps]
        log.warning(
            f"{count(len(gaps), 'gap')} {'inside' if all(inside) else 'between'} files, "
            f"{sum(n for n, *_ in gaps) / rate:g} s in all, the first "
            f"{'in' if inside[0] else 'after'} {gaps[0][2]}: windows that touch them are NaN in "
            "the cube"
        )
    return pieces, origin


def _read_records(series: Series, out: np.ndarray, start: int, channel: int) -> Iterator[str]:
    """Fill `out` (n, C), which begins at a sample and a channel; why samples are missing."""
    load_hdf5_filters()
    turn = slice(None, None, 1 if series.time_axis == 0 else -1)
    channels = (channel, channel + out.shape[1])
    for piece in series.pieces:
        low, high = max(start, piece.first), min(start + len(out), piece.first + piece.n_samples)
        rows, first = out[low - start : high - start], low - piece.first + piece.skip
        try:
            with h5py.File(piece.path, "r") as file:
                dataset = file[piece.name]
                box = ((first, first + len(rows)), channels)[turn]
                values, lines = read_box(dataset, box, sample_packing(dataset))
                rows[:] = values if series.time_axis == 0 else values.T
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            rows[:], lines = np.nan, [" ".join(str(error).split())]
        for line in lines:
            yield f"{piece.path}: samples can't be read, they count as missing: {line}"


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
    rate, first = stretches[0].sampling_rate, stretches[0].trace_id
    other = next((x for x in stretches if not same_rate(x.sampling_rate, rate)), None)
    if other is not None:
        raise DataError(
            f"{other.trace_id}: sampled at {other.sampling_rate:g} Hz, but {first} at {rate:g} Hz; "
            "a cube needs one sampling rate: make one for each"
        )
    near, lines = leave_out_far_pieces([(x.start, x.end, str(x.path)) for x in stretches])
    warn_of(lines)
    stretches = [stretches[number] for number in near]
    origin = min(item.start for item in stretches)
    names = sorted({item.trace_id for item in stretches}, key=natural_key)
    pieces = []
    for item in stretches:
        position, channel = _sample_at(item.start - origin, rate), names.index(item.trace_id)
        pieces.append(Piece(item.path, item.within, position, item.n_samples, 0, channel))
    n_samples = max(piece.first + piece.n_samples for piece in pieces)
    return Series(
        tuple(pieces), origin, rate, n_samples, len(names), "count", channel_names=tuple(names)
    )


def _sample_at(nanoseconds: int, rate: float) -> int:
    """Nearest sample, the earlier one of two."""
    return int(np.ceil(nanoseconds * rate / SECOND - 0.5 - 1e-6))


def _read_traces(series: Series, out: np.ndarray, start: int, channel: int) -> Iterator[str]:
    """As `_read_records`, each file once for all its channels; see `join` for overlaps and gaps."""
    rate = series.sampling_rate
    more = 2 * max(MIN_RUN, CONSTANT_GAP * rate)  # where constant values may begin
    edges = [
        series.start + round(at * SECOND / rate) for at in (start - more, start + len(out) + more)
    ]
    by_file: dict[tuple[Path, bool], dict[str | int, int]] = defaultdict(dict)
    for piece in series.pieces:
        if channel <= piece.channel < channel + out.shape[1]:
            by_file[piece.path, isinstance(piece.name, int)][piece.name] = piece.channel
    waves: dict[int, list[Wave]] = defaultdict(list)
    for (path, numbered), channels in by_file.items():
        ids = "" if numbered else commonprefix(list(channels))
        try:
            traces = read_traces(path, *edges, ids, numbered)
        except DataError as error:
            yield f"{error}; its samples count as missing"
            continue
        for name, number in channels.items():
            for trace in traces.get(name, []):
                wave = Wave(trace.stats.starttime.ns, rate, without_marks(trace.data))
                waves[number].append(wave)
    for number, pieces in waves.items():
        taken_out: Counter[str] = Counter()
        for wave in join(pieces, taken_out, CONSTANT_GAP):
            first = _sample_at(wave.start - series.start, rate) - start
            rows = out[max(0, first) : max(0, first + len(wave.data)), number - channel]
            rows[:] = wave.data[max(0, -first) :][: len(rows)]
        for reason, n in taken_out.items():
            if n:
                yield f"{series.channel_names[number]}: samples {reason} count as missing"
