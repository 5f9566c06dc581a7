"""Build a data set of spectrograms and its catalogue from waveform files."""

import contextlib
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pandas

from .. import __version__
from ..data.layouts import size_text
from ..data.measures import BANDS, MEASURES, band_edges
from ..data.storage import find_files, open_storage, stamp
from ..data.times import nanoseconds_to_iso
from ..errors import DataError, SettingsError
from ..io import PARTIAL, new_file, require_room
from ..parallel import Job, Parts, identity
from ..runtime import count, log
from ..settings import Settings, as_text
from .process import UNITS, Wave, inventory_files
from .read import warn_of
from .station_day import BLOCK_BYTES, REASONS, TIMES, Product, StationDay, example, make_part, plan
from .windows import Windows, check_settings, is_detected, make_grid

N_EXAMPLES = 4  # station-days of a picture
MAX_CHUNK = 64  # samples
CACHE = 64 * 2**20  # bytes of HDF5 chunks
MAX_TRACES = 2 * 10**9  # bytes of waveforms that are stored by `build.traces` = auto
REMARKS = {  # on windows that are counted
    "zeros": "have zeros in place of a component",
    "overlapping": "overlap the one before on the same trace: set build.length shorter, or leave "
    "out onsets with build.dead_time or catalogue --duplicates",
    "late": "begin after their onset: set build.length, or build.before of a catalogue, longer",
}


class Piece(NamedTuple):
    """Samples of a station-day: records of a part."""

    trace_id: str
    day: int  # midnight, ns since 1970-01-01 UTC
    path: Path  # of the part
    first: int
    n: int


def build(
    words: Sequence[str],
    target: str | Path,
    settings: Settings,
    workers: int = 1,
    overwrite: bool = False,
    stations: Any = None,
) -> Counter | None:
    """Build a data set (.h5) and its catalogue beside it (.csv) from waveforms.

    `words` are files, folders and patterns, `stations` have ``locate``, for origins. Returns
    numbers of samples, windows, traces, events and of what was left out by `REASONS`; None where
    the target exists, from the same files and settings.
    """
    begin, target = time.monotonic(), Path(target).expanduser()
    require_ending(target, ".h5", ".hdf5")
    saved = settings.build.save_waveforms
    paths = input_files(words, target, *([] if saved is None else [Path(saved).expanduser()]))
    inputs = _inputs(settings, target)
    made_from = identity([inputs, [stamp(path) for path in paths]])
    if not overwrite and is_done([target, target.with_suffix(".csv")], made_from):
        return None
    groups, product = _planned(paths, settings, workers, stations)
    jobs = [_job(group, inputs) for group in groups]
    parts, work = Parts(target, settings.run), partial(make_part, product=product)
    if not parts.run(jobs, work, workers, "building", "station-days"):
        return None
    counts, pieces = _collect(parts, jobs)
    counts["events"] = len(_events(groups))
    if not pieces:
        parts.remove()
        lower = f"lower build.on = {settings.build.on:g}, or " * is_detected(settings.build)
        raise DataError(
            f"no window in {count(counts['station_days'], 'station-day')}: {counts['windows']:,} "
            f"found; left out: {_left_out(counts)}; {lower}make build.length, build.taper and "
            "build.lta shorter, to fit into the data that are not left out"
        )
    attributes = {
        **{f"build.{key}": as_text(value) for key, value in vars(settings.build).items()},
        **{f"left_out.{reason}": counts[reason] for reason in REASONS},
        "source": "spectrograms of waveforms, made by RISCluster",
        "version": __version__, "made_from": made_from,
    }  # fmt: skip
    write(target, pieces, product, attributes)
    parts.remove()
    _report(counts, product, time.monotonic() - begin)
    log.info(f"{target.with_suffix('.csv')}: the catalogue of {target}")
    return counts


def examples(
    words: Sequence[str], settings: Settings, stations: Any = None
) -> tuple[list[tuple[str, Wave, Windows]], str]:
    """Name, processed wave and windows of some station-days, and the unit, for a picture."""
    groups, product = _planned(find_files(words), settings, 1, stations)
    product = product._replace(settings=replace(settings.build, save_waveforms=None))
    days = [day for group in groups for day in group]
    rows = np.unique(np.linspace(0, len(days) - 1, N_EXAMPLES).round().astype(int))
    found = [(str(days[row]), example(days[row], product)) for row in rows]
    return [(name, *wave) for name, wave in found if wave], product.unit


