"""Windows of a wave, around detections or sliding, and their spectrograms.

Column k of a window has its centre (k + 1/2) hops after the window's start; the segments of the
first and the last column reach (segment - hop) / 2 samples beyond the window.
"""

from typing import NamedTuple

import numpy as np
import pandas
from scipy import fft, signal

from ..errors import SettingsError
from ..settings import BuildSettings
from .process import Wave, samples_of
from .read import DAY, SECOND, import_obspy


class Grid(NamedTuple):
    """Sizes of a window and its spectrogram, in samples."""

    sampling_rate: float  # Hz
    n_samples: int  # of a window
    segment: int
    hop: int  # between the starts of two segments
    nfft: int  # of the Fourier transform of a segment
    beta: float  # shape of the Kaiser window
    first_row: int  # number of the first frequency that is stored
    n_rows: int  # frequencies that are stored
    n_columns: int
    before: int  # samples needed before a window
    after: int  # and after it

    @property
    def frequency(self) -> np.ndarray:
        """Rows, (F,), Hz."""
        rows = np.arange(self.first_row, self.first_row + self.n_rows)
        return rows * self.sampling_rate / self.nfft

    @property
    def time(self) -> np.ndarray:
        """Columns, (T,), seconds from the start of a window."""
        return (np.arange(self.n_columns) + 0.5) * self.hop / self.sampling_rate


def make_grid(settings: BuildSettings, sampling_rate: float) -> Grid:
    """Convert settings from seconds to samples; SettingsError where they contradict each other."""
    n, nfft = round(settings.length * sampling_rate), settings.nfft
    segment = round(settings.segment * sampling_rate)
    hop = segment - round(settings.overlap * segment)
    first, last = 0, nfft // 2
    if settings.frequencies is not None:
        low, high = (frequency * nfft / sampling_rate for frequency in settings.frequencies)
        first, last = int(np.ceil(round(low, 9))), min(last, int(np.floor(round(high, 9))))
    n_rows, n_columns, before = max(0, last - first + 1), n // max(1, hop), (segment - hop) // 2
    if not (2 <= segment <= min(n, nfft) and hop >= 1 and min(n_rows, n_columns) >= 4):
        raise SettingsError(
            f"[build] at {sampling_rate:g} Hz a window has {n} samples, a segment {segment}, {hop} "
            f"from one segment to the next, and a spectrogram {n_rows} frequencies x {n_columns} "
            f"times; allowed: segments from 2 samples to the window and to nfft = {nfft}, a step "
            "of 1 or more, and 4 x 4 or more: change length, segment, overlap, nfft or frequencies"
        )
    after = max(0, (n_columns - 1) * hop - before + segment - n)
    sizes = first, n_rows, n_columns, before, after
    return Grid(sampling_rate, n, segment, hop, nfft, settings.kaiser_beta, *sizes)


