"""Windows of a wave: around detections, or sliding."""

from collections import Counter
from typing import NamedTuple

import numpy as np

from ..errors import SettingsError
from ..settings import BuildSettings
from .process import Wave, samples_of
from .read import DAY, SECOND, import_obspy
from .spectra import Grid


class Windows(NamedTuple):
    """Usable windows of one wave, as sample numbers, each (k,), int64.

    Of sliding windows `onset` and `peak` are `start`, and `end` is the sample after the window.
    """

    start: np.ndarray
    onset: np.ndarray  # first sample of the detection
    end: np.ndarray  # its last sample
    peak: np.ndarray  # its largest amplitude
    left_out: Counter  # other windows, by reason: "gap", "end_of_data" or "taper"


def check_settings(settings: BuildSettings) -> None:
    """Raise SettingsError for settings of the detector that contradict each other."""
    if settings.method == "detect" and settings.trigger != "z" and settings.sta >= settings.lta:
        raise SettingsError(
            f"build.sta = {settings.sta:g} s must be less than build.lta = {settings.lta:g} s"
        )
    if settings.method == "detect" and settings.off > settings.on:
        raise SettingsError(
            f"build.off = {settings.off:g} must not be more than build.on = {settings.on:g}"
        )


def average(settings: BuildSettings) -> float:
    """Length of the longest average of the detector, s; 0 for sliding windows."""
    longest = settings.sta if settings.trigger == "z" else settings.lta
    return longest if settings.method == "detect" else 0.0


def margin(settings: BuildSettings) -> int:
    """Time before and after a day that its windows may depend on, ns.

    Ten times the average of the detector is what it remembers of earlier data to e^-10.
    """
    seconds = settings.taper + settings.length + settings.segment + 1.0 + 10 * average(settings)
    seconds += 2 * settings.dead_time if settings.method == "detect" else 0
    return int(np.ceil(seconds)) * SECOND


def min_samples(settings: BuildSettings, grid: Grid) -> int:
    """Samples that a processed wave must have to hold a window."""
    edge, long = (samples_of(s, grid.sampling_rate) for s in (settings.taper, average(settings)))
    return 2 * edge + max(long + 1, grid.before + grid.n_samples + grid.after)


def cut(
    wave: Wave, day: int, settings: BuildSettings, grid: Grid, data_around: tuple[bool, bool]
) -> Windows:
    """Windows of a processed wave that belong to a day.

    A detection belongs to the day of its peak, a sliding window to that of its start. `day` is
    midnight, ns since 1970-01-01 UTC; `data_around` is whether there are data of the trace before
    and after the wave, beyond a gap.
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
    first, stop, n = start - grid.before, start + grid.n_samples + grid.after, len(wave.data)
    fits = (first >= wave.edge) & (stop <= n - wave.edge)
    at_gap = ((first < 0) & data_around[0]) | ((stop > n) & data_around[1])
    at_end = ((first < 0) | (stop > n)) & ~at_gap
    reasons = {"gap": at_gap, "end_of_data": at_end, "taper": ~fits & ~at_gap & ~at_end}
    left_out = +Counter({reason: int(which.sum()) for reason, which in reasons.items()})
    return Windows(start[fits], onset[fits], end[fits], peak[fits], left_out)


def _sliding_starts(wave: Wave, day: int, settings: BuildSettings) -> np.ndarray:
    """Samples of the wave nearest to multiples of the step after midnight."""
    step = settings.step * SECOND
    first = max(0, int((wave.start - day) / step) - 1)
    last = min(int(np.ceil(DAY / step)) - 1, int((wave.end - day) / step) + 1)
    after_midnight = np.rint(np.arange(first, last + 1) * step).astype(np.int64)
    true_rate = wave.sampling_rate / SECOND / (1 + wave.drift)
    starts = np.rint((after_midnight + (day - wave.start)) * true_rate).astype(np.int64)
    return starts[(starts >= 0) & (starts < len(wave.data))]


def detect(wave: Wave, settings: BuildSettings) -> np.ndarray:
    """First sample, last sample and peak of the events in a wave's untapered part, (k, 3)."""
    import_obspy()
    from obspy.signal import trigger

    rate, events = wave.sampling_rate, []
    data = np.ascontiguousarray(wave.data[wave.edge : len(wave.data) - wave.edge])
    if len(data) > samples_of(average(settings), rate):
        short = max(1, round(settings.sta * rate))
        averages = short, max(short + 1, round(settings.lta * rate))
        if settings.trigger == "z":
            detector = trigger.z_detect(data, short)
        else:
            detector = getattr(trigger, f"{settings.trigger}_sta_lta")(data, *averages)
        dead = round(settings.dead_time * rate)
        for on, off in trigger.trigger_onset(detector, settings.on, settings.off):
            if not events or on > events[-1][1] + dead:
                events.append((on, off, on + np.abs(data[on : off + 1]).argmax()))
    return np.array(events, dtype=np.int64).reshape(-1, 3) + wave.edge
