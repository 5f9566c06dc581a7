"""Build a data set of spectrograms and its catalogue from waveform files."""

import contextlib
import json
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas

from .. import __version__
from ..data.layouts import size_text
from ..data.measures import BANDS, MEASURES, band_edges
from ..data.storage import find_files, open_storage, stamp
from ..data.times import DAY, nanoseconds_to_iso
from ..errors import DataError, SettingsError
from ..io import PARTIAL, new_file, require_room
from ..parallel import Job, Parts, identity
from ..runtime import count, log
from ..settings import BuildSettings, Settings, as_text
from .onsets import onsets_at
from .process import inventory_files
from .read import Stretch, of_few_rates, scan, warn_of
from .windows import REASONS, TIMES, Grid, StationDay, example, make_grid, make_part, margin

N_EXAMPLES = 4  # station-days of a picture
MAX_CHUNK = 64  # samples
CACHE = 64 * 2**20  # bytes of HDF5 chunks
MAX_TRACES = 2 * 10**9  # bytes of waveforms that are stored by `build.traces` = auto
READ_BYTES = 2**27  # of traces that are read at once from files with many
HORIZONTAL = {"1": "N", "2": "E"}  # components that are not oriented to the north and east
REMARKS = {  # on windows that are counted
    "overlapping": "overlap the one before on the same trace: set build.length shorter",
    "late": "begin after their onset: set build.length, or build.before of a catalogue, longer",
}


def build(
    words: Sequence[str], target: str | Path, settings: Settings, workers: int = 1,
    overwrite: bool = False, stations: Any = None,
) -> Counter | None:  # fmt: skip
    """Build a data set (.h5) and its catalogue beside it (.csv) from waveforms.

    `words` are files, folders and patterns, `stations` have ``locate``, for origins. Returns the
    numbers of what was made and left out; None where the target exists, from the same inputs.
    """
    begin, target = time.monotonic(), Path(target).expanduser()
    if target.suffix.lower() not in (".h5", ".hdf5"):
        raise SettingsError(
            f"command line: -o {target} is not allowed; allowed: a file ending in .h5 or .hdf5"
        )
    saved = settings.build.save_waveforms
    paths = input_files(words, target, *([] if saved is None else [Path(saved).expanduser()]))
    made_from = identity([_inputs(settings, target), [stamp(path) for path in paths]])
    if not overwrite and is_done([target, target.with_suffix(".csv")], made_from):
        return None
    groups, grid = plan(paths, settings.build, workers, stations)
    jobs = [
        Job(f"{number}", group, [made_from, [day.given for day in group]], len(group))
        for number, group in enumerate(groups)
    ]
    parts = Parts(target, settings.run)
    if not parts.run(jobs, partial(make_part, grid=grid), workers, "building", "station-days"):
        return None
    counts, pieces = _collect(parts, jobs)
    events = {event for group in groups for day in group for *_, event in day.given}
    counts["events"] = len(events - {-1})
    reasons = [f"{counts[key]:,} {text}" for key, (text, _) in REASONS.items() if counts[key]]
    left_out = ", ".join(reasons) or "none"
    if not pieces:
        parts.remove()
        raise DataError(
            f"no window in {count(counts['station_days'], 'station-day')}: {counts['windows']:,} "
            f"found; left out: {left_out}; to change that: {_advice(counts, settings.build)}"
        )
    attributes = {
        **{f"build.{key}": as_text(value) for key, value in vars(settings.build).items()},
        **{f"left_out.{reason}": counts[reason] for reason in REASONS},
        "source": "spectrograms of waveforms, made by RISCluster",
        "version": __version__, "made_from": made_from,
    }  # fmt: skip
    if settings.build.components is not None:
        days = [day for group in groups for day in group]
        ids = {day.trace_id: [x.trace_id for x in (day, *day.others)] for day in days}
        attributes["component_ids"] = json.dumps(ids)
    write(target, pieces, grid, attributes)
    parts.remove()
    n, seconds = counts["samples"], time.monotonic() - begin
    windows, size = count(n, "window"), size_text(grid.record["spectrogram"].shape)
    log.info(
        f"{windows} of {size} from {count(counts['traces'], 'trace')} in {seconds:.1f} s, "
        f"{n / seconds:,.0f} samples/s; left out: {left_out}"
    )
    for key, text in REMARKS.items():
        if counts[key]:
            log.warning(f"{counts[key]:,} of {windows} {text}")
    log.info(f"{target.with_suffix('.csv')}: the catalogue of {target}")
    return counts


