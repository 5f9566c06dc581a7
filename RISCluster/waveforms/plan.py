"""Station-days (one trace on one UTC day each) with data, from the headers of waveform files."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from os.path import commonprefix
from pathlib import Path
from typing import Any, NamedTuple

import pandas

from ..data.times import NOT_A_TIME, leave_out_far_pieces, nanoseconds_to_iso, same_rate
from ..errors import DataError, SettingsError
from ..runtime import count, log
from ..settings import BuildSettings
from .onsets import onsets_at
from .process import PASS
from .read import DAY, Stretch, matching, of_few_rates, one_of_each, scan
from .responses import UNITS, Inventory, read_inventory
from .windows import margin

FAR_CLOCK = 3650  # days without data, beyond which a clock is wrong
HORIZONTAL = {"1": "N", "2": "E"}  # components that are not oriented to the north and east
READ_BYTES = 2**27  # of traces that are read at once from files with many


class StationDay(NamedTuple):
    """One trace on one UTC day."""

    trace_id: str
    day: int  # midnight, ns since 1970-01-01 UTC
    sampling_rate: float  # as recorded, Hz
    paths: tuple[Path, ...]  # files with data of the day and of the margins around it
    within: str | int  # see `Stretch`
    n_bytes: int  # of samples in its files, in double precision
    given: tuple[tuple[int, ...], ...] = ()  # onsets of a catalogue, see `onsets.FIELDS`
    others: tuple["StationDay | None", ...] = ()  # of the other components; None for a missing one

    def __str__(self) -> str:
        return f"{self.trace_id} {nanoseconds_to_iso([self.day])[0][:10]}"

    @property
    def all(self) -> list["StationDay"]:
        """Itself, and those of other components that there are."""
        return [self, *filter(None, self.others)]


def plan(
    paths: Sequence[Path], settings: BuildSettings, workers: int, stations: Any = None
) -> tuple[list[list[StationDay]], float, str]:
    """Station-days by `read_together`; the sampling rate and unit of all after processing.

    `stations`, with ``locate``, are for the onsets of a catalogue; days without one are left out.
    """
    inventory = settings.inventory and read_inventory(settings.inventory)
    stretches, lines = scan(paths, workers)
    for line in lines:
        log.warning(line)
    if not stretches:
        names = ", ".join(map(str, paths[:3])) or "command line"
        raise DataError(f"{names}: no waveforms in {count(len(paths), 'file')}; give others")
    stretches = matching(stretches, settings.trace_ids)
    try:
        spans = [(item.start, item.end, str(item.path)) for item in stretches]
        good, lines = leave_out_far_pieces(spans, FAR_CLOCK)
        stretches = [stretches[at] for at in good]
    except DataError as error:  # which clocks are wrong is not known
        lines = [str(error)]
    days = _station_days(stretches, settings, lines)
    days = days if settings.components is None else _with_components(days, settings, lines)
    days = days if settings.catalogue is None else _with_onsets(days, settings, stations)
    for line in [*lines, *(inventory.lines if inventory else ())]:
        log.warning(line)
    every = [part for day in days for part in day.all]
    unit = _unit(every, inventory, settings) if inventory else "counts"
    log.info(
        f"{count(len({day.trace_id for day in every}), 'trace')}, "
        f"{count(len(days), 'station-day')} in {count(len(paths), 'file')}"
    )
    rate = _output_rate(every, settings)
    groups = defaultdict(list)
    for day in days:
        groups[day.paths, day.day, isinstance(day.within, int)].append(day)
    return [part for key in sorted(groups) for part in read_together(groups[key])], rate, unit


def _station_days(
    stretches: Sequence[Stretch], settings: BuildSettings, lines: list[str]
) -> list[StationDay]:
    """Station-days by trace id, then day; of several sampling rates that with most data."""
    by_day, around = defaultdict(list), margin(settings)
    for item in of_few_rates(stretches):
        first, last = (item.start - around) // DAY, (item.end - 1 + around) // DAY
        for number in range(first, last + 1):
            by_day[item.trace_id, number * DAY].append(item)
    found, dropped = [], Counter()
    for (trace_id, day), near in sorted(by_day.items()):
        time = Counter()
        for item in near:
            if item.start < day + DAY and item.end > day:
                time[item.sampling_rate] += min(item.end, day + DAY) - max(item.start, day)
        if not time:
            continue
        rate = max(time, key=lambda rate: (time[rate], rate))
        dropped.update((trace_id, other, rate) for other in time if other != rate)
        near = [item for item in near if item.sampling_rate == rate]
        paths, n = tuple(sorted({item.path for item in near})), sum(x.n_samples for x in near)
        found.append(StationDay(trace_id, day, rate, paths, near[0].within, 8 * n))
    text = "data at {:g} Hz left out on {} of its days; most data are at {:g} Hz"
    notes = [(name, text.format(other, n, r)) for (name, other, r), n in sorted(dropped.items())]
    lines += one_of_each(notes)
    return found


def _with_components(
    days: Sequence[StationDay], settings: BuildSettings, lines: list[str]
) -> list[StationDay]:
    """Station-days of the first component, with those of the others; the rule for missing ones."""
    names, groups, found, notes = settings.components, defaultdict(dict), [], []
    by_station = any(len(name) > 1 for name in names)
    for day in days:
        _, station, _, channel = day.trace_id.split(".")
        own = station if by_station else channel[-1:]
        is_named = own in names  # before those that only count as such
        own = own if is_named or by_station else HORIZONTAL.get(own, own)
        group = groups[channel if by_station else day.trace_id[:-1], day.day]
        if own in names and (is_named or own not in group):
            group[own] = day
    for _, group in sorted(groups.items()):
        missing = [name for name in names if name not in group]
        if group and missing and (names[0] in missing or settings.missing_components != "zeros"):
            one = str(next(iter(group.values())))
            notes.append((one, f"left out: no component {', '.join(missing)}"))
        elif group:
            first, *others = map(group.get, names)
            found.append(first._replace(others=tuple(others)))
    lines += one_of_each(notes)
    if not found:
        reason = ": ".join(notes[0]) if notes else f"{days[0]} has none of them"
        raise DataError(
            f"build.components = {names}: no trace has all of them on one day: {reason}; allowed: "
            "last letters of channels, as ZNE, or station codes with commas"
        )
    return found


def _with_onsets(
    days: Sequence[StationDay], settings: BuildSettings, stations: Any
) -> list[StationDay]:
    """Station-days that have onsets in the catalogue, by the time of the peak where it is known."""
    onsets, found = onsets_at(sorted({day.trace_id for day in days}), settings, stations), []
    for day in days:
        if day.trace_id in onsets:
            rows = onsets[day.trace_id]
            time = rows["peak"].where(rows["peak"] != NOT_A_TIME, rows["onset"])
            own = rows[time.between(day.day, day.day + DAY, "left")]
            found += [day._replace(given=(*own.itertuples(index=False, name=None),))] * bool(
                len(own)
            )
    if not found:
        times = pandas.concat([rows["onset"] for rows in onsets.values()])
        first, last = nanoseconds_to_iso([times.min(), times.max()])
        raise DataError(
            f"build.catalogue = {settings.catalogue}: its onsets, {first} to {last}, are on no day "
            f"with data, as {days[0]}; give another catalogue, or other files"
        )
    return found


def read_together(days: list[StationDay]) -> list[list[StationDay]]:
    """Groups of station-days of one day and the same files, each of which is read at once.

    A group has the beginning of its ids in common, and at most `READ_BYTES` where it can.
    """
    is_numbered = isinstance(days[0].within, int)  # such a file is always read whole
    if is_numbered or len(days) == 1 or sum(day.n_bytes for day in days) <= READ_BYTES:
        return [days]
    start, parts = len(commonprefix([day.within for day in days])), defaultdict(list)
    for day in days:
        parts[day.within[: start + 1]].append(day)
    return [group for part in parts.values() for group in read_together(part)]


def _unit(days: Sequence[StationDay], inventory: Inventory, settings: BuildSettings) -> str:
    """Unit of ``build.output`` where any instrument records ground motion, else of most days."""
    place, wanted, names = settings.inventory, UNITS[settings.output], Counter()
    names.update(day.trace_id for day in days)
    units = Counter()
    for name, n in names.items():
        own = {epoch.unit for epoch in inventory.epochs(name, settings) if epoch.response}
        units.update(dict.fromkeys(own, n))
    if not units:
        example = min(names)
        epoch = next(iter(inventory.epochs(example, settings)), None)
        raise DataError(
            f"{place}: has a response for none of the traces ({example}: "
            f"{inventory.why_none(epoch, wanted)}); set build.inventory to one that has, or to none"
        )
    unit = wanted if wanted in units else units.most_common(1)[0][0]
    if unit != wanted:
        log.warning(
            f"{place}: has responses to {unit}, which is not {settings.output}: build.output does "
            f"not apply, and the data set is in {unit}"
        )
    return unit


def _output_rate(days: Sequence[StationDay], settings: BuildSettings) -> float:
    """Sampling rate of all waveforms after processing, Hz, that the other settings fit."""
    rates = {day.sampling_rate: day for day in reversed(days)}
    rate, lowest = settings.sampling_rate, min(rates)
    if rate == "auto" and len(rates) > 1:
        examples = ", ".join(f"{own:g} Hz ({rates[own].paths[0]})" for own in sorted(rates)[:4])
        raise DataError(
            f"build.sampling_rate = auto: traces have different sampling rates: {examples}; set it "
            "to a number of Hz, or use one kind of trace with build.trace_ids"
        )
    rate = lowest if rate == "auto" else rate
    nyquist, example = min(rate, lowest) / 2, rates[lowest]
    for key in ("bandpass", "frequencies"):
        band = getattr(settings, key)
        if band and (band.high > nyquist or (key == "bandpass" and band.high == nyquist)):
            raise SettingsError(
                f"build.{key} = {band} Hz reaches {nyquist:g} Hz, the Nyquist frequency, with "
                f"{example.trace_id} ({example.paths[0].name}) at {lowest:g} Hz and "
                f"build.sampling_rate = {settings.sampling_rate}; set it lower, or leave traces "
                "out with build.trace_ids"
            )
    if settings.method == "slide" and settings.step * rate < 1:
        raise SettingsError(
            f"build.step = {settings.step:g} s is less than a sample at {rate:g} Hz; allowed: "
            f"{1 / rate:g} or more"
        )
    band, limit = settings.frequencies or settings.bandpass, PASS * nyquist
    if band and band.high > limit and not all(same_rate(own, rate) for own in rates):
        log.warning(f"resampling to {rate:g} Hz weakens {band} Hz above {limit:g} Hz")
    return rate