def require_ending(target: Path, *endings: str) -> None:
    """Raise SettingsError where the name of a target has none of the endings."""
    if target.suffix.lower() not in endings:
        raise SettingsError(
            f"command line: -o {target} is not allowed; allowed: a file ending in "
            f"{' or '.join(endings)}"
        )


def input_files(words: Sequence[str], *own: Path) -> list[Path]:
    """Files that words of the command line name, without what the command itself writes."""
    ends = "", ".parts", PARTIAL
    places = {path.with_name(path.name + end).resolve() for path in own for end in ends}
    return [x for x in find_files(words) if places.isdisjoint([x.resolve(), *x.resolve().parents])]


def _planned(
    paths: Sequence[Path], settings: Settings, workers: int, stations: Any
) -> tuple[list[list[StationDay]], Product]:
    check_settings(settings.build)
    unit = "counts" if settings.build.inventory is None else UNITS[settings.build.output]
    groups, rate = plan(paths, settings.build, workers, stations)
    grid = make_grid(settings.build, rate)
    return groups, Product(settings.build, grid, unit, bool(_events(groups)))


def _events(groups: Sequence[Sequence[StationDay]]) -> set[int]:
    """Numbers of events of the catalogue."""
    return {event for group in groups for day in group for *_, event in day.given} - {-1}


def _inputs(settings: Settings, target: Path) -> dict[str, Any]:
    """Settings and other files, as a JSON value, on which every part depends."""
    inputs = settings.inputs("build", "result")
    if settings.build.inventory is not None:
        inputs["build.inventory"] = [stamp(x) for x in inventory_files(settings.build.inventory)]
    if settings.build.catalogue is not None:
        catalogue = Path(settings.build.catalogue).expanduser()
        is_own = catalogue.resolve() == target.with_suffix(".csv").resolve()
        if is_own or not catalogue.is_file():
            raise SettingsError(
                f"build.catalogue = {catalogue} is no file, or that which {target} will have "
                "beside it; allowed: CSV or QuakeML, and another name with -o"
            )
        inputs["build.catalogue"] = stamp(catalogue)
    return inputs


def _job(group: list[StationDay], inputs: dict[str, Any]) -> Job:
    """The job of the station-days that are read together."""
    day, ids = nanoseconds_to_iso([group[0].day])[0][:10], identity([x.trace_id for x in group])
    used = dict.fromkeys(path for day in group for part in day.all for path in part.paths)
    given = [(x.sampling_rate, x.given) for x in group]
    own = [inputs, day, ids, [stamp(path) for path in used], given]
    return Job(f"{day}.{ids}", group, own, len(group))


def _collect(parts: Parts, jobs: Sequence[Job]) -> tuple[Counter, list[Piece]]:
    """Numbers of all parts, whose notes are logged, and where the samples of each trace are."""
    counts, pieces, notes = Counter(), [], []
    for job in jobs:
        summary, first = parts.summary(job), 0
        counts.update(summary["counts"])
        notes += summary["notes"]
        for day, n in zip(job.task, summary["n_samples"], strict=True):
            pieces.append(Piece(day.trace_id, day.day, parts.path(job), first, n))
            first += n
    warn_of(sorted(map(tuple, notes)))
    pieces = sorted(piece for piece in pieces if piece.n)
    counts["traces"] = len({piece.trace_id for piece in pieces})
    return counts, pieces


def is_done(targets: Sequence[Path], made_from: str) -> bool:
    """Whether targets exist as they would be made; DataError where one exists otherwise.

    What they were made from is an attribute in the first, of HDF5 or Zarr.
    """
    existing, found = [path for path in targets if path.exists()], []
    with contextlib.suppress(DataError), contextlib.closing(open_storage(targets[0], "-o")) as file:
        found = [x.attrs.get("made_from") for x in (file.root, *file.arrays.values())]
    if existing and made_from not in found:
        raise DataError(
            f"{existing[0]}: exists, made from other files or settings; give another name with -o, "
            "or --overwrite to replace it"
        )
    if len(existing) < len(targets):
        return False
    Parts(targets[0]).remove()  # of a process that was killed before it did
    log.info(f"{targets[0]}: done already, from the same files with the same settings")
    return True


def _left_out(counts: Counter) -> str:
    words = (f"{counts[key]:,} {text}" for key, text in REASONS.items() if counts[key])
    return ", ".join(words) or "none"


