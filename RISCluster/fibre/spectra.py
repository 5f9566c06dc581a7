"""Power spectral densities of windows that slide along the channels of a record.

Letters: n samples, C channels, K time steps, F frequency bins.
"""

from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.signal

from ..errors import DataError, SettingsError
from ..runtime import log
from ..settings import RecordsSettings

TAPERS = {"hann": "hann", "kaiser": ("kaiser", 5.7), "tukey": ("tukey", 0.25), "none": "boxcar"}
MIN_WINDOW = 8  # samples
MIN_ROWS = 4  # frequencies that the network takes
CACHED_VALUES = 2**17  # samples of windows worked on at a time, to stay in the cache


@dataclass(frozen=True)
class Spectra:
    """One-sided spectra of sliding windows, from row `first` to before row `last`."""

    sampling_rate: float  # Hz
    window: int  # samples
    step: int  # samples
    taper: str  # of `TAPERS`
    first: int
    last: int
    log: bool  # decimal logarithm

    @property
    def frequency(self) -> np.ndarray:
        """Hz of the rows, (F,), float64."""
        return np.arange(self.first, self.last) * (self.sampling_rate / self.window)

    def n_steps(self, n_samples: int) -> int:
        """Whole windows in a record; raises DataError where there is none."""
        if n_samples < self.window:
            raise DataError(
                f"[records] window = {self.window / self.sampling_rate:g} s is longer than the "
                f"record of {n_samples / self.sampling_rate:g} s; take a shorter one"
            )
        return (n_samples - self.window) // self.step + 1

    def samples_of(self, steps: tuple[int, int]) -> tuple[int, int]:
        """Samples that the windows of some time steps cover, from the first to before the last."""
        return steps[0] * self.step, (steps[1] - 1) * self.step + self.window

    def calculate(self, samples: np.ndarray) -> np.ndarray:
        """Power of every window of samples (n, C), in unit^2/Hz or its logarithm: (K, C, F).

        NaN for windows with a missing sample, beyond float32, and in the logarithm for no power.
        """
        taper = scipy.signal.get_window(TAPERS[self.taper], self.window)
        scale = np.full(self.window // 2 + 1, 2 / (self.sampling_rate * (taper**2).sum()))
        scale[0] /= 2  # as the Nyquist frequency, it has no negative twin
        scale[self.window // 2 :] /= 2 - self.window % 2
        scale, taper = scale[self.first : self.last].astype(np.float32), taper.astype(np.float32)
        n_steps = self.n_steps(len(samples))
        out = np.empty((n_steps, samples.shape[1], len(scale)), dtype=np.float32)
        together = max(1, CACHED_VALUES // self.window)
        for channel, trace in enumerate(np.ascontiguousarray(samples.T)):
            windows = np.lib.stride_tricks.sliding_window_view(trace, self.window)[:: self.step]
            for at in range(0, n_steps, together):
                rows = slice(at, at + together)
                with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
                    tapered = windows[rows] - windows[rows].mean(axis=1, keepdims=True)
                    tapered = tapered.astype(np.float32, copy=False) * taper
                    spectrum = scipy.fft.rfft(tapered, overwrite_x=True)[:, self.first : self.last]
                    power = (np.square(spectrum.real) + np.square(spectrum.imag)) * scale
                    out[rows, channel] = np.log10(power) if self.log else power
        out[np.isinf(out)] = np.nan
        return out


def spectra_of(settings: RecordsSettings, sampling_rate: float) -> Spectra:
    """Spectra in whole samples and rows at a sampling rate in Hz.

    Raises
    ------
    SettingsError
        Window or step are too short for this rate, or too few rows lie in the band.
    """
    window = _samples("window", settings.window, sampling_rate, MIN_WINDOW)
    step = _samples("step", settings.step, sampling_rate, 1)
    spacing, band = sampling_rate / window, settings.band
    first, last = 0, window // 2 + 1
    if band is not None:
        if band.high > sampling_rate / 2 * (1 + 1e-9):
            raise SettingsError(
                f"[records] band = {band} goes beyond {sampling_rate / 2:g} Hz, half the "
                "sampling rate; allowed: up to that"
            )
        slack = 1e-6  # of a row, for bands that end on one
        first = int(np.ceil(band.low / spacing - slack))
        last = min(last, int(np.floor(band.high / spacing + slack)) + 1)
    if last - first < MIN_ROWS:
        raise SettingsError(
            f"[records] band = {band} has {max(0, last - first)} rows of those every {spacing:g} "
            f"Hz up to {sampling_rate / 2:g} Hz; the network needs {MIN_ROWS} or more: take a "
            "wider band or a longer window"
        )
    power_is_log = settings.power == "log"
    return Spectra(sampling_rate, window, step, settings.taper, first, last, power_is_log)


def _samples(key: str, seconds: float, sampling_rate: float, least: int) -> int:
    n = round(seconds * sampling_rate)
    if n < least:
        raise SettingsError(
            f"[records] {key} = {seconds:g} s is {seconds * sampling_rate:g} samples at "
            f"{sampling_rate:g} Hz; allowed: {least} or more, {least / sampling_rate:g} s"
        )
    if abs(n - seconds * sampling_rate) > 1e-6 * n:
        log.info(
            f"{key} of {seconds:g} s is not a whole number of samples: {n} are taken, "
            f"{n / sampling_rate:.6g} s"
        )
    return n
