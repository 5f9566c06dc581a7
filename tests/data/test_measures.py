"""Measures of samples with known values."""

import numpy as np
import pytest

from RISCluster.data import measures
from RISCluster.data.measures import BANDS, measure_spectrograms, measure_waveforms


def test_spectrograms():
    frequency = np.array([0, 1, 2, 3, 8.0])  # bands of an octave: 1 to 2, 2 to 4, 4 to 8 Hz
    np.testing.assert_allclose(measures.band_edges(frequency), [1, 2, 4, 8])
    x = np.zeros((2, 5, 4), np.float32)
    x[0, :, 2] = 100, 1, 3, 4, 2  # that at 0 Hz is in no band
    found = measure_spectrograms(x, frequency)
    np.testing.assert_allclose([found[name][0] for name in BANDS], [0.1, 0.7, 0.2])
    assert np.isnan([found[name][1] for name in BANDS]).all()  # without power
    assert found["peak_frequency"].tolist() == [0, 0]
    x[0, 0] = 0
    peak, at = measures.find_peaks(x, frequency)
    assert (peak.tolist(), at[0]) == ([4, 0], 3)


def test_waveforms():
    traces = np.zeros((3, 200))
    traces[0, 50:150] = 2.0  # s at 100 Hz: from 0.5 s on, for 1 s
    traces[1, 20:40], traces[1, 39] = 0.1, -3.0
    found = measure_waveforms(traces, 100.0)
    assert found["rms"] == pytest.approx([np.sqrt(2), np.sqrt(9.19 / 200), 0])
    assert found["duration"][:2] == pytest.approx([0.9, 0])  # 5 to 95 % of the energy
    assert found["onset_slope"][:2] == pytest.approx([1000 / 2, 1000])  # averages of 2 samples
    slow = np.exp(-np.abs(np.arange(200) - 150) / 25) * np.sqrt(2)  # 10 dB of power in 28.8 samples
    assert measure_waveforms(slow[None], 100.0)["onset_slope"] == pytest.approx(1000 / 29, rel=0.04)
    assert np.isnan([found["duration"][2], found["onset_slope"][2]]).all()
