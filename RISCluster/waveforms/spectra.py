"""Spectrograms of windows cut out of a wave.

Sample i stands for the time from i to i + 1. Column k of a window has its centre (k + 1/2) hops
after the window's start, so that n samples have n // hop columns; the segments of the first and
the last column reach (segment - hop) / 2 samples beyond the window.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import fft, signal

from ..errors import SettingsError
from ..settings import BuildSettings

# The product with a matrix takes 4 m F operations a column (m samples, F rows), the transform
# 2.5 N log2 N; in double precision the first were measured 7 times faster each.
PRODUCT_IS_FASTER = 7.0


@dataclass(frozen=True)
class Grid:
    """Sizes of a window and its spectrogram.

    Attributes
    ----------
    sampling_rate : float
        Hz.
    n_samples : int
        Of a window.
    segment, hop, nfft : int
        Samples of a segment, from one to the next, and of its Fourier transform.
    beta : float
        Shape of the Kaiser window.
    first_row, n_rows : int
        Frequencies kept.
    """

    sampling_rate: float
    n_samples: int
    segment: int
    hop: int
    nfft: int
    beta: float
    first_row: int
    n_rows: int

    @property
    def n_columns(self) -> int:
        """Columns of a spectrogram."""
        return self.n_samples // self.hop

    @property
    def before(self) -> int:
        """Samples needed before a window."""
        return (self.segment - self.hop) // 2

    @property
    def after(self) -> int:
        """Samples needed after a window."""
        reach = (self.n_columns - 1) * self.hop - self.before + self.segment
        return max(0, reach - self.n_samples)

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
    """Settings in seconds to samples.

    Raises
    ------
    SettingsError
        They do not go together at this sampling rate.
    """
    n = round(settings.length * sampling_rate)
    segment = round(settings.segment * sampling_rate)
    hop = segment - round(settings.overlap * segment)
    at = f"at {sampling_rate:g} Hz"
    if segment < 2:
        raise SettingsError(
            f"build.segment = {settings.segment:g} s is {segment} samples {at}; allowed: 2 or more"
        )
    if hop < 1:
        raise SettingsError(
            f"build.overlap = {settings.overlap:g} leaves no sample from one segment of {segment} "
            f"samples ({settings.segment:g} s {at}) to the next; allowed: at most "
            f"{1 - 1 / segment:.4f}"
        )
    if segment > n:
        raise SettingsError(
            f"build.segment = {settings.segment:g} s is longer than a window, build.length = "
            f"{settings.length:g} s; make it shorter"
        )
    if settings.nfft < segment:
        raise SettingsError(
            f"build.nfft = {settings.nfft} is less than the {segment} samples of a segment "
            f"({settings.segment:g} s {at}); allowed: {segment} or more"
        )
    first_row, n_rows = _rows(settings, sampling_rate)
    grid = Grid(
        sampling_rate, n, segment, hop, settings.nfft, settings.kaiser_beta, first_row, n_rows
    )
    if min(grid.n_rows, grid.n_columns) < 4:
        raise SettingsError(
            f"[build] a window would have {grid.n_rows} frequencies x {grid.n_columns} times {at}; "
            "the network needs 4 x 4 or more: change build.length, segment, overlap, nfft, "
            "frequencies"
        )
    return grid


def _rows(settings: BuildSettings, sampling_rate: float) -> tuple[int, int]:
    """First row and number of rows within `build.frequencies`, ends included."""
    every = settings.nfft // 2 + 1
    if settings.frequencies is None:
        return 0, every
    low, high = settings.frequencies
    if high > sampling_rate / 2:
        raise SettingsError(
            f"build.frequencies = {settings.frequencies} Hz reach above the Nyquist frequency, "
            f"{sampling_rate / 2:g} Hz; set them lower, or build.sampling_rate higher"
        )
    spacing = sampling_rate / settings.nfft
    first = int(np.ceil(round(low / spacing, 9)))
    last = int(np.floor(round(high / spacing, 9)))
    return first, max(0, min(last, every - 1) - first + 1)


def spectrograms(grid: Grid, data: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Power spectral densities of windows.

    One-sided, of segments with a Kaiser window, scaled as ``scaling="density"`` of scipy.signal;
    nothing is removed from a segment.

    Parameters
    ----------
    grid : Grid
    data : ndarray, (n,), float64
    starts : ndarray, (k,), int
        First samples of the windows, ascending; each needs `before` and `after` samples of the
        grid around its window.

    Returns
    -------
    ndarray, (k, F, T), float32
        Unit of the data, squared, over Hz.
    """
    columns = (starts - grid.before)[:, None] + grid.hop * np.arange(grid.n_columns)
    places, which = _shared(columns, grid.hop)
    power = _power(grid, data, places).astype(np.float32)
    images = power.reshape(*columns.shape, -1) if which is None else power[which]
    return np.ascontiguousarray(images.transpose(0, 2, 1))


def _shared(columns: np.ndarray, hop: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Starts of the segments to compute, and which of them every column takes (None: in order).

    Windows that overlap by whole hops have columns in common, which are computed once.
    """
    offsets = columns[:, 0] - columns[0, 0]
    if len(columns) < 2 or (offsets % hop).any() or columns[1, 0] > columns[0, -1]:
        return columns.ravel(), None
    numbers = (columns - columns[0, 0]) // hop
    used = np.zeros(numbers[-1, -1] + 1, dtype=bool)
    used[numbers] = True
    return columns[0, 0] + hop * np.flatnonzero(used), (np.cumsum(used) - 1)[numbers]


def _power(grid: Grid, data: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Power of segments by their first samples, (k,), to (k, F), float64."""
    segments = np.lib.stride_tricks.sliding_window_view(data, grid.segment)[places]
    if product_is_faster(grid):
        parts = segments @ _matrix(grid)
        parts *= parts
        return parts[:, : grid.n_rows] + parts[:, grid.n_rows :]
    rows = slice(grid.first_row, grid.first_row + grid.n_rows)
    spectrum = fft.rfft(segments * _window(grid), grid.nfft)[:, rows]
    return (spectrum.real**2 + spectrum.imag**2) * _scale(grid)


def product_is_faster(grid: Grid) -> bool:
    """Whether the product with the matrix of a Fourier transform beats the fast transform."""
    product = 4 * grid.segment * grid.n_rows
    return product < PRODUCT_IS_FASTER * 2.5 * grid.nfft * np.log2(grid.nfft)


@lru_cache(maxsize=4)
def _window(grid: Grid) -> np.ndarray:
    return signal.get_window(("kaiser", grid.beta), grid.segment)


@lru_cache(maxsize=4)
def _scale(grid: Grid) -> np.ndarray:
    """Of squared magnitudes to one-sided densities, (F,)."""
    rows = np.arange(grid.first_row, grid.first_row + grid.n_rows)
    sides = np.where((rows == 0) | (2 * rows == grid.nfft), 1.0, 2.0)
    return sides / (grid.sampling_rate * (_window(grid) ** 2).sum())


@lru_cache(maxsize=4)
def _matrix(grid: Grid) -> np.ndarray:
    """Window, Fourier transform and scale in one, (segment, 2 F): real parts, then imaginary."""
    rows = np.arange(grid.first_row, grid.first_row + grid.n_rows)
    turns = np.outer(np.arange(grid.segment), rows) % grid.nfft / grid.nfft
    waves = np.exp(-2j * np.pi * turns) * _window(grid)[:, None] * np.sqrt(_scale(grid))
    return np.ascontiguousarray(np.hstack([waves.real, waves.imag]))
