"""Detrend, taper, remove the response, resample and filter continuous waves."""

from dataclasses import replace
from fractions import Fraction
from functools import lru_cache

import numpy as np
from scipy import signal

from ..data.times import same_rate
from ..settings import BuildSettings
from .joining import Wave
from .read import import_obspy
from .responses import Remover

PASS, STOP = 0.8, 1.0  # edges of the anti-alias filter, as shares of the lower Nyquist frequency
ATTENUATION = 80.0  # dB
MAX_FACTOR = 1000  # of resampling by whole numbers
BLOCK = 2**20  # samples; a sum of sums over blocks has a smaller rounding error
LANCZOS_WIDTH = 20  # samples to each side


def process(wave: Wave, settings: BuildSettings, remove_response: Remover | None) -> Wave:
    """Detrend, taper, remove the response, resample and filter a wave.

    The data of the input, counts in float64, are overwritten. A polynomial response is applied
    first, to counts with their mean. The tapered samples are the `edge` of the result.
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
    """Samples that cover a duration."""
    return int(np.ceil(round(seconds * sampling_rate, 6)))


def detrend(data: np.ndarray, kind: str) -> None:
    """Subtract the mean ("demean"), or the line of least squares ("linear"), in place."""
    if kind == "none":
        return
    data -= data.mean()
    n = len(data)
    if kind == "linear" and n > 1:
        # About the middle, slope and mean are independent, and no matrix need be solved.
        position = np.arange(n) - (n - 1) / 2
        blocks = [slice(first, first + BLOCK) for first in range(0, n, BLOCK)]
        slope = sum(position[block] @ data[block] for block in blocks) / (n * (n**2 - 1) / 12)
        data -= slope * position


def taper(data: np.ndarray, n: int) -> None:
    """Taper the first and last n samples to zero with half a cosine, in place."""
    n = min(n, len(data) // 2)
    if n:
        ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(n) + 0.5) / n)
        data[:n] *= ramp
        data[-n:] *= ramp[::-1]


def resample(wave: Wave, sampling_rate: float) -> Wave:
    """Resample a wave; the first sample keeps its time.

    Ratios of whole numbers use a polyphase filter of linear phase, without delay: flat to 0.8 of
    the lower Nyquist frequency, 80 dB down above it. With other ratios the wave is low-passed
    likewise, and interpolated with a Lanczos kernel.
    """
    ratio = Fraction(sampling_rate / wave.sampling_rate).limit_denominator(MAX_FACTOR)
    rate = float(ratio) * wave.sampling_rate
    if ratio.numerator > MAX_FACTOR or not same_rate(rate, sampling_rate):
        return _interpolate(wave, sampling_rate)
    # Rates that differ by rounding are one; the drift keeps the times of the samples.
    drift = (1 + wave.drift) * sampling_rate / rate - 1
    wave = replace(wave, sampling_rate=sampling_rate, drift=drift)
    if ratio == 1:
        return wave
    up, down = ratio.numerator, ratio.denominator
    data = signal.resample_poly(wave.data, up, down, window=low_pass(max(up, down)))
    return replace(wave, data=data)


@lru_cache(maxsize=8)
def low_pass(factor: float) -> np.ndarray:
    """Filter of linear phase, (odd n,), against aliasing when the rate is divided by `factor`."""
    n, beta = signal.kaiserord(ATTENUATION, (STOP - PASS) / factor)
    return signal.firwin(n | 1, (STOP + PASS) / 2 / factor, window=("kaiser", beta))


def _interpolate(wave: Wave, sampling_rate: float) -> Wave:
    import_obspy()
    from obspy.signal.interpolation import lanczos_interpolation

    data = wave.data
    if sampling_rate < wave.sampling_rate:
        data = signal.oaconvolve(data, low_pass(wave.sampling_rate / sampling_rate), mode="same")
    old, new = 1 / wave.sampling_rate, 1 / sampling_rate
    n = int((len(data) - 1) * old / new) + 1
    data = lanczos_interpolation(data, 0.0, old, 0.0, new, n, a=LANCZOS_WIDTH)
    return replace(wave, data=data, sampling_rate=sampling_rate)


def band_pass(wave: Wave, settings: BuildSettings) -> np.ndarray:
    """Filter forward and backward with a Butterworth filter; from 0 Hz it is a low-pass.

    Both ends of a wave are tapered to zero, so the filter starts at rest.
    """
    band = settings.bandpass
    kind, corners = ("bandpass", (band.low, band.high)) if band.low else ("lowpass", band.high)
    sections = signal.butter(
        settings.filter_order, corners, kind, fs=wave.sampling_rate, output="sos"
    )
    forward = signal.sosfilt(sections, wave.data)
    return signal.sosfilt(sections, forward[::-1])[::-1]
