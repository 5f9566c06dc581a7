"""From headers and settings to the jobs of a build: one a station-day."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..data.times import same_rate
from ..errors import DataError, SettingsError
from ..runtime import count
from ..settings import BuildSettings
from .detect import DAY, margin
from .process import PASS
from .responses import UNITS, Inventory, Remover
from .sources import SECOND, Stretch

_DIGITS = re.compile(r"(\d+)")
TOGETHER = 2**27  # bytes of traces that are read at once from files with many


@dataclass(frozen=True)
class StationDay:
    """One trace on one UTC day.

    Attributes
    ----------
    trace_id : str
    day : int
        Midnight, ns since 1970-01-01 UTC.
    sampling_rate : float
        As recorded, Hz.
    paths : tuple of Path
        Files with data of that day, or close enough to it to matter.
    within : str or int
        See `Stretch`.
    n_bytes : int
        Of its samples, as double precision.
    together : str or None
        What ids begin with that are read together with this one; None where it is alone.
    """

    trace_id: str
    day: int
    sampling_rate: float
    paths: tuple[Path, ...]
    within: str | int
    n_bytes: int = 0
    together: str | None = None

    @property
    def date(self) -> str:
        """The day as ``2016-01-31``."""
        return date_of(self.day)


def date_of(day: int) -> str:
    """A time in ns as ``2016-01-31``."""
    return str(np.datetime64(day, "ns").astype("datetime64[D]"))


def station_days(
    stretches: Sequence[Stretch], settings: BuildSettings
) -> tuple[list[StationDay], list[str]]:
    """Station-days that have data.

    Where a trace has more than one sampling rate on a day, that with most data is kept.

    Returns
    -------
    list of StationDay
        By trace id, then day.
    list of str
        A line for each trace and rate of which something is left out.
    """
    by_trace: dict[str, list[Stretch]] = defaultdict(list)
    for stretch in of_few_rates(stretches):
        by_trace[stretch.trace_id].append(stretch)
    found, dropped = [], Counter()
    around = margin(settings)
    for trace_id in sorted(by_trace):
        for day, here in sorted(_by_day(by_trace[trace_id], around).items()):
            today = [item for item in here if item.start < day + DAY and item.end > day]
            if not today:
                continue
            rate = _main_rate(today, day)
            others = {item.sampling_rate for item in today} - {rate}
            dropped.update((trace_id, other, rate) for other in others)
            here = [item for item in here if item.sampling_rate == rate]
            paths = tuple(sorted({item.path for item in here}))
            time = sum(
                min(item.end, day + DAY + around) - max(item.start, day - around) for item in here
            )
            n_bytes = round(time / SECOND * rate) * 8
            found.append(StationDay(trace_id, day, rate, paths, today[0].within, n_bytes))
    lines = [
        f"{trace_id}: data at {other:g} Hz left out on {n} of its days, where most is at "
        f"{rate:g} Hz"
        for (trace_id, other, rate), n in sorted(dropped.items())
    ]
    return found, lines


def of_few_rates(stretches: Sequence[Stretch]) -> list[Stretch]:
    """The same with one rate where rates differ by rounding: that with the shortest decimal."""
    rates = sorted({item.sampling_rate for item in stretches})
    alike: list[list[float]] = []
    for rate in rates:
        if not alike or not same_rate(alike[-1][0], rate):
            alike.append([])
        alike[-1].append(rate)
    one = {rate: min(group, key=lambda r: (len(repr(r)), r)) for group in alike for rate in group}
    return [replace(item, sampling_rate=one[item.sampling_rate]) for item in stretches]


def natural_order(text: str) -> list[tuple[int, str]]:
    """Key that sorts S2 before S10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in _DIGITS.split(text)]


def together(days: Sequence[StationDay]) -> list[StationDay]:
    """Station-days in an order in which files with many traces are read once for many of them.

    Those of one day and the same files are read together, so many as fit in memory.
    """
    groups: dict[tuple, list[StationDay]] = defaultdict(list)
    for day in days:
        groups[day.paths, day.day, isinstance(day.within, int)].append(day)
    found = []
    for key in sorted(groups):
        group = groups[key]
        if len(group) > 1:
            group = [replace(day, together=start) for start, day in _by_start(group, key[2])]
        found += group
    return found


