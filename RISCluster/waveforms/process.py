"""Unbroken waves to ground motion in the band of interest, at one sampling rate."""

from dataclasses import replace
from fractions import Fraction
from functools import lru_cache

import numpy as np
from scipy import signal

from ..data.times import same_rate
from ..settings import BuildSettings
from .joining import Wave
from .responses import Remover
from .sources import obspy_for_reading

PASS, STOP = 0.8, 1.0  # of the lower Nyquist frequency: edges of the filter against aliasing
ATTENUATION = 80.0  # dB
LARGEST_FACTOR = 1000  # of resampling by whole numbers
BLOCK = 2**20  # samples, so that no copy of a day is made
LANCZOS_WIDTH = 20  # samples to each side


def process(wave: Wave, settings: BuildSettings, remove_response: Remover | None) -> Wave:
    """Detrend, taper, remove the response, resample and filter.

    Parameters
    ----------
    wave : Wave
        Counts, float64; they are overwritten.
    settings : BuildSettings
    remove_response : Remover or None
        One that is a polynomial takes counts as they are, before anything else.

    Returns
    -------
    Wave
        Its `edge` counts the tapered samples; its first sample is at the time of the first before.
    """
    if remove_response is not None and remove_response.is_polynomial:
        wave, remove_response = remove_response(wave), None
    detrend(wave.data, settings.detrend)
    taper(wave.data, samples_of(settings.taper, wave.sampling_rate))
    if remove_response is not None:
        wave = remove_response(wave)
    if settings.sampling_rate != "auto":
        wave = resample(wave, settings.sampling_rate)
    if settings.bandpass is not None:
        wave = replace(wave, data=band_pass(wave, settings))
    return replace(wave, edge=samples_of(settings.taper, wave.sampling_rate))


def samples_of(seconds: float, sampling_rate: float) -> int:
    """Samples that cover a time, never too few."""
    return int(np.ceil(round(seconds * sampling_rate, 6)))


def detrend(data: np.ndarray, kind: str) -> None:
    """Remove the mean, or the straight line of least squares, in place.

    Parameters
    ----------
    data : ndarray, (n,), float64
    kind : {"none", "demean", "linear"}
    """
    if kind == "none":
        return
    data -= data.mean()
    if kind == "linear" and len(data) > 1:
        n = len(data)
        blocks = [slice(first, first + BLOCK) for first in range(0, n, BLOCK)]
        # About the middle, slope and mean are independent, and no matrix need be solved.
        slope = sum(_from_middle(block, n) @ data[block] for block in blocks) / (
            n * (n**2 - 1) / 12
        )
        for block in blocks:
            data[block] -= slope * _from_middle(block, n)


def _from_middle(block: slice, n: int) -> np.ndarray:
    return np.arange(block.start, min(block.stop, n)) - (n - 1) / 2


def taper(data: np.ndarray, n: int) -> None:
    """Let the first and last n samples rise from and fall to zero as half a cosine, in place."""
    n = min(n, len(data) // 2)
    if n:
        ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(n) + 0.5) / n)
        data[:n] *= ramp
        data[-n:] *= ramp[::-1]


# ---- resampling ---------------------------------------------------------------------------------


def resample(wave: Wave, sampling_rate: float) -> Wave:
    """Bring a wave to another sampling rate; the first sample keeps its time.

    Ratios of whole numbers go through a polyphase filter of linear phase, whose delay is taken
    out: flat to 0.8 of the lower Nyquist frequency, 80 dB down from there on, so that nothing is
    folded back. Other ratios are low-passed likewise, and interpolated by Lanczos' kernel.

    Parameters
    ----------
    wave : Wave
    sampling_rate : float
        Hz.
    """
    ratio = Fraction(sampling_rate / wave.sampling_rate).limit_denominator(LARGEST_FACTOR)
    if ratio.numerator <= LARGEST_FACTOR and same_rate(
        float(ratio) * wave.sampling_rate, sampling_rate
    ):
        # Rates that differ by rounding are one, and times stay those of the samples.
        drift = (1 + wave.drift) * sampling_rate / (float(ratio) * wave.sampling_rate) - 1
        wave = replace(wave, sampling_rate=sampling_rate, drift=drift)
        if ratio == 1:
            return wave
        filtered = signal.resample_poly(
            wave.data,
            ratio.numerator,
            ratio.denominator,
            window=low_pass(max(ratio.numerator, ratio.denominator)),
        )
        return replace(wave, data=filtered)
    return _interpolate(wave, sampling_rate)


@lru_cache(maxsize=8)
def low_pass(factor: float) -> np.ndarray:
    """Filter of linear phase that lets pass what the rate divided by `factor` can hold.

    Returns
    -------
    ndarray, (n,), n odd, float64
    """
    n, beta = signal.kaiserord(ATTENUATION, (STOP - PASS) / factor)
    return signal.firwin(n | 1, (STOP + PASS) / 2 / factor, window=("kaiser", beta))


def _interpolate(wave: Wave, sampling_rate: float) -> Wave:
    obspy_for_reading()  # silences its import
    from obspy.signal.interpolation import lanczos_interpolation

    data = wave.data
    if sampling_rate < wave.sampling_rate:
        data = signal.oaconvolve(data, low_pass(wave.sampling_rate / sampling_rate), mode="same")
    old, new = 1 / wave.sampling_rate, 1 / sampling_rate
    n = int((len(data) - 1) * old / new) + 1
    data = lanczos_interpolation(data, 0.0, old, 0.0, new, n, a=LANCZOS_WIDTH)
    return replace(wave, data=data, sampling_rate=sampling_rate)


# ---- filter -------------------------------------------------------------------------------------


def band_pass(wave: Wave, settings: BuildSettings) -> np.ndarray:
    """Butterworth filter forward and backward; a band that begins at 0 Hz is a low-pass.

    As both ends of a wave are tapered to zero, the filter starts at rest.

    Returns
    -------
    ndarray, (n,), float64
    """
    band = settings.bandpass
    kind, corners = ("bandpass", (band.low, band.high)) if band.low else ("lowpass", band.high)
    sections = signal.butter(
        settings.filter_order, corners, kind, fs=wave.sampling_rate, output="sos"
    )
    forward = signal.sosfilt(sections, wave.data)
    return signal.sosfilt(sections, forward[::-1])[::-1]
