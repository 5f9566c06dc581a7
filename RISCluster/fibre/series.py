"""Records of a fibre, or waveforms of an array, as one series of samples (n, channels C)."""

import contextlib
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from os.path import commonprefix
from pathlib import Path

import h5py
import numpy as np
import pandas

from ..data.storage import has_gaps, read_box, sample_packing
from ..data.tables import natural_key
from ..data.times import leave_out_far_pieces, nanoseconds_to_iso, parse_time, same_rate
from ..errors import DataError, MissingPackage, SettingsError
from ..io import load_hdf5_filters
from ..runtime import Progress, count, log
from ..settings import RecordsSettings
from ..waveforms.process import MIN_RUN, Wave, join, without_marks
from ..waveforms.read import of_few_rates, read_traces, scan
from . import das
from .clock import AGREE, SECOND, SINCE_1980
from .cut import time_in_name
from .records import Record, UnknownLayout, read_record

HDF5_NAMES = (".h5", ".hdf5", ".hdf", ".nc")
MAX_LINES = 20  # about files of one kind
READ_VALUES = 2**20  # read at a time
EXACT = 2.0**20  # up to which float32 has four binary digits left for the rest
CONSTANT_GAP = 1.0  # s of one value between waveforms that are taken for a gap
# Of pieces without a gap: data set or `Stretch.within`, first sample in the series, number of
# samples, samples of the data set before it, and the channel of a trace
COLUMNS = ["path", "name", "first", "n_samples", "skip", "channel"]


@dataclass(frozen=True)
class Series:
    """Samples of all channels on one axis of time, in files until they are read."""

    pieces: pandas.DataFrame  # see `COLUMNS`
    start: int | None  # ns since 1970, None where unknown
    sampling_rate: float  # Hz
    n_samples: int
    n_channels: int
    unit: str  # empty where unknown
    distance: np.ndarray | None = None  # (C,) m, None where unknown
    time_axis: int = 0  # of HDF5 records
    channel_names: tuple[str, ...] | None = None  # of waveforms
    first_channel: int = 0  # of the files

    def between(self, start: int, stop: int) -> "Series":
        """The same series with only the pieces that have samples of `start` to before `stop`."""
        first = self.pieces["first"]
        inside = (first < stop) & (first + self.pieces["n_samples"] > start)
        return replace(self, pieces=self.pieces[inside])

    def read(self, start: int, stop: int, low: int, high: int) -> tuple[np.ndarray, list[str]]:
        """Samples `start` to before `stop` of channels `low` to before `high`, (n, C).

        NaN where samples are missing or can't be read, and a line for each reason. The values are
        float32, less the level of a channel where that is large, so that an offset costs no digits:
        spectra, whose windows have their mean removed, are the same.
        """
        out = np.full((high - low, stop - start), np.nan, dtype=np.float32).T
        read = _read_records if self.channel_names is None else _read_traces
        first, levels = low + self.first_channel, np.full(high - low, np.nan)
        lines = read(self.between(start, stop), out, start, first, levels)
        return out, list(dict.fromkeys(lines))


