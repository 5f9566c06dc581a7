"""Spectrograms of windows cut out of a wave.

Sample i stands for the time from i to i + 1. Column k of a window has its centre (k + 1/2) hops
after the window's start, so that n samples have n // hop columns; the segments of the first and
the last column reach (segment - hop) / 2 samples beyond the window.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import fft, signal

from ..errors import SettingsError
from ..settings import BuildSettings


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
    at = f"at {sampling_rate:g} Hz"
    if not 2 <= segment <= min(n, nfft):
        raise SettingsError(
            f"build.segment = {settings.segment:g} s is {segment} samples {at}; allowed: from 2 to "
            f"the {n} samples of build.length and to build.nfft = {nfft}"
        )
    if hop < 1:
        raise SettingsError(
            f"build.overlap = {settings.overlap:g} leaves no sample from one segment of {segment} "
            f"samples to the next; allowed: at most {1 - 1 / segment:.4f}"
        )
    first, last = 0, nfft // 2
    if settings.frequencies is not None:
        low, high = (frequency * nfft / sampling_rate for frequency in settings.frequencies)
        first, last = int(np.ceil(round(low, 9))), min(last, int(np.floor(round(high, 9))))
    n_rows, n_columns, before = max(0, last - first + 1), n // hop, (segment - hop) // 2
    after = max(0, (n_columns - 1) * hop - before + segment - n)
    if min(n_rows, n_columns) < 4:
        raise SettingsError(
            f"[build] a window would have {n_rows} frequencies x {n_columns} times {at}; the "
            "network needs 4 x 4 or more: change build.length, segment, overlap, nfft, frequencies"
        )
    sizes = first, n_rows, n_columns, before, after
    return Grid(sampling_rate, n, segment, hop, nfft, settings.kaiser_beta, *sizes)


def spectrograms(grid: Grid, data: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Power spectral densities of windows by their first samples: (k, F, T), float32, per Hz.

    One-sided, as scipy.signal's ``scaling="density"``, of segments with a Kaiser window, without
    detrending. Segments that windows have in common are computed once. Each window needs
    `grid.before` and `grid.after` samples around it.
    """
    columns = (starts - grid.before)[:, None] + grid.hop * np.arange(grid.n_columns)
    first, which = np.unique(columns, return_inverse=True)
    segments = np.lib.stride_tricks.sliding_window_view(data, grid.segment)[first]
    window, scale = _window(grid)
    spectrum = fft.rfft(segments * window, grid.nfft)[:, grid.first_row :][:, : grid.n_rows]
    power = ((spectrum.real**2 + spectrum.imag**2) * scale).astype(np.float32)
    return np.ascontiguousarray(power[which.reshape(columns.shape)].transpose(0, 2, 1))


@lru_cache(maxsize=4)
def _window(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Kaiser window, and factors from squared magnitudes to one-sided densities, (F,)."""
    window = signal.get_window(("kaiser", grid.beta), grid.segment)
    rows = np.arange(grid.first_row, grid.first_row + grid.n_rows)
    sides = np.where((rows == 0) | (2 * rows == grid.nfft), 1.0, 2.0)
    return window, sides / (grid.sampling_rate * (window**2).sum())
