"""Station-days (one trace on one UTC day each) with data, from the headers of waveform files."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..data.times import NOT_A_TIME, nanoseconds_to_iso
from ..errors import DataError, SettingsError
from ..runtime import count, log
from ..settings import BuildSettings
from .onsets import onsets_at
from .read import DAY, Stretch, matching, of_few_rates, scan, warn_of
from .windows import margin

HORIZONTAL = {"1": "N", "2": "E"}  # components that are not oriented to the north and east
READ_BYTES = 2**27  # of traces that are read at once from files with many


class StationDay(NamedTuple):
    """One trace, of one sampling rate, on one UTC day."""

    trace_id: str
    day: int  # midnight, ns since 1970-01-01 UTC
    sampling_rate: float  # as recorded, Hz
    paths: tuple[Path, ...]  # files with data of the day and of the margins around it
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
) -> tuple[list[list[StationDay]], float]:
    """Station-days by `read_together`, and the sampling rate of all after processing."""
    stretches, notes = scan(paths, workers)
    warn_of(notes)
    if not stretches:
        names = ", ".join(map(str, paths[:3])) or "command line"
        raise DataError(f"{names}: no waveforms in {count(len(paths), 'file')}; give others")
    days = _station_days(of_few_rates(matching(stretches, settings.trace_ids)), settings)
    days = days if settings.components is None else _with_components(days, settings)
    days = days if settings.catalogue is None else _with_onsets(days, settings, stations)
    every = [part for day in days for part in day.all]
    log.info(
        f"{count(len({day.trace_id for day in every}), 'trace')}, "
        f"{count(len(days), 'station-day')} in {count(len(paths), 'file')}"
    )
    rate, groups = _output_rate(every, settings), defaultdict(list)
    for day in days:
        groups[day.paths, day.day].append(day)
    return [part for key in sorted(groups) for part in read_together(groups[key])], rate


def _station_days(stretches: Sequence[Stretch], settings: BuildSettings) -> list[StationDay]:
    """Station-days by trace id, then day."""
    by_day, around, found = defaultdict(list), margin(settings), []
    for item in stretches:
        first, last = (item.start - around) // DAY, (item.end - 1 + around) // DAY
        for number in range(first, last + 1):
            by_day[item.trace_id, number * DAY, item.sampling_rate].append(item)
    for (trace_id, day, rate), near in sorted(by_day.items()):
        if any(item.start < day + DAY and item.end > day for item in near):
            paths = tuple(sorted({item.path for item in near}))
            n_bytes = 8 * sum(item.n_samples for item in near)
            found.append(StationDay(trace_id, day, rate, paths, n_bytes))
    return found


def _with_components(days: Sequence[StationDay], settings: BuildSettings) -> list[StationDay]:
    """Station-days of the first component, with those of the others; the rule for missing ones."""
    names, groups, found, notes = settings.components, defaultdict(dict), [], []
    by_station = any(len(name) > 1 for name in names)
    for day in days:  # 1 and 2 come before letters, which replace them
        _, station, _, channel = day.trace_id.split(".")
        last = channel[-1:] if channel[-1:] in names else HORIZONTAL.get(channel[-1:])
        own, rest = (station, channel) if by_station else (last, day.trace_id[:-1])
        if own in names:
            groups[rest, day.day, day.sampling_rate][own] = day
    for _, group in sorted(groups.items()):
        missing = [name for name in names if name not in group]
        if missing and (names[0] in missing or settings.missing_components != "zeros"):
            one = str(next(iter(group.values())))
            notes.append((one, f"left out: no component {', '.join(missing)}"))
        else:
            first, *others = map(group.get, names)
            found.append(first._replace(others=tuple(others)))
    warn_of(notes)
    if not found:
        raise DataError(
            f"build.components = {', '.join(names)}: no trace has all of them on one day, "
            f"as {days[0]}; allowed: last letters of channels, as ZNE, or station codes with commas"
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
            if len(own):
                found.append(day._replace(given=tuple(own.itertuples(index=False, name=None))))
    if not found:
        (first,) = nanoseconds_to_iso([min(rows["onset"].min() for rows in onsets.values())])
        raise DataError(
            f"build.catalogue = {settings.catalogue}: its onsets, from {first}, are on no day with "
            f"data, as {days[0]}; give another catalogue, or other files"
        )
    return found


def read_together(days: list[StationDay]) -> list[list[StationDay]]:
    """Groups of station-days of one day and the same files, of about `READ_BYTES` at most."""
    n_groups = -(-sum(day.n_bytes for day in days) // READ_BYTES)
    size = -(-len(days) // max(1, n_groups))
    return [days[first : first + size] for first in range(0, len(days), size)]


def _output_rate(days: Sequence[StationDay], settings: BuildSettings) -> float:
    """Sampling rate of all waveforms after processing, Hz, that the other settings fit."""
    rates = {day.sampling_rate: day for day in days}
    rate, lowest = settings.sampling_rate, min(rates)
    if rate == "auto" and len(rates) > 1:
        examples = ", ".join(f"{own:g} Hz ({rates[own].paths[0]})" for own in sorted(rates)[:4])
        raise DataError(
            f"build.sampling_rate = auto: traces have different sampling rates: {examples}; set it "
            "to a number of Hz, or use one kind of trace with build.trace_ids"
        )
    rate = lowest if rate == "auto" else rate
    nyquist = min(rate, lowest) / 2
    for key in ("bandpass", "frequencies"):
        band = getattr(settings, key)
        if band and (band.high > nyquist or (key == "bandpass" and band.high == nyquist)):
            raise SettingsError(
                f"build.{key} = {band} Hz reaches {nyquist:g} Hz, the Nyquist frequency; set it "
                f"lower, or leave traces out with build.trace_ids, as {rates[lowest].trace_id} at "
                f"{lowest:g} Hz"
            )
    return rate
