"""Build a data set of spectrograms and its catalogue from waveform files."""

import contextlib
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas

from .. import __version__
from ..data.layouts import size_text
from ..data.storage import find_files, stamp
from ..data.times import nanoseconds_to_iso
from ..errors import DataError, SettingsError
from ..parallel import Job, Parts, identity
from ..runtime import count, log
from ..settings import Settings, as_text
from .data_set import MAX_TRACES, Product, write
from .plan import StationDay, plan
from .process import Wave
from .read import import_obspy, one_of_each
from .responses import inventory_files
from .station_day import REASONS, example, make_part
from .windows import Windows, check_settings, is_detected, make_grid

N_EXAMPLES = 4  # traces of a picture


def build(
    words: Sequence[str],
    target: str | Path,
    settings: Settings,
    layout: str = "samples",
    workers: int = 1,
    overwrite: bool = False,
    catalogue_only: bool = False,
    stations: Any = None,
) -> Counter | None:
    """Build a data set (.h5) and its catalogue beside it (.csv) from waveforms.

    `words` are files, folders and patterns, `layout` is ``samples`` or ``ris``, `stations` have
    ``locate``, for origins. Returns numbers of samples, windows, traces, station_days, events and
    of what was left out by `REASONS`; None where the target exists, from the same files and
    settings.
    """
    import_obspy()
    begin, target = time.monotonic(), Path(target).expanduser()
    if target.suffix.lower() not in (".h5", ".hdf5", ".csv")[: 2 + catalogue_only]:
        raise SettingsError(
            f"command line: -o {target} is not allowed; allowed: a file ending in .h5 or .hdf5 "
            "(the catalogue is written beside it as .csv)"
        )
    check_settings(settings.build)
    if settings.build.components is not None and layout != "samples":
        raise SettingsError(
            f"command line: --layout {layout} holds one component; allowed with build.components = "
            f"{settings.build.components}: samples"
        )
    own = {target.resolve(), Parts(target).folder.resolve()}  # no inputs
    if settings.build.save_waveforms is not None:
        own.add(Path(settings.build.save_waveforms).expanduser().resolve())
    paths = [x for x in find_files(words) if own.isdisjoint([x.resolve(), *x.resolve().parents])]
    inputs = _inputs(settings, target)
    made_from = identity([inputs, layout, [stamp(path) for path in paths]])
    if not overwrite and _is_done(target, made_from, catalogue_only):
        return None
    groups, rate, unit = plan(paths, settings.build, workers, stations)
    events = {event for group in groups for day in group for *_, event in day.given} - {-1}
    grid = make_grid(settings.build, rate)
    product = Product(settings.build, grid, unit, not catalogue_only, bool(events))
    inputs |= {"unit": unit, "catalogue_only": catalogue_only}
    jobs = [_job(group, inputs) for group in groups]
    parts, work = Parts(target, settings.run), partial(make_part, product=product)
    if not parts.run(jobs, work, workers, "building", "station-days"):
        return None
    counts, pieces, notes = Counter(), [], []
    for job in jobs:
        summary, first = parts.summary(job), 0
        counts.update(summary["counts"])
        notes += summary["notes"]
        for day, n in zip(job.task, summary["n_samples"], strict=True):
            pieces.append((day.trace_id, day.day, parts.path(job), first, n))
            first += n
    for line in one_of_each(sorted(map(tuple, notes))):
        log.warning(line)
    pieces = sorted(piece for piece in pieces if piece[-1])
    counts.update(traces=len({piece[0] for piece in pieces}), events=len(events))
    if not pieces:
        parts.remove()
        lower = f"lower build.on = {settings.build.on:g}, or " * is_detected(settings.build)
        raise DataError(
            f"no window in {count(counts['station_days'], 'station-day')}: {counts['windows']:,} "
            f"found; left out: {_left_out(counts)}; {lower}make build.length, build.taper and "
            "build.lta shorter, to fit into the data"
        )
    attributes = {
        **{f"build.{key}": as_text(value) for key, value in vars(settings.build).items()},
        **{f"left_out.{reason}": counts[reason] for reason in REASONS},
        "source": "spectrograms of waveforms, made by RISCluster",
        "version": __version__, "made_from": made_from,
    }  # fmt: skip
    write(target, pieces, product, attributes, None if catalogue_only else layout)
    parts.remove()
    _report(counts, product, time.monotonic() - begin)
    of = "only the catalogue" if catalogue_only else f"the catalogue of {target}"
    log.info(f"{target.with_suffix('.csv')}: {of}")
    return counts