def _by_start(group: Sequence[StationDay], numbered: bool) -> list[tuple[str | None, StationDay]]:
    """Station-days with what the ids begin with of those that fit in memory together."""
    if numbered:  # by their place in a file, of which all is read
        return [("", day) for day in group]
    if len(group) == 1:
        return [(None, group[0])]
    start = os.path.commonprefix([day.within for day in group])
    if sum(day.n_bytes for day in group) <= TOGETHER:
        return [(start, day) for day in group]
    parts: dict[str, list[StationDay]] = defaultdict(list)
    for day in group:
        parts[day.within[: len(start) + 1]].append(day)
    return [pair for part in parts.values() for pair in _by_start(part, numbered)]


def _by_day(stretches: Sequence[Stretch], around: int) -> dict[int, list[Stretch]]:
    """Stretches that reach into each day or within `around` ns of it, by midnight."""
    days: dict[int, list[Stretch]] = defaultdict(list)
    for stretch in stretches:
        first, last = (stretch.start - around) // DAY, (stretch.end - 1 + around) // DAY
        for number in range(first, last + 1):
            days[number * DAY].append(stretch)
    return days


def _main_rate(stretches: Sequence[Stretch], day: int) -> float:
    time: Counter = Counter()
    for item in stretches:
        time[item.sampling_rate] += min(item.end, day + DAY) - max(item.start, day)
    return max(time, key=lambda rate: (time[rate], rate))


# ---- sampling rates -----------------------------------------------------------------------------


def output_rate(days: Sequence[StationDay], settings: BuildSettings) -> float:
    """Sampling rate of all waveforms after processing, Hz.

    Raises
    ------
    DataError
        It is to be left as recorded, and traces differ.
    SettingsError
        Frequencies reach above the Nyquist frequency of a trace or of the output, or a step is
        less than a sample.
    """
    rates: dict[float, StationDay] = {}
    for day in days:
        rates.setdefault(day.sampling_rate, day)
    rate = settings.sampling_rate
    if rate == "auto":
        if len(rates) > 1:
            raise DataError(_many_rates(rates))
        rate = next(iter(rates))
    lowest = rates[min(rates)]
    if lowest.sampling_rate < rate:
        of = f"{lowest.trace_id} ({lowest.paths[0].name})"
        _check_band(settings, lowest.sampling_rate, of)
    _check_band(settings, rate, "the waveforms")
    if settings.method == "slide" and settings.step * rate < 1:
        raise SettingsError(
            f"build.step = {settings.step:g} s is less than a sample at {rate:g} Hz; allowed: "
            f"{1 / rate:g} or more"
        )
    return rate


def weakened(days: Sequence[StationDay], rate: float, settings: BuildSettings) -> list[str]:
    """A line where frequencies are asked for that resampling weakens."""
    resampled = [day.sampling_rate for day in days if not same_rate(day.sampling_rate, rate)]
    band = settings.frequencies or settings.bandpass
    if not resampled or band is None:
        return []
    limit = PASS * min(rate, *resampled) / 2
    if band.high <= limit:
        return []
    return [
        f"resampling from {min(resampled):g} Hz to {rate:g} Hz weakens frequencies above {limit:g} "
        f"Hz, and {band} Hz are asked for"
    ]


def _many_rates(rates: dict[float, StationDay]) -> str:
    examples = [
        f"{rate:g} Hz ({rates[rate].trace_id} in {rates[rate].paths[0]})"
        for rate in sorted(rates)[:4]
    ]
    return (
        f"build.sampling_rate = auto: traces have different sampling rates: {', '.join(examples)}; "
        "set it to a number of Hz, or take one kind of trace with build.trace_ids"
    )


