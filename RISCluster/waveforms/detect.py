"""Windows of a wave: about detections, or sliding over everything."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from ..errors import SettingsError
from ..settings import BuildSettings
from .joining import Wave
from .process import samples_of
from .sources import SECOND, obspy_for_reading
from .spectra import Grid

DAY = 86_400 * SECOND  # ns
GAP, DATA_END, TAPERED = "gap", "end_of_data", "taper"  # why a window is left out


@dataclass(frozen=True)
class Neighbours:
    """Whether a wave has data of its trace before and after it, behind a gap."""

    before: bool
    after: bool


@dataclass(frozen=True)
class Windows:
    """Windows of one wave that can be used.

    Attributes
    ----------
    start, onset, end, peak : ndarray, (k,), int64
        Samples of the wave: of the window the first, of the detection the first, the last and
        that of the largest amplitude. Of sliding windows `onset` is `start` and `end` the sample
        after the window.
    left_out : Counter
        Windows left out, by reason.
    """

    start: np.ndarray
    onset: np.ndarray
    end: np.ndarray
    peak: np.ndarray
    left_out: Counter


def check_settings(settings: BuildSettings) -> None:
    """Refuse settings of the detector that contradict each other, whatever the data.

    Raises
    ------
    SettingsError
    """
    if settings.method != "detect":
        return
    if settings.trigger != "z" and settings.sta >= settings.lta:
        raise SettingsError(
            f"build.sta = {settings.sta:g} s must be less than build.lta = {settings.lta:g} s"
        )
    if settings.off > settings.on:
        raise SettingsError(
            f"build.off = {settings.off:g} must not be more than build.on = {settings.on:g}"
        )


def margin(settings: BuildSettings) -> int:
    """Time before and after a day that its windows may depend on, ns.

    It holds the taper, the window, and so much of the detector's averages that what they have
    forgotten is e^-10.
    """
    seconds = settings.taper + settings.length + settings.segment + 1.0
    if settings.method == "detect":
        seconds += 10 * (settings.sta if settings.trigger == "z" else settings.lta)
        seconds += 2 * settings.dead_time
    return int(np.ceil(seconds)) * SECOND


def shortest(settings: BuildSettings, grid: Grid) -> int:
    """Samples that a processed wave must have to hold a window."""
    edges = 2 * samples_of(settings.taper, grid.sampling_rate)
    warm_up = _warm_up(settings, grid.sampling_rate) if settings.method == "detect" else 0
    return edges + max(warm_up + 1, grid.before + grid.n_samples + grid.after)


def cut(
    wave: Wave, day: int, settings: BuildSettings, grid: Grid, neighbours: Neighbours
) -> Windows:
    """Windows of a wave that belong to a day.

    A detection belongs to the day of its peak, a sliding window to that of its start.

    Parameters
    ----------
    wave : Wave
        As `process` gave it.
    day : int
        Midnight, ns since 1970-01-01 UTC.
    settings : BuildSettings
    grid : Grid
    neighbours : Neighbours
    """
    if settings.method == "detect":
        onset, end, peak = detect(wave, settings).T
        today = _within_day(wave, peak, day)
        onset, end, peak = onset[today], end[today], peak[today]
        start = peak - grid.n_samples // 2
    else:
        start = _sliding_starts(wave, day, settings)
        onset, end, peak = start, start + grid.n_samples, start
    fits, left_out = _fitting(wave, start, grid, neighbours)
    windows = (start[fits], onset[fits], end[fits], peak[fits])
    return Windows(*(column.astype(np.int64) for column in windows), left_out)


def _within_day(wave: Wave, samples: np.ndarray, day: int) -> np.ndarray:
    times = np.array([wave.time(int(sample)) for sample in samples], dtype=np.int64)
    return (times >= day) & (times < day + DAY)


def _sliding_starts(wave: Wave, day: int, settings: BuildSettings) -> np.ndarray:
    """Samples nearest to the steps from midnight on, of those that lie on the wave."""
    step = settings.step * SECOND
    first = max(0, int((wave.start - day) / step) - 1)
    last = min(int(np.ceil(DAY / step)) - 1, int((wave.end - day) / step) + 1)
    after_midnight = np.rint(np.arange(first, last + 1) * step).astype(np.int64)
    true_rate = wave.sampling_rate / SECOND / (1 + wave.drift)
    since_start = (after_midnight + (day - wave.start)) * true_rate
    starts = np.rint(since_start).astype(np.int64)
    return starts[(starts >= 0) & (starts < len(wave.data))]


def _fitting(
    wave: Wave, start: np.ndarray, grid: Grid, neighbours: Neighbours
) -> tuple[np.ndarray, Counter]:
    """Which windows lie, with what their first and last segments need, on untapered data."""
    n = len(wave.data)
    first, stop = start - grid.before, start + grid.n_samples + grid.after
    over_start, over_end = first < 0, stop > n
    fits = (first >= wave.edge) & (stop <= n - wave.edge)
    at_gap = (over_start & neighbours.before) | (over_end & neighbours.after)
    at_end = (over_start | over_end) & ~at_gap
    counts = {
        GAP: int(at_gap.sum()),
        DATA_END: int(at_end.sum()),
        TAPERED: int((~fits & ~at_gap & ~at_end).sum()),
    }
    return fits, Counter({reason: count for reason, count in counts.items() if count})


# ---- detection ----------------------------------------------------------------------------------


def _warm_up(settings: BuildSettings, sampling_rate: float) -> int:
    return samples_of(settings.sta if settings.trigger == "z" else settings.lta, sampling_rate)


def detect(wave: Wave, settings: BuildSettings) -> np.ndarray:
    """Events of a wave.

    The detector runs over the untapered part; obspy's are zero until their long average is full.

    Parameters
    ----------
    wave : Wave
    settings : BuildSettings

    Returns
    -------
    ndarray, (k, 3), int64
        Samples at which each begins, ends, and has its largest amplitude; ascending.
    """
    obspy_for_reading()  # silences its import
    from obspy.signal.trigger import trigger_onset

    data = wave.data[wave.edge : len(wave.data) - wave.edge]
    if len(data) <= _warm_up(settings, wave.sampling_rate):
        return np.empty((0, 3), dtype=np.int64)
    detector = characteristic_function(data, settings, wave.sampling_rate)
    dead = round(settings.dead_time * wave.sampling_rate)
    events: list[tuple[int, int, int]] = []
    for on, off in trigger_onset(detector, settings.on, settings.off):
        if events and on <= events[-1][1] + dead:
            continue
        peak = on + np.abs(data[on : off + 1]).argmax()
        events.append((on, off, peak))
    return np.array(events, dtype=np.int64).reshape(-1, 3) + wave.edge


def characteristic_function(
    data: np.ndarray, settings: BuildSettings, sampling_rate: float
) -> np.ndarray:
    """Value of the detector at every sample.

    Parameters
    ----------
    data : ndarray, (n,), float64
    settings : BuildSettings
    sampling_rate : float
        Hz.

    Returns
    -------
    ndarray, (n,), float64
    """
    obspy_for_reading()
    from obspy.signal import trigger

    short = max(1, round(settings.sta * sampling_rate))
    data = np.ascontiguousarray(data)
    if settings.trigger == "z":
        return trigger.z_detect(data, short)
    long = max(short + 1, round(settings.lta * sampling_rate))
    if settings.trigger == "classic":
        return trigger.classic_sta_lta(data, short, long)
    return trigger.recursive_sta_lta(data, short, long)