def _inputs(settings: Settings, target: Path) -> dict[str, Any]:
    """Settings and other files, as a JSON value, on which every part depends."""
    inputs = settings.inputs("build", "result")
    if settings.build.inventory is not None:
        inputs["build.inventory"] = [stamp(x) for x in inventory_files(settings.build.inventory)]
    if settings.build.catalogue is not None:
        catalogue = Path(settings.build.catalogue).expanduser()
        if not catalogue.is_file():
            raise SettingsError(f"build.catalogue = {catalogue}: no such file; give CSV or QuakeML")
        if catalogue.resolve() == target.with_suffix(".csv").resolve():
            raise SettingsError(
                f"build.catalogue = {catalogue} would be replaced by the catalogue of {target}; "
                "give another name with -o"
            )
        inputs["build.catalogue"] = stamp(catalogue)
    return inputs


def _job(group: list[StationDay], inputs: dict[str, Any]) -> Job:
    """The job of the station-days that are read together."""
    day, ids = nanoseconds_to_iso([group[0].day])[0][:10], identity([x.trace_id for x in group])
    used = dict.fromkeys(path for day in group for part in day.all for path in part.paths)
    files = [stamp(path) for path in used]
    own = [inputs, day, ids, files, [x.given for x in group]]
    return Job(f"{day}.{ids}", group, own, len(group))


def examples(
    words: Sequence[str], settings: Settings, stations: Any = None
) -> tuple[list[tuple[str, Wave, Windows]], str]:
    """Station-day, processed wave and windows of some traces, in the middle of its days; unit."""
    check_settings(settings.build)
    groups, rate, unit = plan(find_files(words), settings.build, 1, stations)
    product = Product(settings.build, make_grid(settings.build, rate), unit, False)
    days = pandas.DataFrame([(day.trace_id, day) for group in groups for day in group])
    middle = [own.iloc[len(own) // 2] for _, own in days.groupby(0)[1]]
    rows = np.unique(np.linspace(0, len(middle) - 1, N_EXAMPLES).round().astype(int))
    found = [(str(middle[row]), example(middle[row], product)) for row in rows]
    return [(name, *wave) for name, wave in found if wave], unit


def _is_done(target: Path, made_from: str, catalogue_only: bool) -> bool:
    """Whether the target exists as it would be made; DataError where it exists otherwise."""
    table, found = target.with_suffix(".csv"), None
    with contextlib.suppress(OSError), h5py.File(target, "r") as file:
        found = file.attrs.get("made_from")
    existing = [path for path in (target, table)[catalogue_only:] if path.exists()]
    if existing and (found != made_from or catalogue_only):
        raise DataError(
            f"{existing[0]}: exists, made from other files or settings; give another name with -o, "
            "or --overwrite to replace it"
        )
    if len(existing) < 2:
        return False
    log.info(f"{target}: done already, from the same files with the same settings")
    Parts(target).remove()
    return True


def _left_out(counts: Counter) -> str:
    words = (f"{counts[key]:,} {text}" for key, text in REASONS.items() if counts[key])
    return ", ".join(words) or "none"


def _report(counts: Counter, product: Product, seconds: float) -> None:
    """Log numbers and rate, and a warning where windows overlap or begin late."""
    grid, settings, n = product.grid, product.settings, counts["samples"]
    size, stored = product.trace_bytes(n)
    shape = *product.components, grid.n_rows, grid.n_columns
    if counts["zeros"]:
        log.warning(
            f"{counts['zeros']:,} of {count(n, 'window')} have zeros in place of a component"
        )
    if product.with_spectrograms and settings.traces is not False:
        log.info(
            f"waveforms of the windows: {size / 1e6:,.1f} MB, "
            + ("stored with them; set build.traces = no to leave them out" if stored else
               f"not stored, as build.traces = auto stores at most {MAX_TRACES / 1e9:g} GB; set it "
               "to yes to store them")
        )  # fmt: skip
    log.info(
        f"{count(n, 'window')} of {size_text(shape)} from "
        f"{count(counts['traces'], 'trace')} in {seconds:.1f} s, {n / seconds:,.0f} samples/s; "
        f"left out: {_left_out(counts)}"
    )
    length = f"build.length ({settings.length:g} s)"
    apart = f"build.dead_time ({settings.dead_time:g} s)"
    if settings.catalogue is not None:
        apart = "catalogue --duplicates"
    if counts["overlapping"]:
        log.warning(
            f"{counts['overlapping']:,} of {count(n, 'window')} overlap the one before on the same "
            f"trace: set {apart} to {length} or more"
        )
    if counts["late"]:
        log.warning(
            f"{counts['late']:,} of {count(n, 'window')} begin after their onset: set {length} "
            f"longer{' or build.before to more' if settings.catalogue is not None else ''}"
        )