def open_series(paths: Sequence[Path], settings: RecordsSettings, workers: int = 1) -> Series:
    """HDF5 records of a fibre, or waveforms that obspy reads, as one series.

    DataError for both kinds, no usable file, or files that do not fit together.
    """
    # A damaged file goes by its name.
    is_hdf5 = [h5py.is_hdf5(path) or path.suffix.lower() in HDF5_NAMES for path in paths]
    if all(is_hdf5):
        return _join_records(paths, settings)
    if any(is_hdf5):
        raise DataError(
            f"{paths[is_hdf5.index(True)]} is HDF5 and {paths[is_hdf5.index(False)]} is not; give "
            "records of a fibre (HDF5) or waveforms of an array, not both"
        )
    return _join_waveforms(paths, settings, workers)


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
                records.append(_read_header(path, settings))
            except DataError as error:
                bad[path] = error
            progress.add(1)
    if not records:
        raise next(iter(bad.values()))
    warn_of([f"{error}; the file is left out" for error in bad.values()])
    records = _alike(records)
    _log_notes(records)
    first, starts = records[0], {record.start for record in records}
    rate, start = float(np.median([record.sampling_rate for record in records])), first.start
    is_of_all = start is None or first.start_of_all or start < SINCE_1980 * SECOND
    if by_name := start is None or (len(records) > 1 and len(starts) == 1 and is_of_all):
        pieces = _in_order_of_names(records, list(bad))
    else:
        pieces, start = _in_order_of_time(records, rate)
    if given is not None:
        start = given
    elif start is not None and not SINCE_1980 < start / SECOND < time.time() + 86400:
        log.warning(
            f"{pieces[0][0]}: starts {nanoseconds_to_iso([start])[0]}: the clock was not set, "
            "times count from 0; set records.starttime"
        )
        start = None
    if by_name:
        begin = "times count from 0" if start is None else f"from {nanoseconds_to_iso([start])[0]}"
        log.info(
            f"no start times of single files: joined in the order of their names, {begin}; set "
            "records.starttime if they begin at another time"
        )
    return Series(
        pandas.DataFrame(pieces, columns=COLUMNS), start, rate, pieces[-1][2] + pieces[-1][3],
        first.n_channels, first.unit, first.distance, first.time_axis,
    )  # fmt: skip


def _read_header(path: Path, settings: RecordsSettings) -> Record:
    """Header of a file; of a format that is not known here, by DASCore."""
    if settings.name_times is not None:
        start = time_in_name(path, settings.name_times)
        own = replace(settings, name_times=None, starttime="1970-01-01")  # not looked for
        record = _read_header(path, own)
        shift = start - (record.start or 0)
        parts = [part._replace(start=(part.start or 0) + shift) for part in record.segments]
        return replace(record, segments=parts, start_of_all=False)
    try:
        return read_record(path, settings)
    except DataError as error:
        is_damaged = h5py.is_hdf5(path) and not isinstance(error, UnknownLayout)
        if is_damaged or settings.dataset != "auto":
            raise
        try:
            return das.read_header(path, settings)
        except MissingPackage:
            reason = str(error).removeprefix(f"{path}: ")
            raise DataError(
                f"{path}: {reason}; for more formats: pip install dascore (extra 'das')"
            ) from None
        except DataError:
            raise error from None


def _alike(records: list[Record]) -> list[Record]:
    """Those that fit together, without the few that differ from more than half."""
    rate = float(np.median([record.sampling_rate for record in records]))
    kinds = []
    for record in records:
        other = record.sampling_rate
        kinds.append(
            f"has {record.n_channels:,} channels as "
            f"{('(time, channel)', '(channel, time)')[record.time_axis]} at "
            f"{rate if abs(other - rate) <= AGREE * rate else other:g} Hz "
            f"with{'out' if record.start is None else ''} a start"
        )
    usual, n_files = Counter(kinds).most_common(1)[0]
    like = records[kinds.index(usual)].path
    for record, kind in zip(records, kinds, strict=True):
        line = f"{kind}, but {like} {usual}"
        if kind != usual and 2 * n_files <= len(records):
            raise DataError(f"{record.path}: {line}; give only files of one kind")
        if kind != usual:
            log.warning(f"{record.path}: {line}, as most files; it is left out")
    return [record for record, kind in zip(records, kinds, strict=True) if kind == usual]


def _log_notes(records: Sequence[Record]) -> None:
    lines = pandas.Series([f"{x.path}: {note}" for x in records for note in x.notes], dtype=str)
    kinds = [re.sub(r"[\d.:,T-]*\d[\d.:,TZ-]*", "#", note) for x in records for note in x.notes]
    for _, files in lines.groupby(kinds, sort=False):
        more = f" (and so in {len(files) - 1:,} more files)" if len(files) > 1 else ""
        log.warning(files.iloc[0] + more)


