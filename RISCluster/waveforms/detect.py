"""Windows of a wave: around detections, or sliding."""

from collections import Counter
from typing import NamedTuple

import numpy as np

from ..errors import SettingsError
from ..settings import BuildSettings
from .joining import Wave
from .process import samples_of
from .read import DAY, SECOND, import_obspy
from .spectra import Grid

GAP, DATA_END, TAPERED = "gap", "end_of_data", "taper"  # reasons to leave a window out


class Neighbours(NamedTuple):
    """Whether a wave has data of its trace before and after it, beyond a gap."""

    before: bool
    after: bool


class Windows(NamedTuple):
    """Usable windows of one wave, as sample numbers, each (k,), int64.

    Of sliding windows `onset` and `peak` are `start`, and `end` is the sample after the window.
    """

    start: np.ndarray
    onset: np.ndarray  # first sample of the detection
    end: np.ndarray  # its last sample
    peak: np.ndarray  # its largest amplitude
    left_out: Counter  # other windows, by reason


def check_settings(settings: BuildSettings) -> None:
    """Raise SettingsError for settings of the detector that contradict each other."""
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

    It holds the taper, the window, and ten times the detector's averages, whose memory of earlier
    data is e^-10 then.
    """
    seconds = settings.taper + settings.length + settings.segment + 1.0
    if settings.method == "detect":
        seconds += 10 * _longest_average(settings) + 2 * settings.dead_time
    return int(np.ceil(seconds)) * SECOND


def _longest_average(settings: BuildSettings) -> float:
    return settings.sta if settings.trigger == "z" else settings.lta


def min_samples(settings: BuildSettings, grid: Grid) -> int:
    """Samples that a processed wave must have to hold a window."""
    edges, averages = 2 * samples_of(settings.taper, grid.sampling_rate), 0
    if settings.method == "detect":
        averages = samples_of(_longest_average(settings), grid.sampling_rate)
    return edges + max(averages + 1, grid.before + grid.n_samples + grid.after)


def cut(
    wave: Wave, day: int, settings: BuildSettings, grid: Grid, neighbours: Neighbours
) -> Windows:
    """Windows of a processed wave that belong to a day.

    A detection belongs to the day of its peak, a sliding window to that of its start. `day` is
    midnight, ns since 1970-01-01 UTC.
    """
    if settings.method == "detect":
        onset, end, peak = detect(wave, settings).T
        times = np.array([wave.time(int(sample)) for sample in peak], dtype=np.int64)
        today = (times >= day) & (times < day + DAY)
        onset, end, peak = onset[today], end[today], peak[today]
        start = peak - grid.n_samples // 2
    else:
        start = _sliding_starts(wave, day, settings)
        onset, end, peak = start, start + grid.n_samples, start
    fits, left_out = _fitting(wave, start, grid, neighbours)
    windows = (start[fits], onset[fits], end[fits], peak[fits])
    return Windows(*(column.astype(np.int64) for column in windows), left_out)


def _sliding_starts(wave: Wave, day: int, settings: BuildSettings) -> np.ndarray:
    """Samples of the wave nearest to multiples of the step after midnight."""
    step = settings.step * SECOND
    first = max(0, int((wave.start - day) / step) - 1)
    last = min(int(np.ceil(DAY / step)) - 1, int((wave.end - day) / step) + 1)
    after_midnight = np.rint(np.arange(first, last + 1) * step).astype(np.int64)
    true_rate = wave.sampling_rate / SECOND / (1 + wave.drift)
    starts = np.rint((after_midnight + (day - wave.start)) * true_rate).astype(np.int64)
    return starts[(starts >= 0) & (starts < len(wave.data))]


def _fitting(
    wave: Wave, start: np.ndarray, grid: Grid, neighbours: Neighbours
) -> tuple[np.ndarray, Counter]:
    """Which windows lie on untapered data, with the segments that reach beyond them."""
    n = len(wave.data)
    first, stop = start - grid.before, start + grid.n_samples + grid.after
    over_start, over_end = first < 0, stop > n
    fits = (first >= wave.edge) & (stop <= n - wave.edge)
    at_gap = (over_start & neighbours.before) | (over_end & neighbours.after)
    at_end = (over_start | over_end) & ~at_gap
    left_out = {GAP: at_gap, DATA_END: at_end, TAPERED: ~fits & ~at_gap & ~at_end}
    counts = {reason: int(which.sum()) for reason, which in left_out.items() if which.any()}
    return fits, Counter(counts)


def detect(wave: Wave, settings: BuildSettings) -> np.ndarray:
    """First sample, last sample and peak of the events in a wave's untapered part, (k, 3)."""
    import_obspy()
    from obspy.signal.trigger import trigger_onset

    rate, events = wave.sampling_rate, []
    data = wave.data[wave.edge : len(wave.data) - wave.edge]
    if len(data) > samples_of(_longest_average(settings), rate):
        detector = characteristic_function(data, settings, rate)
        dead = round(settings.dead_time * rate)
        for on, off in trigger_onset(detector, settings.on, settings.off):
            if not events or on > events[-1][1] + dead:
                events.append((on, off, on + np.abs(data[on : off + 1]).argmax()))
    return np.array(events, dtype=np.int64).reshape(-1, 3) + wave.edge


def characteristic_function(
    data: np.ndarray, settings: BuildSettings, sampling_rate: float
) -> np.ndarray:
    """Value of obspy's trigger at every sample, (n,), float64."""
    import_obspy()
    from obspy.signal import trigger

    short = max(1, round(settings.sta * sampling_rate))
    data = np.ascontiguousarray(data)
    if settings.trigger == "z":
        return trigger.z_detect(data, short)
    long = max(short + 1, round(settings.lta * sampling_rate))
    if settings.trigger == "classic":
        return trigger.classic_sta_lta(data, short, long)
    return trigger.recursive_sta_lta(data, short, long)