def _report(counts: Counter, product: Product, seconds: float) -> None:
    """Log numbers and rate, and a warning where windows overlap or begin late."""
    grid, n, windows = product.grid, counts["samples"], count(counts["samples"], "window")
    shape = *product.components, grid.n_rows, grid.n_columns
    log.info(
        f"{windows} of {size_text(shape)} from {count(counts['traces'], 'trace')} in "
        f"{seconds:.1f} s, {n / seconds:,.0f} samples/s; left out: {_left_out(counts)}"
    )
    for key, text in REMARKS.items():
        if counts[key]:
            log.warning(f"{counts[key]:,} of {windows} {text}")


def write(
    target: Path, pieces: Sequence[Piece], product: Product, attributes: dict[str, Any]
) -> None:
    """Write a data set and its catalogue, each complete or not at all."""
    n, first, size = sum(piece.n for piece in pieces), 0, product.record.itemsize
    blocks = [
        (piece.trace_id, piece.path, at, min(product.block, piece.first + piece.n - at))
        for piece in pieces
        for at in range(piece.first, piece.first + piece.n, product.block)
    ]
    with contextlib.ExitStack() as stack:
        table_path = stack.enter_context(new_file(target.with_suffix(".csv")))
        require_room(target, n * size)
        partial = stack.enter_context(new_file(target))
        file = stack.enter_context(h5py.File(partial, "w", rdcc_nbytes=CACHE))
        file.attrs.update(attributes)
        for name, unit in {"frequency": "Hz", "time": "s"}.items():
            file[name] = getattr(product.grid, name)
            file[name].attrs["units"] = unit
        for trace_id, path, at, n_rows in blocks:
            block = np.fromfile(path, product.record, n_rows, offset=at * size)
            rows = slice(first, first + len(block))
            table = _table(block, trace_id, first, product)
            table.to_csv(table_path, mode="a", header=not first, index=False, lineterminator="\n")
            for name, values in _columns(block, table, product, n).items():
                if name not in file:
                    _create(file, name, values, n, product)
                file[name][rows] = values
            first = rows.stop


def _table(block: np.ndarray, trace_id: str, first: int, product: Product) -> pandas.DataFrame:
    """Rows of the catalogue."""
    table = pandas.DataFrame({
        "index": range(first, first + len(block)), "trace_id": trace_id,
        **{name: nanoseconds_to_iso(block[name]) for name in TIMES},
        "peak_amplitude": [f"{value:.7g}" for value in block["peak_amplitude"]],
        "unit": product.unit,
        **{name: [f"{value:.6g}" for value in block[name]] for name in MEASURES},
    })  # fmt: skip
    return table.assign(event_id=block["event_id"]) if product.with_events else table


def _columns(
    block: np.ndarray, table: pandas.DataFrame, product: Product, n: int
) -> dict[str, np.ndarray]:
    """Values of the data sets of the layout `samples`, of a block of n samples."""
    names = TIMES if product.settings.method == "detect" else ("starttime", "peak_time")
    found = {
        "trace_id": table.trace_id.to_numpy(object),
        **{name: table[name].to_numpy("S27") for name in names},
        **{name: block[name] for name in block.dtype.names if name not in TIMES},
    }
    n_bytes = 4 * n * product.grid.n_samples * math.prod(product.components)
    if product.settings.traces == "auto" and n_bytes > MAX_TRACES:
        del found["trace"]
    return found


def _create(file: h5py.File, name: str, values: np.ndarray, n: int, product: Product) -> None:
    grid, rate, unit = product.grid, product.grid.sampling_rate, product.unit
    attributes = {
        **dict.fromkeys(TIMES, {"units": "UTC, ISO 8601"}),
        "peak_amplitude": {"units": unit}, "event_id": {"missing": -1},
        **{name: {"units": own or unit, "what": what} for name, (own, what) in MEASURES.items()},
        "trace": {"units": unit, "sampling_rate": rate},
        "spectrogram": {
            "units": f"{f'({unit})' if '/' in unit else unit}^2/Hz", "sampling_rate": rate,
            "window_s": grid.segment / rate, "hop_s": grid.hop / rate, "nfft": grid.nfft,
        },
    }  # fmt: skip
    if product.components:
        attributes["spectrogram"] |= {"components": list(product.settings.components)}
    for band, ends in zip(BANDS, pairwise(band_edges(grid.frequency)), strict=True):
        attributes[band] |= {"band_hz": ends}
    kind, chunks = h5py.string_dtype() if values.dtype == object else values.dtype, None
    if values.ndim > 1:
        fit = BLOCK_BYTES // (values[0].size * values.itemsize)
        chunks = (min(n, int(np.clip(fit, 1, MAX_CHUNK))), *values.shape[1:])
    created = file.create_dataset(name, (n, *values.shape[1:]), kind, chunks=chunks)
    created.attrs.update(attributes.get(name, {}))