def _in_order_of_names(records: Sequence[Record], bad: Sequence[Path]) -> list[tuple]:
    """Files without times, one after the other; a bad one is as long as most of the others."""
    known = {item.path: item for item in records}
    usual = Counter(item.n_samples for item in records).most_common(1)[0][0]
    pieces, first = [], 0
    for path in sorted([*known, *bad], key=lambda path: natural_key(str(path))):
        n_samples = known[path].n_samples if path in known else usual
        if path in known:
            pieces.append((path, known[path].dataset, first, n_samples, 0, 0))
        else:
            log.warning(f"{path}: {usual:,} missing samples stand for it, as in most other files")
        first += n_samples
    return pieces


def _in_order_of_time(records: Sequence[Record], rate: float) -> tuple[list[tuple], int]:
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
    pieces, overlaps, gaps, drift, stop = [], [], [], 0, 0
    for start, part_end, record, part in (parts[number] for number in near):
        away = round((start - end) * rate / SECOND)  # samples; half of one is none
        true, before = round((start - origin) * rate / SECOND), pieces[-1][0] if pieces else None
        if away > 0:
            gaps.append((max(true, stop + 1) - stop, record.path == before, before))
            stop += gaps[-1][0]
        if skip := min(max(0, -away), part.n_samples):
            overlaps.append(
                f"{record.path}: begins {-away / rate:g} s before {before} ends; its first "
                f"{skip:,} samples of {part.n_samples:,} are dropped"
            )
        if n_samples := part.n_samples - skip:
            pieces.append((record.path, record.dataset, stop, n_samples, part.first + skip, 0))
            drift = max(drift, abs(stop - skip - true))
            stop, end = stop + n_samples, max(end, part_end)
    warn_of(overlaps)
    if drift > 1:
        log.warning(f"start times and sampling rate drift apart by up to {drift / rate:g} s")
    if gaps:
        n, inside, before = zip(*gaps, strict=True)
        log.warning(
            f"{count(len(gaps), 'gap')} {'inside' if all(inside) else 'between'} files, "
            f"{sum(n) / rate:g} s in all, the first {'in' if inside[0] else 'after'} {before[0]}: "
            "windows that touch them are NaN in the cube"
        )
    return pieces, origin


