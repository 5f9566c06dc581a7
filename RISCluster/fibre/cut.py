"""A part of records or of a cube, by UTC and by metres along the fibre; times in file names."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from ..data.times import nanoseconds_to_iso, parse_time
from ..errors import DataError
from ..settings import RecordsSettings
from .clock import SECOND

# Digits of the directives of strptime
DIGITS = dict.fromkeys("ymdHMS", "2") | {"Y": "4", "j": "3", "f": "1,6"}


def time_in_name(path: Path, pattern: str) -> int:
    """Time in the name of a file by a pattern of strptime, ns since 1970 UTC, or a DataError."""
    form = re.sub("%(.)", lambda found: f"\\d{{{DIGITS.get(found[1], '1,')}}}", re.escape(pattern))
    try:
        found = re.search(form, path.name)
        time = datetime.strptime(found[0] if found else "", pattern).replace(tzinfo=UTC)
    except ValueError:
        raise DataError(
            f"{path}: its name has no time as records.name_times = {pattern}; set another "
            "pattern, or none"
        ) from None
    return parse_time(time.isoformat())


def take_span(
    place: Any, settings: RecordsSettings, n: int, ends: Sequence[int] | None, find: Callable
) -> tuple[int, int]:
    """First and last + 1 of n steps that a time span takes.

    `ends` are times of the first and last step in ns, None where unknown, and `find` gives the
    first step at or after a time.
    """
    if settings.after is None and settings.before is None:
        return 0, n
    if ends is None:
        raise DataError(
            f"{place}: records.after and records.before need start times, which are unknown; set "
            "records.starttime or records.name_times"
        )
    low, high = (
        end if time is None else min(n, max(0, int(find(parse_time(time)))))
        for time, end in ((settings.after, 0), (settings.before, n))
    )
    if low >= high:
        raise DataError(
            f"{place}: no data from records.after = {settings.after or 'none'} to "
            f"records.before = {settings.before or 'none'}; allowed: times from "
            f"{' to '.join(nanoseconds_to_iso(ends))}"
        )
    return low, high


def take_channels(
    place: Any, settings: RecordsSettings, distance: np.ndarray | None, n: int
) -> np.ndarray:
    """Numbers of the channels, of n, that lie in the section of the fibre."""
    if settings.section is None:
        return np.arange(n)
    if distance is None:
        raise DataError(
            f"{place}: records.section needs the positions of channels, which are unknown; set "
            "records.channel_spacing"
        )
    low, high = settings.section
    found = np.flatnonzero((distance >= low) & (distance <= high))
    if not len(found):
        raise DataError(
            f"{place}: no channel is in records.section = {settings.section} m; allowed: "
            f"{distance.min():g} to {distance.max():g} m"
        )
    return found


def cut_series(series: Any, settings: RecordsSettings) -> Any:
    """The part of a series of samples that the settings take."""
    place, rate = series.pieces["path"].iloc[0], series.sampling_rate
    ends = None
    if series.start is not None:
        ends = series.start, series.start + round((series.n_samples - 1) * SECOND / rate)
    low, high = take_span(
        place, settings, series.n_samples, ends,
        lambda time: math.ceil((time - series.start) * rate / SECOND - 1e-6),
    )  # fmt: skip
    channels = take_channels(place, settings, series.distance, series.n_channels)
    series = series.between(low, high)
    return replace(
        series,
        pieces=series.pieces.assign(first=series.pieces["first"] - low),
        start=None if series.start is None else series.start + round(low * SECOND / rate),
        n_samples=high - low,
        n_channels=len(channels),
        first_channel=int(channels[0]),
        distance=None if series.distance is None else series.distance[channels],
    )