def _check_band(settings: BuildSettings, rate: float, of: str) -> None:
    for key, high in (("bandpass", settings.bandpass), ("frequencies", settings.frequencies)):
        above = high is not None and (
            high[1] >= rate / 2 if key == "bandpass" else high[1] > rate / 2
        )
        if above:
            raise SettingsError(
                f"build.{key} = {high} Hz reaches to or above {rate / 2:g} Hz, the Nyquist "
                f"frequency of {of} at {rate:g} Hz; set it lower, or leave traces out with "
                "build.trace_ids"
            )


# ---- responses ----------------------------------------------------------------------------------


def with_response(
    days: Sequence[StationDay], inventory: Inventory, settings: BuildSettings
) -> tuple[list[StationDay], str, list[str]]:
    """Station-days during which a response is valid, all to one unit.

    That is ``build.output`` where any instrument records ground motion, and else the unit of most
    station-days.

    Parameters
    ----------
    days : sequence of StationDay
    inventory : Inventory
    settings : BuildSettings

    Returns
    -------
    list of StationDay
    str
        The unit.
    list of str
        A line for each trace of which days are left out, and for what was assumed.
    """
    found: list[tuple[StationDay, list[Remover]]] = []
    missing, lines = defaultdict(list), list(inventory.lines)
    for day in days:
        epochs, said = inventory.epochs(day.trace_id, settings)
        lines += [line for line in said if line not in lines]
        here = [epoch for epoch in epochs if epoch.start < day.day + DAY and epoch.end > day.day]
        removers = [epoch.remover for epoch in here if epoch.remover]
        if removers:
            found.append((day, removers))
        else:
            why = here[0].why_not if here else inventory.why_none(day.trace_id)
            missing[why].append(day.date)
    lines += [f"{why}; left out on {_dates(dates)}" for why, dates in missing.items()]
    if not found:
        return [], "", lines
    units = Counter(unit for _, removers in found for unit in {one.unit for one in removers})
    wanted = UNITS[settings.output]
    unit = wanted if wanted in units else units.most_common(1)[0][0]
    if unit != wanted:
        lines.append(
            f"{settings.inventory}: has responses to {unit}, which is not {settings.output}: "
            f"build.output does not apply, and the data set is in {unit}"
        )
    kept = [day for day, removers in found if any(one.unit == unit for one in removers)]
    lines += _other_units(found, unit) + _flat(found, unit, settings)
    return kept, unit, lines


def _dates(dates: Sequence[str]) -> str:
    return f"{count(len(dates), 'day')}, {dates[0]} to {dates[-1]}" if len(dates) > 1 else dates[0]


def _other_units(found: Sequence[tuple[StationDay, list[Remover]]], unit: str) -> list[str]:
    """A line for each other unit."""
    others: dict[str, dict[str, None]] = defaultdict(dict)
    for day, removers in found:
        for one in removers:
            if one.unit != unit:
                others[one.unit][day.trace_id] = None
    return [
        f"{_some(traces)}: left out where the response is to {other}, for this data set is in "
        f"{unit}; build.trace_ids makes one of these traces alone"
        for other, traces in others.items()
    ]


def _flat(
    found: Sequence[tuple[StationDay, list[Remover]]], unit: str, settings: BuildSettings
) -> list[str]:
    """A line where sensitivities alone are known."""
    flat, at = {}, set()
    for day, removers in found:
        for one in removers:
            if one.is_flat and one.unit == unit:
                flat[day.trace_id] = None
                at.add(one.response.instrument_sensitivity.frequency)
    if not flat:
        return []
    given = ", ".join(f"{frequency:g}" for frequency in sorted(at - {None})[:4])
    return [
        f"{settings.inventory}: has sensitivities alone, no stages, for {_some(flat)}: counts are "
        f"divided by them, which holds where the response is flat{given and f' as at {given} Hz'}"
    ]


def _some(trace_ids: Iterable[str]) -> str:
    names = sorted(trace_ids)
    return f"{', '.join(names[:8])}{' ...' if len(names) > 8 else ''}"