def spectrograms(grid: Grid, data: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """One-sided power spectral densities of windows by their first samples: (k, F, T), float32.

    As scipy.signal's ``scaling="density"``, without detrending; common segments are computed once.
    """
    columns = (starts - grid.before)[:, None] + grid.hop * np.arange(grid.n_columns)
    first, which = np.unique(columns, return_inverse=True)
    segments = np.lib.stride_tricks.sliding_window_view(data, grid.segment)[first]
    window = signal.get_window(("kaiser", grid.beta), grid.segment)
    rows = np.arange(grid.first_row, grid.first_row + grid.n_rows)
    sides = np.where((rows == 0) | (2 * rows == grid.nfft), 1.0, 2.0)
    scale = sides / (grid.sampling_rate * (window**2).sum())
    spectrum = fft.rfft(segments * window, grid.nfft)[:, grid.first_row :][:, : grid.n_rows]
    power = ((spectrum.real**2 + spectrum.imag**2) * scale).astype(np.float32)
    return np.ascontiguousarray(power[which.reshape(columns.shape)].transpose(0, 2, 1))


class Windows(NamedTuple):
    """Usable windows of one wave, as sample numbers, each (k,), int64; -1 where not known."""

    start: np.ndarray
    onset: np.ndarray  # first sample of the detection
    end: np.ndarray  # its last sample
    peak: np.ndarray  # its largest amplitude
    event: np.ndarray  # its number in the catalogue
    n_at_edges: int  # other windows, which need samples beyond the data or tapered ones


def check_settings(settings: BuildSettings) -> None:
    """Raise SettingsError for settings of the windows that contradict each other."""
    if settings.method == "slide" and settings.catalogue is not None:
        raise SettingsError(
            f"build.catalogue = {settings.catalogue} gives the windows, and so does build.method = "
            "slide; set one of them to its default"
        )
    too_short = settings.trigger != "z" and settings.sta >= settings.lta
    if is_detected(settings) and (too_short or settings.off > settings.on):
        raise SettingsError(
            f"[build] sta = {settings.sta:g}, lta = {settings.lta:g}, on = {settings.on:g}, off = "
            f"{settings.off:g} are not allowed; allowed: sta below lta, and off at most on"
        )


def is_detected(settings: BuildSettings) -> bool:
    """Whether windows are those of the detector, neither sliding nor of a catalogue."""
    return settings.method == "detect" and settings.catalogue is None


def average(settings: BuildSettings) -> float:
    """Length of the longest average of the detector, s; 0 without it."""
    longest = settings.sta if settings.trigger == "z" else settings.lta
    return longest if is_detected(settings) else 0.0


def time_before(settings: BuildSettings) -> float:
    """Time of a window before an onset of the catalogue, s."""
    return settings.length / 4 if settings.before == "auto" else settings.before


def margin(settings: BuildSettings) -> int:
    """Time before and after a day that its windows depend on, ns; the detector's to e^-10."""
    seconds = settings.taper + settings.length + settings.segment + 1.0 + 10 * average(settings)
    seconds += 2 * settings.dead_time if is_detected(settings) else time_before(settings)
    return int(np.ceil(seconds)) * SECOND


def min_samples(settings: BuildSettings, grid: Grid) -> int:
    """Samples that a processed wave must have to hold a window."""
    edge, long = (samples_of(s, grid.sampling_rate) for s in (settings.taper, average(settings)))
    return 2 * edge + max(long + 1, grid.before + grid.n_samples + grid.after)


def cut(
    wave: Wave, day: int, settings: BuildSettings, grid: Grid, given: pandas.DataFrame | None
) -> Windows:
    """Windows of a processed wave that belong to a day (midnight, ns since 1970-01-01 UTC).

    A detection belongs to the day of its peak, a sliding window to that of its start; `given` are
    onsets of that day in a catalogue.
    """
    if given is not None:
        given = given[given["onset"].between(wave.start, wave.end, "left")]
        onset, end, peak = (
            wave.samples(given[name].to_numpy()) for name in ("onset", "end", "peak")
        )
        before = round(time_before(settings) * wave.sampling_rate)
        start = np.where(peak >= 0, peak - grid.n_samples // 2, onset - before)
        event = given["event"].to_numpy()
    elif settings.method == "detect":
        onset, end, peak = detect(wave, settings).T
        times = np.array([wave.time(int(sample)) for sample in peak], dtype=np.int64)
        today = (times >= day) & (times < day + DAY)
        onset, end, peak = onset[today], end[today], peak[today]
        start, event = peak - grid.n_samples // 2, np.full(len(peak), -1)
    else:
        start = _sliding_starts(wave, day, settings)
        onset = end = peak = event = np.full(len(start), -1)
    fits = fits_into(wave, start, grid)
    columns = (column[fits] for column in (start, onset, end, peak, event))
    return Windows(*columns, int((~fits).sum()))


def fits_into(wave: Wave, start: np.ndarray, grid: Grid) -> np.ndarray:
    """Whether the windows that begin at samples need no others than those that are not tapered."""
    stop = start + grid.n_samples + grid.after
    return (start - grid.before >= wave.edge) & (stop <= len(wave.data) - wave.edge)


def _sliding_starts(wave: Wave, day: int, settings: BuildSettings) -> np.ndarray:
    """Samples of the wave nearest to multiples of the step after midnight."""
    step = settings.step * SECOND
    after_midnight = np.rint(np.arange(np.ceil(DAY / step)) * step).astype(np.int64)
    starts = wave.samples(day + after_midnight)
    return starts[(starts >= 0) & (starts < len(wave.data))]


def characteristic(wave: Wave, settings: BuildSettings) -> np.ndarray:
    """Values of the detector in a wave's untapered part; none where that is too short."""
    trigger = import_obspy("obspy.signal.trigger")
    rate = wave.sampling_rate
    data = np.ascontiguousarray(wave.data[wave.edge : len(wave.data) - wave.edge])
    if len(data) <= samples_of(average(settings), rate):
        return data[:0]
    short = max(1, round(settings.sta * rate))
    if settings.trigger == "z":
        return trigger.z_detect(data, short)
    long = max(short + 1, round(settings.lta * rate))
    return getattr(trigger, f"{settings.trigger}_sta_lta")(data, short, long)


def detect(wave: Wave, settings: BuildSettings) -> np.ndarray:
    """First sample, last sample and peak of the events in a wave's untapered part, (k, 3)."""
    trigger_onset = import_obspy("obspy.signal.trigger").trigger_onset
    dead, events = round(settings.dead_time * wave.sampling_rate), []
    values, data = characteristic(wave, settings), wave.data[wave.edge :]
    for on, off in trigger_onset(values, settings.on, settings.off) if len(values) else ():
        if not events or on > events[-1][1] + dead:
            events.append((on, off, on + np.abs(data[on : off + 1]).argmax()))
    return np.array(events, dtype=np.int64).reshape(-1, 3) + wave.edge
