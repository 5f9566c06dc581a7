"""Power spectral densities of windows that slide along the channels of a record.

Letters: n samples, C channels, K time steps, F frequency bins.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.fft
import scipy.signal

from ..errors import DataError, SettingsError
from ..runtime import log
from ..settings import RecordsSettings

TAPERS = {"hann": "hann", "kaiser": ("kaiser", 5.7), "tukey": ("tukey", 0.25), "none": "boxcar"}
FEWEST_SAMPLES = 8  # of a window
FEWEST_ROWS = 4  # what the network takes
TOGETHER = 16  # channels of float32 in a cache line of 64 bytes
CACHED_VALUES = 2**17  # samples of windows worked on at a time, to stay in the cache


@dataclass(frozen=True)
class Spectra:
    """How a time step's spectrum is made.

    Attributes
    ----------
    sampling_rate : float
        Hz.
    window, step : int
        Samples.
    taper : str
        A key of `TAPERS`.
    first_row, last_row : int
        Rows of the one-sided spectrum that are kept, the last not among them.
    log : bool
        Decimal logarithm instead of power.
    """

    sampling_rate: float
    window: int
    step: int
    taper: str
    first_row: int
    last_row: int
    log: bool

    @property
    def frequency(self) -> np.ndarray:
        """Hz of the rows, (F,), float64."""
        return np.arange(self.first_row, self.last_row) * (self.sampling_rate / self.window)

    @property
    def n_frequencies(self) -> int:
        """Rows that are kept."""
        return self.last_row - self.first_row

    def n_steps(self, n_samples: int) -> int:
        """Whole windows in a record.

        Raises
        ------
        DataError
            There is none.
        """
        if n_samples < self.window:
            raise DataError(
                f"[records] window = {self.window / self.sampling_rate:g} s is longer than the "
                f"record of {n_samples / self.sampling_rate:g} s; take a shorter one"
            )
        return (n_samples - self.window) // self.step + 1

    @cached_property
    def _taper(self) -> np.ndarray:
        return scipy.signal.get_window(TAPERS[self.taper], self.window).astype(np.float32)

    @cached_property
    def _scale(self) -> np.ndarray:
        """What makes density of power out of squared transforms, (F,)."""
        energy = (scipy.signal.get_window(TAPERS[self.taper], self.window) ** 2).sum()
        sides = np.full(self.window // 2 + 1, 2.0)
        sides[0] = 1.0
        if self.window % 2 == 0:
            sides[-1] = 1.0  # the Nyquist frequency has no twin
        scale = sides / (self.sampling_rate * energy)
        return scale[self.first_row : self.last_row].astype(np.float32)

    def calculate(self, samples: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Power spectral density of every window.

        Parameters
        ----------
        samples : ndarray, (n, C), float32
            NaN where missing.
        out : ndarray, (K, C, F), float32, optional
            Where the result is written.

        Returns
        -------
        ndarray, (K, C, F), float32
            One-sided, in unit^2/Hz or its decimal logarithm; NaN for windows with a missing
            sample, for more than float32 holds, and in the logarithm for no power.
        """
        n_samples, n_channels = samples.shape
        n_steps = self.n_steps(n_samples)
        if out is None:
            out = np.empty((n_steps, n_channels, self.n_frequencies), dtype=np.float32)
        steps = max(1, CACHED_VALUES // (self.window * min(TOGETHER, n_channels)))
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            for first in range(0, n_channels, TOGETHER):
                channels = slice(first, first + TOGETHER)
                traces = np.ascontiguousarray(samples[:, channels].T)
                windows = np.lib.stride_tricks.sliding_window_view(traces, self.window, axis=1)
                windows = windows[:, :: self.step]
                for at in range(0, n_steps, steps):
                    part = slice(at, at + steps)
                    out[part, channels] = self._power(windows[:, part]).transpose(1, 0, 2)
        return out

    def _power(self, windows: np.ndarray) -> np.ndarray:
        """(C, K, samples) to (C, K, F)."""
        tapered = windows - windows.mean(axis=-1, keepdims=True)
        tapered *= self._taper
        spectrum = scipy.fft.rfft(tapered, axis=-1, overwrite_x=True)
        kept = spectrum[..., self.first_row : self.last_row]
        power = np.square(kept.real)
        power += np.square(kept.imag)
        power *= self._scale
        if self.log:
            np.log10(power, out=power)
        power[np.isinf(power)] = np.nan
        return power


def spectra_of(settings: RecordsSettings, sampling_rate: float) -> Spectra:
    """Spectra in whole samples and rows.

    Parameters
    ----------
    settings : RecordsSettings
    sampling_rate : float
        Hz.

    Raises
    ------
    SettingsError
        Window or step are too short for this rate, or too few rows lie in the band.
    """
    window = _samples("window", settings.window, sampling_rate, FEWEST_SAMPLES)
    step = _samples("step", settings.step, sampling_rate, 1)
    resolution = sampling_rate / window
    first, last = 0, window // 2 + 1
    if settings.band is not None:
        if settings.band.high > sampling_rate / 2 * (1 + 1e-9):
            raise SettingsError(
                f"[records] band = {settings.band} goes beyond {sampling_rate / 2:g} Hz, half the "
                "sampling rate; allowed: up to that"
            )
        slack = 1e-6  # of a row, for bands that end on one
        first = int(np.ceil(settings.band.low / resolution - slack))
        last = min(last, int(np.floor(settings.band.high / resolution + slack)) + 1)
    if last - first < FEWEST_ROWS:
        raise SettingsError(
            f"[records] band = {settings.band} keeps {max(0, last - first)} rows of those every "
            f"{resolution:g} Hz up to {sampling_rate / 2:g} Hz; the network needs {FEWEST_ROWS} or "
            "more: take a wider band or a longer window"
        )
    return Spectra(
        sampling_rate, window, step, settings.taper, first, last, settings.power == "log"
    )


def _samples(key: str, seconds: float, sampling_rate: float, fewest: int) -> int:
    n = round(seconds * sampling_rate)
    if n < fewest:
        raise SettingsError(
            f"[records] {key} = {seconds:g} s is {seconds * sampling_rate:g} samples at "
            f"{sampling_rate:g} Hz; allowed: {fewest} or more, {fewest / sampling_rate:g} s"
        )
    if abs(n - seconds * sampling_rate) > 1e-6 * n:
        log.info(
            f"{key} of {seconds:g} s is not a whole number of samples: {n} are taken, "
            f"{n / sampling_rate:.6g} s"
        )
    return n