def _less_level(values: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Values (n, C) less the levels (C,) of their channels, which are NaN until a value is known"""
    if np.result_type(values.dtype, np.float32) == np.float32 or not len(values):
        return values
    first = np.isfinite(values).argmax(axis=0), np.arange(len(level))
    found = np.where(np.abs(values[first]) <= EXACT, 0.0, values[first])
    np.copyto(level, found, where=np.isnan(level))
    return values - np.nan_to_num(level)


def _read_records(
    series: Series, out: np.ndarray, start: int, channel: int, level: np.ndarray
) -> Iterator[str]:
    """Fill `out` (n, C), which begins at a sample and a channel; why samples are missing."""
    load_hdf5_filters()
    for piece in series.pieces.itertuples():
        low, high = max(start, piece.first), min(start + len(out), piece.first + piece.n_samples)
        rows, first = out[low - start : high - start], low - piece.first + piece.skip
        try:
            if isinstance(piece.name, tuple):
                rate = series.sampling_rate
                values = das.read_samples(piece.path, piece.name, rate, first, len(rows))
                rows[:] = _less_level(values[:, channel : channel + out.shape[1]], level)
                continue
            with h5py.File(piece.path, "r") as file:
                _read_dataset(file[piece.name], series.time_axis, rows, first, channel, level)
        except Exception as error:  # readers raise many kinds for damaged bytes
            rows[:], line = np.nan, " ".join(str(error).split())
            yield f"{piece.path}: samples can't be read, they count as missing: {line}"


def _read_dataset(
    dataset: h5py.Dataset, axis: int, out: np.ndarray, first: int, channel: int, level: np.ndarray
) -> None:
    """Fill `out` from sample `first` on, a few whole chunks at a time."""
    sides = (first, first + len(out)), (channel, channel + out.shape[1])
    (low, high), other = sides[:: 1 - 2 * axis]
    packing, with_gaps = sample_packing(dataset), has_gaps(dataset)
    size = (dataset.chunks or (1,))[0]
    step = max(1, READ_VALUES // (size * (other[1] - other[0]))) * size
    for start, stop in pairwise([low, *range(low - low % step + step, high, step), high]):
        values = read_box(dataset, ((start, stop), other), packing, with_gaps)
        part = slice(start - low, stop - low)
        if axis == 0:
            out[part] = _less_level(values, level)
        else:
            out[:, part] = _less_level(values.T, level[part])


# ---- waveforms of an array ----------------------------------------------------------------------


def _join_waveforms(paths: Sequence[Path], settings: RecordsSettings, workers: int) -> Series:
    """Waveforms from the earliest start to the latest end, a channel a trace id."""
    stretches, lines = scan(paths, workers)
    if not stretches:
        with contextlib.suppress(DataError):  # of a format that DASCore reads
            return _join_records(paths, settings)
    warn_of(lines)
    if not stretches:
        reason = lines[0] if lines else f"{paths[0]}: no waveform in it"
        raise DataError(
            f"{' '.join(map(str, paths[:3]))}{' ...' if len(paths) > 3 else ''}: none of "
            f"{len(paths):,} files is usable; {reason}; allowed: what obspy or DASCore reads "
            "(extra 'das')"
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
    channels = {name: number for number, name in enumerate(names)}
    rows = [
        (x.path, x.within, _sample_at(x.start - origin, rate), x.n_samples, 0, channels[x.trace_id])
        for x in stretches
    ]
    pieces = pandas.DataFrame(rows, columns=COLUMNS)
    n_samples = int((pieces["first"] + pieces["n_samples"]).max())
    return Series(pieces, origin, rate, n_samples, len(names), "count", channel_names=tuple(names))


def _sample_at(nanoseconds: int, rate: float) -> int:
    """Nearest sample, the earlier one of two."""
    return int(np.ceil(nanoseconds * rate / SECOND - 0.5 - 1e-6))


def _read_traces(
    series: Series, out: np.ndarray, start: int, channel: int, level: np.ndarray
) -> Iterator[str]:
    """As `_read_records`, each file once for all its channels; see `join` for overlaps and gaps."""
    rate, n_channels = series.sampling_rate, out.shape[1]
    more = 2 * max(MIN_RUN, CONSTANT_GAP * rate)  # where constant values may begin
    edges = [
        series.start + round(at * SECOND / rate) for at in (start - more, start + len(out) + more)
    ]
    waves: dict[int, list[Wave]] = defaultdict(list)
    pieces = series.pieces[series.pieces["channel"].between(channel, channel + n_channels - 1)]
    is_number = pieces["name"].map(lambda name: not isinstance(name, str))
    for (path, numbered), file in pieces.groupby([pieces["path"], is_number], sort=False):
        channels = dict(zip(file["name"], file["channel"], strict=True))
        ids = "" if numbered else commonprefix(list(channels))
        try:
            traces = read_traces(path, *edges, ids, numbered)
        except DataError as error:
            yield f"{error}; its samples count as missing"
            continue
        for name, number in channels.items():
            waves[number] += [
                Wave(trace.stats.starttime.ns, rate, without_marks(trace.data))
                for trace in traces.get(name, [])
            ]
    for number, parts in waves.items():
        taken_out: Counter[str] = Counter()
        for wave in join(parts, taken_out, CONSTANT_GAP):
            first = _sample_at(wave.start - series.start, rate) - start
            column = slice(number - channel, number - channel + 1)
            rows = out[max(0, first) : max(0, first + len(wave.data)), column]
            data = wave.data[max(0, -first) :][: len(rows), None]
            rows[:] = _less_level(data, level[column])
        for reason, n in taken_out.items():
            if n:
                yield f"{series.channel_names[number]}: samples {reason} count as missing"