def _advice(counts: Counter, settings: BuildSettings) -> str:
    """What to change where no window was made."""
    found = [advice for key, (_, advice) in REASONS.items() if counts[key]]
    if counts["stretches"] and not counts["windows"]:
        detected = f"lower build.on = {settings.on:g} of detections"
        found.append("make build.step shorter" if settings.method == "slide" else detected)
    return ", ".join(dict.fromkeys(found)) or "give other files, see the lines above"


def examples(words: Sequence[str], settings: Settings, stations: Any) -> tuple[list[tuple], str]:
    """Some station-days, with the processed wave that has most windows, and the unit."""
    settings = replace(settings.build, save_waveforms=None)
    groups, grid = plan(find_files(words), settings, 1, stations)
    days = [day for group in groups for day in group]
    found = [(str(day), example(day, grid)) for day in days[:: -(-len(days) // N_EXAMPLES)]]
    return [(name, *wave) for name, wave in found if wave], grid.unit


def input_files(words: Sequence[str], *own: Path) -> list[Path]:
    """Files that words of the command line name, without what the command itself writes."""
    ends = "", ".parts", PARTIAL
    places = {path.with_name(path.name + end).resolve() for path in own for end in ends}
    return [x for x in find_files(words) if places.isdisjoint([x.resolve(), *x.resolve().parents])]


def _inputs(settings: Settings, target: Path) -> dict[str, Any]:
    """Settings and other files, as a JSON value, on which every part depends."""
    inputs, own = settings.inputs("build", "result"), settings.build
    table = target.with_suffix(".csv").resolve()
    places = {"build.inventory": own.inventory, "build.catalogue": own.catalogue}
    if own.velocity is not None:
        places["events.stations"] = settings.events.stations
    for name, place in places.items():
        files = [] if place is None else inventory_files(place, name)
        inputs[name] = [stamp(path) for path in files]
        if table in [path.resolve() for path in files]:
            raise SettingsError(
                f"{name} = {place}: is the table beside {target}; give another name with -o"
            )
    return inputs


def _collect(parts: Parts, jobs: Sequence[Job]) -> tuple[Counter, list[tuple]]:
    """Numbers of all parts; and trace id, day, part, first record and number of records of each."""
    counts, pieces, notes = Counter(), [], []
    for job in jobs:
        summary, first = parts.summary(job), 0
        counts.update(summary["counts"])
        notes += summary["notes"]
        for day, n in zip(job.task, summary["n_samples"], strict=True):
            pieces += [(day.trace_id, day.day, parts.path(job), first, n)] * (n > 0)
            first += n
    warn_of(sorted(map(tuple, notes)))
    counts["traces"] = len({piece[0] for piece in pieces})
    return counts, sorted(pieces, key=lambda piece: piece[:2])


def is_done(targets: Sequence[Path], made_from: str) -> bool:
    """Whether targets exist as they would be made; DataError where one exists otherwise."""
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


def plan(
    paths: Sequence[Path], settings: BuildSettings, workers: int, stations: Any = None
) -> tuple[list[list[StationDay]], Grid]:
    """Station-days by those that are read together: of one day and the same files."""
    stretches, notes = scan(paths, workers)
    warn_of(notes)
    patterns = settings.trace_ids.replace(" ", "").split(",")
    chosen = [x for x in stretches if any(fnmatchcase(x.trace_id, y) for y in patterns)]
    if not chosen:
        names = ", ".join(sorted({item.trace_id for item in stretches})[:8]) or "none"
        raise DataError(
            f"build.trace_ids = {settings.trace_ids}: no waveforms in {count(len(paths), 'file')}, "
            f"whose traces are {names}; give other files or patterns of trace ids"
        )
    days = every = _station_days(of_few_rates(chosen), margin(settings))
    if settings.components is not None:
        days = _with_components(days, settings.components)
        if not days:
            raise DataError(
                f"build.components = {', '.join(settings.components)}: none of "
                f"{count(len(every), 'station-day')}, such as {every[0]}, has them all; choose "
                "others, or give other files"
            )
    if settings.catalogue is not None:
        found = onsets_at(sorted({day.trace_id for day in days}), settings, stations)
        days = [x._replace(given=found[x[:2]]) for x in days if x[:2] in found]
    if not days:
        raise DataError(
            f"build.catalogue = {settings.catalogue}: none of {count(len(every), 'station-day')}, "
            f"such as {every[0]}, has an onset; give another, or other files"
        )
    every = [part for day in days for part in (day, *day.others)]
    n_traces = count(len({day.trace_id for day in every}), "trace")
    log.info(f"{n_traces}, {count(len(days), 'station-day')} in {count(len(paths), 'file')}")
    same_files, groups = defaultdict(list), []
    for day in days:
        same_files[day.paths, day.day].append(day)
    for _, found in sorted(same_files.items()):
        n_groups = max(1, -(-sum(day.n_bytes for day in found) // READ_BYTES))
        size = -(-len(found) // n_groups)
        groups += [found[first : first + size] for first in range(0, len(found), size)]
    with_events = any(event >= 0 for day in days for *_, event in day.given)
    return groups, make_grid(settings, _output_rate(every, settings), with_events)


def _station_days(stretches: Sequence[Stretch], around: int) -> list[StationDay]:
    """Station-days by trace id, then day; of files with data up to `around` ns from the day."""
    by_day, found = defaultdict(list), []
    for item in stretches:
        first, last = (item.start - around) // DAY, (item.end - 1 + around) // DAY
        for number in range(first, last + 1):
            by_day[item.trace_id, number * DAY, item.sampling_rate].append(item)
    for key, near in sorted(by_day.items()):
        if any(item.start < key[1] + DAY and item.end > key[1] for item in near):
            paths = tuple(sorted({item.path for item in near}))
            found.append(StationDay(*key, paths, 8 * sum(item.n_samples for item in near)))
    return found


def _with_components(days: Sequence[StationDay], names: Sequence[str]) -> list[StationDay]:
    """Station-days of the first component, with those of the others, where there are all."""
    groups, found, notes = defaultdict(dict), [], []
    by_station = any(len(name) > 1 for name in names)
    for day in days:  # 1 and 2 come before letters, which replace them
        _, station, _, channel = day.trace_id.split(".")
        last = channel[-1:] if channel[-1:] in names else HORIZONTAL.get(channel[-1:])
        letter_or_station, rest = (station, channel) if by_station else (last, day.trace_id[:-1])
        if letter_or_station in names:
            groups[rest, day.day, day.sampling_rate][letter_or_station] = day
    for _, group in sorted(groups.items()):
        if missing := [name for name in names if name not in group]:
            one = str(next(iter(group.values())))
            notes.append((one, f"left out: no component {', '.join(missing)}"))
        else:
            first, *others = map(group.get, names)
            found.append(first._replace(others=tuple(others)))
    warn_of(notes)
    return found


def _output_rate(days: Sequence[StationDay], settings: BuildSettings) -> float:
    """Sampling rate of all waveforms after processing, Hz, that the other settings fit."""
    rates = {day.sampling_rate: day for day in days}
    rate, lowest = settings.sampling_rate, min(rates)
    if rate == "auto" and len(rates) > 1:
        found = ", ".join(f"{own:g} Hz ({rates[own].paths[0]})" for own in sorted(rates)[:4])
        raise DataError(
            f"build.sampling_rate = auto: traces have different sampling rates: {found}; set it "
            "to a number of Hz, or use one kind of trace with build.trace_ids"
        )
    rate = lowest if rate == "auto" else rate
    nyquist = min(rate, lowest) / 2
    for key in ("bandpass", "frequencies"):
        band = getattr(settings, key)
        if band and (band.high > nyquist or (key == "bandpass" and band.high == nyquist)):
            raise SettingsError(
                f"build.{key} = {band} Hz reaches {nyquist:g} Hz, the Nyquist frequency; set it "
                f"lower, or leave traces out with build.trace_ids, such as "
                f"{rates[lowest].trace_id} at {lowest:g} Hz"
            )
    return rate


def write(target: Path, pieces: Sequence[tuple], grid: Grid, attributes: dict[str, Any]) -> None:
    """Write a data set and its catalogue, each complete or not at all."""
    n, first, size = sum(piece[-1] for piece in pieces), 0, grid.record.itemsize
    with contextlib.ExitStack() as stack:
        table_path = stack.enter_context(new_file(target.with_suffix(".csv")))
        require_room(target, n * size)
        partial = stack.enter_context(new_file(target))
        file = stack.enter_context(h5py.File(partial, "w", rdcc_nbytes=CACHE))
        file.attrs.update(attributes)
        for name, unit in {"frequency": "Hz", "time": "s"}.items():
            file[name] = getattr(grid, name)
            file[name].attrs["units"] = unit
        for trace_id, _, path, begin, n_records in pieces:
            for at in range(begin, begin + n_records, grid.block):
                n_rows = min(grid.block, begin + n_records - at)
                block = np.fromfile(path, grid.record, n_rows, offset=at * size)
                table, columns = _columns(block, trace_id, first, grid)
                options = {"mode": "a", "header": not first, "index": False}
                table.to_csv(table_path, lineterminator="\n", **options)
                if grid.settings.traces == "auto" and n * columns["trace"][0].nbytes > MAX_TRACES:
                    del columns["trace"]
                for name, values in columns.items():
                    if not first:
                        _create(file, name, values, n, grid)
                    file[name][first : first + n_rows] = values
                first += n_rows


def _columns(
    block: np.ndarray, trace_id: str, first: int, grid: Grid
) -> tuple[pandas.DataFrame, dict[str, np.ndarray]]:
    """Rows of the catalogue, and values of the data sets of the layout `samples`."""
    others = {name: block[name] for name in block.dtype.names if name not in TIMES}
    table = pandas.DataFrame({
        "index": range(first, first + len(block)), "trace_id": trace_id,
        **{name: nanoseconds_to_iso(block[name]) for name in TIMES},
        "peak_amplitude": [f"{value:.7g}" for value in block["peak_amplitude"]],
        "unit": grid.unit,
        **{name: [f"{value:.6g}" for value in block[name]] for name in MEASURES},
        **{name: others[name] for name in {"event_id"} & {*others}},
    })  # fmt: skip
    times = TIMES if grid.settings.method == "detect" else ("starttime", "peak_time")
    texts = {name: table[name].to_numpy("S27") for name in times}
    return table, {"trace_id": table["trace_id"].to_numpy(object), **texts, **others}


def _create(file: h5py.File, name: str, values: np.ndarray, n: int, grid: Grid) -> None:
    rate, unit = grid.sampling_rate, grid.unit
    attributes = {
        **dict.fromkeys(TIMES, {"units": "UTC, ISO 8601"}),
        "peak_amplitude": {"units": unit}, "event_id": {"missing": -1},
        **{name: {"units": own or unit, "what": what} for name, (own, what) in MEASURES.items()},
        "trace": {"units": unit, "sampling_rate": rate},
        "spectrogram": {
            "units": f"{f'({unit})' if '/' in unit else unit}^2/Hz", "sampling_rate": rate,
            "window_s": grid.segment / rate, "hop_s": grid.hop / rate, "nfft": grid.settings.nfft,
        },
    }  # fmt: skip
    if grid.settings.components:
        attributes["spectrogram"] |= {"components": list(grid.settings.components)}
    for band, ends in zip(BANDS, pairwise(band_edges(grid.frequency)), strict=True):
        attributes[band] |= {"band_hz": ends}
    kind, chunks = h5py.string_dtype() if values.dtype == object else values.dtype, None
    if values.ndim > 1:
        chunks = (min(n, MAX_CHUNK, grid.block), *values.shape[1:])
    created = file.create_dataset(name, (n, *values.shape[1:]), kind, chunks=chunks)
    created.attrs.update(attributes.get(name, {}))
